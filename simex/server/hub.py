"""Who listens to what, and the way a published message takes to them."""

from collections.abc import Callable, Iterable

from simex.server.connection import Connection
from simex.server.streams import LEGACY, MARKET, PRIVATE, PUBLIC, Stream, served_on
from simex.server.wire import Wire


class Hub:
    """Subscriptions by stream name. A name on the wrong route is accepted and never served, as at the exchange.

    `on_open` and `on_close` hear of a stream's first and last listener; `is_silent` says which are muted by a fault;
    `meaning` turns a name into the stream that is served under it (None: accepted and mute). A relay replaces it, and
    `rebind` applies a change of it. `gate` passes each event on to `deliver`, or does not.
    """

    def __init__(
        self,
        on_open: Callable[[Stream], None],
        on_close: Callable[[Stream], None],
        is_silent: Callable[[str, str], bool],
    ) -> None:
        self.meaning: Callable[[str, str], Stream | None] = served_on
        self.gate: Callable[[Stream, bytes], None] = self.deliver
        self._on_open = on_open
        self._on_close = on_close
        self._is_silent = is_silent
        self._listeners: dict[tuple[str, str], dict[Connection, None]] = {}
        self._user: dict[str, dict[Connection, frozenset[str] | None]] = {}
        self._open: dict[tuple[str, str], dict[str, Stream]] = {}
        self.connections: dict[int, Connection] = {}
        self.others: dict[int, Wire] = {}
        """Sockets that carry no streams: those of the WebSocket API."""
        self.unrouted = False
        """Serve everything on the retired unrouted addresses, as before the routes came; else only what /public has."""

    def subscribe(self, connection: Connection, name: str) -> None:
        """Serve a stream to a connection, if its route carries it."""
        route = self._served_route(connection, name)
        if route == PRIVATE:
            self._user.setdefault(name, {}).setdefault(connection, None)
            return
        stream = self.meaning(name, route)
        if stream is None:
            return
        listeners = self._listeners.setdefault((stream.route, name), {})
        listeners[connection] = None
        if len(listeners) == 1:
            self._open.setdefault((stream.kind, stream.symbol), {})[name] = stream
            self._on_open(stream)

    def subscribe_user(self, connection: Connection, listen_key: str, events: frozenset[str] | None) -> None:
        """Serve an account's events to a connection, all or only the listed kinds."""
        self._user.setdefault(listen_key, {})[connection] = events

    def unsubscribe(self, connection: Connection, name: str) -> None:
        """Stop serving a stream to a connection."""
        route = self._served_route(connection, name)
        if route == PRIVATE:
            listeners = self._user.get(name, {})
            listeners.pop(connection, None)
            if not listeners:
                self._user.pop(name, None)
            return
        key = (route, name)
        if self._listeners.get(key, {}).pop(connection, self) is self:
            return
        if not self._listeners[key]:
            del self._listeners[key]
            stream = self.meaning(name, key[0])
            if stream is not None:
                self._open[(stream.kind, stream.symbol)].pop(name, None)
                self._on_close(stream)

    def rebind(self, chosen: Callable[[str], bool], change: Callable[[], None]) -> None:
        """Change what names mean: the chosen ones are left, `change` is made, and they are joined again."""
        joined = [
            (connection, name)
            for connection in self.connections.values()
            if connection.route != PRIVATE
            for name in connection.names
            if chosen(name)
        ]
        for connection, name in joined:
            self.unsubscribe(connection, name)
        change()
        for connection, name in joined:
            self.subscribe(connection, name)

    def remove(self, connection: Connection) -> None:
        """Forget a closed connection."""
        self.connections.pop(connection.number, None)
        for name in list(connection.names):
            self.unsubscribe(connection, name)

    def open_streams(self, kind: str, symbol: str = "") -> list[Stream]:
        """The streams of a kind and symbol that somebody listens to."""
        return list(self._open.get((kind, symbol), {}).values())

    def has_open(self, kind: str) -> bool:
        """Whether anybody listens to a stream of a kind, of whichever symbol."""
        return any(streams and key[0] == kind for key, streams in self._open.items())

    def publish(self, stream: Stream, data: bytes) -> None:
        """Send one event to every listener, through the gate that the faults hold."""
        if (stream.route, stream.name) in self._listeners:
            self.gate(stream, data)

    def deliver(self, stream: Stream, data: bytes) -> None:
        """Send one event to every listener as it is."""
        listeners = self._listeners.get((stream.route, stream.name))
        if listeners and not self._is_silent(stream.route, stream.name):
            for connection in list(listeners):
                connection.send_event(stream.name, data)

    def publish_user(self, listen_key: str, kind: str, data: bytes) -> None:
        """Send one account event to every socket on that key which wants its kind."""
        listeners = self._user.get(listen_key)
        if listeners and not self._is_silent(PRIVATE, listen_key):
            for connection, events in list(listeners.items()):
                if events is None or kind in events:
                    connection.send_event(listen_key, data)

    def on_route(self, route: str | None) -> Iterable[Wire]:
        """The connections of a route, or all."""
        every = [*self.connections.values(), *self.others.values()]
        return [item for item in every if route in (None, item.route)]

    def backlog(self) -> int:
        """Unsent bytes of the slowest connection."""
        return max((item.queued_bytes for item in self.connections.values()), default=0)

    async def drained(self, low_bytes: int) -> None:
        """Wait until no connection holds more than `low_bytes` unsent."""
        for connection in list(self.connections.values()):
            await connection.drained(low_bytes)

    def _served_route(self, connection: Connection, name: str) -> str:
        """The route that serves a name on a connection."""
        if connection.route != LEGACY:
            return connection.route
        if not self.unrouted or self.meaning(name, PUBLIC) is not None:
            return PUBLIC
        return MARKET if "@" in name or name.startswith("!") else PRIVATE
