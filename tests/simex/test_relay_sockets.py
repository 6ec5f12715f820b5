"""A relay in front of a second simex as "the real exchange": the same bytes, orders matched on them, cut and return."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from simex.server.app import start
from simex.server.relay import build
from simex.server.settings import Settings, Upstream
from tests.simex.book_client import BookClient
from tests.simex.running import Running, running, signed
from tests.waiting import eventually, pause

KEY = {"X-MBX-APIKEY": "simex"}
PUBLIC_STREAMS = ["btcusdt@depth@100ms", "btcusdt@depth", "ethusdt@bookTicker", "btcusdt@depth5@100ms"]
MARKET_STREAMS = ["btcusdt@aggTrade", "btcusdt@kline_1m", "ethusdt@markPrice@1s", "!miniTicker@arr", "!ticker@arr"]
GENEROUS_S = 30.0


@pytest.fixture(scope="module")
def upstream() -> Iterator[Running]:
    with running("--seed", "5", "--symbols", "BTCUSDT,ETHUSDT,SOLUSDT") as simex:
        yield simex


@pytest.fixture(scope="module")
def relay(upstream: Running) -> Iterator[Running]:
    with running("--relay", "--upstream-rest", upstream.rest, "--upstream-ws", upstream.ws) as simex:
        yield simex


async def fetch(http: aiohttp.ClientSession, url: str) -> tuple[int, str, bytes]:
    async with http.get(url) as answer:
        return answer.status, answer.headers["Content-Type"], await answer.read()


async def call(http: aiohttp.ClientSession, rest: str, method: str, path: str, query: str = "") -> tuple[int, Any]:
    async with http.request(method, f"{rest}/fapi/v1/{path}?{signed(query)}", headers=KEY) as answer:
        return answer.status, await answer.json()


async def is_live(http: aiohttp.ClientSession, relay: Running, symbol: str = "BTCUSDT") -> bool:
    async with http.get(f"{relay.rest}/admin/state") as answer:
        state = await answer.json()
    return bool(state["market"]["symbols"][symbol]["live"])


async def until_live(http: aiohttp.ClientSession, relay: Running) -> None:
    deadline = time.monotonic() + GENEROUS_S
    while not (await is_live(http, relay) and await is_live(http, relay, "ETHUSDT")):
        assert time.monotonic() < deadline, "the relay did not become live"
        await pause(0.05)


async def filled(private: ClientConnection, symbol: str, order_id: int) -> dict[str, Any]:
    """The event that fills an order."""
    async with asyncio.timeout(GENEROUS_S):
        while True:
            event: dict[str, Any] = json.loads(await private.recv())
            order = event.get("o", {})
            if (order.get("s"), order.get("i"), order.get("X")) == (symbol, order_id, "FILLED"):
                return event


class Tape:
    """Everything a socket in stream mode says, by stream."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.frames: dict[str, list[str]] = defaultdict(list)

    async def listen(self) -> None:
        async with connect(self.url, compression=None, max_size=None) as socket:
            async for frame in socket:
                text = str(frame)
                self.frames[text[len('{"stream":"') : text.index('","')]].append(text)

    def least(self, streams: list[str]) -> int:
        return min(len(self.frames[name]) for name in streams)


@pytest.mark.parametrize(("route", "streams"), [("public", PUBLIC_STREAMS), ("market", MARKET_STREAMS)])
async def test_a_client_of_the_relay_sees_the_exchange_s_own_bytes(
    upstream: Running, relay: Running, http: aiohttp.ClientSession, route: str, streams: list[str]
) -> None:
    await until_live(http, relay)
    tapes = [Tape(f"{base.ws}/{route}/stream?streams={'/'.join(streams)}") for base in (upstream, relay)]
    listeners = [asyncio.create_task(tape.listen()) for tape in tapes]
    await eventually(lambda: min(tape.least(streams) for tape in tapes) >= 4, "four frames a stream", GENEROUS_S)
    for listener in listeners:
        listener.cancel()
    await asyncio.gather(*listeners, return_exceptions=True)
    for name in streams:
        real, shown = tapes[0].frames[name], tapes[1].frames[name]
        begin = shown.index(real[0]) if real[0] in shown else 0
        real, shown = real[real.index(shown[begin]) :], shown[begin:]
        common = min(len(real), len(shown))
        assert common >= 2, name
        assert shown[:common] == real[:common], name


