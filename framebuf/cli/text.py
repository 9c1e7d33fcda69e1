"""What others have said, as it may be shown on a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """With its control characters written out: they could move the cursor, or worse."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
