"""The table of metrics, and the observer that keeps them and writes the log.

Every name, label and bucket stands here once; docs/metrics.md is printed from it, and tests hold
reports, dashboard and rules against it. Labels never name an order, a person or a store.
"""

import logging
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import accumulate
from typing import Any, NamedTuple

import structlog
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from dispatcher.tracing import trace_id

PREFIX = "system2_"

SLO_SECONDS = 1.0
"""An order counts as delivered in time when its ticket is at the till this long after placing."""


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(NamedTuple):
    """One row: its name without prefix, and the upper bounds of its buckets if it has any."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 400, 800)
_MOMENTS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_JOURNEYS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, SLO_SECONDS, 1.5, 2.5, 5, 10, 30, 60, 180, 600)

_C, _G, _H = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM

# The formatter would spread each row over seven lines.
METRICS = (
    Metric("events_total", _C, "Events judged, by what became of them.", ("type", "result")),
    Metric("commands_total", _C, "Commands answered, put off or given up.", ("type", "result")),
    Metric("transitions_total", _C, "Moves of orders from state to state.",
           ("workflow", "from_state", "to_state")),
    Metric("order_delivery_seconds", _H, "From placing an order to its ticket at the till (SLI).",
           ("channel",), _JOURNEYS),
    Metric("pickup_code_seconds", _H, "From the till's meal-ready to the channel being told.",
           ("channel",), _JOURNEYS),
    Metric("batch_size", _H, "Events or commands taken at once.", ("queue",), _COUNTS),
    Metric("message_wait_seconds", _H, "From publishing a message to taking it, first attempts.",
           ("queue",), _JOURNEYS),
    Metric("processing_seconds", _H, "From taking a batch to its acknowledgement.",
           ("queue",), _MOMENTS),
    Metric("pull_runs_total", _C, "Looks at platforms for new orders.", ("platform", "result")),
    Metric("pull_last_success_timestamp_seconds", _G, "When a look last succeeded, unix time.",
           ("platform",)),
    Metric("pull_lag_seconds", _G, "How long the last look took, all its pages.",
           ("platform",)),
    Metric("ingress_requests_total", _C, "Requests from platforms and tills.", ("route", "code")),
    Metric("ingress_rejected_total", _C, "Requests refused at the door.", ("source", "reason")),
    Metric("retries_total", _C, "Work that will be tried again.", ("queue", "reason")),
    Metric("deadlines_fired_total", _C, "Deadlines that came due and were judged.", ("name",)),
    Metric("deadlines_stale_total", _C, "Deadlines that nobody waited for any more.", ("name",)),
    Metric("quarantined_total", _C, "Messages put aside for a person to look at.",
           ("queue", "reason")),
    Metric("publish_confirm_seconds", _H, "From publishing to the broker's confirm.",
           ("exchange",), _MOMENTS),
    Metric("published_total", _C, "Publishes by the broker's answer.", ("exchange", "result")),
    Metric("amqp_connected", _G, "1 while connected to the broker.", ("role",)),
    Metric("amqp_reconnects_total", _C, "Attempts to connect to the broker again.", ("role",)),
    Metric("amqp_blocked", _G, "1 while the broker blocks publishers.", ("role",)),
    Metric("consumers_expected", _G, "Consumers we believe to have at the broker.", ("role",)),
    Metric("db_pool_wait_seconds", _H, "Waiting for a database connection.", ("pool",), _MOMENTS),
    Metric("db_statement_seconds", _H, "Round trip of a statement.", ("statement",), _MOMENTS),
    Metric("event_loop_lag_seconds", _H, "How late the event loop came to a timer.", (), _MOMENTS),
    Metric("build_info", _G, "1, with what runs.", ("version", "python")),
)  # fmt: skip


class Number:
    """A counter's or a gauge's value under one set of labels."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0


class Spread:
    """A histogram under one set of labels."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0


_Labels = tuple[str, ...]
_Key = tuple[str, ...]
"""A metric's name, the names of its labels as the caller gave them, and their values."""