async def test_rest_is_the_exchange_s_own_answers_and_refusals(
    upstream: Running, relay: Running, http: aiohttp.ClientSession
) -> None:
    end = (int(time.time()) // 60 - 5) * 60_000
    for path in (
        f"klines?symbol=BTCUSDT&interval=5m&limit=50&endTime={end}", "fundingRate?symbol=ETHUSDT&limit=5",
        "fundingInfo", "klines?symbol=BTCUSDT&interval=7m", "depth?symbol=BTCUSDT&limit=7", "ticker/price?symbol=NO",
        "ticker/price?symbol=%E6%B5%8B%E8%AF%95USDT", "ticker/price?symbol=%22%5B%20",
    ):  # fmt: skip
        real = await fetch(http, f"{upstream.rest}/fapi/v1/{path}")
        assert await fetch(http, f"{relay.rest}/fapi/v1/{path}") == real, path
    infos = [json.loads((await fetch(http, f"{base.rest}/fapi/v1/exchangeInfo"))[2]) for base in (upstream, relay)]
    for info in infos:
        del info["serverTime"]
    assert infos[0] == infos[1]
    assert {row["symbol"] for row in infos[1]["symbols"]} == {"BTCUSDT", "ETHUSDT", "SOLUSDT"}


async def test_a_snapshot_through_the_relay_fits_its_stream(relay: Running, http: aiohttp.ClientSession) -> None:
    await until_live(http, relay)
    book = BookClient()
    async with connect(f"{relay.ws}/public/ws/btcusdt@depth@100ms", compression=None) as socket:
        book.event(json.loads(await socket.recv()))
        async with asyncio.timeout(GENEROUS_S):
            while book.applied < 10:
                if book.snapshot_id is None:
                    _, _, body = await fetch(http, f"{relay.rest}/fapi/v1/depth?symbol=BTCUSDT&limit=1000")
                    book.snapshot(json.loads(body))
                book.event(json.loads(await socket.recv()))


async def test_orders_fill_on_the_exchange_s_market_and_do_not_change_it(
    upstream: Running, relay: Running, http: aiohttp.ClientSession
) -> None:
    await until_live(http, relay)
    _, key = await call(http, relay.rest, "POST", "listenKey")
    async with connect(f"{relay.ws}/private/ws/{key['listenKey']}", compression=None) as private:
        status, taken = await call(
            http, relay.rest, "POST", "order",
            "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.010&newOrderRespType=RESULT",
        )  # fmt: skip
        assert (status, taken["status"], taken["executedQty"]) == (200, "FILLED", "0.010")
        bid = json.loads((await fetch(http, f"{upstream.rest}/fapi/v1/ticker/bookTicker?symbol=ETHUSDT"))[2])[
            "bidPrice"
        ]
        price = f"{float(bid) * 0.995:.2f}"
        status, resting = await call(
            http, relay.rest, "POST", "order",
            f"symbol=ETHUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.100&price={price}",
        )  # fmt: skip
        assert (status, resting["status"]) == (200, "NEW")
        move = {"symbol": "ETHUSDT", "move_bps": -100}  # the "real" market falls through it
        async with http.post(f"{upstream.rest}/admin/market", json=move) as answer:
            assert answer.status == 200
        event = await filled(private, "ETHUSDT", resting["orderId"])
        assert float(event["o"]["L"]) == float(price)
        assert event["o"]["m"] is True
    async with http.get(f"{upstream.rest}/admin/state") as answer:
        real = (await answer.json())["truth"]["accounts"]["simex"]
    assert real["positions"] == []


async def test_a_message_lost_on_the_way_reaches_the_client_as_a_gap_and_the_relay_heals(
    upstream: Running, relay: Running, http: aiohttp.ClientSession
) -> None:
    await until_live(http, relay)
    async with connect(f"{relay.ws}/public/ws/btcusdt@depth@100ms", compression=None) as socket:
        last, gap = json.loads(await socket.recv())["u"], False
        fault = {"fault": "depth_drop", "symbol": "BTCUSDT", "count": 1}
        async with http.post(f"{upstream.rest}/admin/faults", json=fault) as answer:
            assert answer.status == 200
        async with asyncio.timeout(GENEROUS_S):
            while not gap:
                event = json.loads(await socket.recv())
                gap = event["pu"] != last
                last = event["u"]
    await until_live(http, relay)


@pytest.mark.parametrize("data", ['{"U":1,"u":2,"pu":0,"b":[["x","1"]],"a":[]}', "["])
async def test_a_frame_that_cannot_be_read_costs_the_connection_and_not_the_relay(
    upstream: Running, relay: Running, http: aiohttp.ClientSession, data: str
) -> None:
    await until_live(http, relay)
    frame = {"route": "public", "text": f'{{"stream":"btcusdt@depth@100ms","data":{data}}}'}
    async with connect(f"{relay.ws}/public/ws/ethusdt@depth@100ms", compression=None) as socket:
        await socket.recv()
        async with http.post(f"{upstream.rest}/admin/frame", json=frame) as answer:
            assert answer.status == 200
        with pytest.raises(ConnectionClosed) as ended:
            async with asyncio.timeout(GENEROUS_S):
                while True:
                    await socket.recv()
    assert ended.value.rcvd is not None
    assert ended.value.rcvd.code == 1001
    await until_live(http, relay)


async def test_what_is_not_followed_can_be_seen_and_not_traded(relay: Running, http: aiohttp.ClientSession) -> None:
    await until_live(http, relay)
    async with connect(f"{relay.ws}/public/ws/solusdt@bookTicker", compression=None) as socket:
        async with asyncio.timeout(GENEROUS_S):
            assert json.loads(await socket.recv())["s"] == "SOLUSDT"
    status, refusal = await call(http, relay.rest, "POST", "order", "symbol=SOLUSDT&side=BUY&type=MARKET&quantity=1")
    assert (status, refusal["code"]) == (400, -1121)


async def test_the_exchange_is_cut_off_and_comes_back(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    limit = "side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.010&price="
    with running("--seed", "6") as real:
        port, price = real.rest.rpartition(":")[2], "90000"
        flags = ("--relay", "--upstream-rest", real.rest, "--upstream-ws", real.ws)
        with running(*flags, log=tmp_path / "relay.log") as relay:
            await until_live(http, relay)
            status, order = await call(http, relay.rest, "POST", "order", f"symbol=BTCUSDT&{limit}{price}")
            assert status == 200
            async with connect(f"{relay.ws}/public/ws/btcusdt@depth@100ms", compression=None) as socket:
                await socket.recv()
                real.process.terminate()
                with pytest.raises(ConnectionClosed) as ended:
                    async with asyncio.timeout(GENEROUS_S):
                        while True:
                            await socket.recv()
                assert ended.value.rcvd is not None
                assert ended.value.rcvd.code == 1001
            real.process.wait(10)
            for path in ("depth?symbol=BTCUSDT", "ticker/24hr?symbol=BTCUSDT"):
                assert (await fetch(http, f"{relay.rest}/fapi/v1/{path}"))[0] == 503
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"{relay.ws}/public/ws/btcusdt@depth@100ms", compression=None)
            assert refused.value.response.status_code == 503
            status, body = await call(http, relay.rest, "POST", "order", f"symbol=BTCUSDT&{limit}{price}")
            assert (status, body) == (503, {"code": 0, "msg": "Service Unavailable."})
            query = f"symbol=BTCUSDT&orderId={order['orderId']}"
            assert (await call(http, relay.rest, "GET", "order", query))[1]["status"] == "NEW"
            assert (await call(http, relay.rest, "DELETE", "order", query))[0] == 200
            with running("--seed", "7", "--port", port):
                await until_live(http, relay)
                async with connect(f"{relay.ws}/public/ws/btcusdt@depth@100ms", compression=None) as socket:
                    async with asyncio.timeout(GENEROUS_S):
                        await socket.recv()
                status, taken = await call(
                    http, relay.rest, "POST", "order",
                    "symbol=BTCUSDT&side=SELL&type=MARKET&quantity=0.010&newOrderRespType=RESULT",
                )  # fmt: skip
                assert (status, taken["status"]) == (200, "FILLED")


async def test_the_relay_s_clock_is_the_exchange_s(upstream: Running, http: aiohttp.ClientSession) -> None:
    with running("--seed", "8") as skewed:
        async with http.post(f"{skewed.rest}/admin/clock", json={"skew_ms": 90_000}) as answer:
            assert answer.status == 200
        with running("--relay", "--upstream-rest", skewed.rest, "--upstream-ws", skewed.ws) as relay:
            before = time.time() * 1000
            _, _, body = await fetch(http, f"{relay.rest}/fapi/v1/time")
            after = time.time() * 1000
    shown = json.loads(body)["serverTime"]
    assert before + 90_000 - 2_000 <= shown <= after + 90_000 + 2_000


async def test_a_start_without_the_exchange_fails_and_says_where_it_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "START_WITHIN_S", 0.2)
    with pytest.raises(OSError, match=r"http://127\.0\.0\.1:1 did not answer .*--upstream-rest"):
        await start(Settings(1, relay=Upstream("http://127.0.0.1:1", "ws://127.0.0.1:1")))


async def test_a_symbol_that_the_exchange_does_not_trade_is_refused_at_the_start(upstream: Running) -> None:
    with pytest.raises(ValueError, match=r"not traded at .*: NOSUCHUSDT"):
        await start(Settings(1, ["BTCUSDT", "NOSUCHUSDT"], relay=Upstream(upstream.rest, upstream.ws)))
