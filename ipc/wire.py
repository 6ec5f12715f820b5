"""Every message on the Unix domain socket, as frozen typed structs (design section 3).

One JSON object a line, each way. Prices and quantities are decimal strings matching `DECIMAL`; ids and counts
are integers; every time carries its unit in its name. `asked_boot_ns` is CLOCK_BOOTTIME of the brain.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

VERSION = 1

# 27 digits at most: within the 28 that Decimal keeps exactly, so no arithmetic rounds what was asked
DECIMAL = r"^-?[0-9]{1,15}(\.[0-9]{1,12})?$"

Dec = Annotated[str, Meta(pattern=DECIMAL, max_length=29, description="decimal string, no exponent")]
PosDec = Annotated[
    str, Meta(pattern=r"^[0-9]{1,15}(\.[0-9]{1,12})?$", max_length=28, description="decimal string, not negative")
]
Symbol = Annotated[str, Meta(min_length=1, max_length=40)]
BrainName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Run = Annotated[str, Meta(pattern=r"^r[0-9]{1,15}$", description="`r` and the checkpoint's creation time in ms")]
Seq = Annotated[int, Meta(ge=1, le=2**53)]
RequestId = Annotated[int, Meta(ge=0, le=2**53)]
Side = Literal["BUY", "SELL"]
Leg = Literal["BOTH", "LONG", "SHORT"]
OrderType = Literal["LIMIT", "MARKET"]
Tif = Literal["GTC", "IOC", "FOK", "GTX"]
Interval = Literal["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d"]
ClientOrderId = Annotated[str, Meta(pattern=r"^[.A-Z:/a-z0-9_-]{1,36}$")]
Page = Annotated[str, Meta(max_length=200)]
Limit = Annotated[int, Meta(ge=1, le=1000)]
Reason = Annotated[str, Meta(max_length=300)]
Show = Annotated[dict[str, Any], Meta(max_length=40)]

RiskState = Literal["running", "reduce_only", "cancel_only", "halted"]
Outcome = Literal["accepted", "rejected", "unknown"]


class IntentId(Struct, frozen=True, forbid_unknown_fields=True):
    """What an order was decided as: names it for ever."""

    brain: BrainName
    run: Run
    seq: Seq


class Cause(Struct, frozen=True, omit_defaults=True):
    """What an intent was decided on: the gateway's slice sequence and the last event sequence seen."""

    slices: int | None = None
    event: int | None = None


