"""Judges a storm from outside: from MQTT, the log of faults and the camera's numbered pictures.

Imports nothing of framebuf. Every function returns what nothing that was injected explains.
"""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.chaos.faultlog import Fault
from tests.chaos.storm import CAMERA, RATE
from tests.service.messages import Message, Request
from tests.service.rules import drain_faults, rejection_faults, request_faults
from tests.service.shapes import milliseconds

if TYPE_CHECKING:
    from tests.chaos.sender import Sent
    from tests.chaos.storm import Storm
    from tests.chaos.teller import Teller
    from tests.service.rtsp import RtspCamera

DEATHS = ("kill", "hang")
CAMERA_FAULTS = ("camera_frozen", "camera_killed")
SLOW = ("withheld", "cut", "stalled", "broker_restarted", "broker_lost")
EXPLAINS = {
    "camera_gap": DEATHS + CAMERA_FAULTS,
    "not_captured": DEATHS + CAMERA_FAULTS,
    "evicted": DEATHS + CAMERA_FAULTS + SLOW,
    "memory": DEATHS + SLOW,
    "deadline": DEATHS + CAMERA_FAULTS + SLOW,
}
"""What may be missing, and the faults that it may come of; all else is never explained."""
SUSPECTED = 3
"""Deaths until a request may be called the culprit."""
REFUSED = {"queue_full", "stale", "camera_offline"}
RECOVERY_S = 6.0
"""How long a fault is felt after its end: a camera's outage, a back-off, a backlog."""
BLIND_S = 3.0
"""How long a node may see nothing after its end or its camera's."""
LOST_BEFORE_S = 15.0
"""A broker without its state forgets what the node had not fetched: that of a node that was down
or hung, at the most so long before."""
HANG_S = 12.0
"""How long before its end by the watchdog a process may have been half dead."""
NEIGHBOUR = 1
"""Pictures: two stamps of one stream may round so far apart."""
ONE_STREAM_MS = 1000
"""Between two frames; after more it was opened again, and its stamps may be late by other pictures
than before."""


@dataclass(slots=True)
class Verdict:
    """What was found; each list should be empty, but for what is explained."""

    without_done: list[str] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    wrong_frames: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    explained: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    answers: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    """Results that came more than once."""

    def all(self) -> list[str]:
        return [*self.without_done, *self.vanished, *self.wrong_frames, *self.faults]


