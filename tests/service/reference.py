"""What the sample networks say about a picture, worked out a second time and slowly.

Shares nothing with the product but the model files: a test compares the two.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""(height, width, 3) uint8, BGR."""
Finding = dict[str, Any]
Candidate = tuple[float, int, tuple[float, float, float, float]]
"""Score, class, left, top, right, bottom in network pixels."""

ASSETS = Path(__file__).parents[2] / "framebuf" / "demo" / "assets"
SIDE = 416
THRESHOLD = 0.40
IOU = 0.50
BINS = 11
GREY = 114

SCORE_TOLERANCE = 0.005
"""The arithmetic's order (threads, batch size) moves a score by less than 0.0001, rounding by
0.00005; a neighbouring frame of a numbered video by more or by nothing: boxes tell those apart."""
BOX_TOLERANCE = 0.5
"""Pixels. Rounding to one decimal makes 0.1 between two honest answers; numbered frames are
painted at least 2 px apart."""


def detect(bgr: Picture) -> list[Finding]:
    """NanoDet's objects, best score first: label, class_id, score, box [x, y, width, height]."""
    height, width = bgr.shape[:2]
    scale = min(SIDE / width, SIDE / height)
    new_width, new_height = int(round(width * scale)), int(round(height * scale))  # noqa: RUF046
    left, top = (SIDE - new_width) // 2, (SIDE - new_height) // 2
    canvas = np.full((SIDE, SIDE, 3), GREY, np.uint8)
    canvas[top : top + new_height, left : left + new_width] = cv2.resize(
        bgr, (new_width, new_height), interpolation=cv2.INTER_LINEAR
    )
    rgb = canvas[:, :, ::-1]
    session = _session("nanodet-416.onnx")
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(None, {"images": rgb[np.newaxis]}), strict=True))

    candidates: list[Candidate] = []
    for stride in (8, 16, 32):
        candidates += _candidates(outputs[f"cls{stride}"][0], outputs[f"reg{stride}"][0], stride)
    labels = _labels("coco.txt")
    found = []
    for score, class_id, corners in _suppress(candidates):
        xs = [(corners[side] - left) * width / new_width for side in (0, 2)]
        ys = [(corners[side] - top) * height / new_height for side in (1, 3)]
        x1, x2 = (min(max(x, 0.0), width) for x in xs)
        y1, y2 = (min(max(y, 0.0), height) for y in ys)
        box = [round(side, 1) for side in (x1, y1, x2 - x1, y2 - y1)]
        finding = {"label": labels[class_id], "class_id": class_id, "score": round(score, 4)}
        found.append(finding | {"box": box})
    return found


def classify(bgr: Picture) -> list[Finding]:
    """MobileNetV2's best five classes, best first: label, class_id, score after softmax."""
    height, width = bgr.shape[:2]
    side = round(min(width, height) * 224 / 256)
    x, y = (width - side) // 2, (height - side) // 2
    centre = bgr[y : y + side, x : x + side]
    small = cv2.resize(centre, (224, 224), interpolation=cv2.INTER_LINEAR)
    batch = np.ascontiguousarray(small[:, :, ::-1])[np.newaxis]
    logits = _session("mobilenetv2-224.onnx").run(["logits"], {"images": batch})[0][0]
    scores = _softmax([float(logit) for logit in logits])
    labels = _labels("imagenet.txt")
    best = sorted(range(len(scores)), key=lambda i: -scores[i])[:5]
    return [{"label": labels[i], "class_id": i, "score": round(scores[i], 4)} for i in best]


def equal(a: list[Finding], b: list[Finding]) -> bool:
    """Whether two lists of detections say the same, within the tolerances."""
    return not difference(a, b)


def difference(a: list[Finding], b: list[Finding]) -> str:
    """What one list says and the other does not, a line each; empty if they agree.

    The order of near-equal scores is free, and what stands at the very threshold may be in one
    list only.
    """
    lines = []
    left_over = list(b)
    for one in a:
        same = [other for other in left_over if other["class_id"] == one["class_id"]]
        other = min(same, key=lambda other: _box_distance(one, other), default=None)
        if other is None:
            lines += [f"only the first has {_text(one)}"] if _is_clear(one) else []
            continue
        left_over.remove(other)
        apart = _box_distance(one, other)
        if one["label"] != other["label"]:
            lines.append(f"labels differ: {_text(one)} and {_text(other)}")
        if not apart <= BOX_TOLERANCE:  # true of NaN as well
            lines.append(f"boxes {apart:.1f} px apart: {_text(one)} and {_text(other)}")
        if not abs(one["score"] - other["score"]) <= SCORE_TOLERANCE:
            lines.append(f"scores differ: {_text(one)} and {_text(other)}")
    lines += [f"only the second has {_text(other)}" for other in left_over if _is_clear(other)]
    return "\n".join(lines)


def _candidates(cls: NDArray[np.float32], reg: NDArray[np.float32], stride: int) -> list[Candidate]:
    """Every class of every cell at or above the threshold: one cell may give several."""
    found = []
    columns = SIDE // stride
    for cell, class_id in np.argwhere(cls >= THRESHOLD).tolist():
        row, column = divmod(cell, columns)
        distances = []
        for side in range(4):
            bins = [float(value) for value in reg[cell, side * BINS : (side + 1) * BINS]]
            mean = sum(place * share for place, share in enumerate(_softmax(bins)))
            distances.append(mean * stride)
        left, top, right, bottom = distances
        x, y = (column + 0.5) * stride, (row + 0.5) * stride
        corners = (x - left, y - top, x + right, y + bottom)
        found.append((float(cls[cell, class_id]), class_id, corners))
    return found


def _suppress(candidates: list[Candidate]) -> list[Candidate]:
    """Non-maximum suppression within each class, best score first."""
    kept: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda candidate: -candidate[0]):
        _, class_id, corners = candidate
        if all(class_id != other[1] or _iou(corners, other[2]) <= IOU for other in kept):
            kept.append(candidate)
    return kept


def _iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return shared / (both - shared)


def _softmax(values: list[float]) -> list[float]:
    largest = max(values)
    powers = [math.exp(value - largest) for value in values]
    total = sum(powers)
    return [power / total for power in powers]


def _box_distance(a: Finding, b: Finding) -> float:
    """The largest difference of any edge, in pixels."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = a["box"], b["box"]
    edges = [ax - bx, ay - by, ax + aw - bx - bw, ay + ah - by - bh]
    return float(np.abs(edges).max())  # NaN if any is; Python's max would lose it


def _is_clear(finding: Finding) -> bool:
    return not finding["score"] <= THRESHOLD + SCORE_TOLERANCE


def _text(finding: Finding) -> str:
    return f"{finding['label']} {finding['score']:.4f} at {list(finding['box'])}"


@functools.cache
def _session(name: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        str(ASSETS / name), options, providers=["CPUExecutionProvider"]
    )


@functools.cache
def _labels(name: str) -> list[str]:
    return (ASSETS / name).read_text("utf-8").splitlines()
