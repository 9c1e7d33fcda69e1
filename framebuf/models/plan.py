"""Which batch size to run next."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def next_size(waiting: int, sizes: Sequence[int]) -> int:
    """The largest of `sizes` that `waiting` frames fill, else the smallest that holds them.

    Measured cost decides in a later version; until then no padding is run that can be avoided.
    """
    full = [size for size in sizes if size <= waiting]
    return max(full) if full else min(sizes)
