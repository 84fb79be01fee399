"""The PostgreSQL and RabbitMQ that the integration tests run against."""

import json
import urllib.request
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from ops.stack.local import Endpoints


class Servers(NamedTuple):
    """Where they are; `root` is the stack to kill and start again, None if it is not ours."""

    endpoints: Endpoints
    root: Path | None


def manage(management_url: str, method: str, path: str, body: object = None) -> object:
    """One call of RabbitMQ's management API; returns what it answered, decoded."""
    parts = urlsplit(management_url)
    plain = f"{parts.scheme}://{parts.hostname}:{parts.port}"
    passwords = urllib.request.HTTPPasswordMgrWithPriorAuth()
    passwords.add_password(
        None, plain, parts.username or "guest", parts.password or "guest", is_authenticated=True
    )
    opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(passwords))
    request = urllib.request.Request(
        f"{plain}/api/{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    with opener.open(request, timeout=30) as response:
        text = response.read()
    return json.loads(text) if text else None


def create_vhost(management_url: str, vhost: str) -> None:
    user = quote(urlsplit(management_url).username or "guest", safe="")
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    manage(management_url, "PUT", f"vhosts/{quote(vhost, safe='')}")
    manage(management_url, "PUT", f"permissions/{quote(vhost, safe='')}/{user}", everything)


def delete_vhost(management_url: str, vhost: str) -> None:
    manage(management_url, "DELETE", f"vhosts/{quote(vhost, safe='')}")
