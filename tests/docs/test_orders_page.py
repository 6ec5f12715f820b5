"""The page of orders is what the transition table says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rules.orders import INPUTS, STATES, TABLE
from scripts import order_docs


def test_the_page_is_up_to_date() -> None:
    assert order_docs.main(["--check"]) == 0, "run: python -m scripts.order_docs"


def test_a_page_that_is_not_is_found_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "orders.md"
    page.write_text("old", encoding="utf-8")
    monkeypatch.setattr(order_docs, "PAGE", page)
    assert order_docs.main(["--check"]) == 1
    assert page.read_text(encoding="utf-8") == "old"
    assert "python -m scripts.order_docs" in capsys.readouterr().out
    assert order_docs.main([]) == 0
    assert page.read_text(encoding="utf-8") == order_docs.page()


def test_the_diagram_has_every_transition_that_changes_something_and_no_other() -> None:
    diagram = order_docs.page().partition("```mermaid")[2].partition("```")[0]
    drawn = {
        (state, word, after)
        for state, after, words in re.findall(r"^ +(\w+) --> (\w+): (.+)$", diagram, re.MULTILINE)
        for word in words.split(", ")
    }
    changes = {(state, word, after) for state, row in TABLE.items() for word, after in row.items() if after != state}
    assert drawn == changes


def test_every_state_and_word_is_explained() -> None:
    text = order_docs.page()
    assert [word for word in INPUTS if f"| `{word}` |" not in text] == []
    assert [state for state in STATES if state not in text] == []
