"""The events that come by the clock: bars, marks, tickers and the top of books."""

from collections.abc import Iterable

import orjson

from simex.market.bars import Bar
from simex.market.intervals import HOUR_MS, bucket_end
from simex.market.public_book import Diff
from simex.server import frames, reference
from simex.server.state import SymbolState
from simex.server.streams import Stream
from simex.server.world import World


def roll_bars(world: World, state: SymbolState, now_ms: int) -> None:
    """Close the bars whose time is over and tell their listeners; call before a trade is booked."""
    for interval, bar in state.bars.roll(now_ms):
        state.moved.discard(interval)
        _publish_bar(world, state, now_ms, interval, bar, closed=True)


def publish_bars(world: World, state: SymbolState, now_ms: int) -> None:
    """The open bars that trades have changed since the last time (every 250 ms)."""
    roll_bars(world, state, now_ms)
    moved, state.moved = state.moved, set()
    for interval in moved:
        _publish_bar(world, state, now_ms, interval, state.bars.open_bar(interval), closed=False)


def _publish_bar(world: World, state: SymbolState, now_ms: int, interval: str, bar: Bar, *, closed: bool) -> None:
    end = bucket_end(interval, bar.open_ms)
    for kind, build in (("kline", frames.kline), ("continuousKline", frames.continuous_kline)):
        for stream in world.hub.open_streams(kind, state.symbol):
            if stream.interval == interval:
                data = build(state.symbol, state.scale, now_ms, interval, bar, end, closed=closed)
                world.hub.publish(stream, data)


def publish_partial(world: World, state: SymbolState, now_ms: int, every_ms: int) -> None:
    """The top of the book to the partial-depth streams of one speed, if it has changed."""
    for stream in world.hub.open_streams("partialDepth", state.symbol):
        book = state.book
        before = state.shown.get(stream.name, 0)
        if stream.every_ms != every_ms or before == book.last_id:
            continue
        bids, asks = book.top(stream.levels)
        diff = Diff(before + 1 if before else book.last_id, book.last_id, before, book.time_ms, bids, asks)
        state.shown[stream.name] = book.last_id
        world.hub.publish(stream, frames.depth(state.symbol, state.scale, now_ms, diff))


def next_funding_ms(now_ms: int, hours: int) -> int:
    """The next settlement after a time, where one comes every so many hours."""
    return (now_ms // (hours * HOUR_MS) + 1) * hours * HOUR_MS


def _mark_speeds(second: int) -> tuple[int, ...]:
    return (1000, 3000) if second % 3 == 0 else (1000,)


def publish_mark(world: World, state: SymbolState, second: int) -> None:
    """One symbol's mark price to its own streams."""
    for stream in world.hub.open_streams("markPrice", state.symbol):
        if stream.every_ms in _mark_speeds(second):
            world.hub.publish(stream, orjson.dumps(frames.mark_price(state.symbol, state.mark, second * 1000)))


def publish_marks(world: World, second: int, singles: Iterable[SymbolState]) -> None:
    """Mark prices, once a second or every third; `second` is the Unix second that has just begun.

    `singles` are the symbols whose own streams are served from here.
    """
    event_ms = second * 1000
    for state in singles:
        publish_mark(world, state, second)
    speeds = _mark_speeds(second)
    for stream in world.hub.open_streams("allMarkPrice"):
        if stream.every_ms in speeds:
            rows = [frames.mark_price(state.symbol, state.mark, event_ms) for state in world.symbols.values()]
            world.hub.publish(stream, orjson.dumps(rows))


def publish_tickers(world: World, now_ms: int, second: int) -> None:
    """24-hour tickers: every second for all together, every other second for single symbols.

    Those for all hold the symbols that have traded since the one before.
    """
    if second % 2 == 0:
        for state in world.symbols.values():
            for kind in ("ticker", "miniTicker"):
                for stream in world.hub.open_streams(kind, state.symbol):
                    world.hub.publish(stream, orjson.dumps(_ticker(state, now_ms, mini=kind == "miniTicker")))
    for kind in ("allTicker", "allMiniTicker"):
        for stream in world.hub.open_streams(kind):
            _publish_changed(world, now_ms, stream, mini=kind == "allMiniTicker")
    if second % 5 == 0:
        publish_all_book_tickers(world, now_ms, world.hub.open_streams("allBookTicker"))


def _publish_changed(world: World, now_ms: int, stream: Stream, *, mini: bool) -> None:
    changed = []
    for state in world.symbols.values():
        last_id = state.trades[-1].last_id if state.trades else 0
        if state.told.get(stream.name) != last_id:
            state.told[stream.name] = last_id
            changed.append(_ticker(state, now_ms, mini=mini))
    if changed:
        world.hub.publish(stream, orjson.dumps(changed))


def publish_indices(world: World, now_ms: int) -> None:
    """Index prices of the assets, once a second."""
    everything = world.hub.open_streams("allAssetIndex")
    if not everything and not world.hub.has_open("assetIndex"):
        return
    rows = [frames.asset_index(*row, now_ms) for row in reference.asset_indices(world)]
    for stream in everything:
        world.hub.publish(stream, orjson.dumps(rows))
    for row in rows:
        for stream in world.hub.open_streams("assetIndex", str(row["s"])):
            world.hub.publish(stream, orjson.dumps(row))


def publish_all_book_tickers(world: World, now_ms: int, streams: list[Stream]) -> None:
    """`!bookTicker`: one message a symbol."""
    for stream in streams:
        for state in world.symbols.values():
            bid, ask = state.book.best()
            data = frames.book_ticker(state.symbol, state.scale, now_ms, state.book.last_id, bid, ask)
            world.hub.publish(stream, data)


def _ticker(state: SymbolState, now_ms: int, *, mini: bool) -> dict[str, object]:
    day = state.bars.last_day()
    if mini:
        return frames.mini_ticker(state.symbol, state.scale, now_ms, day)
    return frames.ticker(state.symbol, state.scale, now_ms, day, state.bars.last_lots)
