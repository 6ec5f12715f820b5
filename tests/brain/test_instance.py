"""What `brain --instance NAME` means: the word behind the @ of a unit's name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipc.config import Config, load
from ipc.faults import ConfigError
from scripts import brain

BRAINS = [
    {"strategy": "macd", "symbols": ["BTCUSDT"], "params": {"fast": 8}},
    {"name": "two-of-them", "strategy": "obi", "symbols": ["ETHUSDT", "SOLUSDT"], "account": "other"},
]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    document = {"accounts": {"main": {}, "other": {}}, "brains": BRAINS}
    (tmp_path / "config.json").write_text(json.dumps(document))
    return load(tmp_path / "config.json", {})


@pytest.mark.parametrize(
    ("instance", "name", "strategy", "symbols", "account", "params"),
    [
        ("macd-BTCUSDT", "macd-BTCUSDT", "macd", ["BTCUSDT"], "main", {"fast": 8}),
        ("two-of-them", "two-of-them", "obi", ["ETHUSDT", "SOLUSDT"], "other", {}),
        ("spread-btcusdt", "spread-BTCUSDT", "spread", ["BTCUSDT"], "main", {}),
        ("my-own.py-ETHUSDT", "my-own-ETHUSDT", "my-own.py", ["ETHUSDT"], "main", {}),
        (r"obi-\xe5\xb8\x81\xe5\xae\x89USDT", "obi-币安USDT", "obi", ["币安USDT"], "main", {}),
    ],
)
def test_a_configured_brain_else_strategy_and_symbol(
    config: Config, instance: str, name: str, strategy: str, symbols: list[str], account: str, params: dict[str, int]
) -> None:
    args = brain.parser().parse_args(["--instance", instance])
    if not name.isascii():
        with pytest.raises(ConfigError, match="--name"):  # a brain's name is ASCII: such a symbol needs one by `name`
            brain._spec(args, config)
        return
    for _ in range(2):  # it is read more than once
        spec = brain._spec(args, config)
        found = (spec.full_name, spec.strategy, spec.symbols, spec.account, spec.params)
        assert found == (name, strategy, symbols, account, params)


@pytest.mark.parametrize("instance", ["", "macd", "-BTCUSDT", "macd-"])
def test_what_names_neither_is_refused_with_the_form(config: Config, instance: str) -> None:
    with pytest.raises(ConfigError, match="STRATEGY-SYMBOL"):
        brain._spec(brain.parser().parse_args([f"--instance={instance}"]), config)


@pytest.mark.parametrize("more", [["--strategy", "obi"], ["--symbol", "X"], ["--name", "x"]])
def test_it_goes_with_nothing_that_says_the_same(config: Config, more: list[str]) -> None:
    with pytest.raises(ConfigError, match="says all of them already"):
        brain._spec(brain.parser().parse_args(["--instance", "macd-BTCUSDT", *more]), config)


def escaped(text: str) -> str:
    """systemd-escape(1): everything but letters, digits, `:` `_` `.` becomes `\\xNN`; `/` is not used here."""
    plain = set(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.")
    return "".join(chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in text.encode())


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_any_name_comes_back_from_its_escaped_form(name: str) -> None:
    assert brain._unescaped(escaped(name)) == name
