"""The REST door: from an HTTP request to a question for the service, through the faults, and back with its headers."""

import asyncio

from aiohttp import web

from simex.server.chaos.replies import JSON_TYPE, spoilt
from simex.server.params import merge
from simex.server.refusals import Refused, not_found
from simex.server.routes import ROUTES, SIGNED, Route
from simex.server.security import Keyring
from simex.server.service import Answered, Ask, Service, refused

MAX_BODY_BYTES = 1024 * 1024


class Rest:
    """Answers every REST request."""

    def __init__(self, service: Service, keyring: Keyring) -> None:
        self._service = service
        self._world = service.world
        self._keyring = keyring
        self._limits = service.limits

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request, whatever it is. What is wrong with it is answered, never raised."""
        now = self._world.clock.now_ms()
        address = request.remote or "unknown"
        path, _, query = request.raw_path.partition("?")
        method, faults = request.method, self._world.faults
        fault = None
        try:
            route = ROUTES.get((method, path))
            if route is None:
                raise not_found(path, method)
            fault = None if faults.idle else faults.request_fault(self._world.fault_ms(), method, path)
            if fault is not None and fault.when == "before":
                return await spoilt(request, fault, 200, b"", {}, self._world.fault_ms())
            body = (await request.read()).decode("utf-8", "replace")
            answered = await self._answer(now, address, request, route, path, query, body)
        except Refused as refusal:
            answered = refused(refusal)
        delay_ms = answered.delay_ms
        if not faults.idle:
            delay_ms += faults.reply_delay_ms(self._world.fault_ms(), method, path)
        if delay_ms:
            await asyncio.sleep(delay_ms / 1000)
        headers = answered.headers
        headers["X-MBX-USED-WEIGHT-1M"] = str(self._limits.used_weight(now, address))
        headers.setdefault("Content-Type", JSON_TYPE)
        if fault is not None:
            return await spoilt(request, fault, answered.status, answered.content, headers, self._world.fault_ms())
        return web.Response(status=answered.status, body=answered.content, headers=headers)

    async def _answer(
        self, now: int, address: str, request: web.Request, route: Route, path: str, query: str, body: str
    ) -> Answered:
        self._limits.charge(now, address, 0)  # a banned address learns of its ban before its parameters are looked at
        params = merge(query, body)
        api_key = request.headers.get("X-MBX-APIKEY")

        def who() -> str:
            if route.security == SIGNED:
                return self._keyring.verify(now, api_key, query, body, params)
            return self._keyring.account_of(api_key)

        return await self._service.answer(Ask(now, address, request.method, path, route, params, who, query))
