"""What a database error means for the messages in the failed transaction."""

import asyncpg
import pytest

from dispatcher.errors import Trouble
from dispatcher.ports import NullObserver
from storage.database import ConnectionLost, Database, arguments, trouble
from storage.queries import Statement


def refused(sqlstate: str) -> asyncpg.PostgresError:
    """As the driver makes it of the server's answer."""
    return asyncpg.PostgresError.new({"S": "ERROR", "C": sqlstate, "M": "no"})


@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "55P03"])
def test_who_lost_a_race_tries_the_whole_transaction_again(sqlstate: str) -> None:
    assert trouble(refused(sqlstate)) is Trouble.RETRY


@pytest.mark.parametrize(
    "sqlstate",
    ["08006", "25006", "25P03", "28P01", "3D000", "42703", "42P01", "53300", "57014", "57P01"],
)
def test_a_database_that_is_not_there_holds_the_messages(sqlstate: str) -> None:
    assert trouble(refused(sqlstate)) is Trouble.HOLD


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError(), TimeoutError(), ConnectionLost("gone"), OSError(28, "full")]
)
def test_a_lost_connection_holds_the_messages(error: Exception) -> None:
    assert trouble(error) is Trouble.HOLD


@pytest.mark.parametrize(
    "error",
    [refused("23505"), refused("23514"), refused("22P05"), refused("42601"), KeyError("x")],
)
def test_everything_else_is_a_bug_or_a_poisonous_message(error: Exception) -> None:
    assert trouble(error) is Trouble.BUG


def test_a_plan_from_before_a_migration_is_made_again() -> None:
    assert trouble(asyncpg.InvalidCachedStatementError("stale")) is Trouble.RETRY


STATEMENT = Statement("find_order", "SELECT $1, $2", ("bucket", "order_id"))


@pytest.mark.parametrize("given", [{"bucket": 1}, {"bucket": 1, "order": 2}, {}])
def test_a_forgotten_or_misspelt_parameter_is_refused(given: dict[str, int]) -> None:
    with pytest.raises(TypeError, match="find_order lacks"):
        arguments(STATEMENT, given)


def test_parameters_go_out_in_the_order_of_the_statement() -> None:
    assert arguments(STATEMENT, {"order_id": 2, "bucket": 1}) == [1, 2]


async def test_a_server_that_refuses_connections_holds_the_messages() -> None:
    url = "postgresql://nobody@127.0.0.1:1/nothing"
    async with Database.open(url, observer=NullObserver(), name="t", min_size=0) as database:
        with pytest.raises(OSError) as failure:
            await database.fetch(Statement("one", "SELECT 1", ()))
    assert trouble(failure.value) is Trouble.HOLD
