"""The shipped strategies in a whole world: what they decide, when they wait, what a restart changes (nothing)."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pandas as pd
import pytest

from brain.indicators import macd_frame
from brain.params import validate
from brain.strategies import find
from ipc import wire
from tests.brain.mini_gateway import FIVE_MIN_MS, MiniGateway
from tests.brain.world import World
from tests.data import ROOT

BAR_NS = FIVE_MIN_MS * 1_000_000


def world_of(name: str, **given: Any) -> World:
    kind = find(name)
    return World(lambda: kind(validate(kind.parameters, given)), MiniGateway(f"{name}-BTCUSDT"))


def shown(world: World) -> dict[str, Any]:
    return world.runner.hooks.context.shown


def next_bar(world: World, close: float) -> None:
    """Five minutes pass; a bar closes, and the clock stands just behind its end."""
    gateway = world.gateway
    gateway.close_bar("BTCUSDT", f"{close:.1f}")
    gateway.move("BTCUSDT", f"{close:.1f}", f"{close + 0.1:.1f}")
    end_ms = gateway.symbols["BTCUSDT"].bars[-1].open_ms + FIVE_MIN_MS
    gateway.tick(max(0, end_ms + 50 - gateway.now.wall_ns // 1_000_000))
    world.turns(8)


def walk(seed: int, count: int) -> list[float]:
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, 25, count) + 60 * np.sin(np.arange(count) / 5)
    return [round(float(price), 1) for price in 60_000 + np.cumsum(steps)]


def crossings(closes: list[float], first: int) -> list[tuple[int, str]]:
    """By the batch form on pandas: (bar, side) where the histogram changes its sign."""
    histogram = macd_frame(pd.Series(closes))["histogram"].to_numpy()
    out = []
    for bar in range(max(first, 1), len(closes)):
        if histogram[bar - 1] <= 0 < histogram[bar]:
            out.append((bar, "BUY"))
        elif histogram[bar - 1] >= 0 > histogram[bar]:
            out.append((bar, "SELL"))
    return out


def test_macd_warms_up_aloud_and_does_not_trade_before() -> None:
    world = world_of("macd", take_profit_pct=0, stop_loss_pct=0)
    closes = walk(1, 259)
    for close in closes[:200]:
        world.gateway.close_bar("BTCUSDT", str(close))
    world.turns(3)
    assert shown(world)["warm_up"] == "warming up: 200 of 260 bars"
    for close in closes[200:]:
        next_bar(world, close)
    assert world.placed() == [] and shown(world)["warm_up"] == "warming up: 259 of 260 bars"
    next_bar(world, closes[-1])
    assert shown(world)["warm_up"] == ""


def test_macd_takes_its_history_whenever_it_comes() -> None:
    world = world_of("macd")
    world.turns(3)
    assert shown(world)["warm_up"] == "warming up: 0 of 260 bars"
    for close in walk(1, 300):
        world.gateway.close_bar("BTCUSDT", str(close))
    world.turns(3)
    assert shown(world)["warm_up"] == ""


@pytest.mark.parametrize("restart_every", [0, 7])
def test_macd_trades_exactly_the_crossings_of_the_batch(restart_every: int) -> None:
    world = world_of("macd", take_profit_pct=0, stop_loss_pct=0, notional="6000")
    closes = walk(3, 420)
    for close in closes[:300]:
        world.gateway.close_bar("BTCUSDT", str(close))
    world.turns(3)
    start_ms = world.gateway.symbols["BTCUSDT"].bars[0].open_ms
    for number, close in enumerate(closes[300:]):
        next_bar(world, close)
        if restart_every and number % restart_every == 0:
            world.crash()
            world.turns(2)
    expected = crossings(closes, 300)
    entries = [place for place in world.placed() if not place.reduce_only]
    assert len(expected) >= 6
    got = [((asked_ms(world, place) - start_ms) // FIVE_MIN_MS - 1, place.side) for place in entries]
    assert got == expected
    assert all(place.type == "LIMIT" and place.tif == "IOC" for place in entries)
    position = world.gateway.symbols["BTCUSDT"].qty
    assert (position > 0) == (expected[-1][1] == "BUY") and position != 0


def asked_ms(world: World, place: wire.Place) -> int:
    wall_less_boot_ns = world.gateway.now.wall_ns - world.gateway.now.boot_ns
    return ((place.asked_boot_ns or 0) + wall_less_boot_ns) // 1_000_000


def test_macd_closes_before_it_turns_round() -> None:
    world = world_of("macd", take_profit_pct=0, stop_loss_pct=0, notional="6000")
    closes = walk(3, 420)
    for close in closes[:300]:
        world.gateway.close_bar("BTCUSDT", str(close))
    world.turns(3)
    for close in closes[300:]:
        next_bar(world, close)
    kinds = ["exit" if place.reduce_only else "entry" for place in world.placed()]
    assert kinds == (["entry", "exit"] * len(kinds))[: len(kinds)]


def test_macd_does_not_chase_a_crossing_it_slept_through() -> None:
    world = world_of("macd", notional="6000")
    closes = walk(3, 420)
    bar, _ = crossings(closes, 300)[0]
    for close in closes[:bar]:
        world.gateway.close_bar("BTCUSDT", str(close))
    world.turns(3)
    world.gateway.close_bar("BTCUSDT", str(closes[bar]))
    end_ms = world.gateway.symbols["BTCUSDT"].bars[-1].open_ms + FIVE_MIN_MS
    world.gateway.tick(end_ms + 60_001 - world.gateway.now.wall_ns // 1_000_000)
    world.crash()
    world.turns(5)
    assert world.placed() == [] and "hold" in shown(world)["decision"]


def test_macd_on_open_bars_decides_at_most_once_a_bar() -> None:
    world = world_of("macd", closed_bars=False, notional="6000", take_profit_pct=0, stop_loss_pct=0)
    for _ in range(300):
        world.gateway.close_bar("BTCUSDT", "60000")
    symbol = world.gateway.symbols["BTCUSDT"]
    world.gateway.tick(symbol.bars[-1].open_ms + FIVE_MIN_MS + 100 - world.gateway.now.wall_ns // 1_000_000)
    world.turns(3)
    assert world.placed() == []
    bar = symbol.open_bar
    assert bar is not None
    for close in ("60300", "59700", "60300", "59700"):
        symbol.open_bar = type(bar)(bar.open_ms, "60000", "60300", "59700", close, "1", "1", 1)
        world.turns(5)
    assert [place.side for place in world.placed()] == ["BUY"]


# -- obi -----------------------------------------------------------------------------------------------------------


def lean(world: World, bid_qty: str, ask_qty: str, count: int, ms: int = 100) -> None:
    for _ in range(count):
        world.gateway.move("BTCUSDT", "60000.0", "60000.1", bid_qty=bid_qty, ask_qty=ask_qty)
        world.turn(ms)


@pytest.mark.parametrize(
    ("bid", "ask", "side"),
    [("30", "10", "BUY"), ("29.9", "10", None), ("10", "30", "SELL"), ("10", "29.9", None)],  # threshold 0.5
)
def test_obi_both_sides_of_its_threshold(bid: str, ask: str, side: str | None) -> None:
    world = world_of("obi")
    world.turns(2)
    lean(world, bid, ask, 4)
    assert [place.side for place in world.placed()] == ([side] if side else [])


def test_obi_wants_newer_books_in_a_row_to_agree() -> None:
    world = world_of("obi", confirm=3)
    world.turns(2)
    lean(world, "40", "1", 2)
    world.turns(20)
    lean(world, "1", "1", 1)
    lean(world, "40", "1", 2)
    assert world.placed() == []
    lean(world, "40", "1", 2)
    assert len(world.placed()) == 1


def test_obi_leaves_after_its_hold_time_and_rests() -> None:
    world = world_of("obi")
    world.turns(2)
    lean(world, "40", "1", 4)
    (entry,) = world.placed()
    lean(world, "40", "1", 60)
    exits = [place for place in world.placed() if place.reduce_only]
    assert 3000 <= asked_ms(world, exits[0]) - asked_ms(world, entry) <= 3300
    again = [place for place in world.placed() if not place.reduce_only]
    assert all(asked_ms(world, place) - asked_ms(world, exits[0]) >= 3000 for place in again[1:])


def test_obi_leaves_when_the_book_turns_against_it() -> None:
    world = world_of("obi")
    world.turns(2)
    lean(world, "40", "1", 4)
    lean(world, "10", "12", 3)
    assert len(world.placed()) == 1
    lean(world, "10", "30", 3)
    assert [place.tag for place in world.placed()][1:] == ["obi-exit"]
    assert world.gateway.symbols["BTCUSDT"].qty == 0


def test_obi_trades_several_times_a_minute_where_pressure_comes_and_goes() -> None:
    """Episodes of one to three seconds of pressure between quiet spells of up to six, as markets in a hurry show."""
    dice = random.Random(5)
    world = world_of("obi")
    world.turns(2)
    quiet = True
    left_ms, spent_ms = 0.0, 0
    while spent_ms < 60_000:
        if left_ms <= 0:
            quiet = not quiet
            left_ms = dice.uniform(1500, 6000) if quiet else dice.uniform(1000, 3000)
            pressure = 0.0 if quiet else dice.choice((-1, 1)) * dice.uniform(0.6, 0.92)
        lean(world, f"{10 * (1 + pressure):.3f}", f"{10 * (1 - pressure):.3f}", 1)
        left_ms -= 100
        spent_ms += 100
    entries = [place for place in world.placed() if not place.reduce_only]
    assert len(entries) >= 4


# -- random --------------------------------------------------------------------------------------------------------


def drive(world: World, seconds: int, crash_every: int = 0) -> list[tuple[str, str, str]]:
    for number in range(seconds * 10):
        world.turn(100)
        if crash_every and number % crash_every == crash_every - 1:
            world.crash()
            world.turns(2, ms=1)
    return [(place.tag, place.side, place.type) for place in world.placed()]


def test_random_repeats_itself_by_its_seed_and_differs_by_another() -> None:
    first = drive(world_of("random", seed=4, rate_per_s=3), 30)
    assert len({kind.partition(":")[0] for kind, _, _ in first}) >= 3
    assert drive(world_of("random", seed=4, rate_per_s=3), 30) == first
    assert drive(world_of("random", seed=5, rate_per_s=3), 30) != first


def test_random_counters_each_fill_of_an_entry_exactly_once_whatever_dies() -> None:
    world = world_of("random", seed=9, rate_per_s=4, counter=True, kinds="enter,market,rest,cancel")
    drive(world, 40, crash_every=13)
    world.turns(20)
    counters = [place.tag for place in world.placed() if place.tag.startswith("counter")]
    fills = [event.seq for event in world.gateway.events
             if event.subject == "order.filled" and event.data["role"] == "entry"]  # fmt: skip
    assert counters == [f"counter:{seq}" for seq in fills] and len(fills) >= 10


def test_random_refuses_kinds_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="dance"):
        world_of("random", kinds="enter,dance")


def test_the_example_of_the_documentation_trades() -> None:
    text = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    imports = ["from typing import Annotated", "from decimal import Decimal", "from pydantic import Field"]
    source = "\n".join([*imports, "from brain.api import *", code])
    exec(compile(source, "docs/strategies.md", "exec", dont_inherit=True), names)
    kind = names["DriftStrategy"]
    world = World(lambda: kind(validate(kind.parameters, {})), MiniGateway("drift-BTCUSDT"))
    world.turns(6)
    assert [(place.side, place.tag) for place in world.placed()] == [("BUY", "drift")]
    world.gateway.move("BTCUSDT", "59000.0", "59000.1")
    world.turns(2)
    assert world.placed()[1].tag == "interceptor.stop_loss"
