"""Amendments, batches, the dead man's switch and conditional orders over real HTTP and the private stream."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from yarl import URL

from simex.core.exchange import ROUTES as CORE_ROUTES
from simex.server.open_rules import NAMES, change_rules, read_rules
from simex.server.routes import ROUTES
from tests.simex.running import ROOT, Running, running, signed

KEY = {"X-MBX-APIKEY": "simex"}
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def simex() -> Iterator[Running]:
    with running("--seed", "5", "--weight-limit", "100000", "--countdown-cancels-algos") as started:
        yield started


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers=KEY) as session:
        yield session


async def call(
    http: aiohttp.ClientSession, simex: Running, method: str, name: str, query: str
) -> tuple[int, Any, dict[str, str]]:
    url = URL(f"{simex.rest}/fapi/v1/{name}?{signed(query)}", encoded=True)  # the signed bytes as they are
    async with http.request(method, url) as answer:
        return answer.status, await answer.json(), dict(answer.headers)


async def done(http: aiohttp.ClientSession, simex: Running, method: str, name: str, query: str) -> Any:
    status, body, _ = await call(http, simex, method, name, query)
    assert status == 200, body
    return body


async def admin(http: aiohttp.ClientSession, simex: Running, name: str, body: object) -> Any:
    async with http.post(f"{simex.rest}/admin/{name}", json=body) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def bid(http: aiohttp.ClientSession, simex: Running) -> Decimal:
    async with http.get(f"{simex.rest}/fapi/v1/ticker/bookTicker?symbol=BTCUSDT") as answer:
        return Decimal((await answer.json())["bidPrice"])


@pytest.fixture
async def stream(http: aiohttp.ClientSession, simex: Running) -> AsyncIterator[ClientConnection]:
    async with http.post(f"{simex.rest}/fapi/v1/listenKey") as answer:
        key = (await answer.json())["listenKey"]
    async with connect(f"{simex.ws}/private/ws?listenKey={key}") as socket:
        yield socket


async def heard(stream: ClientConnection, client_id: str, last: str) -> list[str]:
    """What the stream says of one client id, up to `last`: executions of orders, states of algo orders."""
    seen: list[str] = []
    async with asyncio.timeout(PATIENCE_S):
        while last not in seen:
            event = json.loads(await stream.recv())
            about = event.get("o", {})
            if event["e"] == "ORDER_TRADE_UPDATE" and about["c"] == client_id:
                seen.append(f"O {about['x']}")
            if event["e"] == "ALGO_UPDATE" and about["caid"] == client_id:
                seen.append(f"A {about['X']}")
    return seen


async def test_an_amendment_is_announced_and_remembered(
    http: aiohttp.ClientSession, simex: Running, stream: ClientConnection
) -> None:
    price = round(await bid(http, simex) * Decimal("0.98"))
    order = "symbol=BTCUSDT&side=BUY&quantity=0.010"
    await done(http, simex, "POST", "order", f"{order}&type=LIMIT&timeInForce=GTC&price={price}&newClientOrderId=am-1")
    changed = await done(http, simex, "PUT", "order", f"{order}&price={price - 5}&origClientOrderId=am-1&modifyId=42")
    assert changed["modifyId"] == 42
    assert Decimal(changed["price"]) == price - 5
    assert await heard(stream, "am-1", "O AMENDMENT") == ["O NEW", "O AMENDMENT"]
    rows = await done(http, simex, "GET", "orderAmendment", "symbol=BTCUSDT&origClientOrderId=am-1")
    assert [row["amendment"]["modifyId"] for row in rows] == [42]
    status, body, _ = await call(http, simex, "PUT", "order", f"{order}&price={price - 5}&origClientOrderId=am-1")
    assert (status, body["code"]) == (400, -5027)


async def test_a_batch_is_answered_item_by_item_and_counts_five_and_one(
    http: aiohttp.ClientSession, simex: Running
) -> None:
    price = round(await bid(http, simex) * Decimal("0.98"))
    item = {
        "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.010",
        "price": str(price),
    }  # fmt: skip
    items = [item | {"newClientOrderId": "ba-1"}, item | {"quantity": "0"}, item | {"newClientOrderId": "ba-2"}]
    text = quote(json.dumps(items, separators=(",", ":")))
    deadline = time.monotonic() + PATIENCE_S
    while True:  # both windows must be the same before and after
        single = f"symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.010&price={price}"
        _, _, before = await call(http, simex, "POST", "order", single)
        status, rows, after = await call(http, simex, "POST", "batchOrders", f"batchOrders={text}")
        assert status == 200
        grown = [int(after[name]) - int(before[name]) for name in ("X-MBX-ORDER-COUNT-10S", "X-MBX-ORDER-COUNT-1M")]
        if min(grown) > 0 or time.monotonic() > deadline:
            break
        await done(http, simex, "DELETE", "allOpenOrders", "symbol=BTCUSDT")
    assert grown == [5, 1]
    assert [row.get("code", row.get("status")) for row in rows] == ["NEW", -4003, "NEW"]
    names = quote('["ba-1","ba-2","ba-3"]')
    gone = await done(http, simex, "DELETE", "batchOrders", f"symbol=BTCUSDT&origClientOrderIdList={names}")
    assert [row.get("code", row.get("status")) for row in gone] == ["CANCELED", "CANCELED", -2011]


async def test_a_closing_stop_follows_the_market_over_its_trigger(
    http: aiohttp.ClientSession, simex: Running, stream: ClientConnection
) -> None:
    await done(http, simex, "POST", "order", "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.020")
    trigger = round(await bid(http, simex) * Decimal("0.99"))
    stop = f"algoType=CONDITIONAL&symbol=BTCUSDT&side=SELL&type=STOP_MARKET&triggerPrice={trigger}"
    stop += "&closePosition=true&workingType=CONTRACT_PRICE&clientAlgoId=st-1"
    placed = await done(http, simex, "POST", "algoOrder", stop)
    assert (placed["algoStatus"], placed["timeInForce"]) == ("NEW", "GTE_GTC")
    status, body, _ = await call(http, simex, "POST", "algoOrder", stop.replace("st-1", "st-2"))
    assert (status, body["code"]) == (400, -4130)
    assert [row["algoId"] for row in await done(http, simex, "GET", "openAlgoOrders", "")] == [placed["algoId"]]
    await admin(http, simex, "market", {"symbol": "BTCUSDT", "move_bps": -150})
    said = await heard(stream, "st-1", "A FINISHED")
    assert [what for what in said if what != "O TRADE"] == [
        "A NEW", "A TRIGGERING", "A TRIGGERED", "O NEW", "A FINISHED",
    ]  # fmt: skip
    assert "O TRADE" in said
    found = await done(http, simex, "GET", "algoOrder", "clientAlgoId=st-1")
    order = await done(http, simex, "GET", "order", f"symbol=BTCUSDT&orderId={found['actualOrderId']}")
    assert (order["status"], order["origType"], order["executedQty"]) == ("FILLED", "STOP_MARKET", "0.020")
    assert await done(http, simex, "GET", "openAlgoOrders", "symbol=BTCUSDT") == []


async def test_the_dead_mans_switch_acts_by_the_servers_clock(
    http: aiohttp.ClientSession, simex: Running, stream: ClientConnection
) -> None:
    top = await bid(http, simex)
    price, trigger = round(top * Decimal("0.98")), round(top * Decimal("0.9"))
    await done(
        http, simex, "POST", "order",
        f"symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.010&price={price}&newClientOrderId=cd-1",
    )  # fmt: skip
    await done(
        http, simex, "POST", "algoOrder",
        f"algoType=CONDITIONAL&symbol=BTCUSDT&side=SELL&type=STOP_MARKET&triggerPrice={trigger}&quantity=0.010"
        "&clientAlgoId=cd-2",
    )  # fmt: skip
    reply = await done(http, simex, "POST", "countdownCancelAll", "symbol=BTCUSDT&countdownTime=300")
    assert reply == {"symbol": "BTCUSDT", "countdownTime": "300"}
    assert await heard(stream, "cd-1", "O CANCELED") == ["O NEW", "O CANCELED"]
    assert await heard(stream, "cd-2", "A CANCELED") == ["A CANCELED"], "this exchange was told to take them along"


async def test_rules_change_at_run_time_and_a_wrong_one_is_refused_by_name(
    http: aiohttp.ClientSession, simex: Running
) -> None:
    changed = await admin(http, simex, "rules", {"trade_lite": False, "gtd_end": "CANCELED"})
    assert (changed["rules"]["trade_lite"], changed["rules"]["gtd_end"]) == (False, "CANCELED")
    assert changed["rules"]["countdown_cancels_algos"] is True
    for wrong, words in (({"x": 1}, "no rule"), ({"gtd_end": "GONE"}, "one of"), ({"trade_lite": 1}, "true or false")):
        async with http.post(f"{simex.rest}/admin/rules", json=wrong) as answer:
            assert answer.status == 400
            assert words in (await answer.json())["error"]
    await admin(http, simex, "rules", {"trade_lite": True, "gtd_end": "EXPIRED"})


def test_rules_are_read_from_texts_and_bad_ones_named() -> None:
    rules = read_rules(["trade-lite=false", "trigger_delay_ms=250", "reduce-only-conflict=-4118"])
    assert (rules.trade_lite, rules.trigger_delay_ms, rules.reduce_only_conflict) == (False, 250, -4118)
    for text, words in (
        ("trade-lite", "NAME=VALUE"),
        ("trade-lite=1", "true or false"),
        ("trigger-delay-ms=-1", "whole number"),
        ("trigger-delay-ms=true", "whole number"),
        ("gtd-end=", "one of EXPIRED, CANCELED"),
        ("reduce-only-conflict=-1", "one of"),
    ):
        with pytest.raises(ValueError, match=words):
            read_rules([text])
    assert set(NAMES) >= {"trade_lite", "countdown_cancels_algos"}
    assert change_rules(rules, {}) == rules


def test_every_rule_is_explained_to_the_reader() -> None:
    page = (ROOT / "docs" / "simex.md").read_text()
    assert [name for name in NAMES if f"| `{name}` |" not in page] == []


COSTS: dict[tuple[str, str], tuple[int, int, bool]] = {
    ("POST", "order"): (0, 0, True),
    ("PUT", "order"): (0, 0, True),
    ("GET", "order"): (1, 1, False),
    ("DELETE", "order"): (1, 1, False),
    ("POST", "batchOrders"): (5, 5, True),
    ("PUT", "batchOrders"): (5, 5, True),
    ("DELETE", "batchOrders"): (1, 1, False),
    ("DELETE", "allOpenOrders"): (1, 1, False),
    ("POST", "countdownCancelAll"): (10, 10, False),
    ("GET", "openOrder"): (1, 1, False),
    ("GET", "openOrders"): (1, 40, False),
    ("GET", "allOrders"): (5, 5, False),
    ("GET", "orderAmendment"): (1, 1, False),
    ("POST", "algoOrder"): (0, 0, True),
    ("GET", "algoOrder"): (1, 1, False),
    ("DELETE", "algoOrder"): (1, 1, False),
    ("DELETE", "algoOpenOrders"): (1, 1, False),
    ("GET", "openAlgoOrders"): (1, 40, False),
    ("GET", "allAlgoOrders"): (5, 5, False),
    ("GET", "forceOrders"): (20, 50, False),
    ("GET", "userTrades"): (5, 5, False),
}
"""(weight with symbol, without, counts to ORDERS): section 4.1 of the protocol reference."""


@pytest.mark.parametrize("endpoint", COSTS)
def test_every_order_endpoint_is_served_and_costs_what_is_documented(endpoint: tuple[str, str]) -> None:
    method, name = endpoint
    key = (method, f"/fapi/v1/{name}")
    assert key in CORE_ROUTES
    route = ROUTES[key]
    assert (route.weight({"symbol": "BTCUSDT"}), route.weight({}), route.orders) == COSTS[endpoint]
