"""Bad input from the exchange, through real sockets: truncated JSON, HTML, wrong types, negative prices, odd events.
Each is reported under a name, no wrong book is ever served as `live`, and the process lives on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.gateway.rig import Brain, Line, Rig, far_below
from tests.proof.market_recordings import ReferenceBook, Top, exact
from tests.proof.replaying import Monitor
from tests.simex.running import Running, running
from tests.waiting import wait_until

STREAM = "btcusdt@depth@100ms"
QUICK: dict[str, Any] = {"market": {"backoff_first_ms": 20, "backoff_max_ms": 200, "snapshot_spacing_ms": 1}}


def diff(**change: Any) -> str:
    """A depth event as it could be, far ahead of any real id, with one thing wrong."""
    event = {
        "e": "depthUpdate", "E": 1, "T": 1, "s": "BTCUSDT", "U": 9 * 10**15 - 4, "u": 9 * 10**15, "pu": 9 * 10**15,
        "b": [["50000.0", "1"]], "a": [["50001.0", "1"]],
    }  # fmt: skip
    return json.dumps({"stream": STREAM, "data": {**event, **change}})


def mark(**change: Any) -> str:
    event = {"e": "markPriceUpdate", "E": 1, "s": "BTCUSDT", "p": "50000.0", "i": "50000.0", "r": "0", "T": 1}
    return json.dumps({"stream": "btcusdt@markPrice@1s", "data": {**event, **change}})


PUBLIC: dict[str, str] = {
    "cut short": diff()[:70],
    "cut in the middle of a number": diff()[:-30],
    "HTML": "<html><body>502 Bad Gateway</body></html>",
    "empty": "",
    "an array": "[]",
    "a text": '"depthUpdate"',
    "no envelope": '{"e":"depthUpdate"}',
    "nested deeply": "[" * 20_000,
    "long": '{"stream":"' + "x" * 1_000_000 + '"}',
    "levels are a number": diff(b=5),
    "levels are objects": diff(b=[{"price": "1"}]),
    "a level of one": diff(b=[["1"]]),
    "numbers as numbers": diff(b=[[50000.0, 1.0]]),
    "id is a text": diff(u="5"),
    "id is missing": diff(pu=None),
    "id is a fraction": diff(U=1.5),
    "far ahead, by itself": diff(),
    "far ahead, in the form of a chain": diff(pu=9 * 10**15 - 5),
    "another symbol's": diff(s="ETHUSDT"),
    "unknown event": json.dumps({"stream": STREAM, "data": {"e": "surprise", "x": 1}}),
    "unknown stream": diff().replace(STREAM, "btcusdt@surprise"),
    "an error": '{"error":{"code":2,"msg":"Invalid request"},"id":99}',
}
MARKET: dict[str, str] = {
    "negative mark": mark(p="-1"),
    "mark zero": mark(p="0"),
    "mark NaN": mark(p="NaN"),
    "mark is a number": mark(p=50000.0),
    "time is a text": mark(T="soon"),
    "cut short": mark()[:60],
    "HTML": "<html></html>",
    "unknown event": json.dumps({"stream": "btcusdt@markPrice@1s", "data": {"e": "surprise"}}),
}
PRIVATE: dict[str, str] = {
    "cut short": '{"e":"ORDER_TRADE_UPDATE","E":1,"o":{"s":"BTCU',
    "HTML": "<html></html>",
    "an array": "[1,2]",
    "order is a number": '{"e":"ORDER_TRADE_UPDATE","E":1,"T":1,"o":5}',
    "account is a text": '{"e":"ACCOUNT_UPDATE","E":1,"T":1,"a":"x"}',
    "balances are wrong": '{"e":"ACCOUNT_UPDATE","E":1,"T":1,"a":{"m":"ORDER","B":[{"a":"USDT","wb":"NaN"}],"P":[]}}',
    "nested deeply": '{"e":' * 20_000,
    "unknown event": '{"e":"SURPRISE","E":1}',
}
BODIES = {
    "cut short": {"fault": "reply_body", "body": '{"lastUpdateId": 12, "bids": [["1'},
    "HTML with 200": {"fault": "reply_body", "body": "<html></html>"},
    "HTML with 502": {"fault": "reply_error", "variant": "502_html"},
    "HTML with 403": {"fault": "reply_error", "variant": "403_html"},
    "empty": {"fault": "reply_body", "body": ""},
    "an array": {"fault": "reply_body", "body": "[]"},
    "an array of wrong rows": {"fault": "reply_body", "body": "[5, null]"},
    "an object": {"fault": "reply_body", "body": "{}"},
    "a text": {"fault": "reply_body", "body": '"ok"'},
    "cut off": {"fault": "reply_lost"},
    "unknown error": {"fault": "reply_error", "variant": "503_unknown"},
}
SNAPSHOTS = {
    **BODIES,
    "negative price": {"fault": "reply_body", "body": '{"lastUpdateId":1,"bids":[["-1","1"]],"asks":[["2","1"]]}'},
    "crossed": {
        "fault": "reply_body",
        "body": '{"lastUpdateId":9000000000000000,"bids":[["3","1"]],"asks":[["2","1"]]}',
    },
    "one side only": {"fault": "reply_body", "body": '{"lastUpdateId":9000000000000000,"bids":[],"asks":[["2","1"]]}'},
    "id is a text": {"fault": "reply_body", "body": '{"lastUpdateId":"x","bids":[],"asks":[]}'},
    "far in the past": {"fault": "reply_body", "body": '{"lastUpdateId":1,"bids":[["1","1"]],"asks":[["2","1"]]}'},
}
BASELINE = (
    "/fapi/v1/exchangeInfo", "/fapi/v1/time", "/fapi/v1/listenKey", "/fapi/v3/balance", "/fapi/v3/positionRisk",
    "/fapi/v1/openOrders", "/fapi/v1/userTrades", "/fapi/v1/accountConfig", "/fapi/v1/symbolConfig", "/fapi/v1/depth",
)  # fmt: skip


class Witness:
    """Another client of the same stream: what the book was after each message, by the reference's rules."""

    def __init__(self, simex: Running) -> None:
        self._simex = simex
        self._texts: list[str] = []
        self._snapshot: dict[str, Any] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        url = f"{self._simex.ws}/public/ws/{STREAM}"
        with connect(url, max_size=None, compression=None) as socket:
            reader = threading.Thread(target=self._read, args=(socket,), daemon=True)
            reader.start()
            wait_until(lambda: self._texts, 10, "the witness hears the stream")
            reply = httpx.get(f"{self._simex.rest}/fapi/v1/depth", params={"symbol": "BTCUSDT", "limit": 1000})
            self._snapshot = reply.json()
            yield
        reader.join(10)

    def _read(self, socket: Any) -> None:
        try:
            for text in socket:
                self._texts.append(text)
        except ConnectionClosed:
            return

    def tops(self) -> dict[int, Top]:
        """By update id, from what was heard less what we put in."""
        ours = {*PUBLIC.values()}
        reference = ReferenceBook(self._snapshot)
        found = {}
        for text in self._texts:
            if text not in ours:
                event = json.loads(text)
                if reference.take(event):
                    found[event["u"]] = reference.top()
        return found


