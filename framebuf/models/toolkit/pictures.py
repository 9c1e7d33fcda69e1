"""The pictures that a conversion is calibrated with and checked on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import msgspec
import numpy as np

from framebuf.errors import ModelError
from framebuf.models.prepare import open_preparer
from framebuf.models.tensor import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from framebuf.config import Model

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")

FEW = 20
"""Below this many, the ranges of an int8 model are a guess."""


def listed(dataset: Path) -> tuple[Path, ...]:
    """The pictures of a folder, or of a file that names one a line, relative to its own folder.

    Raises:
        ModelError: it cannot be read, names what is not there, or has none.
    """
    try:
        if dataset.is_dir():
            found = sorted(each for each in dataset.iterdir() if each.suffix.lower() in SUFFIXES)
        else:
            lines = dataset.read_text("utf-8-sig").splitlines()
            found = [dataset.parent / line.strip() for line in lines if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ModelError(
            f"cannot read the dataset {dataset}: {reason}; give a folder of pictures, or a text "
            "file with one picture a line"
        ) from error
    for number, path in enumerate(found, 1):
        if not path.is_file():
            raise ModelError(f"{dataset}:{number}: no such picture: {path}; correct the line")
    if not found:
        raise ModelError(f"{dataset}: expected pictures ({', '.join(SUFFIXES)}), it has none")
    return tuple(found)


def read(paths: Sequence[Path]) -> Iterator[NDArray[np.uint8]]:
    """Each picture, (height, width, 3) uint8, BGR.

    Raises:
        ModelError: one is none.
    """
    for path in paths:
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if pixels is None:
            raise ModelError(f"{path}: no picture that OpenCV reads; take it out of the dataset")
        yield pixels.astype(np.uint8, copy=False)


def made_up(count: int, spec: TensorSpec) -> Iterator[NDArray[np.uint8]]:
    """Soft blots of random colours, the same at every call, of the input's size."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        blots = rng.integers(0, 256, (8, 8, 3), np.uint8)
        size = (spec.width, spec.height)
        yield cv2.resize(blots, size, interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)


def prepared(
    model: Model, spec: TensorSpec, pictures: Iterable[NDArray[np.uint8]]
) -> Iterator[NDArray[np.uint8]]:
    """Each as the NPU gets it, (height, width, 3) uint8 in the model's order of channels.

    A frame is placed in the input just as the daemon places it.
    """
    raw = TensorSpec(spec.name, (1, spec.height, spec.width, 3), "uint8", "NHWC")
    preparer = open_preparer(msgspec.structs.replace(model, mean=None, std=None), raw)
    for pixels in pictures:
        row = np.zeros(raw.rows(1)[1:], np.uint8)
        preparer.write(pixels, row)
        yield row


def write(model: Model, spec: TensorSpec, paths: Sequence[Path], target: Path) -> None:
    """Each prepared as a PNG beside `target`, and the list of them into it: the toolkit's dataset.

    Raises:
        ModelError: one is none.
    """
    names = []
    for at, row in enumerate(prepared(model, spec, read(paths))):
        names.append(str(target.with_name(f"{at}.png")))
        # the toolkit reads RGB, and turns it where it is told that the model wants BGR
        bgr = row if model.channels == "bgr" else row[:, :, ::-1]
        cv2.imwrite(names[-1], np.ascontiguousarray(bgr))
    target.write_text("\n".join(names) + "\n", "utf-8")
