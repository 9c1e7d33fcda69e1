"""What a shell sees of a process's end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

MODEL = Path(__file__).parents[1] / "assets" / "tiny-n.onnx"
LOADING = """
import sys, threading
import onnxruntime
from framebuf import shell

at_work = threading.Semaphore(0)

def load():
    while True:
        onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
        at_work.release()

def work():
    for _ in range(4):
        threading.Thread(target=load, daemon=True).start()
    for _ in range(8):
        at_work.acquire()
    print("done")
    return 130

shell.end_process(lambda: shell.leave_with(work))
"""


def test_a_thread_that_is_still_loading_a_model_does_not_abort_the_process() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LOADING, MODEL],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "done\n", "")
