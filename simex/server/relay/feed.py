"""The relay's market: streams passed on unchanged, and the followed symbols kept for the matching.

Each route of the exchange behind it has one connection (`Link`). What clients subscribe to is subscribed there under
the same name, and every event goes out as it came in. For the followed symbols depth, trades and marks are read on
the way: they are what orders match on. When a connection is lost, the clients of its route are disconnected and its
books are dead until a new snapshot fits; new orders are refused meanwhile.
"""

import asyncio
import logging
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson

from simex.core.exchange import Exchange
from simex.core.instrument import instrument_from_info
from simex.market.ladder import Level
from simex.server.frames import Mark
from simex.server.refusals import Refused
from simex.server.relay.followed import FollowedBook, Update
from simex.server.relay.link import UNREADABLE, Link
from simex.server.relay.proxy import Proxy
from simex.server.state import SymbolState
from simex.server.streams import LEGACY, MARKET, PUBLIC, Stream, parse_stream
from simex.server.world import World

log = logging.getLogger("simex.relay")

DEPTH_SPEED = "depth@100ms"
SNAPSHOT_WEIGHT = 20
_SNAPSHOT_LEVELS = 1000
_BETWEEN_SNAPSHOTS_S = 0.2
_TOO_OLD_S = 1.0
_BEAT_S = 0.1
_CLOCK_EVERY_S = 30.0
_INFO_EVERY_S = 300.0
_GONE = 1001
_LONGEST_NAME = 120
_NO_MARK = Decimal(0)


def relayed(name: str, route: str) -> Stream | None:
    """What a name means on a relay: a known stream on its own route, and every unknown name as the exchange has it."""
    stream = parse_stream(name)
    if stream is not None:
        return stream if stream.route == route else None
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        return None
    return Stream(name, "other", route)


