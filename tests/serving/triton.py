"""A real Triton on the processor, out of the wheel nvidia-pytriton: no GPU, no container.

The wheel holds the server and its python back-end alone, in which model.py runs onnxruntime.
"""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from pathlib import Path

from framebuf.models.runtimes.onnx import onnx_ends
from tests.serving.environments import HERE, environment, library_folder, site_packages
from tests.serving.process import ServerProcess

STUB = "triton_python_backend_stub"
TYPES = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32"}


def start_triton(
    folder: Path, models: dict[str, Path], http: int, grpc: int, *,
    threads: int = 1, max_batch: int = 8,
) -> ServerProcess:  # fmt: skip
    """Start it with these ONNX files as its models; `folder` is its own."""
    made = environment("triton")
    packages = site_packages(made)
    server = packages / "pytriton/tritonserver"
    repository = folder / "repository"
    for name, onnx in models.items():
        _add(repository / name, name, onnx, threads, max_batch)
    backends = _backends(folder / "backends", server)
    prefix = f"framebuf_{uuid.uuid4().hex[:12]}_"
    environ = os.environ | {
        "LD_LIBRARY_PATH": f"{packages / 'nvidia_pytriton.libs'}:{library_folder()}",
        "PATH": f"{made / 'bin'}:{os.environ['PATH']}",  # which Python it embeds
    }
    command = [
        str(server / "bin/tritonserver"), f"--model-repository={repository}",
        f"--backend-directory={backends}", "--backend-config",
        f"python,shm-region-prefix-name={prefix}", "--http-address=127.0.0.1",
        f"--http-port={http}", "--grpc-address=127.0.0.1", f"--grpc-port={grpc}",
        "--allow-metrics=false", "--exit-on-error=true", "--disable-auto-complete-config",
    ]  # fmt: skip

    def clean() -> None:
        for left in Path("/dev/shm").glob(f"{prefix}*"):  # what kill -9 leaves
            left.unlink(missing_ok=True)

    return ServerProcess.start("triton", command, environ, folder / "triton.log", clean)


def _backends(home: Path, server: Path) -> Path:
    """The python back-end, and the stub of this Python, which it looks for beside itself."""
    python = home / "python"
    shutil.copytree(server / "backends/python", python, dirs_exist_ok=True)
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    shutil.copy(server / "python_backend_stubs" / version / STUB, python / STUB)
    return home


def _add(home: Path, name: str, onnx: Path, threads: int, max_batch: int) -> None:
    version = home / "1"
    version.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "models/triton_model.py", version / "model.py")
    inputs, outputs = onnx_ends(onnx)
    lines = [f'name: "{name}"', 'backend: "python"', f"max_batch_size: {max_batch}"]
    for kind, ends in (("input", inputs), ("output", outputs)):
        for end in ends:
            dims = ", ".join(str(size) for size in end.shape[1:])
            lines.append(
                f'{kind} [{{ name: "{end.name}" data_type: {TYPES[end.dtype]} dims: [{dims}] }}]'
            )
    lines.append("instance_group [{ count: 1 kind: KIND_CPU }]")
    for key, value in (("onnx", onnx), ("threads", threads)):
        lines.append(f'parameters {{ key: "{key}" value: {{ string_value: "{value}" }} }}')
    (home / "config.pbtxt").write_text("\n".join(lines) + "\n", "utf-8")
