"""`system2 docs`: the pages of the documentation that are printed from tables."""

import typer

from ops.observability.metrics import METRICS, PREFIX, Kind, Metric

app = typer.Typer(no_args_is_help=True)

_HEAD = """\
# Metrics

Printed by `system2 docs metrics`; a test keeps it true. Each process answers `/metrics`, `/livez`
and `/readyz` on a port of its own; `ops/observability/` holds the scrape configuration and a
Grafana dashboard. Labels never name an order, a person or a store.

| metric | type | labels | what it says |
|---|---|---|---|
"""


@app.callback()
def pages() -> None:
    """Print the generated pages of the documentation."""


@app.command()
def metrics() -> None:
    """Print docs/metrics.md."""
    typer.echo(metrics_page(), nl=False)


def metrics_page() -> str:
    """The whole page."""
    bounds = [
        f"- `{PREFIX}{metric.name}`: {', '.join(f'{bound:g}' for bound in metric.buckets)}\n"
        for metric in METRICS
        if metric.kind is Kind.HISTOGRAM
    ]
    return _HEAD + "".join(map(_row, METRICS)) + "\n## Buckets\n" + "".join(bounds)


def _row(metric: Metric) -> str:
    labels = ", ".join(metric.labels) or "-"
    return f"| `{PREFIX}{metric.name}` | {metric.kind} | {labels} | {metric.help} |\n"
