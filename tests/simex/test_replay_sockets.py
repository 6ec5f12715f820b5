"""Every recorded USDⓈ-M session, served over real sockets, arrives as it was recorded."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import zstandard
from websockets.asyncio.client import connect

from tests.simex.book_client import BookClient
from tests.simex.running import Running, running

pytestmark = pytest.mark.recordings

SESSIONS = (
    "depth_binance/usdm_btcusdt_20230404.gz",
    "depth_binance/usdm_btcusdt_20240808.gz",
    "depth_binance/usdm_ethusdt_20240808.gz",
    "cryptofeed/BINANCE_FUTURES.jsonl.zst",
)
_TIME = re.compile(r'"([ET])":(\d{13})')


def recorded(path: Path) -> Iterator[tuple[str, str]]:
    """(stream name, event text) of every recorded frame, in order of arrival; snapshots as ("snapshot", body)."""
    if path.suffix == ".gz":
        with gzip.open(path, "rt") as file:
            for line in file:
                yield split(line.rstrip("\n").partition(" ")[2])
        return
    with path.open("rb") as raw:
        entries = [json.loads(line) for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw))]
    for entry in sorted((item for item in entries if item["t"] == "recv"), key=lambda item: item["ts"]):
        yield split(entry["data"])


def split(text: str) -> tuple[str, str]:
    """The envelope taken off, by hand."""
    found = re.fullmatch(r'\{"stream":"([^"]+)","data":(.*)\}', text)
    return (found[1], found[2]) if found else ("snapshot", text)


def moved(text: str, shift_ms: int) -> str:
    """The recorded text with its times moved: what must arrive, byte for byte."""
    return _TIME.sub(lambda found: f'"{found[1]}":{int(found[2]) + shift_ms}', text)


@dataclass
class Received:
    """Everything one client heard: frames by stream in order, the snapshots, how the sockets ended."""

    frames: dict[str, list[str]] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    snapshots: dict[str, str] = field(default_factory=dict)
    close_codes: list[int | None] = field(default_factory=list)


async def listen(simex: Running, symbols: list[str], received: Received) -> None:
    """Subscribe to everything of all symbols on both routes, take one snapshot each, read to the end."""
    public = "/".join(f"{symbol}@{kind}" for symbol in symbols for kind in ("bookTicker", "depth@100ms"))
    market = "/".join(f"{symbol}@{kind}" for symbol in symbols for kind in ("aggTrade", "markPrice@1s"))

    async def read(url: str) -> None:
        async with connect(url, max_size=None, compression=None, ping_interval=None) as socket:
            async for raw in socket:
                name, text = split(str(raw))
                received.frames.setdefault(name, []).append(text)
                received.order.append(name)
            received.close_codes.append(socket.close_code)

    async def fetch(session: aiohttp.ClientSession, symbol: str) -> None:
        url = f"{simex.rest}/fapi/v1/depth?symbol={symbol.upper()}&limit=1000"
        async with session.get(url) as answer:
            assert answer.status == 200
            received.snapshots[symbol] = await answer.text()

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        group.create_task(read(f"{simex.ws}/market/stream?streams={market}"))
        await connections(session, simex, 1)
        group.create_task(read(f"{simex.ws}/public/stream?streams={public}"))
        for symbol in symbols:
            group.create_task(fetch(session, symbol))


async def connections(session: aiohttp.ClientSession, simex: Running, count: int) -> None:
    """Wait until simex holds that many sockets: the market route must listen before depth starts the replay."""
    async with asyncio.timeout(10):
        while True:
            async with session.get(f"{simex.rest}/admin/state") as answer:
                if len((await answer.json())["connections"]) >= count:
                    return


def shift_of(received: Received, path: Path) -> int:
    """The one constant, from the first depth event."""
    name = next(name for name in received.frames if "@depth" in name)
    symbol = name.partition("@")[0]
    original = next(text for stream, text in recorded(path) if stream.startswith(f"{symbol}@depth"))
    return int(json.loads(received.frames[name][0])["E"]) - int(json.loads(original)["E"])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("session", SESSIONS)
async def test_a_session_arrives_byte_true_in_order_and_its_book_equals_every_recorded_book_ticker(
    session: str, data_dir: Path
) -> None:
    path = data_dir / session
    expected: dict[str, list[str]] = {}
    for stream, text in recorded(path):
        expected.setdefault(stream, []).append(text)
    symbols = sorted({stream.partition("@")[0] for stream in expected if "@" in stream})
    received = Received()
    with running("--replay", str(path), "--speed", "max") as simex:
        async with asyncio.timeout(250):
            await listen(simex, symbols, received)
    assert received.close_codes == [1000, 1000]
    shift = shift_of(received, path)
    for symbol in symbols:
        recorded_depth = next(texts for stream, texts in expected.items() if stream.startswith(f"{symbol}@depth"))
        assert received.frames[f"{symbol}@depth@100ms"] == [moved(text, shift) for text in recorded_depth]
        ticker = f"{symbol}@bookTicker"
        assert received.frames.get(ticker, []) == [moved(text, shift) for text in expected.get(ticker, [])]
        check_trades(symbol, expected, received, shift)
        check_book(symbol, recorded_depth, received)
    marks = f"{symbols[0]}@markPrice@1s"
    if marks in expected:
        assert received.frames[marks] == [moved(text, shift) for text in expected[marks]]


def check_trades(symbol: str, expected: dict[str, list[str]], received: Received, shift: int) -> None:
    """Recorded aggregate trades as they are; recorded single trades as aggregates of one."""
    got = received.frames.get(f"{symbol}@aggTrade", [])
    if f"{symbol}@aggTrade" in expected:
        assert got == [moved(text, shift) for text in expected[f"{symbol}@aggTrade"]]
        return
    singles = [json.loads(moved(text, shift)) for text in expected.get(f"{symbol}@trade", [])]
    kept = [trade for trade in singles if trade["X"] == "MARKET" and Decimal(trade["q"]) > 0]
    fields = [("p", "p"), ("q", "q"), ("T", "T"), ("E", "E"), ("m", "m"), ("t", "a"), ("t", "f"), ("t", "l")]
    assert [{new: trade[old] for old, new in fields} for trade in kept] == [
        {new: json.loads(text)[new] for _, new in fields} for text in got
    ]


def check_book(symbol: str, recorded_depth: list[str], received: Received) -> None:
    """Snapshot and diffs chain by the documented rule, and the book shows what the tickers say at every step."""
    client = BookClient()
    client.snapshot(json.loads(received.snapshots[symbol]))
    tickers = [json.loads(text) for text in received.frames.get(f"{symbol}@bookTicker", [])]
    place, compared, stale = 0, 0, 0
    for text in received.frames[f"{symbol}@depth@100ms"]:
        client.event(json.loads(text))
        if client.u is None:
            stale += 1
            continue
        while place < len(tickers) and tickers[place]["u"] <= client.u:
            place += 1
        if place:
            ticker = tickers[place - 1]
            assert client.best() == (Decimal(ticker["b"]), Decimal(ticker["a"])), f"at u={client.u}"
            compared += 1
    assert client.applied == len(recorded_depth) - stale
    assert compared > 0.9 * client.applied


async def test_the_recorded_snapshot_comes_not_before_its_place_and_later_ones_are_built(data_dir: Path) -> None:
    path = data_dir / "depth_binance/usdm_btcusdt_20240808.gz"
    original = next(text for stream, text in recorded(path) if stream == "snapshot")
    with running("--replay", str(path)) as simex:
        async with aiohttp.ClientSession() as session, asyncio.timeout(30):
            url = f"{simex.rest}/fapi/v1/depth?symbol=BTCUSDT&limit=1000"
            first = asyncio.create_task(session.get(url))
            done, _ = await asyncio.wait([first], timeout=0.5)
            assert not done, "a snapshot was answered before the replay began"
            client, events = BookClient(), []
            async with connect(f"{simex.ws}/public/ws/btcusdt@depth", max_size=None, compression=None) as socket:
                events.append(json.loads(await socket.recv()))
                while not first.done():
                    events.append(json.loads(await socket.recv()))
                body = json.loads(await (await first).text())
                assert body["bids"] == json.loads(original)["bids"]
                assert body["lastUpdateId"] == 5123107852948
                client.snapshot(body)
                for event in events:
                    client.event(event)
                while client.applied < 10:
                    client.event(json.loads(await socket.recv()))
                built = await (await session.get(url)).json()
                while client.u is None or client.u < built["lastUpdateId"]:
                    client.event(json.loads(await socket.recv()))
            assert client.u == built["lastUpdateId"]
            shown = client.top(1000)
            assert [[Decimal(price), Decimal(qty)] for price, qty in built["bids"]] == [list(row) for row in shown[0]]
            assert [[Decimal(price), Decimal(qty)] for price, qty in built["asks"]] == [list(row) for row in shown[1]]


async def test_kept_times_are_untouched_and_the_process_answers_after_the_end(data_dir: Path, tmp_path: Path) -> None:
    path = data_dir / "cryptofeed/BINANCE_FUTURES.jsonl.zst"
    log = tmp_path / "simex.log"
    kline = [text for stream, text in recorded(path) if stream == "ctkusdt@kline_1m"]
    with running("--replay", str(path), "--speed", "max", "--keep-times", log=log) as simex:
        async with aiohttp.ClientSession() as session, asyncio.timeout(30):
            bars: list[str] = []
            async with connect(f"{simex.ws}/market/ws/ctkusdt@kline_1m", compression=None) as market:
                await connections(session, simex, 1)
                async with connect(f"{simex.ws}/public/ws/ctkusdt@depth", compression=None) as public:
                    events = [json.loads(text) async for text in public]
                bars = [str(text) async for text in market]
            state: dict[str, Any] = await (await session.get(f"{simex.rest}/admin/state")).json()
            assert (await session.get(f"{simex.rest}/fapi/v1/ping")).status == 200
            info: dict[str, Any] = await (await session.get(f"{simex.rest}/fapi/v1/exchangeInfo")).json()
    assert bars == kline
    assert events[0]["E"] == 1626992741203
    assert state["market"]["over"] is True
    assert "is over after 1539 lines" in log.read_text()
    assert {row["symbol"] for row in info["symbols"]} == {"SUSHIUSDT", "AKROUSDT", "KEEPUSDT", "CTKUSDT"}


async def test_event_times_are_moved_to_now_and_never_ahead_of_the_clock(data_dir: Path) -> None:
    path = data_dir / "depth_binance/usdm_btcusdt_20240808.gz"
    with running("--replay", str(path)) as simex:
        async with (
            asyncio.timeout(30),
            aiohttp.ClientSession() as session,
            connect(f"{simex.ws}/public/ws/btcusdt@depth", max_size=None, compression=None) as socket,
        ):
            for _ in range(30):
                event = json.loads(await socket.recv())
                now = (await (await session.get(f"{simex.rest}/fapi/v1/time")).json())["serverTime"]
                assert -10_000 < event["E"] - now <= 0


def test_a_spot_recording_is_refused_by_name(data_dir: Path, tmp_path: Path) -> None:
    log = tmp_path / "simex.log"
    spot = data_dir / "depth_binance/spot_btcusdt_20240808.gz"
    with pytest.raises(json.JSONDecodeError), running("--replay", str(spot), log=log):
        pytest.fail("a Spot recording was served")
    assert "without `pu` is not of USDⓈ-M futures" in log.read_text()
