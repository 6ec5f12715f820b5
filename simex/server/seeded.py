"""The seeded feed: steps the market by the clock and publishes what comes of it."""

import asyncio
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Protocol

from simex.core.api import Consumed, ForcedOrder, PublicLevels
from simex.core.instrument import USUAL_FUNDING_HOURS
from simex.market.generator import Step, SymbolMarket
from simex.market.public_book import PublicBook
from simex.server import cadence, frames
from simex.server.frames import Mark
from simex.server.state import SymbolState
from simex.server.streams import Stream
from simex.server.world import World

PULSE_MS = 50
"""A symbol steps every second pulse, and its 100 ms streams are flushed in the pulses between."""
_CATCH_UP_S = 4
"""Seconds that are made up for when a pulse comes late or the clock runs fast: every cadence meets its own."""


_SHORTEST_PULSE_S = 0.005
_LONGEST_PULSE_MS = 1000


def pulse_s(speed: float) -> float:
    """The machine's seconds between two pulses: 50 ms of the clock, more where it runs too fast for that."""
    usual = PULSE_MS / 1000 / speed
    return usual if usual >= _SHORTEST_PULSE_S else min(_SHORTEST_PULSE_S, _LONGEST_PULSE_MS / 1000 / speed)


class Market(Protocol):
    """The market outside, as a feed drives it."""

    @property
    def symbols(self) -> Mapping[str, SymbolMarket]:
        """Each symbol's own."""

    def step(self, symbol: str, now_ms: int) -> Step:
        """Let one symbol's market move to a time."""


