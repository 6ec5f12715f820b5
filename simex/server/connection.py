"""One connection of the streams: its subscriptions and the commands that change them."""

from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from simex.server.streams import LEGACY, PRIVATE
from simex.server.wire import SLOW_CODE, SocketSettings, Wire

if TYPE_CHECKING:
    from simex.server.hub import Hub

MAX_STREAMS = 1024


class Connection(Wire):
    """A client's socket on one of the stream routes."""

    def __init__(
        self, number: int, socket: web.WebSocketResponse, request: web.Request, route: str, combined: bool,
        hub: "Hub", settings: SocketSettings,
    ) -> None:  # fmt: skip
        super().__init__(number, socket, request, route, settings)
        self.combined = combined
        self._hub = hub

    def send_event(self, name: str, data: bytes) -> None:
        """Queue one event, in the envelope if the mode asks for it."""
        if self.combined:
            data = b'{"stream":' + orjson.dumps(name) + b',"data":' + data + b"}"
        self.send_bytes(data)

    async def on_text(self, text: str) -> None:
        """One command."""
        try:
            command = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            self.answer({"error": {"code": 3, "msg": f"Invalid JSON: {error}"}})
            self.close(SLOW_CODE, b"Invalid JSON")
            return
        if not isinstance(command, dict):
            self.answer({"error": {"code": 2, "msg": "Invalid request: not an object"}})
            return
        request_id = command.get("id")
        try:
            self.answer({"result": self._execute(command), "id": request_id})
        except _BadCommand as error:
            self.answer({"error": {"code": error.code, "msg": str(error)}, "id": request_id})

    def _execute(self, command: dict[str, Any]) -> object:
        method, params = command.get("method"), command.get("params", [])
        if not isinstance(params, list):
            raise _BadCommand(2, "Invalid request: params must be an array")
        if method in ("SUBSCRIBE", "UNSUBSCRIBE"):
            if not params or not all(isinstance(name, str) for name in params):
                raise _BadCommand(2, "Invalid request: params must name streams")
            self._subscribe(params) if method == "SUBSCRIBE" else self._unsubscribe(params)
            return None
        if method == "LIST_SUBSCRIPTIONS":
            return list(self.names)
        if method in ("SET_PROPERTY", "GET_PROPERTY"):
            return self._property(method, params)
        raise _BadCommand(2, f"Invalid request: unknown method {method!r}")

    def _subscribe(self, names: list[str]) -> None:
        if len(self.names.keys() | set(names)) > MAX_STREAMS:
            raise _BadCommand(2, f"Invalid request: more than {MAX_STREAMS} streams")
        for name in names:
            self.names[name] = None
            self._hub.subscribe(self, name)

    def _unsubscribe(self, names: list[str]) -> None:
        for name in names:
            self.names.pop(name, None)
            self._hub.unsubscribe(self, name)

    def _property(self, method: str, params: list[Any]) -> object:
        if not params or params[0] != "combined":
            raise _BadCommand(0, "Unknown property")
        if method == "GET_PROPERTY":
            return self.combined
        if len(params) != 2 or not isinstance(params[1], bool):
            raise _BadCommand(1, "Invalid value type: expected Boolean")
        self.combined = params[1]
        return None

    def describe(self) -> dict[str, Any]:
        """For /admin/state. A listenKey is a credential: only its beginning is shown."""
        public = self.route not in (PRIVATE, LEGACY)
        names = [name if public or "@" in name or name[0] == "!" else f"{name[:6]}…" for name in self.names if name]
        return super().describe() | {"streams": names}


class _BadCommand(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
