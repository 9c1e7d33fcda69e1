"""Whether this machine's clock tells the time that others have."""

from __future__ import annotations

import ctypes

_UNKNOWN_US = 16_000_000
"""The kernel lets its own estimate of the error grow to this when nobody sets the clock."""


class _Timex(ctypes.Structure):
    """The head of struct timex, adjtimex(2); the rest is room."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("rest", ctypes.c_byte * 256),
    )


def clock_synchronised() -> bool | None:
    """Whether a time service, whichever it is, keeps the clock; None where nobody may ask.

    As timedatectl(1) finds it out: the largest possible error is below 16 s.
    """
    timex = _Timex()  # modes 0: changes nothing
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (AttributeError, OSError):  # no such call in this C library
        return None
    return None if state < 0 else timex.maxerror < _UNKNOWN_US
