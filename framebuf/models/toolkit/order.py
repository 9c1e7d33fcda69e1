"""What is to be converted, and how."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from framebuf.errors import ModelError

if TYPE_CHECKING:
    from framebuf.config import Model

BOUND = 0.99
"""The least cosine of an output with the ONNX model's that is usual."""

LARGEST = 1024


@dataclass(frozen=True, slots=True)
class Order:
    """One conversion: a model, its batch sizes, one platform."""

    model: Model
    """As the configuration would have it; `path` is the ONNX file."""
    platform: str
    """Such as rk3588."""
    batches: tuple[int, ...]
    dtype: Literal["int8", "float16"]
    pictures: tuple[Path, ...]
    """What int8 is calibrated with, and outputs are compared on."""
    out: Path
    """The folder."""
    custom: str
    """The file's custom string."""
    check: bool
    bound: float = BOUND

    @property
    def path(self) -> Path:
        """The ONNX file."""
        return Path(self.model.path)

    def target(self, batch: int) -> Path:
        """The file of a batch size."""
        return self.out / f"{self.path.stem}-batch{batch}.rknn"

    @property
    def family(self) -> str:
        """All of them, as the configuration names them."""
        sizes = ",".join(map(str, self.batches))
        return str(self.out / f"{self.path.stem}-batch{{{sizes}}}.rknn")


def batches_of(text: str) -> tuple[int, ...]:
    """`1,4,8` to the sizes, ascending.

    Raises:
        ModelError: it is none.
    """
    parts = [part.strip() for part in text.split(",")]
    wrong = [part for part in parts if not re.fullmatch(r"[0-9]{1,4}", part)]
    sizes = tuple(sorted({int(part) for part in parts})) if not wrong else (0,)
    if sizes[0] < 1 or sizes[-1] > LARGEST:
        raise ModelError(f"expected batch sizes of 1 to {LARGEST} as in 1,4,8, got {text!r}")
    return sizes
