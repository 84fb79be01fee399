"""A whole AMQP 0-9-1 handshake by hand: a broker that lets us open a vhost is ready, not before.

A listening socket is not enough (RabbitMQ accepts connections that it then leaves waiting while it
boots), and the driver is at home in `dispatcher/rabbit` only.
"""

import socket
import ssl
import struct
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

HEADER = b"AMQP\x00\x00\x09\x01"
FRAME_END = b"\xce"
START, START_OK, TUNE, TUNE_OK, OPEN, OPEN_OK, CLOSE, CLOSE_OK = 10, 11, 30, 31, 40, 41, 50, 51


class Refused(OSError):
    """The broker does not let us in."""


class Address(NamedTuple):
    """What an AMQP URL says."""

    host: str
    port: int
    user: str
    password: str
    vhost: str
    encrypted: bool


def parse(amqp_url: str) -> Address:
    parts = urlsplit(amqp_url)
    encrypted = parts.scheme == "amqps"
    return Address(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or (5671 if encrypted else 5672),
        user=unquote(parts.username or "guest"),
        password=unquote(parts.password or "guest"),
        vhost=unquote(parts.path[1:]) or "/",
        encrypted=encrypted,
    )


def shake_hands(amqp_url: str, timeout_seconds: float = 5.0) -> None:
    """Log in, open the vhost and leave politely; raises OSError with the broker's reason."""
    address = parse(amqp_url)
    place = (address.host, address.port)
    with socket.create_connection(place, timeout=timeout_seconds) as plain:
        if not address.encrypted:
            _converse(plain, address)
            return
        context = ssl.create_default_context()
        with context.wrap_socket(plain, server_hostname=address.host) as encrypted:
            _converse(encrypted, address)


def _converse(connection: socket.socket, address: Address) -> None:
    connection.sendall(HEADER)
    _expect(connection, START)
    _send(connection, START_OK, _login(address))
    _send(connection, TUNE_OK, _expect(connection, TUNE)[:8])
    _send(connection, OPEN, _short(address.vhost) + b"\x00\x00")
    _expect(connection, OPEN_OK)
    _send(connection, CLOSE, struct.pack(">H", 200) + _short("bye") + struct.pack(">HH", 0, 0))
    _expect(connection, CLOSE_OK)


def _login(address: Address) -> bytes:
    """An empty table of client properties, then PLAIN with user and password."""
    response = f"\0{address.user}\0{address.password}".encode()
    table = struct.pack(">I", 0)
    return table + _short("PLAIN") + struct.pack(">I", len(response)) + response + _short("en_US")


def _send(connection: socket.socket, method: int, arguments: bytes) -> None:
    payload = struct.pack(">HH", 10, method) + arguments
    connection.sendall(struct.pack(">BHI", 1, 0, len(payload)) + payload + FRAME_END)


def _expect(connection: socket.socket, method: int) -> bytes:
    """The arguments of the next method, which must be `method`."""
    _, _, size = struct.unpack(">BHI", _read(connection, 7))
    payload = _read(connection, size + 1)[:-1]
    _, got = struct.unpack(">HH", payload[:4])
    if got == CLOSE:
        raise Refused(_reason(payload[4:]))
    if got != method:
        raise Refused(f"the broker answered with method 10.{got} instead of 10.{method}")
    return payload[4:]


def _reason(close: bytes) -> str:
    length = close[2]
    return close[3 : 3 + length].decode(errors="replace")


def _short(text: str) -> bytes:
    encoded = text.encode()
    return bytes([len(encoded)]) + encoded


def _read(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        chunk = connection.recv(size - len(received))
        if not chunk:
            raise Refused("the broker closed the connection: wrong user, password or vhost?")
        received += chunk
    return received
