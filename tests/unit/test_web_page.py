"""What the page is made of: strips, pictures, requests as they were heard, and who is sent what."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import msgspec
import numpy as np
import pytest

from framebuf import config
from framebuf.buffer.claims import Claims
from framebuf.capture import open_source, pace
from framebuf.capture.source import now
from framebuf.contract import (
    Ack,
    Done,
    DoneTimings,
    FramePlace,
    Result,
    Topics,
    WindowTimes,
    encode,
)
from framebuf.errors import ContractError
from framebuf.results import BatchPlace, Detection, Failure, Timings
from framebuf.service.web import live as lives
from framebuf.service.web import pictures as picturing
from framebuf.service.web.app import App
from framebuf.service.web.chronicle import BOXES, REQUESTS, Chronicle
from framebuf.service.web.inbox import Inbox
from framebuf.service.web.live import Live
from framebuf.service.web.pictures import Pictures
from framebuf.service.web.preview import preview
from framebuf.service.web.strip import Strip
from framebuf.service.web.token import Token
from framebuf.service.web.view import View
from framebuf.units import Span
from tests.unit.asgi import ask, asked
from tests.unit.packets import encoded_film
from tests.unit.rings import MS, Hand, colour, ring_folder
from tests.unit.test_coded_sources import recorded

PATIENCE_S = 30


@pytest.fixture
def directory():
    with ring_folder() as folder:
        yield folder


def configuration(web: str = "", trigger: str = ""):
    text = (
        f'[web]\n{web}\n[[camera]]\nname = "gate"\nsource = "x"\nmodels = ["m"]\nbuffer = "4s"\n'
        f"[camera.trigger]\n{trigger}\n"
        '[[model]]\nname = "m"\npath = "m.onnx"\ntask = "raw"\n'
    )
    return config.parse(text, "f.toml", Path("/")).config


class Site:
    """A node's page over a buffer that the test writes; its models are still loading."""

    def __init__(self, directory, web: str = "") -> None:
        self.hand = Hand(directory, span=Span(ns=4000 * MS), rate=25.0)
        self.config = configuration(web)
        buffers = {"gate": self.hand.buffer}
        cameras = {"gate": SimpleNamespace(last_error="no route to the camera")}
        self.hanging: dict[str, int] = {}
        self.view = View(
            self.config, Topics("framebuf", "n"), buffers, cameras, lambda _: self.hanging
        )
        self.pictures = Pictures(buffers)
        self.inbox = Inbox()

    def strip(self) -> Strip:
        return Strip(self.config.camera[0], self.hand.buffer, self.pictures)

    def app(self) -> App:
        return App(self.view, Token(None), self.inbox)


@pytest.fixture
def site(directory):
    return Site(directory)


# the strip ------------------------------------------------------------------------------------


def test_a_strip_tells_runs_gaps_and_leased_frames(site):
    hand = site.hand
    start = time.monotonic_ns() - 1000 * MS
    hand.frames(*(start + n * 40 * MS for n in range(5)))
    hand.buffer.interrupted()
    hand.frames(*(start + 400 * MS + n * 40 * MS for n in range(3)))
    lease = hand.buffer.lease(5)
    told = site.strip().look()
    first, second = told["runs"]
    assert (first[2], second[2]) == (5, 3)
    assert first[0] == start // MS
    assert told["gaps"] == [[first[1], second[0]]]
    assert [frames for _, _, frames in told["leased"]] == [1]
    assert told["frames"] == 8
    lease.release()
    assert site.strip().look()["leased"] == []


def test_a_strip_is_as_long_as_the_buffer_may_get_from_the_first_frame_on(site):
    site.hand.frame(time.monotonic_ns())
    slots = site.hand.buffer.extent.slots
    assert site.strip().look()["span"] == pytest.approx(slots * 40, abs=500)
    assert site.strip().look()["span"] >= 4000


