"""The composition root of the simulated exchange: builds the parts, opens the port, runs the feed, closes all."""

import asyncio
import hashlib
import logging
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from aiohttp import web

from simex.server.admin import Admin
from simex.server.build import Means, Parts, build_bars, build_replay, build_seeded
from simex.server.chaos.acts import Reach
from simex.server.chaos.certificates import Certificates
from simex.server.chaos.control import Chaos
from simex.server.chaos.door import Door
from simex.server.clock import Clock
from simex.server.keeping import Keeper, StateFile
from simex.server.limits import Limits
from simex.server.listen_keys import ListenKeys
from simex.server.relay.build import build_relay
from simex.server.rest import MAX_BODY_BYTES, Rest
from simex.server.security import Keyring
from simex.server.service import Service
from simex.server.settings import Settings
from simex.server.sockets import Sockets, looks_like_socket
from simex.server.world import World
from simex.server.wsapi.session import ApiConnection

log = logging.getLogger("simex")
MAX_LINE_BYTES = 64 * 1024
"""Of a request line: room for 1024 streams in a URL."""
ADMIN_PEERS = 256
"""Connections remembered as administrative: those that a full cut leaves alone."""


@dataclass
class Simex:
    """A running exchange. `host` and `port` say where it listens; `task` is the market, which never ends by itself."""

    world: World
    host: str
    door: Door
    runner: web.AppRunner
    task: "asyncio.Task[None]"
    parts: Parts
    chaos: Chaos
    keeper: Keeper | None

    @property
    def port(self) -> int:
        """The TCP port."""
        return self.door.port

    async def stop(self) -> None:
        """Close every socket and the port, end the feed."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        for connection in list(self.world.hub.on_route(None)):
            connection.close(1001, b"going away")
        await self.door.end()
        await self.runner.cleanup()
        await self.parts.close()
        if self.keeper is not None:
            await self.keeper.stop()


async def start(settings: Settings, certificates: Certificates | None = None) -> Simex:
    """Build and open a simulated exchange. OSError if the port is taken, ValueError if a setting makes no sense."""
    loop = asyncio.get_running_loop()

    def later(delay_ms: int, action: Callable[[], None]) -> None:
        loop.call_later(delay_ms / 1000, action)

    keys = ListenKeys(_new_listen_key, settings.listen_key_life_ms)
    file = None if settings.state is None else StateFile(settings.state)
    try:
        saved = None if file is None else file.open()
        clock = Clock(speed=settings.clock_speed, start_ms=settings.clock_start_ms)
        means = Means(clock, Random(f"{settings.seed}/server"), keys, later, saved)
        parts = await _build(settings, means)
        keeper = None if file is None else Keeper(file, parts.exchange, means.clock.engine_ms)
        try:
            simex = await _open(settings, parts, certificates, keeper)
        except BaseException:
            await parts.close()
            raise
    except BaseException:
        if file is not None:
            file.close()
        raise
    if keeper is not None:
        keeper.start()
    return simex


async def _build(settings: Settings, means: Means) -> Parts:
    if settings.relay is not None:
        return await build_relay(settings, means)
    if settings.bars:
        return build_bars(settings, means)
    return build_seeded(settings, means) if settings.replay is None else build_replay(settings, means)


async def _open(settings: Settings, parts: Parts, certificates: Certificates | None, keeper: Keeper | None) -> Simex:
    world = parts.world
    world.hub.unrouted = settings.unrouted
    admin_peers: deque[object] = deque(maxlen=ADMIN_PEERS)

    async def dispatch(request: web.Request) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        if path.startswith("/admin/"):
            if request.transport is not None:
                admin_peers.append(request.transport.get_extra_info("peername"))
            return await admin.handle(request)
        if looks_like_socket(path, request.headers):
            return await sockets.handle(request)
        return await rest.handle(request)

    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.router.add_route("*", "/{path:.*}", dispatch)
    runner = web.AppRunner(
        app, access_log=None, shutdown_timeout=2.0, handle_signals=False, max_line_size=MAX_LINE_BYTES
    )
    await runner.setup()
    server = runner.server
    if server is None:
        raise RuntimeError("aiohttp made no server")

    def cut_all() -> int:
        """Cut every connection but those that administer."""
        victims = [item.transport for item in server.connections if item.transport is not None]
        victims = [item for item in victims if item.get_extra_info("peername") not in admin_peers]
        for transport in victims:
            transport.abort()
        return len(victims)

    limits = Limits(parts.limits or settings.limits)
    service = Service(world, limits, parts.depth, parts.relay)
    door = Door(settings.host, settings.port, server, certificates)
    keyring = Keyring(settings.accounts, judges_time=world.clock.is_wall)
    reach = Reach(world, parts.exchange, door, service.info, cut_all, lambda account: _revoke(world, keyring, account))
    chaos = Chaos(reach)
    admin = Admin(world, parts.exchange, parts.feed, settings.seed, chaos)
    rest = Rest(service, keyring)
    sockets = Sockets(
        service, keyring, settings.sockets, serve_retired=settings.retired_urls, serves=parts.serves,
        on_connection=chaos.acts.on_connection,
    )  # fmt: skip
    try:
        for spec in settings.faults:
            chaos.switch_on(spec)
        await door.open()
    except BaseException:
        await door.end()
        await runner.cleanup()
        raise
    chaos.add(settings.chaos)
    if settings.chaos_drawn is not None:
        chaos.draw(replace(settings.chaos_drawn, symbols=list(world.symbols)))
    task = asyncio.create_task(parts.feed.run(), name="simex-feed")
    task.add_done_callback(_report_end)
    return Simex(world, settings.host, door, runner, task, parts, chaos, keeper)


def _revoke(world: World, keyring: Keyring, account: str | None) -> Callable[[], None]:
    """Make an account's keys worthless (None: everybody's) until the returned callable is called."""
    keyring.revoke(account)
    for connection in list(world.hub.others.values()):
        if isinstance(connection, ApiConnection):
            connection.key_revoked()
    return lambda: keyring.restore(account)


def _new_listen_key(account: str) -> str:
    """64 characters, as the exchange's; unguessable, so that one account's stream is not another's."""
    return hashlib.sha256(account.encode() + secrets.token_bytes(32)).hexdigest()


def _report_end(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the market stopped: %s: %s", type(error).__name__, error, exc_info=error)