class SeededFeed:
    """Drives a `World` whose books are `PublicBook`s. One task runs `run`; everything else is synchronous."""

    def __init__(self, world: World, market: Market, books: dict[str, PublicBook]) -> None:
        self._world = world
        self._market = market
        self._books = books
        self._pulse = 0
        self._second = world.clock.now_ms() // 1000
        self._best: dict[str, object] = {}
        world.on_levels = self._levels
        world.on_consumed = self._consumed
        world.on_open = self._opened
        world.on_close = self._closed

    def start(self) -> None:
        """Hand the opening books to the core and set the first marks."""
        now = self._world.clock.engine_ms()
        for symbol, single in self._market.symbols.items():
            levels = single.bids.top(len(single.bids)), single.asks.top(len(single.asks))
            self._world.absorb(now, self._world.exchange.on_levels(now, symbol, *levels))
            self._mark(now, self._world.symbols[symbol])

    async def run(self) -> None:
        """Pulse for ever, on a fixed grid; a pulse that comes late is followed at once, not made up for."""
        loop = asyncio.get_running_loop()
        every_s = pulse_s(self._world.clock.speed)
        due = loop.time()
        while True:
            self.pulse()
            due = max(due + every_s, loop.time())
            await asyncio.sleep(max(0.0005, due - loop.time()))

    def pulse(self) -> None:
        """One beat: half of the symbols step, the other half's fast streams are flushed."""
        world, now = self._world, self._world.clock.engine_ms()
        self._pulse += 1
        world.on_time(now)
        for index, state in enumerate(world.symbols.values()):
            beat = self._pulse + index
            if beat % 2 == 0:
                self.step(now, state)
            else:
                self._flush(now, state, 100)
            if beat % 5 == 0:
                self._flush(now, state, 250)
                self._publish_bars(now, state)
            if beat % 10 == 0:
                self._flush(now, state, 500)
        latest = now // 1000
        for second in range(max(self._second + 1, latest - _CATCH_UP_S), latest + 1):
            self._every_second(now, second)
        self._second = max(self._second, latest)

    def _publish_bars(self, now_ms: int, state: SymbolState) -> None:
        """The open bars that have changed, and those whose time is over."""
        cadence.publish_bars(self._world, state, now_ms)

    def step(self, now_ms: int, state: SymbolState) -> None:
        """Let one symbol's market move."""
        world = self._world
        step = self._market.step(state.symbol, now_ms)
        cadence.roll_bars(world, state, now_ms)
        for item in step.prints:
            outs = world.exchange.on_print(now_ms, state.symbol, item.price, item.lots, item.buyer_is_maker)
            world.absorb(now_ms, outs)
        world.absorb(now_ms, world.exchange.on_levels(now_ms, state.symbol, step.bids, step.asks))
        for forced in step.forced:
            order = frames.forced_order(state.symbol, state.scale, now_ms, forced)
            world.forced(now_ms, ForcedOrder(state.symbol, forced.lots, order))

    def nudge(self, symbol: str, move_bps: float) -> None:
        """Move a symbol's price at once (for tests)."""
        self._market.symbols[symbol].nudge(move_bps)
        self.step(self._world.clock.engine_ms(), self._world.symbols[symbol])

    def trade(self, symbol: str, side: str, lots: int) -> int:
        """An external market order of `side` sweeps the book (for tests); returns the lots it took."""
        world, state, single = self._world, self._world.symbols[symbol], self._market.symbols[symbol]
        now = world.clock.engine_ms()
        ladder = single.asks if side == "BUY" else single.bids
        cadence.roll_bars(world, state, now)
        taken = 0
        while taken < lots and (price := ladder.best()) is not None:
            part = min(lots - taken, ladder.get(price))
            world.absorb(now, world.exchange.on_print(now, symbol, price, part, side == "SELL"))
            ladder.set(price, ladder.get(price) - part)
            bids, asks = single.bids.take_changes(), single.asks.take_changes()
            world.absorb(now, world.exchange.on_levels(now, symbol, bids, asks))
            taken += part
        return taken

    def describe(self) -> dict[str, object]:
        """For /admin/state."""
        prices = {}
        for symbol, state in self._world.symbols.items():
            bid, ask = state.book.best()
            prices[symbol] = {"bid": state.scale.price(bid[0]), "ask": state.scale.price(ask[0])}
        return {"kind": "seeded", "symbols": prices}

    def _every_second(self, now: int, second: int) -> None:
        world = self._world
        for state in world.symbols.values():
            self._mark(now, state)
        cadence.publish_marks(world, second, world.symbols.values())
        cadence.publish_tickers(world, now, second)
        cadence.publish_indices(world, now)
        for state in world.symbols.values():
            state.interest.now(now)
        for key in world.keys.expired(now):
            world.expire_key(key)

    def _mark(self, now: int, state: SymbolState) -> None:
        """The mark follows the middle of the book and the index, between the two."""
        single = self._market.symbols[state.symbol]
        bid, ask = state.book.best()
        middle = (bid[0] + ask[0]) / 2 if bid[0] and ask[0] else single.fair_ticks
        index = single.index_ticks
        mark = state.price(0.7 * middle + 0.3 * index)
        hours = state.instrument.funding_hours
        rate = Decimal(math.floor(single.funding_rate * 1e8 * hours / USUAL_FUNDING_HOURS)).scaleb(-8)
        next_ms = cadence.next_funding_ms(now, hours)
        average = state.mark.average + (mark - state.mark.average) / 10 if state.mark.time_ms else mark
        self._world.set_mark(now, state, Mark(mark, average, state.price(index), rate, next_ms, now))

    def _levels(self, now_ms: int, changed: PublicLevels) -> None:
        """Visible levels changed: book, depth chains, and bookTicker if the touch moved."""
        symbol = changed.symbol
        if not changed.bids and not changed.asks:
            return
        book, state, world = self._books[symbol], self._world.symbols[symbol], self._world
        book.apply(now_ms, changed.bids, changed.asks)
        best = book.best()
        if best != self._best.get(symbol):
            self._best[symbol] = best
            if world.hub.open_streams("bookTicker", symbol):
                data = frames.book_ticker(symbol, state.scale, now_ms, book.last_id, *best)
                world.publish("bookTicker", symbol, data)
        self._flush(now_ms, state, 0)

    def _consumed(self, taken: Consumed) -> None:
        self._market.symbols[taken.symbol].consume(taken.side, taken.price_ticks, taken.qty_lots)

    def _opened(self, stream: Stream) -> None:
        if stream.kind == "depth" and stream.symbol in self._books:
            self._books[stream.symbol].open_chain(stream.name)

    def _closed(self, stream: Stream) -> None:
        if stream.kind == "depth" and stream.symbol in self._books:
            self._books[stream.symbol].close_chain(stream.name)

    def _flush(self, now_ms: int, state: SymbolState, every_ms: int) -> None:
        """Send what the depth streams of one speed have gathered."""
        for stream in self._world.hub.open_streams("depth", state.symbol):
            if stream.every_ms == every_ms:
                diff = self._books[state.symbol].flush(stream.name)
                if diff is not None:
                    self._world.publish_depth(stream, frames.depth(state.symbol, state.scale, now_ms, diff))
        cadence.publish_partial(self._world, state, now_ms, every_ms)
