"""Spread breakout in a whole world: both sides of every condition, when it leaves, what a gap or a restart changes."""

from __future__ import annotations

import random
import statistics
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brain.indicators import RollingMedian
from brain.params import validate
from brain.strategies import find
from ipc.faults import ConfigError
from tests.brain.mini_gateway import MiniGateway
from tests.brain.world import World

QUIET = ("60000.0", "60000.5")


def world_of(**given: Any) -> World:
    kind = find("spread")
    quick = {"window_s": 1, "hold_ms": 3000, "cooldown_ms": 3000, "min_spread_bps": "0.2"}
    return World(lambda: kind(validate(kind.parameters, quick | given)), MiniGateway("spread-BTCUSDT"))


def quote(world: World, bid: str, ask: str, count: int = 1, ms: int = 100) -> None:
    """`count` newer books with this top, `ms` apart."""
    for _ in range(count):
        world.gateway.move("BTCUSDT", bid, ask)
        world.turn(ms)
    world.turn(1)  # what was decided on the last one arrives


def warmed(**given: Any) -> World:
    world = world_of(**given)
    world.turns(2)
    quote(world, *QUIET, given.get("window_s", 1) * 10 + 2)
    assert world.runner.hooks.context.shown["warm_up"] == ""
    return world


def sides(world: World) -> list[str]:
    return [place.side for place in world.placed()]


@pytest.mark.parametrize(
    ("bid", "ask", "side"),
    [
        ("60000.0", "60001.5", "BUY"),  # three times 0.5, asks stepped away
        ("60000.0", "60001.4", None),
        ("59999.0", "60000.5", "SELL"),
        ("59999.1", "60000.5", None),
        ("59999.5", "60001.0", None),  # both sides stepped away equally: no direction
        ("60003.0", "60003.5", None),  # the price moved, the spread did not
    ],
)
def test_it_goes_with_the_side_that_stepped_away(bid: str, ask: str, side: str | None) -> None:
    world = warmed()
    quote(world, bid, ask, 3)
    assert sides(world) == ([side] if side else [])
    assert all((place.type, place.tif, place.reduce_only) == ("LIMIT", "IOC", False) for place in world.placed())


@pytest.mark.parametrize(("least", "most", "entered"), [
    ("0.49", "0.51", True), ("0.51", "15", False), ("0.2", "0.49", False), ("0.2", "0.51", True),
])  # fmt: skip
def test_both_sides_of_the_width_in_basis_points(least: str, most: str, entered: bool) -> None:
    """The breakout is 3.0 at a mid price near 60,000: half a basis point."""
    world = warmed(min_spread_bps=least, max_spread_bps=most)
    quote(world, "60000.0", "60003.0", 3)
    assert bool(world.placed()) == entered


def test_books_that_agree_must_be_newer_and_in_a_row() -> None:
    world = warmed(confirm=3, window_s=4)
    quote(world, "60000.0", "60002.0", 2)
    world.turns(20)  # the same book again and again
    quote(world, "59998.0", "60000.5")  # the other side
    quote(world, "60000.0", "60002.0", 2)
    assert world.placed() == []
    quote(world, "60000.0", "60002.0", 1)
    assert sides(world) == ["BUY"]


def test_a_breakout_is_entered_once_and_the_next_after_the_rest() -> None:
    world = warmed(hold_ms=300, cooldown_ms=2000, window_s=10)
    quote(world, "60000.0", "60002.0", 30)
    assert [place.reduce_only for place in world.placed()] == [False, True]
    quote(world, *QUIET)
    quote(world, "60000.0", "60002.0", 3)
    assert len(world.placed()) == 3, "the rest was over"


def test_nothing_is_entered_while_it_rests() -> None:
    world = warmed(hold_ms=200, cooldown_ms=60_000, window_s=10)
    quote(world, "60000.0", "60002.0", 6)
    for _ in range(5):
        quote(world, *QUIET)
        quote(world, "60000.0", "60002.0", 3)
    assert [place.reduce_only for place in world.placed()] == [False, True]


def test_it_leaves_when_the_breakout_has_failed() -> None:
    world = warmed()
    quote(world, "60000.0", "60002.0", 2)
    quote(world, "60000.1", "60000.6", 3)  # a little above the origin (60000.25): still good
    assert len(world.placed()) == 1
    quote(world, *QUIET, 2)
    assert [place.tag for place in world.placed()] == ["spread-up", "spread-exit"]
    assert world.gateway.symbols["BTCUSDT"].qty == 0


