"""The page of bounds says what the code says."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "bounds.md").read_text(encoding="utf-8")
CONSTANTS = re.findall(r"`([a-z_.]+):([A-Z_]+)`(?: (\d+))?", PAGE)


def test_the_page_names_constants_of_every_room() -> None:
    assert {module.partition(".")[0] for module, _, _ in CONSTANTS} == {"ipc", "gateway", "brain", "simex"}


@pytest.mark.parametrize(("module", "name", "value"), CONSTANTS, ids=[f"{m}:{n}" for m, n, _ in CONSTANTS])
def test_a_documented_bound_is_the_one_in_force(module: str, name: str, value: str) -> None:
    found = getattr(importlib.import_module(module), name)
    assert not value or found == int(value)
