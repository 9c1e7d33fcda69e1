"""The example alerts and the dashboard ask only for what the node tells."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from framebuf.service.web.exposition import Exposition
from tests.unit.test_web_exposition import stats

ETC = Path(__file__).parents[2] / "etc"
ALERTS = (ETC / "prometheus" / "framebuf-alerts.yml").read_text()
DASHBOARD = json.loads((ETC / "grafana" / "framebuf.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
METRIC = re.compile(r"\b(?:framebuf|process)_[a-z_]+")


def told() -> dict[str, set[str]]:
    """Each sample's name, and the labels that it has."""
    text, _ = Exposition("n", lambda: (stats(), True)).render("")
    found: dict[str, set[str]] = {}
    for line in text.decode().splitlines():
        if match := re.match(r"([a-z_]+)(?:\{(.*)\})? ", line):
            labels = re.findall(r'([a-z_]+)="', match[2] or "")
            found.setdefault(match[1], set()).update(labels)
    return found


def test_the_dashboard_has_its_panels_side_by_side():
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 for place in places)
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(places)


@pytest.mark.parametrize("query", QUERIES)
def test_each_query_of_the_dashboard_names_metrics_that_there_are(query):
    names = METRIC.findall(query)
    assert names
    assert set(names) <= set(told())
    by = {
        name.strip() for group in re.findall(r"by \(([^)]*)\)", query) for name in group.split(",")
    }
    own = set().union(*(told()[name] for name in names))
    assert by <= own | {"instance", "le"}


def test_each_legend_of_the_dashboard_names_labels_that_there_are():
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            own = set().union(*(told()[name] for name in METRIC.findall(target["expr"])))
            assert labels <= own | {"instance"}, target


def test_each_alert_names_metrics_that_there_are():
    said = "\n".join(line for line in ALERTS.splitlines() if not line.lstrip().startswith("#"))
    names = set(METRIC.findall(said))
    assert len(names) > 8
    assert names <= set(told())
    values = dict(re.findall(r'(outcome|code|reason)="(\w+)"', said))
    text, _ = Exposition("n", lambda: (stats(), True)).render("")
    for label, value in values.items():
        assert f'{label}="{value}"' in text.decode()
