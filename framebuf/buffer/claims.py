"""Which frames of a camera drains have claimed: each is answered once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Claims:
    """Frames of one camera that drains have claimed. The requests' thread, but for `holds`."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        """`ranges` are those claimed before, first to last."""
        self._seqs = {seq for first, last in ranges for seq in range(first, last + 1)}
        self._fresh: list[int] = []
        self._prune_at = 1024

    def claim(self, seq: int) -> bool:
        """Claim a frame; False: it was claimed before."""
        if seq in self._seqs:
            return False
        self._seqs.add(seq)
        self._fresh.append(seq)
        return True

    def holds(self, seq: int) -> bool:
        """Whether a frame was claimed. Any thread."""
        return seq in self._seqs

    @property
    def is_fresh(self) -> bool:
        """Whether frames were claimed since the last `saved`."""
        return bool(self._fresh)

    def fresh(self) -> list[tuple[int, int]]:
        """Frames claimed since the last `saved`, first to last."""
        ranges: list[tuple[int, int]] = []
        for seq in self._fresh:
            if ranges and seq == ranges[-1][1] + 1:
                ranges[-1] = (ranges[-1][0], seq)
            else:
                ranges.append((seq, seq))
        return ranges

    def saved(self) -> None:
        """The fresh ones are in the journal."""
        self._fresh.clear()

    def newest(self) -> int:
        """−1 where there are none."""
        return max(self._seqs, default=-1)

    def forget_before(self, seq: int) -> None:
        """Frames older than `seq` are gone from every history."""
        if len(self._seqs) > self._prune_at:
            self._seqs = {claimed for claimed in self._seqs if claimed >= seq}
            self._prune_at = max(1024, 2 * len(self._seqs))

    def __len__(self) -> int:
        return len(self._seqs)
