"""A database with our schema and one order in it, one for each module."""

import asyncio

import pytest

from storage.migrate import migrate
from tests.integration.producers.place import place_order


@pytest.fixture(scope="module")
def stocked_url(database_url: str) -> str:
    asyncio.run(migrate(database_url))
    asyncio.run(place_order(database_url))
    return database_url