class _Request(Struct, frozen=True, tag_field="op", forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    id: RequestId


class Hello(_Request, frozen=True, tag="hello"):
    """Who asks. Tools leave `brain` out and may only read, or administer if their user may."""

    v: int = VERSION
    brain: BrainName | None = None
    run: Run | None = None
    strategy: str | None = None
    symbols: Annotated[list[Symbol], Meta(max_length=200)] = []
    intervals: Annotated[list[Interval], Meta(max_length=12)] = []


class Ping(_Request, frozen=True, tag="ping"):
    """Renews the lease; `show` is what the brain wants people to see (it goes to `ledger:<brain>`)."""

    show: Show | None = None


class Status(_Request, frozen=True, tag="status"):
    """Health of the gateway: the content of the `gateway` slice."""


class Place(_Request, frozen=True, tag="place"):
    """One intent. Without `reduce_only` it is an entry unless it only shrinks the brain's own position."""

    intent: IntentId
    symbol: Symbol
    side: Side
    type: OrderType
    qty: PosDec
    price: PosDec | None = None
    tif: Tif | None = None
    leg: Leg = "BOTH"
    reduce_only: bool = False
    post_only: bool = False
    tag: Annotated[str, Meta(max_length=64)] = ""
    cause: Cause | None = None
    asked_boot_ns: int | None = None
    deadline_ms: Annotated[int, Meta(ge=1, le=600_000)] | None = None


class Cancel(_Request, frozen=True, tag="cancel"):
    """By intent, or by client order id (a foreign order, or one of an older run). Repeating it is harmless."""

    intent: IntentId | None = None
    symbol: Symbol | None = None
    client_order_id: ClientOrderId | None = None


class CancelAll(_Request, frozen=True, tag="cancel_all"):
    """The asking brain's resting plain orders; with `everyone` (administrators) all of ours."""

    symbol: Symbol | None = None
    everyone: bool = False


class Flatten(_Request, frozen=True, tag="flatten"):
    """Cancel resting orders and close positions, repeated until flat. A brain: its own; an administrator: all."""

    symbol: Symbol | None = None
    reason: Reason = ""


class OrderQuery(_Request, frozen=True, tag="order"):
    intent: IntentId | None = None
    client_order_id: ClientOrderId | None = None


class OrdersQuery(_Request, frozen=True, tag="orders"):
    symbol: Symbol | None = None
    scope: Literal["open", "all"] = "open"
    brain: BrainName | None = None
    limit: Limit = 200
    next: Page | None = None


class PositionQuery(_Request, frozen=True, tag="position"):
    symbol: Symbol | None = None


class AccountQuery(_Request, frozen=True, tag="account"):
    pass


class BookQuery(_Request, frozen=True, tag="book"):
    """Every held level, best first, `limit` a side per page."""

    symbol: Symbol
    limit: Limit = 200
    next: Page | None = None


class BarsQuery(_Request, frozen=True, tag="bars"):
    """Closed bars ending before `end_ms` (default: now), newest page first, each page oldest first."""

    symbol: Symbol
    interval: Interval
    limit: Limit = 500
    end_ms: int | None = None
    next: Page | None = None


class EventsQuery(_Request, frozen=True, tag="events"):
    """Events after sequence `after`, from the journal; `subjects` takes wildcards (`order.*`)."""

    after: Annotated[int, Meta(ge=0)] = 0
    limit: Limit = 200
    subjects: Annotated[list[str], Meta(max_length=20)] = []


class Note(_Request, frozen=True, tag="note"):
    """A brain's own event: subject `brain.signal`, `brain.decision` or `brain.params`; 4 KiB of data."""

    subject: Literal["brain.signal", "brain.decision", "brain.params"]
    symbol: Symbol | None = None
    data: dict[str, Any] = {}


class Risk(_Request, frozen=True, tag="risk"):
    """`state` reads; `pause` is `reduce_only`, `resume` is `running`. Without `brain`: the account."""

    action: Literal["state", "pause", "resume", "kill"] = "state"
    brain: BrainName | None = None
    reason: Reason = ""


class Amend(_Request, frozen=True, tag="amend"):
    intent: IntentId | None = None
    qty: PosDec | None = None
    price: PosDec | None = None


class Batch(_Request, frozen=True, tag="batch"):
    items: Annotated[list[dict[str, Any]], Meta(max_length=5)] = []


class Protect(_Request, frozen=True, tag="protect"):
    symbol: Symbol | None = None
    spec: dict[str, Any] = {}


class Params(_Request, frozen=True, tag="params"):
    spec: dict[str, Any] = {}


Request = (
    Hello | Ping | Status | Place | Cancel | CancelAll | Flatten | OrderQuery | OrdersQuery | PositionQuery
    | AccountQuery | BookQuery | BarsQuery | EventsQuery | Note | Risk | Amend | Batch | Protect | Params
)  # fmt: skip

OPS: tuple[str, ...] = (
    "hello", "ping", "status", "place", "cancel", "cancel_all", "amend", "batch", "protect", "flatten", "order",
    "orders", "position", "account", "book", "bars", "events", "note", "risk", "params",
)  # fmt: skip


class OrderView(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An order as brains and people see it. `state` is ours (see `rules.orders`), `status` the exchange's word.

    `filled_qty`, `avg_price`, `fees` come from fills, never from acknowledgements.
    """

    client_order_id: str
    symbol: str
    side: str
    type: str
    state: str
    qty: str
    filled_qty: str = "0"
    price: str | None = None
    avg_price: str | None = None
    order_id: int | None = None
    status: str | None = None
    tif: str | None = None
    leg: str = "BOTH"
    reduce_only: bool = False
    post_only: bool = False
    intent: IntentId | None = None
    attempt: int = 1
    tag: str = ""
    role: str = "entry"
    foreign: bool = False
    fees: dict[str, str] = {}
    realised: str = "0"
    reason: str | None = None
    created_ms: int = 0
    updated_ms: int = 0


class ErrorBody(Struct, frozen=True, kw_only=True):
    code: str
    message: str
    retryable: bool
    detail: dict[str, Any] = {}


class Answer(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One answer to one request. `id` is null only where the line carried none that could be read.

    `outcome` is there for place, cancel and flatten; `as_of` is the last event the answer includes.
    """

    id: int | None
    ok: bool
    as_of: int | None = None
    outcome: Outcome | None = None
    order: OrderView | None = None
    result: Any = None
    error: ErrorBody | None = None
    next: str | None = None


_request_decoder: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_answer_decoder: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)
_encoder = msgspec.json.Encoder()


# raises msgspec.ValidationError (with the path of the bad field) or msgspec.DecodeError (not JSON); bound, not wrapped:
# it is called for every line
decode_request = _request_decoder.decode


def decode_answer(line: bytes) -> Answer:
    return _answer_decoder.decode(line)


def encode(message: Struct) -> bytes:
    """One line, newline included. JSON escapes newlines inside strings, so a line is always one message."""
    return _encoder.encode(message) + b"\n"
