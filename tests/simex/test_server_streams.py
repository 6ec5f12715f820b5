"""The streams over real sockets: routes, modes, commands, chains, cadence, private events, connection rules."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.simex.book_client import BookClient
from tests.simex.running import Running, running

KEY = {"X-MBX-APIKEY": "simex"}


@pytest.fixture(scope="module")
def simex() -> Iterator[Running]:
    with running("--seed", "5", "--weight-limit", "1000000") as started:
        yield started


async def next_json(socket: ClientConnection) -> Any:
    return json.loads(await socket.recv())


async def command(socket: ClientConnection, method: str, request_id: object, params: list[Any] | None = None) -> Any:
    """Send a command and return its answer, passing over events."""
    body = {"method": method, "id": request_id} | ({} if params is None else {"params": params})
    await socket.send(json.dumps(body))
    while True:
        answer = await next_json(socket)
        if "e" not in answer and "stream" not in answer:
            return answer


async def snapshot(http: aiohttp.ClientSession, simex: Running, symbol: str = "BTCUSDT") -> Any:
    async with http.get(f"{simex.rest}/fapi/v1/depth?symbol={symbol}&limit=1000") as answer:
        return await answer.json()


@pytest.mark.parametrize("speed", ["", "@500ms", "@100ms", "@0ms"])
async def test_a_book_bridged_at_any_moment_is_exact_at_every_book_ticker(
    speed: str, http: aiohttp.ClientSession, simex: Running
) -> None:
    depth, compared = f"btcusdt@depth{speed}", 0
    client = BookClient()
    url = f"{simex.ws}/public/stream?streams={depth}/btcusdt@bookTicker"
    async with connect(url, compression=None) as socket, asyncio.timeout(40):
        client.snapshot(await snapshot(http, simex))
        tickers: dict[int, Any] = {}
        while compared < 4 or client.applied < 12:
            message = await next_json(socket)
            event = message["data"]
            if message["stream"] == depth:
                client.event(event)
                assert max(client.bids) < min(client.asks)
                ticker = tickers.get(event["u"])
                if ticker is not None:
                    assert client.best() == (Decimal(ticker["b"]), Decimal(ticker["a"]))
                    compared += 1
            else:
                tickers[event["u"]] = event
        again = await snapshot(http, simex)
        before = client.applied
        while client.u is None or client.u < again["lastUpdateId"]:
            message = await next_json(socket)
            if message["stream"] == depth:
                client.event(message["data"])
        assert client.applied > before
        bridged = message["data"]
        assert bridged["U"] <= again["lastUpdateId"] <= bridged["u"], "the snapshot's id lies inside an event's"


KEYS = {
    "btcusdt@depth@100ms": "e E T s ps U u pu b a st",
    "btcusdt@depth5@100ms": "e E T s ps U u pu b a st",
    "btcusdt@bookTicker": "e u s ps b B a A T E st",
    "btcusdt@aggTrade": "e E a s p q nq f l T m st",
    "btcusdt@kline_1m": "e E s k",
    "btcusdt@markPrice@1s": "e E s p ap P i r T st",
    "btcusdt@ticker": "e E s p P w c Q o h l v q O C F L n ps st",
    "btcusdt@miniTicker": "e E s c o h l v q ps st",
    "btcusdt_perpetual@continuousKline_5m": "e E ps ct k",
}
ARRAYS = {"!markPrice@arr@1s": "markPriceUpdate", "!ticker@arr": "24hrTicker", "!miniTicker@arr": "24hrMiniTicker"}


async def test_every_stream_family_delivers_on_its_route_with_the_documented_keys(simex: Running) -> None:
    wanted = {**KEYS, **ARRAYS}
    seen: dict[str, Any] = {}

    async def collect(route: str) -> None:
        async with connect(f"{simex.ws}/{route}/stream", compression=None) as socket:
            names = list(wanted)
            assert await command(socket, "SUBSCRIBE", "all", names) == {"result": None, "id": "all"}
            mine = {name for name in names if ("depth" in name or "bookTicker" in name) == (route == "public")}
            while not mine <= seen.keys():
                message = await next_json(socket)
                assert message["stream"] in mine, f"{message['stream']} came on /{route}"
                seen[message["stream"]] = message["data"]

    async with asyncio.timeout(30):
        await asyncio.gather(collect("public"), collect("market"))
    for name, keys in KEYS.items():
        assert list(seen[name]) == keys.split(), name
    for name, kind in ARRAYS.items():
        assert [row["e"] for row in seen[name]] == [kind, kind]
        assert [row["s"] for row in seen[name]] == ["BTCUSDT", "ETHUSDT"]
    assert " ".join(seen["btcusdt@kline_1m"]["k"]) == "t T s i f L o c h l v n x q V Q B"
    assert len(seen["btcusdt@depth5@100ms"]["b"]) == len(seen["btcusdt@depth5@100ms"]["a"]) == 5


async def test_wrong_route_and_unknown_streams_are_acknowledged_and_mute(simex: Running) -> None:
    async with connect(f"{simex.ws}/market/ws", compression=None) as socket, asyncio.timeout(20):
        wrong = ["btcusdt@depth", "btcusdt@bookTicker", "nope@aggTrade", "rubbish"]
        assert await command(socket, "SUBSCRIBE", 1, wrong) == {"result": None, "id": 1}
        assert await command(socket, "SUBSCRIBE", 2, ["btcusdt@markPrice@1s"]) == {"result": None, "id": 2}
        kinds = {(await next_json(socket))["e"] for _ in range(3)}
        assert kinds == {"markPriceUpdate"}
        assert await command(socket, "LIST_SUBSCRIPTIONS", 3) == {"result": [*wrong, "btcusdt@markPrice@1s"], "id": 3}


@pytest.mark.parametrize("request_id", [1, "c0ffee-uuid", 1795132800123, None, 1.5, {"a": [1]}])
async def test_ids_of_any_kind_are_echoed(request_id: object, simex: Running) -> None:
    async with connect(f"{simex.ws}/public/ws/0", compression=None) as socket, asyncio.timeout(10):
        assert await command(socket, "LIST_SUBSCRIPTIONS", request_id) == {"result": [], "id": request_id}


async def test_properties_and_unsubscribe(simex: Running) -> None:
    async with connect(f"{simex.ws}/public/ws/btcusdt@depth@100ms", compression=None) as socket, asyncio.timeout(20):
        assert (await next_json(socket))["e"] == "depthUpdate"
        assert await command(socket, "GET_PROPERTY", 1, ["combined"]) == {"result": False, "id": 1}
        assert await command(socket, "SET_PROPERTY", 2, ["combined", True]) == {"result": None, "id": 2}
        assert (await next_json(socket))["stream"] == "btcusdt@depth@100ms"
        await command(socket, "UNSUBSCRIBE", 3, ["btcusdt@depth@100ms"])
        await command(socket, "SUBSCRIBE", 4, ["ethusdt@depth@100ms"])
        assert {(await next_json(socket))["stream"] for _ in range(5)} == {"ethusdt@depth@100ms"}


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [("NOPE", [], 2), ("SUBSCRIBE", [], 2), ("SUBSCRIBE", [5], 2), ("SUBSCRIBE", "x", 2),
     ("SET_PROPERTY", ["x", True], 0), ("SET_PROPERTY", ["combined", 1], 1),
     ("SUBSCRIBE", [f"s{n}@depth" for n in range(1025)], 2)],
    ids=["method", "empty", "number", "text", "property", "value", "1025 streams"],
)  # fmt: skip
async def test_bad_commands_get_their_code(method: str, params: Any, code: int, simex: Running) -> None:
    async with connect(f"{simex.ws}/public/ws", compression=None) as socket, asyncio.timeout(10):
        answer = await command(socket, method, 9, params)
        assert (answer["error"]["code"], answer["id"]) == (code, 9)


async def test_bad_json_is_named_and_ends_the_connection(simex: Running) -> None:
    async with connect(f"{simex.ws}/public/ws", compression=None) as socket, asyncio.timeout(10):
        await socket.send('{"method":')
        assert (await next_json(socket))["error"]["code"] == 3
        with pytest.raises(ConnectionClosed):
            await socket.recv()


async def test_more_than_ten_messages_a_second_end_the_connection(simex: Running) -> None:
    async with connect(f"{simex.ws}/public/ws", compression=None) as socket, asyncio.timeout(10):
        for number in range(25):
            await socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
        with pytest.raises(ConnectionClosed) as ended:
            for _ in range(25):
                await socket.recv()
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == 1008


@pytest.mark.parametrize(
    "path", ["/ws/btcusdt@depth", "/stream?streams=btcusdt@depth", "/public/ws/", "/public", "/x/ws"]
)
async def test_retired_and_unknown_urls_are_404(path: str, simex: Running) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await connect(simex.ws + path)
    assert caught.value.response.status_code == 404


async def test_without_routes_everything_comes_on_one_address_as_it_once_did() -> None:
    with running("--unrouted") as simex:
        async with asyncio.timeout(20), aiohttp.ClientSession() as http:
            async with http.post(f"{simex.rest}/fapi/v1/listenKey", headers=KEY) as answer:
                key = (await answer.json())["listenKey"]
            names = ["btcusdt@depth@100ms", "btcusdt@markPrice@1s", key]
            async with connect(f"{simex.ws}/stream?streams={'/'.join(names)}", compression=None) as socket:
                seen = {(await next_json(socket))["stream"] for _ in range(30)}
                assert seen == set(names[:2])
                async with http.delete(f"{simex.rest}/fapi/v1/listenKey", headers=KEY) as answer:
                    assert answer.status == 200
                while (message := await next_json(socket))["stream"] != key:
                    assert message["stream"] in names
                assert message["data"]["e"] == "listenKeyExpired"
            async with http.get(f"{simex.rest}/admin/state") as answer:
                assert key not in await answer.text()


async def test_retired_urls_behind_the_switch_carry_the_book_only() -> None:
    with running("--retired-urls") as simex:
        url = f"{simex.ws}/stream?streams=btcusdt@aggTrade/btcusdt@markPrice@1s/btcusdt@depth"
        async with connect(url, compression=None) as socket, asyncio.timeout(20):
            assert {(await next_json(socket))["stream"] for _ in range(12)} == {"btcusdt@depth"}


async def listen_key(http: aiohttp.ClientSession, simex: Running, method: str = "POST") -> tuple[int, Any]:
    async with http.request(method, f"{simex.rest}/fapi/v1/listenKey", headers=KEY) as answer:
        return answer.status, await answer.json()


async def push(http: aiohttp.ClientSession, simex: Running, event: dict[str, Any]) -> None:
    body = {"account": "simex", "event": event}
    async with http.post(f"{simex.rest}/admin/user_event", json=body) as answer:
        assert answer.status == 200, await answer.text()


async def test_private_events_in_every_url_form_and_the_end_of_a_key(
    http: aiohttp.ClientSession, simex: Running
) -> None:
    key = (await listen_key(http, simex))[1]["listenKey"]
    assert len(key) == 64
    assert (await listen_key(http, simex))[1]["listenKey"] == key, "one key an account"
    assert await listen_key(http, simex, "PUT") == (200, {"listenKey": key})
    async with (
        asyncio.timeout(20),
        connect(f"{simex.ws}/private/ws/{key}") as by_path,
        connect(f"{simex.ws}/private/ws?listenKey={key}&events=ORDER_TRADE_UPDATE") as listed,
        connect(f"{simex.ws}/private/stream?listenKey={key}") as combined,
        connect(f"{simex.ws}/private/stream") as subscribed,
        connect(f"{simex.ws}/private/ws?listenKey=nobody") as stranger,
    ):
        assert await command(subscribed, "SUBSCRIBE", "u", [key]) == {"result": None, "id": "u"}
        first, second = {"e": "ACCOUNT_UPDATE", "x": 1}, {"e": "ORDER_TRADE_UPDATE", "x": 2}
        await push(http, simex, first)
        await push(http, simex, second)
        assert [await next_json(by_path), await next_json(by_path)] == [first, second]
        assert await next_json(listed) == second, "events= is an allow-list"
        assert await next_json(combined) == {"stream": key, "data": first}
        assert await next_json(subscribed) == {"stream": key, "data": first}
        assert await listen_key(http, simex, "DELETE") == (200, {})
        expired = await next_json(by_path)
        assert (expired["e"], expired["listenKey"]) == ("listenKeyExpired", key)
        assert list(expired) == ["e", "E", "listenKey"]
        assert (await listen_key(http, simex, "PUT"))[1]["code"] == -1125
        fresh = (await listen_key(http, simex))[1]["listenKey"]
        assert fresh != key
        await push(http, simex, {"e": "MARGIN_CALL"})
        for mute in (by_path, listed, stranger):
            assert await command(mute, "LIST_SUBSCRIPTIONS", 1) is not None, "open, and nothing else arrived"


async def test_pings_come_with_a_payload_and_old_connections_are_ended() -> None:
    with running("--ping-every", "0.3", "--life", "1.5") as simex:
        async with (
            asyncio.timeout(15),
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{simex.ws}/public/ws", autoping=False) as socket,
        ):
            heard = [await socket.receive()]
            while heard[-1].type is aiohttp.WSMsgType.PING:
                assert heard[-1].data.isdigit()
                await socket.pong(heard[-1].data)
                heard.append(await socket.receive())
    assert (heard[-1].type, heard[-1].data) == (aiohttp.WSMsgType.CLOSE, 1001)
    assert 2 <= len(heard) <= 6


async def test_a_bar_closes_once_and_the_next_one_follows() -> None:
    closed: list[Any] = []
    opened_after: list[Any] = []
    with running("--seed", "6") as simex:
        url = f"{simex.ws}/market/stream?streams=btcusdt@kline_1m/ethusdt@kline_1m"
        async with (
            asyncio.timeout(30),
            aiohttp.ClientSession() as http,
            connect(url, compression=None) as socket,
        ):
            skew = 57_000 - time.time_ns() // 1_000_000 % 60_000  # the end of a minute is near
            async with http.post(f"{simex.rest}/admin/clock", json={"skew_ms": skew % 60_000}) as answer:
                began = (await answer.json())["time_ms"]
            while len(opened_after) < 6:
                event = (await next_json(socket))["data"]
                if event["E"] < began:
                    continue
                if event["k"]["x"]:
                    if event["k"]["T"] > began:  # the jump of the clock may itself end a minute
                        closed.append(event)
                elif closed:
                    opened_after.append(event)
    assert sorted(event["s"] for event in closed) == ["BTCUSDT", "ETHUSDT"]
    for event in closed:
        assert 0 < event["E"] - event["k"]["T"] < 1000
    ends = {event["s"]: event["k"] for event in closed}
    for event in opened_after:
        end = ends[event["s"]]
        if event["k"]["t"] > end["T"]:
            assert event["k"]["t"] == end["T"] + 1
            assert event["k"]["f"] == end["L"] + 1, "a bar is told of when it has trades"
