"""A brain's own orders, as it must remember them over a crash. Pure.

A `Record` is one intent: the whole request as it was decided (sent again word for word while unanswered) and what is
known of its fate. Its state only moves forward, whatever the order in which answers and events arrive.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

import msgspec
from msgspec import Struct

from ipc import wire
from ipc.events import Event
from rules.orders import CLOSED, STATES

Key = tuple[str, int]
"""(run, seq)."""

Role = Literal["entry", "exit"]

RESTING = frozenset({"open", "partially_filled"})
# the states of `rules.orders` are a chain: evidence in any order ends at the highest
_RANK = {state: rank for rank, state in enumerate(STATES)}

_REFUSALS = {
    "intent.refused": "rejected",
    "risk.refused": "rejected",
    "intent.expired": "expired",
    "intent.cancelled": "cancelled",
}

# refusals that say nothing about the order itself: ask again under the same name
ASK_AGAIN = frozenset({"wire.busy", "gateway.stopping", "rights.hello_first", "gateway.unreachable"})
# the name is used up: the checkpoint was lost or copied
NAME_USED = frozenset({"intent.conflict", "intent.old_run"})


class Record(Struct, kw_only=True):
    """`delivered`: the gateway has shown that it holds the intent. `boot`: boot id of the machine when it was asked
    (`place.asked_boot_ns` means nothing on another boot). Prices and quantities are decimal strings."""

    place: wire.Place
    role: Role
    boot: str
    asked_ms: int
    state: str = "queued"
    delivered: bool = False
    filled_qty: str = "0"
    avg_price: str | None = None
    reason: str = ""
    client_order_id: str | None = None
    cancel_asked: bool = False
    cancel_done: bool = False
    adopted: bool = False

    @property
    def key(self) -> Key:
        return (self.place.intent.run, self.place.intent.seq)

    @property
    def symbol(self) -> str:
        return self.place.symbol

    @property
    def closed(self) -> bool:
        return self.state in CLOSED

    @property
    def resting(self) -> bool:
        return self.state in RESTING and self.place.tif not in ("IOC", "FOK") and self.place.type == "LIMIT"

    @property
    def left(self) -> Decimal:
        return Decimal(self.place.qty) - Decimal(self.filled_qty)


def intent_key(event: Event, brain: str) -> Key | None:
    """The intent an event belongs to, if it is this brain's."""
    if event.ids is None or event.ids.intent is None:
        return None
    name, _, rest = event.ids.intent.partition("/")
    run, _, seq = rest.partition("/")
    return (run, int(seq)) if name == brain and seq.isdigit() else None


def advance(record: Record, state: str, *, filled_qty: str | None = None, avg_price: str | None = None,
            reason: str | None = None) -> bool:  # fmt: skip
    """Move forward to `state`; True if anything became different. What lies behind is ignored."""
    changed = False
    if filled_qty is not None and Decimal(filled_qty) > Decimal(record.filled_qty):
        record.filled_qty = filled_qty
        record.avg_price = avg_price or record.avg_price
        changed = True
    if _RANK.get(state, -1) > _RANK[record.state]:
        record.state = state
        record.reason = reason or ""
        changed = True
    return changed


def apply_event(record: Record, event: Event) -> bool:
    """What an event of this intent says; True if the record changed."""
    record.delivered = True
    data = event.data
    _take_role(record, data.get("role"))
    if event.ids is not None and event.ids.client_order_id is not None:
        record.client_order_id = event.ids.client_order_id
    if event.subject in _REFUSALS:
        reason = str(data.get("code") or event.subject)
        return advance(record, _REFUSALS[event.subject], reason=reason)
    state = data.get("state")
    if not event.subject.startswith("order.") or not isinstance(state, str):
        return False
    return advance(
        record,
        state,
        filled_qty=_text(data.get("filled_qty")),
        avg_price=_text(data.get("avg_price")),
        reason=_text(data.get("reason") or data.get("venue_text")),
    )


def apply_view(record: Record, view: wire.OrderView) -> bool:
    """What an answer says of the order."""
    record.client_order_id = view.client_order_id
    _take_role(record, view.role)
    return advance(record, view.state, filled_qty=view.filled_qty, avg_price=view.avg_price, reason=view.reason)


def apply_answer(record: Record, answer: wire.Answer) -> bool:
    """A definite or unknown outcome; the caller has sorted out `ASK_AGAIN` and `NAME_USED`."""
    record.delivered = True
    changed = apply_view(record, answer.order) if answer.order is not None else False
    if answer.ok:
        return changed
    code = answer.error.code if answer.error is not None else "op.internal"
    if answer.outcome == "unknown":
        return advance(record, "unknown", reason=code) or changed
    state = {"intent.expired": "expired", "intent.cancelled": "cancelled"}.get(code, "rejected")
    return advance(record, state, reason=code) or changed


def adopted(view: wire.OrderView, boot: str, now_ms: int) -> Record | None:
    """A record for an order of ours that no checkpoint knows; None where the view names no intent."""
    if view.intent is None:
        return None
    place = wire.Place(
        id=0, intent=view.intent, symbol=view.symbol,
        side="BUY" if view.side == "BUY" else "SELL",
        type="MARKET" if view.type == "MARKET" else "LIMIT",
        qty=view.qty, price=view.price, tif=_tif(view.tif),
        reduce_only=view.reduce_only, post_only=view.post_only, tag=view.tag[:64],
    )  # fmt: skip
    role: Role = "exit" if view.reduce_only or view.role != "entry" else "entry"
    record = Record(place=place, role=role, boot=boot, asked_ms=view.created_ms or now_ms, delivered=True, adopted=True)
    apply_view(record, view)
    return record


def encode(record: Record) -> bytes:
    return _encoder.encode(record)


def decode(raw: bytes) -> Record:
    return _decoder.decode(raw)


def _take_role(record: Record, role: Any) -> None:
    """The gateway knows better: an order without `reduce_only` that only shrank the position was a close."""
    if isinstance(role, str):
        record.role = "entry" if role == "entry" else "exit"


def _tif(text: str | None) -> wire.Tif | None:
    return msgspec.convert(text, wire.Tif) if text in ("GTC", "IOC", "FOK", "GTX") else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Record)
