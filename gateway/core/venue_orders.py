"""Orders and account news as the core understands them, whatever exchange sent them. Adapters make these."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from ipc.wire import IntentId

Source = Literal["reply", "stream", "query", "reconcile"]


@dataclass(frozen=True, slots=True)
class VenueFill:
    """One trade. `fee` may be negative (a rebate), None where the exchange did not say."""

    trade_id: int
    qty: Decimal
    price: Decimal
    fee: Decimal | None
    fee_asset: str | None
    realised: Decimal | None
    maker: bool
    at_ms: int


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """What the exchange says about one order, from any source. `status` is its own word (NEW, FILLED, ...).

    `execution` is the stream's execution type (NEW, TRADE, CANCELED, EXPIRED, CALCULATED, AMENDMENT) or None.
    `updated_ms` is the exchange's time of this state.
    """

    source: Source
    symbol: str
    client_order_id: str
    order_id: int
    status: str
    side: Literal["BUY", "SELL"]
    type: str
    tif: str | None
    qty: Decimal
    filled_qty: Decimal
    price: Decimal | None
    avg_price: Decimal | None
    leg: Literal["BOTH", "LONG", "SHORT"]
    reduce_only: bool
    updated_ms: int
    execution: str | None = None
    expiry_reason: str | None = None
    fill: VenueFill | None = None


@dataclass(frozen=True, slots=True)
class OrderSnapshot:
    """The order as the order core holds it, for other parts: never the live record itself."""

    client_order_id: str
    order_id: int | None
    symbol: str
    side: Literal["BUY", "SELL"]
    leg: Literal["BOTH", "LONG", "SHORT"]
    state: str
    qty: Decimal
    filled_qty: Decimal
    price: Decimal | None
    reduce_only: bool
    role: Literal["entry", "close", "protection"]
    brain: str | None  # None: foreign
    intent: IntentId | None
    attempt: int
    sent_boot_ns: int | None
    updated_ms: int


@dataclass(frozen=True, slots=True)
class VenueBalance:
    asset: str
    wallet: Decimal
    cross: Decimal
    change: Decimal | None = None  # "balance change except PnL and commission" (bc)


@dataclass(frozen=True, slots=True)
class VenuePosition:
    """One leg. `qty` signed, absolute (not a change)."""

    symbol: str
    leg: Literal["BOTH", "LONG", "SHORT"]
    qty: Decimal
    entry: Decimal
    unrealised: Decimal | None = None
    margin_type: str | None = None
    isolated_wallet: Decimal | None = None
    updated_ms: int = 0


@dataclass(frozen=True, slots=True)
class AccountUpdate:
    """The exchange's own account statement on the stream: a check of ours, and the source for transfers and funding.

    `reason`: `order` (fills speak for themselves), `funding`, or another lower-case word for money that moved.
    """

    reason: str
    event_ms: int
    transaction_ms: int
    balances: tuple[VenueBalance, ...]
    positions: tuple[VenuePosition, ...]
    symbol: str | None = None


@dataclass(frozen=True, slots=True)
class ConfigUpdate:
    """Leverage of a symbol, or the multi-assets mode."""

    event_ms: int
    symbol: str | None
    leverage: int | None
    multi_assets: bool | None


@dataclass(frozen=True, slots=True)
class MarginCall:
    event_ms: int
    positions: tuple[VenuePosition, ...]


@dataclass(frozen=True, slots=True)
class KeyExpired:
    event_ms: int
    listen_key: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """A user event we do not use (TRADE_LITE, ALGO_UPDATE, STRATEGY_UPDATE, an unknown one): counted by name."""

    name: str


UserEvent = VenueOrder | AccountUpdate | ConfigUpdate | MarginCall | KeyExpired | Ignored
