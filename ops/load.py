"""The chain file (examples/chain.toml): read, checked as a whole, and loaded in one transaction.

Loading twice changes nothing; what the file does not name stays as it is. Opening stock is booked
once for each store and SKU.
"""

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import ValidationError

from ops.chain_file import EVERY_STORE, ChainFile
from storage import chain
from storage.database import Database

BAD_CONFIGURATION = 78

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_IDENTITY = {"platforms": "account", "stores": "store_id", "items": "sku", "stock": "sku"}


class ChainFileInvalid(Exception):
    """The chain file contradicts itself or its format; nothing was loaded."""

    exit_code = BAD_CONFIGURATION

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(
            "the chain file is not loaded:\n" + "\n".join(f"  {p}" for p in self.problems)
        )


class Loaded(NamedTuple):
    """How much the file names, and how many stock levels it opened that were not open before."""

    accounts: int
    stores: int
    codes: int
    items: int
    levels: int
    opened: int


async def load(database: Database, file: ChainFile, now: datetime) -> Loaded:
    """Everything in the file, in one transaction."""
    accounts, stores, codes = file.accounts(), file.all_stores(), file.codes()
    items = [chain.Item(item.sku, item.name, item.price_minor) for item in file.items]
    stock = file.opening_stock()
    async with database.transaction() as tx:
        await chain.save_accounts(tx, accounts)
        await chain.save_stores(tx, stores)
        await chain.save_codes(tx, codes)
        await chain.save_items(tx, items)
        opened = await chain.open_stock(tx, stock, now)
    return Loaded(len(accounts), len(stores), len(codes), len(items), len(stock), opened)


def read(text: str, environ: Mapping[str, str]) -> ChainFile:
    """The file, filled from the environment. Raises ChainFileInvalid with all that is wrong."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ChainFileInvalid([f"it is no TOML: {error}"]) from None
    unset: set[str] = set()
    filled = _filled(document, environ, unset)
    if unset:
        raise ChainFileInvalid(
            f"${{{name}}} is neither set nor has a default" for name in sorted(unset)
        )
    try:
        file = ChainFile.model_validate(filled)
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False)
        raise ChainFileInvalid(
            f"{_place(fault['loc'], filled)}: {_said(fault['msg'])}" for fault in faults
        ) from None
    if problems := list(_contradictions(file)):
        raise ChainFileInvalid(problems)
    return file


def _filled(value: Any, environ: Mapping[str, str], unset: set[str]) -> Any:
    """The value with each `${NAME}` or `${NAME:-default}` in it replaced."""

    def look_up(found: re.Match[str]) -> str:
        name, default = found.groups()
        if default is None and name not in environ:
            unset.add(name)
        return environ.get(name) or default or ""

    match value:
        case str():
            return _VARIABLE.sub(look_up, value)
        case dict():
            return {key: _filled(item, environ, unset) for key, item in value.items()}
        case list():
            return [_filled(item, environ, unset) for item in value]
        case _:
            return value


def _place(loc: Sequence[int | str], document: Mapping[str, Any]) -> str:
    """[[stores]] S004: till_secret"""
    table, *rest = loc
    if not rest or not isinstance(rest[0], int):
        return ".".join(map(str, loc))
    entry = document[str(table)][rest[0]]
    identity = entry.get(_IDENTITY[str(table)]) if isinstance(entry, dict) else None
    name = identity or f"number {rest[0] + 1}"
    return f"[[{table}]] {name}: {'.'.join(map(str, rest[1:]))}"


def _said(message: str) -> str:
    return message.removeprefix("Value error, ")


def _contradictions(file: ChainFile) -> Iterator[str]:
    yield from _twice("platforms", "account", [p.account for p in file.platforms])
    yield from _twice("stores", "store_id", [s.store_id for s in file.stores])
    yield from _twice("items", "sku", [i.sku for i in file.items])
    yield from _twice("stock", "store and sku", [f"{s.store} {s.sku}" for s in file.stock])
    yield from _unknown_accounts(file)
    yield from _unknown_stock(file)
    taken = Counter((code.account, code.code) for code in file.codes())
    for (account, name), times in taken.items():
        if times > 1:
            yield f"[[stores]]: accounts: {times} stores have the code {name} at {account}"


def _twice(table: str, key: str, values: Iterable[str]) -> Iterator[str]:
    for value, times in Counter(values).items():
        if times > 1:
            yield f"[[{table}]] {value}: {key} stands there {times} times"


def _unknown_accounts(file: ChainFile) -> Iterator[str]:
    accounts = {platform.account for platform in file.platforms}
    for account, _, store_id in file.codes():
        if account not in accounts:
            yield f"[[stores]] {store_id}: accounts: no [[platforms]] has the account {account}"


def _unknown_stock(file: ChainFile) -> Iterator[str]:
    stores = {EVERY_STORE, *(store.store_id for store in file.stores)}
    skus = {item.sku for item in file.items}
    for row in file.stock:
        if row.store not in stores:
            yield f"[[stock]] {row.sku}: store: no [[stores]] has the store_id {row.store}"
        if row.sku not in skus:
            yield f"[[stock]] {row.sku}: sku: no [[items]] has it"
