"""The daemon seen from outside, over HTTP: health, readiness, metrics, and who is let in."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.ports import free_port
from tests.service.books import Books
from tests.service.numbered import make_video
from tests.service.parts import Node, films, tiny

TOKEN = "a-token-of-24-characters"


def web(port: int, more: str = "") -> str:
    return f'[web]\nlisten = "127.0.0.1:{port}"\n{more}\n'


class Site:
    """One node's HTTP, asked as a script asks."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, path: str, method: str = "GET", body: str | None = None, **headers: str):
        """Status, headers and body; underscores in header names are dashes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def json(self, path: str):
        status, _, body = self.ask(path)
        return status, json.loads(body)

    def metrics(self) -> dict[str, float]:
        status, _, body = self.ask("/metrics")
        assert status == 200
        return {
            one.name + "".join(f" {key}={value}" for key, value in sorted(one.labels.items())): (
                one.value
            )
            for family in text_string_to_metric_families(body.decode())
            for one in family.samples
        }

    def send(self, document: dict, **headers: str):
        """A trigger, as the page sends it."""
        own = {
            "origin": f"http://127.0.0.1:{self.port}",
            "content_type": "application/json",
            "x_framebuf_key": self.json("/api/key")[1]["key"],
        }
        return self.ask("/api/trigger", "POST", json.dumps(document), **(own | headers))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("web") / "film.mp4", 30)


def test_a_trigger_sent_by_the_page_is_a_trigger_and_counts_alike_in_metrics_and_stats(
    mosquitto, film, tmp_path
):
    site = Site(free_port())
    tables = web(site.port, "allow_trigger = true") + films(film) + tiny()
    node = Node(tmp_path, mosquitto.port, tables, "web1", env={"FRAMEBUF_STATS_S": "0.2"})
    with node.running(), Books.open(mosquitto.port, "web1") as books:
        books.wait_text("gate/availability", "online")
        node.wait_for(lambda: site.json("/readyz")[0] == 200, "ready")
        assert site.json("/healthz") == (200, {"ok": True, "reasons": []})
        status, _, body = site.send(
            {"camera": "gate", "trigger": {"id": "p-1", "before": 1, "mode": "window"}}
        )
        assert (status, json.loads(body)) == (202, {"id": "p-1"})
        done = books.wait_done("p-1").document
        assert done["event_type"] == "complete"
        stats = books.wait_message(
            lambda m: m.leaf == "stats" and not m.document["requests_open"],
            after=books.newest,
        ).document
        found = site.metrics()
        assert found["framebuf_triggers_total code= outcome=accepted"] == 1
        assert found["framebuf_results_total"] == stats["counters"]["results"] == done["published"]
        assert found["framebuf_trigger_to_done_seconds_count"] == sum(stats["total"]["counts"]) == 1
        assert found["framebuf_result_publish_seconds_count"] == sum(stats["publish"]["counts"])
        filled = stats["models"]["tiny"]["filled"]
        assert found["framebuf_batch_frames_sum model=tiny"] == filled["sum"] == done["published"]
        assert found["framebuf_lane_busy_seconds_total lane=cpu"] == stats["lanes"]["cpu"]["busy_s"]
        assert found["framebuf_journal_rows"] == stats["known_ids"] == 1
        assert stats["cameras"]["gate"]["held_s"] > 0

        # what is not the page's is refused
        trigger = {"camera": "gate", "trigger": {"id": "p-2"}}
        assert site.send(trigger, origin="http://evil.example")[0] == 403
        assert site.send(trigger, x_framebuf_key="guessed")[0] == 403
        assert site.send(trigger, content_type="text/plain")[0] == 415
        assert site.send({"camera": "nowhere", "trigger": {}})[0] == 404
        status, _, body = site.send({"camera": "gate", "trigger": {"id": "<b>"}})
        assert (status, json.loads(body)["error"]["code"]) == (422, "bad_id")
        status, _, _ = site.send({"camera": "gate", "trigger": {"meta": "x" * 70_000}})
        assert status == 413
        assert site.ask("/", host="evil.example")[0] == 421
        assert site.ask("/static/../../daemon.py")[0] == 404
        assert site.metrics()["framebuf_triggers_total code= outcome=accepted"] == 1


def test_a_node_that_is_not_fit_says_why_to_those_who_may_know(mosquitto, tmp_path):
    """The camera is not there, nor is the broker; a stranger hears no and nothing else."""
    site = Site(free_port())
    (tmp_path / "token").write_text(TOKEN + "\n")
    tables = web(site.port, 'token_file = "token"') + films(tmp_path / "no.mp4") + tiny()
    node = Node(tmp_path, free_port(), tables, "web2")
    with node.running():
        known = {"authorization": f"Bearer {TOKEN}"}
        status, _, body = site.ask("/readyz", **known)
        assert status == 503
        reasons = {one["part"]: one["why"] for one in json.loads(body)["reasons"]}
        assert set(reasons) == {"camera gate", "broker"}
        assert "no.mp4" in reasons["camera gate"]
        assert site.json("/readyz") == (503, {"ok": False})
        assert site.json("/healthz") == (200, {"ok": True})
        assert site.ask("/metrics")[0] == 401
        assert site.ask("/metrics", **known)[0] == 200

        origin = f"http://127.0.0.1:{site.port}"
        status, headers, _ = site.ask("/login", "POST", "token=wrong", origin=origin)
        assert (status, headers["location"]) == (303, "/login#wrong")
        assert "set-cookie" not in headers
        status, headers, _ = site.ask("/login", "POST", f"token={TOKEN}", origin=origin)
        assert (status, headers["location"]) == (303, "/")
        cookie = headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert TOKEN not in cookie
        assert site.ask("/metrics", cookie=cookie.partition(";")[0])[0] == 200
        # triggers from the page are off by default, for those who are let in too
        status, _, body = site.ask(
            "/api/trigger", "POST", "{}", origin=origin, content_type="application/json", **known
        )
        assert status == 403
        assert b"allow_trigger" in body
