"""Faults switched on over real sockets, each seen by a client from outside."""

from __future__ import annotations

import asyncio
import json
import socket as sockets
import time
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.simex.running import Running, running, signed

KEY = {"X-MBX-APIKEY": "simex"}


@pytest.fixture(scope="module")
def simex() -> Iterator[Running]:
    with running("--seed", "3", "--weight-limit", "1000000") as started:
        yield started


@pytest.fixture
async def http(simex: Running) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session
        async with session.delete(f"{simex.rest}/admin/faults") as answer:
            assert answer.status == 200


async def switch(http: aiohttp.ClientSession, simex: Running, **fault: Any) -> Any:
    async with http.post(f"{simex.rest}/admin/faults", json=fault) as answer:
        assert answer.status == 200, await answer.text()
        return (await answer.json())["faults"][0]


async def events(socket: ClientConnection, count: int) -> list[Any]:
    return [json.loads(await socket.recv()) for _ in range(count)]


def breaks(got: list[Any]) -> int:
    return sum(later["pu"] != earlier["u"] for earlier, later in pairwise(got))


@pytest.mark.parametrize(
    ("kind", "extra", "expected_breaks"),
    [
        ("depth_drop", {}, 1),
        ("depth_duplicate", {}, 1),
        ("depth_reorder", {}, 3),
        ("depth_delay", {"delay_ms": 250}, 3),
    ],
)
async def test_each_depth_fault_breaks_the_chain_as_named(
    kind: str, extra: dict[str, int], expected_breaks: int, http: aiohttp.ClientSession, simex: Running
) -> None:
    async with connect(f"{simex.ws}/public/ws/btcusdt@depth@100ms", compression=None) as socket, asyncio.timeout(20):
        assert breaks(await events(socket, 5)) == 0
        await switch(http, simex, fault=kind, symbol="BTCUSDT", nth=3, **extra)
        got = await events(socket, 12)
    assert breaks(got) == expected_breaks
    ids = [event["u"] for event in got]
    if kind == "depth_duplicate":
        assert len(ids) - len(set(ids)) == 1
    elif kind != "depth_drop":
        repaired = sorted(got, key=lambda event: event["u"])
        assert breaks(repaired) == 0, "late, not lost"
        assert ids != sorted(ids)


async def test_a_depth_fault_of_one_symbol_leaves_the_others_alone(http: aiohttp.ClientSession, simex: Running) -> None:
    url = f"{simex.ws}/public/stream?streams=btcusdt@depth@100ms/ethusdt@depth@100ms"
    async with connect(url, compression=None) as socket, asyncio.timeout(20):
        await switch(http, simex, fault="depth_drop", symbol="ETHUSDT", share=0.5)
        got: dict[str, list[Any]] = {"BTCUSDT": [], "ETHUSDT": []}
        while len(got["ETHUSDT"]) < 12:
            event = json.loads(await socket.recv())["data"]
            got[event["s"]].append(event)
    assert breaks(got["BTCUSDT"]) == 0
    assert breaks(got["ETHUSDT"]) > 0


async def test_a_silenced_route_stays_open_says_nothing_and_comes_back(
    http: aiohttp.ClientSession, simex: Running
) -> None:
    async with (
        asyncio.timeout(20),
        connect(f"{simex.ws}/public/ws/btcusdt@depth@100ms", compression=None) as public,
        connect(f"{simex.ws}/market/ws/btcusdt@markPrice@1s", compression=None) as market,
    ):
        got = await events(public, 2)
        await switch(http, simex, fault="silent", route="public", for_s=2.5)
        began = before = time.monotonic()
        longest = 0.0
        while longest < 1.5:
            got += await events(public, 1)
            longest, before = max(longest, time.monotonic() - before), time.monotonic()
            assert before - began < 15, "the route never fell silent"
            if longest < 1.5:
                assert (await public.ping()) is not None
        assert (await events(market, 1))[0]["e"] == "markPriceUpdate"
        assert breaks(got) > 0, "what was said meanwhile is lost"


async def test_sockets_are_closed_with_a_code_or_cut(http: aiohttp.ClientSession, simex: Running) -> None:
    async with asyncio.timeout(20):
        for fault, code in (({"route": "public", "code": 1012}, 1012), ({"route": "public"}, None)):
            async with (
                connect(f"{simex.ws}/public/ws/btcusdt@depth@100ms", compression=None) as socket,
                connect(f"{simex.ws}/market/ws/btcusdt@markPrice@1s", compression=None) as other,
            ):
                await events(socket, 1)
                assert (await switch(http, simex, fault="close", **fault))["closed"] == 1
                with pytest.raises(ConnectionClosed) as ended:
                    await events(socket, 1000)
                assert (ended.value.rcvd.code if ended.value.rcvd else None) == code
                await events(other, 1)


