"""Run the benchmarks of this folder in turn, those whose names hold one of the arguments.

Each is a script of its own that prints its ratios and exits 1 where one is beyond its limit. All
run, whatever fails; exits 1 if one did.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def main(wanted: list[str]) -> int:
    scripts = [path for path in sorted(HERE.glob("*.py")) if not path.stem.startswith("_")]
    chosen = [path for path in scripts if not wanted or any(word in path.stem for word in wanted)]
    if not chosen:
        names = ", ".join(path.stem for path in scripts)
        print(f"no benchmark is named like {' or '.join(wanted)}; there are {names}")
        return 1
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    summary = []
    failed = 0
    for path in chosen:
        print(f"== {path.stem}", flush=True)
        began = time.monotonic()
        status = subprocess.run(
            [sys.executable, path], check=False, cwd=ROOT, env=environment
        ).returncode
        failed += status != 0
        verdict = "ok" if status == 0 else f"FAILED, exit {status}"
        summary.append(f"{path.stem:16} {time.monotonic() - began:6.1f} s  {verdict}")
    print("\n".join(["== summary", *summary]), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
