"""Builds the exchange over its market: seeded, or a recording. No socket is opened here."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, Protocol

import numpy as np

from simex.core.exchange import Exchange
from simex.core.instrument import Instrument, default_instrument, default_instruments, instrument_from_info
from simex.market.barfile import BadBars, BarFile, FundingFile, read_file
from simex.market.bars import BarSeries
from simex.market.bars_market import BarsMarket, BarsSymbol, Span, past_of, span_of
from simex.market.generator import SeededMarket
from simex.market.history import Past
from simex.market.profile import MarketSpec, profile_of
from simex.market.public_book import PublicBook, UpdateIds
from simex.market.recording import SNAPSHOT, Recording
from simex.market.replay_book import ReplayBook
from simex.market.survey import Grid, SymbolFacts, survey
from simex.server import marketdata
from simex.server.admin import Feed
from simex.server.bars_feed import BarsFeed
from simex.server.clock import Clock
from simex.server.frames import Mark
from simex.server.keeping import adopt, last_price
from simex.server.limits import LimitSettings
from simex.server.listen_keys import ListenKeys
from simex.server.player import ReplayFeed, bars_from_nothing
from simex.server.seeded import SeededFeed
from simex.server.service import DepthSource, RelaySource
from simex.server.settings import Settings
from simex.server.sockets import always
from simex.server.state import SymbolState, scale_of
from simex.server.tape import Tape
from simex.server.world import World

NO_MARK = Mark(Decimal(0), Decimal(0), Decimal(0), Decimal(0), 0, 0)


class RunningFeed(Feed, Protocol):
    """A feed that runs as a task."""

    async def run(self) -> None:
        """Drive the market until cancelled."""


async def _nothing() -> None:
    """Nothing to close."""


@dataclass
class Parts:
    """What the server serves: `depth` answers GET /fapi/v1/depth.

    A relay has more: `relay` answers public REST, `serves` says which routes have streams now, `limits` are those of
    the exchange behind it, `close` ends what it holds open.
    """

    world: World
    exchange: Exchange
    feed: RunningFeed
    depth: DepthSource
    relay: RelaySource | None = None
    serves: Callable[[str], bool] = always
    limits: LimitSettings | None = None
    close: Callable[[], Awaitable[None]] = _nothing


@dataclass(frozen=True)
class Means:
    """What the shell lends: clock, dice, listenKeys, delayed calls; `saved` is the state of an earlier life."""

    clock: Clock
    rng: Random
    keys: ListenKeys
    later: Callable[[int, Callable[[], None]], None]
    saved: dict[str, Any] | None = None


def build_seeded(settings: Settings, means: Means) -> Parts:
    """The exchange over the seeded market."""
    now = means.clock.engine_ms()
    instruments = [
        _continued(_funded(instrument, settings), means.saved) for instrument in default_instruments(settings.symbols)
    ]
    exchange = Exchange(instruments, settings.accounts, id_base=now, rules=settings.rules)
    adopt(exchange, means.saved, now)
    specs = [_spec(instrument) for instrument in instruments]
    market = SeededMarket(settings.seed, specs, now)
    ids = UpdateIds(now * 5, Random(f"{settings.seed}/ids"))
    books = {instrument.symbol: PublicBook(ids, now) for instrument in instruments}
    states = [
        _state(settings.seed, instrument, spec, books[instrument.symbol], now)
        for instrument, spec in zip(instruments, specs, strict=True)
    ]
    world = World(exchange, states, means.clock, means.keys, means.rng, means.later)
    feed = SeededFeed(world, market, books)
    feed.start()

    async def depth(state: SymbolState, limit: int) -> bytes:
        at = means.clock.engine_ms()
        return marketdata.dump(marketdata.depth_body(state, at, *books[state.symbol].snapshot(at, limit)))

    parts = Parts(world, exchange, feed, depth)
    if settings.tape is not None:
        _record(parts, books, Tape(settings.tape))
    return parts


def _record(parts: Parts, books: dict[str, PublicBook], tape: Tape) -> None:
    """Everything true goes on the tape from now on."""
    for symbol, book in books.items():
        book.watch = tape.of(symbol, parts.world.symbols[symbol].scale)
    parts.world.on_user = tape.user

    async def close() -> None:
        tape.close()

    parts.close = close


def build_replay(settings: Settings, means: Means) -> Parts:
    """The exchange over a recorded session; own orders take recorded depth and do not change it.

    Raises BadRecording if the file cannot be replayed.
    """
    if settings.replay is None:
        raise ValueError("no recording was named")
    recording = Recording(settings.replay)
    facts = survey(recording)
    infos = {info["symbol"]: info for info in (recording.exchange_info or {}).get("symbols", ())}
    instruments = [recorded_instrument(symbol, seen, infos.get(symbol)) for symbol, seen in facts.symbols.items()]
    now = means.clock.engine_ms()
    exchange = Exchange(instruments, settings.accounts, own_visible=False, id_base=now, rules=settings.rules)
    adopt(exchange, means.saved, now)
    books = {symbol: ReplayBook(has_snapshot=SNAPSHOT in seen.kinds) for symbol, seen in facts.symbols.items()}
    states = [
        SymbolState(instrument, scale_of(instrument), books[instrument.symbol], bars_from_nothing(0), NO_MARK)
        for instrument in instruments
    ]
    world = World(exchange, states, means.clock, means.keys, means.rng, means.later)
    feed = ReplayFeed(world, exchange, recording, facts, books, speed=settings.speed, keep_times=settings.keep_times)
    return Parts(world, exchange, feed, feed.depth)


def build_bars(settings: Settings, means: Means) -> Parts:
    """The exchange over historical bars; own orders take what is shown and do not change it.

    Raises BadBars if a file cannot be used, or the files do not fit each other.
    """
    files, rates = read_bars(settings.bars)
    span = span_of(files, means.clock.engine_ms(), settings.bars_from_ms)
    if settings.keep_times:
        span = Span(span.start_ms, 0)
        means.clock.move_to(span.start_ms)
    now = means.clock.engine_ms()
    singles: dict[str, BarsSymbol] = {}
    states: list[SymbolState] = []
    ids = UpdateIds(now * 5, Random(f"{settings.seed}/ids"))
    books: dict[str, PublicBook] = {}
    for file in files:
        price = file.tick * int(file.rows[np.searchsorted(file.rows[:, 0], span.start_ms, side="right") - 1, 1])
        instrument = default_instrument(file.symbol, tick=file.tick, step=file.step, price=price)
        spec = _spec(instrument)
        books[file.symbol] = PublicBook(ids, now)
        past = past_of(file, rates.get(file.symbol), span, settings.seed)
        begun = now - (now - span.shift_ms) % file.step_ms  # the bar under way is taken from its tape
        bars = BarSeries(begun, spec.base_ticks, past)
        states.append(SymbolState(instrument, spec.scale, books[file.symbol], bars, NO_MARK, past))
        singles[file.symbol] = BarsSymbol(spec, file, rates.get(file.symbol), span, settings.seed, now)
    instruments = [state.instrument for state in states]
    exchange = Exchange(instruments, settings.accounts, own_visible=False, id_base=now, rules=settings.rules)
    adopt(exchange, means.saved, now)
    world = World(exchange, states, means.clock, means.keys, means.rng, means.later)
    feed = BarsFeed(world, BarsMarket(singles), books)
    feed.start()

    async def depth(state: SymbolState, limit: int) -> bytes:
        at = means.clock.engine_ms()
        return marketdata.dump(marketdata.depth_body(state, at, *books[state.symbol].snapshot(at, limit)))

    return Parts(world, exchange, feed, depth)


def read_bars(named: Sequence[tuple[str | None, Path]]) -> tuple[list[BarFile], dict[str, FundingFile]]:
    """Every file, bars and funding rates apart. Raises BadBars."""
    files: dict[str, BarFile] = {}
    rates: dict[str, FundingFile] = {}
    for symbol, path in named:
        found = read_file(path, symbol)
        if found.symbol in (files if isinstance(found, BarFile) else rates):
            raise BadBars(f"{path.name}: a second file of {found.symbol}")
        if isinstance(found, BarFile):
            files[found.symbol] = found
        else:
            rates[found.symbol] = found
    if not files:
        raise BadBars("none of the files holds bars")
    return list(files.values()), rates


def recorded_instrument(symbol: str, seen: SymbolFacts, info: dict[str, Any] | None) -> Instrument:
    """A recorded symbol's rules: those of a recorded exchangeInfo, on a grid that holds every recorded number."""
    tick, step = seen.price.step, seen.qty.step
    if info is None:
        instrument = default_instrument(symbol, tick=tick, step=step, price=seen.first_price)
    else:
        instrument = instrument_from_info(info, price=seen.first_price)
        tick = _common(instrument.tick_size, tick)
        step = _common(instrument.step_size, step)
    return replace(
        instrument,
        tick_size=tick,
        step_size=step,
        price_precision=max(instrument.price_precision, seen.price.decimals),
        quantity_precision=max(instrument.quantity_precision, seen.qty.decimals),
    )


