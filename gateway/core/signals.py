"""What parts of the core tell each other through the root; never leaves `Gateway.step`.

A part returns signals among its effects; the root delivers each to the parts that listen, in order, within the same
step, and what they return is handled the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.inputs import Frame
from gateway.core.market_data import RateLimit
from gateway.core.venue_orders import OrderSnapshot, VenueFill, VenueOrder
from ipc.wire import RiskState


@dataclass(frozen=True, slots=True)
class PrivateUp:
    """links -> account: the private stream is open under a fresh or confirmed key; reconcile now, entries wait."""

    cause: str


@dataclass(frozen=True, slots=True)
class PrivateDown:
    """links -> account, orders: own events may be missing from here on; entries stop."""

    reason: str


@dataclass(frozen=True, slots=True)
class Filled:
    """orders -> account: one new trade, already de-duplicated by (symbol, trade id)."""

    order: OrderSnapshot
    fill: VenueFill


@dataclass(frozen=True, slots=True)
class ReadyChanged:
    """account -> orders, root: reconciled and entries may leave, or not any more."""

    ready: bool
    reason: str


@dataclass(frozen=True, slots=True)
class ReconcileWanted:
    """orders, root -> account: an unknown ended, traffic is strange, an operator asked; `symbol` None is everything."""

    cause: str
    symbol: str | None = None


@dataclass(frozen=True, slots=True)
class Holdback:
    """account -> orders: hold entries of this symbol for a quiet second reading (at most 2 s), or let them go."""

    symbol: str
    on: bool


@dataclass(frozen=True, slots=True)
class BrainLost:
    """sessions -> orders: a lease ended. Cancel its resting entries; after `flatten_after_ms` (None: keep) flatten."""

    brain: str
    run: str | None
    symbols: tuple[str, ...]
    flatten_after_ms: int | None


@dataclass(frozen=True, slots=True)
class BrainBack:
    """sessions -> orders: the brain asks again; a pending lease flatten is off."""

    brain: str
    run: str | None


@dataclass(frozen=True, slots=True)
class ClockSuspect:
    """orders -> links: the exchange refused a timestamp; measure the clock offset now."""

    reason: str


@dataclass(frozen=True, slots=True)
class CatalogDoubt:
    """orders -> market: the exchange refused by a filter we thought was kept; read the exchange info again."""

    symbol: str
    reason: str


@dataclass(frozen=True, slots=True)
class LimitsRead:
    """market -> root: the exchange's published limits, for the rate governor."""

    limits: tuple[RateLimit, ...]


@dataclass(frozen=True, slots=True)
class KeyDoubt:
    """account -> links: the private stream may be mute (REST or the exchange says so): new key, reconnect.

    `mute`: something happened that it did not tell, though it is open.
    """

    reason: str
    mute: bool = False


@dataclass(frozen=True, slots=True)
class UserFrames:
    """links -> root: frames of the private stream that were held back while two connections said the same."""

    frames: tuple[Frame, ...]


@dataclass(frozen=True, slots=True)
class OrdersRead:
    """account -> orders: what a REST reading says of orders (and fills the stream did not bring), oldest first.

    The root hands each to `OrderCore.on_venue_order` within the step, like those of `AccountCore.on_frame`.
    """

    orders: tuple[VenueOrder, ...]


@dataclass(frozen=True, slots=True)
class RestrictBrain:
    """account -> orders: an unexplained difference in this brain's books; put it into `state` until a person looks."""

    brain: str
    state: RiskState
    reason: str


Signal = (
    PrivateUp
    | PrivateDown
    | Filled
    | ReadyChanged
    | ReconcileWanted
    | Holdback
    | BrainLost
    | BrainBack
    | ClockSuspect
    | CatalogDoubt
    | LimitsRead
    | KeyDoubt
    | UserFrames
    | OrdersRead
    | RestrictBrain
)
