"""Everything the core may ask for: a closed list.

The shell performs the effects of one step so: first all `Write`s in one transaction, then the rest in their order.
So nothing leaves before it is journalled. If the transaction fails, only effects with `repeatable` set are performed
(cancels, a flatten the exchange bounds by the leg), each written to stderr, and the core is told `JournalFailed`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from msgspec import Struct

from gateway.core.inputs import Conn, Key, Level
from gateway.core.rows import Row

OrderLane = Literal["close", "protection", "entry"]
WeightLane = Literal["cancel", "lifeline", "reconcile", "data"]


class Write(Struct, frozen=True):
    """One row for the journal (see `gateway.core.rows`). An EventRow is published after the commit by itself."""

    row: Row


class Send(Struct, frozen=True):
    """A request to the exchange. The shell appends the signature (and the API key header) and sends it.

    `params` are in wire order, unencoded, and already hold `timestamp` and `recvWindow` where `signed`.
    `order_path` goes over the lean keep-alive transport, everything else over httpx.
    `lane` and cost are what the rate governor grants by: `orders` in the pool of orders, `weight` in that of requests.
    `leave_by_boot_ns`: past it the shell lets nothing leave, whatever held it up (a full pool, a stop of the process).
    """

    key: Key
    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    params: tuple[tuple[str, str], ...] = ()
    security: Literal["none", "key", "signed"] = "none"
    order_path: bool = False
    orders: int = 0
    weight: int = 1
    lane: OrderLane | WeightLane = "data"
    repeatable: bool = False
    timeout_ms: int = 10_000
    leave_by_boot_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a WebSocket; answered by StreamOpened, or StreamClosed."""

    conn: Conn
    url: str


@dataclass(frozen=True, slots=True)
class Disconnect:
    conn: Conn
    reason: str


@dataclass(frozen=True, slots=True)
class SendFrame:
    conn: Conn
    data: bytes


@dataclass(frozen=True, slots=True)
class Probe:
    """Send a WebSocket ping; its pong comes back as StreamAlive."""

    conn: Conn


class Answer(Struct, frozen=True, gc=False):
    """One encoded line (newline included) for one client."""

    client: int
    line: bytes


@dataclass(frozen=True, slots=True)
class ReadEvents:
    """Answer an `events` request from the journal (a read: the shell does it and answers the client itself)."""

    client: int
    id: int
    after: int
    limit: int
    subjects: tuple[str, ...]
    as_of: int


@dataclass(frozen=True, slots=True)
class Hangup:
    client: int
    reason: str


@dataclass(frozen=True, slots=True)
class Dirty:
    """These slices (Redis keys) changed; the publisher asks `Gateway.render` for their bytes when it writes."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """A line for the log. Never a secret."""

    level: Level
    event: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observe:
    """A latency sample for the histogram of one hop, in microseconds."""

    hop: str
    us: float


@dataclass(frozen=True, slots=True)
class Ready:
    """First reconciliation done: print the ready line."""


@dataclass(frozen=True, slots=True)
class Exit:
    """The orderly stop is complete (or cannot go on): leave with this code."""

    code: int
    reason: str


Effect = (
    Write
    | Send
    | Connect
    | Disconnect
    | SendFrame
    | Probe
    | Answer
    | ReadEvents
    | Hangup
    | Dirty
    | Report
    | Observe
    | Ready
    | Exit
)