def test_it_leaves_after_its_hold_time_also_when_it_was_restarted() -> None:
    world = warmed()
    quote(world, "60000.0", "60002.0", 2)
    entered_ns = world.gateway.now.boot_ns
    world.crash()
    quote(world, "60005.0", "60005.5", 40)
    entry, leave = world.placed()
    assert (entry.side, leave.side, leave.tag) == ("BUY", "SELL", "spread-exit")
    assert 3000 <= ((leave.asked_boot_ns or 0) - entered_ns) // 1_000_000 <= 3400


def test_a_restart_keeps_the_origin() -> None:
    world = warmed()
    quote(world, "60000.0", "60002.0", 2)
    world.crash()
    quote(world, *QUIET, 3)
    assert [place.tag for place in world.placed()] == ["spread-up", "spread-exit"]


def test_the_interceptor_takes_profit_and_loss() -> None:
    world = warmed(hold_ms=600_000)
    quote(world, "60000.0", "60002.0", 2)
    quote(world, "60310.0", "60310.5", 2)  # more than 0.5 % over the entry, at the bid
    assert [place.tag for place in world.placed()] == ["spread-up", "interceptor.take_profit"]


def test_a_book_that_is_refused_starts_the_window_anew() -> None:
    world = warmed()
    world.gateway.symbols["BTCUSDT"].book_state = "resync"
    world.turn(100)
    world.gateway.symbols["BTCUSDT"].book_state = "live"
    quote(world, *QUIET, 8)
    quote(world, "60000.0", "60002.0", 2)
    assert world.placed() == [], "less than a second since the book came back"
    quote(world, *QUIET, 3)
    quote(world, "60000.0", "60002.0", 2)
    assert sides(world) == ["BUY"]


def test_a_spread_that_stays_wide_becomes_the_usual_one() -> None:
    world = world_of(confirm=50)
    world.turns(2)
    quote(world, *QUIET, 12)
    quote(world, "60000.0", "60002.0", 48)
    assert world.placed() == []


def test_short_false_only_buys() -> None:
    world = warmed(short=False)
    quote(world, "59998.0", "60000.5", 3)
    assert world.placed() == []


def test_how_often_books_come_does_not_change_what_is_usual() -> None:
    """A hundred books within 100 ms are one sample: a burst cannot push the quiet second out of the window."""
    world = warmed(confirm=50, cooldown_ms=0)
    quote(world, "60000.0", "60002.0", 50, ms=1)
    assert sides(world) == ["BUY"]


def test_any_walk_of_the_quotes_holds_the_laws(seed: int) -> None:
    """Never two entries without a flat between; never through a spread above the bound; never in an unwarmed window."""
    dice = random.Random(seed)
    world = world_of(hold_ms=400, cooldown_ms=300, max_spread_bps="1")
    world.turns(2)
    seen = 0
    bid = Decimal("60000.0")
    for number in range(300):
        bid += Decimal(dice.randint(-10, 10)) / 10
        width = Decimal(dice.choice(["0.5", "0.5", "0.5", "2.5", "8.0"]))
        quote(world, str(bid), str(bid + width))
        placed = world.placed()
        for place in placed[seen:]:
            if not place.reduce_only:
                assert number >= 9
                assert width / (bid + width / 2) * 10_000 <= 1
        seen = len(placed)
    kinds = [place.reduce_only for place in world.placed()]
    assert kinds == ([False, True] * len(kinds))[: len(kinds)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"min_spread_bps": 16}, "must not be above max_spread_bps"),
        ({"stop_loss_pct": "0.18"}, "under water"),
        ({"factor": 1}, "factor"),
        ({"window_s": 301}, "window_s"),
    ],
)
def test_parameters_that_cannot_work_are_refused(given: dict[str, Any], said: str) -> None:
    kind = find("spread")
    with pytest.raises(ConfigError, match=said):
        validate(kind.parameters, given)


@pytest.mark.parametrize("loss", ["0", "0.181"])
def test_a_stop_beyond_the_spread_or_none_is_accepted(loss: str) -> None:
    kind = find("spread")
    assert validate(kind.parameters, {"stop_loss_pct": loss})


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=80), st.integers(1, 20))
def test_a_rolling_median_is_the_low_median_of_the_last_values(values: list[float], size: int) -> None:
    median: RollingMedian[float] = RollingMedian(size)
    assert RollingMedian[float](size).value is None
    for number, value in enumerate(values, 1):
        median.update(value)
        window = values[max(0, number - size) : number]
        assert median.value == statistics.median_low(window)
        assert median.warm == (number >= size) and median.count == len(window)
