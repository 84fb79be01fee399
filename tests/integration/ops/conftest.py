"""One world for each module, and a copy of its database for each test that breaks something."""

import asyncio
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from ops.stack import postgres
from storage.migrate import migrate
from tests.integration.ops.world import Shelf, a_world
from tests.integration.servers import Servers


@pytest.fixture(scope="module")
def world(database_url: str) -> tuple[str, Shelf]:
    """The database and the books of the other side."""

    async def build() -> Shelf:
        await migrate(database_url)
        async with a_world(database_url) as world:
            return world.books

    return database_url, asyncio.run(build())


@pytest.fixture
def copied_url(servers: Servers, world: tuple[str, Shelf]) -> Iterator[str]:
    admin_url = servers.endpoints.database_url
    name, original = f"t_{uuid.uuid4().hex}", urlsplit(world[0]).path[1:]
    postgres.query(admin_url, f"CREATE DATABASE {name} TEMPLATE {original}")
    yield urlsplit(admin_url)._replace(path=f"/{name}").geturl()
    postgres.query(admin_url, f"DROP DATABASE {name} WITH (FORCE)")
