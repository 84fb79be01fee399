"""Reports, table, dashboard, scrape configuration and page speak of the same metrics."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from ops.cli.docs import metrics_page
from ops.observability.health import Health
from ops.observability.metrics import (
    METRICS,
    PREFIX,
    SLO_SECONDS,
    Kind,
    Metric,
    PrometheusObserver,
)
from tests.architecture.promql import Asked, Matcher, asked
from tests.architecture.reports import Report, reports

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "ops" / "observability"
TABLE = {metric.name: metric for metric in METRICS}
REPORTS = reports()
MEASURES = [report for report in REPORTS if report.method != "note"]
METHOD = {Kind.COUNTER: "count", Kind.GAUGE: "level", Kind.HISTOGRAM: "time"}

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SCRAPES: dict[str, dict[str, Any]] = {
    job["job_name"]: job
    for job in yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
}
DASHBOARDS = sorted(FOLDER.glob("*.json"))


class Target(NamedTuple):
    panel: str
    expression: str
    legend: str


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text("utf-8"))["panels"]:
            yield path.stem, panel


PANELS = list(panels())
TARGETS = [
    Target(f"{dashboard}/{panel['title']}", target["expr"], target["legendFormat"])
    for dashboard, panel in PANELS
    for target in panel.get("targets", ())
]


@pytest.mark.parametrize("report", MEASURES, ids=lambda report: report.place)
def test_what_is_reported_is_in_the_table_with_the_same_labels(report: Report) -> None:
    for name in report.names:
        assert name in TABLE
        assert METHOD[TABLE[name].kind] == report.method
        assert set(TABLE[name].labels) == report.labels


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_of_the_table_is_reported_somewhere(metric: Metric) -> None:
    assert metric.name in {name for report in MEASURES for name in report.names}


def test_no_note_has_a_fact_that_every_line_has() -> None:
    taken = {"timestamp", "event", "service", "exception", "exc_info"}
    assert [r.place for r in REPORTS if r.method == "note" and r.labels & taken] == []


def test_no_note_tells_what_would_be_masked() -> None:
    from ops.observability.masking import is_sensitive

    masked = [r.place for r in REPORTS if r.method == "note" and any(map(is_sensitive, r.labels))]
    assert masked == []


def test_no_label_takes_an_id_of_an_order_or_a_store() -> None:
    labels = {label for metric in METRICS for label in metric.labels}
    assert not labels & {"order_id", "order", "store_id", "store", "ticket_id", "account"}


class Exposition(NamedTuple):
    """The samples of a /metrics page: their labels, and the values of `le`."""

    labels: Mapping[str, frozenset[str]]
    bounds: frozenset[str]


async def exposition() -> Exposition:
    """A real page, each metric of the table observed once."""
    observer = PrometheusObserver()
    for metric in METRICS:
        report = getattr(observer, METHOD[metric.kind])
        report(metric.name, 1, **dict.fromkeys(metric.labels, "x"))
    async with (
        Health(observer, {}).serving("127.0.0.1", 0) as port,
        aiohttp.ClientSession() as http,
        http.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        families = list(text_string_to_metric_families(await answer.text()))
    samples = [sample for family in families for sample in family.samples]
    return Exposition(
        {sample.name: frozenset(sample.labels) for sample in samples},
        frozenset(sample.labels["le"] for sample in samples if "le" in sample.labels),
    )


def target_labels() -> frozenset[str]:
    """What Prometheus itself adds to each sample."""
    added = {rule["target_label"] for rule in SCRAPES["system2"]["relabel_configs"]}
    return frozenset({"job", "instance", *added})


async def test_every_expression_of_the_dashboards_names_what_we_export() -> None:
    page, added = await exposition(), target_labels()
    assert TARGETS
    for target in TARGETS:
        wanted = asked(target.expression)
        assert wanted.samples, target
        for sample in wanted.samples:
            assert sample in page.labels, target
            assert wanted.labels <= page.labels[sample] | added, target
        for matcher in wanted.matchers:
            assert matcher.label in page.labels[matcher.sample] | added, target
            assert matcher.label != "le" or matcher.value in page.bounds, target


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.panel)
def test_a_legend_names_only_what_the_expression_groups_by(target: Target) -> None:
    named = set(re.findall(r"\{\{\s*(\w+)\s*\}\}", target.legend))
    assert named <= asked(target.expression).labels


def test_every_metric_is_on_a_dashboard() -> None:
    shown = {sample for target in TARGETS for sample in asked(target.expression).samples}
    suffixes = ("", "_count", "_bucket")
    unseen = [m.name for m in METRICS if not shown & {f"{PREFIX}{m.name}{end}" for end in suffixes}]
    assert unseen == []


def test_the_share_in_time_is_read_at_the_objective() -> None:
    bounds = {
        matcher.value
        for target in TARGETS
        for matcher in asked(target.expression).matchers
        if matcher.label == "le"
    }
    assert bounds == {str(SLO_SECONDS)}


def test_an_expression_is_read_whole() -> None:
    expression = 'sum by (a, le) (rate(x_bucket{b="c, {d}", e=~"f"}[5m] offset 1h)) / time() - y'
    assert asked(expression.replace("{d}", "d")) == Asked(
        frozenset({"x_bucket", "y"}),
        frozenset({"a", "le"}),
        (Matcher("x_bucket", "b", "c, d"), Matcher("x_bucket", "e", "f")),
    )


def test_dashboards_have_a_fixed_uid_and_the_provisioned_source() -> None:
    sources = yaml.safe_load((FOLDER / "provisioning/datasources/system2.yml").read_text())
    uids = {source["uid"] for source in sources["datasources"]}
    assert DASHBOARDS
    for path in DASHBOARDS:
        assert re.fullmatch(r"system2-[a-z-]+", json.loads(path.read_text("utf-8"))["uid"])
    assert {p["datasource"]["uid"] for _, p in PANELS if "targets" in p} == uids


def test_panels_say_what_they_show_and_do_not_cover_each_other() -> None:
    taken: set[tuple[str, int, int]] = set()
    for dashboard, panel in PANELS:
        assert panel["type"] == "row" or panel["description"].endswith("."), panel["title"]
        at = panel["gridPos"]
        cells = {
            (dashboard, x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_prometheus_reads_every_process_of_the_pipeline() -> None:
    (found,) = SCRAPES["system2"]["dns_sd_configs"]
    processes = {
        name
        for name, service in COMPOSE["services"].items()
        if isinstance(service.get("command"), list) and service["command"][0] == "run"
    }
    assert set(found["names"]) == processes
    for name in processes:
        environment = COMPOSE["services"][name]["environment"]
        assert environment["SYSTEM2_METRICS_PORT"] == str(found["port"])


def test_prometheus_reads_the_broker() -> None:
    for job in ("rabbitmq", "rabbitmq-queues"):
        assert SCRAPES[job]["static_configs"] == [{"targets": ["rabbitmq:15692"]}]
    assert "rabbitmq" in COMPOSE["services"]


def test_grafana_finds_the_dashboards_where_they_are_mounted() -> None:
    providers = yaml.safe_load((FOLDER / "provisioning/dashboards/system2.yml").read_text())
    (provider,) = providers["providers"]
    mounts = COMPOSE["services"]["grafana"]["volumes"]
    assert f"./ops/observability:{provider['options']['path']}:ro" in mounts


def test_the_page_of_metrics_is_printed_from_the_table() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text("utf-8") == metrics_page()