async def place(http: aiohttp.ClientSession, simex: Running, name: str) -> tuple[int, Any]:
    """A resting order; (status, body), or (0, None) where the connection ended without an answer."""
    text = f"symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.010&price=88000&newClientOrderId={name}"
    try:
        async with http.post(f"{simex.rest}/fapi/v1/order?{signed(text)}", headers=KEY) as answer:
            return answer.status, await answer.json(content_type=None) if answer.status != 502 else None
    except aiohttp.ClientError:
        return 0, None


async def exists(http: aiohttp.ClientSession, simex: Running, name: str) -> bool:
    query = signed(f"symbol=BTCUSDT&origClientOrderId={name}")
    async with http.get(f"{simex.rest}/fapi/v1/order?{query}", headers=KEY) as answer:
        body = await answer.json()
        assert answer.status == 200 or body["code"] == -2013
        return answer.status == 200


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"fault": "reply_lost"}, 0, None),
        ({"fault": "reply_error", "variant": "503_unknown"}, 503, -1000),
        ({"fault": "reply_error", "variant": "408"}, 408, -1007),
        ({"fault": "reply_error", "variant": "502_html"}, 502, None),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_answer_lost_or_spoilt_before_or_after_the_order_was_accepted(
    when: str, fault: dict[str, str], status: int, code: int | None, http: aiohttp.ClientSession, simex: Running
) -> None:
    name = f"x-{when}-{status}-{time.time_ns() % 10**9}"
    await switch(http, simex, **fault, when=when, path="/fapi/v1/order", method="POST", count=1)
    got, body = await place(http, simex, name)
    assert (got, body and body["code"]) == (status, code)
    assert await exists(http, simex, name) == (when == "after")
    assert (await place(http, simex, name + "b"))[0] == 200, "one strike only"
    query = signed("symbol=BTCUSDT")
    async with http.delete(f"{simex.rest}/fapi/v1/allOpenOrders?{query}", headers=KEY) as answer:
        assert answer.status == 200


async def test_a_delayed_answer_comes_late_but_its_order_was_on_time(
    http: aiohttp.ClientSession, simex: Running
) -> None:
    await switch(http, simex, fault="reply_delay", path="/fapi/v1/order", method="POST", delay_ms=2500, count=1)
    began = time.monotonic()
    waiting = asyncio.create_task(place(http, simex, "slow-1"))
    while not await exists(http, simex, "slow-1"):
        assert not waiting.done()
    assert not waiting.done(), "the order is there before its answer"
    assert (await waiting)[0] == 200
    assert time.monotonic() - began >= 2.5


async def test_the_listen_key_expires_on_demand(http: aiohttp.ClientSession, simex: Running) -> None:
    async with http.post(f"{simex.rest}/fapi/v1/listenKey", headers=KEY) as answer:
        key = (await answer.json())["listenKey"]
    async with connect(f"{simex.ws}/private/ws?listenKey={key}") as socket, asyncio.timeout(10):
        assert (await switch(http, simex, fault="listen_key_expire"))["expired"] == 1
        assert (await events(socket, 1))[0]["e"] == "listenKeyExpired"
    async with http.put(f"{simex.rest}/fapi/v1/listenKey", headers=KEY) as answer:
        assert (await answer.json())["code"] == -1125


async def test_faults_are_listed_with_their_strikes_and_cleared_one_by_one(
    http: aiohttp.ClientSession, simex: Running
) -> None:
    one = await switch(http, simex, fault="reply_delay", path="/fapi/v1/ping", delay_ms=1)
    two = await switch(http, simex, fault="silent", stream="nobody@depth")
    async with http.get(f"{simex.rest}/fapi/v1/ping") as answer:
        assert answer.status == 200
    async with http.get(f"{simex.rest}/admin/faults") as answer:
        listed = (await answer.json())["faults"]
    assert [(row["id"], row["struck"]) for row in listed] == [(one["id"], 1), (two["id"], 0)]
    async with http.delete(f"{simex.rest}/admin/faults", json={"id": one["id"]}) as answer:
        assert await answer.json() == {"cleared": 1}
    async with http.post(f"{simex.rest}/admin/faults", json={"fault": "nonsense"}) as answer:
        assert answer.status == 400
        assert "nonsense" in (await answer.json())["error"]


async def test_the_key_expires_by_itself_at_the_end_of_its_life() -> None:
    with running("--listen-key-life", "1") as simex:
        async with aiohttp.ClientSession() as http, asyncio.timeout(15):
            async with http.post(f"{simex.rest}/fapi/v1/listenKey", headers=KEY) as answer:
                key = (await answer.json())["listenKey"]
            async with connect(f"{simex.ws}/private/ws/{key}") as socket:
                assert (await events(socket, 1))[0] == {
                    "e": "listenKeyExpired", "E": pytest.approx(time.time() * 1000, abs=5000), "listenKey": key,
                }  # fmt: skip


