"""The chain file: filled from the environment, checked as a whole, errors that name the place."""

from pathlib import Path

import pytest

from ops.load import ChainFileInvalid, read
from storage.chain import Item, OpeningStock, StoreCode, StoredCatalogue

EXAMPLE = Path(__file__).parents[3] / "examples" / "chain.toml"
SECRET = "whsec_ZXhhbXBsZS10aWxsLXNlY3JldC1vZi1TMDAx"
CHAIN = f"""
[chain]
name = "Noodles"
timezone = "Asia/Shanghai"
[[platforms]]
platform = "meituan"
account = "mt-main"
base_url = "${{MEITUAN_URL:-http://127.0.0.1:7101/api/v1}}"
currency = "CNY"
credentials = {{ app_id = "4711", secret = "very-secret" }}
[[stores]]
store_id = "S001"
name = "River Gate"
till_url = "http://127.0.0.1:7103/tills/S001"
till_secret = "{SECRET}"
till_networks = ["127.0.0.0/8"]
accounts = {{ mt-main = "poi-001" }}
[[stores]]
store_id = "S002"
name = "Harbour"
timezone = "Europe/Berlin"
till_url = "http://127.0.0.1:7103/tills/S002"
till_secret = "{SECRET}"
[[items]]
sku = "NOODLE"
name = "Noodles"
price_minor = 2800
[[stock]]
store = "*"
sku = "NOODLE"
quantity = 10
[[stock]]
store = "S002"
sku = "NOODLE"
quantity = 3
"""


def problems(old: str, new: str) -> str:
    assert old in CHAIN
    with pytest.raises(ChainFileInvalid) as refusal:
        read(CHAIN.replace(old, new), {})
    return "\n".join(refusal.value.problems)


def test_addresses_come_from_the_environment_or_their_default() -> None:
    assert read(CHAIN, {}).accounts()[0].base_url == "http://127.0.0.1:7101/api/v1"
    filled = read(CHAIN, {"MEITUAN_URL": "https://example.com/x"})
    assert filled.accounts()[0].base_url == "https://example.com/x"


def test_a_store_without_a_time_zone_has_that_of_the_chain() -> None:
    zones = [store.timezone for store in read(CHAIN, {}).all_stores()]
    assert zones == ["Asia/Shanghai", "Europe/Berlin"]


def test_stock_for_every_store_gives_way_to_that_of_one() -> None:
    assert set(read(CHAIN, {}).opening_stock()) == {
        OpeningStock("S001", "NOODLE", 10),
        OpeningStock("S002", "NOODLE", 3),
    }


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("Asia/Shanghai", "Asia/Nowhere", "chain.timezone: nobody knows the time zone"),
        (SECRET, "whsec_c2hvcnQ=", "[[stores]] S001: till_secret: is not whsec_ and 24 to 64"),
        (SECRET, "whsec_***", "[[stores]] S001: till_secret: is not base64"),
        ("http://127.0.0.1:7103/tills/S001", "ftp://x", "[[stores]] S001: till_url: is no http"),
        ("127.0.0.0/8", "127.0.0.1/8", "[[stores]] S001: till_networks.0: 127.0.0.1/8 has host"),
        ("mt-main = ", "mt-other = ", "S001: accounts: no [[platforms]] has the account mt-other"),
        ('"S002"\nname', '"S001"\nname', "[[stores]] S001: store_id stands there 2 times"),
        ("quantity = 10", "quantity = -1", "[[stock]] NOODLE: quantity: Input should be greater"),
        ('store = "S002"', 'store = "S009"', "[[stock]] NOODLE: store: no [[stores]] has"),
        ('store = "S002"', 'store = "*"', "[[stock]] * NOODLE: store and sku stands there 2 times"),
        ('sku = "NOODLE"\nname', 'sku = "RICE"\nname', "[[stock]] NOODLE: sku: no [[items]]"),
        ("price_minor = 2800", "price = 28.0", "[[items]] NOODLE: price: Extra inputs"),
        ('store_id = "S001"', "", "[[stores]] number 1: store_id: Field required"),
        ("${MEITUAN_URL:-http://127.0.0.1:7101/api/v1}", "${MEITUAN_URL}", "${MEITUAN_URL} is"),
        ("[chain]", "[chain", "it is no TOML"),
    ],
)
def test_an_error_names_the_table_and_the_key(old: str, new: str, problem: str) -> None:
    assert problem in problems(old, new)


def test_two_stores_cannot_have_one_code() -> None:
    both = f'till_secret = "{SECRET}"\naccounts = {{ mt-main = "poi-001" }}\n[[items]]'
    found = problems(f'till_secret = "{SECRET}"\n[[items]]', both)
    assert "2 stores have the code poi-001 at mt-main" in found


def test_secrets_stand_in_no_error_and_no_repr() -> None:
    assert "whsec_***" not in problems(SECRET, "whsec_***")
    file = read(CHAIN, {})
    shown = repr((file, file.accounts(), file.all_stores()))
    assert SECRET not in shown
    assert "very-secret" not in shown


def test_the_example_can_be_loaded() -> None:
    file = read(EXAMPLE.read_text("utf-8"), {})
    assert len(file.all_stores()) == 20
    assert len(file.opening_stock()) == 20 * len(file.items)


def test_a_catalogue_translates_both_ways_and_knows_what_is_not_ours() -> None:
    codes = [StoreCode("mt-main", "poi-2", "S002"), StoreCode("mt-main", "poi-1", "S001")]
    catalogue = StoredCatalogue(codes, [Item("NOODLE", "Noodles", 2800)])
    assert catalogue.store_of("mt-main", "poi-1") == "S001"
    assert catalogue.code_of("mt-main", "S002") == "poi-2"
    assert catalogue.codes("mt-main") == ("poi-1", "poi-2")
    assert catalogue.sku_of("NOODLE") == "NOODLE"
    unknown = catalogue.store_of("mt-main", "x"), catalogue.code_of("x", "S001")
    assert (*unknown, catalogue.codes("x"), catalogue.sku_of("RICE")) == (None, None, (), None)
