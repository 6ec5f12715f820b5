"""Historical bars as a market: every bar comes out of the tape as it went in, at any pace, and over real sockets."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from scripts.simex import main
from simex.market.barfile import BadBars, BarFile, FundingFile
from simex.market.bars import Bar, BarSeries
from simex.market.bars_market import BarsSymbol, Span, past_of, span_of
from simex.market.history import COLUMNS
from simex.market.intervals import DAY_MS, HOUR_MS, MINUTE_MS
from simex.market.profile import MarketSpec, profile_of
from simex.market.scale import Scale
from tests.simex.running import Running, running, signed

FIRST_MS = 1_735_689_600_000  # 2025-01-01T00:00:00Z
NOW_MS = 1_795_132_923_456
STEP_MS = 5 * MINUTE_MS
SPEC = MarketSpec("BTCUSDT", Scale.of(Decimal("0.1"), Decimal("0.001"), 2, 3), Decimal("93500"), profile_of("BTCUSDT"))
GENEROUS_S = 90.0


def bar_file(rng: Random, count: int, step_ms: int = STEP_MS) -> BarFile:
    """A walk of bars that join, some of them without volume."""
    rows = np.zeros((count, COLUMNS), dtype=np.int64)
    price = 935_000
    for number in range(count):
        still = rng.random() < 0.05
        close = price if still else price + rng.randint(-900, 900)
        high = max(price, close) + (0 if still else rng.randint(0, 400))
        low = min(price, close) - (0 if still else rng.randint(0, 400))
        volume = 0 if still else rng.choice((rng.randint(4, 20), rng.randint(1000, 900_000)))
        rows[number, :6] = FIRST_MS + step_ms * number, price, high, low, close, volume
        price = close
    rows[:, 10:] = -1
    return BarFile("test", "BTCUSDT", "5m" if step_ms == STEP_MS else "1m", Decimal("0.1"), Decimal("0.001"), rows)


def folded(series: BarSeries, interval: str, count: int) -> list[list[int]]:
    return [[int(value) for value in row[:6]] for row in series.query(interval, count)]


@pytest.mark.parametrize("into_ms", [0, 137_000, STEP_MS - 1])
def test_played_at_any_pace_from_any_moment_the_bars_are_the_file_s(into_ms: int, seed: int) -> None:
    rng = Random(seed)
    file = bar_file(rng, 30)
    start = FIRST_MS + 10 * STEP_MS + into_ms
    span = Span(start, 7 * DAY_MS)
    now = start + span.shift_ms
    series = BarSeries(now - into_ms, int(file.rows[10, 1]), past_of(file, None, span, seed))
    market = BarsSymbol(SPEC, file, None, span, seed, now)
    for item in market.begun(now):
        series.roll(item.time_ms)
        series.add_trade(item.price, item.lots, item.buyer_is_maker, (0, 0))
    bids, asks = dict(market.bids.top(5000)), dict(market.asks.top(5000))
    market.bids.take_changes()
    market.asks.take_changes()
    end = file.end_ms + span.shift_ms
    while now < end:
        before, now = now, min(end, now + rng.choice((50, 100, 3000, 70_000, 700_000)))
        step = market.step(now, 0.0)
        times = [item.time_ms for item in step.prints]
        assert times == sorted(times)
        assert all(before < at <= now for at in times), "no trade before its time, none after it"
        for item in step.prints:
            series.roll(item.time_ms)
            series.add_trade(item.price, item.lots, item.buyer_is_maker, (0, 0))
        for book, changes in ((bids, step.bids), (asks, step.asks)):
            for price, lots in changes:
                book[price] = lots
                if not lots:
                    del book[price]
        assert max(bids) < min(asks)
        if step.prints:
            last = step.prints[-1]
            assert max(bids) <= last.price <= min(asks)
    series.roll(now)
    assert market.over
    expected = [[int(value) for value in row[:6]] for row in file.rows]
    for row in expected:
        row[0] += span.shift_ms
    assert folded(series, "5m", 31)[:30] == expected


def test_the_shift_is_as_round_as_the_file_allows() -> None:
    rng = Random(1)
    for days, unit in ((40, 7 * DAY_MS), (9, DAY_MS), (2, 8 * HOUR_MS)):
        file = bar_file(rng, days * DAY_MS // STEP_MS)
        wanted = FIRST_MS + DAY_MS
        span = span_of([file], NOW_MS, wanted)
        assert span.shift_ms % unit == 0
        assert wanted <= span.start_ms <= file.end_ms - 20 * STEP_MS
        assert span.start_ms + span.shift_ms == NOW_MS
    assert span_of([file], NOW_MS, None).start_ms >= FIRST_MS + 2 * DAY_MS // 3 - STEP_MS
    with pytest.raises(BadBars, match="the files share"):
        span_of([file], NOW_MS, FIRST_MS + 3 * DAY_MS)
    later = BarFile("b", "ETHUSDT", "5m", file.tick, file.step, file.rows + np.array([[30 * DAY_MS] + [0] * 11]))
    with pytest.raises(BadBars, match="the files share"):
        span_of([file, later], NOW_MS, None)


def test_recorded_funding_is_history_before_the_start_and_the_rate_after_it() -> None:
    file = bar_file(Random(2), 400)
    points = tuple((FIRST_MS + 8 * HOUR_MS * number, Decimal(number) / 10_000) for number in range(1, 5))
    span = Span(FIRST_MS + 17 * HOUR_MS, DAY_MS)
    rates = FundingFile("f", "BTCUSDT", points)
    past = past_of(file, rates, span, 1)
    assert [(point.time_ms, point.rate_e8) for point in past.funding()] == [
        (FIRST_MS + DAY_MS + 8 * HOUR_MS, 10_000), (FIRST_MS + DAY_MS + 16 * HOUR_MS, 20_000),
    ]  # fmt: skip
    now = span.start_ms + span.shift_ms
    market = BarsSymbol(SPEC, file, rates, span, 1, now)
    market.begun(now)
    assert market.funding_rate == pytest.approx(0.0003)
    market.step(now + 8 * HOUR_MS, 0.0)
    assert market.funding_rate == pytest.approx(0.0004)


def written(folder: Path, file: BarFile) -> Path:
    path = folder / "usdm_BTCUSDT_1m.csv"
    lines = ["open_time_ms,open,high,low,close,volume"]
    lines += [",".join([str(row[0]), *(str(Decimal(int(v)) * file.tick) for v in row[1:5]),
                        str(Decimal(int(row[5])) * file.step)]) for row in file.rows]  # fmt: skip
    path.write_text("\n".join(lines))
    return path


async def rows(http: aiohttp.ClientSession, simex: Running, path: str) -> Any:
    async with http.get(f"{simex.rest}/fapi/v1/{path}") as answer:
        assert answer.status == 200
        return await answer.json()


async def test_over_sockets_the_tape_makes_the_file_s_bars_to_its_end(
    tmp_path: Path, http: aiohttp.ClientSession, seed: int
) -> None:
    file = bar_file(Random(seed), 90, MINUTE_MS)
    expected = {int(row[0]): [int(value) for value in row[1:6]] for row in file.rows}
    flags = ("--bars", str(written(tmp_path, file)), "--keep-times", "--bars-from", "2025-01-01T00:10:00")
    trades: list[dict[str, Any]] = []
    with running(*flags, "--clock-speed", "300") as simex:
        before = await rows(http, simex, "klines?symbol=BTCUSDT&interval=1m&limit=10&endTime=1735690199999")
        query = signed("symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.010&newOrderRespType=RESULT")
        with pytest.raises(ConnectionClosed) as ended:
            async with connect(f"{simex.ws}/market/ws/btcusdt@aggTrade", compression=None) as socket:
                async with http.post(
                    f"{simex.rest}/fapi/v1/order?{query}", headers={"X-MBX-APIKEY": "simex"}
                ) as answer:
                    assert (await answer.json())["status"] == "FILLED"
                async with asyncio.timeout(GENEROUS_S):
                    while True:
                        trades.append(json.loads(await socket.recv()))
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == 1000
        after = await rows(http, simex, "klines?symbol=BTCUSDT&interval=1m&limit=90")
        hours = await rows(http, simex, "klines?symbol=BTCUSDT&interval=1h&limit=2")
    for found in (before, after):
        for row in found:
            if row[0] in expected:
                ticks = [round(Decimal(text) / file.tick) for text in row[1:5]]
                assert [*ticks, round(Decimal(row[5]) / file.step)] == expected[row[0]]
    assert [row[0] for row in before] == [FIRST_MS + MINUTE_MS * number for number in range(10)]
    assert FIRST_MS + 89 * MINUTE_MS in [row[0] for row in after]
    assert Decimal(hours[0][1]) == Decimal(expected[FIRST_MS][0]) * file.tick
    first = trades[0]["T"] // MINUTE_MS * MINUTE_MS + MINUTE_MS
    seen: dict[int, Bar] = {}
    for trade in trades:
        opened = trade["T"] // MINUTE_MS * MINUTE_MS
        bar = seen.setdefault(opened, Bar.flat(opened, 0))
        bar.add_trade(round(Decimal(trade["p"]) / file.tick), round(Decimal(trade["q"]) / file.step), trade["m"], 0, 0)
    whole = {at: bar for at, bar in seen.items() if at >= first}
    traded = {at for at, bar in expected.items() if at >= first and bar[4]}
    assert set(whole) == traded
    for at, bar in whole.items():
        assert [bar.open, bar.high, bar.low, bar.close, bar.volume] == expected[at]


def test_flags_that_do_not_fit_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(written(tmp_path, bar_file(Random(1), 30, MINUTE_MS)))
    for flags, says in (
        (["--bars", "nowhere.csv"], "nowhere.csv"),
        (["--bars", path, "--relay"], "exclude"),
        (["--bars-from", "2025-01-01"], "--bars-from"),
        (["--bars", path, "--keep-times", "--clock-start", "2025-01-01"], "--clock-start"),
    ):
        assert main(flags) == 2
        assert says in capsys.readouterr().err
    assert main(["--bars", f"{path},{path}"]) == 1
    assert "a second file of BTCUSDT" in capsys.readouterr().err
