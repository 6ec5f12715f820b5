"""The page of bounds says what the code says."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.settings import GatewaySettings

PAGE = (Path(__file__).parents[2] / "docs" / "bounds.md").read_text(encoding="utf-8")
SETTINGS = re.findall(r"`(gateway\.[a-z_.]+)`(?: and up to `[a-z_]+`)? \(setting, ([0-9]+)\)", PAGE)
CONSTANTS = re.findall(r"`([a-z_.]+):([A-Z_]+)`(?: (\d+))?", PAGE)


def test_the_page_names_constants_of_every_room() -> None:
    assert {module.partition(".")[0] for module, _, _ in CONSTANTS} == {"ipc", "gateway", "brain", "simex"}


@pytest.mark.parametrize(("module", "name", "value"), CONSTANTS, ids=[f"{m}:{n}" for m, n, _ in CONSTANTS])
def test_a_documented_bound_is_the_one_in_force(module: str, name: str, value: str) -> None:
    found = getattr(importlib.import_module(module), name)
    assert not value or found == int(value)


def test_settings_of_every_part_of_the_gateway_are_on_the_page() -> None:
    assert {name.split(".")[1] for name, _ in SETTINGS} >= {"market", "links", "orders", "lease_ms", "max_unanswered"}


@pytest.mark.parametrize(("name", "value"), SETTINGS, ids=[name for name, _ in SETTINGS])
def test_a_documented_setting_has_the_default_the_page_says(name: str, value: str) -> None:
    found: Any = GatewaySettings()
    for part in name.split(".")[1:]:
        found = getattr(found, part)
    assert found == int(value)
