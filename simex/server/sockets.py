"""The WebSocket door: which URL means which route, mode and subscriptions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from urllib.parse import unquote

from aiohttp import web

from simex.server.connection import Connection, SocketSettings
from simex.server.streams import LEGACY, PRIVATE, ROUTES
from simex.server.world import World

Wanted = list[tuple[str, frozenset[str] | None]]
"""Names to subscribe to; for private ones the allow-list of events."""


@dataclass(frozen=True, slots=True)
class Address:
    """A WebSocket URL understood: `names` with their event allow-lists, in order."""

    route: str
    combined: bool
    names: Wanted


def parse_address(path: str, query: str) -> Address | None:
    """The meaning of a WebSocket URL, or None if it is not one (HTTP 404).

    /public, /market, /private, or nothing (the retired unrouted form); then /ws or /stream; then streams in the path
    or after `?streams=`; on /private a listenKey in the path or `listenKey=` pairs with `events=`.
    """
    parts = path.strip("/").split("/") if not path.endswith("/") else []
    route = parts.pop(0) if parts and parts[0] in ROUTES else LEGACY
    if not parts or parts[0] not in ("ws", "stream"):
        return None
    combined = parts.pop(0) == "stream"
    pairs = [(name, unquote(value)) for name, _, value in (item.partition("=") for item in query.split("&") if item)]
    if any(not value for _, value in pairs):
        return None
    names = [unquote(part) for part in parts]
    names = [name for name in names if not name.isdigit()]  # some clients number their connections in the path
    if route == PRIVATE:
        return Address(route, combined, [(name, None) for name in names] + _keys(pairs))
    for name, value in pairs:
        if name == "streams":
            names += value.split("/")
    return Address(route, combined, [(name, None) for name in names if name])


def _keys(pairs: list[tuple[str, str]]) -> Wanted:
    """`listenKey=a&events=X/Y&listenKey=b`: an allow-list belongs to the key before it."""
    wanted: Wanted = []
    for name, value in pairs:
        if name == "listenKey":
            wanted.append((value, None))
        elif name == "events" and wanted:
            wanted[-1] = (wanted[-1][0], frozenset(value.split("/")))
    return wanted


def always(_route: str) -> bool:
    """Every route is served."""
    return True


class Sockets:
    """Accepts WebSocket connections and serves each until it ends."""

    def __init__(
        self, world: World, settings: SocketSettings, *, serve_retired: bool, serves: Callable[[str], bool] = always,
        on_connection: Callable[[Connection], None],
    ) -> None:  # fmt: skip
        self._serves = serves
        self._world = world
        self._hub = world.hub
        self._on_connection = on_connection
        self._settings = settings
        self._serve_retired = serve_retired
        self._numbers = count(1)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One handshake and all that follows."""
        path, _, query = request.raw_path.partition("?")
        address = parse_address(path, query)
        if address is None or (address.route == LEGACY and not self._serve_retired):
            return web.Response(status=404, text="Not Found")
        if not self._serves(address.route):
            return web.Response(status=503, text="Service Unavailable")  # a relay without its exchange
        where = {"route": address.route}
        refused = self._world.faults.strike(self._world.fault_ms(), "handshake_error", where)
        if refused is not None:
            return web.Response(status=refused.fields.get("status", 503), text="Service Unavailable")
        socket = web.WebSocketResponse(autoping=False, compress=False, timeout=5.0, max_msg_size=64 * 1024)
        if not socket.can_prepare(request).ok:
            return web.Response(status=400, text="Bad Request: a WebSocket handshake was expected here")
        await socket.prepare(request)
        connection = Connection(
            next(self._numbers), socket, request, address.route, address.combined, self._hub, self._settings
        )
        self._hub.connections[connection.number] = connection
        self._on_connection(connection)
        for name, events in address.names:
            connection.names[name] = None
            if address.route == PRIVATE:
                self._hub.subscribe_user(connection, name, events)
            else:
                self._hub.subscribe(connection, name)
        try:
            await connection.run()
        finally:
            self._hub.remove(connection)
        return socket


def looks_like_socket(path: str, headers: Mapping[str, str]) -> bool:
    """Whether a request belongs to this door: by its first path element, or because it asks for an upgrade."""
    first = path.strip("/").partition("/")[0]
    return first in (*ROUTES, "ws", "stream") or headers.get("Upgrade", "").lower() == "websocket"
