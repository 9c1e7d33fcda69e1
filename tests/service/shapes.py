"""What one outgoing document must look like by itself: the contract's fields, read strictly.

Every function returns faults, a line each; fields that the contract does not name are welcome.
"""

from __future__ import annotations

import base64
import math
import re
from datetime import datetime
from typing import Any

RETAINED = frozenset({"status", "info", "availability", "last_image"})
CODES = {
    *("bad_payload", "unknown_field", "bad_id", "bad_at", "bad_response_topic", "stale"),
    *("window_too_large", "queue_full", "retained", "camera_offline", "model_error"),
}
REASONS = {
    *("evicted", "not_captured", "camera_gap", "memory"),
    *("deadline", "frames_lost", "crashed_daemon"),
}
FINDINGS = ("detections", "classes", "embedding", "outputs")
_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def faults_of(leaf: str, document: Any) -> list[str]:
    """The faults of an `ack`, `result` or `done`."""
    if not isinstance(document, dict):
        return [f"{leaf} is not a JSON object"]
    faults = [] if document.get("v") == 1 else [f"{leaf}: v is {document.get('v')!r}, not 1"]
    return faults + {"ack": _ack, "result": _result, "done": _done}[leaf](document)


def milliseconds(time: Any) -> int:
    """A time of the contract as milliseconds since 1970.

    Raises:
        ValueError: it is not RFC 3339 in UTC with three decimals.
    """
    if not isinstance(time, str) or not _TIME.fullmatch(time):
        raise ValueError(f"{time!r} is not RFC 3339 in UTC with milliseconds")
    return round(datetime.fromisoformat(time).timestamp() * 1000)


def _ack(ack: dict[str, Any]) -> list[str]:
    faults = []
    status, error = ack.get("status"), ack.get("error")
    if status not in ("accepted", "duplicate", "rejected"):
        faults.append(f"ack: status {status!r}")
    if "id" not in ack or not (_is_id(ack["id"]) or (ack["id"] is None and status == "rejected")):
        faults.append(f"ack: {status} with id {ack.get('id')!r}")
    if (status == "rejected") != (error is not None):
        faults.append(f"ack: {status} with error {error!r}")
    if error is not None:
        faults += _error("ack", error)
        if isinstance(error, dict) and error.get("code") not in CODES:
            faults.append(f"ack: the contract has no code {error.get('code')!r}")
    return faults + (_times("ack", ack, "first_at") if status == "duplicate" else [])


def _result(result: dict[str, Any]) -> list[str]:
    faults = _names("result", result, "camera", "model") + _counts("result", result, "index")
    if not _is_id(result.get("id")):
        faults.append(f"result: id {result.get('id')!r}")
    frame = result.get("frame")
    if isinstance(frame, dict):
        faults += _counts("frame", frame, "seq", "width", "height") + _times("frame", frame, "at")
        if type(frame.get("offset_ms")) is not int:
            faults.append(f"frame: offset_ms is {frame.get('offset_ms')!r}")
        faults += _counts("frame", frame, "position") if "position" in frame else []
    else:
        faults.append(f"result: frame is {frame!r}")
        frame = {}
    faults += _numbers("result.ms", result.get("ms"), "wait", "prepare", "infer", "post")
    kinds = [kind for kind in FINDINGS if result.get(kind) is not None]
    if "error" in result:
        faults += _error("result", result["error"])
        if kinds not in ([], ["detections"]):  # a second model's error stands beside the first's
            return [*faults, f"result: an error and {kinds}"]
        if not kinds:
            return faults
    elif len(kinds) != 1 and not result.get("left_out"):
        faults.append(f"result: no error and findings {kinds}")
    faults += _batch(result.get("batch"))
    for detection in result.get("detections") or []:
        faults += _detection(detection, frame)
    for listed in ("detections", "classes"):
        faults += _falling(result.get(listed))
    faults += _counts("result", result, "crops_left_out") if "crops_left_out" in result else []
    return faults + (_embedding(result["embedding"]) if "embedding" in kinds else [])


