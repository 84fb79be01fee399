"""Standard Webhooks, the receiving side, against its published vector and another's signatures."""

from datetime import UTC, datetime, timedelta

import pytest

from dispatcher.platform import Forged
from producers.ingress.errors import Stale
from producers.ingress.signature import key_of, verified
from tests.unit.producers.doubles import NOW, OTHER_SECRET, SECRET, signed

KEYS = [key_of(SECRET)]
VECTOR = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}


def test_the_published_vector_is_right() -> None:
    keys = [key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    at = datetime.fromtimestamp(1614265330, UTC)
    found = verified(keys, VECTOR, b'{"test": 2432232314}', at)
    assert found == "msg_p5jXN8AQM9LWM0D4loKWxJek"


@pytest.mark.parametrize("seconds", [-300, 300])
def test_five_minutes_off_is_still_of_now(seconds: int) -> None:
    request = signed("{}", at=NOW + timedelta(seconds=seconds))
    assert verified(KEYS, request.headers, request.body, NOW) == "fact-1"


@pytest.mark.parametrize("seconds", [-301, 301])
def test_more_than_five_minutes_off_is_a_replay_in_both_directions(seconds: int) -> None:
    request = signed("{}", at=NOW + timedelta(seconds=seconds))
    with pytest.raises(Stale):
        verified(KEYS, request.headers, request.body, NOW)


def test_while_a_secret_is_changed_either_side_may_know_two() -> None:
    request = signed("{}", secret=OTHER_SECRET)
    both = [key_of(SECRET), key_of(OTHER_SECRET)]
    assert verified(both, request.headers, request.body, NOW)
    wrong = f"v1a,abc v1,AAAA {request.headers['webhook-signature']}"
    assert verified(both[1:], {**request.headers, "webhook-signature": wrong}, request.body, NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,ü"},
        {"webhook-signature": "v1,AAAA " * 9},
        {"webhook-id": "fact-2"},
        {"webhook-id": ""},
        {"webhook-id": "a" * 201},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "1" * 13},
        {"webhook-timestamp": "١٢"},
        {"webhook-timestamp": "-1"},
    ],
    ids=str,
)
def test_whatever_is_changed_or_missing_is_forged(change: dict[str, str]) -> None:
    request = signed("{}")
    with pytest.raises(Forged):
        verified(KEYS, {**request.headers, **change}, request.body, NOW)


def test_a_body_that_differs_in_one_byte_is_forged() -> None:
    request = signed("{}")
    with pytest.raises(Forged):
        verified(KEYS, request.headers, b"{ }", NOW)


def test_a_store_without_a_key_believes_nobody() -> None:
    request = signed("{}")
    with pytest.raises(Forged):
        verified([], request.headers, request.body, NOW)
