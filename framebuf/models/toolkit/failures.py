"""What went wrong in rknn-toolkit2 or pip, out of pages of log."""

from __future__ import annotations

import re
import signal

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
ERROR = re.compile(
    r"^(?:E |ERROR: |(?:\w+\.)*\w*(?:Error|Exception|InvalidGraph|NotImplemented)\b.*?:)\s*"
)
HARMLESS = ("Unkown op target: 0",)
"""Said as an error whenever a model is built, and means nothing."""

REMEDIES = (
    (r"need to be constant|dynamic graph|NonZero|NonMaxSuppression",
     "export the model without the post-processing that has this operator, as rknn_model_zoo does"),
    (r"input shape .* not support|dynamic_input", "export it with a fixed height and width"),
    (r"opset", "export it with a lower opset, 12 to 19"),
    (r"Not Support Dtype|[Uu]nsupport(?:ed)? data ?type",
     "export it as float32; the NPU has no such type"),
    (r"INVALID_GRAPH|INVALID_PROTOBUF|DecodeError|Error parsing message",
     "the ONNX file is broken, or has operators that ONNX does not know"),
    (r"[Nn]ot support|[Uu]nsupport", "replace this operator when exporting the model"),
    (r"No space left", "free some space"),
    (r"MemoryError|bad_alloc", "convert where there is more memory, or smaller batches"),
    (r"No matching distribution|Could not find a version",
     "pip's index has no such package for this machine; rknn-toolkit2 is for Linux on x86-64 and "
     "aarch64"),
    (r"Connection|Temporary failure|Max retries|timed out",
     "look at the network, or at pip's index"),
)  # fmt: skip
"""What a message says, and what to do about it."""


def reason(log: str) -> str | None:
    """The last error in a log, on one line; None where it has none."""
    lines = re.split(r"[\r\n]+", COLOUR.sub("", log))
    starts = [
        at
        for at, line in enumerate(lines)
        if ERROR.match(line) and not any(text in line for text in HARMLESS)
    ]
    said = [at for at in starts if "Traceback (most recent call last)" not in lines[at]]
    if not said:
        return None
    last = said[-1]
    text = [re.sub(r"^(E (RKNN: \[[^]]*\] )?|ERROR: )", "", lines[last])]
    for line in lines[last + 1 : last + 3]:
        if not line.startswith("  ") or not line.strip():
            break
        text.append(line)
    return " ".join(" ".join(text).split())[:400]


def remedy(text: str) -> str | None:
    """What to do about an error, where that is known."""
    return next((advice for said, advice in REMEDIES if re.search(said, text)), None)


def explained(log: str, code: int, where: str) -> str:
    """An error for people: what the log says last, else how the process ended, and a remedy."""
    text = reason(log)
    if text is None and code < 0:
        name = signal.Signals(-code).name
        text = f"it was ended by {name}"
        if name == "SIGKILL":
            text += "; it may have wanted more memory than there is: try fewer frames a batch"
    text = text or f"it ended with code {code} and said nothing"
    advice = remedy(text)
    return f"{text}{f'; {advice}' if advice else ''} (all it said: {where})"
