"""The WebSocket door: which URL means which route, mode and subscriptions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from urllib.parse import unquote

from aiohttp import web

from simex.server import marketdata
from simex.server.connection import MAX_STREAMS, Connection
from simex.server.refusals import Refused
from simex.server.security import Keyring
from simex.server.service import Service
from simex.server.streams import LEGACY, PRIVATE, ROUTES
from simex.server.wire import SocketSettings, Wire
from simex.server.wsapi.session import ROUTE as ROUTE_API
from simex.server.wsapi.session import ApiConnection

API_PATH = "/ws-fapi/v1"
HANDSHAKE_WEIGHT = 5
"""Of the WebSocket API."""
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
    or after `?streams=`; on /private a listenKey is such a name, or comes in `listenKey=` pairs with `events=`.
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
    for name, value in pairs:
        if name == "streams":
            names += value.split("/")
    if route == PRIVATE:
        return Address(route, combined, [(name, None) for name in names if name] + _keys(pairs))
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
        self, service: Service, keyring: Keyring, settings: SocketSettings, *, serve_retired: bool,
        serves: Callable[[str], bool] = always, on_connection: Callable[[Wire], None],
    ) -> None:  # fmt: skip
        self._service = service
        self._keyring = keyring
        self._serves = serves
        self._world = service.world
        self._hub = service.world.hub
        self._on_connection = on_connection
        self._settings = settings
        self._serve_retired = serve_retired
        self._numbers = count(1)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One handshake and all that follows."""
        path, _, query = request.raw_path.partition("?")
        if path == API_PATH:
            return await self._serve_api(request, query)
        address = parse_address(path, query)
        if address is None or (address.route == LEGACY and not self._serve_retired):
            return web.Response(status=404, text="Not Found")
        if not self._serves(address.route):
            return web.Response(status=503, text="Service Unavailable")  # a relay without its exchange
        if len(address.names) > MAX_STREAMS:
            return web.Response(status=400, text=f"Bad Request: more than {MAX_STREAMS} streams")
        socket = await self._accept(request, address.route, 0)
        if not isinstance(socket, web.WebSocketResponse):
            return socket
        connection = Connection(
            next(self._numbers), socket, request, address.route, address.combined, self._hub, self._settings
        )
        self._hub.connections[connection.number] = connection
        for name, events in address.names:
            connection.names[name] = None
            if address.route == PRIVATE:
                self._hub.subscribe_user(connection, name, events)
            else:
                self._hub.subscribe(connection, name)
        try:
            await self._run(connection)
        finally:
            self._hub.remove(connection)
        return socket

    async def _serve_api(self, request: web.Request, query: str) -> web.StreamResponse:
        """The WebSocket API: its handshake costs weight."""
        socket = await self._accept(request, ROUTE_API, HANDSHAKE_WEIGHT)
        if not isinstance(socket, web.WebSocketResponse):
            return socket
        shown = "returnRateLimits=false" not in query.split("&")
        connection = ApiConnection(
            next(self._numbers), socket, request, self._settings, self._service, self._keyring, limits_shown=shown
        )
        self._hub.others[connection.number] = connection
        try:
            await self._run(connection)
        finally:
            del self._hub.others[connection.number]
        return socket

    async def _accept(self, request: web.Request, route: str, weight: int) -> web.StreamResponse:
        """The handshake: a WebSocket, or the answer to one that is refused."""
        world, limits = self._world, self._service.limits
        refused = world.faults.strike(world.fault_ms(), "handshake_error", {"route": route})
        if refused is not None:
            return web.Response(status=refused.fields.get("status", 503), text="Service Unavailable")
        socket = web.WebSocketResponse(autoping=False, compress=False, timeout=5.0, max_msg_size=64 * 1024)
        if not socket.can_prepare(request).ok:
            return web.Response(status=400, text="Bad Request: a WebSocket handshake was expected here")
        try:
            limits.connect(world.clock.now_ms(), request.remote or "unknown", weight)
        except Refused as refusal:
            body = marketdata.dump(refusal.body())
            return web.Response(
                status=refusal.status, body=body, headers=refusal.headers, content_type="application/json"
            )
        try:
            await socket.prepare(request)
        except ConnectionError:
            return web.Response(status=400)  # never seen: the client has gone meanwhile
        return socket

    async def _run(self, connection: Wire) -> None:
        self._on_connection(connection)
        await connection.run()
        if connection.flooded:
            self._service.limits.misused(self._world.clock.now_ms(), connection.remote)


def looks_like_socket(path: str, headers: Mapping[str, str]) -> bool:
    """Whether a request belongs to this door: by its first path element, or because it asks for an upgrade."""
    first = path.strip("/").partition("/")[0]
    return first in (*ROUTES, "ws", "stream", "ws-fapi") or headers.get("Upgrade", "").lower() == "websocket"
