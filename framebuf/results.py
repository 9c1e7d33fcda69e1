"""What a network says about a frame, as it goes out: boxes, classes, embeddings, raw tensors."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import msgspec
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Classification(msgspec.Struct, frozen=True):
    """One class and its probability."""

    label: str
    class_id: int
    score: float
    """After softmax, 0 to 1."""


class Embedding(msgspec.Struct, frozen=True):
    """A vector of unit length: similar pictures have a dot product near 1."""

    f32: str
    """float32, little-endian, base64."""
    dim: int

    @classmethod
    def of(cls, vector: NDArray[np.float32]) -> Embedding:
        """Encode a (dim,) vector, scaled to unit length; a zero vector stays zero."""
        length = float(np.linalg.norm(vector))
        unit = (vector / length if length else vector).astype("<f4")
        return cls(base64.b64encode(unit.tobytes()).decode("ascii"), len(unit))

    def vector(self) -> NDArray[np.float32]:
        """(dim,) float32."""
        return np.frombuffer(base64.b64decode(self.f32), "<f4")


class Detection(msgspec.Struct, frozen=True, omit_defaults=True):
    """One object found, and what a second model says of it."""

    label: str
    class_id: int
    score: float
    """0 to 1."""
    box: tuple[float, float, float, float]
    """x, y, width, height in pixels of the full frame, one decimal, clipped to it."""
    classes: tuple[Classification, ...] | None = None
    """Best five, best first."""
    embedding: Embedding | None = None


class Tensor(msgspec.Struct, frozen=True):
    """One output of the network, as it is (task `raw`)."""

    name: str
    shape: tuple[int, ...]
    """Without the batch axis."""
    f32: str
    """float32, little-endian, base64, row by row."""


class Findings(msgspec.Struct, frozen=True):
    """What one task found in one frame; exactly one field is set."""

    detections: tuple[Detection, ...] | None = None
    """Best score first."""
    classes: tuple[Classification, ...] | None = None
    """Best five, best first."""
    embedding: Embedding | None = None
    outputs: tuple[Tensor, ...] | None = None

    def labels(self) -> set[str]:
        """The labels that `done.summary` counts this frame under: all found, or the best class."""
        if self.detections is not None:
            return {d.label for d in self.detections}
        return {self.classes[0].label} if self.classes else set()


class Failure(msgspec.Struct, frozen=True):
    """Why a frame has no findings."""

    code: str
    message: str


class BatchPlace(msgspec.Struct, frozen=True):
    """Which row of which batch answered a frame."""

    size: int
    """Rows of the tensor that ran."""
    slot: int
    filled: int
    """Rows of it that held frames; the rest was zeros."""


class Timings(msgspec.Struct, frozen=True):
    """Milliseconds that one frame spent; `infer` is its whole batch's."""

    wait: float = 0.0
    prepare: float = 0.0
    infer: float = 0.0
    post: float = 0.0


class Inference(msgspec.Struct, frozen=True):
    """One batch that answered something."""

    model: str
    run: int
    """Which of its lane."""
    ms: float


class FrameResult(msgspec.Struct, frozen=True):
    """What a model gave for one frame: findings or an error.

    Both only where a second model failed: the findings are the first's, the error is the second's.
    """

    model: str
    findings: Findings | None = None
    error: Failure | None = None
    batch: BatchPlace | None = None
    ms: Timings = Timings()
    run: int = -1
    """Which inference of its lane answered it; frames of one batch share it. Not sent."""
    simulated: bool = False
    """A simulated NPU ran it."""
    crops_left_out: int = 0
    """Objects found that the second model was not shown, for there were too many."""
    further: tuple[Inference, ...] = ()
    """Of the second model, that answered its crops. Not sent."""

    def inferences(self) -> tuple[Inference, ...]:
        """Every batch that answered some of it, each once."""
        if self.run < 0:
            return self.further
        return (Inference(self.model, self.run, self.ms.infer), *self.further)
