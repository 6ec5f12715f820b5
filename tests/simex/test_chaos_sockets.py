"""Faults of sockets, doors, keys and the exchange itself, each seen by a client from outside."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from simex.server.chaos import draw
from simex.server.chaos.draw import Setting
from tests.simex.running import Running, running, signed
from tests.waiting import pause

KEY = {"X-MBX-APIKEY": "simex"}
DEPTH = "/public/ws/btcusdt@depth@100ms"


@pytest.fixture(scope="module")
def simex() -> Iterator[Running]:
    with running("--seed", "3", "--weight-limit", "1000000") as started:
        yield started


@pytest.fixture
async def http(simex: Running) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session
        async with session.delete(f"{simex.rest}/admin/chaos") as answer:
            assert answer.status == 200


@pytest.fixture
async def admin(http: aiohttp.ClientSession) -> AsyncIterator[aiohttp.ClientSession]:
    """A session of its own: `cut_all` spares the connections that administer."""
    async with aiohttp.ClientSession() as session:
        yield session


async def switch(admin: aiohttp.ClientSession, simex: Running, expect: int = 200, **fault: Any) -> Any:
    async with admin.post(f"{simex.rest}/admin/faults", json=fault) as answer:
        assert answer.status == expect, await answer.text()
        return (await answer.json())["faults"][0] if expect == 200 else await answer.json()


async def report(admin: aiohttp.ClientSession, simex: Running, since: int = 0) -> Any:
    async with admin.get(f"{simex.rest}/admin/chaos?since={since}") as answer:
        assert answer.status == 200
        return await answer.json()


async def ended(admin: aiohttp.ClientSession, simex: Running, number: int) -> dict[str, Any]:
    """The log's row of a fault's end."""
    async with asyncio.timeout(30):
        while True:
            for row in (await report(admin, simex))["log"]:
                if row["what"] == "end" and row["id"] == number:
                    return dict(row)
            await pause(0.02)


async def told(admin: aiohttp.ClientSession, simex: Running, enough: Callable[[Any], bool], since: int = 0) -> Any:
    """The report, as soon as it says enough."""
    async with asyncio.timeout(30):
        while True:
            now = await report(admin, simex, since)
            if enough(now):
                return now
            await pause(0.05)


async def event(socket: ClientConnection) -> Any:
    return json.loads(await socket.recv())


async def get(http: aiohttp.ClientSession, simex: Running, path: str, query: str = "") -> Any:
    async with http.get(f"{simex.rest}{path}?{signed(query)}", headers=KEY) as answer:
        return await answer.json()


async def place(http: aiohttp.ClientSession, simex: Running, name: str, **more: str) -> tuple[int, Any]:
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.010",
             "price": "88000", "newClientOrderId": name} | more  # fmt: skip
    query = signed("&".join(f"{key}={value}" for key, value in order.items()))
    async with http.post(f"{simex.rest}/fapi/v1/order?{query}", headers=KEY) as answer:
        return answer.status, await answer.json()


@asynccontextmanager
async def private(http: aiohttp.ClientSession, simex: Running) -> AsyncIterator[ClientConnection]:
    async with http.post(f"{simex.rest}/fapi/v1/listenKey", headers=KEY) as answer:
        key = (await answer.json())["listenKey"]
    async with connect(f"{simex.ws}/private/ws?listenKey={key}", compression=None, max_queue=None) as socket:
        yield socket


def frames(data: bytes) -> tuple[list[int], int]:
    """The first byte of each whole frame, and how many bytes are left over."""
    kinds = []
    while len(data) >= 2:
        size, head = data[1], 2
        if size >= 126:
            head = 4 if size == 126 else 10
            size = int.from_bytes(data[2:head], "big")
        if len(data) < head + size:
            break
        kinds.append(data[0])
        data = data[head + size :]
    return kinds, len(data)


async def test_a_half_open_socket_neither_reads_nor_writes_and_then_everything_comes(
    http: aiohttp.ClientSession, admin: aiohttp.ClientSession, simex: Running
) -> None:
    async with (
        asyncio.timeout(40),
        connect(f"{simex.ws}{DEPTH}", compression=None, ping_interval=None, max_queue=None) as socket,
        connect(f"{simex.ws}/market/ws/btcusdt@markPrice@1s", compression=None, max_queue=None) as other,
    ):
        before = await event(socket)
        fault = await switch(admin, simex, fault="half_open", route="public", for_s=3)
        assert fault["frozen"] == 1
        try:
            async with asyncio.timeout(1.0):  # what was on its way already may still come
                while True:
                    before = await event(socket)
        except TimeoutError:
            pass
        pong = await socket.ping()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(pong), 0.5)
        assert (await event(other))["e"] == "markPriceUpdate", "the other route lives"
        await pong
        after = await event(socket)
        while after["u"] <= before["u"]:
            after = await event(socket)
        assert after["pu"] == before["u"], "nothing is lost: TCP had it"
    assert (await ended(admin, simex, fault["id"]))["why"] == "time"


async def test_a_dead_socket_stays_dead_while_new_ones_live(
    http: aiohttp.ClientSession, admin: aiohttp.ClientSession, simex: Running
) -> None:
    async with (
        asyncio.timeout(30),
        connect(f"{simex.ws}{DEPTH}", compression=None, ping_interval=None, max_queue=None) as socket,
    ):
        await event(socket)
        fault = await switch(admin, simex, fault="half_open", route="public", for_s=0.5, stay_dead=True)
        await ended(admin, simex, fault["id"])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                while True:
                    await event(socket)
        async with connect(f"{simex.ws}{DEPTH}", compression=None) as fresh:
            await event(fresh)
        socket.transport.abort()


async def test_tcp_ends_in_the_middle_of_a_frame(
    http: aiohttp.ClientSession, admin: aiohttp.ClientSession, simex: Running
) -> None:
    parts = simex.ws.removeprefix("ws://").split(":")
    reader, writer = await asyncio.open_connection(parts[0], int(parts[1]))
    async with asyncio.timeout(20):
        writer.write(
            b"GET /public/ws/btcusdt@depth@100ms HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert b"101" in await reader.readuntil(b"\r\n\r\n")
        came = await reader.read(2)
        assert (await switch(admin, simex, fault="frame_cut", route="public"))["closed"] == 1
        came += await reader.read(-1)
    writer.close()
    kinds, rest = frames(came)
    assert rest > 0, "half of a frame arrived"
    assert 0x88 not in kinds, "and no close frame"


async def test_bytes_trickle_until_the_end_of_the_fault(
    http: aiohttp.ClientSession, admin: aiohttp.ClientSession, simex: Running
) -> None:
    async with asyncio.timeout(30), connect(f"{simex.ws}{DEPTH}", compression=None, max_queue=None) as socket:
        await event(socket)
        fault = await switch(admin, simex, fault="drip", route="public", bytes=20, every_ms=100, for_s=2)
        began, last = time.monotonic(), await event(socket)
        while time.monotonic() - began < 1.0:
            got = await event(socket)
            assert got["pu"] == last["u"], "late, and whole"
            last = got
        slow = last["E"]
        assert time.time() * 1000 - slow > 300, "a message of 200 bytes takes a second"
        await ended(admin, simex, fault["id"])
        while time.time() * 1000 - last["E"] > 250:
            got = await event(socket)
            assert got["pu"] == last["u"]
            last = got


async def test_every_connection_is_cut_but_those_that_administer(
    http: aiohttp.ClientSession, admin: aiohttp.ClientSession, simex: Running
) -> None:
    parts = simex.rest.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(parts[0], int(parts[1]))
    async with (
        asyncio.timeout(20),
        connect(f"{simex.ws}{DEPTH}", compression=None, max_queue=None) as socket,
        connect(f"{simex.ws}/market/ws/btcusdt@aggTrade", compression=None, max_queue=None) as other,
    ):
        writer.write(b"GET /fapi/v1/ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" in await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(2)
        await report(admin, simex)
        assert (await switch(admin, simex, fault="cut_all"))["closed"] == 3
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        for one in (socket, other):
            with pytest.raises(ConnectionClosed):
                while True:
                    await one.recv()
    writer.close()


async def test_the_port_refuses_and_is_there_again(
    http: aiohttp.ClientSession, admin: aiohttp.ClientSession, simex: Running
) -> None:
    async with asyncio.timeout(30), connect(f"{simex.ws}{DEPTH}", compression=None, max_queue=None) as socket:
        await report(admin, simex)
        fault = await switch(admin, simex, fault="refuse", for_s=1)
        with pytest.raises(aiohttp.ClientConnectorError):
            async with aiohttp.ClientSession() as fresh:
                await fresh.get(f"{simex.rest}/fapi/v1/ping")
        await event(socket)
        await ended(admin, simex, fault["id"])
        while True:  # the port opens with the next turn of the server's loop
            try:
                async with aiohttp.ClientSession() as fresh, fresh.get(f"{simex.rest}/fapi/v1/ping") as answer:
                    assert answer.status == 200
                    break
            except aiohttp.ClientConnectorError:
                await pause(0.02)


async def test_a_handshake_is_answered_by_an_error(
    http: aiohttp.ClientSession, admin: aiohttp.ClientSession, simex: Running
) -> None:
    await switch(admin, simex, fault="handshake_error", route="market", status=502, count=1)
    async with asyncio.timeout(20):
        async with connect(f"{simex.ws}{DEPTH}", compression=None, max_queue=None) as socket:
            await event(socket)
        with pytest.raises(InvalidStatus) as answered:
            await connect(f"{simex.ws}/market/ws/btcusdt@aggTrade", compression=None)
        assert answered.value.response.status_code == 502
        async with connect(f"{simex.ws}/market/ws/btcusdt@markPrice@1s", compression=None, max_queue=None) as socket:
            await event(socket)


async def test_a_moved_stream_is_accepted_and_mute_until_it_comes_back(
    http: aiohttp.ClientSession, admin: aiohttp.ClientSession, simex: Running
) -> None:
    both, one = "btcusdt@depth@100ms/ethusdt@depth@100ms", "btcusdt@depth@100ms"
    async with (
        asyncio.timeout(40),
        connect(f"{simex.ws}/public/stream?streams={both}", compression=None, max_queue=None) as public,
        connect(f"{simex.ws}/market/stream?streams={one}", compression=None, max_queue=None) as market,
    ):
        fault = await switch(admin, simex, fault="moved", stream="btcusdt@depth*", to="market", for_s=3)
        assert (await event(market))["data"]["s"] == "BTCUSDT"
        names = set()
        async with connect(f"{simex.ws}/public/ws", compression=None) as late:
            await late.send('{"method":"SUBSCRIBE","params":["btcusdt@depth@100ms","ethusdt@depth@100ms"],"id":1}')
            assert await event(late) == {"result": None, "id": 1}
            names = {(await event(late))["s"] for _ in range(4)}
        assert names == {"ETHUSDT"}
        await ended(admin, simex, fault["id"])
        while (await event(public))["stream"] != "btcusdt@depth@100ms":
            pass


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"variant": "503_unavailable"}, 503, 0), ({"variant": "503_internal"}, 503, -1001),
        ({"variant": "503_throttled"}, 503, -1008), ({"variant": "400_unexpected"}, 400, -1006),
        ({"variant": "400_timestamp"}, 400, -1021), ({"variant": "429"}, 429, -1003),
        ({"variant": "429_orders"}, 429, -1015), ({"variant": "418", "for_s": 30}, 418, -1003),
        ({"variant": "401_key"}, 401, -2015), ({"variant": "400_listen_key"}, 400, -1125),
    ],
)  # fmt: skip
async def test_each_error_has_its_status_code_and_waiting_time(
    fault: dict[str, Any], status: int, code: int, admin: aiohttp.ClientSession, http: aiohttp.ClientSession,
    simex: Running,
) -> None:  # fmt: skip
    await switch(admin, simex, fault="reply_error", path="/fapi/v1/time", count=1, **fault)
    async with http.get(f"{simex.rest}/fapi/v1/time") as answer:
        assert (answer.status, (await answer.json())["code"]) == (status, code)
        if status in (418, 429):
            assert 1 <= int(answer.headers["Retry-After"]) <= 120
        if status == 418:
            until = int((await answer.json())["msg"].partition("until ")[2].partition(".")[0])
            assert 0 < until - time.time() * 1000 <= 30_000
    async with http.get(f"{simex.rest}/fapi/v1/time") as answer:
        assert answer.status == 200


@pytest.mark.parametrize("variant", ["200_html", "202_challenge", "403_html", "404_html", "502_html", "504_html"])
async def test_pages_come_instead_of_json(
    variant: str, admin: aiohttp.ClientSession, http: aiohttp.ClientSession, simex: Running
) -> None:
    await switch(admin, simex, fault="reply_error", path="/fapi/v1/time", count=1, variant=variant)
    async with http.get(f"{simex.rest}/fapi/v1/time") as answer:
        assert answer.status == int(variant[:3])
        assert answer.content_type == "text/html"
        assert "<html" in await answer.text()


async def test_half_a_json_a_cut_answer_and_a_slow_one(
    admin: aiohttp.ClientSession, http: aiohttp.ClientSession, simex: Running
) -> None:
    url = f"{simex.rest}/fapi/v1/exchangeInfo"
    await switch(admin, simex, fault="reply_truncate", path="/fapi/v1/exchangeInfo", count=1)
    async with http.get(url) as answer:
        text = await answer.text()
        assert answer.status == 200
        with pytest.raises(json.JSONDecodeError):
            json.loads(text)
    await switch(admin, simex, fault="reply_lost", when="during", path="/fapi/v1/exchangeInfo", count=1)
    with pytest.raises(aiohttp.ClientPayloadError):
        async with http.get(url) as answer:
            await answer.read()
    await switch(admin, simex, fault="reply_drip", path="/fapi/v1/time", bytes=5, every_ms=100, count=1)
    began = time.monotonic()
    async with http.get(f"{simex.rest}/fapi/v1/time") as answer:
        assert "serverTime" in await answer.json()
    assert time.monotonic() - began > 0.4


async def test_an_order_may_be_in_effect_though_its_answer_broke_off(
    admin: aiohttp.ClientSession, http: aiohttp.ClientSession, simex: Running
) -> None:
    await switch(admin, simex, fault="reply_lost", when="during", path="/fapi/v1/order", method="POST", count=1)
    with pytest.raises(aiohttp.ClientError):
        await place(http, simex, "during-1")
    found = await get(http, simex, "/fapi/v1/order", "symbol=BTCUSDT&origClientOrderId=during-1")
    assert found["status"] == "NEW"
    async with http.delete(f"{simex.rest}/fapi/v1/allOpenOrders?{signed('symbol=BTCUSDT')}", headers=KEY) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("kind", ["events_first", "replies_first"])
async def test_events_and_replies_come_in_the_order_that_was_asked_for(
    kind: str, admin: aiohttp.ClientSession, http: aiohttp.ClientSession, simex: Running
) -> None:
    name = f"{kind}-1"
    came: list[str] = []

    async def hear(socket: ClientConnection) -> None:
        while True:
            got = await event(socket)
            if got["e"] == "ORDER_TRADE_UPDATE" and got["o"]["c"] == name:
                came.append("event")
                return

    async with asyncio.timeout(20), private(http, simex) as socket:
        fault = await switch(admin, simex, fault=kind, path="/fapi/v1/order", method="POST", delay_ms=700, count=1)
        listening = asyncio.create_task(hear(socket))
        assert (await place(http, simex, name))[0] == 200
        came.append("reply")
        await listening
    assert came == (["event", "reply"] if kind == "events_first" else ["reply", "event"])
    assert (await ended(admin, simex, fault["id"]))["why"] == "spent"
    async with http.delete(f"{simex.rest}/fapi/v1/allOpenOrders?{signed('symbol=BTCUSDT')}", headers=KEY) as answer:
        assert answer.status == 200


async def test_account_events_are_lost_doubled_and_turned_around(
    admin: aiohttp.ClientSession, http: aiohttp.ClientSession, simex: Running
) -> None:
    async def hear(socket: ClientConnection, last: str) -> list[str]:
        names: list[str] = []
        while not names or names[-1] != last:
            got = await event(socket)
            if got["e"] == "ORDER_TRADE_UPDATE" and got["o"]["x"] == "NEW":
                names.append(got["o"]["c"])
        return names

    only: dict[str, Any] = {"event": "ORDER_TRADE_UPDATE", "nth": 1}
    async with asyncio.timeout(20), private(http, simex) as socket:
        for kind, came in (
            ("user_drop", ["2"]), ("user_duplicate", ["1", "1", "2"]), ("user_reorder", ["2", "1", "3"]),
        ):  # fmt: skip
            await switch(admin, simex, fault=kind, **only)
            for number in ("1", "2", "3")[: 3 if kind == "user_reorder" else 2]:
                await place(http, simex, f"{kind}-{number}")
            assert await hear(socket, f"{kind}-{came[-1]}") == [f"{kind}-{number}" for number in came]
    async with http.delete(f"{simex.rest}/fapi/v1/allOpenOrders?{signed('symbol=BTCUSDT')}", headers=KEY) as answer:
        assert answer.status == 200


async def test_keys_die_without_a_word_or_are_deleted_or_mute(
    admin: aiohttp.ClientSession, http: aiohttp.ClientSession, simex: Running
) -> None:
    async with asyncio.timeout(30):
        async with private(http, simex) as socket:
            assert (await switch(admin, simex, fault="listen_key_gone"))["expired"] == 1
            async with http.put(f"{simex.rest}/fapi/v1/listenKey", headers=KEY) as answer:
                assert (await answer.json())["code"] == -1125
            await place(http, simex, "unheard-1")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(socket.recv(), 0.5)
        async with private(http, simex) as socket:
            assert (await switch(admin, simex, fault="listen_key_delete"))["expired"] == 1
            assert (await event(socket))["e"] == "listenKeyExpired"
        async with private(http, simex) as socket:
            fault = await switch(admin, simex, fault="listen_key_mute", for_s=0.5)
            await place(http, simex, "unheard-2")
            async with http.put(f"{simex.rest}/fapi/v1/listenKey", headers=KEY) as answer:
                assert answer.status == 200
            await ended(admin, simex, fault["id"])
            await place(http, simex, "heard-3")
            assert (await event(socket))["o"]["c"] == "heard-3"
    async with http.delete(f"{simex.rest}/fapi/v1/allOpenOrders?{signed('symbol=BTCUSDT')}", headers=KEY) as answer:
        assert answer.status == 200


async def test_filters_and_status_change_are_told_bind_orders_and_go_back(
    admin: aiohttp.ClientSession, http: aiohttp.ClientSession, simex: Running
) -> None:
    async def rules() -> tuple[str, str, str]:
        async with http.get(f"{simex.rest}/fapi/v1/exchangeInfo") as answer:
            row = next(row for row in (await answer.json())["symbols"] if row["symbol"] == "BTCUSDT")
        found = {item["filterType"]: item for item in row["filters"]}
        return row["status"], found["PRICE_FILTER"]["tickSize"], found["MIN_NOTIONAL"]["notional"]

    before = await rules()
    async with (
        asyncio.timeout(30),
        connect(f"{simex.ws}/market/ws/!contractInfo", compression=None, max_queue=None) as socket,
    ):
        fault = await switch(
            admin, simex, fault="filters", symbol="BTCUSDT", tick_size="0.5", step_size="0.005", min_notional="120"
        )
        assert (await event(socket))["s"] == "BTCUSDT"
        assert await rules() == ("TRADING", "0.5", "120")
        for more, code in (
            ({"price": "88000.1"}, -4014), ({"quantity": "0.011"}, -4023), ({"price": "20000"}, -4164),
        ):  # fmt: skip
            status, body = await place(http, simex, "grid-1", **({"quantity": "0.005"} | more))
            assert (status, body["code"]) == (400, code), more
        async with admin.delete(f"{simex.rest}/admin/faults", json={"id": fault["id"]}) as answer:
            assert answer.status == 200
        assert await rules() == before
        assert (await event(socket))["cs"] == "TRADING"
        fault = await switch(admin, simex, fault="symbol_status", symbol="BTCUSDT", status="SETTLING", for_s=1)
        assert (await event(socket))["cs"] == "SETTLING"
        assert (await place(http, simex, "status-1"))[0] == 400
        await ended(admin, simex, fault["id"])
        assert (await event(socket))["cs"] == "TRADING"
        assert await rules() == before
    wrong = await switch(admin, simex, 400, fault="filters", symbol="BTCUSDT", tick_size="0.07")
    assert "multiples of 0.10" in wrong["error"]
    wrong = await switch(admin, simex, 400, fault="symbol_status", symbol="NOPE", status="BREAK")
    assert "BTCUSDT" in wrong["error"]


async def test_exchange_info_stays_stale_for_a_while(
    admin: aiohttp.ClientSession, http: aiohttp.ClientSession, simex: Running
) -> None:
    async def info() -> tuple[int, str]:
        async with http.get(f"{simex.rest}/fapi/v1/exchangeInfo") as answer:
            body = await answer.json()
        return body["serverTime"], body["symbols"][0]["status"]

    fault = await switch(admin, simex, fault="stale_info")
    stale = await info()
    other = await switch(admin, simex, fault="symbol_status", symbol="BTCUSDT", status="BREAK")
    assert await info() == stale
    async with admin.delete(f"{simex.rest}/admin/faults", json={"id": fault["id"]}) as answer:
        assert answer.status == 200
    fresh = await info()
    assert fresh[0] > stale[0]
    assert fresh[1] == "BREAK"
    async with admin.delete(f"{simex.rest}/admin/faults", json={"id": other["id"]}) as answer:
        assert answer.status == 200
    assert (await info())[1] == "TRADING"


@pytest.mark.parametrize("skew_ms", [-4000, 4000])
async def test_the_clock_is_wrong_by_seconds_and_right_again(
    skew_ms: int, admin: aiohttp.ClientSession, http: aiohttp.ClientSession, simex: Running
) -> None:
    async def ahead() -> float:
        async with http.get(f"{simex.rest}/fapi/v1/time") as answer:
            return float((await answer.json())["serverTime"] - time.time() * 1000)

    fault = await switch(admin, simex, fault="clock", skew_ms=skew_ms, for_s=1.5)
    assert await ahead() == pytest.approx(skew_ms, abs=1000)
    row = await ended(admin, simex, fault["id"])
    assert row["time_ms"] - fault["begin_ms"] == pytest.approx(1500, abs=1000)
    assert await ahead() == pytest.approx(0, abs=1000)


async def test_somebody_else_trades_on_the_account_and_its_owner_sees_it(
    admin: aiohttp.ClientSession, http: aiohttp.ClientSession, simex: Running
) -> None:
    async with asyncio.timeout(30), private(http, simex) as socket:
        done = await switch(
            admin, simex, fault="foreign_order", symbol="BTCUSDT", side="BUY", quantity="0.010", away_bps=200
        )
        (answer,) = done["answers"]
        assert answer["status"] == 200
        assert (await event(socket))["o"]["i"] == answer["body"]["orderId"]
        done = await switch(admin, simex, fault="foreign_cancel", symbol="BTCUSDT", which="newest")
        assert done["answers"][0]["body"]["status"] == "CANCELED"
        assert (await event(socket))["o"]["X"] == "CANCELED"
        await switch(admin, simex, fault="foreign_leverage", symbol="BTCUSDT", leverage=7)
        assert (await event(socket))["ac"] == {"s": "BTCUSDT", "l": 7}
    for hedge in (True, False):
        done = await switch(admin, simex, fault="foreign_position_mode", hedge=hedge)
        assert done["answers"][0]["status"] == 200
        assert await get(http, simex, "/fapi/v1/positionSide/dual") == {"dualSidePosition": hedge}
    for kind in ("ISOLATED", "CROSSED"):
        done = await switch(admin, simex, fault="foreign_margin_type", symbol="ETHUSDT", marginType=kind)
        assert done["answers"][0]["status"] == 200
    wrong = await switch(admin, simex, 400, fault="foreign_cancel", symbol="BTCUSDT", account="nobody")
    assert "nobody" in wrong["error"] or "simex" in wrong["error"]


async def test_a_schedule_at_run_time_is_followed_told_and_stopped(
    admin: aiohttp.ClientSession, http: aiohttp.ClientSession, simex: Running
) -> None:
    before = (await report(admin, simex))["seq"]
    rows = [
        {"at_s": 0.2, "fault": "reply_delay", "path": "/fapi/v1/ping", "delay_ms": 1, "for_s": 0.6},
        {"at_s": 0.3, "every_s": 1, "times": 2, "fault": "listen_key_gone"},
        {"at_s": 3600, "fault": "cut_all"},
    ]
    async with admin.post(f"{simex.rest}/admin/chaos", json=rows) as answer:
        assert answer.status == 200
        assert len((await answer.json())["schedule"]) == 3
    now = await told(admin, simex, lambda body: len(body["log"]) >= 6, before)
    assert [(row["what"], row["fault"]) for row in now["log"]] == [
        ("begin", "reply_delay"), ("begin", "listen_key_gone"), ("end", "listen_key_gone"), ("end", "reply_delay"),
        ("begin", "listen_key_gone"), ("end", "listen_key_gone"),
    ]  # fmt: skip
    assert [row["fault"] for row in now["schedule"]] == ["cut_all"]
    async with admin.delete(f"{simex.rest}/admin/chaos") as answer:
        assert await answer.json() == {"rows": 1, "faults": 0}


async def test_faults_by_seed_come_at_run_time_and_stop(
    admin: aiohttp.ClientSession, http: aiohttp.ClientSession, simex: Running, seed: int
) -> None:
    body = {"seed": seed, "level": "heavy", "families": ["keys"]}
    async with admin.post(f"{simex.rest}/admin/chaos", json=body) as answer:
        assert await answer.json() == {"seed": seed, "level": "heavy"}
    now = await told(admin, simex, lambda body: body["drawn"] > 0)
    assert now["seed"] == seed
    assert now["log"][-1]["family"] == "keys"
    async with admin.delete(f"{simex.rest}/admin/chaos") as answer:
        assert answer.status == 200
    assert (await report(admin, simex))["seed"] is None


async def test_tls_handshakes_are_refused_or_meet_a_wrong_certificate() -> None:
    with running("--tls") as simex:
        trust = ssl.create_default_context(cafile=simex.ready["ca"])

        async def ping() -> int:
            connector = aiohttp.TCPConnector(ssl=trust, force_close=True)
            url = f"{simex.rest}/fapi/v1/ping"
            async with aiohttp.ClientSession(connector=connector) as http, http.get(url) as answer:
                return answer.status

        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as admin, asyncio.timeout(30):
            assert await ping() == 200
            for variant in ("untrusted", "wrong_host", "expired"):
                fault = await switch(admin, simex, fault="tls_certificate", variant=variant)
                with pytest.raises(aiohttp.ClientConnectorCertificateError) as seen:
                    await ping()
                reason = {"untrusted": "verify failed", "wrong_host": "mismatch", "expired": "expired"}[variant]
                assert reason in str(seen.value)
                async with admin.delete(f"{simex.rest}/admin/faults", json={"id": fault["id"]}) as answer:
                    assert answer.status == 200
                assert await ping() == 200
            await switch(admin, simex, fault="tls_refuse", for_s=1)
            with pytest.raises(aiohttp.ClientConnectorError):
                await ping()
            await told(admin, simex, lambda body: not body["faults"])
            assert await ping() == 200


async def test_a_chaos_file_acts_and_the_seed_is_in_the_ready_line(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text(json.dumps([{"at_s": 0, "fault": "clock", "skew_ms": 60_000}]))
    flags = ("--chaos", str(file), "--chaos-seed", "7", "--chaos-level", "light", "--chaos-families", "keys")
    with running(*flags) as simex:
        assert simex.ready["chaos_seed"] == 7
        async with aiohttp.ClientSession() as http:
            now = await told(http, simex, lambda body: bool(body["log"]))
    assert now["log"][0]["fault"] == "clock"
    assert now["exchange_ms"] - now["time_ms"] == pytest.approx(60_000, abs=1000)
    assert (now["seed"], now["level"]) == (7, "light")


ORDER = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.010&price=88000"


async def reconnecting(url: str, seen: list[int]) -> None:
    """A client that goes on whatever happens; `seen` counts what it heard."""
    while True:
        try:
            async with connect(url, compression=None, open_timeout=2, close_timeout=0.2, max_queue=None) as socket:
                async for _ in socket:
                    seen[0] += 1
        except (OSError, TimeoutError, ConnectionClosed, InvalidStatus, InvalidMessage):
            await pause(0.05)


async def trading(url: str) -> None:
    """A trader that goes on whatever happens."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as http:
        for number in count():
            order = f"{ORDER}&newClientOrderId=t{number}"
            try:
                async with http.post(f"{url}/fapi/v1/order?{signed(order)}", headers=KEY) as answer:
                    await answer.read()
                everything = f"{url}/fapi/v1/allOpenOrders?{signed('symbol=BTCUSDT')}"
                async with http.delete(everything, headers=KEY) as answer:
                    await answer.read()
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            await pause(0.1)


