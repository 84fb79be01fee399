"""What is sent is what is read; what cannot be read is refused in one of two ways, no third."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.envelope import TYPES, Envelope, Unreadable, as_dict, decode, encode, split
from dispatcher.errors import NotUnderstood
from dispatcher.messages import (
    CancelTicket,
    DeductStock,
    MealReady,
    Message,
    OrderCancelled,
    OrderPlaced,
    PullOrders,
    PushTicket,
    StockLine,
    StockShort,
    StoreSilent,
    TellReady,
)
from tests.builders import NOON, a_birth, a_line, an_event, an_order

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
MOMENTS = st.integers(0, 2**33).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
LINES = st.builds(StockLine, sku=TEXT, quantity=st.integers(1, 10_000))
PLATFORM: dict[str, Any] = {
    "order_id": st.uuids(),
    "channel": TEXT,
    "account": TEXT,
    "channel_order_id": TEXT,
    "store_id": TEXT,
}
DATA = st.one_of(
    st.builds(OrderCancelled, reason=TEXT),
    st.builds(StockShort, reason=TEXT, skus=st.lists(TEXT).map(tuple)),
    st.builds(MealReady, pickup_code=TEXT),
    st.builds(StoreSilent, epoch=st.integers(0, 2**31), due=MOMENTS),
    st.builds(DeductStock, order_id=st.uuids(), store_id=TEXT, lines=st.lists(LINES).map(tuple)),
    st.builds(PushTicket, order_id=st.uuids(), store_id=TEXT, channel=TEXT, placed_at=MOMENTS),
    st.builds(CancelTicket, order_id=st.uuids(), store_id=TEXT, reason=TEXT),
    st.builds(TellReady, pickup_code=TEXT, happened_at=MOMENTS, **PLATFORM),
    st.builds(PullOrders, channel=TEXT, account=TEXT, generation=st.integers(0, 2**31)),
    TEXT.map(lambda name: OrderPlaced(order=an_order(lines=(a_line(name=name),)))),
)
ENVELOPES = st.builds(
    Envelope,
    id=st.uuids(),
    source=TEXT,
    subject=st.uuids(),
    instance=st.uuids(),
    time=MOMENTS,
    data=DATA,
    cause=st.none() | st.uuids(),
    attempt=st.integers(0, 1_000),
    doubt=st.booleans(),
    expires=st.none() | MOMENTS,
    fingerprint=st.none() | TEXT,
    traceparent=st.none() | TEXT,
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def read(event: Any) -> Envelope[Message]:
    (found,) = split(json.dumps(event).encode())
    return decode(found)


def on_the_wire(**changes: Any) -> dict[str, Any]:
    """A cancellation as JSON, with some attributes put in or changed."""
    plain: dict[str, Any] = json.loads(encode(an_event(OrderCancelled())))
    return plain | changes


# -- round trip ----------------------------------------------------------------------------------


@given(ENVELOPES)
def test_what_is_sent_is_what_is_read(envelope: Envelope[Message]) -> None:
    (event,) = split(encode(envelope))
    assert decode(event) == envelope


@settings(max_examples=20)
@given(st.lists(ENVELOPES, min_size=1, max_size=5))
def test_a_batch_is_a_list_of_the_same(envelopes: list[Envelope[Message]]) -> None:
    body = b"[" + b",".join(map(encode, envelopes)) + b"]"
    assert [decode(event) for event in split(body)] == envelopes


def test_it_is_a_cloud_event_with_our_extensions() -> None:
    event = json.loads(encode(an_event(OrderCancelled(reason="too slow"), attempt=2)))
    assert event["specversion"] == "1.0"
    assert event["type"] == "system2.OrderCancelled"
    assert event["dataschema"] == "urn:system2:OrderCancelled:1"
    assert event["data"] == {"reason": "too slow"}
    assert event["attempt"] == 2
    assert not event.keys() & {"instance", "causationid", "expires", "doubt", "traceparent"}


def test_times_are_read_as_utc() -> None:
    assert read(on_the_wire(time="2026-05-01T20:00:00+08:00")).time == NOON


def test_what_is_stored_as_a_dict_is_read_the_same() -> None:
    """The inbox keeps answers so, and jsonb gives them back."""
    event = a_birth()
    assert decode(json.loads(json.dumps(as_dict(event), default=_plain))) == event


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, Message) else str(value)


# -- newer than us -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "newer",
    [
        {"type": "system2.OrderTeleported"},
        {"dataschema": "urn:system2:OrderCancelled:2"},
        {"data": {"reason": "x", "mood": "bad"}},
    ],
)
def test_an_unknown_type_version_or_field_asks_for_patience(newer: dict[str, Any]) -> None:
    with pytest.raises(NotUnderstood):
        read(on_the_wire(**newer))


# -- not ours ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"[1]", b"42", b"\xff", b"{", b"[[]]", b"NaN", b'{"a": Infinity}',
     b"[" * 100_000],
)  # fmt: skip
def test_a_body_without_events_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        split(body)


@pytest.mark.parametrize(
    "wrong",
    [
        {"specversion": "0.3"},
        {"type": ""},
        {"id": "17"},
        {"id": 17},
        {"subject": None},
        {"time": "yesterday"},
        {"time": "2026-05-01T12:00:00"},
        {"time": []},
        {"data": {"reason": "x" * 501}},
        {"data": None},
        {"data": []},
        {"attempt": "many"},
        {"attempt": []},
        {"expires": "soon"},
        {"causationid": "x"},
        {"attempt": 1e300},
        {"source": 5},
        {"fingerprint": ["x"]},
        {"traceparent": {}},
    ],
)
def test_a_wrong_attribute_is_unreadable(wrong: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        read(on_the_wire(**wrong))


@pytest.mark.parametrize("missing", ["id", "source", "subject", "time", "data", "specversion"])
def test_a_missing_attribute_is_unreadable(missing: str) -> None:
    event = on_the_wire()
    del event[missing]
    with pytest.raises(Unreadable):
        read(event)


@given(st.binary(max_size=60))
def test_garbage_is_unreadable_and_nothing_else(body: bytes) -> None:
    _read_or_refuse(body)


@settings(max_examples=300)
@given(st.sampled_from(sorted([*on_the_wire(), "attempt", "expires", "causationid", "instance",
                               "doubt", "fingerprint", "traceparent"])), JSON)  # fmt: skip
def test_nonsense_in_any_attribute_is_refused_in_one_of_two_ways(name: str, value: Any) -> None:
    _read_or_refuse(json.dumps(on_the_wire() | {name: value}).encode())


@given(st.sampled_from(sorted(TYPES)), JSON)
def test_nonsense_as_data_of_any_type_is_refused_in_one_of_two_ways(kind: str, data: Any) -> None:
    event = on_the_wire(type=f"system2.{kind}", data=data)
    event["dataschema"] = f"urn:system2:{kind}:1"
    _read_or_refuse(json.dumps(event).encode())


def _read_or_refuse(body: bytes) -> None:
    """Whatever is read can be sent again."""
    try:
        for event in split(body):
            encode(decode(event))
    except (Unreadable, NotUnderstood):
        pass
