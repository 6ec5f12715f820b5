"""Drives the market side of the core (Links + MarketCore) by hand: clocks, connections, REST answers, what came out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from gateway.core.effects import Connect, Dirty, Disconnect, Effect, Probe, Report, Send, SendFrame, Write
from gateway.core.eventlog import EventLog
from gateway.core.heads import Heads
from gateway.core.inputs import Frame, Now, RestFailed, RestReply, StreamAlive, StreamClosed, StreamOpened
from gateway.core.links import Links
from gateway.core.market import MarketCore
from gateway.core.market_context import MarketContext
from gateway.core.market_settings import LinkSettings, MarketSettings
from gateway.core.market_venue import MarketVenue
from gateway.core.parts import Out
from gateway.core.rows import EventRow
from gateway.core.signals import Signal
from gateway.venues.binance import market as binance
from gateway.venues.binance.endpoints import endpoints
from ipc import keys
from ipc.events import Event

ACCOUNT = "main"
START_WALL_NS = 1_795_132_800_000_000_000
START_BOOT_NS = 1_000_000_000_000
_MS = 1_000_000

Answer = Callable[[Send], "tuple[int, Any] | None"]


def exchange_info(*symbols: str, status: str = "TRADING", extra: list[Any] | None = None) -> dict[str, Any]:
    entries: list[Any] = [
        {
            "symbol": symbol, "status": status, "baseAsset": symbol.removesuffix("USDT"), "quoteAsset": "USDT",
            "marginAsset": "USDT",
            "filters": [
                {"filterType": "PRICE_FILTER", "minPrice": "0.10", "maxPrice": "809484", "tickSize": "0.10"},
                {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
                {"filterType": "MARKET_LOT_SIZE", "minQty": "0.001", "maxQty": "120", "stepSize": "0.001"},
                {"filterType": "MIN_NOTIONAL", "notional": "50"},
                {"filterType": "MAX_NUM_ORDERS", "limit": 200},
                {"filterType": "PERCENT_PRICE", "multiplierUp": "1.05", "multiplierDown": "0.95"},
                {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
            ],
        }
        for symbol in symbols
    ]  # fmt: skip
    limits = [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
    ]
    return {"serverTime": 1, "rateLimits": limits, "symbols": entries + (extra or [])}


class Rig:
    """`answers` maps a REST path to a function of the Send: (status, body) or None to leave it unanswered.

    Effects are performed in order: a Connect opens at once (unless its family is in `refuse` or `hold`), a Send is
    answered from `answers`, everything else is collected.
    """

    def __init__(
        self,
        *,
        market: MarketSettings | None = None,
        link: LinkSettings | None = None,
        private: bool = False,
        stored: dict[str, bytes] | None = None,
        draw: Callable[[], float] = lambda: 0.5,
        wall_ns: int = START_WALL_NS,
        venue: MarketVenue = binance,
    ) -> None:
        self.now = Now(wall_ns, START_BOOT_NS)
        self.heads = Heads(epoch="e1", account=ACCOUNT, venue="binance-usdm", boot="boot")
        self.log = EventLog(1)
        context = MarketContext(ACCOUNT, self.heads, self.log, draw)
        ends = endpoints("simex", simex_rest="http://127.0.0.1:1", simex_ws="ws://127.0.0.1:1")
        self.links = Links(link or LinkSettings(), ends, context, venue, private=private)
        self.core = MarketCore(market or MarketSettings(), context, self.links, venue, stored=stored)
        self.answers: dict[str, Answer] = {"/fapi/v1/time": lambda send: (200, {"serverTime": self.now.wall_ms})}
        self.refuse: set[str] = set()
        self.hold: set[str] = set()
        self.held: list[str] = []
        self.open: dict[str, str] = {}
        self.sends: list[Send] = []
        self.events: list[Event] = []
        self.reports: list[Report] = []
        self.frames_sent: list[SendFrame] = []
        self.probes: list[str] = []
        self.signals: list[Signal] = []
        self.dirty: set[str] = set()
        self.answer_pings = True

    def serve(self, *symbols: str) -> None:
        self.answers["/fapi/v1/exchangeInfo"] = lambda send: (200, exchange_info(*symbols))

    def start(self, *symbols: str, intervals: tuple[str, ...] = ()) -> None:
        self.do(self.links.start(self.now))
        self.do(self.core.start(self.now))
        self.do(self.core.subscribe(self.now, symbols, intervals))

    def wait(self, ms: float, step_ms: float = 100) -> None:
        """Time passes in ticks."""
        end_ns = self.now.boot_ns + int(ms * _MS)
        while self.now.boot_ns < end_ns:
            step_ns = min(int(step_ms * _MS), end_ns - self.now.boot_ns)
            self.now = Now(self.now.wall_ns + step_ns, self.now.boot_ns + step_ns)
            self.do(self.links.on_tick(self.now))
            self.do(self.core.on_tick(self.now))

    def feed(self, data: bytes | dict[str, Any], conn: str = "public") -> Out:
        raw = data if isinstance(data, bytes) else json.dumps(data).encode()
        out = self.core.on_frame(self.now, Frame(conn, raw, self.now.wall_ns, self.now.boot_ns))
        self.do(out)
        return out

    def reply(self, send: Send, status: int, body: Any) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._route(RestReply(send.key, status, {}, raw))

    def fail(self, send: Send, reason: str = "connection reset") -> None:
        self._route(RestFailed(send.key, True, reason))

    def _route(self, reply: RestReply | RestFailed) -> None:
        part = self.links if reply.key[0] == "links" else self.core
        self.do(part.on_rest(self.now, reply))

    def close(self, conn: str, reason: str = "closed by the exchange") -> None:
        self.open.pop(conn)
        self.do(self.links.on_stream(self.now, StreamClosed(conn, reason)))

    def release(self, conn: str, url: str = "") -> None:
        """A connection opens (one that was held, by its name)."""
        self.open[conn] = url
        self.do(self.links.on_stream(self.now, StreamOpened(conn)))

    def do(self, out: Out) -> None:
        for effect in out:
            self._perform(effect)

    def _perform(self, effect: Effect | Signal) -> None:
        if isinstance(effect, Write):
            if isinstance(effect.row, EventRow):
                self.events.append(effect.row.event)
        elif isinstance(effect, Send):
            self.sends.append(effect)
            answer = self.answers.get(effect.path)
            found = answer(effect) if answer is not None else None
            if found is not None:
                self.reply(effect, *found)
        elif isinstance(effect, Connect):
            if effect.conn.partition("#")[0] in self.refuse:
                self.do(self.links.on_stream(self.now, StreamClosed(effect.conn, "HTTP 400")))
            elif effect.conn.partition("#")[0] in self.hold:
                self.held.append(effect.conn)
            else:
                self.release(effect.conn, effect.url)
        elif isinstance(effect, Disconnect):
            if self.open.pop(effect.conn, None) is not None:
                self.do(self.links.on_stream(self.now, StreamClosed(effect.conn, effect.reason)))
        elif isinstance(effect, Probe):
            self.probes.append(effect.conn)
            if self.answer_pings:
                self.do(self.links.on_stream(self.now, StreamAlive(effect.conn)))
        elif isinstance(effect, SendFrame):
            self.frames_sent.append(effect)
        elif isinstance(effect, Report):
            self.reports.append(effect)
        elif isinstance(effect, Dirty):
            self.dirty.update(effect.keys)
        else:
            self.signals.append(effect)  # type: ignore[arg-type]

    def subjects(self) -> list[str]:
        return [event.subject for event in self.events]

    def last(self, subject: str) -> Event:
        return next(event for event in reversed(self.events) if event.subject == subject)

    def slice(self, key: str) -> Any:
        raw = self.core.render(self.now, key)
        return None if raw is None else json.loads(raw)

    def book(self, symbol: str) -> Any:
        return self.slice(keys.book(ACCOUNT, symbol))

    def asked(self, path: str) -> list[Send]:
        return [send for send in self.sends if send.path == path]


def diff(
    symbol: str, first: int, last: int, prev: int, bids: list[Any], asks: list[Any], *, speed: str = "100ms"
) -> dict[str, Any]:
    data = {
        "e": "depthUpdate", "E": 1795132800000 + last, "T": 1, "s": symbol, "U": first, "u": last, "pu": prev,
        "b": bids, "a": asks,
    }  # fmt: skip
    return {"stream": f"{symbol.lower()}@depth@{speed}", "data": data}


def snapshot(last: int, bids: list[Any], asks: list[Any]) -> dict[str, Any]:
    return {"lastUpdateId": last, "E": 1, "T": 1, "bids": bids, "asks": asks}
