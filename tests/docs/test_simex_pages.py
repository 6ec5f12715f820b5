"""The pages about simex say what is there: every fault, every flag, every administrative request."""

from __future__ import annotations

import re
from pathlib import Path

from scripts import chaos_docs
from scripts import simex as script
from simex.server.chaos.kinds import KINDS

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_faults_is_up_to_date() -> None:
    assert chaos_docs.main(["--check"]) == 0, "run: python -m scripts.chaos_docs"
    text = chaos_docs.page()
    assert all(f"| `{name}` |" in text for name in KINDS)


def test_every_flag_is_explained() -> None:
    text = (DOCS / "simex.md").read_text("utf-8")
    flags = [name for action in script.parser()._actions for name in action.option_strings if name.startswith("--")]
    assert [name for name in flags if not re.search(rf"{name}(?![\w-])", text) and name != "--help"] == []


def test_every_administrative_request_is_explained() -> None:
    text = (DOCS / "simex.md").read_text("utf-8")
    source = (DOCS.parent / "simex" / "server" / "admin.py").read_text("utf-8")
    names = {line.split('"')[3] for line in source.splitlines() if line.strip().startswith('("') and "self._" in line}
    assert names
    assert [name for name in sorted(names) if f"/admin/{name}" not in text] == []
