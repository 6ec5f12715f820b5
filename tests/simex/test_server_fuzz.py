"""Whatever is sent to the HTTP side, it is answered as the exchange answers: never a 500, always JSON, and it lives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from random import Random
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from simex.server.chaos.kinds import KINDS
from simex.server.parameters import parameters
from simex.server.routes import ROUTES
from tests.simex.running import Running, running, signed

NAMES = (
    "symbol", "pair", "side", "type", "timeInForce", "quantity", "price", "newClientOrderId", "orderId", "limit",
    "origClientOrderId", "interval", "startTime", "endTime", "fromId", "leverage", "marginType", "dualSidePosition",
    "positionSide", "reduceOnly", "newOrderRespType", "contractType", "incomeType", "recvWindow", "goodTillDate",
    "selfTradePreventionMode", "priceMatch", "closePosition", "multiAssetsMargin", "stopPrice", "batchOrders",
    "algoType", "triggerPrice", "clientAlgoId", "countdownTime", "orderIdList", "period", "page", "callbackRate",
)  # fmt: skip
VALUES = (
    "BTCUSDT", "ETHUSDT", "NOPE", "BUY", "SELL", "LIMIT", "MARKET", "STOP", "GTC", "IOC", "FOK", "GTX", "GTD", "BOTH",
    "LONG", "true", "false", "RESULT", "ACK", "1m", "1M", "ISOLATED", "CROSSED", "PERPETUAL", "0", "1", "-1", "7",
    "0.01", "1000", "90000", "91000.1", "1e5", "NaN", "Infinity", "-0", "0.000000000000000000000000000001", "9" * 30,
    "9" * 400, "1795132800000", "99999999999999999999", " ", "ß", "测试", "\x00",
    "'", '"', "[]", '[{"symbol":"BTCUSDT"}]', "%",
    "%zz", "OPPONENT", "EXPIRE_MAKER", "a" * 36, "a" * 37, "null", "None", "1,000", "+1", "１２",
)  # fmt: skip
REQUESTS = 1500


@pytest.fixture(scope="module")
def simex() -> Iterator[Running]:
    with running("--weight-limit", "100000000") as started:
        yield started


def likely(dice: Random, schema: dict[str, Any]) -> str:
    """A value that the schema allows, or nearly."""
    if "enum" in schema:
        return str(dice.choice(schema["enum"]))
    if schema["type"] == "integer":
        return str(dice.randint(schema.get("minimum", 0), min(schema.get("maximum", 10**6), 10**6)))
    return dice.choice(("BTCUSDT", "0.01", "90000", "88000.1", "a-1", '[{"symbol":"BTCUSDT","side":"BUY"}]', "[1,2]"))


def random_query(dice: Random, method: str, path: str) -> str:
    """Some parameters with some values, mostly encoded, sometimes raw or twice."""
    known = parameters(method, path)
    if known and dice.random() < 0.6:
        pairs = [
            (name, likely(dice, schema) if dice.random() < 0.85 else dice.choice(VALUES))
            for name, needed, schema in known
            if needed or dice.random() < 0.4
        ]
        return "&".join(f"{name}={quote(value)}" for name, value in pairs)
    names = dice.sample(NAMES, dice.randint(0, 8))
    if dice.random() < 0.7:
        names = ["symbol", *names]
    pairs = [(name, "BTCUSDT" if name == "symbol" and dice.random() < 0.6 else dice.choice(VALUES)) for name in names]
    return "&".join(
        f"{name}={quote(value) if dice.random() < 0.97 else quote(value, safe='%')}" for name, value in pairs
    )


async def test_random_requests_to_every_route_get_an_answer_of_the_exchange(simex: Running, seed: int) -> None:
    dice = Random(seed)
    routes = [*ROUTES, ("GET", "/"), ("PATCH", "/fapi/v1/order"), ("GET", "/fapi/v1/%2e%2e/order")]
    async with aiohttp.ClientSession() as http, asyncio.timeout(100):
        for _ in range(REQUESTS):
            method, path = dice.choice(routes)
            query = random_query(dice, method, path)
            if dice.random() < 0.8:
                query = signed(query)
            in_body = method != "GET" and dice.random() < 0.4
            url = f"{simex.rest}{path}" + ("" if in_body or not query else f"?{query}")
            headers = {"X-MBX-APIKEY": dice.choice(["simex", "simex", "simex", "other", "ü"])}
            if in_body:
                headers["Content-Type"] = "application/x-www-form-urlencoded"
            target = url if "%" not in url else URL(url, encoded=True)
            async with http.request(method, target, data=query if in_body else None, headers=headers) as answer:
                body = await answer.read()
                assert answer.status in (200, 400, 401, 404, 429), (method, url, answer.status, body[:200])
                json.loads(body)
        async with http.get(f"{simex.rest}/fapi/v1/ping") as answer:
            assert answer.status == 200


ODD: tuple[Any, ...] = (
    None, True, 0, -1, 7, 1.5, 10**30, "", "simex", "BTCUSDT", "BUY", "x", "\x00", [], [1], {}, {"USDT": "5"},
    {"side": "BUY"}, "public", "0.01", "NaN", 1e308,
)  # fmt: skip


async def test_whatever_is_asked_of_the_administration_it_answers(simex: Running, seed: int) -> None:
    dice = Random(seed)
    state = {
        "account",
        "balances",
        "positions",
        "event",
        "symbol",
        "trade",
        "move_bps",
        "skew_ms",
        "route",
        "text",
        "id",
    }
    actions = ("state", "faults", "account", "user_event", "frame", "funding", "clock", "market", "chaos", "nothing")
    calm = {name for name in KINDS if name.startswith(("depth", "stream", "user", "foreign", "filters", "moved"))}
    async with aiohttp.ClientSession() as http, asyncio.timeout(100):
        for _ in range(400):
            action = dice.choice(actions)
            if action == "faults" and dice.random() < 0.7:
                kind = dice.choice(sorted(calm))
                fields = [*KINDS[kind].fields, "count", "for_s"]
                body: Any = {"fault": kind, **{name: dice.choice(ODD) for name in dice.sample(fields, 2)}}
                body |= {
                    name: dice.choice(("BTCUSDT", "BUY", 5, "0.01", True)) for name in KINDS[kind].needs - set(body)
                }
            elif action == "clock":
                body = {"skew_ms": dice.choice((0, None, "x", [], 1.5))}
            else:
                body = {name: dice.choice(ODD) for name in dice.sample(sorted(state | {"seed", "level", "at_s"}), 4)}
                body.pop("level", None)
            data = json.dumps(dice.choice((body, body, body, [body], dice.choice(ODD))))
            method = dice.choice(("POST", "POST", "DELETE"))
            async with http.request(method, f"{simex.rest}/admin/{action}", data=data) as answer:
                said = await answer.text()
                assert answer.status in (200, 400, 404), (action, data, said)
                json.loads(said)
        async with http.delete(f"{simex.rest}/admin/chaos") as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /fapi/v1/ping HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01",
        b"GET " + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /fapi/v1/order HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab",
        b"GET /public/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ],
    ids=["version", "TLS hello", "long line", "half a body", "handshake without a key"],
)  # fmt: skip
async def test_broken_requests_do_not_end_the_server(raw: bytes, simex: Running) -> None:
    host, _, port = simex.rest.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(raw)
    writer.write_eof()
    async with asyncio.timeout(15):
        answer = await reader.read(4000)
    assert b" 500 " not in answer[:20]
    writer.close()
    async with aiohttp.ClientSession() as http, http.get(f"{simex.rest}/fapi/v1/ping") as alive:
        assert alive.status == 200
