"""The exchange's clock: any speed from any start; matching, funding, dates and bars are all on it."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect

from scripts.simex import main
from simex.server.clock import MAX_SPEED, Clock
from simex.server.seeded import pulse_s
from tests.simex.running import Running, running, signed

KEY = {"X-MBX-APIKEY": "simex"}
GENEROUS_S = 60.0
BORN_NS = 1_795_132_800_000_000_000
START_MS = 1_700_000_000_000


class Wall:
    """A machine's clock that stands still unless told."""

    def __init__(self) -> None:
        self.ns = BORN_NS

    def __call__(self) -> int:
        return self.ns


@given(speed=st.floats(0.01, MAX_SPEED), gone_ms=st.integers(0, 10**9), skew=st.integers(-10_000, 10_000))
def test_a_clock_runs_at_its_speed_from_its_start(speed: float, gone_ms: int, skew: int) -> None:
    wall = Wall()
    clock = Clock(skew, speed=speed, start_ms=START_MS, wall_ns=wall)
    assert clock.now_ms() == START_MS + skew
    wall.ns += gone_ms * 1_000_000
    assert abs(clock.now_ms() - (START_MS + skew + gone_ms * speed)) <= 1 + gone_ms * speed * 1e-12
    assert clock.wall_ms() == BORN_NS // 1_000_000 + gone_ms


def test_the_plain_clock_is_the_machine_s_and_the_engine_s_never_falls() -> None:
    wall = Wall()
    clock = Clock(wall_ns=wall)
    assert clock.now_ms() == clock.engine_ms() == BORN_NS // 1_000_000
    assert clock.is_wall
    clock.skew_ms = -5000
    assert clock.now_ms() == BORN_NS // 1_000_000 - 5000
    assert clock.engine_ms() == BORN_NS // 1_000_000
    wall.ns += 5_001_000_000
    assert clock.engine_ms() == BORN_NS // 1_000_000 + 1
    assert not Clock(speed=2.0).is_wall
    assert Clock(start_ms=START_MS).is_wall, "a client can follow a clock that is only somewhere else"


@pytest.mark.parametrize("speed", [0, -1, MAX_SPEED * 1.001])
def test_a_senseless_speed_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        Clock(speed=speed)
    assert main(["--clock-speed", str(speed)]) == 2


def test_a_span_lasts_as_long_as_the_speed_makes_it() -> None:
    assert Clock(speed=60.0).real_s(30_000) == 0.5


@pytest.mark.parametrize(
    ("speed", "expected_s"),
    [(1.0, 0.05), (0.5, 0.1), (10.0, 0.005), (10.5, 0.005), (200.0, 0.005), (400.0, 0.0025), (MAX_SPEED, 0.001)],
)
def test_pulses_are_close_enough_for_the_market_and_far_enough_for_the_machine(speed: float, expected_s: float) -> None:
    assert pulse_s(speed) == pytest.approx(expected_s)


async def call(http: aiohttp.ClientSession, simex: Running, method: str, path: str, query: str = "") -> Any:
    async with http.request(method, f"{simex.rest}/fapi/v1/{path}?{signed(query)}", headers=KEY) as answer:
        body = await answer.json()
        assert answer.status == 200, body
        return body


async def event_of(private: Any, kind: str, **wanted: Any) -> dict[str, Any]:
    """The next event of a kind whose inner object has these fields."""
    async with asyncio.timeout(GENEROUS_S):
        while True:
            event: dict[str, Any] = json.loads(await private.recv())
            inner = event.get("o") or event.get("a") or {}
            if event["e"] == kind and all(inner.get(name) == value for name, value in wanted.items()):
                return event


async def test_funding_and_good_till_dates_come_at_their_hours_of_the_clock(http: aiohttp.ClientSession) -> None:
    hour_ms = 1_795_161_600_000  # 2026-11-20T08:00:00Z
    with running("--seed", "4", "--clock-start", "2026-11-20T07:50:00", "--clock-speed", "300") as simex:
        key = await call(http, simex, "POST", "listenKey")
        async with connect(f"{simex.ws}/private/ws/{key['listenKey']}", compression=None) as private:
            await call(http, simex, "POST", "order", "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.010")
            till = hour_ms + 900_000
            await call(
                http, simex, "POST", "order",
                f"symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTD&goodTillDate={till}&quantity=0.010&price=88000",
            )  # fmt: skip
            paid = await event_of(private, "ACCOUNT_UPDATE", m="FUNDING_FEE")
            assert hour_ms <= paid["T"] < hour_ms + 60_000
            ended = await event_of(private, "ORDER_TRADE_UPDATE", f="GTD", X="EXPIRED")
            assert till <= ended["T"] < till + 60_000
        (fee,) = await call(http, simex, "GET", "income", "incomeType=FUNDING_FEE")
        assert hour_ms <= fee["time"] < hour_ms + 60_000
        async with http.get(f"{simex.rest}/fapi/v1/fundingRate?symbol=BTCUSDT&limit=1") as answer:
            (row,) = await answer.json()
        assert hour_ms <= row["fundingTime"] < hour_ms + 60_000


async def test_the_bars_of_a_fast_clock_follow_each_other_and_are_the_ones_rest_has(
    http: aiohttp.ClientSession,
) -> None:
    with running("--seed", "4", "--clock-speed", "120") as simex:
        closed: list[dict[str, Any]] = []
        async with connect(f"{simex.ws}/market/ws/btcusdt@kline_1m", compression=None) as socket:
            async with asyncio.timeout(GENEROUS_S):
                while len(closed) < 6:
                    bar = json.loads(await socket.recv())["k"]
                    if bar["x"]:
                        closed.append(bar)
        assert all(later["t"] == earlier["T"] + 1 for earlier, later in pairwise(closed))
        async with http.get(
            f"{simex.rest}/fapi/v1/klines?symbol=BTCUSDT&interval=1m&startTime={closed[0]['t']}&limit=6"
        ) as answer:
            rows = await answer.json()
    shown = [
        [bar["t"], bar["o"], bar["h"], bar["l"], bar["c"], bar["v"], bar["T"], bar["q"], bar["n"]] for bar in closed
    ]
    assert [row[:9] for row in rows] == shown


def test_a_clock_of_its_own_does_not_go_with_somebody_else_s_market(capsys: pytest.CaptureFixture[str]) -> None:
    for flags in (["--relay", "--clock-speed", "2"], ["--relay", "--clock-start", "2026-01-01"]):
        assert main(flags) == 2
        assert flags[1] in capsys.readouterr().err
    assert main(["--clock-start", "yesterday"]) == 2
    assert "yesterday" in capsys.readouterr().err
