"""Whatever is sent to the HTTP side, it is answered as the exchange answers: never a 500, always JSON, and it lives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from random import Random
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from simex.server.routes import ROUTES
from tests.simex.running import Running, running, signed

NAMES = (
    "symbol", "pair", "side", "type", "timeInForce", "quantity", "price", "newClientOrderId", "orderId", "limit",
    "origClientOrderId", "interval", "startTime", "endTime", "fromId", "leverage", "marginType", "dualSidePosition",
    "positionSide", "reduceOnly", "newOrderRespType", "contractType", "incomeType", "recvWindow", "goodTillDate",
    "selfTradePreventionMode", "priceMatch", "closePosition", "multiAssetsMargin", "stopPrice", "batchOrders",
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


def random_query(dice: Random) -> str:
    """Some parameters with some values, mostly encoded, sometimes raw or twice."""
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
            query = random_query(dice)
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
