"""Which frames of a camera drains have claimed: each is answered once."""

from __future__ import annotations


class Claims:
    """The frames of one camera that drains have claimed. Only the requests' thread."""

    def __init__(self) -> None:
        self._seqs: set[int] = set()

    def claim(self, seq: int) -> bool:
        """Claim a frame; False: it was claimed before."""
        if seq in self._seqs:
            return False
        self._seqs.add(seq)
        return True

    def forget_before(self, seq: int) -> None:
        """Frames older than `seq` are gone from every history."""
        if len(self._seqs) > 1024 and min(self._seqs) < seq:
            self._seqs = {claimed for claimed in self._seqs if claimed >= seq}

    def __len__(self) -> int:
        return len(self._seqs)
