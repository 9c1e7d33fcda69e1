"""MLServer and KServe, with a model of their own that runs onnxruntime."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from framebuf.models.runtimes.onnx import onnx_ends
from tests.serving.environments import HERE, environment
from tests.serving.process import ServerProcess

TYPES = {"uint8": "UINT8", "float32": "FP32"}
MOST = 2**28
"""Bytes of a message; MLServer and KServe take 4 and 8 MiB otherwise."""


def _ends(onnx: Path) -> dict[str, list[dict[str, Any]]]:
    return {
        kind: [
            {"name": end.name, "datatype": TYPES[end.dtype], "shape": [-1, *end.shape[1:]]}
            for end in ends
        ]
        for kind, ends in zip(("inputs", "outputs"), onnx_ends(onnx), strict=True)
    }


def start_mlserver(
    folder: Path, name: str, onnx: Path, http: int, grpc: int, *, threads: int = 1
) -> ServerProcess:
    """Start MLServer with one ONNX file as its model; `folder` is its own."""
    folder.mkdir(parents=True)
    (folder / "mlserver_model.py").write_bytes((HERE / "models/mlserver_model.py").read_bytes())
    settings = {
        "host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_endpoint": None,
        "parallel_workers": 0, "grpc_max_message_length": MOST,
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(settings))
    model = {
        "name": name, "implementation": "mlserver_model.OnnxModel",
        "parameters": {"extra": {"onnx": str(onnx), "threads": threads}},
        **_ends(onnx),
    }  # fmt: skip
    (folder / "model-settings.json").write_text(json.dumps(model))
    program = environment("mlserver") / "bin/mlserver"
    return ServerProcess.start(
        "mlserver", [str(program), "start", str(folder)], dict(os.environ), folder / "log"
    )


def start_kserve(
    folder: Path, name: str, onnx: Path, http: int, grpc: int, *, threads: int = 1
) -> ServerProcess:
    """Start KServe's model server with one ONNX file as its model; `folder` is its own."""
    folder.mkdir(parents=True)
    command = [
        str(environment("kserve") / "bin/python"), str(HERE / "models/kserve_server.py"), name,
        str(onnx), str(threads), json.dumps(_ends(onnx)), f"--http_port={http}",
        f"--grpc_port={grpc}", f"--grpc_max_send_message_length={MOST}",
        f"--grpc_max_receive_message_length={MOST}",
    ]  # fmt: skip
    return ServerProcess.start("kserve", command, dict(os.environ), folder / "log")
