"""The main job on real parts: a numbered video, mosquitto, the daemon as a subprocess."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from tests.service import reference
from tests.service.books import Books
from tests.service.numbered import Picture, frames_of, make_video, read_number
from tests.service.parts import Mosquitto, Node, nanodet

pytestmark = pytest.mark.alone

FRAMES = 100
KEPT_A_SECOND = 10
CLIENTS = 4
TRIGGERS = 20


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("video") / "numbered.mp4", FRAMES)


@pytest.fixture(scope="module")
def pictures(video: Path) -> list[Picture]:
    return list(frames_of(video))


def test_concurrent_triggers_each_get_every_frame_once_and_every_answer_is_its_frames(
    mosquitto: Mosquitto, tmp_path: Path, video: Path, pictures: list[Picture]
) -> None:
    node = Node(
        tmp_path,
        mosquitto.port,
        f'[[camera]]\nname = "gate"\nsource = "{video}"\nfps = {KEPT_A_SECOND}\nbuffer = "20s"\n'
        f'models = ["obj"]\n[camera.trigger]\ndeadline = "90s"\n'
        + nanodet(more="batch_sizes = [8]\nruntimes = 2\n"),
        name="main",
    )
    with Books.open(mosquitto.port, "main") as books, node.running():
        books.wait_text("gate/availability", "online")
        first = books.send_trigger("gate", {"mode": "window", "after": 50, "before": 0})
        books.wait_done(first, timeout_s=90)  # the buffer has filled meanwhile
        ids = _send_from_several_clients(mosquitto.port)
        for id in ids:
            books.wait_done(id, timeout_s=90)
        books.fence("gate")
        _check_that_requests_share_batches(books)
        requests = [books.check_request(id) for id in [first, *ids]]
        books.check_everything()
        books.check_drains([id for id in ids if _mode(id) == "drain"])

    @cache
    def expected(position: int) -> list[reference.Finding]:
        return reference.detect(pictures[position])

    answers = 0
    slots = set()
    for request in requests:
        assert request.done["event_type"] == "complete", request.done
        assert sorted(request.by_index) == list(range(request.done["published"]))
        for result in request.by_index.values():
            position = result["frame"]["position"]
            assert read_number(pictures[position]) == position
            assert reference.difference(expected(position), result["detections"]) == ""
            answers += 1
            slots.add((result["batch"]["size"], result["batch"]["slot"]))
    assert answers > TRIGGERS * 5
    assert max(size for size, _ in slots) == 8, "the triggers never filled a batch"
    seqs = [
        [r["frame"]["seq"] for _, r in sorted(request.by_index.items())] for request in requests
    ]
    drains = [r for r in requests if _mode(r.id) == "drain"]
    assert sum(len(r.by_index) for r in drains) > 10, "the drains had nothing to take"
    assert any(r.done["already_claimed"] for r in drains), "no drain met another's claims"
    windows = [set(s) for s, r in zip(seqs, requests, strict=True) if _mode(r.id) == "window"]
    assert any(a & b for a in windows for b in windows if a is not b), "no windows overlapped"
    for numbers, request in zip(seqs, requests, strict=True):
        if _mode(request.id) == "window":
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _check_that_requests_share_batches(books: Books) -> None:
    """Two dozen triggers of one frame each: what fills a batch is of as many requests."""
    ones = [books.send_trigger("gate", {"mode": "window", "before": 1}) for _ in range(24)]
    batches: dict[float, set[tuple[int, str]]] = defaultdict(set)
    for id in ones:
        assert books.wait_done(id, timeout_s=90).document["requested"] == 1
        (result,) = books.request(id).by_index.values()
        batches[result["ms"]["infer"]].add((result["batch"]["slot"], id))
        assert result["batch"]["filled"] <= 8
    # One run has one duration: of a batch that these requests alone filled, all slots are there
    shared = [batch for batch in batches.values() if len(batch) == 8]
    assert shared, f"batches of {sorted(map(len, batches.values()))} requests"
    for batch in shared:
        assert {slot for slot, _ in batch} == set(range(8))
        assert len({id for _, id in batch}) == 8


def _send_from_several_clients(port: int) -> list[str]:
    """Twenty triggers, five from each of four clients at once: windows, and drains between."""
    ids: list[str] = []
    together = threading.Barrier(CLIENTS)

    def client(number: int) -> None:
        chance = random.Random(number)
        with Books.open(port, "main") as sender:
            together.wait(60)
            for turn in range(TRIGGERS // CLIENTS):
                mode = "drain" if (turn + number) % 4 == 0 else "window"
                trigger = {
                    "id": f"{mode}-{number}-{turn}",
                    "mode": mode,
                    "before": chance.choice([5, 8, 12, "700ms", "1.2s"]),
                    "after": chance.choice([0, 3, "400ms"]),
                }
                ids.append(sender.send_trigger("gate", trigger))
                sender.wait_ack(trigger["id"])

    threads = [threading.Thread(target=client, args=(n,)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(ids) == TRIGGERS
    return ids


def _mode(id: str) -> str:
    return id.partition("-")[0]
