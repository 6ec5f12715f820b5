"""The composition root of the simulated exchange: builds the parts, opens the port, runs the feed, closes all."""

import asyncio
import hashlib
import logging
import secrets
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from aiohttp import web

from simex.server.admin import Admin, switch_on
from simex.server.build import Means, Parts, build_replay, build_seeded
from simex.server.clock import Clock
from simex.server.limits import Limits
from simex.server.listen_keys import ListenKeys
from simex.server.relay.build import build_relay
from simex.server.rest import MAX_BODY_BYTES, Rest
from simex.server.security import Keyring
from simex.server.settings import Settings
from simex.server.sockets import Sockets, looks_like_socket
from simex.server.world import World

log = logging.getLogger("simex")


@dataclass
class Simex:
    """A running exchange. `host` and `port` are where it listens; `task` is the market, which never ends by itself."""

    world: World
    host: str
    port: int
    runner: web.AppRunner
    task: "asyncio.Task[None]"
    parts: Parts

    async def stop(self) -> None:
        """Close every socket and the port, end the feed."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        for connection in list(self.world.hub.connections.values()):
            connection.close(1001, b"going away")
        await self.runner.cleanup()
        await self.parts.close()


async def start(settings: Settings, tls: ssl.SSLContext | None = None) -> Simex:
    """Build and open a simulated exchange. OSError if the port is taken, ValueError if a setting makes no sense."""
    loop = asyncio.get_running_loop()

    def later(delay_ms: int, action: Callable[[], None]) -> None:
        loop.call_later(delay_ms / 1000, action)

    keys = ListenKeys(_new_listen_key, settings.listen_key_life_ms)
    means = Means(Clock(), Random(f"{settings.seed}/server"), keys, later)
    parts = await _build(settings, means)
    try:
        return await _open(settings, parts, tls)
    except BaseException:
        await parts.close()
        raise


async def _build(settings: Settings, means: Means) -> Parts:
    if settings.relay is not None:
        return await build_relay(settings, means)
    return build_seeded(settings, means) if settings.replay is None else build_replay(settings, means)


async def _open(settings: Settings, parts: Parts, tls: ssl.SSLContext | None) -> Simex:
    world = parts.world
    for spec in settings.faults:
        switch_on(world, spec)
    admin = Admin(world, parts.exchange, parts.feed, settings.seed)
    limits = Limits(parts.limits or settings.limits)
    rest = Rest(world, Keyring(settings.accounts), limits, parts.depth, parts.relay)
    sockets = Sockets(world.hub, settings.sockets, serve_retired=settings.retired_urls, serves=parts.serves)

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
    task = asyncio.create_task(parts.feed.run(), name="simex-feed")
    task.add_done_callback(_report_end)
    return Simex(world, settings.host, port, runner, task, parts)


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
