"""A real Prometheus scrapes the node; promtool reads names, rules, and what they would tell."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.service.books import Books
from tests.service.parts import REPO, Node, films, tiny
from tests.service.test_web import TOKEN, Site, web
from tests.unit.test_monitoring import QUERIES

ALERTS = REPO / "etc" / "prometheus" / "framebuf-alerts.yml"
PATIENCE_S = 60.0


class Prometheus:
    """Scrapes one node once a second."""

    def __init__(self, program: str, folder: Path, target: int) -> None:
        self.port = free_port()
        self._program = program
        self._folder = folder
        (folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
            f"rule_files: [{ALERTS}]\n"
            "scrape_configs:\n"
            "  - job_name: framebuf\n"
            f"    authorization: {{credentials: {TOKEN}}}\n"
            f"    static_configs: [{{targets: ['127.0.0.1:{target}']}}]\n"
        )

    @contextmanager
    def running(self):
        log = (self._folder / "log").open("wb")
        process = subprocess.Popen(
            [
                self._program,
                f"--config.file={self._folder}/prometheus.yml",
                f"--storage.tsdb.path={self._folder}/data",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stdout=log,
            stderr=log,
        )
        try:
            yield self
        finally:
            process.terminate()
            process.wait(30)
            log.close()

    def ask(self, path: str, **parameters: str):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=20) as answer:
            return json.load(answer)["data"]

    def wait(self, query: str, wanted) -> list:
        """The result of a query, once it is as wanted."""
        end = time.monotonic() + PATIENCE_S
        found: object = None
        while time.monotonic() < end:
            try:
                found = self.ask("query", query=query)["result"]
            except OSError as error:  # it is starting
                found = error
            else:
                if wanted(found):
                    return found
            time.sleep(0.1)
        raise TimeoutError(f"{query} gives {found}")


@pytest.fixture(scope="module")
def scraped(mosquitto, film, tool, tmp_path_factory):
    """A node that has answered a trigger, and a Prometheus that has seen it."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "token").write_text(TOKEN)
    port = free_port()
    tables = web(port, 'token_file = "token"') + films(film)
    tables += films(folder / "not-there.mp4", name="yard") + tiny()
    node = Node(folder, mosquitto.port, tables, "scraped")
    with node.running(), Books.open(mosquitto.port, "scraped") as books:
        books.wait_text("gate/availability", "online")
        with Prometheus(tool("prometheus"), folder, port).running() as prometheus:
            prometheus.wait("up", lambda found: found and found[0]["value"][1] == "1")
            id_ = books.send_trigger("gate", {"before": 3, "mode": "window"})
            books.wait_done(id_)
            yield prometheus, Site(port), id_


def is_(value: str):
    return lambda found: len(found) == 1 and found[0]["value"][1] == value


def test_prometheus_sees_what_a_trigger_did(scraped):
    prometheus, _, _ = scraped
    prometheus.wait("framebuf_results_total", is_("3"))
    prometheus.wait('framebuf_requests_ended_total{outcome="complete"}', is_("1"))
    prometheus.wait("sum(framebuf_batch_frames_sum)", is_("3"))
    prometheus.wait("framebuf_trigger_to_done_seconds_count", is_("1"))
    (online,) = prometheus.wait('framebuf_camera_online{camera="yard"}', is_("0"))
    assert online["metric"]["job"] == "framebuf"


def test_every_rule_and_every_query_of_the_dashboard_can_be_asked(scraped):
    prometheus, _, _ = scraped
    for query in QUERIES:
        plain = query.replace("$__rate_interval", "1m").replace("$node", ".+").replace("$job", ".+")
        prometheus.ask("query", query=plain)
    prometheus.wait(
        'ALERTS{alertname="FramebufCameraOffline", alertstate="pending"}',
        lambda found: [one["metric"]["camera"] for one in found] == ["yard"],
    )
    (group,) = prometheus.ask("rules")["groups"]
    assert {rule["health"] for rule in group["rules"]} == {"ok"}, group


def test_promtool_finds_nothing_wrong_with_names_and_rules(scraped, tool):
    _, site, _ = scraped
    status, _, text = site.ask("/metrics", authorization=f"Bearer {TOKEN}")
    assert status == 200
    _promtool(tool, "check", "metrics", input=text)
    _promtool(tool, "check", "rules", str(ALERTS))


def test_the_alerts_tell_when_they_should_and_not_before(tool, tmp_path):
    """As promtool plays them: a camera that is away for a minute, and one that is not."""
    case = tmp_path / "case.yml"
    gate = '{job="framebuf", instance="n", camera="gate"}'
    yard = '{job="framebuf", instance="n", camera="yard"}'
    case.write_text(
        f"rule_files: [{ALERTS}]\n"
        "evaluation_interval: 15s\n"
        "tests:\n"
        "  - interval: 15s\n"
        "    input_series:\n"
        f"      - {{series: 'framebuf_camera_online{gate}', values: '1 1 0x20'}}\n"
        f"      - {{series: 'framebuf_camera_online{yard}', values: '1 0 0 1x20'}}\n"
        '      - {series: \'framebuf_frames_missing_total{instance="n", reason="evicted"}\', '
        "values: '0x8 3x14'}\n"
        "    alert_rule_test:\n"
        "      - {eval_time: 75s, alertname: FramebufCameraOffline, exp_alerts: []}\n"
        "      - eval_time: 105s\n"
        "        alertname: FramebufCameraOffline\n"
        "        exp_alerts:\n"
        "          - exp_labels: {severity: critical, job: framebuf, instance: n, camera: gate}\n"
        "            exp_annotations:\n"
        "              summary: Camera gate of n is offline\n"
        "              description: Its frames are stale; /readyz says why.\n"
        "      - {eval_time: 105s, alertname: FramebufFramesMissing, exp_alerts: []}\n"
        "    promql_expr_test:\n"
        "      - expr: sum by (reason) (increase(framebuf_frames_missing_total[10m])) > bool 0\n"
        "        eval_time: 3m\n"
        "        exp_samples: [{labels: '{reason=\"evicted\"}', value: 1}]\n"
    )
    _promtool(tool, "test", "rules", str(case))


def _promtool(tool, *arguments: str, input: bytes = b"") -> None:
    done = subprocess.run(
        [tool("promtool"), *arguments], input=input, capture_output=True, check=False
    )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
