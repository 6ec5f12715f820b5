"""The feed of historical bars: trades of their tape, the books that go with them, own orders change nothing of it.

At the end of the shortest file the public and market sockets close with 1000, and the rest goes on: as with a replay.
"""

import logging

from simex.core.api import PublicLevels, PublicTrade
from simex.market.bars_market import BarsMarket
from simex.market.public_book import PublicBook
from simex.server import cadence
from simex.server.frames import AggTrade
from simex.server.seeded import SeededFeed
from simex.server.state import SymbolState
from simex.server.streams import MARKET, PUBLIC
from simex.server.world import World

log = logging.getLogger("simex.bars")


class BarsFeed(SeededFeed):
    """Drives a `World` whose exchange does not show own orders: what is shown is the file's alone."""

    def __init__(self, world: World, market: BarsMarket, books: dict[str, PublicBook]) -> None:
        super().__init__(world, market, books)
        self._bars = market
        self._trade_ids = dict.fromkeys(books, 0)
        self._ended = False

    def start(self) -> None:
        """Take the trades of the bars under way as past, and open the books."""
        now = self._world.clock.engine_ms()
        for symbol, single in self._bars.symbols.items():
            state = self._world.symbols[symbol]
            for item in single.begun(now):
                state.bars.roll(item.time_ms)
                trade = self._numbered(symbol, item.price, item.lots, item.time_ms, item.buyer_is_maker)
                self._world.book_trade(state, trade)
            state.bars.roll(now)
            bids, asks = single.bids.top(len(single.bids)), single.asks.top(len(single.asks))
            single.bids.take_changes(), single.asks.take_changes()
            self._world.absorb(now, self._world.exchange.on_levels(now, symbol, bids, asks))
            self._levels(now, PublicLevels(symbol, bids, asks))
            self._mark(now, state)

    def pulse(self) -> None:
        """One beat; after the end only the accounts go on."""
        if not self._ended:
            super().pulse()
            if self._bars.over:
                self._end()
            return
        now = self._world.clock.engine_ms()
        self._world.on_time(now)
        for key in self._world.keys.expired(now):
            self._world.expire_key(key)

    def step(self, now_ms: int, state: SymbolState) -> None:
        """Let one symbol's bars go on."""
        world, symbol = self._world, state.symbol
        step = self._bars.step(symbol, now_ms)
        for item in step.prints:
            cadence.roll_bars(world, state, item.time_ms)
            world.absorb(now_ms, world.exchange.on_print(now_ms, symbol, item.price, item.lots, item.buyer_is_maker))
            trade = self._numbered(symbol, item.price, item.lots, item.time_ms, item.buyer_is_maker)
            shown = PublicTrade(
                symbol, trade.last_id, item.price, item.lots, item.buyer_is_maker, item.time_ms
            )  # fmt: skip
            world.absorb(now_ms, [shown])
        cadence.roll_bars(world, state, now_ms)
        world.absorb(now_ms, world.exchange.on_levels(now_ms, symbol, step.bids, step.asks))
        self._levels(now_ms, PublicLevels(symbol, step.bids, step.asks))

    def _publish_bars(self, now_ms: int, state: SymbolState) -> None:
        """No bar is closed before the last trade of its time has been taken from the tape."""
        self.step(now_ms, state)
        super()._publish_bars(now_ms, state)

    def nudge(self, symbol: str, move_bps: float) -> None:
        """What has happened has happened."""
        raise ValueError("historical bars cannot be moved")

    def trade(self, symbol: str, side: str, lots: int) -> int:
        """What has happened has happened."""
        raise ValueError("nothing can be traded into historical bars from outside")

    def describe(self) -> dict[str, object]:
        """For /admin/state."""
        return {**super().describe(), "kind": "bars", "over": self._ended}

    def _numbered(self, symbol: str, price: int, lots: int, time_ms: int, buyer_is_maker: bool) -> AggTrade:
        self._trade_ids[symbol] += 1
        number = self._trade_ids[symbol]
        return AggTrade(number, price, lots, number, number, time_ms, buyer_is_maker)

    def _end(self) -> None:
        self._ended = True
        log.info("the bars are over")
        for route in (PUBLIC, MARKET):
            for connection in list(self._world.hub.on_route(route)):
                connection.close(1000, b"the bars are over")
