"""The observer keeps the table's metrics, and nothing else."""

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from dispatcher.ports import Observer
from ops.observability.metrics import METRICS, SLO_SECONDS, Kind, Metric, PrometheusObserver

TABLE = {metric.name: metric for metric in METRICS}


def value(observer: PrometheusObserver, sample: str, **labels: str) -> float | None:
    return observer.registry.get_sample_value(f"system2_{sample}", labels)


def test_it_is_an_observer() -> None:
    observer: Observer = PrometheusObserver()
    observer.count("retries_total", queue="pos.push", reason="Throttled")


def test_counts_add_up_whatever_the_order_of_the_labels() -> None:
    observer = PrometheusObserver()
    observer.count("events_total", type="MealReady", result="applied")
    observer.count("events_total", 2, result="applied", type="MealReady")
    assert value(observer, "events_total", type="MealReady", result="applied") == 3


def test_label_values_are_not_confused_with_each_other() -> None:
    observer = PrometheusObserver()
    observer.count("events_total", type="a", result="b")
    observer.count("events_total", result="a", type="b")
    assert value(observer, "events_total", type="a", result="b") == 1
    assert value(observer, "events_total", type="b", result="a") == 1


def test_a_level_is_what_was_said_last() -> None:
    observer = PrometheusObserver()
    observer.level("amqp_connected", 1, role="pos")
    observer.level("amqp_connected", 0, role="pos")
    assert value(observer, "amqp_connected", role="pos") == 0


def test_a_time_on_a_boundary_is_within_it() -> None:
    observer = PrometheusObserver()
    observer.time("order_delivery_seconds", SLO_SECONDS, channel="meituan")
    observer.time("order_delivery_seconds", SLO_SECONDS + 0.001, channel="meituan")
    bucket = "order_delivery_seconds_bucket"
    assert value(observer, bucket, channel="meituan", le="0.5") == 0
    assert value(observer, bucket, channel="meituan", le="1.0") == 1
    assert value(observer, bucket, channel="meituan", le="+Inf") == 2
    assert value(observer, "order_delivery_seconds_sum", channel="meituan") == pytest.approx(2.001)


def test_a_name_outside_the_table_is_an_error_that_names_it() -> None:
    with pytest.raises(KeyError, match="orders_lost"):
        PrometheusObserver().count("orders_lost")


def test_a_metric_is_reported_as_what_it_is() -> None:
    observer = PrometheusObserver()
    observer.count("amqp_reconnects_total", role="pos")
    with pytest.raises(KeyError, match="gauge amqp_reconnects_total"):
        observer.level("amqp_reconnects_total", 0, role="pos")


@pytest.mark.parametrize("labels", [{}, {"queue": "a"}, {"queue": "a", "reason": "b", "x": "c"}])
def test_labels_are_those_of_the_table(labels: dict[str, str]) -> None:
    with pytest.raises(KeyError, match="retries_total has the labels"):
        PrometheusObserver().count("retries_total", **labels)


def test_a_hostile_label_value_stays_one_sample() -> None:
    observer = PrometheusObserver()
    observer.count("retries_total", queue='a"} 1\nsystem2_lies_total 7', reason="\\")
    families = text_string_to_metric_families(generate_latest(observer.registry).decode())
    assert "system2_lies" not in {family.name for family in families}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_row_of_the_table_keeps_the_rules_of_prometheus(metric: Metric) -> None:
    assert metric.name.endswith("_total") is (metric.kind is Kind.COUNTER)
    assert not metric.name.endswith(("_count", "_sum", "_bucket", "_milliseconds", "_ms"))
    assert metric.help.endswith(".") or metric.help.endswith(")."), metric.help
    assert bool(metric.buckets) is (metric.kind is Kind.HISTOGRAM)
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert not set(metric.labels) & {"le", "job", "instance", "process"}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_no_label_names_an_order_a_person_or_a_store(metric: Metric) -> None:
    for label in metric.labels:
        assert not {"order", "store", "account", "phone", "id"} & set(label.split("_"))


def test_every_row_has_a_name_of_its_own() -> None:
    assert len(TABLE) == len(METRICS)


@pytest.mark.parametrize("name", ["order_delivery_seconds", "pickup_code_seconds"])
def test_the_objective_is_a_boundary(name: str) -> None:
    assert SLO_SECONDS in TABLE[name].buckets
