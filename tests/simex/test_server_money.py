"""Money over real sockets: an account that is liquidated hears of it; by hand, too. (The market has liquidations of its
own, and the public streams show the largest of a second: they are tested without sockets.)"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.simex.running import Running, running, signed

KEY = {"X-MBX-APIKEY": "simex"}
DEADLINE_S = 60


@pytest.fixture(scope="module")
def simex() -> Iterator[Running]:
    with running("--seed", "5", "--weight-limit", "1000000") as started:
        yield started


async def ask(http: aiohttp.ClientSession, simex: Running, method: str, path: str, query: str = "") -> Any:
    async with http.request(method, f"{simex.rest}{path}?{signed(query)}", headers=KEY) as answer:
        body = await answer.json()
        assert answer.status == 200, body
        return body


async def admin(http: aiohttp.ClientSession, simex: Running, action: str, **body: Any) -> tuple[int, Any]:
    async with http.post(f"{simex.rest}/admin/{action}", json=body) as answer:
        return answer.status, await answer.json()


async def until(socket: ClientConnection, wanted: str) -> list[Any]:
    """Events up to the first whose kind (and order state or reason) is `wanted`."""
    events: list[Any] = []
    while not events or kind(events[-1]) != wanted:
        events.append(json.loads(await socket.recv()))
    return events


def kind(event: Any) -> str:
    detail = event["o"]["x"] if event["e"] == "ORDER_TRADE_UPDATE" else event.get("a", {}).get("m", "")
    return f"{event['e']} {detail}".strip()


async def private(http: aiohttp.ClientSession, simex: Running) -> str:
    async with http.post(f"{simex.rest}/fapi/v1/listenKey", headers=KEY) as answer:
        return f"{simex.ws}/private/ws/{(await answer.json())['listenKey']}"


async def test_a_fall_of_the_market_liquidates_and_the_account_hears_of_it(
    http: aiohttp.ClientSession, simex: Running
) -> None:
    await admin(http, simex, "account", account="simex", balances={"USDT": "120"})
    await ask(http, simex, "POST", "/fapi/v1/leverage", "symbol=BTCUSDT&leverage=100")
    async with connect(await private(http, simex)) as own, asyncio.timeout(DEADLINE_S):
        await ask(http, simex, "POST", "/fapi/v1/order", "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.050")
        await admin(http, simex, "market", symbol="BTCUSDT", move_bps=-500)
        events = await until(own, "ACCOUNT_UPDATE INSURANCE_CLEAR")
        kinds = [kind(event) for event in events]
        assert "MARGIN_CALL" in kinds
        assert "ORDER_TRADE_UPDATE CALCULATED" in kinds
    (closed,) = await ask(http, simex, "GET", "/fapi/v1/forceOrders", "symbol=BTCUSDT")
    assert closed["clientOrderId"].startswith("autoclose-")
    assert (closed["side"], closed["status"], closed["executedQty"]) == ("SELL", "FILLED", "0.050")
    assert await ask(http, simex, "GET", "/fapi/v3/positionRisk") == []
    (balance, *_) = await ask(http, simex, "GET", "/fapi/v3/balance")
    assert 0 <= Decimal(balance["balance"]) < 120


async def test_administration_liquidates_and_deleverages_and_says_what_makes_no_sense(
    http: aiohttp.ClientSession, simex: Running
) -> None:
    await admin(http, simex, "account", account="simex", balances={"USDT": "10000"})
    await ask(http, simex, "POST", "/fapi/v1/order", "symbol=ETHUSDT&side=SELL&type=MARKET&quantity=1.000")
    async with connect(await private(http, simex)) as own, asyncio.timeout(DEADLINE_S):
        status, body = await admin(http, simex, "deleverage", account="simex", symbol="ETHUSDT", qty="0.400")
        assert (status, [row["amount"] for row in body["positions"]]) == (200, ["-0.6"])
        update = (await until(own, "ORDER_TRADE_UPDATE CALCULATED"))[-1]["o"]
        assert (update["c"], update["S"], update["l"]) == ("adl_autoclose", "BUY", "0.400")
        status, body = await admin(http, simex, "liquidate", account="simex", symbol="ETHUSDT")
        assert (status, body["positions"]) == (200, [])
        update = (await until(own, "ORDER_TRADE_UPDATE CALCULATED"))[-1]["o"]
        assert (update["c"][:10], update["S"], update["X"]) == ("autoclose-", "BUY", "FILLED")
    for action, body, words in (
        ("liquidate", {"account": "nobody", "symbol": "ETHUSDT"}, "account must be one of simex"),
        ("liquidate", {"account": "simex", "symbol": "X"}, "symbol must be one of"),
        ("liquidate", {"account": "simex", "symbol": "ETHUSDT"}, "no position in ETHUSDT"),
        ("deleverage", {"account": "simex", "symbol": "ETHUSDT", "side": "UP"}, "side must be"),
        ("deleverage", {"account": "simex", "symbol": "ETHUSDT", "qty": "much"}, "qty must be a decimal number"),
        ("account", {"account": "simex", "balances": {"USDT": "1"}, "reason": "LUCK"}, "'LUCK'"),
    ):
        status, answer = await admin(http, simex, action, **body)
        assert status == 400, answer
        assert words in answer["error"]


async def test_a_keys_rights_are_asked_with_a_signature(http: aiohttp.ClientSession, simex: Running) -> None:
    rights = await ask(http, simex, "GET", "/sapi/v1/account/apiRestrictions")
    assert (rights["enableFutures"], rights["enableWithdrawals"], rights["ipRestrict"]) == (True, False, False)
    async with http.get(f"{simex.rest}/sapi/v1/account/apiRestrictions", headers=KEY) as unsigned:
        assert (unsigned.status, (await unsigned.json())["code"]) == (400, -1102)
