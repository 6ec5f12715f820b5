"""The replay feed: a recorded session, sent again as it was, its times moved by one constant.

It begins with the first depth subscription. The recorded snapshot answers the first depth request of its symbol, but
not before its place in the recording; later requests get the book as the recording has built it so far. Update ids
and texts of recorded events are never touched. Bars are made from the replayed trades (a recorded bar whose times
were moved would not begin on a full minute); with times kept, recorded bars are served as they are.
"""

import asyncio
import logging
from collections.abc import Callable
from decimal import Decimal

import orjson

from simex.core.exchange import Exchange
from simex.market.bars import BarSeries
from simex.market.history import NoPast
from simex.market.ladder import Level
from simex.market.recording import (
    AGG_TRADE,
    BOOK_TICKER,
    DEPTH,
    KLINE,
    MARK,
    SNAPSHOT,
    TRADE,
    Line,
    Recording,
    shifted,
)
from simex.market.replay_book import ReplayBook
from simex.market.survey import Survey
from simex.server import cadence, marketdata
from simex.server.frames import AggTrade, Mark
from simex.server.refusals import Refused
from simex.server.state import SymbolState
from simex.server.streams import MARKET, PUBLIC, Stream
from simex.server.world import World

log = logging.getLogger("simex.replay")

SNAPSHOT_WAIT_S = 30.0
"""How long a depth request waits for the recorded snapshot; then HTTP 503 "Service Unavailable."."""
GATHER_S = 0.1
"""Between the first depth subscription and the first line: subscriptions sent in one breath miss nothing."""
_HIGH_BYTES = 256 * 1024
_LOW_BYTES = 64 * 1024
_BEAT_S = 0.25
_BREATH = 50
"""Lines sent between two looks at the other tasks."""
_REAL_TRADES = ("MARKET", None)


