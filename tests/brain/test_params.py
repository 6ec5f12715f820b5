"""One declaration of parameters: validation with near matches, description for forms, exact decimals."""

from __future__ import annotations

from decimal import Decimal

import pytest

from brain import strategies
from brain.params import describe, parse_sets, validate
from brain.strategies.macd import MacdParams
from ipc.faults import ConfigError


def faults(error: pytest.ExceptionInfo[ConfigError]) -> list[str]:
    return [fault.path for fault in error.value.faults]


def test_words_of_the_command_line_become_values() -> None:
    given = parse_sets(["fast=8", "take_profit_pct=0.1", "interval=1m", "closed_bars=false", "notional=1e3"])
    params = validate(MacdParams, given)
    assert (params.fast, params.interval, params.closed_bars) == (8, "1m", False)
    assert params.take_profit_pct == Decimal("0.1"), "never through a binary fraction"
    assert params.notional == Decimal(1000)


@pytest.mark.parametrize("item", ["fast", "=8", ""])
def test_what_is_no_assignment_is_named(item: str) -> None:
    with pytest.raises(ConfigError, match="NAME=VALUE"):
        parse_sets([item])


def test_every_fault_is_reported_at_once_with_a_next_step() -> None:
    with pytest.raises(ConfigError) as caught:
        validate(MacdParams, {"fats": 8, "slow": 61, "notional": "NaN", "interval": "7m"}, "brains[0].params")
    assert sorted(faults(caught)) == [
        "brains[0].params.fats", "brains[0].params.interval", "brains[0].params.notional", "brains[0].params.slow",
    ]  # fmt: skip
    assert "Did you mean fast" in str(caught.value) and "span of the slow average" in str(caught.value)


@pytest.mark.parametrize(("slow", "ok"), [(3, True), (60, True), (61, False), (2, False)])
def test_both_sides_of_a_bound(slow: int, ok: bool) -> None:
    given = {"fast": 2, "slow": slow}
    if ok:
        assert validate(MacdParams, given).slow == slow
    else:
        with pytest.raises(ConfigError):
            validate(MacdParams, given)


def test_fast_must_be_below_slow() -> None:
    with pytest.raises(ConfigError, match=r"fast \(26\) must be below slow \(26\)"):
        validate(MacdParams, {"fast": 26})


@pytest.mark.parametrize("name", strategies.NAMES)
def test_every_strategy_describes_all_its_parameters(name: str) -> None:
    kind = strategies.find(name)
    infos = describe(kind.parameters)
    assert [info.name for info in infos] == list(kind.parameters.model_fields)
    assert all(info.help and info.default is not None for info in infos)
    numbers = [info for info in infos if isinstance(info.default, int | float | Decimal) and info.kind != "bool"]
    assert all(info.low is not None and info.high is not None for info in numbers), "an optimiser needs bounds"
    assert kind(validate(kind.parameters, {})).name == name


def test_choices_are_listed() -> None:
    info = {each.name: each for each in describe(MacdParams)}["interval"]
    assert info.choices is not None and info.choices[:3] == ("1m", "3m", "5m") and info.default == "5m"


def test_an_unknown_strategy_lists_the_valid_ones() -> None:
    with pytest.raises(ConfigError, match=r"macd, obi, random, spread.*Did you mean obi"):
        strategies.find("obii")


def test_macd_ships_with_the_defaults_of_the_design() -> None:
    params = MacdParams()
    assert (params.interval, params.fast, params.slow, params.signal) == ("5m", 12, 26, 9)
    assert (params.take_profit_pct, params.stop_loss_pct, params.closed_bars) == (Decimal(5), Decimal(2), True)
