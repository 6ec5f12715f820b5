"""Operations of the socket that are not the order path: hello, ping, note, status and the queries. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from gateway.core.assembly import Parts
from gateway.core.effects import Answer, ReadEvents
from gateway.core.health import Health
from gateway.core.inputs import Now
from gateway.core.parts import Out
from gateway.core.ports import Caller
from ipc import wire
from ipc.errors import IpcError
from ipc.framing import MAX_LINE_BYTES

_NOT_SUPPORTED = (wire.Amend, wire.Batch, wire.Protect, wire.Params)


class Operations:
    def __init__(self, parts: Parts, health: Health) -> None:
        self._parts = parts
        self._health = health

    def serve(self, now: Now, caller: Caller, request: wire.Request) -> Out:
        """Everything that is not the order path. Raises IpcError."""
        parts = self._parts
        match request:
            case wire.Ping():
                return parts.sessions.ping(now, caller, request)
            case wire.Hello():
                return self._hello(now, caller, request)
            case wire.Note():
                return parts.sessions.note(now, caller, request)
            case wire.Status():
                return [self._result(caller, request.id, msgspec.to_builtins(self._health.slice(now)))]
            case wire.PositionQuery():
                self._must_know(request.symbol)
                return [self._result(caller, request.id, parts.account.position_view(now, request.symbol))]
            case wire.AccountQuery():
                return [self._result(caller, request.id, parts.account.account_view(now))]
            case wire.BookQuery():
                return [self._book(caller, request)]
            case wire.BarsQuery():
                return [self._bars(caller, request)]
            case wire.EventsQuery():
                subjects = tuple(request.subjects)
                return [
                    ReadEvents(caller.client, request.id, request.after, request.limit, subjects, self._parts.log.last)
                ]
        if isinstance(request, _NOT_SUPPORTED):
            op = type(request).__struct_config__.tag
            raise IpcError("op.not_supported", f"{op} is part of the contract and is not served yet")
        raise IpcError("op.unknown", f"{type(request).__name__} is no operation of the gateway")

    def _hello(self, now: Now, caller: Caller, request: wire.Hello) -> Out:
        out = self._parts.sessions.hello(now, caller, request)
        if request.brain is not None or request.symbols:
            self._may_subscribe(request)
            out = self._parts.market.subscribe(now, request.symbols, request.intervals) + out
            out = self._parts.account.add_symbols(now, request.symbols) + out
        return out

    def _may_subscribe(self, request: wire.Hello) -> None:
        if request.brain is None:
            raise IpcError("rights.hello_first", "only a brain's hello asks for symbols; leave `symbols` out")

    def _must_know(self, symbol: str | None) -> None:
        if symbol is not None and symbol not in self._parts.market.symbols():
            raise IpcError("symbol.unknown", f"the gateway does not serve {symbol}")

    def _book(self, caller: Caller, request: wire.BookQuery) -> Answer:
        market = self._parts.market
        return self._page(
            caller, request.id, request.limit, lambda limit: market.book_page(request.symbol, limit, request.next)
        )

    def _bars(self, caller: Caller, request: wire.BarsQuery) -> Answer:
        market = self._parts.market

        def read(limit: int) -> tuple[Any, str | None]:
            return market.bars_page(request.symbol, request.interval, limit, request.end_ms, request.next)

        return self._page(caller, request.id, request.limit, read)

    def _page(
        self, caller: Caller, request_id: int, limit: int, read: Callable[[int], tuple[Any, str | None]]
    ) -> Answer:
        """A page that fits a line: fewer rows where the limit asked for would not."""
        while True:
            result, token = read(limit)
            answer = wire.Answer(id=request_id, ok=True, as_of=self._parts.log.last, result=result, next=token)
            line = wire.encode(answer)
            if len(line) <= MAX_LINE_BYTES or limit == 1:
                return Answer(caller.client, line)
            limit //= 2

    def _result(self, caller: Caller, request_id: int, result: Any) -> Answer:
        answer = wire.Answer(id=request_id, ok=True, as_of=self._parts.log.last, result=result)
        return Answer(caller.client, wire.encode(answer))
