"""Events: history, with its vocabulary in one versioned place (design section 2).

Sequence numbers are the journal's row numbers: contiguous, never reused; the Redis stream id is `<seq>-0`, and the
entry has one field `e` holding the JSON of `Event`.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Struct

VERSION = 1


class Subject(NamedTuple):
    """What a subject means and which keys its `data` carries (`?` marks an optional one)."""

    meaning: str
    data: tuple[str, ...]


_ORDER = ("client_order_id", "side", "qty", "filled_qty", "state", "role", "price?", "avg_price?", "reason?")

VOCABULARY: dict[str, Subject] = {
    "gateway.started": Subject("A gateway epoch began.", ("epoch", "version", "environment", "pid")),
    "gateway.ready": Subject("Reconciled; entries are allowed.", ("epoch", "took_ms")),
    "gateway.not_ready": Subject("Entries stopped until the next reconciliation.", ("reason",)),
    "gateway.stopping": Subject("An orderly stop began.", ("reason",)),
    "stream.up": Subject("A connection to the exchange is proven live.", ("connection", "url_form?")),
    "stream.down": Subject("A connection to the exchange ended or was given up.", ("connection", "reason", "retry_ms")),
    "stream.silent": Subject(
        "A stream missed its deadline.", ("stream", "silent_ms", "deadline_ms", "route?", "hint?")
    ),
    "book.live": Subject("A book is exact again.", ("u", "snapshot_id", "took_ms")),
    "book.gap": Subject(
        "A book is not served: it is being rebuilt, or (`unproven`) nothing proves that its silence is a quiet market.",
        ("reason", "expected_pu?", "got_pu?", "u?"),
    ),
    "bar.closed": Subject("A bar is final.", ("interval", "open_ms", "o", "h", "l", "c", "v", "by")),
    "bar.mended": Subject("Closed bars were filled or corrected from REST.", ("interval", "from_ms", "to_ms", "count")),
    "order.sent": Subject("An attempt of an intent left for the exchange.", (*_ORDER, "attempt")),
    "order.accepted": Subject("The exchange holds the order.", (*_ORDER, "order_id")),
    "order.rejected": Subject(
        "The exchange refused it, or it certainly never arrived.", (*_ORDER, "venue_code?", "venue_text?")
    ),
    "order.unknown": Subject("No answer proves its fate; it is being resolved.", _ORDER),
    "order.resolved": Subject("An unknown outcome ended.", (*_ORDER, "outcome", "proof")),
    "order.filled": Subject(
        "One trade of the order; `state` is `filled` with the last.",
        (*_ORDER, "trade_id", "last_qty", "last_price", "fee", "fee_asset", "realised", "maker"),
    ),
    "order.cancelled": Subject("Closed by a cancel.", _ORDER),
    "order.expired": Subject(
        "Closed by the exchange (IOC remainder, expiry, liquidation ...).", (*_ORDER, "expiry_reason?")
    ),
    "order.amended": Subject("Quantity or price changed.", _ORDER),
    "order.foreign": Subject("An order of this account that no intent of ours made.", _ORDER),
    "intent.refused": Subject("An intent ended before it left (filters, rights).", ("code", "message")),
    "intent.expired": Subject("Its deadline passed before it could leave.", ("deadline_ms", "late_ms")),
    "intent.conflict": Subject("A name came again with other content.", ("message",)),
    "intent.cancelled": Subject("Cancelled while queued; nothing left.", ()),
    "risk.refused": Subject("A risk check refused an intent.", ("code", "message", "detail")),
    "risk.state": Subject("A risk state changed.", ("scope", "state", "was", "author", "reason")),
    "position.changed": Subject("A leg changed by a fill.", ("leg", "qty", "entry", "realised")),
    "balance.changed": Subject("A balance changed.", ("asset", "wallet", "change", "reason")),
    "funding.paid": Subject("Funding was settled.", ("asset", "amount")),
    "margin.call": Subject("The exchange warns of liquidation.", ("positions",)),
    "mode.changed": Subject("Leverage, margin type or a mode changed.", ("what", "value", "by")),
    "instrument.changed": Subject("Filters or status of a symbol changed.", ("changes",)),
    "listen_key.lost": Subject("The private stream's key expired or vanished.", ("reason",)),
    "reconcile.done": Subject("A reconciliation pass ended.", ("cause", "differences", "took_ms")),
    "reconcile.difference": Subject("We and the exchange disagreed.", ("kind", "ours", "theirs", "action", "evidence")),
    "brain.started": Subject("A brain said hello.", ("run", "strategy", "symbols", "pid")),
    "brain.stopped": Subject("A brain said goodbye or its connection ended.", ("run", "reason")),
    "brain.lost": Subject("A brain's lease ended.", ("run", "lease_ms", "action")),
    "brain.signal": Subject("A strategy's signal (its own words).", ()),
    "brain.decision": Subject("What a strategy decided on (its own words).", ()),
    "brain.params": Subject("A strategy's parameters at its start or after a change.", ()),
    "journal.gap": Subject(
        "The stream was ahead of the journal; numbering continues above it.", ("stream_seq", "journal_seq")
    ),
}


class Ids(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an event belongs to. `intent` is `brain/run/seq`; `cause` the sequence of the event that led to it."""

    intent: str | None = None
    client_order_id: str | None = None
    order_id: int | None = None
    trade_id: int | None = None
    cause: int | None = None


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`at_ns` is wall time of the journalling; `event_ms` the exchange's own time where it has one.

    `source`: `gateway`, `venue`, `brain:<name>` or `person:<uid>`.
    """

    seq: Annotated[int, Meta(ge=1)]
    at_ns: int
    subject: str
    source: str
    v: int = VERSION
    symbol: str | None = None
    brain: str | None = None
    event_ms: int | None = None
    ids: Ids | None = None
    data: dict[str, Any] = {}


def matches(pattern: str, subject: str) -> bool:
    """`order.*` and `*` match any tail; anything else must be equal."""
    if pattern == "*":
        return True
    if pattern.endswith(".*"):
        return subject.startswith(pattern[:-1])
    return pattern == subject


_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_encoder = msgspec.json.Encoder()


def decode(raw: bytes) -> Event:
    return _decoder.decode(raw)


def encode(event: Event) -> bytes:
    return _encoder.encode(event)


def stream_id(seq: int) -> str:
    return f"{seq}-0"


def seq_of(stream_id_: bytes | str) -> int:
    text = stream_id_.decode() if isinstance(stream_id_, bytes) else stream_id_
    return int(text.partition("-")[0])
