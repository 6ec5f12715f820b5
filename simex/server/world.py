"""The exchange as one object: the core, the public state of each symbol, and the way from effects to streams."""

from collections.abc import Callable, Sequence
from random import Random

import orjson

from simex.core.api import (
    Consumed,
    ExchangeDoor,
    ForcedOrder,
    FundingSettled,
    Out,
    PublicLevels,
    PublicTrade,
    UserEvent,
)
from simex.market.history import FundingPoint
from simex.server import frames
from simex.server.chaos.lanes import Lanes
from simex.server.clock import Clock
from simex.server.faults import Faults
from simex.server.force_orders import ForceOrders, all_event, single_event
from simex.server.frames import AggTrade, Mark
from simex.server.hub import Hub
from simex.server.listen_keys import ListenKeys
from simex.server.state import SymbolState
from simex.server.streams import Stream

TRADES, AGG_TRADES = "trade", "aggTrade"


class World:
    """Holds no timers: the feed (seeded or replay) and the REST handlers call it, it publishes.

    `on_levels` and `on_consumed` are the feed's: visible levels that changed, external liquidity that was taken.
    `on_user` hears each private event before any fault meets it.
    `later` delivers a delayed message: (delay in ms, callback).
    """

    def __init__(
        self, exchange: ExchangeDoor, symbols: Sequence[SymbolState], clock: Clock, keys: ListenKeys, rng: Random,
        later: Callable[[int, Callable[[], None]], None],
    ) -> None:  # fmt: skip
        self.exchange = exchange
        self.symbols = {state.symbol: state for state in symbols}
        for state in symbols:
            state.share_tape(len(symbols))
        self.clock = clock
        self.keys = keys
        self.faults = Faults(rng, exchange_ms=clock.now_ms)
        self.lanes = Lanes(self.faults, self.fault_ms, later)
        self.hub = Hub(self._stream_opened, self._stream_closed, self._muted)
        self.hub.gate = self._gate
        self.on_levels: Callable[[int, PublicLevels], None] = _ignore_levels
        self.on_consumed: Callable[[Consumed], None] = _ignore_consumed
        self.on_open: Callable[[Stream], None] = _ignore_stream
        self.on_close: Callable[[Stream], None] = _ignore_stream
        self.on_user: Callable[[str, bytes], None] = _ignore_user
        self.force_orders = ForceOrders()
        self.shows_own = True
        """Whether the public streams may tell of what happens here: not on a relay."""
        self.later = later

    def fault_ms(self) -> int:
        """The clock of the faults is the machine's: what they do to the network, they do in real seconds."""
        return self.clock.wall_ms()

    def absorb(self, now_ms: int, outs: Sequence[Out]) -> None:
        """Make the core's effects visible, in their order."""
        trades: list[PublicTrade] = []
        for out in outs:
            if isinstance(out, PublicTrade):
                trades.append(out)
                continue
            if trades:
                self._show_trades(now_ms, trades)
                trades = []
            if isinstance(out, PublicLevels):
                self.on_levels(now_ms, out)
            elif isinstance(out, UserEvent):
                self.user_event(out.account, out.payload)
            elif isinstance(out, FundingSettled):
                self._note_funding(out)
            elif isinstance(out, ForcedOrder):
                self.forced(now_ms, out)
            else:
                self.on_consumed(out)
        if trades:
            self._show_trades(now_ms, trades)

    def on_time(self, now_ms: int) -> None:
        """What the core has to do by the clock; the feeds call it a few times a second."""
        due_ms = self.exchange.next_due_ms()
        if due_ms is not None and due_ms <= now_ms:
            self.absorb(now_ms, self.exchange.on_time(now_ms))
        for order in self.force_orders.due(now_ms):
            self.publish("forceOrder", order.symbol, single_event(now_ms, order))
            self.publish("allForceOrder", "", all_event(now_ms, order))

    def user_event(self, account: str, payload: dict[str, object]) -> None:
        """Push one private event to the sockets on the account's listenKey, through the faults that may meet it."""
        kind = str(payload.get("e", ""))

        def send(data: bytes) -> None:
            key = self.keys.key_of(account)
            if key is not None:
                self.hub.publish_user(key, kind, data)

        data = orjson.dumps(payload)
        self.on_user(account, data)
        self.lanes.user(account, kind, data, send)

    def expire_key(self, listen_key: str) -> None:
        """Tell every socket on a key that it is over; they stay open and mute."""
        event = {"e": "listenKeyExpired", "E": self.clock.now_ms(), "listenKey": listen_key}
        self.hub.publish_user(listen_key, "listenKeyExpired", orjson.dumps(event))

    def set_mark(self, now_ms: int, state: SymbolState, mark: Mark) -> None:
        """A new mark price, for the core and for the streams that ask."""
        state.mark = mark
        state.sample(now_ms)
        self.absorb(
            now_ms,
            self.exchange.on_mark(now_ms, state.symbol, mark.mark, mark.index, mark.rate, mark.next_funding_ms),
        )

    def forced(self, now_ms: int, order: ForcedOrder) -> None:
        """A liquidation, of an account here or of the market outside."""
        self.symbols[order.symbol].interest.forced(now_ms, order.lots)
        if self.shows_own:
            self.force_orders.take(now_ms, order)

    def settle_funding(self, now_ms: int, state: SymbolState) -> None:
        """Charge funding now, at the last mark and rate."""
        self.absorb(now_ms, self.exchange.settle_funding(now_ms, state.symbol))

    def _note_funding(self, done: FundingSettled) -> None:
        """A settlement joins the history that `fundingRate` lists."""
        state = self.symbols[done.symbol]
        ticks = round(done.mark / state.instrument.tick_size)
        state.settled.append(FundingPoint(done.time_ms, int(done.rate * 10**8), ticks))

    def publish_depth(self, stream: Stream, data: bytes) -> None:
        """Publish one diff-depth event, through the faults that may meet it."""
        self.lanes.depth(stream.name, stream.symbol, data, lambda kept: self.hub.publish(stream, kept))

    def publish(self, kind: str, symbol: str, data: bytes) -> None:
        """Publish one event to every open stream of a kind and symbol."""
        for stream in self.hub.open_streams(kind, symbol):
            self.hub.publish(stream, data)

    def _show_trades(self, now_ms: int, trades: Sequence[PublicTrade]) -> None:
        """Book trades in bars and tape; neighbours of one taker at one price are one aggregate trade."""
        run: AggTrade | None = None
        symbol = ""
        for item in trades:
            same = (
                run is not None
                and item.symbol == symbol
                and item.price_ticks == run.price
                and item.buyer_is_maker == run.buyer_is_maker
                and item.trade_id == run.last_id + 1
            )
            if run is not None and same:
                run.lots += item.qty_lots
                run.last_id = item.trade_id
            else:
                if run is not None:
                    self.show_agg_trade(now_ms, self.symbols[symbol], run)
                symbol = item.symbol
                run = AggTrade(
                    self._take_agg_id(symbol), item.price_ticks, item.qty_lots, item.trade_id, item.trade_id,
                    item.time_ms, item.buyer_is_maker,
                )  # fmt: skip
            single = AggTrade(
                0, item.price_ticks, item.qty_lots, item.trade_id, item.trade_id, item.time_ms, item.buyer_is_maker
            )
            self.show_trade(now_ms, self.symbols[item.symbol], single)
        if run is not None:
            self.show_agg_trade(now_ms, self.symbols[symbol], run)

    def _take_agg_id(self, symbol: str) -> int:
        state = self.symbols[symbol]
        state.next_agg_id += 1
        return state.next_agg_id

    def show_trade(self, now_ms: int, state: SymbolState, single: AggTrade) -> None:
        """One trade into tape and bars, and to the `trade` streams."""
        self.book_trade(state, single)
        for stream in self.hub.open_streams(TRADES, state.symbol):
            self.hub.publish(stream, frames.trade(state.symbol, state.scale, now_ms, single))

    def book_trade(self, state: SymbolState, trade: AggTrade) -> None:
        """One trade into tape and bars, nothing published."""
        state.trades.append(trade)
        state.interest.traded(trade.time_ms, trade.lots, trade.buyer_is_maker)
        state.bars.add_trade(trade.price, trade.lots, trade.buyer_is_maker, (trade.first_id, trade.last_id))
        state.moved.update(stream.interval for stream in self.hub.open_streams("kline", state.symbol))
        state.moved.update(stream.interval for stream in self.hub.open_streams("continuousKline", state.symbol))

    def show_agg_trade(self, now_ms: int, state: SymbolState, run: AggTrade) -> None:
        """One aggregate trade to the tape and its streams."""
        state.agg_trades.append(run)
        for stream in self.hub.open_streams(AGG_TRADES, state.symbol):
            self.hub.publish(stream, frames.agg_trade(state.symbol, state.scale, now_ms, run))

    def _muted(self, route: str, stream: str) -> bool:
        if self.faults.idle:
            return False
        where = {"route": route, "stream": stream, "symbol": stream.partition("@")[0].upper()}
        return self.faults.strike(self.fault_ms(), "silent", where) is not None

    def _gate(self, stream: Stream, data: bytes) -> None:
        if self.lanes.calm:
            self.hub.deliver(stream, data)
            return
        where = {"route": stream.route, "stream": stream.name, "symbol": stream.symbol}
        self.lanes.stream(stream.name, where, data, lambda kept: self.hub.deliver(stream, kept))

    def _stream_opened(self, stream: Stream) -> None:
        state = self.symbols.get(stream.symbol)
        if state is not None and stream.interval:
            state.bars.watch(stream.interval)
        self.on_open(stream)

    def _stream_closed(self, stream: Stream) -> None:
        self.lanes.forget(stream.name)
        self.on_close(stream)


def _ignore_levels(_now_ms: int, _levels: PublicLevels) -> None:
    """A replay shows its recording; the core reports no visible levels then."""


def _ignore_consumed(_taken: Consumed) -> None:
    """A replay's liquidity is what was recorded, whoever takes it."""


def _ignore_user(_account: str, _event: bytes) -> None:
    """Nobody records what accounts are told."""


def _ignore_stream(_stream: Stream) -> None:
    """The feed does not care who listens."""