async def test_after_faults_of_every_kind_the_exchange_is_what_it_was(tmp_path: Path, seed: int) -> None:
    plan = draw.plan(Setting(seed, "heavy", ["BTCUSDT", "ETHUSDT"], ["simex"]), 450)
    rows = [row | {"at_s": round(row["at_s"] / 60, 2)} for row in plan]
    rows = [row | ({"for_s": min(row["for_s"], 0.6)} if "for_s" in row else {}) for row in rows]
    limits = ("--weight-limit", "1000000", "--connect-limit", "100000")
    with running("--seed", "3", *limits, log=tmp_path / "log") as simex:
        async with aiohttp.ClientSession() as admin, asyncio.timeout(90):

            async def info() -> Any:
                async with admin.get(f"{simex.rest}/fapi/v1/exchangeInfo") as answer:
                    return (await answer.json())["symbols"]

            await report(admin, simex)
            before, seen = await info(), [0]
            clients = [
                asyncio.create_task(reconnecting(f"{simex.ws}{DEPTH}", seen)),
                asyncio.create_task(reconnecting(f"{simex.ws}/market/ws/btcusdt@markPrice@1s", [0])),
                asyncio.create_task(trading(simex.rest)),
            ]
            async with admin.post(f"{simex.rest}/admin/chaos", json=rows) as answer:
                assert answer.status == 200, await answer.text()
            await told(admin, simex, lambda body: not body["schedule"])
            async with admin.delete(f"{simex.rest}/admin/chaos") as answer:
                assert answer.status == 200
            now = await report(admin, simex)
            told_of: dict[int, list[str]] = {row["id"]: [] for row in now["log"]}
            for row in now["log"]:
                told_of[row["id"]].append(row["what"])
            assert all(words == ["begin", "end"] for words in told_of.values())
            assert now["faults"] == []
            assert abs(now["exchange_ms"] - now["time_ms"]) < 1000
            heard = seen[0]
            while True:
                await pause(0.05)
                if seen[0] >= heard + 10:
                    break  # the book flows again to a client that comes back
            assert await info() == before
            hedge = (await get(admin, simex, "/fapi/v1/positionSide/dual"))["dualSidePosition"]  # somebody else's doing
            leg = {"positionSide": "LONG"} if hedge else {}
            assert (await place(admin, simex, "after-1", **leg))[0] == 200
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)
    assert "Traceback" not in (tmp_path / "log").read_text()
