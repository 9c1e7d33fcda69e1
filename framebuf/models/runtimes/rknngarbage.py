"""The garbage that RKNNLite leaves behind at every call, bounded."""

from __future__ import annotations

import gc
import itertools

YOUNG_EVERY, MIDDLE_EVERY, ALL_EVERY = 8, 64, 1024
"""Calls, of all contexts, between collections of Python's garbage. RKNNLite leaves some kilobytes a
call in reference cycles of ctypes, before 2.5.0 the whole input with them. They go with the young,
but for those of other contexts that are in use just then and grow old."""
MOST_OLD = 16 * 2**20
"""Bytes of inputs that may have grown old before all is collected, which takes 20 ms or more."""
_all_calls = itertools.count(1)  # all contexts' threads take from it, each a number of its own


def sweep(size: int) -> None:
    """Collect the garbage of RKNNLite: the youngest often, for it takes microseconds.

    `size` is that of the input of the call that has just come back, in bytes.
    """
    calls = next(_all_calls)
    if calls % min(ALL_EVERY, MIDDLE_EVERY * max(1, MOST_OLD // size)) == 0:
        gc.collect()
    elif calls % MIDDLE_EVERY == 0:
        gc.collect(1)
    elif calls % YOUNG_EVERY == 0:
        gc.collect(0)
