"""The stats in Prometheus's words: one metric for each number, none of them counted here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.exposition import choose_encoder

from framebuf import __version__
from framebuf.service.web.names import ALWAYS, CAMERA_COUNTERS, CAMERA_GAUGES, HELP, named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client.core import Metric

    from framebuf.contract import LaneStats, ModelStats, Stats
    from framebuf.histogram import Distribution

    Take = Callable[[], tuple[Stats, bool]]
    """Stats of now, and whether the broker is connected."""


class Exposition:
    """What a scrape gets. Whoever scrapes, one at a time."""

    def __init__(self, node: str, take: Take) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Collector(node, take))
        ProcessCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[bytes, str]:
        """The metrics in the format that a scraper accepts best, and that format's media type."""
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type


class _Collector:
    """prometheus_client asks it for metrics at each scrape."""

    def __init__(self, node: str, take: Take) -> None:
        self._node = node
        self._take = take

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead of time: else it would be asked for metrics before there are any."""
        return ()

    def collect(self) -> Iterator[Metric]:
        stats, connected = self._take()
        info = GaugeMetricFamily(
            "framebuf_build_info", HELP["framebuf_build_info"], labels=("version", "node")
        )
        info.add_metric((__version__, self._node), 1)
        yield info
        yield _gauge("framebuf_uptime_seconds", stats.uptime_s)
        yield _gauge("framebuf_broker_connected", float(connected))
        yield _gauge("framebuf_requests_open", stats.requests_open)
        yield _gauge("framebuf_journal_rows", stats.known_ids)
        yield _gauge("framebuf_anonymous_memory_bytes", stats.memory.get("anonymous", 0))
        yield from _counters(stats.counters)
        yield from _cameras(stats)
        yield from _models(stats.models)
        yield from _lanes(stats.lanes)
        for name, one in (("publish", stats.publish), ("total", stats.total)):
            if one is not None:
                yield _histogram(_REQUESTS[name], (), (((), one),))


_REQUESTS = {
    "publish": "framebuf_result_publish_seconds",
    "total": "framebuf_trigger_to_done_seconds",
}
_TIMES = {
    "wait": "framebuf_frame_wait_seconds",
    "prepare": "framebuf_frame_prepare_seconds",
    "infer": "framebuf_batch_infer_seconds",
    "post": "framebuf_frame_post_seconds",
    "filled": "framebuf_batch_frames",
}


def _gauge(name: str, value: float) -> Metric:
    return GaugeMetricFamily(name, HELP[name], value=value)


def _counters(counts: dict[str, int]) -> Iterator[Metric]:
    """Those of `Counters`; what has not happened yet is 0, as far as it is known that it can."""
    families: dict[str, CounterMetricFamily] = {}
    for counter, count in (dict.fromkeys(ALWAYS, 0) | counts).items():
        name, labels = named(counter)
        if name not in families:
            help_ = HELP.get(name, f"The counter {counter} of the stats")
            families[name] = CounterMetricFamily(name, help_, labels=tuple(labels))
        families[name].add_metric(tuple(labels.values()), count)
    yield from families.values()


def _cameras(stats: Stats) -> Iterator[Metric]:
    for kind, names in ((GaugeMetricFamily, CAMERA_GAUGES), (CounterMetricFamily, CAMERA_COUNTERS)):
        for figure, name in names.items():
            family = kind(name, HELP[name], labels=("camera",))
            for camera, figures in stats.cameras.items():
                family.add_metric((camera,), float(figures[figure] or 0))
            yield family


def _models(models: dict[str, ModelStats]) -> Iterator[Metric]:
    for figure, name in _TIMES.items():
        yield _histogram(
            name, ("model",), [((model,), getattr(one, figure)) for model, one in models.items()]
        )
    for figure, name in (
        ("padded", "framebuf_batch_padding_rows"),
        ("failed", "framebuf_batches_failed"),
    ):
        family = CounterMetricFamily(name, HELP[name], labels=("model",))
        for model, one in models.items():
            family.add_metric((model,), getattr(one, figure))
        yield family


def _lanes(lanes: dict[str, LaneStats]) -> Iterator[Metric]:
    for kind, figure, name in (
        (GaugeMetricFamily, "cores", "framebuf_lane_cores"),
        (GaugeMetricFamily, "waiting", "framebuf_lane_waiting_frames"),
        (CounterMetricFamily, "busy_s", "framebuf_lane_busy_seconds"),
    ):
        family = kind(name, HELP[name], labels=("lane",))
        for lane, one in lanes.items():
            family.add_metric((lane,), getattr(one, figure))
        yield family


def _histogram(
    name: str,
    labels: tuple[str, ...],
    values: Iterable[tuple[tuple[str, ...], Distribution]],
) -> Metric:
    family = HistogramMetricFamily(name, HELP[name], labels=labels)
    for of, one in values:
        below, buckets = 0, []
        for bound, count in zip((*one.bounds, float("inf")), one.counts, strict=True):
            below += count
            buckets.append(("+Inf" if bound == float("inf") else str(bound), below))
        family.add_metric(of, buckets, one.sum)
    return family
