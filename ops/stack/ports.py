"""Loopback ports for one stack: picked free once, remembered, picked anew only when taken."""

import hashlib
import socket
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

FIRST, LAST = 20_000, 32_000  # below Linux's range for outgoing connections (32768 and up)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def pick(root: Path, count: int, taken: Iterable[int] = ()) -> list[int]:
    """`count` free ports; checkouts start at different places, so that they seldom meet."""
    avoid = set(taken)
    digest = hashlib.sha256(str(root).encode()).digest()
    start = int.from_bytes(digest[:4]) % (LAST - FIRST)
    candidates = (FIRST + (start + step) % (LAST - FIRST) for step in range(LAST - FIRST))
    return list(islice((p for p in candidates if p not in avoid and is_free(p)), count))
