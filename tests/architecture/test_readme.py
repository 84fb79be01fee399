"""What pages say about the tables is printed from the tables."""

from pathlib import Path

import pytest

from dispatcher.workflows import BORN_WITH
from ops.workflow_views import NoMarkers, as_diagram, embed

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_shows_the_diagram_of_every_workflow_as_it_is() -> None:
    page = README.read_text()
    for workflow in BORN_WITH:
        refresh = f"system2 workflow diagram {workflow.name} --readme README.md"
        assert embed(page, workflow) == page, f"refresh it: {refresh}"


def test_an_old_diagram_is_replaced_and_the_page_around_it_stays() -> None:
    life = BORN_WITH[0]
    page = f"before\n<!-- diagram:{life.name} -->\nold\n<!-- /diagram -->\nafter\n"
    fresh = embed(page, life)
    assert fresh.startswith("before\n")
    assert fresh.endswith("\nafter\n")
    assert as_diagram(life) in fresh
    assert "\nold\n" not in fresh
    assert embed(fresh, life) == fresh


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(NoMarkers, match="diagram:takeaway"):
        embed("no place here", BORN_WITH[0])
