"""docs/till.md is true: its examples go to the simulated tills, its signature is recomputed."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from ops.simulators.tills.signature import key_of, matches
from tests.contracts.simulators.stage import Inbox, secret_of, tills, until

PAGE = (Path(__file__).parents[3] / "docs" / "till.md").read_text(encoding="utf-8")
EXAMPLES = {
    json.loads(block)["type"]: block.strip()
    for block in re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)
}
FACTS = ("ticket.accepted", "ticket.refused", "meal.ready")


def worked_example() -> dict[str, str]:
    (block,) = re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)
    return dict(line.split(maxsplit=1) for line in block.strip().splitlines())


def shape(document: Any) -> Any:
    if isinstance(document, dict):
        return {key: shape(value) for key, value in document.items()}
    return type(document).__name__


def test_the_page_fits_on_one_page_and_shows_every_message() -> None:
    assert len(PAGE.splitlines()) <= 110
    assert set(EXAMPLES) == {"ticket.placed", "ticket.cancelled", *FACTS}


def test_the_worked_signature_is_what_the_reference_library_computes() -> None:
    shown = worked_example()
    when = datetime.fromtimestamp(int(shown["webhook-timestamp"]), UTC)
    signed = Webhook(shown["secret"]).sign(shown["webhook-id"], when, shown["body"])
    assert signed == shown["webhook-signature"]
    assert matches(
        key_of(shown["secret"]),
        shown["webhook-id"],
        shown["webhook-timestamp"],
        shown["body"].encode(),
        shown["webhook-signature"],
    )


async def test_the_ticket_of_the_page_is_taken_and_its_cancellation_too() -> None:
    async with tills(mode="quiet") as stage:
        placed, cancelled = EXAMPLES["ticket.placed"], EXAMPLES["ticket.cancelled"]
        assert (await stage.push(placed.encode(), "key-1"))[0] == 200
        assert (await stage.push(cancelled.encode(), "key-2"))[0] == 200
        assert await stage.push(placed.encode(), "key-3") == (409, {"status": "cancelled"})


async def test_a_type_the_page_does_not_know_is_answered_with_2xx() -> None:
    async with tills() as stage:
        body = EXAMPLES["ticket.placed"].replace("ticket.placed", "ticket.wrapped")
        assert await stage.push(body.encode(), "key-1") == (200, None)


@pytest.mark.parametrize("type_", FACTS)
async def test_callbacks_have_the_shape_the_page_shows(type_: str) -> None:
    inbox = Inbox(b'{"status":"ok"}')
    mode = "refuse_later" if type_ == "ticket.refused" else "accept"
    async with tills(inbox, mode=mode) as stage:
        await stage.push(EXAMPLES["ticket.placed"].encode(), "key-1")
        await until(lambda: any(said["type"] == type_ for said in inbox.documents))
        said = next(said for said in inbox.documents if said["type"] == type_)
        assert shape(said) == shape(json.loads(EXAMPLES[type_]))


async def test_a_callback_of_the_page_is_signed_with_the_stores_secret() -> None:
    inbox = Inbox(b'{"status":"ok"}')
    async with tills(inbox) as stage:
        await stage.push(EXAMPLES["ticket.placed"].encode(), "key-1")
        await until(lambda: len(inbox.requests) == 2)
        for _, headers, body in inbox.requests:
            Webhook(secret_of("S001")).verify(body, headers)
