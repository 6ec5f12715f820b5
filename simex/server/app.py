"""The composition root of the simulated exchange: builds the parts, opens the port, runs the feed, closes all."""

import asyncio
import hashlib
import logging
import secrets
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Protocol

from aiohttp import web

from simex.core.exchange import Exchange
from simex.core.instrument import Instrument, default_instruments
from simex.market.bars import BarSeries
from simex.market.generator import SeededMarket
from simex.market.history import funding_history, hour_history, minute_history
from simex.market.profile import MarketSpec, profile_of
from simex.market.public_book import PublicBook, UpdateIds
from simex.server import marketdata
from simex.server.admin import Admin, Feed, switch_on
from simex.server.clock import Clock
from simex.server.frames import Mark
from simex.server.limits import Limits
from simex.server.listen_keys import ListenKeys
from simex.server.rest import MAX_BODY_BYTES, DepthSource, Rest
from simex.server.security import Keyring
from simex.server.seeded import SeededFeed
from simex.server.settings import Settings
from simex.server.sockets import Sockets, looks_like_socket
from simex.server.state import SymbolState, scale_of
from simex.server.world import World

log = logging.getLogger("simex")
NO_MARK = Mark(Decimal(0), Decimal(0), Decimal(0), Decimal(0), 0, 0)


class RunningFeed(Feed, Protocol):
    """A feed that runs as a task."""

    async def run(self) -> None:
        """Drive the market until cancelled, or until it is over."""


@dataclass
class Simex:
    """A running exchange. `host` and `port` are where it listens."""

    world: World
    exchange: Exchange
    feed: "RunningFeed"
    host: str
    port: int
    runner: web.AppRunner
    task: "asyncio.Task[None]"

    async def stop(self) -> None:
        """Close every socket and the port, end the feed."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        for connection in list(self.world.hub.connections.values()):
            connection.close(1001, b"going away")
        await self.runner.cleanup()


async def start(settings: Settings, tls: ssl.SSLContext | None = None) -> Simex:
    """Build and open a simulated exchange. OSError if the port is taken, ValueError if a setting makes no sense."""
    clock = Clock()
    rng = Random(f"{settings.seed}/server")
    loop = asyncio.get_running_loop()

    def later(delay_ms: int, action: Callable[[], None]) -> None:
        loop.call_later(delay_ms / 1000, action)

    keys = ListenKeys(_new_listen_key, settings.listen_key_life_ms)
    feed: RunningFeed
    world, exchange, feed, depth = _seeded(settings, clock, keys, rng, later)
    for spec in settings.faults:
        switch_on(world, spec)
    admin = Admin(world, exchange, feed, settings.seed)
    rest = Rest(world, Keyring(settings.accounts), Limits(settings.limits), depth)
    sockets = Sockets(world.hub, settings.sockets, serve_retired=settings.retired_urls)

    async def dispatch(request: web.Request) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        if path.startswith("/admin/"):
            return await admin.handle(request)
        if looks_like_socket(path, request.headers):
            return await sockets.handle(request)
        return await rest.handle(request)

    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.router.add_route("*", "/{path:.*}", dispatch)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0, handle_signals=False)
    await runner.setup()
    listener = _listen(settings.host, settings.port)
    await web.SockSite(runner, listener, ssl_context=tls, backlog=512).start()
    port = int(listener.getsockname()[1])
    task = asyncio.create_task(feed.run(), name="simex-feed")
    task.add_done_callback(_report_end)
    return Simex(world, exchange, feed, settings.host, port, runner, task)


def _seeded(
    settings: Settings, clock: Clock, keys: ListenKeys, rng: Random,
    later: Callable[[int, Callable[[], None]], None],
) -> tuple[World, Exchange, "RunningFeed", DepthSource]:  # fmt: skip
    """The exchange over the seeded market."""
    now = clock.engine_ms()
    instruments = default_instruments(settings.symbols)
    exchange = Exchange(instruments, settings.accounts)
    specs = [_spec(instrument) for instrument in instruments]
    market = SeededMarket(settings.seed, specs, now)
    ids = UpdateIds(now * 5, Random(f"{settings.seed}/ids"))
    books = {instrument.symbol: PublicBook(ids, now) for instrument in instruments}
    states = [
        _state(settings.seed, instrument, spec, books[instrument.symbol], now)
        for instrument, spec in zip(instruments, specs, strict=True)
    ]
    world = World(exchange, states, clock, keys, rng, later)
    feed = SeededFeed(world, market, books, rng)
    feed.start()

    async def depth(state: SymbolState, limit: int) -> bytes:
        at = clock.engine_ms()
        return marketdata.dump(marketdata.depth_body(state, at, *books[state.symbol].snapshot(at, limit)))

    return world, exchange, feed, depth


def _spec(instrument: Instrument) -> MarketSpec:
    return MarketSpec(
        instrument.symbol, scale_of(instrument), instrument.reference_price, profile_of(instrument.symbol)
    )


def _state(seed: int, instrument: Instrument, spec: MarketSpec, book: PublicBook, now: int) -> SymbolState:
    minutes = minute_history(seed, spec, now)
    bars = BarSeries(now, spec.base_ticks, lambda: (hour_history(seed, spec, minutes), minutes))
    return SymbolState(instrument, spec.scale, book, bars, NO_MARK, funding_history(seed, spec, minutes))


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket whose connections inherit TCP_NODELAY."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _new_listen_key(account: str) -> str:
    """64 characters, as the exchange's; unguessable, so that one account's stream is not another's."""
    return hashlib.sha256(account.encode() + secrets.token_bytes(32)).hexdigest()


def _report_end(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the market stopped: %s: %s", type(error).__name__, error, exc_info=error)