class RelayFeed:
    """Feeds a `World` from `links` (by route) and `proxy`. One task runs `run`."""

    def __init__(
        self, world: World, exchange: Exchange, proxy: Proxy, books: dict[str, FollowedBook],
        link: Callable[[str, "RelayFeed"], Link],
    ) -> None:  # fmt: skip
        self._world = world
        self._exchange = exchange
        self._proxy = proxy
        self._books = books
        self._sync = asyncio.Event()
        self._halted: set[str] = set()
        self._heard: dict[tuple[str, str], Stream] = {}
        self._emitters: dict[str, tuple[SymbolState, Callable[[SymbolState, bytes], None]]] = {}
        self.links = {route: link(route, self) for route in (PUBLIC, MARKET)}
        world.hub.meaning = relayed
        world.shows_own = False
        world.on_open = self._opened
        world.on_close = self._closed
        for symbol, state in world.symbols.items():
            for route, kind, read in (
                (PUBLIC, DEPTH_SPEED, self._depth),
                (MARKET, "aggTrade", self._agg_trade),
                (MARKET, "markPrice@1s", self._mark),
            ):
                name = f"{symbol.lower()}@{kind}"
                self._emitters[name] = (state, read)
                self.links[route].want(name)

    async def run(self) -> None:
        """Until cancelled; a defect in any part ends it with its exception."""
        async with asyncio.TaskGroup() as group:
            for link in self.links.values():
                group.create_task(link.run(), name=f"simex-relay-{link.url}")
            group.create_task(self._snapshots(), name="simex-relay-snapshots")
            group.create_task(self._every(_CLOCK_EVERY_S, self.set_clock), name="simex-relay-clock")
            group.create_task(self._every(_INFO_EVERY_S, self._refresh_rules), name="simex-relay-rules")
            group.create_task(self._beat(), name="simex-relay-beat")

    def serves(self, route: str) -> bool:
        """Whether a client may connect to this route now."""
        link = self.links.get(PUBLIC if route == LEGACY else route)
        return link is None or link.up

    def is_open(self, symbol: str | None) -> bool:
        """Whether orders can be matched: the book is live, trades and marks flow. Without a symbol: of all."""
        if not self.links[MARKET].up or not self.links[PUBLIC].up:
            return False
        return all(
            self._books[name].live and self._world.symbols[name].mark.mark > 0 and name not in self._halted
            for name in (self._books if symbol is None else (symbol,))
        )

    def describe(self) -> dict[str, object]:
        """For /admin/state."""
        return {
            "kind": "relay",
            "upstream": self._proxy.base,
            "routes": {route: link.up for route, link in self.links.items()},
            "offset_ms": self._world.clock.offset_ms,
            "symbols": {
                symbol: {"live": self.is_open(symbol), "last_id": book.last_id} for symbol, book in self._books.items()
            },
        }

    def nudge(self, symbol: str, move_bps: float) -> None:
        """The market is another exchange's."""
        raise ValueError("a relay shows another exchange's market: it cannot be moved from here")

    def trade(self, symbol: str, side: str, lots: int) -> int:
        """The market is another exchange's."""
        raise ValueError("a relay shows another exchange's market: nothing can be traded into it from here")

    # -- streams ------------------------------------------------------------------------------------------------

    def frame(self, route: str, name: str, event: bytes) -> None:
        """One event of a stream: to its listeners as it is, and to the matching if its symbol is followed."""
        stream = self._heard.get((route, name))
        if stream is not None:
            if stream.kind == "depth":
                self._world.publish_depth(stream, event)
            else:
                self._world.hub.publish(stream, event)
        followed = self._emitters.get(name)
        if followed is not None:
            state, read = followed
            read(state, event)

    def went_up(self, route: str) -> None:
        """A route has its connection."""
        log.info("streams of %s come from %s", route, self.links[route].url)

    def went_down(self, route: str, reason: str) -> None:
        """A route has lost its connection: its clients must not take silence for a quiet market."""
        log.warning("streams of %s are gone: %s", route, reason)
        if route == PUBLIC:
            for book in self._books.values():
                book.lost()
        for served in (route, LEGACY) if route == PUBLIC else (route,):
            for connection in list(self._world.hub.on_route(served)):
                connection.close(_GONE, b"upstream lost")

    def _opened(self, stream: Stream) -> None:
        self._heard[stream.route, stream.name] = stream
        self.links[stream.route].want(stream.name)

    def _closed(self, stream: Stream) -> None:
        del self._heard[stream.route, stream.name]
        if stream.name not in self._emitters:
            self.links[stream.route].drop(stream.name)

    # -- what the matching reads --------------------------------------------------------------------------------

    def _depth(self, state: SymbolState, event: bytes) -> None:
        row = orjson.loads(event)
        book = self._books[state.symbol]
        update = Update(row["U"], row["u"], row["pu"], self._levels(state, row["b"]), self._levels(state, row["a"]))
        changes = book.update(update)
        if changes is not None:
            book.time_ms = row["T"]
            self._take_levels(state, *changes)
        elif book.wants_snapshot:
            self._sync.set()

    def _agg_trade(self, state: SymbolState, event: bytes) -> None:
        row = orjson.loads(event)
        price, lots = self._whole(state, row["p"], row["q"])
        if price > 0 and lots > 0:
            now = self._world.clock.engine_ms()
            self._world.absorb(now, self._exchange.on_print(now, state.symbol, price, lots, row["m"]))

    def _mark(self, state: SymbolState, event: bytes) -> None:
        row = orjson.loads(event)
        mark, index = Decimal(row["p"]), Decimal(row.get("i") or row["p"])
        rate = Decimal(row.get("r") or "0")
        average = Decimal(row.get("ap") or row["p"])
        now = self._world.clock.engine_ms()
        self._world.set_mark(now, state, Mark(mark, average, index, rate, row["T"], row["E"]))

    def _take_levels(self, state: SymbolState, bids: list[Level], asks: list[Level]) -> None:
        now = self._world.clock.engine_ms()
        self._world.absorb(now, self._exchange.on_levels(now, state.symbol, bids, asks))

    def _levels(self, state: SymbolState, rows: list[list[str]]) -> list[Level]:
        return [self._whole(state, price, qty) for price, qty in rows]

    def _whole(self, state: SymbolState, price: str, qty: str) -> tuple[int, int]:
        """Ticks and lots. Off the grid the exchange's rules have changed: no order matches until they are known.

        What is no number at all raises one of UNREADABLE.
        """
        try:
            return state.scale.ticks(price), state.scale.lots(qty)
        except ValueError as error:
            if not (Decimal(price).is_finite() and Decimal(qty).is_finite()):
                raise
            if state.symbol not in self._halted:
                log.error("%s: %s; orders in it are refused until simex is started anew", state.symbol, error)
                self._halted.add(state.symbol)
            return 0, 0

    # -- what has to be fetched ---------------------------------------------------------------------------------

    async def _snapshots(self) -> None:
        """Fetch snapshots for the books that want one, one after the other."""
        while True:
            await self._sync.wait()
            self._sync.clear()
            for symbol, book in self._books.items():
                if book.wants_snapshot:
                    await self._snapshot(self._world.symbols[symbol], book)
                    await asyncio.sleep(_BETWEEN_SNAPSHOTS_S)

    async def _snapshot(self, state: SymbolState, book: FollowedBook) -> None:
        query = f"symbol={state.symbol}&limit={_SNAPSHOT_LEVELS}"
        try:
            body = await self._json("/fapi/v1/depth", query, SNAPSHOT_WEIGHT)
            last_id, time_ms = int(body["lastUpdateId"]), int(body["T"])
            bids, asks = self._levels(state, body["bids"]), self._levels(state, body["asks"])
        except (Refused, *UNREADABLE) as error:
            log.warning("no snapshot of %s: %s: %s", state.symbol, type(error).__name__, error)
            await asyncio.sleep(_TOO_OLD_S)
            return
        if state.symbol in self._halted or not book.wants_snapshot:
            return
        changes = book.snapshot(last_id, bids, asks)
        if changes is None:
            await asyncio.sleep(_TOO_OLD_S)
            return
        book.time_ms = time_ms
        self._take_levels(state, *changes)
        log.info("%s: live at update %d", state.symbol, book.last_id)

    async def set_clock(self) -> None:
        """Follow the clock of the exchange behind, measured in the middle of one request."""
        clock = self._world.clock
        before = clock.wall_ms()
        body = await self._json("/fapi/v1/time", "", 1)
        after = clock.wall_ms()
        clock.offset_ms = body["serverTime"] - (before + after) // 2

    async def _refresh_rules(self) -> None:
        """Filters and states of the followed symbols may change while we run."""
        body = await self._json("/fapi/v1/exchangeInfo", "", 1)
        rows = {row["symbol"]: row for row in body["symbols"]}
        for symbol, state in self._world.symbols.items():
            if symbol not in rows:
                continue
            fresh = instrument_from_info(rows[symbol], price=state.instrument.reference_price)
            if fresh == state.instrument:
                continue
            if (fresh.tick_size, fresh.step_size) != (state.instrument.tick_size, state.instrument.step_size):
                log.error("%s: tick or step have changed; orders in it are refused until simex starts anew", symbol)
                self._halted.add(symbol)
                continue
            self._exchange.replace_instrument(fresh)
            state.instrument = fresh

    async def _json(self, path: str, query: str, weight: int) -> Any:
        """A body from the exchange behind. Raises Refused where there is none, or none that can be read."""
        answer = await self._proxy.ask(path, query, weight)
        if answer.status != 200:
            raise Refused(answer.status, 0, answer.body[:200].decode("utf-8", "replace"))
        try:
            return orjson.loads(answer.body)
        except orjson.JSONDecodeError as error:
            raise Refused(502, 0, f"{path}: not JSON") from error

    async def _every(self, span_s: float, action: Callable[[], Any]) -> None:
        while True:
            await asyncio.sleep(span_s)
            try:
                await action()
            except (Refused, *UNREADABLE) as error:
                log.warning("%s: %s: %s", getattr(action, "__name__", "request"), type(error).__name__, error)

    async def _beat(self) -> None:
        """What the core does by the clock, books that still want a snapshot, listenKeys that run out."""
        world = self._world
        while True:
            await asyncio.sleep(_BEAT_S)
            now = world.clock.engine_ms()
            world.on_time(now)
            if any(book.wants_snapshot for book in self._books.values()):
                self._sync.set()
            for key in world.keys.expired(now):
                world.expire_key(key)
