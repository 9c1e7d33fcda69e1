"""Faults that no real part can be brought to, put into a daemon's process from outside.

Python imports `sitecustomize` from PYTHONPATH before anything else, so the product needs no hook.
"""

from __future__ import annotations

from pathlib import Path

HEAD = """\
import functools, sys, threading, time

def hang(*_, **__):
    threading.Event().wait()

def explode(*_, **__):
    raise RuntimeError("injected")

"""


def inject(folder: Path, code: str) -> dict[str, str]:
    """Variables for an environment in which `code` runs before framebuf does.

    It may use `hang` and `explode`, and import and patch what it likes.
    """
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HEAD + code)
    return {"PYTHONPATH": str(folder)}
