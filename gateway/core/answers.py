"""Lines that answer requests of the order path."""

from __future__ import annotations

from typing import Any

from gateway.core.effects import Answer
from gateway.core.intents import Intent, Stored
from gateway.core.order_record import Order, view
from ipc import wire
from ipc.errors import CODES, IpcError


def refused(client: int, request_id: int, as_of: int, error: IpcError, *, outcome: bool = True) -> Answer:
    body = wire.ErrorBody(code=error.code, message=error.message, retryable=error.retryable, detail=error.detail)
    return _line(
        client,
        wire.Answer(id=request_id, ok=False, as_of=as_of, outcome="rejected" if outcome else None, error=body),
    )


def of_outcome(client: int, request_id: int, as_of: int, stored: Stored, order: Order | None) -> Answer:
    """What became of an intent: accepted with the order as it is now, or its refusal."""
    shown = view(order) if order is not None else None
    if stored.outcome == "accepted":
        return _line(client, wire.Answer(id=request_id, ok=True, as_of=as_of, outcome="accepted", order=shown))
    body = wire.ErrorBody(
        code=stored.code or "op.internal", message=stored.message, retryable=stored.retryable, detail=stored.detail
    )
    return _line(client, wire.Answer(id=request_id, ok=False, as_of=as_of, outcome="rejected", order=shown, error=body))


def unknown(client: int, request_id: int, as_of: int, order: Order | None, message: str) -> Answer:
    code = "venue.no_answer"
    body = wire.ErrorBody(code=code, message=message, retryable=CODES[code].retryable)
    shown = view(order) if order is not None else None
    return _line(client, wire.Answer(id=request_id, ok=False, as_of=as_of, outcome="unknown", order=shown, error=body))


def done(client: int, request_id: int, as_of: int, *, order: Order | None = None, result: Any = None) -> Answer:
    """A cancel, cancel_all or flatten that is complete."""
    shown = view(order) if order is not None else None
    return _line(
        client,
        wire.Answer(id=request_id, ok=True, as_of=as_of, outcome="accepted", order=shown, result=result),
    )


def not_done_yet(client: int, request_id: int, as_of: int, message: str, result: Any) -> Answer:
    code = "venue.no_answer"
    body = wire.ErrorBody(code=code, message=message, retryable=CODES[code].retryable)
    answer = wire.Answer(id=request_id, ok=False, as_of=as_of, outcome="unknown", result=result, error=body)
    return _line(client, answer)


def of_intent(client: int, request_id: int, as_of: int, intent: Intent) -> Answer:
    """The operation `order`: its refusal, its newest attempt as it is now, or that it waits."""
    if intent.outcome is not None and intent.outcome.outcome == "rejected":
        return of_outcome(client, request_id, as_of, intent.outcome, intent.order)
    if intent.order is None:
        return result(client, request_id, as_of, {"intent": intent.text, "state": "waiting"})
    return shown(client, request_id, as_of, intent.order)


def result(client: int, request_id: int, as_of: int, value: Any, next_: str | None = None) -> Answer:
    return _line(client, wire.Answer(id=request_id, ok=True, as_of=as_of, result=value, next=next_))


def shown(client: int, request_id: int, as_of: int, order: Order) -> Answer:
    return _line(client, wire.Answer(id=request_id, ok=True, as_of=as_of, order=view(order)))


def _line(client: int, answer: wire.Answer) -> Answer:
    return Answer(client, wire.encode(answer))
