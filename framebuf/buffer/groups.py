"""Groups: which groups of pictures a ring holds, who leases their frames, and which goes next."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from framebuf.buffer.group import Group, Shown


@dataclass(slots=True)
class _Held:
    """The leases of one frame."""

    group: Group
    strong: int = 0
    weak: int = 0


class Groups:
    """The groups of one ring, the oldest first. Not locked: its ring's lock guards it.

    A group goes as a whole: the oldest that nobody needs, then the oldest whose leases are all
    weak. Of those that nobody needs the newest two go only after that: one is being written, and an
    open window may be about to lease what was just captured.
    """

    def __init__(self, groups: Iterable[Group] = (), shown: dict[int, Shown] | None = None) -> None:
        """`shown`: the frames of the groups, by seq."""
        self._groups = list(groups)
        self._shown = shown or {}
        self._held: dict[int, _Held] = {}
        self.evicted = 0
        """Frames that went."""

    @property
    def newest(self) -> Group | None:
        return self._groups[-1] if self._groups else None

    @property
    def leased(self) -> int:
        """Frames with a lease, weak ones included."""
        return len(self._held)

    @property
    def count(self) -> int:
        """Groups."""
        return len(self._groups)

    def add(self, group: Group) -> None:
        self._groups.append(group)

    def show(self, seq: int, shown: Shown) -> None:
        """A frame of a group has its number; nothing where the group is gone."""
        if not shown.group.gone:
            self._shown[seq] = shown
            shown.group.seqs.append(seq)

    def find(self, seq: int) -> Shown | None:
        return self._shown.get(seq)

    def sizes(self) -> set[tuple[int, int]]:
        """Width, height of the frames."""
        return {(group.head.width, group.head.height) for group in self._groups}

    def leases(self) -> dict[int, bool]:
        """The frames, and of each whether somebody leases it, weakly too."""
        return {seq: seq in self._held for seq in self._shown}

    def lease(self, seq: int) -> Shown | None:
        """One more strong lease. None: the frame is gone."""
        shown = self._shown.get(seq)
        if shown is not None:
            self._held.setdefault(seq, _Held(shown.group))
            self.change(seq, 1, 0)
        return shown

    def change(self, seq: int, strong: int, weak: int) -> None:
        """So many leases more."""
        held = self._held.get(seq)
        if held is None:
            return
        for one in (held, held.group):
            one.strong += strong
            one.weak += weak
        if not (held.strong or held.weak):
            del self._held[seq]

    def leave_if(self, is_beyond: Callable[[Group], bool]) -> Group | None:
        """Let the oldest go that nobody needs, if it is that; None: it stays."""
        idle = self._oldest_idle()
        return self.remove(idle) if idle is not None and is_beyond(idle) else None

    def leave(self) -> Group | None:
        """Let one go; None: all but the newest are strongly leased."""
        others = islice(self._groups, max(0, len(self._groups) - 1))
        group = self._oldest_idle() or next((group for group in others if group.is_weak), None)
        return None if group is None else self.remove(group)

    def remove(self, group: Group) -> Group:
        """Let this one go, and the frames of the next one that refer to it."""
        before = len(self)
        self._groups.remove(group)
        for seq in group.seqs:
            del self._shown[seq]
        after = group.after
        group.leave()
        if after is not None:
            for seq in after.seqs:
                if after.records[self._shown[seq].nth].leading:
                    del self._shown[seq]
            after.seqs = [seq for seq in after.seqs if seq in self._shown]
        self.evicted += before - len(self)
        return group

    def _oldest_idle(self) -> Group | None:
        older = islice(self._groups, max(0, len(self._groups) - 2))
        return next((group for group in older if group.is_idle), None)

    def __len__(self) -> int:
        """Frames."""
        return len(self._shown)

    def __repr__(self) -> str:
        return f"<Groups {self.count}, {len(self)} frames, {self.leased} leased>"
