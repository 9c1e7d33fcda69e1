"""What the documents of one request must say together, and of several drains: from MQTT alone.

Pure functions over messages in the order of their arrival; every one returns faults, a line each.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tests.service.shapes import RETAINED, faults_of, milliseconds

if TYPE_CHECKING:
    from tests.service.messages import Document, Message, Request

MOMENT_TOLERANCE_MS = 20
"""at − offset_ms is the event's moment; rounding makes 2 ms, a slewed clock some more."""

COUNTED = ("published", "failed", "missing", "summary")
"""What a done that comes again may count anew."""
FOLLOWS = ("event_type", "ms", "attempts")
"""And what is another only with these."""


def request_faults(
    request: Request,
    trigger: Document | None = None,
    *,
    duplicates: int = 0,
    is_redelivered: bool = False,
) -> list[str]:
    """Hold an accepted id against the contract.

    `trigger` is what was sent, as far as known. `duplicates` triggers with its id came again and
    were acknowledged as such. `is_redelivered`: the daemon crashed meanwhile, and delivery is at
    least once.
    """
    # At least once means, and no more than this:
    # - a message may come again, its copies after those of what follows it: a result after done;
    # - if the crash fell between the journal and the ack, the trigger that the broker repeats is a
    #   duplicate, acknowledged as such, and maybe after the first results;
    # - a result whose arrival was not known is inferred again: one copy may have an error and
    #   another findings, but all are of one frame, and two with findings have the same labels;
    # - a done that comes again counts, for each index, the newest copy that came before it; it is
    #   another document only where these counts are others.
    messages = (*request.acks, *request.results, *request.dones)
    faults = [fault for m in messages for fault in _message_faults(m)]
    if len({m.camera for m in messages}) > 1:
        faults.append(f"several cameras speak of it: {sorted({m.camera for m in messages})}")
    faults += _ack_faults(request, duplicates, is_redelivered=is_redelivered)
    if not request.dones:
        faults.append("no done")
    elif len(request.dones) > 1 + duplicates and not is_redelivered:
        faults.append(f"{len(request.dones)} done documents, not 1")
    if faults:
        return faults  # what follows relies on fields that are there
    documents = [m.document for m in request.dones]
    if any(_differ(*two, is_redelivered=is_redelivered) for two in itertools.pairwise(documents)):
        faults.append("its done documents differ")
    disordered = _order_faults(request, is_redelivered=is_redelivered)
    faults += disordered + _result_faults(request, is_redelivered=is_redelivered)
    for done in [] if disordered else request.dones:
        counted = _done_faults(done.document, list(request.newest_before(done).values()))
        faults += [fault for fault in counted if fault not in faults]
    return faults + _trigger_faults(request.done, trigger or {})


def rejection_faults(request: Request, code: str | None = None) -> list[str]:
    """Hold a refused id: nothing but a refusal, once and with this code if one is given."""
    faults = [fault for m in request.acks for fault in _message_faults(m)]
    if faults:
        return faults
    codes = [(m.document.get("error") or {}).get("code") for m in request.acks]
    if None in codes or (code is not None and codes != [code]):
        faults.append(f"rejected with {codes}, expected {[code]}")
    if request.results or request.dones:
        faults.append(f"rejected, yet {len(request.results)} results, {len(request.dones)} done")
    return faults


def drain_faults(results: Iterable[Document]) -> list[str]:
    """Among the results of drains: no frame answered under two ids."""
    seen: dict[tuple[str, int], str] = {}
    faults = []
    for result in results:
        frame, id = (result["camera"], result["frame"]["seq"]), result["id"]
        if seen.setdefault(frame, id) != id:
            faults.append(f"{frame[0]} frame {frame[1]} is answered by {seen[frame]} and {id}")
    return faults


def retain_faults(messages: Iterable[Message]) -> list[str]:
    """Retained is what the contract retains, and nothing else that the daemon says."""
    return [
        f"{m.topic} came with retain {m.retain}"
        for m in messages
        if m.leaf != "trigger" and m.retain != (m.leaf in RETAINED)
    ]


def outcome(requested: int, published: int, failed: int, missing: int) -> str:
    """The event_type that these counts mean."""
    if missing == failed == 0:
        return "complete"
    return "failed" if requested > 0 and published == failed else "partial"


def _message_faults(message: Message) -> list[str]:
    faults = [f"{message.leaf} was retained"] if message.retain else []
    if message.qos not in (1, None):
        faults.append(f"{message.leaf} came with QoS {message.qos}")
    if _is_object(message) and message.document.get("camera", message.camera) != message.camera:
        faults.append(f"{message.topic} speaks of camera {message.document['camera']}")
    return faults + faults_of(message.leaf, message.document)


def _ack_faults(request: Request, duplicates: int, *, is_redelivered: bool) -> list[str]:
    statuses = Counter(m.document.get("status") for m in request.acks if _is_object(m))
    accepted, again = statuses.pop("accepted", 0), statuses.pop("duplicate", 0)
    faults = [f"other acks are {dict(statuses)}"] if statuses else []
    if is_redelivered:
        enough = accepted + again >= 1 + duplicates
        return faults if enough else [*faults, f"{accepted} accepted and {again} duplicate acks"]
    if accepted != 1:
        faults.append(f"{accepted} acks say accepted, not 1")
    if again != duplicates:
        faults.append(f"{again} acks say duplicate, not {duplicates}")
    return faults


