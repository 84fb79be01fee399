"""Accounts and the registry: what is not set up right is refused when it is opened."""

from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr, ValidationError

from producers.platforms.account import PlatformAccount
from producers.platforms.registry import ADAPTERS, open_platform
from tests.unit.platforms.fakes import FakeCatalogue, meituan_account


def test_every_adapter_is_found_by_its_own_channel_name() -> None:
    assert {name: getattr(adapter, "channel", "") for name, adapter in ADAPTERS.items()} == {
        name: name for name in ADAPTERS
    }


async def test_an_unknown_platform_is_named_with_those_that_are_known() -> None:
    async with aiohttp.ClientSession() as http:
        with pytest.raises(ValueError, match=r"carrier-pigeon.*meituan, opendelivery"):
            open_platform(meituan_account(platform="carrier-pigeon"), FakeCatalogue(), http)


@pytest.mark.parametrize(
    "wrong",
    [
        {"options": {"callbck_url": "https://example.test"}},
        {"options": {"timeout_seconds": 0}},
        {"credentials": {"app_id": SecretStr("1")}},
    ],
)
async def test_wrong_settings_are_refused_at_once(wrong: Any) -> None:
    async with aiohttp.ClientSession() as http:
        with pytest.raises(ValueError, match=r"callbck_url|timeout_seconds|secret"):
            open_platform(meituan_account(**wrong), FakeCatalogue(), http)


async def test_a_session_that_takes_proxies_from_the_environment_is_refused() -> None:
    async with aiohttp.ClientSession(trust_env=True) as http:
        with pytest.raises(ValueError, match="environment"):
            open_platform(meituan_account(), FakeCatalogue(), http)


@pytest.mark.parametrize(
    "wrong", [{"base_url": "ftp://x"}, {"currency": "yuan"}, {"colour": "red"}]
)
def test_an_account_is_checked_when_it_is_read(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        meituan_account(**wrong)


def test_secrets_do_not_show() -> None:
    assert "a00ba58" not in repr(meituan_account())


def test_a_store_may_have_a_timezone_of_its_own() -> None:
    account: PlatformAccount = meituan_account(timezones={"poi-2": "Asia/Urumqi"})
    assert [account.zone(code).key for code in ("poi-1", "poi-2")] == [
        "Asia/Shanghai",
        "Asia/Urumqi",
    ]
