"""`system2 db migrate`, `db status`, `load`: what they print, and that twice is harmless."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ops.cli import chain, db
from ops.load import ChainFileInvalid

EXAMPLE = Path(__file__).parents[3] / "examples" / "chain.toml"


@pytest.fixture
def system2(database_url: str, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.setenv("SYSTEM2_DATABASE_URL", database_url)
    monkeypatch.setenv("SYSTEM2_AMQP_URL", "amqp://guest:guest@127.0.0.1/")
    app = typer.Typer()
    app.add_typer(db.app, name="db")
    app.command("load")(chain.load)
    return app


def test_an_empty_database_is_migrated_and_loaded(system2: typer.Typer) -> None:
    def run(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(system2, words, catch_exceptions=False)
        return result.exit_code, result.stdout

    code, pending = run("db", "status")
    assert code == 1
    assert "0001_spine" in pending and "pending" in pending
    assert "applied 0001_spine" in run("db", "migrate")[1]
    assert run("db", "migrate", "--json") == (0, "[]\n")
    code, applied = run("db", "status", "--json")
    assert code == 0
    assert json.loads(applied)[0]["applied_at"]
    assert "opened 240 stock levels\n" in run("load", str(EXAMPLE))[1]
    again = run("load", str(EXAMPLE))[1]
    assert "opened 0 stock levels, 240 were open before and stay as they are" in again


def test_a_wrong_file_is_a_bad_configuration(system2: typer.Typer, tmp_path: Path) -> None:
    wrong = tmp_path / "chain.toml"
    wrong.write_text("[chain]\nname = 'x'\n")
    with pytest.raises(ChainFileInvalid, match=r"chain\.timezone: Field required") as refusal:
        CliRunner().invoke(system2, ["load", str(wrong)], catch_exceptions=False)
    assert refusal.value.exit_code == 78
