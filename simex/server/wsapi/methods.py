"""The methods of the WebSocket API and the REST endpoints that answer them."""

from collections.abc import Mapping
from dataclasses import dataclass

from simex.server.routes import LISTEN_KEY_PATH, ROUTES, Route

_F1, _F2 = "/fapi/v1", "/fapi/v2"


@dataclass(frozen=True, slots=True)
class Method:
    """A method: its REST counterpart, or (`path` empty) one of the session's own."""

    name: str
    http: str = ""
    path: str = ""

    @property
    def route(self) -> Route:
        """Weight, security and pools are those of REST."""
        return ROUTES[self.http, self.path]


_REST: Mapping[str, tuple[str, str]] = {
    "order.place": ("POST", f"{_F1}/order"),
    "order.modify": ("PUT", f"{_F1}/order"),
    "order.cancel": ("DELETE", f"{_F1}/order"),
    "order.status": ("GET", f"{_F1}/order"),
    "algoOrder.place": ("POST", f"{_F1}/algoOrder"),
    "algoOrder.cancel": ("DELETE", f"{_F1}/algoOrder"),
    "account.balance": ("GET", f"{_F2}/balance"),
    "v2/account.balance": ("GET", "/fapi/v3/balance"),
    "account.status": ("GET", f"{_F2}/account"),
    "v2/account.status": ("GET", "/fapi/v3/account"),
    "account.position": ("GET", f"{_F2}/positionRisk"),
    "v2/account.position": ("GET", "/fapi/v3/positionRisk"),
    "depth": ("GET", f"{_F1}/depth"),
    "ticker.price": ("GET", f"{_F2}/ticker/price"),
    "ticker.book": ("GET", f"{_F1}/ticker/bookTicker"),
    "userDataStream.start": ("POST", LISTEN_KEY_PATH),
    "userDataStream.ping": ("PUT", LISTEN_KEY_PATH),
    "userDataStream.stop": ("DELETE", LISTEN_KEY_PATH),
}
METHODS: dict[str, Method] = {name: Method(name, *where) for name, where in _REST.items()} | {
    name: Method(name) for name in ("session.logon", "session.status", "session.logout")
}
SESSION_WEIGHT = 2
