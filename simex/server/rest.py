"""The REST door: limits, faults, security, then the answer, with the headers of the exchange."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from simex.core.api import Reply
from simex.server import marketdata
from simex.server.faults import ERROR_VARIANTS, RequestFault
from simex.server.limits import Limits
from simex.server.params import merge
from simex.server.refusals import Refused, not_found
from simex.server.relay.cache import Answer
from simex.server.routes import DEPTH_PATH, INFO_PATH, KEY, LISTEN_KEY_PATH, OWN_PATHS, ROUTES, SIGNED, Route
from simex.server.security import Keyring
from simex.server.state import SymbolState
from simex.server.world import World

MAX_BODY_BYTES = 1024 * 1024
DepthSource = Callable[[SymbolState, int], Awaitable[bytes]]
RelaySource = Callable[[str, str, Mapping[str, str], int], Awaitable[Answer]]


class Rest:
    """Answers every REST request. `depth` gives the snapshot of a symbol: (state, limit) -> body.

    With `relay`, public market data comes from there: (path, query, params, weight) -> answer.
    """

    def __init__(
        self, world: World, keyring: Keyring, limits: Limits, depth: DepthSource, relay: RelaySource | None = None
    ) -> None:
        self._world = world
        self._keyring = keyring
        self._limits = limits
        self._depth = depth
        self._relay = relay

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request, whatever it is. What is wrong with it is answered, never raised."""
        now = self._world.clock.now_ms()
        address = request.remote or "unknown"
        path, _, query = request.raw_path.partition("?")
        headers: dict[str, str] = {}
        fault = None
        try:
            route = ROUTES.get((request.method, path))
            if route is None:
                raise not_found(path, request.method)
            fault = self._world.faults.request_fault(now, request.method, path)
            if fault is not None and fault.when == "before":
                return self._fail(request, fault)
            body = (await request.read()).decode("utf-8", "replace")
            status, content = await self._answer(now, address, request, route, path, query, body, headers)
        except Refused as refusal:
            headers.update(refusal.headers)
            status, content = refusal.status, marketdata.dump(refusal.body())
        if fault is not None and fault.when == "after":
            return self._fail(request, fault)
        delay_ms = self._world.faults.reply_delay_ms(now, request.method, path)
        if delay_ms:
            await asyncio.sleep(delay_ms / 1000)
        headers["X-MBX-USED-WEIGHT-1M"] = str(self._limits.used_weight(now, address))
        headers.setdefault("Content-Type", "application/json")
        return web.Response(status=status, body=content, headers=headers)

    async def _answer(
        self, now: int, address: str, request: web.Request, route: Route, path: str, query: str, body: str,
        headers: dict[str, str],
    ) -> tuple[int, bytes]:  # fmt: skip
        self._limits.charge(now, address, 0)  # a banned address learns of its ban before anything else
        params = merge(query, body)
        self._limits.charge(now, address, route.weight(params), route.pool)
        api_key = request.headers.get("X-MBX-APIKEY")
        if route.security == SIGNED:
            account = self._keyring.verify(now, api_key, query, body, params)
            return self._call(now, account, request.method, path, params, route, headers)
        if route.security == KEY and path == LISTEN_KEY_PATH:
            return 200, marketdata.dump(self._listen_key(now, request.method, self._keyring.account_of(api_key)))
        if route.security == KEY:
            self._keyring.account_of(api_key)
        if self._relay is not None and path not in OWN_PATHS:
            relayed = await self._relay(path, query, params, route.weight(params))
            headers["Content-Type"] = relayed.content_type
            return relayed.status, relayed.body
        if path == DEPTH_PATH:
            state = marketdata.symbol_of(self._world, params)
            return 200, await self._depth(state, marketdata.depth_limit(params))
        if path == INFO_PATH:
            return 200, marketdata.dump(marketdata.exchange_info(self._world, self._limits.settings))
        if route.handler is None:
            raise not_found(path, request.method)
        return 200, marketdata.dump(route.handler(self._world, params))

    def _call(
        self, now: int, account: str, method: str, path: str, params: dict[str, str], route: Route,
        headers: dict[str, str],
    ) -> tuple[int, bytes]:  # fmt: skip
        """A trading or account call: the core decides, its effects are shown, its orders are counted."""
        if route.orders:
            self._limits.check_orders(now, account)
        engine_ms = self._world.clock.engine_ms()
        reply: Reply
        reply, outs = self._world.exchange.call(engine_ms, account, method, path, params)
        self._world.absorb(engine_ms, outs)
        headers.update(reply.headers)
        if route.orders:
            short, long = self._limits.count_orders(now, account, reply.order_count)
            headers["X-MBX-ORDER-COUNT-10S"], headers["X-MBX-ORDER-COUNT-1M"] = str(short), str(long)
        return reply.status, marketdata.dump(reply.body)

    def _listen_key(self, now: int, method: str, account: str) -> dict[str, object]:
        keys = self._world.keys
        if method == "POST":
            return {"listenKey": keys.create(now, account)}
        if method == "PUT":
            return {"listenKey": keys.extend(now, account)}
        ended = keys.close(account)
        if ended is not None:
            self._world.expire_key(ended)
        return {}

    def _fail(self, request: web.Request, fault: RequestFault) -> web.StreamResponse:
        """The answer is lost with its connection, or becomes an error of the exchange's edge or any text."""
        if fault.how == "lost":
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)  # never seen: the connection is gone
        if fault.how == "body":
            kind = "text/html" if fault.body.startswith("<") else "application/json"
            return web.Response(status=fault.status, text=fault.body, content_type=kind)
        status, body = ERROR_VARIANTS[fault.variant]
        if isinstance(body, str):
            return web.Response(status=status, text=body, content_type="text/html")
        return web.Response(status=status, body=marketdata.dump(body), content_type="application/json")
