"""Converts one model for one batch size. Run by the Python of rknn-toolkit2's environment.

Imports nothing of framebuf, which is not there. Takes the path of a job, a JSON document:

    onnx, rknn   from, to
    plain        where to write the model with the input that the toolkit wants
    turned       its colours are last
    platform, batch, bgr, custom
    mean, std    of each channel; null: the model takes bytes, and has them inside
    calibration  a text file, one picture a line; null: float16
    check        an .npy of (batch, height, width, 3) uint8 to simulate; null: none
    outputs      the .npz that the simulator's outputs go to

Says on standard output what it is doing, one JSON document a line; whatever else is said goes to
standard error.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def main(job: dict[str, Any], said: Any) -> int:
    def say(**what: Any) -> None:
        said.write(json.dumps(what) + "\n")
        said.flush()

    say(phase="starting")
    import numpy as np  # noqa: PLC0415 - it takes seconds, and the first word is out
    from onnx_input import plain  # noqa: PLC0415
    from rknn.api import RKNN  # noqa: PLC0415

    rknn = RKNN()
    say(phase="loading")
    inside = plain(job["onnx"], job["plain"], turned=job["turned"], cut=job["mean"] is None)
    mean, std = (job["mean"], job["std"]) if job["mean"] is not None else inside
    _must(
        "config",
        rknn.config(
            mean_values=[list(mean or (0, 0, 0))],
            std_values=[list(std or (1, 1, 1))],
            quant_img_RGB2BGR=job["bgr"],
            target_platform=job["platform"],
            custom_string=job["custom"] or None,
        ),
    )
    _must("load_onnx", rknn.load_onnx(model=job["plain"]))
    say(phase="calibrating and compiling" if job["calibration"] else "compiling")
    _must(
        "build",
        rknn.build(
            do_quantization=job["calibration"] is not None,
            dataset=job["calibration"],
            rknn_batch_size=job["batch"] if job["batch"] > 1 else None,
        ),
    )
    _must("export_rknn", rknn.export_rknn(job["rknn"]))
    if job["check"] is not None:
        say(phase="simulating")
        _must("init_runtime", rknn.init_runtime())
        pictures = np.load(job["check"])
        outputs = rknn.inference(inputs=[pictures], data_format=["nhwc"])
        _must("inference", -1 if outputs is None else 0)
        np.savez(job["outputs"], *outputs)
    return 0


def _must(step: str, code: int) -> None:
    if code != 0:
        # not as an error's line: the toolkit has said what it was, and the last one is told
        raise SystemExit(f"{step} returned {code}")


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123 - as old Pythons have it
        given = json.load(file)
    # what libraries print must not come between our lines
    ours = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.exit(main(given, ours))
