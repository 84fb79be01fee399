"""Properties that cannot be decoded are shown as far as they can be."""

import struct

from hypothesis import given
from hypothesis import strategies as st
from pamqp.commands import Basic

from dispatcher.rabbit.raw import readable


def test_ordinary_properties_are_all_there() -> None:
    sent = Basic.Properties(content_type="text/plain", headers={"events": 2}, message_id="m")
    assert readable(sent.marshal()) == (
        {"content_type": "text/plain", "headers": {"events": 2}, "message_id": "m"},
        None,
    )


def test_what_comes_before_the_poison_is_shown() -> None:
    content_type, timestamp = 1 << 15, 1 << 6
    raw = struct.pack(">H", content_type | timestamp) + b"\x04json" + struct.pack(">Q", 2**62)
    found = readable(raw)
    assert found.properties == {"content_type": "json"}
    assert found.problem is not None and found.problem.startswith("timestamp cannot be decoded")


@given(st.binary(max_size=100))
def test_no_bytes_whatever_raise(raw: bytes) -> None:
    readable(raw)