async def test_weight_limit_then_ban_over_http() -> None:
    with running("--weight-limit", "30") as simex:
        async with aiohttp.ClientSession() as http, asyncio.timeout(20):
            statuses: list[int] = []
            while 418 not in statuses:
                async with http.get(f"{simex.rest}/fapi/v1/depth?symbol=BTCUSDT&limit=1000") as answer:
                    statuses.append(answer.status)
                    last, headers = await answer.json(), answer.headers
                assert len(statuses) < 200
    assert statuses[0] == 200
    assert 429 in statuses
    assert last["code"] == -1003
    assert "banned until" in last["msg"]
    assert headers["Retry-After"] == "120"


async def test_a_reader_that_does_not_read_is_cut_off_and_others_are_not_disturbed() -> None:
    kinds = ("depth@0ms", "depth20@0ms", "depth20@100ms", "depth20@250ms", "depth@100ms")
    names = "/".join(f"s{number}usdt@{kind}" for number in range(20) for kind in kinds)
    symbols = ",".join(f"S{number}USDT" for number in range(20))
    with running("--symbols", symbols, "--buffer-bytes", "100000") as simex:
        where = urlsplit(simex.ws)
        with sockets.socket() as raw:
            raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
            raw.connect((where.hostname, where.port))
            raw.sendall(
                f"GET /public/stream?streams={names} HTTP/1.1\r\nHost: x\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            async with (
                asyncio.timeout(100),
                aiohttp.ClientSession() as http,
                connect(f"{simex.ws}/public/ws/s0usdt@depth@0ms", compression=None) as good,
            ):
                got = await events(good, 3)
                while True:
                    got += await events(good, 1)
                    async with http.get(f"{simex.rest}/admin/state") as answer:
                        held = (await answer.json())["connections"]
                    assert all(row["queued_bytes"] <= 100_000 for row in held)
                    if len(held) == 1:
                        break
                assert breaks(got) == 0


async def test_a_cut_depth_message_is_half_a_message(http: aiohttp.ClientSession, simex: Running) -> None:
    async with connect(f"{simex.ws}/public/ws/btcusdt@depth@100ms", compression=None) as socket, asyncio.timeout(20):
        await events(socket, 1)
        await switch(http, simex, fault="depth_cut", symbol="BTCUSDT", nth=2)
        broken = []
        for _ in range(4):
            text = str(await socket.recv())
            try:
                json.loads(text)
            except json.JSONDecodeError:
                broken.append(text)
    assert len(broken) == 1
    assert broken[0].startswith('{"e":"depthUpdate"')


async def test_a_field_of_a_depth_message_is_set_or_left_out(http: aiohttp.ClientSession, simex: Running) -> None:
    async with connect(f"{simex.ws}/public/ws/btcusdt@depth@100ms", compression=None) as socket, asyncio.timeout(20):
        await events(socket, 1)
        await switch(http, simex, fault="depth_set", symbol="BTCUSDT", nth=1, field="b", value=[["-1", "x"]])
        await switch(http, simex, fault="depth_set", symbol="BTCUSDT", nth=1, field="pu")
        got = await events(socket, 6)
    assert [event["b"] for event in got].count([["-1", "x"]]) == 1
    assert ["pu" in event for event in got].count(False) == 1
    async with http.post(f"{simex.rest}/admin/faults", json={"fault": "depth_set", "value": 1}) as answer:
        assert answer.status == 400


async def test_an_answer_becomes_any_text_before_or_after_it_took_effect(
    http: aiohttp.ClientSession, simex: Running
) -> None:
    await switch(http, simex, fault="reply_body", path="/fapi/v1/time", count=1, body='{"serverT')
    await switch(http, simex, fault="reply_body", path="/fapi/v1/ping", count=1, body="<html></html>", status=418)
    async with http.get(f"{simex.rest}/fapi/v1/time") as answer:
        assert (answer.status, await answer.text()) == (200, '{"serverT')
    async with http.get(f"{simex.rest}/fapi/v1/ping") as answer:
        assert (answer.status, answer.content_type, await answer.text()) == (418, "text/html", "<html></html>")
    async with http.post(f"{simex.rest}/admin/faults", json={"fault": "reply_body", "body": 1}) as answer:
        assert answer.status == 400
        assert "body must be a text" in await answer.text()
    async with http.get(f"{simex.rest}/fapi/v1/time") as answer:
        assert "serverTime" in await answer.json()


async def test_any_frame_reaches_the_sockets_of_its_route_only(http: aiohttp.ClientSession, simex: Running) -> None:
    async with (
        asyncio.timeout(20),
        connect(f"{simex.ws}/public/ws/ethusdt@trade", compression=None) as public,
        connect(f"{simex.ws}/market/ws/btcusdt@markPrice@1s", compression=None) as market,
    ):
        async with http.post(f"{simex.rest}/admin/frame", json={"route": "public", "text": '{"half'}) as answer:
            assert await answer.json() == {"route": "public", "sent": 1}
        seen = ""
        while seen != '{"half':
            seen = str(await public.recv())
        assert (await events(market, 1))[0]["e"] == "markPriceUpdate"
        for wrong in ({"route": "nowhere", "text": ""}, {"route": "public", "text": 1}):
            async with http.post(f"{simex.rest}/admin/frame", json=wrong) as answer:
                assert answer.status == 400
