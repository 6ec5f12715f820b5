"""One connection of the WebSocket API: who is logged on, and the way of each request to its answer."""

from collections.abc import Mapping, Sequence

from aiohttp import WSMsgType, web

from simex.server import marketdata
from simex.server.chaos.replies import error_of as error_of_fault
from simex.server.faults import RequestFault
from simex.server.params import optional_whole
from simex.server.refusals import Refused
from simex.server.routes import KEY, SIGNED
from simex.server.security import ApiKey, Keyring, invalid_key
from simex.server.service import Answered, Ask, Service, refused
from simex.server.wire import SocketSettings, Wire
from simex.server.wsapi.messages import BadRequest, Request, bad, error_of, good, read, signed_texts
from simex.server.wsapi.methods import METHODS, SESSION_WEIGHT, Method

ROUTE = "ws-fapi"
FAULT_METHOD = "WS"
"""`method` of a request here, for the faults that choose by it; their `path` is the method's name."""
Rows = Sequence[Mapping[str, object]]


class ApiConnection(Wire):
    """A client's socket on ws-fapi. `limits_shown` is the connection's wish for the rateLimits block."""

    limited = frozenset({WSMsgType.PING, WSMsgType.PONG})

    def __init__(
        self, number: int, socket: web.WebSocketResponse, request: web.Request, settings: SocketSettings,
        service: Service, keyring: Keyring, *, limits_shown: bool,
    ) -> None:  # fmt: skip
        super().__init__(number, socket, request, ROUTE, settings)
        self._service = service
        self._keyring = keyring
        self._limits_shown = limits_shown
        self._connected_ms = service.world.clock.now_ms()
        self._key: tuple[str, ApiKey, int] | None = None
        """API key, what it stands for, since when it is logged on."""

    @property
    def per_second(self) -> int:
        return self._settings.pings_per_s

    async def on_text(self, text: str) -> None:
        """One request."""
        world = self._service.world
        now = world.clock.now_ms()
        try:
            request = read(text)
        except BadRequest as error:
            refusal = error.refusal
            self.send_bytes(bad(error.request_id, refusal.status, refusal.code, refusal.message, None))
            return
        fault = (
            None if world.faults.idle else world.faults.request_fault(world.fault_ms(), FAULT_METHOD, request.method)
        )
        if fault is not None and fault.when == "before":
            self._spoil(request, fault, b"")
            return
        delay_ms, answer = await self._answer(now, request)
        if not world.faults.idle:
            delay_ms += world.faults.reply_delay_ms(world.fault_ms(), FAULT_METHOD, request.method)
        if fault is not None:
            self._spoil(request, fault, answer)
        elif delay_ms:
            world.later(delay_ms, lambda: self.send_bytes(answer))
        else:
            self.send_bytes(answer)

    def key_revoked(self) -> None:
        """Say that the key of this session is worth nothing any more, if it is one of those, and log it off."""
        if self._key is not None and self._keyring.is_revoked(self._key[1].account):
            self._key = None
            refusal = invalid_key()
            self.send_bytes(bad(None, refusal.status, refusal.code, refusal.message, None))

    async def _answer(self, now: int, request: Request) -> tuple[int, bytes]:
        """(delay by a fault in ms, the text)."""
        method = METHODS.get(request.method)
        try:
            if method is None:
                raise Refused(400, -1020, "This operation is not supported.")
            answered = await self._ask(now, request, method)
        except Refused as refusal:
            answered = refused(refusal)
        rows = self._rows(now, request, answered)
        if answered.status == 200:
            return answered.delay_ms, good(request.id, answered.content, rows)
        return answered.delay_ms, bad(request.id, answered.status, *error_of(answered.content), rows)

    async def _ask(self, now: int, request: Request, method: Method) -> Answered:
        if not method.path:
            self._service.limits.charge(now, self.remote, SESSION_WEIGHT)
            return Answered(200, marketdata.dump(self._session(now, request, method.name)))
        route = method.route

        def who() -> str:
            return self._who(now, request, signed=route.security == SIGNED)

        if route.security == KEY:
            who()  # the key is asked for here, not in a header
        return await self._service.answer(Ask(now, self.remote, method.http, method.path, route, request.call, who))

    def _who(self, now: int, request: Request, *, signed: bool) -> str:
        """The account: by the request's own key, or by the session's. Raises Refused."""
        api_key = request.params.get("apiKey")
        if api_key is None and self._key is not None:
            if signed:
                self._keyring.check_time(now, request.params)
            return self._key[1].account
        if not signed:
            return self._keyring.account_of(api_key)
        return self._keyring.check(now, api_key, signed_texts(request.params), request.params).account

    def _session(self, now: int, request: Request, name: str) -> dict[str, object]:
        if name == "session.logon":
            api_key = request.params.get("apiKey")
            if self._keyring.entry(api_key).kind != "ED25519":
                raise Refused(400, -4056, "Only an Ed25519 API key can log on; sign each request instead.")
            entry = self._keyring.check(now, api_key, signed_texts(request.params), request.params)
            self._key = (str(api_key), entry, now)
        else:
            optional_whole(request.params, "timestamp")
            if name == "session.logout":
                self._key = None
        api_key, since = (self._key[0], self._key[2]) if self._key else (None, None)
        return {
            "apiKey": api_key, "authorizedSince": since, "connectedSince": self._connected_ms,
            "returnRateLimits": self._limits_shown, "serverTime": now,
        }  # fmt: skip

    def _rows(self, now: int, request: Request, answered: Answered) -> Rows | None:
        """The rateLimits block: ORDERS where the request counted there, and the weight; None if nobody wants it."""
        wanted = self._limits_shown if request.rate_limits is None else request.rate_limits
        if not wanted:
            return None
        settings = self._service.limits.settings
        short, long = (answered.headers.get(f"X-MBX-ORDER-COUNT-{name}") for name in ("10S", "1M"))
        rows: list[Mapping[str, object]] = []
        if short is not None and long is not None and answered.status == 200:
            rows.append(_row("ORDERS", "SECOND", 10, settings.orders_10s, int(short)))
            rows.append(_row("ORDERS", "MINUTE", 1, settings.orders_1m, int(long)))
        used = self._service.limits.used_weight(now, self.remote)
        return [*rows, _row("REQUEST_WEIGHT", "MINUTE", 1, settings.weight_1m, used)]

    def _spoil(self, request: Request, fault: RequestFault, answer: bytes) -> None:
        """What a fault makes of the answer."""
        if fault.how == "lost":
            if fault.when == "during":
                self.cut_within(answer)
            else:
                self.abort()
        elif fault.how == "error":
            status, body = error_of_fault(fault)
            code, message = (body["code"], body["msg"]) if isinstance(body, dict) else (-1000, "Bad Gateway")
            self.send_bytes(bad(request.id, status, code, message, None))
        elif fault.how == "body":
            self.send_text(fault.fields["body"])
        else:
            self.send_bytes(answer[: len(answer) // 2] if fault.how == "truncate" else answer)


def _row(kind: str, interval: str, number: int, limit: int, count: int) -> Mapping[str, object]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit, "count": count}