def _order_faults(request: Request, *, is_redelivered: bool) -> list[str]:
    acknowledged = -1 if is_redelivered else _first_accepted(request)
    ended = request.dones[0].order
    early = [m.document["index"] for m in request.results if m.order < acknowledged]
    in_time = {m.document["index"] for m in request.results if m.order < ended}
    late = [m.document["index"] for m in request.results if m.order > ended]
    if is_redelivered:
        late = [index for index in late if index not in in_time]
    faults = [f"results {early} before the ack"] if early else []
    faults += ["done before the ack"] if ended < acknowledged else []
    return faults + ([f"results {late} after done"] if late else [])


def _first_accepted(request: Request) -> int:
    return next(m.order for m in request.acks if m.document["status"] == "accepted")


def _result_faults(request: Request, *, is_redelivered: bool) -> list[str]:
    faults = []
    by_index = request.by_index
    well = {index: result for index, result in by_index.items() if "error" not in result}
    for message in request.results:
        again, first = message.document, by_index[message.document["index"]]
        if again is first:
            continue
        if not is_redelivered:
            faults.append(f"index {again['index']} came again")
        elif again["frame"]["seq"] != first["frame"]["seq"]:
            faults.append(f"index {again['index']} came again with another frame")
        elif "error" not in again:
            well.setdefault(again["index"], again)
            if _labels(again) != _labels(well[again["index"]]):
                faults.append(f"index {again['index']} came again with other findings")
    if (published := list(by_index)) != sorted(published):
        faults.append(f"published in the order {published}")
    in_order = [by_index[index] for index in sorted(by_index)]
    for before, after in itertools.pairwise(in_order):
        pair = f"indexes {before['index']} and {after['index']}"
        if before["frame"]["seq"] >= after["frame"]["seq"]:
            faults.append(f"{pair}: seq {before['frame']['seq']}, {after['frame']['seq']}")
        if milliseconds(before["frame"]["at"]) > milliseconds(after["frame"]["at"]):
            faults.append(f"{pair}: at {before['frame']['at']}, {after['frame']['at']}")
    moments = [milliseconds(r["frame"]["at"]) - r["frame"]["offset_ms"] for r in in_order]
    if moments and max(moments) - min(moments) > MOMENT_TOLERANCE_MS:
        faults.append(f"at − offset_ms should be one moment; {max(moments) - min(moments)} ms")
    return faults


def _differ(one: Document, other: Document, *, is_redelivered: bool) -> bool:
    """Whether two done documents of one request say what cannot both be."""
    if one == other or not is_redelivered:
        return one != other
    same_counts = all(one[field] == other[field] for field in COUNTED)
    fixed = [
        {key: value for key, value in done.items() if key not in (*COUNTED, *FOLLOWS)}
        for done in (one, other)
    ]
    return same_counts or fixed[0] != fixed[1]


def _done_faults(done: Document, results: Sequence[Document]) -> list[str]:
    requested, published, failed = done["requested"], done["published"], done["failed"]
    missing = sum(done["missing"].values())
    with_error = sum("error" in result for result in results)
    faults = []
    if requested != published + missing:
        faults.append(f"requested {requested} is not published {published} + missing {missing}")
    if published != len(results):
        faults.append(f"done says {published} published; {len(results)} came")
    if failed != with_error:
        faults.append(f"done says {failed} failed; {with_error} results have an error")
    if beyond := [r["index"] for r in results if r["index"] >= requested]:
        faults.append(f"indexes {beyond} with {requested} requested")
    if done["event_type"] != (expected := outcome(requested, published, failed, missing)):
        faults.append(f"event_type {done['event_type']}; the counts mean {expected}")
    if done["summary"] != (counted := dict(Counter(itertools.chain(*map(_labels, results))))):
        faults.append(f"summary {done['summary']}; the results give {counted}")
    return faults


def _trigger_faults(done: Document, trigger: Document) -> list[str]:
    faults = []
    left_out = "meta" in done.get("left_out", ())
    if trigger and done.get("meta") != (None if left_out else trigger.get("meta")):
        faults.append(f"meta {done.get('meta')!r}, sent was {trigger.get('meta')!r}")
    if done["requested"] > trigger.get("max_frames", done["requested"]):
        faults.append(f"{done['requested']} requested; max_frames is {trigger['max_frames']}")
    if trigger.get("mode") == "window" and done["already_claimed"]:
        faults.append(f"a window with {done['already_claimed']} already claimed")
    return faults


def _labels(result: Document) -> set[str]:
    """The labels under which `summary` counts this frame: all found, or the best class."""
    found = {detection["label"] for detection in result.get("detections") or []}
    return found | {best["label"] for best in (result.get("classes") or [])[:1]}


def _is_object(message: Message) -> bool:
    return isinstance(message.document, dict)