@pytest.fixture
def simex() -> Iterator[Running]:
    with running() as started:
        yield started


def put(simex: Running, route: str, text: str) -> int:
    reply = httpx.post(f"{simex.rest}/admin/frame", json={"route": route, "text": text}, timeout=10)
    assert reply.status_code == 200, reply.text
    return int(reply.json()["sent"])


def reported(line: Line) -> dict[str, int]:
    """By name, what the gateway counted as bad or odd."""
    found: dict[str, int] = line.result("status")["counters"]
    names = ("frame.", "book.gap", "stream.command_refused", "user_frames_bad")
    return {name: count for name, count in found.items() if name.startswith(names)}


def more(line: Line, before: dict[str, int]) -> bool:
    return sum(reported(line).values()) > sum(before.values())


def live(rig: Rig, symbol: str = "BTCUSDT") -> bool:
    return bool(rig.slice(f"{symbol}:book").get("state") == "live")


def test_no_public_frame_makes_a_wrong_book_and_each_is_reported(
    simex: Running, tmp_path: Path, run_dir: Path, redis_url: str
) -> None:
    witness = Witness(simex)
    with Monitor(redis_url) as monitor, witness.watching(), Rig(
        simex, redis_url, tmp_path, run_dir, gateway=QUICK
    ) as rig:  # fmt: skip
        rig.book_live()
        line = rig.line()
        for what, text in PUBLIC.items():
            before = reported(line)
            assert put(simex, "public", text) >= 2
            wait_until(partial(more, line, before), 5, f"a report of: {what}", 0.02)
            wait_until(lambda: live(rig), 20, f"live again after: {what}")
        assert line.result("status")["pid"] == rig.process.pid  # type: ignore[union-attr]
        print(reported(line))
        assert rig.stop() == 0
    judge(monitor, witness)


