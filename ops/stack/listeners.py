"""Which addresses this machine listens on, read from /proc: a broker on 0.0.0.0 is a hole."""

import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LISTEN = "0A"  # TCP_LISTEN in Linux's tcp_states.h


class Listener(NamedTuple):
    """One listening TCP socket."""

    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int

    @property
    def local_only(self) -> bool:
        return self.address.is_loopback


def listeners(proc: Path = Path("/proc/net")) -> Iterator[Listener]:
    for table in (proc / "tcp", proc / "tcp6"):
        if table.exists():
            rows = (line.split() for line in table.read_text().splitlines()[1:])
            yield from (_listener(row[1]) for row in rows if row[3] == LISTEN)


def _listener(local: str) -> Listener:
    """`0100007F:1F90` is 127.0.0.1:8080: words of four bytes, each in the host's byte order."""
    address, port = local.split(":")
    words = [bytes.fromhex(address[start : start + 8])[::-1] for start in range(0, len(address), 8)]
    return Listener(ipaddress.ip_address(b"".join(words)), int(port, 16))
