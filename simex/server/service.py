"""What both doors share, REST and the WebSocket API: limits, who is asking, the answer. Knows no sockets."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from simex.core.api import Reply
from simex.server import marketdata
from simex.server.asked import symbol_of
from simex.server.info import ExchangeInfo
from simex.server.limits import Limits
from simex.server.refusals import Refused, not_found
from simex.server.relay.cache import Answer
from simex.server.routes import (
    DEPTH_PATH,
    INFO_PATH,
    KEY,
    LISTEN_KEY_PATH,
    OWN_PATHS,
    RPI_DEPTH_PATH,
    SIGNED,
    Route,
)
from simex.server.state import SymbolState
from simex.server.world import World

DepthSource = Callable[[SymbolState, int], Awaitable[bytes]]
RelaySource = Callable[[str, str, Mapping[str, str], int], Awaitable[Answer]]
ORDER_PAUSE_MS = 200
"""How far events and replies are held apart by the faults that order them."""


@dataclass(slots=True)
class Ask:
    """One request, understood. `who` names the account that asks; it raises Refused if nobody may ask so.

    `query` is the query as it was sent, for a relay.
    """

    now_ms: int
    address: str
    method: str
    path: str
    route: Route
    params: Mapping[str, str]
    who: Callable[[], str]
    query: str = ""


@dataclass(slots=True)
class Answered:
    """The answer: HTTP status, JSON text, headers; `delay_ms` is how long a fault holds it back."""

    status: int
    content: bytes
    headers: dict[str, str] = field(default_factory=dict)
    delay_ms: int = 0


class Service:
    """Answers every request of the exchange. `depth` gives the snapshot of a symbol: (state, limit) -> body.

    With `relay`, public market data comes from there: (path, query, params, weight) -> answer.
    """

    def __init__(self, world: World, limits: Limits, depth: DepthSource, relay: RelaySource | None = None) -> None:
        self.world = world
        self.limits = limits
        self.info = ExchangeInfo(world, limits.settings)
        self._depth = depth
        self._relay = relay

    async def answer(self, ask: Ask) -> Answered:
        """The answer of one request. Raises Refused; its weight is used all the same."""
        self.limits.charge(ask.now_ms, ask.address, 0)  # a banned address learns of its ban before anything else
        self.limits.charge(ask.now_ms, ask.address, ask.route.weight(ask.params), ask.route.pool)
        path, params, route = ask.path, ask.params, ask.route
        if route.security == SIGNED:
            return self._call(ask, ask.who())
        if route.security == KEY and path == LISTEN_KEY_PATH:
            return _ok(marketdata.dump(self._listen_key(ask.now_ms, ask.method, ask.who())))
        if route.security == KEY:
            ask.who()
        if self._relay is not None and path not in OWN_PATHS:
            relayed = await self._relay(path, ask.query, params, route.weight(params))
            return Answered(relayed.status, relayed.body, {"Content-Type": relayed.content_type})
        if path in (DEPTH_PATH, RPI_DEPTH_PATH):
            state = symbol_of(self.world, params)
            limit = marketdata.depth_limit(params) if path == DEPTH_PATH else marketdata.rpi_depth_limit(params)
            return _ok(await self._depth(state, limit))
        if path == INFO_PATH:
            return _ok(self.info.body())
        if route.handler is None:
            raise not_found(path, ask.method)
        return _ok(marketdata.dump(route.handler(self.world, params)))

    def _call(self, ask: Ask, account: str) -> Answered:
        """A trading or account call: the core decides, its effects are shown, its orders are counted."""
        if ask.route.orders:
            self.limits.check_orders(ask.now_ms, account)
        world = self.world
        where = {"account": account, "method": ask.method, "path": ask.path}
        engine_ms, fault_ms = world.clock.engine_ms(), world.fault_ms()
        late = world.faults.strike(fault_ms, "replies_first", where)
        release = world.lanes.hold(account) if late is not None else None
        reply: Reply
        reply, outs = world.exchange.call(engine_ms, account, ask.method, ask.path, ask.params)
        world.absorb(engine_ms, outs)
        if late is not None and release is not None:
            world.later(late.fields.get("delay_ms", ORDER_PAUSE_MS), release)
        early = world.faults.strike(fault_ms, "events_first", where)
        answered = Answered(reply.status, marketdata.dump(reply.body), dict(reply.headers))
        if early is not None:
            answered.delay_ms = early.fields.get("delay_ms", ORDER_PAUSE_MS)
        if ask.route.orders:
            short, long = self.limits.count_orders(ask.now_ms, account, reply.order_count, reply.order_count_1m)
            answered.headers["X-MBX-ORDER-COUNT-10S"], answered.headers["X-MBX-ORDER-COUNT-1M"] = str(short), str(long)
        return answered

    def _listen_key(self, now: int, method: str, account: str) -> dict[str, object]:
        keys = self.world.keys
        if method == "POST":
            return {"listenKey": keys.create(now, account)}
        if method == "PUT":
            return {"listenKey": keys.extend(now, account)}
        ended = keys.close(account)
        if ended is not None:
            self.world.expire_key(ended)
        return {}


def _ok(content: bytes) -> Answered:
    return Answered(200, content)


def refused(refusal: Refused) -> Answered:
    """A refusal as an answer."""
    return Answered(refusal.status, marketdata.dump(refusal.body()), dict(refusal.headers))
