"""How much was asked of the servers: statements by pg_stat_statements, messages by our metrics."""

from collections import Counter
from collections.abc import Iterable
from importlib.resources import files

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from dispatcher.ports import NullObserver
from storage import queries
from storage.database import Statements

SQL = queries.read((files("ops.bench") / "bench.sql").read_text("utf-8"), "bench.sql")
PUBLISHED = "system2_published"


class Publishes(NullObserver):
    """Counts the messages that the benchmark itself publishes."""

    def __init__(self) -> None:
        self.published = 0

    def count(self, name: str, amount: float = 1, /, **labels: str) -> None:
        self.published += int(amount) if name == "published_total" else 0


async def statements(database: Statements) -> Counter[str]:
    """How often each statement ran in this database since the server counts, but for ours."""
    rows = await database.fetch(SQL["bench_calls"])
    return Counter({row["query"]: row["calls"] for row in rows})


async def published(metrics_urls: Iterable[str]) -> int:
    """The messages that these processes have published since they started, repeats included."""
    messages = 0.0
    async with aiohttp.ClientSession(trust_env=False) as http:
        for url in metrics_urls:
            async with http.get(f"{url}/metrics") as answer:
                answer.raise_for_status()
                messages += published_in(await answer.text())
    return round(messages)


def published_in(page: str) -> float:
    """The same, of one /metrics page."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(page)
        if family.name == PUBLISHED
        for sample in family.samples
        if sample.name == f"{PUBLISHED}_total"
    )
