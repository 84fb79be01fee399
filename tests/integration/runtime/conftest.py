"""A database with our schema in it, one for each module."""

import asyncio

import pytest

from storage.migrate import migrate


@pytest.fixture(scope="module")
def migrated_url(database_url: str) -> str:
    asyncio.run(migrate(database_url))
    return database_url
