"""The simulators' own signing, on the vectors of the wire notes and against a foreign library."""

from datetime import UTC, datetime

from standardwebhooks import Webhook

from ops.simulators.meituan.signature import signature as meituan_signature
from ops.simulators.opendelivery.signature import signature as opendelivery_signature
from ops.simulators.tills.signature import fresh, key_of, matches
from ops.simulators.tills.signature import signature as till_signature

DAY_SEQ = "://waimaiopen.meituan.com/api/v1/order/getOrderDaySeq"
PARAMS = {"timestamp": "1389751221", "app_id": "0000", "app_poi_code": "31号测试店"}
SECRET = "a00ba58f000001aa697ab000006d52d"
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_a_meituan_call_is_signed_over_raw_values_and_the_base_url() -> None:
    over_https = meituan_signature("https" + DAY_SEQ, PARAMS, SECRET)
    over_http = meituan_signature("http" + DAY_SEQ, PARAMS, SECRET)
    assert over_https == "488c2c2302262b62e3666a4aa4b48083"
    assert over_http == "6e7f708637606e1a8c28f4034f9af55a"


def test_a_meituan_signature_keeps_empty_values_and_leaves_itself_out() -> None:
    signed = meituan_signature("http://x/y", {**PARAMS, "empty": ""}, SECRET)
    assert signed != meituan_signature("http://x/y", PARAMS, SECRET)
    assert signed == meituan_signature("http://x/y", {**PARAMS, "empty": "", "sig": "z"}, SECRET)


def test_an_open_delivery_webhook_is_signed_over_its_raw_body() -> None:
    assert (
        opendelivery_signature(b'{"eventId":"1"}', "test_secret")
        == "5efe0783aea0b5869ff34281a5bce6b97255d1faddcf66354f106f7241bfdac5"
    )


def test_a_till_signs_as_the_published_vector_says() -> None:
    signed = till_signature(
        key_of(WEBHOOK_SECRET),
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
        b'{"test": 2432232314}',
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_till_agrees_with_the_reference_library() -> None:
    when, body = datetime.now(UTC), '{"type":"meal.ready","remark":"不要香菜"}'
    foreign = Webhook(WEBHOOK_SECRET).sign("msg_1", when, body)
    timestamp = str(int(when.timestamp()))
    assert matches(key_of(WEBHOOK_SECRET), "msg_1", timestamp, body.encode(), foreign)


def test_one_right_signature_among_several_is_enough() -> None:
    key, body = key_of(WEBHOOK_SECRET), b"{}"
    right = till_signature(key, "msg_1", "1614265330", body)
    assert matches(key, "msg_1", "1614265330", body, f"v1,AAAA {right} v1a,BBBB")
    assert not matches(key, "msg_1", "1614265330", b"{ }", right)
    assert not matches(key, "msg_1", "1614265330", body, "v1,é")


def test_a_timestamp_older_than_five_minutes_is_stale() -> None:
    assert fresh("1000", 1299.0)
    assert not fresh("1000", 1301.0)
    assert not fresh("1e3", 1000.0)
