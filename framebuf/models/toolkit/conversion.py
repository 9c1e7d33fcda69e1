"""An ONNX model into one .rknn file a batch size."""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from framebuf.errors import ModelError
from framebuf.models.prepare import open_preparer
from framebuf.models.runtimes.onnx import OnnxRuntime
from framebuf.models.tasks import open_task
from framebuf.models.toolkit import failures, pictures, process
from framebuf.models.toolkit.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from framebuf.models.tensor import TensorSpec
    from framebuf.models.toolkit.environment import Environment
    from framebuf.models.toolkit.order import Order

SAME_TARGET = {"rk3582": "rk3588"}
"""Chips that rknn-toolkit2 does not know by name, and the one whose NPU they have."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """One file that was made."""

    batch: int
    path: Path
    bytes: int
    seconds: float
    cosine: dict[str, float] | None
    """By output, the least of all slots; None where it was not checked."""


def opened(order: Order) -> OnnxRuntime:
    """The ONNX model, once it is known to fit the order, and its files to have a place.

    Raises:
        ModelError: it is missing or broken, or mean, std, decoder or labels do not fit it.
        ModelError, OSError: the folder for the files cannot be made or written.
    """
    source = OnnxRuntime.open(order.path, threads=os.cpu_count() or 1, layout=order.model.layout)
    spec = source.input
    if spec.batch not in (None, 1):
        raise ModelError(
            f"{order.path}: expected batch 1 or a free batch axis, got {spec.batch}; export it so: "
            "--batch makes the sizes"
        )
    if spec.dtype == "float32" and order.model.mean is None:
        raise ModelError(
            f"{order.path}: its input is {spec}; give --mean and --std, 0,0,0 and 255,255,255 for "
            "YOLO, else what it was trained with, such as 123.675,116.28,103.53 and "
            "58.395,57.12,57.375"
        )
    open_preparer(order.model, spec)
    open_task(order.model, source.outputs, picture=spec)
    order.out.mkdir(parents=True, exist_ok=True)
    if not os.access(order.out, os.W_OK | os.X_OK):
        raise ModelError(f"cannot write into {order.out}; name another folder with --out")
    return source


def convert(
    order: Order,
    source: OnnxRuntime,
    environment: Environment,
    progress: Callable[[str], None],
) -> Iterator[Compiled]:
    """Make each file; one appears under its name when it is whole, and checked where it is to be.

    `source` is what `opened` gave.

    Raises:
        ModelError: a picture cannot be used, the toolkit failed, or an output is less like the ONNX
            model's than the bound. Files that were made before stay.
    """
    progress("reading the pictures")
    spec = source.input
    with tempfile.TemporaryDirectory(prefix=".framebuf-convert-", dir=order.out) as scratch:
        folder = Path(scratch).resolve()
        calibration = None
        if order.dtype == "int8":
            calibration = folder / "calibration.txt"
            pictures.write(order.model, spec, order.pictures, calibration)
        reference = Reference.of(order.model, source, order.pictures) if order.check else None
        for batch in order.batches:
            job = _Job(order, spec, folder, batch, calibration, reference)
            yield job.run(environment, progress)


@dataclass(frozen=True, slots=True)
class _Job:
    """One batch size."""

    order: Order
    spec: TensorSpec
    folder: Path
    batch: int
    calibration: Path | None
    reference: Reference | None

    def run(self, environment: Environment, progress: Callable[[str], None]) -> Compiled:
        """From the ONNX file to the .rknn under its name."""
        began = time.monotonic()
        where = f"{self.order.path}, batch {self.batch}"
        log, made = self._file("log"), self._file("rknn")
        code = process.run(
            environment.python,
            self._written(),
            log,
            lambda phase: progress(f"batch {self.batch}: {phase}"),
        )
        if code or not made.is_file():
            text = failures.explained(log.read_text(errors="replace"), code, str(process.kept(log)))
            raise ModelError(f"{where}: rknn-toolkit2: {text}")
        cosine = self._checked(where)
        target = self.order.target(self.batch)
        made.replace(target)
        seconds = round(time.monotonic() - began, 1)
        return Compiled(self.batch, target, target.stat().st_size, seconds, cosine)

    def _file(self, suffix: str) -> Path:
        return self.folder / f"{self.batch}.{suffix}"

    def _written(self) -> Path:
        """The document that the worker reads."""
        order, spec = self.order, self.spec
        if self.reference is not None:
            np.save(self._file("npy"), self.reference.batch(self.batch))
        document = {
            "onnx": str(order.path.resolve()),
            "rknn": str(self._file("rknn")),
            "plain": str(self._file("onnx")),
            "turned": spec.layout == "NHWC",
            "platform": SAME_TARGET.get(order.platform, order.platform),
            "batch": self.batch,
            "bgr": order.model.channels == "bgr",
            "custom": order.custom,
            "mean": order.model.mean,
            "std": order.model.std,
            "calibration": None if self.calibration is None else str(self.calibration),
            "check": None if self.reference is None else str(self._file("npy")),
            "outputs": str(self._file("npz")),
        }
        path = self._file("json")
        path.write_text(json.dumps(document), "utf-8")
        return path

    def _checked(self, where: str) -> dict[str, float] | None:
        """How alike the simulator's outputs are; refuses what is below the bound."""
        if self.reference is None:
            return None
        with np.load(self._file("npz")) as simulated:
            got = [simulated[name] for name in simulated.files]
        try:
            found = self.reference.cosines(got, self.batch)
        except ModelError as error:
            raise ModelError(f"{where}: {error}") from error
        for name, value in found.items():
            if not value >= self.order.bound:  # NaN is not
                raise ModelError(
                    f"{where}: output {name} is too far from the ONNX model's: expected a cosine "
                    f"of {self.order.bound:g}, the simulator gives {value:.4f}; calibrate with "
                    "more pictures like those to come, use --dtype float16, or lower --bound"
                )
        return {name: round(value, 6) for name, value in found.items()}
