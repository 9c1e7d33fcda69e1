"""/metrics: the numbers of B/stats, in the conventions of Prometheus."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from framebuf.contract import LaneStats, ModelStats, Stats
from framebuf.histogram import FRAMES, SECONDS, Histogram
from framebuf.service.web.exposition import Exposition
from framebuf.service.web.names import ALWAYS, HELP, named

PACKAGE = Path(__file__).parents[2] / "framebuf"


def times(*values: float, bounds=SECONDS):
    histogram = Histogram(bounds)
    for value in values:
        histogram.add(value)
    return histogram.read()


def stats(**more) -> Stats:
    camera = {
        "online": True, "held": 40, "held_s": 3.9, "leased": 8, "kept": 100, "dropped": 2,
        "evicted": 60, "bytes": 4096, "reopened": 1, "decimated": 5, "undecodable": 0,
        "outdated": 0, "oversized": 0,
    }  # fmt: skip
    model = ModelStats(
        filled=times(3, 8, bounds=FRAMES), padded=1, failed=0, wait=times(0.002), prepare=times(),
        infer=times(0.02, 0.03), post=times(),
    )  # fmt: skip
    fields = {
        "at": "2026-11-25T00:00:00.000Z", "uptime_s": 12.5, "requests_open": 3, "known_ids": 7,
        "counters": {"results": 11, "rejected_stale": 2, "done_partial": 1, "a_new_one": 9},
        "cameras": {"gate": camera}, "models": {"person": model},
        "lanes": {"rk3588": LaneStats(cores=3, busy_s=1.5, waiting=4)},
        "publish": times(0.004), "total": times(0.2, 40),
        "memory": {"resident": 2048, "anonymous": 1024},
    }  # fmt: skip
    return Stats(**(fields | more))


def samples(told: Stats, *, connected: bool = True) -> dict[str, float]:
    text, media_type = Exposition("gate-7", lambda: (told, connected)).render("")
    assert media_type.startswith("text/plain; version=0.0.4")
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        assert family.documentation, family.name
        for one in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(one.labels.items()))
            found[f"{one.name}{{{labels}}}"] = one.value
    return found


def test_each_number_of_the_stats_is_there_under_its_labels():
    found = samples(stats())
    assert found["framebuf_results_total{}"] == 11
    assert found["framebuf_triggers_total{code=stale,outcome=rejected}"] == 2
    assert found["framebuf_requests_ended_total{outcome=partial}"] == 1
    assert found["framebuf_frames_captured_total{camera=gate}"] == 100
    assert found["framebuf_frames_evicted_total{camera=gate}"] == 60
    assert found["framebuf_buffer_seconds{camera=gate}"] == 3.9
    assert found["framebuf_camera_online{camera=gate}"] == 1
    assert found["framebuf_lane_busy_seconds_total{lane=rk3588}"] == 1.5
    assert found["framebuf_journal_rows{}"] == 7
    assert found["framebuf_anonymous_memory_bytes{}"] == 1024
    assert found["process_resident_memory_bytes{}"] > 2**20


def test_buckets_hold_all_that_is_below_them():
    found = samples(stats())
    name = "framebuf_trigger_to_done_seconds"
    assert found[f"{name}_bucket{{le=0.1}}"] == 0
    assert found[f"{name}_bucket{{le=0.25}}"] == 1
    assert found[f"{name}_bucket{{le=30.0}}"] == 1
    assert found[f"{name}_bucket{{le=+Inf}}"] == 2
    assert found[f"{name}_count{{}}"] == 2
    assert found[f"{name}_sum{{}}"] == 40.2
    filled = "framebuf_batch_frames"
    assert found[f"{filled}_bucket{{le=4.0,model=person}}"] == 1
    assert found[f"{filled}_sum{{model=person}}"] == 11
    assert found["framebuf_batch_padding_rows_total{model=person}"] == 1


def test_what_has_not_happened_yet_is_zero_and_what_is_new_is_told_all_the_same():
    found = samples(stats(counters={"a_new_one": 9}), connected=False)
    assert found["framebuf_frames_missing_total{reason=evicted}"] == 0
    assert found["framebuf_broker_connected{}"] == 0
    assert found["framebuf_a_new_one_total{}"] == 9


def test_a_scraper_that_wants_openmetrics_gets_it():
    text, media_type = Exposition("n", lambda: (stats(), True)).render(
        "application/openmetrics-text; version=1.0.0"
    )
    assert "openmetrics" in media_type
    assert text.endswith(b"# EOF\n")


def counted() -> set[str]:
    """The names that the package counts under, as far as they stand in its text."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "add"
                and ast.unparse(node.func.value).endswith("counters")
                and node.args
            ):
                found |= {
                    one.value
                    for one in ast.walk(node.args[0])
                    if isinstance(one, ast.Constant) and isinstance(one.value, str)
                }
    return found


def test_every_counter_of_the_package_is_told_from_the_start():
    names = counted()
    assert len(names) > 20
    for name in names:
        if name.endswith("_"):  # a prefix of several
            assert any(always.startswith(name) for always in ALWAYS), name
        else:
            assert name in ALWAYS, name


def test_every_code_that_rejects_is_told_from_the_start():
    codes = set()
    for path in PACKAGE.rglob("*.py"):
        codes |= set(re.findall(r'ContractError\(\s*"([a-z_]+)"', path.read_text()))
    assert len(codes) > 8
    assert {f"rejected_{code}" for code in codes} <= set(ALWAYS)


@pytest.mark.parametrize("counter", ALWAYS)
def test_names_are_in_prometheus_conventions(counter):
    name, labels = named(counter)
    assert re.fullmatch(r"framebuf_[a-z0-9_]+", name)
    assert not name.endswith(("_total", "_"))
    assert all(re.fullmatch(r"[a-z]+", label) for label in labels)


def test_every_help_is_of_a_metric_that_is_told():
    told = {name.split("{")[0] for name in samples(stats())}
    stems = {re.sub(r"_(total|bucket|sum|count|created)$", "", name) for name in told}
    assert set(HELP) <= stems
