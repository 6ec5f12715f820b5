"""What the account side needs of an exchange's adapter: user frames and replies as our types, requests as data.

Exchange words end there. The adapter is a plain module with these functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, Protocol

from gateway.core.effects import Send
from gateway.core.inputs import Key
from gateway.core.venue_orders import OrderSnapshot, UserEvent, VenueBalance, VenueFill, VenueOrder, VenuePosition

LegWord = Literal["BOTH", "LONG", "SHORT"]
FaultKind = Literal["", "not_found", "unknown_symbol", "clock", "keys"]


class UserFrameError(ValueError):
    """A frame of the private stream that cannot be read. Says what is wrong, never repeats the whole frame."""


class ReplyError(ValueError):
    """A reply that says no, or says nothing readable. `code` is the exchange's, None where there was none.

    `kind` is what it means here: not_found (no such order), unknown_symbol, clock (our timestamp lies outside the
    exchange's window: certainly not done), keys (the API key is the fault), or nothing special.
    """

    def __init__(self, status: int, code: int | None, text: str, kind: FaultKind = "") -> None:
        super().__init__(f"HTTP {status}" + (f", {code}" if code is not None else "") + f": {text[:200]}")
        self.status = status
        self.code = code
        self.kind = kind


@dataclass(frozen=True, slots=True)
class OwnBalance:
    balance: VenueBalance
    available: Decimal | None


@dataclass(frozen=True, slots=True)
class OwnTrade:
    """One row of the account's trade list; its order is known by number only."""

    symbol: str
    order_id: int
    side: Literal["BUY", "SELL"]
    leg: LegWord
    fill: VenueFill


@dataclass(frozen=True, slots=True)
class OwnSettings:
    leverage: int | None
    margin_type: str | None


class AccountVenue(Protocol):
    """Requests are stamped with the exchange's time; every `read_...` takes HTTP status and body, raises ReplyError."""

    def parse_user_frame(self, data: bytes) -> UserEvent:
        """One text frame as one event. Raises UserFrameError; never anything else."""

    def user_frame_identity(self, data: bytes) -> bytes:
        """What a frame says without when it was pushed: equal for one event over two connections. Never raises."""

    # -- requests

    def trades_page_rows(self) -> int:
        """Rows of a full page of `trades`; fewer mean it is the last."""

    def position_mode(self, key: Key, at_ms: int) -> Send: ...

    def symbol_settings(self, key: Key, at_ms: int) -> Send: ...

    def commission(self, key: Key, at_ms: int, symbol: str) -> Send: ...

    def balances(self, key: Key, at_ms: int) -> Send: ...

    def positions(self, key: Key, at_ms: int, symbol: str | None = None) -> Send: ...

    def open_orders(self, key: Key, at_ms: int, symbol: str | None = None) -> Send: ...

    def trades(self, key: Key, at_ms: int, symbol: str, from_id: int | None) -> Send:
        """From `from_id` on, oldest first; without it the newest page."""

    def order(
        self, key: Key, at_ms: int, symbol: str, *, order_id: int | None = None, client_id: str | None = None
    ) -> Send: ...

    def set_position_mode(self, key: Key, at_ms: int, mode: str) -> Send: ...

    def set_margin_type(self, key: Key, at_ms: int, symbol: str, margin_type: str) -> Send: ...

    def set_leverage(self, key: Key, at_ms: int, symbol: str, leverage: int) -> Send: ...

    # -- replies

    def read_balances(self, status: int, body: bytes) -> tuple[OwnBalance, ...]: ...

    def read_positions(self, status: int, body: bytes) -> tuple[VenuePosition, ...]:
        """Flat legs are left out."""

    def read_open_orders(self, status: int, body: bytes) -> tuple[VenueOrder, ...]: ...

    def read_order(self, status: int, body: bytes) -> VenueOrder: ...

    def read_trades(self, status: int, body: bytes) -> tuple[OwnTrade, ...]:
        """Sorted by id."""

    def read_position_mode(self, status: int, body: bytes) -> Literal["hedge", "one_way"]: ...

    def read_symbol_settings(self, status: int, body: bytes) -> dict[str, OwnSettings]: ...

    def read_commission(self, status: int, body: bytes) -> tuple[Decimal, Decimal]:
        """(maker, taker) as fractions."""

    def read_leverage(self, status: int, body: bytes) -> int: ...

    def read_done(self, status: int, body: bytes) -> None:
        """Returns where a setting was made or was so already."""

    # -- orders told anew

    def still_open(self, order: VenueOrder) -> bool: ...

    def fill_orders(self, order: VenueOrder, fills: Sequence[VenueFill]) -> list[VenueOrder]:
        """An order as it is now, told as the trades that led there (by id): the last carries its present state."""

    def vanished(self, order: OrderSnapshot, at_ms: int) -> VenueOrder:
        """An order of ours the exchange no longer knows, without a trade: it ended unfilled."""