def _funded(instrument: Instrument, settings: Settings) -> Instrument:
    """A symbol's funding interval, where one was given."""
    return replace(instrument, funding_hours=settings.funding_hours.get(instrument.symbol, instrument.funding_hours))


def _continued(instrument: Instrument, saved: dict[str, Any] | None) -> Instrument:
    """A generated market begins at the price at which an earlier life ended."""
    price = last_price(saved, instrument.symbol)
    if price is None:
        return instrument
    ticks = max(1, int(Decimal(price) / instrument.tick_size))
    return replace(instrument, reference_price=instrument.price(ticks))


def _common(one: Decimal, other: Decimal) -> Decimal:
    """The largest step that fits into both."""
    grid = Grid()
    grid.add(f"{one:f}")
    grid.add(f"{other:f}")
    return grid.step


def _spec(instrument: Instrument) -> MarketSpec:
    return MarketSpec(
        instrument.symbol,
        scale_of(instrument),
        instrument.reference_price,
        profile_of(instrument.symbol),
        instrument.funding_hours,
    )


def _state(seed: int, instrument: Instrument, spec: MarketSpec, book: PublicBook, now: int) -> SymbolState:
    past = Past(seed, spec, now)
    bars = BarSeries(now, spec.base_ticks, past)
    return SymbolState(instrument, spec.scale, book, bars, NO_MARK, past)
