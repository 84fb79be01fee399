"""Personal data and secrets do not survive; our own ids do."""

import string
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.identity import order_no
from ops.observability.masking import MASK, is_sensitive, mask, masked, of

# Whatever stands beside a number: nothing that would make another number of it.
beside = st.text(string.ascii_letters + ' ,;:"[]{}<>|/\n联系电话', max_size=12).map(
    lambda text: text.rstrip(string.ascii_letters) + " "
)
after = st.sampled_from([" ", ",", "\n", ")", '"', "'", "，", "联系", ". ", ""])
digits = st.text("0123456789", min_size=8, max_size=8)
eleven = st.builds(
    "1{}{}{}".format, st.sampled_from("3456789"), st.sampled_from("0123456789"), digits
)


@st.composite
def chinese(draw: st.DrawFn) -> str:
    number, gap = draw(eleven), draw(st.sampled_from(["", " ", "-"]))
    country = draw(st.sampled_from(["", "+86", "+86 ", "+86-", "86", "0086 "]))
    extension = draw(st.sampled_from(["", "_1", "_1234", "_123456", "转1234"]))
    return country + gap.join((number[:3], number[3:7], number[7:])) + extension


@st.composite
def brazilian(draw: st.DrawFn) -> str:
    area, rest = draw(st.sampled_from(["11", "21", "85", "99"])), draw(digits)
    country = draw(st.sampled_from(["", "+55", "+55 "]))
    form = draw(st.sampled_from(["{}9{}{}", "({}) 9{}-{}", "({})9{}{}", "{} 9{}-{}", "({}) {}-{}"]))
    return country + form.format(area, rest[:4], rest[4:])


@given(beside, chinese() | brazilian(), after)
def test_no_phone_number_survives(before: str, number: str, behind: str) -> None:
    left = mask(before + number + behind)
    assert MASK in left
    assert not any(len(run) > 6 for run in "".join(c if c.isdigit() else " " for c in left).split())


@given(chinese())
def test_digits_of_full_width_are_digits(number: str) -> None:
    wide = number.translate({ord(c): ord(c) + 0xFEE0 for c in "0123456789+-_"})
    assert mask(wide) == MASK


@given(
    st.text(string.ascii_lowercase + string.digits + "._+-", min_size=1, max_size=12),
    st.sampled_from(["qq.com", "mail.example.com.br"]),
)
def test_no_email_address_survives(who: str, where: str) -> None:
    assert f"{who}@{where}" not in mask(f"<{who}@{where}>")


names = st.text(string.ascii_letters + " 张三丰李四é", min_size=2, max_size=12).filter(
    lambda name: name.strip() == name
)


@given(
    names.map(lambda name: f"Q{name}Q"),
    st.sampled_from(["name", "recipient_name", "address", "remark"]),
)
def test_what_is_called_personal_does_not_survive_in_any_writing(value: str, key: str) -> None:
    for text in (
        f"Recipient({key}='{value}', sku='A')",
        f'{{"{key}": "{value}", "sku": "A"}}',
        f'"{{\\"{key}\\": \\"{value}\\", \\"sku\\": \\"A\\"}}"',
        f"{{'{key}': '{value}', 'sku': 'A'}}",
        f"Key ({key})=({value}) already exists.",
        f"Failing row contains (7, {value}).",
        f"input_value='{value}', input_type=str",
        f"{{'sku': 'A', '{key}': '{value}",
    ):
        assert value not in mask(text), text


@given(st.uuids(), st.integers(10**9, 2 * 10**9), st.integers(0, 10**9))
def test_our_ids_and_times_stay_readable(identifier: UUID, unix: int, nanoseconds: int) -> None:
    trace = f"00-{identifier.hex}-{identifier.hex[:16]}-01"
    for text in (
        f"order {identifier} ({identifier.hex})",
        f"ticket {order_no(identifier)} is open",
        f"at {unix} in {unix * 1000} or {unix * 1000000}",
        f"after {nanoseconds / 1e9} s",
        f"trace {trace}",
        f"on 2026-11-22T03:23:07.{nanoseconds:09d}+00:00",
    ):
        assert mask(text) == text


@given(st.text())
def test_masking_twice_is_masking_once(text: str) -> None:
    assert mask(mask(text)) == mask(text)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("amqp://guest:p@ss@rabbit.example.com:5672/", "amqp://guest:***@rabbit.example.com:5672/"),
        ("GET /poi/list?sig=ab%3D&app_id=4711", "GET /poi/list?sig=***&app_id=4711"),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ("sent bearer abc.defghi to", "sent bearer *** to"),
        ("key whsec_c2VjcmV0 is old", "key *** is old"),
        ("header v1,pUXxhJh8bPO7/T2EmS0kLFpccprn+l/bk0yb0nctxzs=", "header ***"),
        ("password=hunter2 host=db", "password=*** host=db"),
        ("client_secret: abc, x", "client_secret: ***, x"),
        ("Key (bucket, order_id)=(1, 2) already exists.",
         "Key (bucket, order_id)=(1, 2) already exists."),
        ("queue pos.push: 3 commands, sku=A", "queue pos.push: 3 commands, sku=A"),
        ("customer cancelled on the platform", "customer cancelled on the platform"),
    ],
)  # fmt: skip
def test_a_text_keeps_what_is_no_secret(text: str, left: str) -> None:
    assert mask(text) == left


@pytest.mark.parametrize(
    "key",
    ["phone", "recipient_name", "recipientName", "name", "address", "app_secret", "sig",
     "signature", "password", "access_token", "Authorization", "user_email", "remark"],
)  # fmt: skip
def test_a_fact_of_such_a_name_is_not_told(key: str) -> None:
    assert of(key, "anything") == MASK
    assert of("body", {"inner": [{key: "anything"}]}) == {"inner": [{key: MASK}]}


@pytest.mark.parametrize(
    "key",
    ["order_id", "trace_id", "queue", "type", "reason", "account", "source", "store_id", "role",
     "queue_name", "names", "assigned", "hostname", "metrics_port", "held", "error", "attempt"],
)  # fmt: skip
def test_a_fact_of_another_name_is_told(key: str) -> None:
    assert not is_sensitive(key)


def test_numbers_are_told_unless_they_are_phone_numbers() -> None:
    values: list[Any] = [13800138000, 1767225600, 1767225600123, 20, True, 0.5]
    assert masked(values) == [MASK, *values[1:]]


def test_a_long_text_without_anything_in_it_takes_no_time_to_speak_of() -> None:
    text = "a@b.c = " + "QUJD" * 50_000
    assert mask(text) == text.replace("a@b.c", MASK)
