"""Every public form: right shape alone and for all, right refusal, and figures that agree with each other."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect

from simex.market.interest import SAMPLE_MS, OpenInterest
from tests.simex.running import Running, running
from tests.waiting import eventually

GENEROUS_S = 30.0
START_MS = 1_795_132_800_000

SHAPES = {  # path and parameters, the keys of a row in wire order
    "fapi/v1/constituents?symbol=BTCUSDT": "symbol time constituents",
    "fapi/v1/assetIndex?symbol=BTCUSD": "symbol time index bidBuffer askBuffer bidRate askRate autoExchangeBidBuffer"
    " autoExchangeAskBuffer autoExchangeBidRate autoExchangeAskRate",
    "fapi/v1/insuranceBalance?symbol=BTCUSDT": "symbols assets",
    "fapi/v1/symbolAdlRisk?symbol=BTCUSDT": "symbol adlRisk updateTime",
    "fapi/v1/openInterest?symbol=BTCUSDT": "openInterest symbol time",
    "fapi/v1/rpiDepth?symbol=BTCUSDT": "lastUpdateId E T bids asks",
    "fapi/v1/tradingSchedule": "updateTime marketSchedules",
    "futures/data/openInterestHist?symbol=BTCUSDT&period=5m": "symbol sumOpenInterest sumOpenInterestValue"
    " CMCCirculatingSupply timestamp",
    "futures/data/topLongShortAccountRatio?symbol=BTCUSDT&period=1h": "symbol longShortRatio longAccount shortAccount"
    " timestamp",
    "futures/data/topLongShortPositionRatio?symbol=BTCUSDT&period=4h": "symbol longShortRatio longAccount shortAccount"
    " timestamp",
    "futures/data/globalLongShortAccountRatio?symbol=BTCUSDT&period=1d": "symbol longShortRatio longAccount"
    " shortAccount timestamp",
    "futures/data/takerlongshortRatio?symbol=BTCUSDT&period=5m": "buySellRatio buyVol sellVol timestamp",
    "futures/data/basis?pair=BTCUSDT&contractType=PERPETUAL&period=5m": "indexPrice contractType basisRate futuresPrice"
    " annualizedBasisRate basis pair timestamp",
}
REFUSALS = {
    "fapi/v1/continuousKlines?pair=BTCUSDT&interval=1m": -1102,
    "fapi/v1/continuousKlines?pair=BTCUSDT&interval=1m&contractType=MONTHLY": -1130,
    "fapi/v1/continuousKlines?pair=NO&interval=1m&contractType=PERPETUAL": -1121,
    "fapi/v1/indexPriceKlines?symbol=BTCUSDT&interval=1m": -1102,
    "fapi/v1/markPriceKlines?symbol=BTCUSDT&interval=7m": -1120,
    "fapi/v1/premiumIndexKlines?symbol=BTCUSDT&interval=1m&limit=1501": -1130,
    "fapi/v1/klines?symbol=BTCUSDT&interval=1m&startTime=2&endTime=1": -1023,
    "fapi/v1/rpiDepth?symbol=BTCUSDT&limit=500": -4021,
    "fapi/v1/aggTrades?symbol=BTCUSDT&fromId=1&startTime=1": -1128,
    "fapi/v1/aggTrades?symbol=BTCUSDT&startTime=0&endTime=3600001": -4166,
    "fapi/v1/aggTrades?symbol=BTCUSDT&limit=1001": -1130,
    "fapi/v1/historicalTrades?symbol=BTCUSDT": -2014,
    "fapi/v1/constituents": -1102,
    "fapi/v1/assetIndex?symbol=NOUSD": -1121,
    "fapi/v1/indexInfo?symbol=BTCUSDT": -1121,
    "fapi/v1/fundingRate?symbol=BTCUSDT&startTime=2&endTime=1": -1023,
    "futures/data/openInterestHist?symbol=BTCUSDT": -1102,
    "futures/data/openInterestHist?symbol=BTCUSDT&period=1m": -1130,
    "futures/data/openInterestHist?symbol=BTCUSDT&period=5m&limit=501": -1130,
    "futures/data/openInterestHist?symbol=BTCUSDT&period=5m&startTime=1": -1130,
    "futures/data/basis?pair=BTCUSDT&period=5m": -1102,
}
PUBLIC = [
    "btcusdt@depth", "btcusdt@depth@500ms", "btcusdt@depth@100ms", "btcusdt@rpiDepth@500ms", "btcusdt@depth5",
    "btcusdt@depth10@500ms", "btcusdt@depth20@100ms", "btcusdt@bookTicker", "!bookTicker", "btcusdt@trade",
]  # fmt: skip
MARKET = [
    "btcusdt@aggTrade", "btcusdt@markPrice", "btcusdt@markPrice@1s", "!markPrice@arr", "!markPrice@arr@1s",
    "btcusdt@kline_1m", "btcusdt@kline_1M", "btcusdt_perpetual@continuousKline_3d", "btcusdt@ticker", "!ticker@arr",
    "btcusdt@miniTicker", "!miniTicker@arr", "btcusd@assetIndex", "!assetIndex@arr",
]  # fmt: skip
QUIET = ["btcusdt@forceOrder", "!forceOrder@arr", "!contractInfo", "btcusdt@compositeIndex", "tradingSession"]


@pytest.fixture(scope="module")
def simex() -> Iterator[Running]:
    with running("--seed", "11", "--weight-limit", "100000000") as started:
        yield started


async def get(http: aiohttp.ClientSession, simex: Running, path: str, **headers: str) -> tuple[int, Any]:
    async with http.get(f"{simex.rest}/{path}", headers=headers) as answer:
        return answer.status, await answer.json()


async def rows(http: aiohttp.ClientSession, simex: Running, path: str, **headers: str) -> Any:
    status, body = await get(http, simex, path, **headers)
    assert status == 200, body
    return body


@pytest.mark.parametrize("path", SHAPES)
async def test_a_reply_has_the_keys_of_the_exchange(simex: Running, http: aiohttp.ClientSession, path: str) -> None:
    body = await rows(http, simex, path)
    row = body[0] if isinstance(body, list) else body
    assert list(row) == SHAPES[path].split()


async def test_without_a_symbol_there_is_a_row_for_each(simex: Running, http: aiohttp.ClientSession) -> None:
    for path in ("symbolAdlRisk", "premiumIndex", "ticker/24hr", "ticker/price", "ticker/bookTicker"):
        assert [row["symbol"] for row in await rows(http, simex, f"fapi/v1/{path}")] == ["BTCUSDT", "ETHUSDT"]
    assert [row["symbol"] for row in await rows(http, simex, "fapi/v1/assetIndex")] == ["USDTUSD", "BTCUSD", "ETHUSD"]
    assert await rows(http, simex, "fapi/v1/indexInfo") == []
    assert (await rows(http, simex, "fapi/v1/insuranceBalance"))[0]["symbols"] == ["BTCUSDT", "ETHUSDT"]


@pytest.mark.parametrize("path", REFUSALS)
async def test_a_wrong_request_is_refused_with_its_code(simex: Running, http: aiohttp.ClientSession, path: str) -> None:
    status, body = await get(http, simex, path)
    assert (status // 100, body["code"]) == (4, REFUSALS[path])


async def test_the_index_is_the_weighted_mean_of_its_sources(simex: Running, http: aiohttp.ClientSession) -> None:
    body = await rows(http, simex, "fapi/v1/constituents?symbol=ETHUSDT")
    weights = [Decimal(row["weight"]) for row in body["constituents"]]
    assert sum(weights) == 1
    mean = sum(Decimal(row["price"]) * weight for row, weight in zip(body["constituents"], weights, strict=True))
    index = Decimal((await rows(http, simex, "fapi/v1/premiumIndex?symbol=ETHUSDT"))["indexPrice"])
    assert abs(mean / index - 1) < Decimal("0.005")  # a second may lie between the two answers


async def test_bars_of_mark_index_and_premium_agree_and_have_no_volume(
    simex: Running, http: aiohttp.ClientSession
) -> None:
    found = {}
    for kind, name in (("mark", "symbol"), ("index", "pair"), ("premium", "symbol")):
        path = "premiumIndexKlines" if kind == "premium" else f"{kind}PriceKlines"
        found[kind] = await rows(http, simex, f"fapi/v1/{path}?{name}=BTCUSDT&interval=1h&limit=400")
        assert len(found[kind]) == 400
        for row in found[kind]:
            low, opened, closed, high = (Decimal(row[place]) for place in (3, 1, 4, 2))
            assert low <= min(opened, closed)
            assert max(opened, closed) <= high
            assert [row[5], row[7], row[9], row[10], row[11]] == ["0"] * 5
            assert row[6] == row[0] + 3_599_999
    contract = await rows(http, simex, "fapi/v1/klines?symbol=BTCUSDT&interval=1h&limit=400")
    for index, real in enumerate(contract[:-1]):
        assert [found[kind][index][0] for kind in found] == [real[0]] * 3
        mark, spot, premium = (Decimal(found[kind][index][4]) for kind in ("mark", "index", "premium"))
        assert abs(mark / Decimal(real[4]) - 1) < Decimal("0.002")
        assert abs(mark / spot - 1 - premium) < Decimal("0.0000001")


async def test_a_continuous_contract_is_the_perpetual_and_others_have_no_bars(
    simex: Running, http: aiohttp.ClientSession
) -> None:
    end = (int(time.time()) // 60 - 3) * 60_000
    same = f"interval=1m&limit=30&endTime={end}"
    path = f"fapi/v1/continuousKlines?pair=BTCUSDT&{same}&contractType="
    real = await rows(http, simex, f"fapi/v1/klines?symbol=BTCUSDT&{same}")
    assert await rows(http, simex, f"{path}PERPETUAL") == real
    assert await rows(http, simex, f"{path}CURRENT_QUARTER") == []


async def test_the_tape_can_be_paged_by_id_without_hole_or_repetition(
    simex: Running, http: aiohttp.ClientSession
) -> None:
    path = "fapi/v1/aggTrades?symbol=BTCUSDT"
    deadline = time.monotonic() + GENEROUS_S
    while len(latest := await rows(http, simex, path)) < 40:
        assert time.monotonic() < deadline
    first, last = latest[0]["a"], latest[-1]["a"]
    paged: list[dict[str, Any]] = []
    at = first
    while at <= last:
        page = await rows(http, simex, f"{path}&fromId={at}&limit=7")
        assert 1 <= len(page) <= 7
        paged += page
        at = page[-1]["a"] + 1
    assert [row["a"] for row in paged[: len(latest)]] == list(range(first, last + 1))
    assert paged[: len(latest)] == latest
    assert all(b["f"] == a["l"] + 1 for a, b in pairwise(paged))
    middle = latest[20]["T"]
    timed = await rows(http, simex, f"{path}&startTime={middle}&endTime={latest[-1]['T']}&limit=1000")
    assert timed == [row for row in latest if row["T"] >= middle]
    single = await rows(http, simex, f"fapi/v1/historicalTrades?symbol=BTCUSDT&fromId={paged[3]['f']}&limit=1",
                        **{"X-MBX-APIKEY": "simex"})  # fmt: skip
    assert [row["id"] for row in single] == [paged[3]["f"]]


async def test_taker_volumes_are_those_of_the_bars_and_periods_are_over(
    simex: Running, http: aiohttp.ClientSession
) -> None:
    body = await rows(http, simex, "futures/data/takerlongshortRatio?symbol=ETHUSDT&period=15m&limit=20")
    bars = {row[0]: row for row in await rows(http, simex, "fapi/v1/klines?symbol=ETHUSDT&interval=15m&limit=30")}
    assert len(body) == 20
    for row in body:
        bar = bars[row["timestamp"]]
        assert Decimal(row["buyVol"]) == Decimal(bar[9])
        assert Decimal(row["buyVol"]) + Decimal(row["sellVol"]) == Decimal(bar[5])
        assert bar[6] < time.time() * 1000
    one = await rows(http, simex, "futures/data/globalLongShortAccountRatio?symbol=ETHUSDT&period=15m&limit=20")
    again = await rows(http, simex, "futures/data/globalLongShortAccountRatio?symbol=ETHUSDT&period=15m&limit=5")
    assert one[-5:] == again or one[-4:] == again[:4], "the past does not change"
    assert all(Decimal(row["longAccount"]) + Decimal(row["shortAccount"]) == 1 for row in one)


def test_open_interest_follows_the_flow_and_liquidations_and_remembers() -> None:
    interest = OpenInterest("BTCUSDT", 100_000, START_MS)
    before = interest.now(START_MS)
    assert 85_000 < before < 115_000
    interest.traded(START_MS, 1000, buyer_is_maker=False)
    bought = interest.now(START_MS)
    assert bought > before
    interest.forced(START_MS, 5000)
    assert interest.now(START_MS) == bought - 5000
    later = interest.now(START_MS + SAMPLE_MS)
    assert interest.at(START_MS) == before, "the first look of five minutes is kept"
    assert interest.at(START_MS + SAMPLE_MS) == later
    assert interest.at(START_MS - 86_400_000) == OpenInterest("BTCUSDT", 100_000, START_MS).at(START_MS - 86_400_000)
    assert OpenInterest("NEWUSDT", 0, START_MS).now(START_MS) == 0


async def test_every_stream_comes_on_its_route_and_nothing_on_the_other(simex: Running) -> None:
    heard: dict[str, set[str]] = {}

    async def subscribe(socket: Any, names: list[str]) -> None:
        for at in range(0, len(names), 10):
            await socket.send(json.dumps({"method": "SUBSCRIBE", "params": names[at : at + 10], "id": at}))

    async def listen(route: str, key: str, names: list[str]) -> None:
        heard[key] = set()
        async with connect(f"{simex.ws}/{route}/stream", compression=None, max_size=None) as socket:
            await subscribe(socket, names)
            async for frame in socket:
                message = json.loads(frame)
                heard[key].add(message["stream"] if "stream" in message else f"answer {message['result']}")

    everything = [*PUBLIC, *MARKET, *QUIET]
    listeners = [
        asyncio.create_task(listen("public", "public", everything)),
        asyncio.create_task(listen("market", "market", everything)),
    ]
    expected = {"public": {*PUBLIC, "answer None"}, "market": {*MARKET, "answer None"}}
    try:
        await eventually(
            lambda: all(heard.get(key, set()) >= names for key, names in expected.items()), "all speak", GENEROUS_S
        )
        assert heard == expected
    finally:
        for listener in listeners:
            listener.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)
