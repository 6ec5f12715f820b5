"""What one part of the core may see of another: read-only views, handed over by the root at construction."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from gateway.core.inputs import Key, Now
from gateway.core.venue_orders import OrderSnapshot, VenuePosition
from ipc.wire import OrderView
from rules.instrument import Instrument
from rules.position import LegName


class MarketView(Protocol):
    """Market data as the order path sees it. A value that may not be relied on is None."""

    def symbols(self) -> tuple[str, ...]: ...

    def instrument(self, symbol: str) -> Instrument | None: ...

    def best(self, symbol: str, now: Now) -> tuple[Decimal, Decimal] | None:
        """(bid, ask) of a live book, else None."""

    def mark(self, symbol: str, now: Now) -> Decimal | None:
        """The mark price while its stream is within its deadline, else None."""

    def server_ms(self, now: Now) -> int:
        """The exchange's clock, biased slightly to the past: what `timestamp` is made of."""

    def clock_known(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class SymbolSettings:
    """What the account has on this symbol; None where not read yet. `entries_refused` says why entries are refused."""

    leverage: int | None
    margin_type: str | None
    position_mode: str | None  # "one_way" or "hedge"
    maker_fee: Decimal | None
    taker_fee: Decimal | None
    entries_refused: str | None


class AccountView(Protocol):
    """Positions and readiness as the order path and the market's instrument slice see them."""

    def ready(self) -> bool: ...

    def baseline(self) -> bool:
        """A first full reconciliation of this epoch is done (closes may then be sized by our own ledger)."""

    def private_live(self) -> bool: ...

    def hedge(self) -> bool: ...

    def legs(self, symbol: str) -> tuple[VenuePosition, ...]:
        """Our positions by fills: BOTH in one-way mode; LONG and SHORT in hedge mode."""

    def leg_qty(self, symbol: str, leg: LegName) -> Decimal:
        """Our signed position on one leg, by fills; 0 where there is none."""

    def settings(self, symbol: str) -> SymbolSettings: ...

    def entries_refused(self, symbol: str) -> str | None:
        """Why nothing may enter there, or None: `settings(symbol).entries_refused` alone."""


class OrdersView(Protocol):
    """Orders as reconciliation and slices see them."""

    def open_orders(self, symbol: str | None = None) -> tuple[OrderSnapshot, ...]:
        """Not closed: queued ones left out; sent, unknown, resting, foreign ones included."""

    def open_views(self, symbol: str) -> tuple[OrderView, ...]:
        """The same orders as brains and people see them (the `orders` slice), oldest first."""

    def in_flight(self, symbol: str) -> bool:
        """Something is sent and unanswered, or unknown, on this symbol."""

    def unknown_count(self) -> int: ...

    def find(self, client_order_id: str) -> OrderSnapshot | None: ...

    def risk_state(self, brain: str | None) -> tuple[str, str]:
        """(state, reason) that binds this brain now, or the account's with None."""


class BrainInfo(Protocol):
    """One registered brain (read-only)."""

    @property
    def name(self) -> str: ...

    @property
    def number(self) -> int: ...

    @property
    def run(self) -> str | None: ...

    @property
    def symbols(self) -> tuple[str, ...]: ...

    @property
    def alive(self) -> bool:
        """A connection said hello and its lease has not run out."""

    @property
    def show(self) -> dict[str, Any] | None: ...

    @property
    def show_ms(self) -> int | None: ...


class BrainsView(Protocol):
    def get(self, name: str) -> BrainInfo | None: ...

    def by_symbol(self, symbol: str) -> BrainInfo | None:
        """The one brain that trades this symbol on this account."""

    def all(self) -> tuple[BrainInfo, ...]: ...


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request: client number, user id, the brain it said hello as, and whether it may administer."""

    client: int
    uid: int
    brain: str | None
    admin: bool


class Lanes(Protocol):
    """The rate governor as the order path sees it. How a Send with `key[0] == "orders"` leaves:

    OrderCore returns it as a ticket without parameters; the root asks the governor, and for each one granted calls
    `OrderCore.on_granted(now, send) -> (Send | None, Out)` in the same step, before anything leaves: the Send it gives
    back is the one to perform (fresh timestamp; None: it is no longer wanted), Out is journalled with it (state `sent`,
    event `order.sent`). It does not go through the governor again.
    """

    def remove(self, key: Key) -> bool:
        """Take a waiting ticket out of its queue; False where it is not there."""
