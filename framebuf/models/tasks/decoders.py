"""Whose boxes a network's outputs are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from framebuf.errors import ModelError
from framebuf.models.tasks import nanodet, yolov5, yolov8

if TYPE_CHECKING:
    from collections.abc import Sequence

    from framebuf.models.tasks.candidates import Head
    from framebuf.models.tensor import TensorSpec


class Decoder(Protocol):
    """One family of detectors; a module of its own."""

    EXPECTED: str
    """Its outputs, for people."""

    def find(self, outputs: tuple[TensorSpec, ...], picture: TensorSpec | None) -> Sequence[Head]:
        """The heads in these outputs; empty where they are not the family's."""
        ...


DECODERS: dict[str, Decoder] = {"nanodet": nanodet, "yolov5": yolov5, "yolov8": yolov8}


def find_heads(
    decoder: str | None, outputs: tuple[TensorSpec, ...], picture: TensorSpec | None
) -> Sequence[Head]:
    """The heads that `decoder` reads in these outputs, at least one; `picture` is the input.

    Raises:
        ModelError: the outputs are not the decoder's; says which decoder's they are.
    """
    if decoder not in DECODERS:
        raise ModelError(f"expected decoder {' or '.join(DECODERS)}, got {decoder}")
    if heads := DECODERS[decoder].find(outputs, picture):
        return heads
    fitting = [f'"{name}"' for name, each in DECODERS.items() if each.find(outputs, picture)]
    remedy = f"use decoder = {' or '.join(fitting)}" if fitting else "check decoder and the export"
    raise ModelError(
        f"expected outputs of {decoder}, {DECODERS[decoder].EXPECTED}, "
        f"got {'; '.join(map(str, outputs))}; {remedy}"
    )
