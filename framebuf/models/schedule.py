"""Schedule: what the contexts of an accelerator prepare and run next."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from framebuf.models.context import Context
    from framebuf.models.line import Line
    from framebuf.models.run import Run
    from framebuf.models.timeline import Timeline

TENSORS = 2
"""Of a context: one runs, the next is prepared meanwhile."""


class Schedule:
    """Decides runs for the frames that wait on the lines, as its lane asks it to.

    Each is decided as late as the preparation of its tensor allows, so that a frame that comes
    late and is urgent still joins the next batch. Not locked: its lane's lock guards it.
    """

    def __init__(self, lines: Mapping[str, Line], timeline: Timeline) -> None:
        """`lines` by model; what is decided goes onto the `timeline`."""
        self.due_ns: int | None = None
        """When the next decision can be made; monotonic. None: not before something happens."""
        self.unread = 0
        """Runs that ended and are not answered yet."""
        self.closed = False
        self._lines = lines
        self._timeline = timeline
        self._decided: dict[Context, list[Run]] = {
            context: [] for line in lines.values() for context in line.contexts
        }

    def is_due(self, now_ns: int) -> bool:
        """Whether the next decision can be made."""
        return self.due_ns is not None and now_ns >= self.due_ns

    def decide(self, now_ns: int) -> list[Run]:
        """Decide all runs that can be decided now; those, for their contexts to be woken.

        What cannot begin yet counts as if it were decided, so that what is less urgent does not
        take the cores that it waits for: not even in the time that preparing leaves.
        """
        self.due_ns = None
        decided: list[Run] = []
        if self.closed:
            return decided
        busy = self._timeline.busy(now_ns)
        kept: set[int] = set()
        lines = [line for line in self._lines.values() if line.waiting > 0]
        for line in sorted(lines, key=lambda line: line.backlog.urgency(now_ns)):
            turn = line.backlog.alone(now_ns)
            if turn is not None or self._timeline.alone:
                if turn is not None and not len(self._timeline) and not self.unread:
                    waiting = line.backlog.count(turn)
                    run = line.propose(self._timeline, waiting, busy, turn=turn)
                    self._add(run)
                    decided.append(run)
                break
            decided += self._fill(line, busy, kept, now_ns)
        return decided

    def next_run(self, context: Context) -> Run | None:
        """What a context is to prepare: a run of its own, else another's that it may help with."""
        if self._decided[context]:
            return self._decided[context].pop(0)
        run = self._timeline.to_help(context)
        if run is not None:
            run.hands += 1
        return run

    def may_help_on(self, context: Context) -> bool:
        """Whether a context that helps has nothing better to do."""
        return not self._decided[context] and self._timeline.free_hands >= 0

    def close(self) -> list[Run]:
        """Decide nothing any more; the runs that no context has taken, and none will."""
        self.closed = True
        left = [run for decided in self._decided.values() for run in decided]
        for decided in self._decided.values():
            decided.clear()
        return left

    def _fill(self, line: Line, busy: list[int], kept: set[int], now_ns: int) -> list[Run]:
        """Give the cores to one line, as far as it has frames; `kept` are promised already.

        What need not be prepared yet is put off, unless something due stands behind it.
        """
        for run in self._timeline.unprepared:
            if run.context in line.contexts and run.turn is None:
                line.reserve(run)
        decided: list[Run] = []
        put_off: list[Run] = []
        waiting, prepare_ns = line.waiting, line.prepare_ns
        while waiting > 0 and len(kept) < len(busy) and len(put_off) <= len(busy):
            run = line.propose(self._timeline, waiting, busy, prepare_ns)
            begins = max(busy[core] for core in run.cores)
            early_ns = begins - run.context.lead_ns(min(run.size, waiting))
            before = [other for other in put_off if not set(other.cores).isdisjoint(run.cores)]
            tensors = self._timeline.of(run.context) + sum(
                other.context is run.context for other in before
            )
            if tensors >= TENSORS or not kept.isdisjoint(run.cores):
                kept.update(run.cores)
            elif early_ns > 0:
                put_off.append(run)
                due = now_ns + early_ns
                self.due_ns = due if self.due_ns is None else min(due, self.due_ns)
            else:
                for other in (*before, run):
                    line.reserve(other)
                    self._add(other)
                decided += (*before, run)
                put_off = [other for other in put_off if other not in before]
            for core in run.cores:
                busy[core] = begins + run.ns
            waiting -= run.size
        kept.update(core for run in put_off for core in run.cores)
        return decided

    def _add(self, run: Run) -> None:
        self._timeline.add(run)
        self._decided[run.context].append(run)

    def __repr__(self) -> str:
        decided = sum(map(len, self._decided.values()))
        return f"<Schedule {decided} decided, {self.unread} unread, {self._timeline!r}>"
