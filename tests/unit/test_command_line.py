"""`system2`: quick to say what it can do, and short when something is wrong."""

import subprocess
import sys

import pytest
import typer

from ops.cli import main as command_line
from ops.cli.main import COMMANDS, Command, main
from ops.stack.errors import StackError


def test_every_command_of_the_table_exists() -> None:
    for command in COMMANDS.values():
        found = command_line._load(command.place)
        assert isinstance(found, typer.Typer) or callable(found)


def test_help_lists_every_command_and_imports_none_of_them() -> None:
    program = (
        "import sys; from ops.cli.main import main\n"
        "try: main(['--help'])\n"
        "finally: print(*sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout
    assert [name for name in COMMANDS if f" {name} " not in said] == []
    assert [command.place for command in COMMANDS.values() if _module(command) in said] == []


def _module(command: Command) -> str:
    return command.place.partition(":")[0]


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        main(["dance"])
    assert ending.value.code == 2
    assert "dance" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (StackError("The broker is away."), 69, "system2: The broker is away."),
        (ConnectionRefusedError("refused"), 69, "system2: refused"),
        (ValueError(), 1, "system2: Inappropriate argument value"),
    ],
)
def test_an_error_is_one_sentence_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
    sentence: str,
) -> None:
    def fails() -> None:
        raise error

    monkeypatch.delenv("SYSTEM2_DEBUG", raising=False)
    monkeypatch.setattr(command_line, "_load", lambda place: fails)
    with pytest.raises(SystemExit) as ending:
        main(["status"])
    assert ending.value.code == code
    assert capsys.readouterr().err.startswith(sentence)
    monkeypatch.setenv("SYSTEM2_DEBUG", "1")
    with pytest.raises(type(error)):
        main(["status"])
