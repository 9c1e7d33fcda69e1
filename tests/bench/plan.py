"""What a decision of the planner costs: for 500 frames at most 500 µs, and far less than a batch.

The published costs of each chip, and a CPU with three sessions of four sizes, cores free and busy.
Processor time of the best of many; the tables are grown before, as in a lane that runs, and what
growing them from nothing takes is told beside it. Exits 1 beyond the limit.
"""

from __future__ import annotations

import sys
import time

from framebuf.models.plan import Cost, Plan
from framebuf.models.runtimes.behaviour import PUBLISHED_MS

LIMIT_US = 500.0
FRAMES = 500
REPEATS = 200
MS = 1_000_000
CORES = {"rk3588": 3, "rk3576": 2, "rk3566": 1}


def cases() -> dict[str, tuple[list[Cost], int]]:
    found = {}
    for chip, cores in CORES.items():
        times = PUBLISHED_MS[chip].items()
        costs = [Cost(size, round(ms * MS), takes_all=size > 1) for size, ms in times]
        found[f"published {chip}, singles on {cores}"] = (costs, cores)
    costs = [Cost(size, round((8 + 15 * size) * MS)) for size in (1, 4, 8, 16)]
    found["cpu, 4 sizes in each of 3 sessions"] = (costs, 3)
    return found


def decision_us(plan: Plan, busy: list[int]) -> float:
    taken = []
    for _ in range(REPEATS):
        begun = time.thread_time_ns()
        plan.next(FRAMES, busy, MS)
        taken.append(time.thread_time_ns() - begun)
    return min(taken) / 1e3


def main() -> int:
    worst = 0.0
    for name, (costs, cores) in cases().items():
        plan = Plan(costs, cores)
        begun = time.thread_time_ns()
        plan.next(FRAMES, [0] * cores)
        grown_us = (time.thread_time_ns() - begun) / 1e3
        busies = ([0] * cores, [3 * MS * core for core in range(cores)], [50 * MS] * cores)
        each = max(decision_us(plan, busy) for busy in busies)
        worst = max(worst, each)
        print(f"{name:36} {each:6.0f} µs a decision for {FRAMES} frames, the first {grown_us:6.0f}")
    print(f"worst {worst:.0f} µs, {worst / LIMIT_US:.2f} of the limit of {LIMIT_US:.0f} µs")
    return int(worst > LIMIT_US)


if __name__ == "__main__":
    sys.exit(main())