class ReplayFeed:
    """Plays one recording into a `World` whose books are `ReplayBook`s. `speed` 0: as fast as it is taken."""

    def __init__(
        self, world: World, exchange: Exchange, recording: Recording, facts: Survey, books: dict[str, ReplayBook],
        *, speed: float, keep_times: bool,
    ) -> None:  # fmt: skip
        self._world = world
        self._exchange = exchange
        self._recording = recording
        self._facts = facts
        self._books = books
        self._speed = speed
        self._keep_times = keep_times
        self._started = asyncio.Event()
        self._snapshots: dict[str, bytes] = {}
        self._snapshot_came = {symbol: asyncio.Event() for symbol in books}
        self._first_given: set[str] = set()
        self._shift_ms = 0
        self._market_ms = 0
        self._sent = 0
        self._over = False
        self._own_marks: dict[str, int] = {}
        self._emitters: dict[str, Callable[[int, SymbolState, Line, bytes], None]] = {
            DEPTH: self._depth,
            SNAPSHOT: self._snapshot,
            BOOK_TICKER: self._book_ticker,
            TRADE: self._trade,
            AGG_TRADE: self._agg_trade,
            MARK: self._mark,
            KLINE: self._kline,
        }
        world.on_open = self._opened

    async def run(self) -> None:
        """Wait for the first depth subscription, play to the end, then keep the clockwork going."""
        beat = asyncio.create_task(self._beat())
        try:
            await self._started.wait()
            await asyncio.sleep(GATHER_S)
            await self._play()
            await beat
        finally:
            beat.cancel()
            await asyncio.gather(beat, return_exceptions=True)

    async def depth(self, state: SymbolState, limit: int) -> bytes:
        """GET /fapi/v1/depth. Raises Refused 503 when the recorded snapshot does not come in time."""
        symbol = state.symbol
        if symbol not in self._first_given and SNAPSHOT in self._facts.symbols[symbol].kinds:
            try:
                await asyncio.wait_for(self._snapshot_came[symbol].wait(), SNAPSHOT_WAIT_S)
            except TimeoutError as error:
                log.warning("depth of %s was asked for, but its recorded snapshot has not come", symbol)
                raise Refused(503, -1000, "Service Unavailable.") from error
            if symbol not in self._first_given:
                self._first_given.add(symbol)
                return _cut(self._snapshots[symbol], limit)
        now = self._event_ms()
        book = self._books[symbol]
        return marketdata.dump(marketdata.depth_body(state, now, book.last_id, *book.top(limit)))

    def describe(self) -> dict[str, object]:
        """For /admin/state."""
        return {
            "kind": "replay",
            "file": self._recording.path.name,
            "started": self._started.is_set(),
            "over": self._over,
            "lines": self._facts.lines,
            "sent": self._sent,
            "shift_ms": self._shift_ms,
            "symbols": {symbol: {"last_id": book.last_id} for symbol, book in self._books.items()},
        }

    def nudge(self, symbol: str, move_bps: float) -> None:
        """A recording cannot be moved."""
        raise ValueError(f"{symbol} is a recording: it cannot be moved by {move_bps:g} basis points")

    def trade(self, symbol: str, side: str, lots: int) -> int:
        """A recording takes no orders from outside."""
        raise ValueError(f"{symbol} is a recording: nobody can {side} {lots} lots in it")

    async def _play(self) -> None:
        """Send every line at its time; at full speed, no faster than the slowest subscriber reads."""
        loop, facts, world = asyncio.get_running_loop(), self._facts, self._world
        begin_ms, begin_s = world.clock.engine_ms(), loop.time()
        if not self._keep_times:
            self._shift_ms = begin_ms - round(facts.first_ns / 1e6 + facts.lead_ms)
        self._market_ms = facts.first_event_ms + self._shift_ms
        for state in world.symbols.values():
            state.bars = bars_from_nothing(self._market_ms)
            for stream in [*world.hub.open_streams("kline", state.symbol)]:
                state.bars.watch(stream.interval)
        log.info("replay of %s begins: %d lines, times moved by %d ms", self._recording.path.name, facts.lines,
                 self._shift_ms)  # fmt: skip
        for line in self._recording.lines():
            if self._speed:
                due = begin_s + (line.at_ns - facts.first_ns) / 1e9 / self._speed
                if (wait := due - loop.time()) > 0.001:
                    await asyncio.sleep(wait)
            self._emit(line)
            self._sent += 1
            if self._sent % _BREATH == 0:
                await asyncio.sleep(0)
            if not self._speed and world.hub.backlog() > _HIGH_BYTES:
                await world.hub.drained(_LOW_BYTES)
        self._over = True
        log.info("replay of %s is over after %d lines; REST goes on", self._recording.path.name, self._sent)
        for route in (PUBLIC, MARKET):
            for connection in world.hub.on_route(route):
                connection.close(1000, b"end of recording")

    def _emit(self, line: Line) -> None:
        state = self._world.symbols[line.symbol]
        self._emitters[line.kind](self._world.clock.engine_ms(), state, line, shifted(line.text, self._shift_ms))

    def _depth(self, now_ms: int, state: SymbolState, line: Line, text: bytes) -> None:
        event = orjson.loads(text)
        self._market_ms = max(self._market_ms, event["E"])
        bids, asks = _levels(state, event["b"]), _levels(state, event["a"])
        if self._books[line.symbol].diff(event["u"], event["T"], bids, asks):
            self._world.absorb(now_ms, self._exchange.on_levels(now_ms, line.symbol, bids, asks))
        for stream in self._world.hub.open_streams("depth", line.symbol):
            self._world.publish_depth(stream, text)
        self._middle_mark(now_ms, state, event["E"])

    def _middle_mark(self, now_ms: int, state: SymbolState, event_ms: int) -> None:
        """Where no mark was recorded it is the middle of the book, once a second of the recording."""
        second = event_ms // 1000
        (bid, _), (ask, _) = state.book.best()
        if MARK in self._facts.symbols[state.symbol].kinds or not (bid and ask):
            return
        if self._own_marks.get(state.symbol) == second:
            return
        self._own_marks[state.symbol] = second
        middle = state.price((bid + ask) / 2)
        due_ms = cadence.next_funding_ms(event_ms, state.instrument.funding_hours)
        mark = Mark(middle, middle, middle, Decimal(0), due_ms, event_ms)
        self._world.set_mark(now_ms, state, mark)
        cadence.publish_mark(self._world, state, second)

    def _snapshot(self, now_ms: int, state: SymbolState, line: Line, text: bytes) -> None:
        body = orjson.loads(text)
        book = self._books[line.symbol]
        old_bids, old_asks = book.top(len(book.bids))[0], book.top(len(book.asks))[1]
        book.snapshot(
            body["lastUpdateId"], body.get("T", self._market_ms), _levels(state, body["bids"]),
            _levels(state, body["asks"]),
        )  # fmt: skip
        bids = [(price, 0) for price, _ in old_bids] + book.bids.top(len(book.bids))
        asks = [(price, 0) for price, _ in old_asks] + book.asks.top(len(book.asks))
        self._world.absorb(now_ms, self._exchange.on_levels(now_ms, line.symbol, bids, asks))
        self._snapshots[line.symbol] = text
        self._snapshot_came[line.symbol].set()

    def _book_ticker(self, _now_ms: int, state: SymbolState, _line: Line, text: bytes) -> None:
        self._world.publish("bookTicker", state.symbol, text)

    def _trade(self, now_ms: int, state: SymbolState, _line: Line, text: bytes) -> None:
        """A single trade: on the tape as it is, and as an aggregate trade of its own."""
        event = orjson.loads(text)
        self._world.publish("trade", state.symbol, text)
        price, lots = state.scale.ticks(event["p"]), state.scale.lots(event["q"])
        if price <= 0 or lots <= 0 or event.get("X") not in _REAL_TRADES:
            return  # a used-up id, or a trade of the insurance fund: no aggregate trade
        trade_id = event["t"]
        self._take_trade(now_ms, state, AggTrade(trade_id, price, lots, trade_id, trade_id, event["T"], event["m"]))
        aggregate = {
            "e": "aggTrade", "E": event["E"], "a": trade_id, "s": event["s"], "p": event["p"], "q": event["q"],
            "nq": event["q"], "f": trade_id, "l": trade_id, "T": event["T"], "m": event["m"], "st": 1,
        }  # fmt: skip
        self._world.publish("aggTrade", state.symbol, orjson.dumps(aggregate))

    def _agg_trade(self, now_ms: int, state: SymbolState, _line: Line, text: bytes) -> None:
        event = orjson.loads(text)
        price, lots = state.scale.ticks(event["p"]), state.scale.lots(event["q"])
        self._take_trade(
            now_ms, state, AggTrade(event["a"], price, lots, event["f"], event["l"], event["T"], event["m"])
        )
        self._world.publish("aggTrade", state.symbol, text)

    def _take_trade(self, now_ms: int, state: SymbolState, trade: AggTrade) -> None:
        """A recorded trade reaches bars, tape, and the queue of resting orders."""
        self._market_ms = max(self._market_ms, trade.time_ms)
        if self._serves_recorded_bars(state):
            state.bars.roll(trade.time_ms)
        else:
            cadence.roll_bars(self._world, state, trade.time_ms)
        self._world.book_trade(state, trade)
        state.agg_trades.append(trade)
        outs = self._exchange.on_print(now_ms, state.symbol, trade.price, trade.lots, trade.buyer_is_maker)
        self._world.absorb(now_ms, outs)

    def _mark(self, now_ms: int, state: SymbolState, _line: Line, text: bytes) -> None:
        event = orjson.loads(text)
        mark, index = Decimal(event["p"]), Decimal(event.get("i", event["p"]))
        rate = Decimal(event.get("r") or "0")
        self._world.set_mark(now_ms, state, Mark(mark, mark, index, rate, event["T"], event["E"]))
        self._world.publish("markPrice", state.symbol, text)

    def _kline(self, _now_ms: int, state: SymbolState, _line: Line, text: bytes) -> None:
        if self._keep_times:
            interval = orjson.loads(text)["k"]["i"]
            for stream in self._world.hub.open_streams("kline", state.symbol):
                if stream.interval == interval:
                    self._world.hub.publish(stream, text)

    def _opened(self, stream: Stream) -> None:
        if stream.kind in ("depth", "partialDepth") and stream.symbol in self._books:
            self._started.set()

    async def _beat(self) -> None:
        """What goes by the clock: partial depth, bars, and once a second marks, tickers and listenKeys."""
        world = self._world
        second = 0
        while True:
            await asyncio.sleep(_BEAT_S)
            now = world.clock.engine_ms()
            world.on_time(now)
            if self._started.is_set() and not self._over:
                for state in world.symbols.values():
                    for every_ms in (0, 100, 250, 500):
                        cadence.publish_partial(world, state, self._event_ms(), every_ms)
                    if not self._serves_recorded_bars(state):
                        cadence.publish_bars(world, state, self._event_ms())
            if now // 1000 != second:
                second = now // 1000
                self._every_second(now, second)

    def _every_second(self, now: int, second: int) -> None:
        world = self._world
        for key in world.keys.expired(now):
            world.expire_key(key)
        if not self._started.is_set() or self._over:
            return
        cadence.publish_marks(world, second, ())
        cadence.publish_tickers(world, self._event_ms(), second)
        cadence.publish_indices(world, self._event_ms())

    def _serves_recorded_bars(self, state: SymbolState) -> bool:
        return self._keep_times and KLINE in self._facts.symbols[state.symbol].kinds

    def _event_ms(self) -> int:
        """The time that made-up events carry: the recording's, once it runs."""
        return self._market_ms or self._world.clock.now_ms()


def _levels(state: SymbolState, rows: list[list[str]]) -> list[Level]:
    scale = state.scale
    return [(scale.ticks(price), scale.lots(qty)) for price, qty in rows]


def bars_from_nothing(start_ms: int) -> BarSeries:
    """Bars without a past."""
    return BarSeries(start_ms, 0, NoPast())


def _cut(snapshot: bytes, limit: int) -> bytes:
    """The recorded body, byte for byte unless fewer levels were asked for."""
    body = orjson.loads(snapshot)
    if len(body["bids"]) <= limit and len(body["asks"]) <= limit:
        return snapshot
    return orjson.dumps({**body, "bids": body["bids"][:limit], "asks": body["asks"][:limit]})
