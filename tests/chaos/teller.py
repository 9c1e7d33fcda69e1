"""Which numbered picture a network saw, told from its answer alone. Imports nothing of framebuf."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

WIDTH, HEIGHT = 128, 256
MEAN = np.array([123.675, 116.28, 103.53], np.float32)
STD = np.array([58.395, 57.12, 57.375], np.float32)
FAR = 0.01
"""Two pictures of 96 numbered ones are at least 0.03 apart; the same one, 0.0001."""


class Teller:
    """Knows the embedding of each picture, as the small network gives it."""

    def __init__(self, model: Path, pictures: Sequence[Picture]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        self._known = np.stack([_embedding(session, picture) for picture in pictures])

    def number(self, result: dict[str, Any]) -> int | None:
        """The picture that a result speaks of; None: none that is known."""
        seen = np.frombuffer(base64.b64decode(result["embedding"]["f32"]), "<f4")
        distances = np.linalg.norm(self._known - seen, axis=1)
        nearest = int(distances.argmin())
        return nearest if distances[nearest] < FAR else None

    def closest(self) -> float:
        """How far the two most similar pictures are apart."""
        distances = np.linalg.norm(self._known[:, None] - self._known[None], axis=2)
        return float((distances + 9 * np.eye(len(distances))).min())


def _embedding(session: onnxruntime.InferenceSession, picture: Picture) -> NDArray[np.float32]:
    rgb = cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)[:, :, ::-1]
    tensor = ((rgb.astype(np.float32) - MEAN) / STD).transpose(2, 0, 1)[np.newaxis]
    found = session.run(["embedding"], {"images": np.ascontiguousarray(tensor)})[0][0]
    return np.asarray(found / np.linalg.norm(found), np.float32)
