"""The REST door over real sockets, spoken to as clients of the exchange do."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect

from tests.simex.running import Running, running, signed

KEY = {"X-MBX-APIKEY": "simex"}


@pytest.fixture(scope="module")
def simex() -> Iterator[Running]:
    with running("--seed", "11", "--symbols", "BTCUSDT,ETHUSDT,XRPUSDT", "--weight-limit", "100000") as started:
        yield started


async def get(http: aiohttp.ClientSession, simex: Running, path: str) -> Any:
    async with http.get(simex.rest + path) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def refusal(http: aiohttp.ClientSession, simex: Running, path: str, method: str = "GET") -> tuple[int, int]:
    async with http.request(method, simex.rest + path, headers=KEY) as answer:
        return answer.status, (await answer.json())["code"]


SHAPES: dict[str, list[str]] = {
    "/fapi/v1/depth?symbol=BTCUSDT&limit=5": ["lastUpdateId", "E", "T", "bids", "asks"],
    "/fapi/v1/premiumIndex?symbol=BTCUSDT": [
        "symbol", "markPrice", "indexPrice", "estimatedSettlePrice", "lastFundingRate", "interestRate",
        "nextFundingTime", "time",
    ],
    "/fapi/v1/ticker/24hr?symbol=BTCUSDT": [
        "symbol", "priceChange", "priceChangePercent", "weightedAvgPrice", "lastPrice", "lastQty", "openPrice",
        "highPrice", "lowPrice", "volume", "quoteVolume", "openTime", "closeTime", "firstId", "lastId", "count",
    ],
    "/fapi/v2/ticker/price?symbol=BTCUSDT": ["symbol", "price", "time"],
    "/fapi/v1/ticker/bookTicker?symbol=BTCUSDT": [
        "symbol", "bidPrice", "bidQty", "askPrice", "askQty", "time", "lastUpdateId",
    ],
    "/fapi/v1/openInterest?symbol=BTCUSDT": ["openInterest", "symbol", "time"],
}  # fmt: skip


@pytest.mark.parametrize("path", SHAPES)
async def test_single_answers_have_the_documented_keys_in_order(
    path: str, http: aiohttp.ClientSession, simex: Running
) -> None:
    assert list(await get(http, simex, path)) == SHAPES[path]


@pytest.mark.parametrize("name", ["premiumIndex", "ticker/24hr", "ticker/price", "ticker/bookTicker"])
async def test_without_a_symbol_there_is_a_list_of_all(name: str, http: aiohttp.ClientSession, simex: Running) -> None:
    rows = await get(http, simex, f"/fapi/v1/{name}")
    assert [row["symbol"] for row in rows] == ["BTCUSDT", "ETHUSDT", "XRPUSDT"]


async def test_klines_agree_between_intervals_and_with_the_ticker(http: aiohttp.ClientSession, simex: Running) -> None:
    fives = await get(http, simex, "/fapi/v1/klines?symbol=ETHUSDT&interval=5m&limit=1500")
    assert len(fives) == 1500
    start, end = fives[-3][0], fives[-3][6]
    ones = await get(http, simex, f"/fapi/v1/klines?symbol=ETHUSDT&interval=1m&startTime={start}&endTime={end}")
    five = fives[-3]
    assert len(ones) == 5
    assert [ones[0][1], ones[-1][4]] == [five[1], five[4]]
    assert max(Decimal(row[2]) for row in ones) == Decimal(five[2])
    assert min(Decimal(row[3]) for row in ones) == Decimal(five[3])
    for column in (5, 7, 9, 10):
        assert sum(Decimal(row[column]) for row in ones) == Decimal(five[column])
    assert all(len(row) == 12 and row[6] - row[0] == 299_999 for row in fives)
    assert fives[-1][6] > time.time() * 1000 > fives[-1][0] - 1000


async def test_recent_trades_aggregate_trades_and_funding(http: aiohttp.ClientSession, simex: Running) -> None:
    async with http.post(
        f"{simex.rest}/admin/market", json={"symbol": "BTCUSDT", "trade": {"side": "BUY", "qty": "9.000"}}
    ) as answer:
        assert (await answer.json())["traded"] == "9.000"
    trades = await get(http, simex, "/fapi/v1/trades?symbol=BTCUSDT")
    assert len(trades) > 3
    assert list(trades[0]) == ["id", "price", "qty", "quoteQty", "time", "isBuyerMaker", "isRPITrade"]
    assert all(Decimal(row["price"]) * Decimal(row["qty"]) == Decimal(row["quoteQty"]) for row in trades)
    rows = await get(http, simex, "/fapi/v1/aggTrades?symbol=BTCUSDT")
    assert [row["a"] for row in rows] == list(range(rows[0]["a"], rows[-1]["a"] + 1))
    some = await get(http, simex, f"/fapi/v1/aggTrades?symbol=BTCUSDT&fromId={rows[1]['a']}&limit=2")
    assert [row["a"] for row in some] == [rows[1]["a"], rows[1]["a"] + 1]
    funding = await get(http, simex, "/fapi/v1/fundingRate?symbol=BTCUSDT&limit=3")
    assert len(funding) == 3
    assert list(funding[0]) == ["symbol", "fundingRate", "fundingTime", "markPrice", "rateType"]


async def test_exchange_info_names_filters_and_the_limits_in_force(http: aiohttp.ClientSession, simex: Running) -> None:
    info = await get(http, simex, "/fapi/v1/exchangeInfo")
    assert [row["limit"] for row in info["rateLimits"]] == [100000, 1200, 300]
    bitcoin = info["symbols"][0]
    filters = {row["filterType"]: row for row in bitcoin["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.10"
    assert filters["LOT_SIZE"]["stepSize"] == "0.001"
    assert abs(info["serverTime"] - time.time() * 1000) < 2000


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/fapi/v1/nope", 404, -5000), ("/fapi/v1/depth", 400, -1102), ("/fapi/v1/depth?symbol=", 400, -1105),
        ("/fapi/v1/depth?symbol=NOPE", 400, -1121), ("/fapi/v1/depth?symbol=BTCUSDT&limit=7", 400, -4021),
        ("/fapi/v1/depth?symbol=BTCUSDT&limit=x", 400, -1100), ("/fapi/v1/depth?symbol=A&symbol=A", 400, -1101),
        ("/fapi/v1/klines?symbol=BTCUSDT&interval=7m", 400, -1120),
        ("/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=1501", 400, -1130),
        ("/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=0", 400, -1130),
        ("/fapi/v1/klines?symbol=BTCUSDT&interval=1M&startTime=99999999999999999999", 400, -1130),
        ("/fapi/v1/klines?symbol=BTCUSDT&interval=1m&startTime=2&endTime=1", 400, -1023),
        ("/fapi/v1/klines?symbol=%FF%FE&interval=1m", 400, -1121),
        ("/fapi/v1/order?symbol=BTCUSDT", 400, -1102), ("/fapi/v1/account", 404, -5000),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_named(
    path: str, status: int, code: int, http: aiohttp.ClientSession, simex: Running
) -> None:
    assert await refusal(http, simex, path) == (status, code)


async def test_an_order_signed_in_query_body_or_both_is_accepted_and_read_back(
    http: aiohttp.ClientSession, simex: Running
) -> None:
    url = f"{simex.rest}/fapi/v1/order"
    bid = Decimal((await get(http, simex, "/fapi/v1/ticker/bookTicker?symbol=BTCUSDT"))["bidPrice"])
    text = f"symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.010&price={bid - 1000}&newClientOrderId="
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    sendings: list[tuple[str, str, dict[str, str]]] = [
        (signed(f"{text}query-1"), "", {"Content-Type": "application/json"}),
        ("", signed(f"{text}body-1"), form),
    ]
    for query, body, kind in sendings:
        async with http.post(f"{url}?{query}" if query else url, data=body, headers=KEY | kind) as answer:
            placed = await answer.json()
            assert answer.status == 200, placed
            assert len(placed) == 22
            assert placed["status"] == "NEW"
            assert int(answer.headers["X-MBX-ORDER-COUNT-10S"]) >= 1
            assert int(answer.headers["X-MBX-ORDER-COUNT-1M"]) >= 1
            assert "X-MBX-USED-WEIGHT-1M" in answer.headers
        name = placed["clientOrderId"]
        found = await get_signed(http, simex, "/fapi/v1/order", f"symbol=BTCUSDT&origClientOrderId={name}")
        assert (found["orderId"], found["status"]) == (placed["orderId"], "NEW")
        async with http.delete(f"{url}?{signed(f'symbol=BTCUSDT&origClientOrderId={name}')}", headers=KEY) as answer:
            assert (await answer.json())["status"] == "CANCELED"


async def get_signed(http: aiohttp.ClientSession, simex: Running, path: str, query: str = "") -> Any:
    async with http.get(f"{simex.rest}{path}?{signed(query)}", headers=KEY) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def test_a_bad_signature_key_or_time_never_reaches_the_engine(
    http: aiohttp.ClientSession, simex: Running
) -> None:
    query = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.010"
    url = f"{simex.rest}/fapi/v1/order?"
    before = (await get(http, simex, "/admin/state"))["truth"]
    late = round(time.time() * 1000) - 5500
    for text, headers, expected in (
        (signed(query, secret="wrong"), KEY, (400, -1022)),
        (signed(query), {"X-MBX-APIKEY": "other"}, (401, -2015)),
        (signed(query), {}, (401, -2014)),
        (signed(query, at_ms=late), KEY, (400, -1021)),
        (signed(query, at_ms=late + 7500), KEY, (400, -1021)),
    ):
        async with http.post(url + text, headers=headers) as answer:
            assert (answer.status, (await answer.json())["code"]) == expected
    after = (await get(http, simex, "/admin/state"))["truth"]
    assert after["accounts"] == before["accounts"]


async def test_a_fill_reaches_the_private_stream_lite_first_and_account_before_order(
    http: aiohttp.ClientSession, simex: Running
) -> None:
    async with http.post(f"{simex.rest}/fapi/v1/listenKey", headers=KEY) as answer:
        key = (await answer.json())["listenKey"]
    async with connect(f"{simex.ws}/private/ws?listenKey={key}") as socket, asyncio.timeout(10):
        text = signed("symbol=ETHUSDT&side=BUY&type=MARKET&quantity=0.050&newOrderRespType=RESULT")
        async with http.post(f"{simex.rest}/fapi/v1/order", data=text, headers=KEY) as answer:
            placed = await answer.json()
        assert placed["status"] == "FILLED"
        events = [json.loads(await socket.recv()) for _ in range(4)]
        kinds = ["TRADE_LITE", "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE"]
        assert [event["e"] for event in events] == kinds
        assert events[3]["o"]["X"] == "FILLED"
        risk = await get_signed(http, simex, "/fapi/v3/positionRisk", "symbol=ETHUSDT")
        assert Decimal(risk[0]["positionAmt"]) == Decimal("0.050")


async def test_own_orders_stand_in_the_public_book_and_are_filled_by_the_market(
    http: aiohttp.ClientSession, simex: Running
) -> None:
    top = await get(http, simex, "/fapi/v1/ticker/bookTicker?symbol=XRPUSDT")
    price = Decimal(top["bidPrice"]) - Decimal("0.0040")
    text = signed(f"symbol=XRPUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=77777.7&price={price}")
    async with http.post(f"{simex.rest}/fapi/v1/order?{text}", headers=KEY | {}) as answer:
        placed = await answer.json()
        if answer.status == 400 and placed["code"] == -2019:
            pytest.fail("the default account cannot carry this test")
    depth = await get(http, simex, "/fapi/v1/depth?symbol=XRPUSDT&limit=1000")
    shown = {Decimal(row[0]): Decimal(row[1]) for row in depth["bids"]}
    assert shown[price] >= Decimal("77777.7")
    async with http.post(f"{simex.rest}/admin/market", json={"symbol": "XRPUSDT", "move_bps": -60}) as answer:
        assert answer.status == 200
    order = await get_signed(http, simex, "/fapi/v1/order", f"symbol=XRPUSDT&orderId={placed['orderId']}")
    assert order["status"] == "FILLED"
    trade = (await get_signed(http, simex, "/fapi/v1/userTrades", "symbol=XRPUSDT"))[-1]
    assert (trade["maker"], Decimal(trade["price"])) == (True, price)


async def test_an_external_market_order_fills_resting_orders_at_the_touch(
    http: aiohttp.ClientSession, simex: Running
) -> None:
    async with http.post(
        f"{simex.rest}/admin/market", json={"symbol": "ETHUSDT", "trade": {"side": "SELL", "qty": "x"}}
    ) as no:
        assert no.status == 400
    top = await get(http, simex, "/fapi/v1/ticker/bookTicker?symbol=ETHUSDT")
    price = Decimal(top["askPrice"]) + Decimal("0.50")
    text = signed(f"symbol=ETHUSDT&side=SELL&type=LIMIT&timeInForce=GTC&quantity=0.020&price={price}")
    async with http.post(f"{simex.rest}/fapi/v1/order?{text}", headers=KEY) as answer:
        placed = await answer.json()
    async with http.post(
        f"{simex.rest}/admin/market", json={"symbol": "ETHUSDT", "trade": {"side": "BUY", "qty": "20000"}}
    ) as answer:
        assert answer.status == 200
    order = await get_signed(http, simex, "/fapi/v1/order", f"symbol=ETHUSDT&orderId={placed['orderId']}")
    assert order["status"] == "FILLED"
    async with http.delete(f"{simex.rest}/fapi/v1/allOpenOrders?{signed('symbol=ETHUSDT')}", headers=KEY) as answer:
        assert answer.status == 200


async def test_funding_balances_and_clock_by_administration(http: aiohttp.ClientSession, simex: Running) -> None:
    async with http.post(
        f"{simex.rest}/admin/account", json={"account": "simex", "balances": {"USDT": "5000"}}
    ) as answer:
        assert (await answer.json())["balances"] == {"USDT": "5000.00000000"}
    before = len(await get(http, simex, "/fapi/v1/fundingRate?symbol=ETHUSDT&limit=1000"))
    async with http.post(f"{simex.rest}/admin/funding", json={"symbol": "ETHUSDT"}) as answer:
        assert answer.status == 200
    assert len(await get(http, simex, "/fapi/v1/fundingRate?symbol=ETHUSDT&limit=1000")) == before + 1
    for skew in (-90_000, 45_000, 0):
        async with http.post(f"{simex.rest}/admin/clock", json={"skew_ms": skew}) as answer:
            assert answer.status == 200
        shown = (await get(http, simex, "/fapi/v1/time"))["serverTime"]
        assert abs(shown - skew - time.time() * 1000) < 2000
    for path, body in (("account", {"account": "nobody"}), ("clock", {"skew_ms": "1"}), ("market", {}), ("nope", {})):
        async with http.post(f"{simex.rest}/admin/{path}", json=body) as answer:
            assert answer.status in (400, 404)
            assert "error" in await answer.json()


async def test_positions_by_administration_are_real_orders_of_the_account(
    http: aiohttp.ClientSession, simex: Running
) -> None:
    async def move(amount: object) -> tuple[int, Any]:
        body = {"account": "simex", "balances": {"USDT": "500000"}, "positions": {"BTCUSDT": amount}}
        async with http.post(f"{simex.rest}/admin/account", json=body) as answer:
            return answer.status, await answer.json()

    for wanted in ("0.030", "-0.010", "0"):
        assert (await move(wanted))[0] == 200
        risk = await get_signed(http, simex, "/fapi/v2/positionRisk", "symbol=BTCUSDT")
        assert Decimal(risk[0]["positionAmt"]) == Decimal(wanted)
    for wrong in ("1e9", "x", "0.0001", {"LONG": "0.01"}, "NaN"):
        status, body = await move(wrong)
        assert status == 400
        assert "position of BTCUSDT" in body["error"]


async def test_broken_bodies_are_answered_and_the_server_lives(http: aiohttp.ClientSession, simex: Running) -> None:
    for body in (b"\xff\xfe\x00", b"{", b"a" * 200_000, b"=&=&="):
        async with http.post(f"{simex.rest}/fapi/v1/order", data=body, headers=KEY) as answer:
            assert answer.status in (400, 413)
            json.loads(await answer.text())
        async with http.post(f"{simex.rest}/admin/faults", data=body) as answer:
            assert answer.status == 400
    assert await get(http, simex, "/fapi/v1/ping") == {}
