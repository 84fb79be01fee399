"""Real servers for the tests: private ones, or those of SYSTEM2_TEST_DATABASE_URL and _AMQP_URL.

Every module gets an empty database and an empty vhost of its own. Without servers the run fails.
"""

import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ops.stack import local, postgres
from tests.integration.servers import Servers, create_vhost, delete_vhost


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    given = _given()
    if given:
        yield Servers(given, root=None)
        return
    with tempfile.TemporaryDirectory(prefix="system2-tests-", dir="/var/tmp") as name:
        root = Path(name)
        root.chmod(0o755)
        try:
            yield Servers(local.up(root), root)
        finally:
            local.down(root, wipe=True)


def _given() -> local.Endpoints | None:
    names = ("DATABASE_URL", "AMQP_URL", "MANAGEMENT_URL")
    values = [os.environ.get(f"SYSTEM2_TEST_{name}") for name in names]
    database_url, amqp_url, management_url = values
    if database_url and amqp_url and management_url:
        return local.Endpoints(database_url, amqp_url, management_url)
    return None


@pytest.fixture(scope="session")
def management_url(servers: Servers) -> str:
    assert servers.endpoints.management_url
    return servers.endpoints.management_url


@pytest.fixture(scope="module")
def database_url(servers: Servers) -> Iterator[str]:
    admin_url = servers.endpoints.database_url
    name = f"t_{uuid.uuid4().hex}"
    postgres.query(admin_url, f"CREATE DATABASE {name}")
    yield urlsplit(admin_url)._replace(path=f"/{name}").geturl()
    postgres.query(admin_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def amqp_url(servers: Servers, management_url: str) -> Iterator[str]:
    name = f"t_{uuid.uuid4().hex}"
    create_vhost(management_url, name)
    yield urlsplit(servers.endpoints.amqp_url)._replace(path=f"/{name}").geturl()
    delete_vhost(management_url, name)
