"""`system2 workflow`: the tables as people and programs read them."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from dispatcher.verify import Check
from dispatcher.workflow import Workflow
from dispatcher.workflows.takeaway import TAKEAWAY_V1
from ops.cli import workflow as command
from ops.cli.main import main
from ops.workflow_views import as_diagram, as_rows

Captured = pytest.CaptureFixture[str]


def said(capsys: Captured, *words: str, code: int = 0) -> str:
    """What the command prints, and how it ends."""
    with pytest.raises(SystemExit) as ending:
        main(["workflow", *words])
    printed = capsys.readouterr()
    assert ending.value.code == code, printed
    return printed.out + printed.err


def test_list_names_every_version(capsys: Captured) -> None:
    assert "takeaway     version 1  17 states" in said(capsys, "list")
    (row,) = json.loads(said(capsys, "list", "--json"))
    assert (row["name"], row["version"], row["born_with"]) == ("takeaway", 1, True)


def test_show_tells_each_state_and_what_is_sent(capsys: Captured) -> None:
    text = said(capsys, "show", "takeaway")
    assert "  StockDeducted    TICKETING   PushTicket\n" in text
    assert "  within 3 min, else StoreSilent\n" in text
    assert "NEEDS_HELP\n  OperatorClosed   CLEARING\n  waits for an operator\n" in text
    assert max(map(len, text.splitlines())) <= 100


def test_show_as_json_holds_the_whole_table(capsys: Captured) -> None:
    shown = json.loads(said(capsys, "show", "takeaway", "--json"))
    states = {row["state"]: row for row in shown["states"]}
    steps = sum(len(row["steps"]) for row in states.values())
    late = sum(len(row["late"]) for row in states.values())
    assert (steps, late) == (len(TAKEAWAY_V1.steps), len(TAKEAWAY_V1.late))
    assert states["FINISHING"]["settles_to"] == "DONE"
    assert states["TICKETED"]["deadlines"] == {"StoreSilent": 180.0}


def test_verify_says_ok_to_each_rule(capsys: Captured) -> None:
    lines = said(capsys, "verify", "takeaway").splitlines()
    assert len(lines) > 10
    assert all(line.startswith("ok  ") for line in lines)


def test_verify_says_what_is_wrong_and_fails(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def checks(workflow: Workflow) -> Sequence[Check]:
        return [Check("every state can end", (f"{workflow.name} never does",))]

    monkeypatch.setattr(command, "checks", checks)
    text = said(capsys, "verify", "takeaway", code=1)
    assert text == "--  every state can end\n      takeaway never does\n"
    assert json.loads(said(capsys, "verify", "takeaway", "--json", code=1))[0]["ok"] is False


@pytest.mark.parametrize("words", [["show", "soup"], ["verify", "takeaway", "--version", "9"]])
def test_what_is_not_there_is_a_usage_error(capsys: Captured, words: list[str]) -> None:
    said(capsys, *words, code=2)


def test_the_diagram_of_a_page_is_refreshed(capsys: Captured, tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("# 面\n<!-- diagram:takeaway -->\n<!-- /diagram -->\n")
    said(capsys, "diagram", "takeaway", "--readme", str(page))
    assert as_diagram(TAKEAWAY_V1) in page.read_text()
    page.write_text("nothing here")
    assert "needs a line" in said(capsys, "diagram", "takeaway", "--readme", str(page), code=1)


def test_every_step_is_in_the_diagram_and_no_late_row_is() -> None:
    drawn = as_diagram(TAKEAWAY_V1)
    for row in TAKEAWAY_V1.steps.values():
        source = "AT_WORK" if row.event.__name__ == "OrderCancelled" else row.state
        source = "[*]" if row.state == "UNBORN" else source
        edges = [line for line in drawn.splitlines() if f"{source} --> {row.target} :" in line]
        assert [e for e in edges if row.event.__name__ in e], row
    assert "TicketTaken" not in drawn.replace("TICKETED : TicketTaken", "")
    assert "DetailsCompleted" not in drawn


def test_states_are_told_in_the_order_of_the_table_and_closed_ones_last() -> None:
    rows = as_rows(TAKEAWAY_V1)
    closed = [row["closed"] for row in rows]
    assert rows[0]["state"] == "UNBORN"
    assert closed == sorted(closed)
