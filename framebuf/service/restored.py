"""What a daemon finds of the one before: its requests, with their frames leased again."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from framebuf.buffer.claims import Claims
from framebuf.buffer.window import Asked, Window
from framebuf.service.record import responses
from framebuf.service.request import Request
from framebuf.service.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from framebuf.buffer.buffer import Buffer
    from framebuf.service.entry import Entry
    from framebuf.service.journal import Journal
    from framebuf.service.marks import Marks

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Restored:
    """Before the cameras start: what they write must find these frames leased."""

    open: dict[str, list[Request]] = field(default_factory=dict)
    """By camera, in order of acceptance: to be worked on, or answered once more."""
    lost: list[Request] = field(default_factory=list)
    """Of another boot, or of a camera that is no more: to be ended."""
    claims: dict[str, Claims] = field(default_factory=dict)
    """By camera."""

    @classmethod
    def of(
        cls,
        entries: Sequence[Entry],
        journal: Journal,
        marks: Marks,
        buffers: Mapping[str, Buffer],
        boot_id: str,
    ) -> Restored:
        """Lease the frames of what is open, and note that this start works on it.

        Raises:
            JournalError: that cannot be written.
        """
        restored = cls({name: [] for name in buffers}, [], {})
        for name, buffer in buffers.items():
            restored.claims[name] = Claims(journal.claims(name))
            known = [
                entry for entry in entries if (entry.order.camera, entry.boot) == (name, boot_id)
            ]
            buffer.go_on_from(1 + max(_newest(known), restored.claims[name].newest()))
        for entry in entries:
            camera = entry.order.camera
            buffer_of = buffers.get(camera) if entry.boot == boot_id else None
            claims = restored.claims[camera] if buffer_of and entry.order.drain else None
            request = _request(entry, claims)
            if buffer_of is None:
                restored.lost.append(request)
                continue
            request.attempts += 1
            request.sent = marks.sent.get(entry.number, 0)
            request.strikes = marks.struck.get(entry.number, request.strikes)
            for item in request.items:
                item.lease = buffer_of.lease(item.asked.stamp.seq)
                item.frame = item.lease.frame if item.lease else None
            restored.open[camera].append(request)
        with journal.transaction(durable=False):
            for requests in restored.open.values():
                for request in requests:
                    journal.attempt(request.number, request.attempts, request.strikes)
        marks.forget(boot_id)
        if entries:
            _log.info(
                "%d requests of the daemon before go on, %d are lost with their frames",
                len(entries) - len(restored.lost), len(restored.lost),
            )  # fmt: skip
        return restored


def _request(entry: Entry, claims: Claims | None) -> Request:
    progress = entry.progress
    window = Window(entry.order.spec, claims)
    window.resume(progress.window)
    earlier = Tally(
        progress.published,
        progress.failed,
        # what a done document counts as missing is not told with the frames
        Counter(progress.missing if entry.done is None else {}),
        Counter(progress.summary),
        progress.infer_ms,
    )
    request = Request(
        entry.order,
        window,
        entry.number,
        earlier=earlier,
        over=progress.over,
        attempts=entry.attempts,
        strikes=entry.strikes,
        askers=responses(progress.askers),
    )
    request.started, request.told = progress.started, progress.told
    request.done_payload = entry.done
    for place, stamp in entry.frames:
        request.add_saved(Asked(place, stamp))
    return request


def _newest(entries: Sequence[Entry]) -> int:
    """The highest frame number that requests of one camera know; −1 where there is none."""
    seqs = [stamp.seq for entry in entries for _, stamp in entry.frames]
    considered = [entry.progress.window["last_seq"] for entry in entries]
    return max((seq for seq in (*seqs, *considered) if seq is not None), default=-1)