def _done(done: dict[str, Any]) -> list[str]:
    faults = _names("done", done, "camera", "boot_id")
    if not _is_id(done.get("id")):
        faults.append(f"done: id {done.get('id')!r}")
    faults += _counts(
        "done", done, "requested", "published", "failed", "thinned", "already_claimed", "attempts"
    )
    if done.get("event_type") not in ("complete", "partial", "failed"):
        faults.append(f"done: event_type {done.get('event_type')!r}")
    for field in ("missing", "summary"):
        counts = done.get(field)
        faults += (
            _counts(f"done.{field}", counts, *counts)
            if isinstance(counts, dict)
            else [f"done: {field} is {counts!r}"]
        )
    if isinstance(done.get("missing"), dict) and (unknown := done["missing"].keys() - REASONS):
        faults.append(f"done: the contract has no reason {sorted(unknown)}")
    window = done["window"] if _is_dict(done.get("window")) else {}
    wrong = _times("done.window", window, "from", "to")
    if not wrong and milliseconds(window["from"]) > milliseconds(window["to"]):
        wrong.append(f"done: window ends before it begins: {window}")
    return faults + wrong + _numbers("done.ms", done.get("ms"), "total", "infer")


def _batch(batch: Any) -> list[str]:
    places = [batch.get(key) for key in ("slot", "filled", "size")] if _is_dict(batch) else []
    if not places or any(type(place) is not int for place in places):
        return [f"result: batch is {batch!r}"]
    slot, filled, size = places
    return [] if 0 <= slot < filled <= size else [f"result: no such place in a batch: {batch}"]


def _detection(detection: Any, frame: dict[str, Any]) -> list[str]:
    box = detection.get("box") if _is_dict(detection) else None
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(side) for side in box):
        return [f"detection: box of {detection!r}"]
    x, y, w, h = box
    faults = [] if [round(side, 1) for side in box] == box else [f"box {box}: more decimals"]
    width, height = frame.get("width", 0), frame.get("height", 0)
    slack = 0.11  # two values rounded to one decimal
    if _is_number(width) and _is_number(height):
        inside = x >= 0 and y >= 0 and x + w <= width + slack and y + h <= height + slack
        faults += [] if inside else [f"box {box} leaves the frame of {width}×{height}"]
    faults += _embedding(detection["embedding"]) if "embedding" in detection else []
    return faults + _falling(detection.get("classes"))


def _falling(listed: Any) -> list[str]:
    """Labels and scores of detections or classes, best first."""
    if listed is None:
        return []
    for item in listed:
        if not (_is_dict(item) and _is_number(item.get("score")) and 0 <= item["score"] <= 1):
            return [f"score of {item!r}"]
        if not isinstance(item.get("label"), str) or type(item.get("class_id")) is not int:
            return [f"label or class_id of {item!r}"]
    scores = [item["score"] for item in listed]
    return [] if scores == sorted(scores, reverse=True) else [f"best is not first: {scores}"]


def _embedding(embedding: Any) -> list[str]:
    try:
        size = len(base64.b64decode(embedding["f32"], validate=True))
        return [] if size == 4 * embedding["dim"] else [f"embedding: {size} bytes"]
    except (KeyError, TypeError, ValueError) as error:
        return [f"embedding: {error!r}"]


def _error(of: str, error: Any) -> list[str]:
    return _names(f"{of}.error", error if _is_dict(error) else {}, "code", "message")


def _names(of: str, document: dict[str, Any], *fields: str) -> list[str]:
    wrong = [f for f in fields if not isinstance(document.get(f), str) or not document[f]]
    return [f"{of}: {field} is {document.get(field)!r}" for field in wrong]


def _counts(of: str, document: dict[str, Any], *fields: str) -> list[str]:
    wrong = [f for f in fields if type(document.get(f)) is not int or document[f] < 0]
    return [f"{of}: {field} is {document.get(field)!r}, not a count" for field in wrong]


def _numbers(of: str, document: Any, *fields: str) -> list[str]:
    found = document if _is_dict(document) else {}
    wrong = [f for f in fields if not _is_number(found.get(f)) or found[f] < 0]
    return [f"{of}: {field} is {found.get(field)!r}" for field in wrong]


def _times(of: str, document: dict[str, Any], *fields: str) -> list[str]:
    faults = []
    for field in fields:
        try:
            milliseconds(document.get(field))
        except ValueError as error:
            faults.append(f"{of}: {field}: {error}")
    return faults


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
