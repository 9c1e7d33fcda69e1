"""What decoding eight slots of a 640×640 YOLO costs, over the inference that a simulated NPU tells.

A published time of a YOLO there is none here. The figure under it is go-rknnlite's of OSNet at
batch 8 on an RK3588, 22.336 ms for eight pictures of 256×128, as the simulated NPU has it; first
times 12.5, the pixels of 640×640 over those of 256×128, then as it is, which no YOLO reaches.
Exits 1 where decoding is beyond a tenth of the scaled one.
"""

from __future__ import annotations

import statistics
import sys
import time

import numpy as np

from framebuf.config import Model
from framebuf.models.placement import fit
from framebuf.models.tasks import open_task
from framebuf.models.tensor import TensorSpec

LIMIT = 0.10
INFER_MS = 22.336
PIXELS = 640 * 640 / (256 * 128)
SLOTS, SIDE, CLASSES, OBJECTS = 8, 640, 80, 5
STRIDES = (8, 16, 32)
CELLS = sum((SIDE // stride) ** 2 for stride in STRIDES)
REPEATS = 60

CASES: dict[str, tuple[str, list[tuple[int, ...]]]] = {
    "v5 rknn_model_zoo": ("yolov5", [(255, SIDE // s, SIDE // s) for s in STRIDES]),
    "v5 Ultralytics": ("yolov5", [(3 * CELLS, 85)]),
    "v8 rknn_model_zoo": (
        "yolov8",
        [(channels, SIDE // s, SIDE // s) for s in STRIDES for channels in (64, CLASSES, 1)],
    ),
    "v8 Ultralytics": ("yolov8", [(4 + CLASSES, CELLS)]),
}


def outputs_of(shapes: list[tuple[int, ...]], rng: np.random.Generator) -> list[np.ndarray]:
    """Noise far below the threshold, and in each slot a few objects that some cells see."""
    arrays = [rng.random((SLOTS, *shape), np.float32) * np.float32(0.05) for shape in shapes]
    for slot in range(SLOTS):
        for _ in range(OBJECTS):
            line, column = (int(each) for each in rng.integers(3, SIDE // 32 - 3, 2))
            class_id = int(rng.integers(CLASSES))
            for step in range(4):  # neighbouring cells see the same object
                score = 0.5 + 0.4 * rng.random()
                mark(arrays, slot, line + step % 2, column + step // 2, class_id, score)
    return arrays


def mark(
    arrays: list[np.ndarray], slot: int, line: int, column: int, class_id: int, score: float
) -> None:
    """A box of 60 by 80 pixels or so in a cell of stride 32."""
    if len(arrays) == 9:
        arrays[7][slot, class_id, line, column] = score
        arrays[6][slot, 2::16, line, column] = 9
    elif len(arrays) == 3:
        arrays[2][slot, [4, 5 + class_id], line, column] = 0.95, score
        arrays[2][slot, :4, line, column] = 0.4
    else:
        turned = arrays[0].shape[1] < arrays[0].shape[2]
        rows = arrays[0].swapaxes(1, 2) if turned else arrays[0]
        row = rows[slot, line * 20 + column]
        row[:4] = (column * 32, line * 32, 60, 80)
        row[4] = row[4] if turned else 0.95
        row[(4 if turned else 5) + class_id] = score


def milliseconds(decoder: str, shapes: list[tuple[int, ...]]) -> tuple[float, float]:
    """The median of the processor's time to read all slots, and how many objects a slot has."""
    specs = tuple(TensorSpec(f"o{i}", (SLOTS, *s), "float32") for i, s in enumerate(shapes))
    picture = TensorSpec("images", (SLOTS, SIDE, SIDE, 3), "uint8", "NHWC")
    asked = Model(name="yolo", path="yolo.rknn", task="detect", decoder=decoder)  # type: ignore[arg-type]
    task = open_task(asked, specs, picture=picture)
    arrays = tuple(outputs_of(shapes, np.random.default_rng(0)))
    places = [fit("letterbox", (1920, 1080), (SIDE, SIDE)).placement] * SLOTS
    found = [len(each.detections or ()) for each in task.read(arrays, places)]
    times = []
    for _ in range(REPEATS):
        start = time.process_time()  # what waits for a busy core is no cost of decoding
        task.read(arrays, places)
        times.append(1e3 * (time.process_time() - start))
    return statistics.median(times), statistics.mean(found)


def main() -> int:
    worst = 0.0
    for name, (decoder, shapes) in CASES.items():
        took, objects = milliseconds(decoder, shapes)
        ratio = took / (INFER_MS * PIXELS)
        worst = max(worst, ratio)
        print(
            f"decode {SLOTS}×{SIDE}×{SIDE} {name}, {objects:.1f} objects a slot: "
            f"{took:.2f} ms of processor, {ratio:.4f} of the simulated inference scaled to its "
            f"pixels (limit {LIMIT:.2f}), {took / INFER_MS:.3f} of it unscaled"
        )
    return 1 if worst > LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())
