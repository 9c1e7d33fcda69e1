"""What a camera answers to a trigger, as lines for people and as exit statuses."""

from __future__ import annotations

from typing import Any

from framebuf.cli.where import FAILED, NO_ANSWER, PART

EXIT = {"complete": 0, "partial": PART, "failed": FAILED}


def line_of(leaf: str, document: dict[str, Any]) -> str:
    """One message as a line for people; what is none of the contract's is told as it is."""
    try:
        return _line_of(leaf, document)
    except (KeyError, TypeError, ValueError, AttributeError):  # anybody may write on topics
        return f"cannot be read: {str(document)[:200]}"


def _line_of(leaf: str, document: dict[str, Any]) -> str:
    if leaf == "ack":
        error = document.get("error") or {}
        why = f" {error.get('code')}: {error.get('message')}" if error else ""
        return f"{document['status']} {document['id']}{why}"
    if "error" in document and not {"frame", "requested"} & document.keys():
        error, which = document["error"], document.get("event_type", document.get("index"))
        return f"{which}: {error['code']}: {error['message']}"  # TooLarge
    if leaf == "done":
        parts = [
            f"{document['event_type']}: {document['published']} of {document['requested']} frames "
            f"in {document['ms']['total']:.0f} ms"
        ]
        if document.get("failed"):
            parts.append(f"{document['failed']} of them errors")
        parts += [f"{count} missing: {reason}" for reason, count in document["missing"].items()]
        if document["already_claimed"]:
            parts.append(f"{document['already_claimed']} claimed by earlier drains")
        return ", ".join(parts)
    frame = document["frame"]
    return f"{document['index']:4d}  {frame['at']}  {frame['offset_ms']:+6d} ms  {found(document)}"


def found(document: dict[str, Any]) -> str:
    """What a result says, briefly."""
    error = document.get("error")
    failure = [f"error {error['code']}: {error['message']}"] if error else []
    if "detections" in document:
        objects = ", ".join(map(_object, document["detections"])) or "nothing"
        return "; ".join([objects, *failure])
    if failure:
        return failure[0]
    if "classes" in document:
        return ", ".join(f"{c['label']} {c['score']:.2f}" for c in document["classes"][:2])
    if "embedding" in document:
        return f"embedding of {document['embedding']['dim']}"
    return "tensors"


def _object(detection: dict[str, Any]) -> str:
    """Its label and score, and the best class that a second model gave it."""
    best = "".join(f" ({c['label']} {c['score']:.2f})" for c in detection.get("classes", [])[:1])
    return f"{detection['label']} {detection['score']:.2f}{best}"


def code_of(
    done: dict[str, Any] | None, ack: dict[str, Any] | None = None, *, wait: bool = True
) -> int:
    """The exit status that a camera's answer stands for; an ack alone does where none `wait`s."""
    if done is not None:
        return EXIT.get(str(done.get("event_type")), FAILED)
    status = None if ack is None else ack.get("status")
    if status == "rejected":
        return FAILED
    return 0 if status in ("accepted", "duplicate") and not wait else NO_ANSWER
