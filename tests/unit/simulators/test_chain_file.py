"""The example chain, as the simulators read it."""

from pathlib import Path

import pytest

from ops.simulators.chain import Chain, filled, read_chain
from ops.simulators.tills.signature import key_of

EXAMPLE = Path(__file__).parents[3] / "examples" / "chain.toml"


def example(**environ: str) -> Chain:
    return read_chain(EXAMPLE, environ)


def test_the_example_chain_has_twenty_stores_on_both_platforms() -> None:
    chain = example()
    assert [store.store_id for store in chain.stores] == [f"S{n:03d}" for n in range(1, 21)]
    assert {len(chain.stores_on(row.account)) for row in chain.platforms} == {20}
    assert len({store.till_secret for store in chain.stores}) == 20


def test_every_till_secret_is_valid_and_says_that_it_is_an_example() -> None:
    for store in example().stores:
        key = key_of(store.till_secret)
        assert 24 <= len(key) <= 64
        assert key.startswith(b"example-")


def test_a_base_url_comes_from_the_environment_or_from_the_file() -> None:
    assert example().account("meituan").base_url == "http://127.0.0.1:7101/api/v1"
    moved = example(SYSTEM2_MEITUAN_URL="https://waimaiopen.meituan.com/api/v1")
    assert moved.account("meituan").base_url == "https://waimaiopen.meituan.com/api/v1"


def test_a_name_without_a_value_or_a_default_is_an_error() -> None:
    with pytest.raises(LookupError, match="SECRET"):
        filled({"secret": ["${SECRET}"]}, {})


def test_an_account_the_chain_does_not_have_is_an_error() -> None:
    with pytest.raises(LookupError, match="keeta"):
        example().account("keeta")
