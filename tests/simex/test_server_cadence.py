"""What the server publishes by the clock, driven by hand: no sockets, no waiting."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any, cast

import pytest

from simex.server import cadence, marketdata
from simex.server.build import Means, Parts, build_seeded
from simex.server.clock import Clock
from simex.server.connection import Connection
from simex.server.listen_keys import ListenKeys
from simex.server.seeded import SeededFeed
from simex.server.settings import Settings

HOUR_MS = 3_600_000


class HandClock(Clock):
    """A clock that tests move."""

    def __init__(self, now_ms: int) -> None:
        super().__init__()
        self.at_ms = now_ms

    def now_ms(self) -> int:
        return self.at_ms


class Ear:
    """Listens to streams in place of a socket."""

    def __init__(self, route: str) -> None:
        self.number, self.route, self.combined = 1, route, False
        self.names: dict[str, None] = {}
        self.heard: list[tuple[str, Any]] = []

    def send_event(self, name: str, data: bytes) -> None:
        self.heard.append((name, json.loads(data)))


def exchange(
    now_ms: int, seed: int, *names: str, funding_hours: dict[str, int] | None = None
) -> tuple[Parts, HandClock, Ear]:
    """A seeded exchange of BTCUSDT and ETHUSDT, with an ear on some market streams."""
    clock = HandClock(now_ms)

    def never(_delay_ms: int, _action: Callable[[], None]) -> None:
        raise AssertionError("nothing is delayed here")

    means = Means(clock, Random(seed), ListenKeys(lambda account: account), never)
    parts = build_seeded(Settings(seed, funding_hours=funding_hours or {}), means)
    ear = Ear("market")
    for name in names:
        parts.world.hub.subscribe(cast(Connection, ear), name)
    return parts, clock, ear


def test_trades_of_the_last_moment_belong_to_the_closing_event_alone(seed: int) -> None:
    start = 1_795_132_859_900
    parts, clock, ear = exchange(start, seed, "btcusdt@kline_1m")
    state = parts.world.symbols["BTCUSDT"]
    assert parts.feed.trade("BTCUSDT", "BUY", 5) == 5
    clock.at_ms = start + 300
    cadence.publish_bars(parts.world, state, clock.at_ms)
    assert [event["k"]["x"] for _, event in ear.heard] == [True]
    closed = ear.heard[0][1]["k"]
    assert (closed["t"], closed["T"], closed["n"], closed["v"]) == (1_795_132_800_000, 1_795_132_859_999, 1, "0.005")
    assert parts.feed.trade("BTCUSDT", "SELL", 7) == 7
    cadence.publish_bars(parts.world, state, clock.at_ms)
    cadence.publish_bars(parts.world, state, clock.at_ms)
    opened = [event["k"] for _, event in ear.heard[1:]]
    assert [(bar["t"], bar["f"], bar["n"], bar["x"]) for bar in opened] == [
        (1_795_132_860_000, closed["L"] + 1, 1, False)
    ]


def test_quiet_minutes_close_as_flat_bars_each_once(seed: int) -> None:
    start = 1_795_132_800_000
    parts, clock, ear = exchange(start, seed, "btcusdt@kline_1m", "btcusdt@kline_5m")
    clock.at_ms = start + 5 * 60_000 + 10
    cadence.publish_bars(parts.world, parts.world.symbols["BTCUSDT"], clock.at_ms)
    ones = [event["k"] for name, event in ear.heard if name.endswith("1m")]
    fives = [event["k"] for name, event in ear.heard if name.endswith("5m")]
    assert [bar["t"] for bar in ones] == [start + 60_000 * minute for minute in range(5)]
    assert all(bar["x"] and bar["n"] == 0 and bar["f"] == -1 for bar in ones)
    assert [(bar["t"], bar["x"], bar["o"]) for bar in fives] == [(start, True, ones[0]["o"])]


def test_funding_is_settled_once_at_the_eighth_hour(seed: int) -> None:
    start = 8 * HOUR_MS * 62_000 - 2_000
    parts, clock, _ = exchange(start, seed)
    feed = parts.feed
    assert isinstance(feed, SeededFeed)
    state = parts.world.symbols["BTCUSDT"]
    assert state.mark.next_funding_ms == start + 2_000
    for moment in range(0, 6_000, 50):
        clock.at_ms = start + moment
        feed.pulse()
    assert [point.time_ms for point in state.settled] == [start + 2_000]
    assert state.mark.next_funding_ms == start + 2_000 + 8 * HOUR_MS


@pytest.mark.parametrize("hours", [1, 4])
def test_funding_of_a_symbol_with_shorter_hours_is_settled_at_them_and_fundings_info_says_so(
    seed: int, hours: int
) -> None:
    start = 8 * HOUR_MS * 62_000 + hours * HOUR_MS - 2_000
    parts, clock, _ = exchange(start, seed, funding_hours={"ETHUSDT": hours})
    feed = parts.feed
    assert isinstance(feed, SeededFeed)
    for moment in range(0, 4_000, 50):
        clock.at_ms = start + moment
        feed.pulse()
    settled = {symbol: [point.time_ms for point in state.settled] for symbol, state in parts.world.symbols.items()}
    assert settled == {"BTCUSDT": [], "ETHUSDT": [start + 2_000]}
    assert parts.world.symbols["ETHUSDT"].mark.next_funding_ms == start + 2_000 + hours * HOUR_MS
    (info,) = cast(list[dict[str, Any]], marketdata.funding_info(parts.world, {}))
    assert (info["symbol"], info["fundingIntervalHours"]) == ("ETHUSDT", hours)
    past = parts.world.symbols["ETHUSDT"].past.funding()
    gaps = {round((two.time_ms - one.time_ms) / HOUR_MS) for one, two in pairwise(past)}
    assert gaps == {hours}


def test_marks_come_each_second_on_the_second_and_the_slow_ones_every_third(seed: int) -> None:
    start = 1_795_132_799_500
    names = ("btcusdt@markPrice", "btcusdt@markPrice@1s", "!markPrice@arr@1s")
    parts, clock, ear = exchange(start, seed, *names)
    feed = parts.feed
    assert isinstance(feed, SeededFeed)
    for moment in range(0, 7_000, 50):
        clock.at_ms = start + moment
        feed.pulse()
    times = {name: [rows["E"] if isinstance(rows, dict) else rows[0]["E"] for at, rows in ear.heard if at == name]
             for name in names}  # fmt: skip
    seconds = [1_795_132_800_000 + 1000 * second for second in range(7)]
    assert times[names[1]] == times[names[2]] == seconds
    assert times[names[0]] == [moment for moment in seconds if moment // 1000 % 3 == 0]
    for _, rows in ear.heard:
        mark = float((rows if isinstance(rows, dict) else rows[0])["p"])
        (bid, _), (ask, _) = parts.world.symbols["BTCUSDT"].book.best()
        assert abs(mark / (bid / 10) - 1) < 0.01
        assert bid < ask
