"""The limits as documented: what each endpoint costs, order counts, connections, floods, bans."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from simex.server.limits import MISUSE_COST, Limits, LimitSettings
from simex.server.refusals import Refused
from simex.server.routes import ROUTES
from tests.simex.running import running, signed

V1, DATA = "/fapi/v1", "/futures/data"
TABLE = """
GET /fapi/v1/depth limit=5:2 limit=50:2 limit=100:5 limit=500:10 limit=1000:20 -:10
GET /fapi/v1/klines limit=99:1 limit=100:2 limit=499:2 limit=500:5 limit=1000:5 limit=1001:10 -:5
GET /fapi/v1/continuousKlines limit=99:1 limit=100:2 limit=499:2 limit=500:5 limit=1000:5 limit=1001:10
GET /fapi/v1/indexPriceKlines limit=99:1 limit=100:2 limit=499:2 limit=500:5 limit=1000:5 limit=1001:10
GET /fapi/v1/markPriceKlines limit=99:1 limit=100:2 limit=499:2 limit=500:5 limit=1000:5 limit=1001:10
GET /fapi/v1/premiumIndexKlines limit=99:1 limit=100:2 limit=499:2 limit=500:5 limit=1000:5 limit=1001:10
GET /fapi/v1/ping -:1
GET /fapi/v1/time -:1
GET /fapi/v1/exchangeInfo -:1
GET /fapi/v1/rpiDepth symbol=BTCUSDT:20
GET /fapi/v1/trades symbol=BTCUSDT:5
GET /fapi/v1/historicalTrades symbol=BTCUSDT:200
GET /fapi/v1/aggTrades symbol=BTCUSDT:20
GET /fapi/v1/premiumIndex symbol=BTCUSDT:1 -:10
GET /fapi/v1/ticker/24hr symbol=BTCUSDT:1 -:40
GET /fapi/v2/ticker/price symbol=BTCUSDT:1 -:2
GET /fapi/v1/ticker/bookTicker symbol=BTCUSDT:2 -:5
GET /fapi/v1/openInterest symbol=BTCUSDT:1
GET /fapi/v1/leverageBracket -:1
GET /fapi/v1/tradingSchedule -:5
GET /fapi/v1/symbolAdlRisk -:1
GET /fapi/v1/assetIndex symbol=BTCUSDT:1 -:10
GET /fapi/v1/indexInfo -:1
GET /fapi/v1/constituents symbol=BTCUSDT:2
GET /fapi/v1/insuranceBalance -:1
POST /fapi/v1/order symbol=BTCUSDT:0
GET /fapi/v1/order symbol=BTCUSDT:1
DELETE /fapi/v1/order symbol=BTCUSDT:1
PUT /fapi/v1/order symbol=BTCUSDT:0
POST /fapi/v1/batchOrders -:5
PUT /fapi/v1/batchOrders -:5
DELETE /fapi/v1/batchOrders -:1
DELETE /fapi/v1/allOpenOrders symbol=BTCUSDT:1
POST /fapi/v1/countdownCancelAll symbol=BTCUSDT:10
GET /fapi/v1/openOrder symbol=BTCUSDT:1
GET /fapi/v1/openOrders symbol=BTCUSDT:1 -:40
GET /fapi/v1/allOrders symbol=BTCUSDT:5
GET /fapi/v1/orderAmendment symbol=BTCUSDT:1
POST /fapi/v1/algoOrder symbol=BTCUSDT:0
DELETE /fapi/v1/algoOrder -:1
DELETE /fapi/v1/algoOpenOrders symbol=BTCUSDT:1
GET /fapi/v1/algoOrder -:1
GET /fapi/v1/openAlgoOrders symbol=BTCUSDT:1 -:40
GET /fapi/v1/allAlgoOrders symbol=BTCUSDT:5
GET /fapi/v1/forceOrders symbol=BTCUSDT:20 -:50
POST /fapi/v1/leverage symbol=BTCUSDT:1
POST /fapi/v1/marginType symbol=BTCUSDT:1
POST /fapi/v1/positionMargin symbol=BTCUSDT:1
POST /fapi/v1/positionSide/dual -:1
POST /fapi/v1/multiAssetsMargin -:1
GET /fapi/v1/positionSide/dual -:30
GET /fapi/v1/multiAssetsMargin -:30
GET /fapi/v3/account -:5
GET /fapi/v2/account -:5
GET /fapi/v3/balance -:5
GET /fapi/v2/balance -:5
GET /fapi/v3/positionRisk -:5
GET /fapi/v2/positionRisk -:5
GET /fapi/v1/accountConfig -:5
GET /fapi/v1/symbolConfig -:5
GET /fapi/v1/commissionRate symbol=BTCUSDT:20
GET /fapi/v1/userTrades symbol=BTCUSDT:5
GET /fapi/v1/income -:30
GET /fapi/v1/rateLimit/order -:1
GET /fapi/v1/adlQuantile -:5
GET /fapi/v1/apiTradingStatus symbol=BTCUSDT:1 -:10
GET /fapi/v1/feeBurn -:30
POST /fapi/v1/feeBurn -:1
GET /fapi/v1/positionMargin/history symbol=BTCUSDT:1
POST /fapi/v1/listenKey -:1
PUT /fapi/v1/listenKey -:1
DELETE /fapi/v1/listenKey -:1
"""
"""Sections 2.2, 2.6, 4.1 and 5 of the protocol: endpoint, and the weight with (or, `-`, without) a parameter."""
WEIGHTS = [
    (method, path, dict([case.split("=")]) if case != "-" else dict[str, str](), int(weight))
    for method, path, *cases in map(str.split, TABLE.strip().splitlines())
    for case, _, weight in (text.partition(":") for text in cases)
]
COUNTED = {("POST", "order"), ("PUT", "order"), ("POST", "batchOrders"), ("PUT", "batchOrders"), ("POST", "algoOrder")}


def test_every_endpoint_costs_what_is_documented() -> None:
    wrong = {
        (method, path, *params.items()): (ROUTES[method, path].weight(params), weight)
        for method, path, params, weight in WEIGHTS
        if ROUTES[method, path].weight(params) != weight
    }
    assert wrong == {}


def test_the_pools_of_their_own_and_what_counts_as_an_order() -> None:
    pools = {path: route.pool for (_, path), route in ROUTES.items() if route.pool != "weight"}
    assert {path for path, pool in pools.items() if pool == "funding"} == {f"{V1}/fundingRate", f"{V1}/fundingInfo"}
    assert {path for path, pool in pools.items() if pool == "data"} == {
        path for _, path in ROUTES if path.startswith(DATA)
    }
    assert {(method, path.rpartition("/")[2]) for (method, path), route in ROUTES.items() if route.orders} == COUNTED


def test_every_priced_endpoint_is_in_the_table() -> None:
    priced = {(method, path) for method, path, _, _ in WEIGHTS}
    rest = {key for key, route in ROUTES.items() if key not in priced and route.pool == "weight"}
    assert rest == {
        ("GET", f"{V1}/ticker/price"), ("POST", f"{V1}/order/test"), ("GET", "/sapi/v1/account/apiRestrictions"),
    }, "the sources do not price these"  # fmt: skip


def test_connections_are_counted_by_address_in_five_minutes() -> None:
    limits = Limits(LimitSettings(connects_5m=2))
    for _ in range(2):
        limits.connect(0, "a", 5)
    with pytest.raises(Refused) as refused:
        limits.connect(299_999, "a", 5)
    assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "1"})
    limits.connect(299_999, "b", 0)
    limits.connect(300_000, "a", 5)
    assert limits.used_weight(300_000, "a") == 5


def test_who_floods_again_and_again_is_banned() -> None:
    limits = Limits(LimitSettings(refusals_before_ban=3 * MISUSE_COST))
    for _ in range(3):
        limits.misused(0, "a")
    limits.connect(0, "a", 0)
    limits.misused(0, "a")
    with pytest.raises(Refused) as banned:
        limits.connect(1, "a", 0)
    assert (banned.value.status, banned.value.code) == (418, -1003)
    limits.connect(1, "b", 0)
    limits.connect(120_000, "a", 0)


async def test_too_many_connections_are_refused_and_rest_goes_on() -> None:
    with running("--connect-limit", "2") as simex:
        url = f"{simex.ws}/public/ws/btcusdt@depth"
        refused = None
        async with asyncio.timeout(30), aiohttp.ClientSession() as http:
            for _ in range(5):  # five minutes may begin anew within
                try:
                    async with connect(url, compression=None):
                        pass
                except InvalidStatus as error:
                    refused = error.response
                    break
            assert refused is not None
            assert refused.status_code == 429
            assert int(refused.headers["Retry-After"]) > 0
            async with http.get(f"{simex.rest}/fapi/v1/ping") as answer:
                assert answer.status == 200


async def test_order_counts_and_weights_are_in_the_headers() -> None:
    key = {"X-MBX-APIKEY": "simex"}
    order = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.010&price=88000"
    with running("--order-limit-10s", "1000") as simex:
        async with aiohttp.ClientSession() as http, asyncio.timeout(30):
            async with http.post(f"{simex.rest}/fapi/v1/order?{signed(order)}", headers=key) as answer:
                assert answer.status == 200
                assert (answer.headers["X-MBX-ORDER-COUNT-10S"], answer.headers["X-MBX-ORDER-COUNT-1M"]) == ("1", "1")
                assert answer.headers["X-MBX-USED-WEIGHT-1M"] == "0"
            async with http.get(f"{simex.rest}/fapi/v1/openOrders?{signed('')}", headers=key) as answer:
                assert "X-MBX-ORDER-COUNT-10S" not in answer.headers
                assert answer.headers["X-MBX-USED-WEIGHT-1M"] == "40"
            async with http.get(f"{simex.rest}/fapi/v1/exchangeInfo") as answer:
                limits = (await answer.json())["rateLimits"]
    assert {row["limit"] for row in limits} == {2400, 1200, 1000}


async def test_more_streams_than_a_connection_may_have_are_refused_in_the_url_too() -> None:
    names = "/".join(f"s{number}usdt@aggTrade" for number in range(1025))
    with running() as simex:
        async with asyncio.timeout(30):
            async with connect(f"{simex.ws}/market/stream?streams={names.rpartition('/')[0]}", compression=None):
                pass
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"{simex.ws}/market/stream?streams={names}", compression=None)
            assert refused.value.response.status_code == 400


async def test_a_flooding_client_is_closed_and_in_the_end_banned() -> None:
    with running() as simex:
        async with asyncio.timeout(60):
            attempts = 0
            while attempts < 60:
                attempts += 1
                try:
                    async with connect(f"{simex.ws}/public/ws", compression=None, max_queue=None) as socket:
                        try:
                            for number in range(40):
                                await socket.send(f'{{"method":"LIST_SUBSCRIPTIONS","id":{number}}}')
                            await socket.wait_closed()
                        except ConnectionClosed:
                            pass
                        assert socket.close_code == 1008
                except InvalidStatus as error:
                    assert error.response.status_code == 418
                    break
            assert attempts > 5, "a warning comes before the ban"