def test_a_strip_shows_the_first_frame_of_each_step_and_no_other(site, monkeypatch):
    strip = site.strip()
    second = 1000 * MS
    start = time.monotonic_ns() // second * second - 3 * second
    site.hand.frames(*(start + n * 200 * MS for n in range(12)))
    told = strip.look()
    steps = [stamp.mono_ns // (told["step"] * MS) for stamp in strip.missing_pictures()]
    assert steps == sorted(set(steps))
    for stamp in strip.missing_pictures():
        strip.show(stamp)
    assert strip.missing_pictures() == []
    shown = list(strip.shown.values())
    picture = cv2.imdecode(
        np.frombuffer(base64.b64decode(shown[0]["jpeg"]), np.uint8), cv2.IMREAD_COLOR
    )
    assert abs(int(picture.mean()) - colour(shown[0]["seq"])) <= 2


# pictures -------------------------------------------------------------------------------------


def test_a_picture_is_made_no_larger_than_wanted_and_the_lease_ends(site):
    site.hand.frame(time.monotonic_ns(), height=90, width=200)
    jpeg = site.pictures.make("gate", 0, 160)
    made = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert made.shape == (72, 160, 3)
    assert site.hand.buffer.leased() == 0
    assert site.pictures.kept("gate", 0, 160) == jpeg
    small = site.pictures.make("gate", 0, 480)
    assert cv2.imdecode(np.frombuffer(small, np.uint8), cv2.IMREAD_COLOR).shape == (90, 200, 3)


@pytest.mark.parametrize("size", [(1080, 1920), (720, 1280), (2160, 3840), (7, 5000), (1, 1)])
def test_pictures_of_every_size_keep_their_shape(size):
    height, width = size
    jpeg = picturing._jpeg(np.full((height, width, 3), 90, np.uint8), 160)
    made = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert made.shape[1] == min(160, width)
    assert made.shape[0] == pytest.approx(height * made.shape[1] / width, abs=1)


def test_no_picture_of_a_frame_that_is_gone_or_could_not_be_decoded(site):
    assert site.pictures.make("gate", 7, 160) is None
    slot = site.hand.buffer.begin(SimpleNamespace(mono_ns=1, utc_ns=1), 2, 2)
    site.hand.buffer.commit(slot, "a torn packet")
    assert site.pictures.make("gate", 0, 160) is None
    assert site.hand.buffer.leased() == 0


def test_pictures_are_left_out_beyond_their_share_of_the_time_and_counted(site, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(picturing.time, "monotonic", lambda: now[0])
    spent = iter(range(1000))
    monkeypatch.setattr(picturing.time, "thread_time", lambda: next(spent) * 0.2)
    pictures = Pictures({"gate": site.hand.buffer})
    site.hand.frame(1)
    made = 0
    while pictures.may_make():
        pictures.make("gate", 0, 160)
        made += 1
    assert made == 3  # 0.2 s each of the half second that may be spent at once
    assert pictures.shed == 1
    now[0] += 0.11 / picturing.SHARE
    assert pictures.may_make()


def test_only_the_last_pictures_are_remembered(site, monkeypatch):
    monkeypatch.setattr(picturing, "MOST_BYTES", 2000)
    site.hand.frames(1, 2, 3, 4, 5)
    sizes = [len(site.pictures.make("gate", seq, 160)) for seq in range(5)]
    kept = [seq for seq in range(5) if site.pictures.kept("gate", seq, 160)]
    assert kept == list(range(5))[-len(kept) :]
    assert sum(sizes[seq] for seq in kept) <= 2000 < sum(sizes)


def test_a_picture_that_is_made_anew_takes_the_place_of_the_one_before(site, monkeypatch):
    site.hand.frame(time.monotonic_ns())
    jpeg = site.pictures.make("gate", 0, 160)
    monkeypatch.setattr(picturing, "MOST_BYTES", len(jpeg) + 1)
    for _ in range(3):
        assert site.pictures.make("gate", 0, 160) == jpeg
    assert site.pictures.kept("gate", 0, 160) == jpeg


# requests -------------------------------------------------------------------------------------


def result(id: str = "r-1", index: int = 0, **more) -> bytes:
    place = FramePlace(
        seq=10 + index, at="2026-11-25T00:00:00.000Z", offset_ms=-40, width=8, height=6
    )
    fields = {
        "id": id, "index": index, "camera": "gate", "frame": place, "model": "m",
        "batch": BatchPlace(8, index, 3), "ms": Timings(1.0, 2.0, 3.0, 4.0),
    }  # fmt: skip
    return encode(Result(**(fields | more)))


def done(id: str = "r-1", **more) -> bytes:
    fields = {
        "event_type": "partial", "id": id, "camera": "gate", "requested": 3, "published": 2,
        "failed": 0, "missing": {"evicted": 1}, "thinned": 4, "already_claimed": 5,
        "window": WindowTimes("2026-11-25T00:00:00.000Z", "2026-11-25T00:00:01.000Z"),
        "summary": {"cat": 2}, "ms": DoneTimings(12.0, 3.0), "boot_id": "b", "attempts": 1,
    }  # fmt: skip
    return encode(Done(**(fields | more)))


def test_a_request_is_told_from_its_documents(site):
    chronicle = Chronicle(site.inbox)
    site.inbox.put("ack", "gate", encode(Ack(id="r-1", camera="gate", status="accepted")))
    assert chronicle.read({}) == {}
    told = chronicle.requests["gate", "r-1"]
    assert (told["state"], told["published"]) == ("running", 0)
    box = Detection("cat", 15, 0.9, (1.0, 2.0, 3.0, 4.0))
    site.inbox.put("result", "gate", result(detections=(box,)))
    site.inbox.put("result", "gate", result(index=1, error=Failure("undecodable", "torn")))
    fresh = chronicle.read({})["gate", "r-1"]
    assert fresh[0]["boxes"] == [
        {"label": "cat", "class": 15, "score": 0.9, "box": (1.0, 2.0, 3.0, 4.0)}
    ]
    assert fresh[0]["ms"] == [1.0, 2.0, 3.0, 4.0]
    assert fresh[0]["batch"] == [8, 0, 3]
    assert fresh[1]["error"] == ["undecodable", "torn"]
    assert (told["published"], told["failed"]) == (2, 1)
    meta = msgspec.Raw(b'{"a": "<b>"}')
    site.inbox.put("done", "gate", done(meta=meta))
    chronicle.read({})
    assert told["state"] == "partial"
    assert told["missing"] == {"evicted": 1}
    assert told["meta"] == '{"a": "<b>"}'


def test_what_is_open_is_told_with_the_frames_it_waits_for(site):
    chronicle = Chronicle(site.inbox)
    request = SimpleNamespace(
        order=SimpleNamespace(camera="gate", id="r-9", received=SimpleNamespace(utc_ns=5 * MS)),
        window=SimpleNamespace(asked=7, outstanding=lambda: 2),
        missing={"camera_gap": 1},
    )
    chronicle.read({"gate": SimpleNamespace(open=[request])})
    told = chronicle.requests["gate", "r-9"]
    assert (told["expected"], told["missing"], told["received"]) == (9, {"camera_gap": 1}, 5)


def test_a_rejection_tells_why_and_leaves_what_was_accepted_under_the_same_id(site):
    chronicle = Chronicle(site.inbox)

    def rejected(id: str | None) -> bytes:
        error = Failure("stale", "the event is 9s old")
        return encode(Ack(id=id, camera="gate", status="rejected", error=error))

    site.inbox.put("ack", "gate", rejected("r-2"))
    site.inbox.put("ack", "gate", rejected(None))
    site.inbox.put("result", "gate", result())
    site.inbox.put("ack", "gate", rejected("r-1"))
    chronicle.read({})
    assert chronicle.requests["gate", "r-2"]["code"] == "stale"
    assert chronicle.requests["gate", "no id"]["state"] == "rejected"
    assert chronicle.requests["gate", "r-1"]["state"] == "running"


def test_only_the_last_requests_and_the_best_boxes_are_told(site):
    chronicle = Chronicle(site.inbox)
    many = tuple(Detection("cat", 15, 0.9, (0.0, 0.0, 1.0, 1.0)) for _ in range(BOXES + 9))
    for number in range(REQUESTS + 5):
        site.inbox.put("result", "gate", result(f"r-{number}", detections=many))
    fresh = chronicle.read({})
    assert len(chronicle.requests) == REQUESTS
    assert ("gate", "r-0") not in fresh
    (one,) = fresh["gate", f"r-{REQUESTS + 4}"]
    assert (len(one["boxes"]), one["found"]) == (BOXES, BOXES + 9)
    numbers = [told["n"] for told in chronicle.requests.values()]
    assert numbers == sorted(set(numbers))


def test_the_inbox_keeps_the_newest_and_counts_what_it_leaves_out(monkeypatch):
    monkeypatch.setattr(Inbox, "MOST_BYTES", 100)
    monkeypatch.setattr(Inbox, "LARGEST", 60)
    inbox = Inbox()
    inbox.put("result", "gate", b"x" * 61)
    assert not inbox.take()
    for number in range(4):
        inbox.put("result", "gate", b"%d" % number * 40)
    assert [heard.payload[:1] for heard in inbox.take()] == [b"2", b"3"]
    assert inbox.left_out == 3
    assert not inbox.take()


# what a trigger would take ----------------------------------------------------------------------


def feed(site, claims=()):
    return SimpleNamespace(
        camera=site.config.camera[0], buffer=site.hand.buffer, claims=Claims(claims)
    )


def test_a_preview_names_the_frames_and_claims_none(site):
    now = time.monotonic_ns()
    site.hand.frames(*(now - (10 - n) * 40 * MS for n in range(10)))
    of = feed(site, claims=[(8, 9)])
    drain = json.dumps({"before": 4, "mode": "drain"}).encode()
    for _ in range(2):
        told = preview(of, drain)
        assert [seq for seq, _ in told["frames"]] == [6, 7]
        assert told["already_claimed"] == 2
    assert len(of.claims) == 2
    window = json.dumps({"before": 4, "mode": "window", "max_frames": 2}).encode()
    told = preview(of, window)
    assert [seq for seq, _ in told["frames"]] == [6, 8]
    assert told["thinned"] == 2
    assert site.hand.buffer.leased() == 0


def test_a_preview_says_why_a_trigger_would_be_rejected(site):
    with pytest.raises(ContractError, match="no frame of the window exists"):
        preview(feed(site), b'{"before": 1}')
    site.hand.frame(time.monotonic_ns())
    with pytest.raises(ContractError, match="the history holds"):
        preview(feed(site), b'{"before": "1h"}')


# who is sent what -------------------------------------------------------------------------------


class Browser:
    """One viewer; `read` is how it takes what it is sent."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict]] = []
        self.sends = 0
        self.enough = asyncio.Event()
        self.wanted = "picture"
        self.holds: asyncio.Event | None = None

    async def read(self, text: bytes) -> None:
        self.sends += 1
        for event in text.decode().split("\n\n"):
            if event.startswith("event: "):
                kind, data = event.removeprefix("event: ").split("\ndata: ")
                self.events.append((kind, json.loads(data)))
        if any(kind == self.wanted for kind, _ in self.events):
            self.enough.set()
        if self.holds is not None:
            await self.holds.wait()

    def of(self, kind: str) -> list[dict]:
        return [told for one, told in self.events if one == kind]


def looked(coroutine) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await coroutine

    asyncio.run(bounded())


def test_a_viewer_gets_the_page_and_then_what_changes_and_nobody_costs_nothing(site, monkeypatch):
    monkeypatch.setattr(lives, "TICK_S", 0.01)
    site.hand.frame(time.monotonic_ns())

    async def play() -> None:
        live, browser = Live(site.view, site.inbox), Browser()
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        following = asyncio.create_task(live.follow(browser.read, gone))
        await browser.enough.wait()
        (node,) = {one["node"] for one in browser.of("node")}
        assert node == site.config.node.name
        assert browser.of("node")[0]["info"] is None, "models load"
        assert browser.of("strip")[0]["frames"] == 1
        site.inbox.put("result", "gate", result())
        browser.wanted = "results"
        browser.enough.clear()
        await browser.enough.wait()
        assert browser.of("results")[0]["id"] == "r-1"
        assert len(browser.of("picture")) == 1, "what has not changed is not sent again"
        gone.set_result(None)
        await following
        ticking = live._ticking
        await ticking
        assert ticking.done(), "nobody looks"

    looked(play())


def test_a_viewer_that_reads_slowly_gets_the_newest_and_holds_nobody_up(site, monkeypatch):
    monkeypatch.setattr(lives, "TICK_S", 0.01)
    site.hand.frame(time.monotonic_ns())

    async def play() -> None:
        live, slow, quick = Live(site.view, site.inbox), Browser(), Browser()
        slow.holds = asyncio.Event()
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        tasks = [
            asyncio.create_task(live.follow(slow.read, gone)),
            asyncio.create_task(live.follow(quick.read, gone)),
        ]
        while quick.sends < 30:
            await asyncio.sleep(0.01)
        assert slow.sends == 1
        slow.holds.set()
        while slow.sends < 2:
            await asyncio.sleep(0.01)
        # of all the strips that it has missed, it gets one
        assert len(slow.of("strip")) <= 3 < len(quick.of("strip"))
        gone.set_result(None)
        await asyncio.gather(*tasks)
        live.close()

    looked(play())


def test_a_stop_lets_all_viewers_go(site):
    async def play() -> None:
        live, browser = Live(site.view, site.inbox), Browser()
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        following = asyncio.create_task(live.follow(browser.read, gone))
        await asyncio.sleep(0)
        live.close()
        await following
        assert not live.is_full()

    looked(play())


def test_results_beyond_what_a_new_page_gets_are_forgotten_oldest_first(site, monkeypatch):
    monkeypatch.setattr(lives, "CHUNK_BYTES", 1500)

    async def play() -> None:
        live = Live(site.view, site.inbox)
        for number in range(20):
            site.inbox.put("result", "gate", result(index=number))
            live._tell_requests()
        chunks = [name for name in live._parts if name.startswith("results/")]
        assert 1 < len(chunks) < 20
        assert sum(len(live._parts[name].event) for name in chunks) <= 1500
        told = json.loads(live._parts[chunks[-1]].event.split(b"data: ")[1])
        assert told["results"][0]["index"] == 19

    looked(play())


# while models load ------------------------------------------------------------------------------


def test_while_models_load_the_node_lives_and_says_what_it_waits_for(site):
    app = site.app()
    assert ask(app, "/healthz").status == 200
    answer = ask(app, "/readyz")
    assert answer.status == 503
    assert json.loads(answer.body)["reasons"] == [
        {"part": "camera gate", "why": "no route to the camera"},
        {"part": "models", "why": "loading m"},
    ]
    assert ask(app, "/metrics").status == 503
    site.hanging["requests"] = 12 * 10**9
    answer = ask(app, "/healthz")
    assert answer.status == 503
    assert json.loads(answer.body)["reasons"] == [
        {"part": "thread requests", "why": "no sign of life for 12.0 s"}
    ]


def test_the_pages_files_are_there_and_a_browser_that_has_them_is_told_so(site):
    app = site.app()
    page = ask(app, "/")
    assert page.status == 200
    assert b"<script>" not in page.body
    assert b"style=" not in page.body
    for name in ("app.css", "main.js", "cameras.js", "requests.js", "icon.svg"):
        answer = ask(app, f"/static/{name}")
        assert answer.status == 200
        assert ask(app, f"/static/{name}", if_none_match=answer.headers["etag"]).status == 304
    assert ask(app, "/static/../app.py").status == 404


def test_a_picture_is_answered_where_the_frame_is_held_and_left_out_where_there_is_no_time(site):
    app = site.app()
    site.hand.frame(time.monotonic_ns())
    answer = ask(app, "/api/picture/gate/0?width=160")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/jpeg")
    assert answer.headers["cache-control"] == "no-store"
    for path in ("gate/99", "nowhere/0", "gate/0?width=4000", "gate/x"):
        assert ask(app, f"/api/picture/{path}").status == 404
    app.live.pictures._left_s = -100.0
    assert ask(app, "/api/picture/gate/0?width=160").status == 200, "it was made before"
    answer = ask(app, "/api/picture/gate/0?width=480")
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")


def test_while_a_picture_takes_long_others_are_answered(site, monkeypatch):
    entered, go, answered = threading.Event(), threading.Event(), []
    real = picturing._pixels

    def slow(*given):
        entered.set()
        go.wait(30.0)
        return real(*given)

    monkeypatch.setattr(picturing, "_pixels", slow)
    app = site.app()
    site.hand.frame(time.monotonic_ns())

    async def picture():
        answer = await asked(app, "/api/picture/gate/0?width=160")
        answered.append("picture")
        return answer

    async def both():
        task = asyncio.create_task(picture())
        await asyncio.to_thread(entered.wait, 30.0)
        await asked(app, "/healthz")
        answered.append("health")
        go.set()
        return await task

    assert asyncio.run(both()).status == 200
    assert answered == ["health", "picture"]


@pytest.mark.parametrize("limit", ["closed", "late"])
def test_a_picture_is_decoded_only_as_long_as_there_is_time(
    tmp_path, directory, monkeypatch, limit
):
    film = encoded_film(tmp_path / "film.mp4", 20, gop=20)
    monkeypatch.setattr(pace.Pacer, "wait", lambda self, step_ns: now())
    source = open_source(str(film), stop=threading.Event(), encoded=True)
    pictures = Pictures({"gate": recorded(directory, source, 20)})
    source.close()
    assert pictures.make("gate", 15, 160)
    if limit == "closed":
        pictures.close()
    else:
        monkeypatch.setattr(picturing, "LONGEST_S", -1.0)
    assert pictures.make("gate", 16, 160) is None


def test_one_viewer_too_many_is_turned_away(site, monkeypatch):
    monkeypatch.setattr(lives, "VIEWERS", 0)
    assert ask(site.app(), "/api/events").status == 503
