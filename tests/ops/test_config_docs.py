"""The page of settings is generated, complete and up to date."""

from __future__ import annotations

from ipc.sections import SECTIONS
from scripts import config_docs


def test_the_page_is_up_to_date() -> None:
    assert config_docs.main(["--check"]) == 0, "run: python -m scripts.config_docs"


def test_every_section_and_nested_setting_is_on_it() -> None:
    text = config_docs.page()
    assert [name for name in SECTIONS if f"## `{name}`" not in text] == []
    for path in (
        "accounts.NAME.limits.price_band",
        "gateway.lease_ms",
        "brains[N].strategy",
        "supervisor.max_restarts",
    ):
        assert f"| `{path}` |" in text, path
