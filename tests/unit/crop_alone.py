"""Embeddings of crops, each run alone: a script of its own, which imports nothing of framebuf.

Reads {"model": path, "crops": [{"picture": path, "box": [x, y, width, height]}]} from standard
input and prints a list of unit vectors. The model takes (N, side, side, 3) uint8 RGB; a crop is
stretched to that.
"""

import json
import math
import sys

import cv2
import numpy as np
import onnxruntime


def main() -> None:
    asked = json.load(sys.stdin)
    session = onnxruntime.InferenceSession(asked["model"], providers=["CPUExecutionProvider"])
    side = session.get_inputs()[0].shape[1]
    vectors = []
    for crop in asked["crops"]:
        picture = cv2.imread(crop["picture"])
        x, y, width, height = crop["box"]
        right, bottom = math.ceil(x + width), math.ceil(y + height)
        cut = picture[math.floor(y) : bottom, math.floor(x) : right]
        small = cv2.cvtColor(cv2.resize(cut, (side, side)), cv2.COLOR_BGR2RGB)
        (vector,) = session.run(["embedding"], {session.get_inputs()[0].name: small[None]})
        vectors.append((vector.reshape(-1) / np.linalg.norm(vector)).tolist())
    json.dump(vectors, sys.stdout)


if __name__ == "__main__":
    main()