def judge(monitor: Monitor, witness: Witness) -> None:
    """Every live book ever published was the exchange's at its own update id, as another client saw it."""
    tops = witness.tops()
    slices = [one for one in monitor.slices("bs:main:BTCUSDT:book") if one["state"] == "live"]
    assert len({one["u"] for one in slices}) > 10
    for one in slices:
        assert (exact(one["bids"]), exact(one["asks"])) == tops[one["u"]], f"wrong at u={one['u']}"


@pytest.mark.timeout(240)
def test_no_snapshot_makes_a_wrong_book(simex: Running, tmp_path: Path, run_dir: Path, redis_url: str) -> None:
    witness = Witness(simex)
    with Monitor(redis_url) as monitor, witness.watching(), Rig(
        simex, redis_url, tmp_path, run_dir, gateway=QUICK
    ) as rig:  # fmt: skip
        rig.book_live()
        for what, fault in SNAPSHOTS.items():
            rig.fault(**fault, method="GET", path="/fapi/v1/depth", count=1)
            put(simex, "public", PUBLIC["cut short"])
            wait_until(lambda: struck(simex), 20, f"asked for a snapshot: {what}", 0.02)
            wait_until(lambda: live(rig), 30, f"live again after: {what}")
        assert rig.line().result("status")["pid"] == rig.process.pid  # type: ignore[union-attr]
        assert rig.stop() == 0
    judge(monitor, witness)


def struck(simex: Running) -> bool:
    return bool(httpx.get(f"{simex.rest}/admin/faults", timeout=10).json()["faults"] == [])


def test_market_and_private_frames_are_reported_and_orders_go_on(
    simex: Running, tmp_path: Path, run_dir: Path, redis_url: str
) -> None:
    with Rig(simex, redis_url, tmp_path, run_dir, gateway=QUICK) as rig:
        brain, line = rig.brain(), rig.line()
        rig.book_live()
        for route, frames in (("market", MARKET), ("private", PRIVATE)):
            for what, text in frames.items():
                before = reported(line)
                assert put(simex, route, text) == 1
                if not (route == "private" and what == "unknown event"):
                    wait_until(partial(more, line, before), 5, f"a report of {route}: {what}", 0.02)
                shown = rig.slice("BTCUSDT:mark")
                assert Decimal(shown["mark"]) > 1000, "a mark price of ours was believed"
        wait_until(lambda: rig.slice("gateway")["ready"], 20, "ready after a full reading")
        wait_until(lambda: bought(brain), 20, "orders go on")
        wait_until(lambda: rig.slice("BTCUSDT:position")["legs"][0]["qty"] == "0.002", 10, "position is shown")
        print(reported(line))
        assert "a fault inside the gateway" not in rig.log.read_text()
        assert line.result("status")["pid"] == rig.process.pid  # type: ignore[union-attr]


def bought(brain: Brain) -> bool:
    return bool(brain.place("BUY", "0.002")["ok"])


@pytest.mark.timeout(240)
@pytest.mark.parametrize("what", BODIES)
def test_a_start_among_bad_answers_ends_ready_and_right(
    what: str, simex: Running, tmp_path: Path, run_dir: Path, redis_url: str
) -> None:
    """Every request of the start is answered wrongly at first, each kind of wrong on its own."""
    for path in BASELINE:
        fault = {**BODIES[what], "path": path, "count": 1}
        assert httpx.post(f"{simex.rest}/admin/faults", json=fault, timeout=10).status_code == 200
    rig = Rig(simex, redis_url, tmp_path, run_dir, gateway=QUICK)
    try:
        rig.start(timeout_s=90)
        book = rig.book_live()
        wait_until(lambda: rig.slice("gateway")["ready"], 30, "ready")
        brain = rig.brain()
        answer = brain.place("BUY", "0.002", far_below(book))
        assert answer["outcome"] == "accepted", answer
        assert len(rig.truth()["orders"]) == 1
        assert "a fault inside the gateway" not in rig.log.read_text()
    finally:
        rig.__exit__(None, None, None)