class Judge:
    """Belongs to the test, once the storm is over."""

    def __init__(self, storm: Storm, camera: RtspCamera, teller: Teller) -> None:
        self._storm = storm
        self._camera = camera
        self._teller = teller
        self._log = storm.faults
        lives = storm.supervisor.lives
        self._begun_s = lives[0].ready_s or lives[0].started_s  # before, nobody looked
        for kill in self._log.between(0.0, float("inf"), "kill"):
            ready = (life.ready_s for life in lives if life.started_s > kill.from_s)
            kill.until_s = next((at_s for at_s in ready if at_s is not None), float("inf"))
        for life in lives:
            if life.ended_s is not None and (life.bitten or life.timed_out):
                since_s = life.started_s if life.timed_out else life.ended_s - HANG_S
                self._log.add(Fault("hang", since_s, life.ended_s))
        self._by_id: dict[str, list[Message]] = {}
        self._online: list[float] = []
        self._fences: list[float] = []
        for message in storm.books.messages:
            if message.leaf in ("ack", "result", "done") and message.id is not None:
                self._by_id.setdefault(message.id, []).append(message)
            elif message.leaf == "status" and message.payload == b"online":
                self._online.append(message.arrived_s)
            elif message.leaf == "fence":
                self._fences.append(message.arrived_s)
        self.verdict = Verdict()

    def judge(self, asked_again: Iterable[str]) -> Verdict:
        """`asked_again`: what had no done until its trigger was repeated."""
        for id in asked_again:
            sent = self._storm.sender.sent[id]
            said = self._by_id.get(id, ())
            if any(m.arrived_s < self._storm.asked_s for m in said):
                self._blame_broker(sent, "accepted, no done until asked again", "its done")
            elif said:
                self._blame_broker(sent, "nobody spoke of it until asked again", "the trigger")
        results: list[dict[str, Any]] = []
        for sent in self._storm.sender.taken():
            request = Request.of(self._by_id.get(sent.id, ()), sent.id, CAMERA)
            self._judge_one(sent, request)
            results += [r.document for r in request.results]
            self._judge_frames(request)
        drains = [r for r in results if self._mode(r["id"]) == "drain"]
        self.verdict.faults += drain_faults(drains)
        self._judge_life()
        return self.verdict

    def _mode(self, id: str) -> str:
        mode: str = self._storm.sender.sent[id].document["mode"]
        return mode

    # one request ----------------------------------------------------------------------------

    def _judge_one(self, sent: Sent, request: Request) -> None:
        if not (request.acks or request.results or request.dones):
            self._blame_broker(sent, "the broker took it, nobody spoke of it", "the trigger")
            return
        statuses = {m.document["status"] for m in request.acks}
        if statuses == {"rejected"}:
            self._judge_rejected(sent, request)
            return
        self.verdict.requests += 1
        if not request.dones:
            self.verdict.without_done.append(f"{sent.id}: accepted, no done")
            return
        # refused at first and accepted when the same came again: both stand
        acks = tuple(m for m in request.acks if m.document["status"] != "rejected")
        request = Request(request.id, acks, request.results, request.dones)
        faults = request_faults(request, sent.document, is_redelivered=True)
        ended_s = request.dones[-1].arrived_s
        for fault in faults:
            if self._lost_by_broker(sent, ended_s):
                self.verdict.explained["the broker lost messages"] += 1
            else:
                self.verdict.faults.append(f"{sent.id}: {fault}")
        self.verdict.outcomes[request.dones[-1].document["event_type"]] += 1
        self.verdict.answers += len(request.by_index)
        self.verdict.repeated += len(request.results) - len(request.by_index)
        self._judge_missing(sent, request)

    def _judge_rejected(self, sent: Sent, request: Request) -> None:
        self.verdict.outcomes["rejected"] += 1
        codes = {m.document["error"]["code"] for m in request.acks}
        several = Request(request.id, request.acks[:1], request.results, request.dones)
        self.verdict.faults += [f"{sent.id}: {f}" for f in rejection_faults(several)]
        if codes - REFUSED:
            self.verdict.faults.append(f"{sent.id}: rejected with {sorted(codes)}")
        until_s = request.acks[-1].arrived_s
        kinds = CAMERA_FAULTS + DEATHS if "camera_offline" in codes else ()
        if not self._log.between(sent.first_s - RECOVERY_S, until_s, *kinds):
            self.verdict.faults.append(f"{sent.id}: {sorted(codes)} without any fault")

    def _judge_missing(self, sent: Sent, request: Request) -> None:
        done = request.dones[-1].document
        from_s = min(sent.first_s, self._mono(done["window"]["from"])) - RECOVERY_S
        until_s = next(m.arrived_s for m in request.dones if m.document == done)
        for reason, count in done["missing"].items():
            kinds = EXPLAINS.get(reason, ())
            all_deaths = self._log.between(from_s, until_s, *DEATHS)
            deaths = self._log.between(sent.first_s, until_s, *DEATHS)
            begins = reason == "camera_gap" and from_s <= self._begun_s
            if begins or (kinds and self._log.between(from_s, until_s, *kinds)):
                self.verdict.explained[f"missing: {reason}"] += count
            elif reason == "crashed_daemon" and len(deaths) >= SUSPECTED:
                self.verdict.explained["missing: crashed_daemon"] += count
            elif reason == "frames_lost" and count <= len(all_deaths):
                # The frame that was being written when the daemon died; no other may be
                self.verdict.explained["missing: half written at a kill"] += count
            else:
                self.verdict.faults.append(f"{sent.id}: {count} {reason}, unexplained: {done}")
        for result in (message.document for message in request.results):
            if "error" not in result:
                continue
            if "inference" in result["error"]["message"]:  # of the simulated NPU, which plays them
                self.verdict.explained["simulated inference failed"] += 1
            else:
                self.verdict.faults.append(f"{sent.id}: {result['error']}")

    def _blame_broker(self, sent: Sent, fault: str, what: str) -> None:
        if self._lost_by_broker(sent, sent.first_s + LOST_BEFORE_S):
            self.verdict.explained[f"the broker lost {what}"] += 1
        elif what == "the trigger":
            self.verdict.vanished.append(f"{sent.id}: {fault}; {self._circumstances(sent)}")
        else:
            self.verdict.without_done.append(f"{sent.id}: {fault}")

    def _lost_by_broker(self, sent: Sent, until_s: float) -> bool:
        """Whether a broker that lost its state may have had something of this request."""
        for fault in self._log.between(sent.first_s - RECOVERY_S, until_s + 1.0, "broker_lost"):
            # before the storm's fence, what comes may be the last words of the old broker
            new_s = min((s for s in self._fences if s > fault.from_s), default=fault.until_s)
            back_s = min((s for s in self._online if s > new_s), default=float("inf"))
            if sent.first_s <= back_s + 0.5:
                return True
        return False

    def _circumstances(self, sent: Sent) -> str:
        """What was broken about the time of a trigger, for whoever looks for a fault's cause."""
        from_s, until_s = sent.first_s - 2 * LOST_BEFORE_S, sent.last_s + 2 * LOST_BEFORE_S
        faults = (
            f"{fault.kind} {fault.from_s - sent.first_s:+.2f}..{fault.until_s - sent.first_s:+.2f}"
            for fault in self._log.between(from_s, until_s)
        )
        online = (f"{s - sent.first_s:+.2f}" for s in self._online if from_s < s < until_s)
        return f"{', '.join(faults)}; online {', '.join(online)}"

    # which frame ----------------------------------------------------------------------------

    def _judge_frames(self, request: Request) -> None:
        """Every answer is of the picture that was to be seen at its stamp; copies are equal."""
        numbers: dict[int, tuple[int, int]] = {}
        for message in request.results:
            result = message.document
            if "error" in result:
                continue
            number = self._teller.number(result)
            at, index = milliseconds(result["frame"]["at"]), result["index"]
            if number not in self._camera.seen_at_utc(result["frame"]["at"]):
                self._wrong(request.id, index, f"picture {number} at {result['frame']['at']}")
            elif index in numbers and numbers[index] != (number, at):
                self._wrong(request.id, index, f"{(number, at)} and {numbers[index]}")
            else:
                numbers[index] = (number or 0, at)
        for (_, (one, at)), (index, (other, then)) in itertools.pairwise(sorted(numbers.items())):
            steps = (other - one) % self._camera.PICTURES
            away = (steps - round((then - at) * self._camera.RATE / 1000)) % self._camera.PICTURES
            most = NEIGHBOUR if then - at < ONE_STREAM_MS else self._camera.LATE
            if min(away, self._camera.PICTURES - away) > most:
                self._wrong(request.id, index, f"pictures {one}, {other} are {then - at} ms apart")

    def _wrong(self, id: str, index: int, why: str) -> None:
        self.verdict.wrong_frames.append(f"{id} index {index}: {why}")

    # the lives ------------------------------------------------------------------------------

    def _judge_life(self) -> None:
        """It ended only as it was made to."""
        killed = {life.pid for _, life in self._storm.kills}
        for life in self._storm.supervisor.lives[:-1]:
            if life.pid in killed or life.bitten or life.timed_out:
                continue
            if life.returncode == 1 and life.ready_s is None:
                self.verdict.explained["simulated inference failed at a start"] += 1
            else:
                self.verdict.faults.append(f"the daemon ended by itself: {life.returncode}")

    def not_back(self) -> int:
        """Kills after which no process said READY."""
        lives = self._storm.supervisor.lives
        return sum(
            not any(life.ready_s and life.started_s > at_s for life in lives)
            for at_s, _ in self._storm.kills
        )

    def times(self) -> dict[str, list[float]]:
        """Seconds from each kill to READY, to the first frame captured, to the first answer."""
        lives = self._storm.supervisor.lives
        captured = self._captured()
        arrived = sorted(m.arrived_s for m in self._results())
        found: dict[str, list[float]] = {"ready": [], "first frame": [], "first answer": []}
        for at_s, _ in self._storm.kills:
            started_s = next(life.started_s for life in lives if life.started_s > at_s)
            ready = [life.ready_s for life in lives if life.ready_s and life.started_s > at_s]
            found["ready"] += [ready[0] - at_s] if ready else []
            quiet = not self._log.between(at_s, at_s + BLIND_S, *CAMERA_FAULTS, *SLOW, "hang")
            frame = next((s for s in captured if s > at_s + 0.05), None)
            answer = next((s for s in arrived if s > started_s), None)
            if quiet and frame and answer:
                found["first frame"].append(frame - at_s)
                found["first answer"].append(answer - at_s)
        return found

    def recovered(self) -> tuple[int, int, list[str]]:
        """Frames of the two seconds before each kill that the trigger after it got, and should.

        Where the camera had broken, or the node was blind since its last end, less is asked for.
        """
        got = wanted = 0
        short = []
        begun_s = self._storm.supervisor.lives[0].started_s
        captured = self._captured()
        for probe, (at_s, _) in zip(self._storm.probes, self._storm.kills, strict=True):
            request = Request.of(self._by_id.get(probe, ()), probe, CAMERA)
            deaths = self._log.between(at_s - 10.0, at_s - 0.01, *DEATHS)
            ends_s = (d.until_s if d.kind == "hang" else d.from_s for d in deaths)
            blind_s = max([begun_s, *ends_s])
            sees_s = next((s for s in captured if s > blind_s + 0.05), at_s)
            if not request.dones or request.acks[0].arrived_s > self._storm.asked_s:
                continue
            reaches_s = self._mono(request.done["window"]["from"])
            from_s, until_s = max(sees_s, at_s - 2.0, reaches_s + 0.1), at_s - 0.5
            if until_s - from_s < 0.3:
                continue
            if self._log.between(from_s - RECOVERY_S, at_s, *CAMERA_FAULTS):
                continue
            stamps = [self._mono(r["frame"]["at"]) for r in request.by_index.values()]
            found = sum(from_s <= stamp <= until_s for stamp in stamps)
            should = RATE * (until_s - from_s)
            got, wanted = got + found, wanted + round(should)
            if found < should - 1.5:
                short.append(f"{probe}: {found} of {should:.1f} frames; {request.done}")
        return got, wanted, short

    def _results(self) -> list[Message]:
        return [m for messages in self._by_id.values() for m in messages if m.leaf == "result"]

    def _captured(self) -> list[float]:
        """When frames were captured that were answered, as far as results tell; monotonic."""
        return sorted({self._mono(m.document["frame"]["at"]) for m in self._results()})

    def _mono(self, utc: str) -> float:
        return milliseconds(utc) / 1000 - self._camera.utc_s


def spread(values: Iterable[float]) -> str:
    found = sorted(values)
    if not found:
        return "nothing measured"
    return f"median {statistics.median(found):.2f} s, worst {found[-1]:.2f} s of {len(found)}"