class PrometheusObserver(Collector):
    """Implements dispatcher.ports.Observer. Call `logs.configure` before making one.

    It keeps its numbers itself: it is asked tens of times per order, and finding and moving one of
    prometheus_client's costs three times as much. To be used by one thread, that of the event loop.
    A name or labels that are not in the table raise KeyError.
    """

    def __init__(self) -> None:
        self._counters: dict[_Key, Number] = {}
        self._gauges: dict[_Key, Number] = {}
        self._spreads: dict[_Key, Spread] = {}
        self._numbers: dict[str, dict[_Labels, Number]] = {}
        self._histograms: dict[str, dict[_Labels, Spread]] = {}
        self._table = {metric.name: metric for metric in METRICS}
        self._log = structlog.get_logger().bind()
        self._talks = bool(self._log.is_enabled_for(logging.INFO))
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def count(self, name: str, amount: float = 1, /, **labels: str) -> None:
        """Add `amount` to a counter."""
        key = (name, *labels, *labels.values())
        try:
            number = self._counters[key]
        except KeyError:
            number = self._counters[key] = self._number(Kind.COUNTER, name, labels)
        number.value += amount

    def level(self, name: str, value: float, /, **labels: str) -> None:
        """Set a gauge."""
        key = (name, *labels, *labels.values())
        try:
            number = self._gauges[key]
        except KeyError:
            number = self._gauges[key] = self._number(Kind.GAUGE, name, labels)
        number.value = value

    def time(self, name: str, seconds: float, /, **labels: str) -> None:
        """Put one observation into a histogram."""
        key = (name, *labels, *labels.values())
        try:
            spread = self._spreads[key]
        except KeyError:
            spread = self._spreads[key] = self._spread(name, labels)
        spread.counts[bisect_left(spread.bounds, seconds)] += 1
        spread.total += seconds

    def note(self, sentence: str, /, **facts: Any) -> None:
        """Write a line. Two facts are not printed as they are: of `trace`, a traceparent, the trace
        id is; `level` is the level of the line instead of info.
        """
        if not self._talks and "level" not in facts:
            return
        level = facts.pop("level", "info")
        if "trace" in facts:
            facts["trace_id"] = trace_id(facts.pop("trace"))
        getattr(self._log, level)(sentence, **facts)

    def collect(self) -> Iterator[Family]:
        """All of the table, as prometheus_client prints it; also what was never observed."""
        for metric in METRICS:
            if metric.kind is Kind.HISTOGRAM:
                yield _histogram(metric, self._histograms.get(metric.name, {}).items())
            else:
                yield _numbers(metric, self._numbers.get(metric.name, {}).items())

    def _number(self, kind: Kind, name: str, labels: Mapping[str, str]) -> Number:
        values = self._values(kind, name, labels)
        return self._numbers.setdefault(name, {}).setdefault(values, Number())

    def _spread(self, name: str, labels: Mapping[str, str]) -> Spread:
        values = self._values(Kind.HISTOGRAM, name, labels)
        fresh = Spread(self._table[name].buckets)
        return self._histograms.setdefault(name, {}).setdefault(values, fresh)

    def _values(self, kind: Kind, name: str, labels: Mapping[str, str]) -> _Labels:
        metric = self._table.get(name)
        if metric is None or metric.kind is not kind:
            raise KeyError(f"there is no {kind} {name} in the table of metrics")
        if labels.keys() != set(metric.labels):
            raise KeyError(f"{name} has the labels {metric.labels}, not {tuple(labels)}")
        return tuple(str(labels[label]) for label in metric.labels)


def _numbers(metric: Metric, series: Iterable[tuple[_Labels, Number]]) -> Family:
    kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    family = kind(PREFIX + metric.name, metric.help, labels=metric.labels)
    for labels, number in series:
        family.add_metric(labels, number.value)
    return family


def _histogram(metric: Metric, series: Iterable[tuple[_Labels, Spread]]) -> Family:
    family = HistogramMetricFamily(PREFIX + metric.name, metric.help, labels=metric.labels)
    bounds = [*(str(float(bound)) for bound in metric.buckets), "+Inf"]
    for labels, spread in series:
        up_to = accumulate(spread.counts)
        family.add_metric(labels, list(zip(bounds, up_to, strict=True)), spread.total)
    return family
