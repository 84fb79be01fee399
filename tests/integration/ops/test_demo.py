"""The demo itself, short: every process, both platforms, all accidents, and books that agree."""

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from rich.console import Console

from ops.demo.perform import Performance, Wanted
from ops.demo.play import Options
from ops.demo.show import Show
from ops.place import AnotherOne, NotOurs, own_place
from ops.stack import postgres
from ops.stack.local import Endpoints
from tests.integration.servers import create_vhost, delete_vhost

EXAMPLE = Path(__file__).parents[3] / "examples" / "chain.toml"


@pytest.fixture
def endpoints(database_url: str, amqp_url: str, management_url: str) -> Iterator[Endpoints]:
    """Servers of which the demo's own database and vhost are taken away again."""
    yield Endpoints(database_url, amqp_url, management_url)
    postgres.query(database_url, f'DROP DATABASE IF EXISTS "{demo_of(database_url)}" WITH (FORCE)')
    delete_vhost(management_url, demo_of(database_url))


def demo_of(database_url: str) -> str:
    return urlsplit(database_url).path.strip("/") + "_demo"


@pytest.mark.timeout(240)
async def test_a_short_demo_ends_with_all_books_in_agreement(
    endpoints: Endpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "examples").mkdir()
    shutil.copy(EXAMPLE, tmp_path / "examples")
    talk = io.StringIO()
    wanted = Wanted(Options(orders=60, seconds=8), as_json=True, keep=False)
    show = Show(Console(file=talk, width=200))
    verdict = await Performance(wanted, endpoints, tmp_path, show).run()
    told = capsys.readouterr()
    assert verdict.faults == []
    figures = json.loads(told.out)
    ends = ("delivered", "refused", "closed", "open")
    assert figures["orders"] == 60 == sum(figures[end] for end in ends)
    assert (figures["open"], figures["lost"], figures["duplicated"]) == (0, 0, 0)
    assert figures["delivered"] > 30
    assert figures["ok"] is True
    assert "dispatcher-1 is back after" in talk.getvalue()
    assert "pos is back after" in talk.getvalue()
    assert "orders show" in told.err


async def test_a_database_that_no_demo_made_is_left_alone(endpoints: Endpoints) -> None:
    name = demo_of(endpoints.database_url)
    create_vhost(endpoints.management_url or "", name)
    postgres.query(endpoints.database_url, f'CREATE DATABASE "{name}"')
    with pytest.raises(NotOurs, match=f"the database {name} was not made by us"):
        async with own_place(endpoints):
            pass


async def test_a_vhost_that_no_demo_made_is_left_alone(endpoints: Endpoints) -> None:
    name = demo_of(endpoints.database_url)
    create_vhost(endpoints.management_url or "", name)
    with pytest.raises(NotOurs, match=f"the vhost {name} was not made by us"):
        async with own_place(endpoints):
            pass


async def test_two_demos_do_not_share_a_server_at_the_same_time(endpoints: Endpoints) -> None:
    async with own_place(endpoints):
        with pytest.raises(AnotherOne):
            async with own_place(endpoints):
                pass


async def test_a_second_demo_finds_an_empty_place(endpoints: Endpoints) -> None:
    async with own_place(endpoints) as place:
        postgres.query(place.database_url, "CREATE TABLE left_over (x integer)")
    async with own_place(endpoints) as place:
        look = "SELECT 1 FROM pg_tables WHERE tablename = 'left_over'"
        tables = postgres.query(place.database_url, look)
    assert tables == []
