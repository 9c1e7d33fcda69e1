"""Opens a model, and prints in one line what came of it."""

from __future__ import annotations

import sys
from pathlib import Path

from framebuf.errors import FramebufError
from framebuf.models.runtimes import open_runtime, platform_of

path = Path(sys.argv[1])
try:
    runtime = open_runtime(path, platform_of(path, "auto"), threads=1)
except FramebufError as error:
    print(type(error).__name__, error)
else:
    print("opened", runtime.versions)
    runtime.close()
