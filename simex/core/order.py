"""One order and one fill, as the engine holds them. Integers only: ticks, lots, milliseconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from simex.core.api import Side
from simex.core.instrument import Instrument

PositionSide = Literal["BOTH", "LONG", "SHORT"]
OrderType = Literal["LIMIT", "MARKET"]
OPEN_STATUSES = frozenset({"NEW", "PARTIALLY_FILLED"})

NONE, STP, IOC_REST, IOC_STP, REDUCE_ONLY, LIQUIDATED, GTE_END, MARKET_REST = "0", "1", "2", "3", "4", "5", "6", "9"
"""Expiry reasons (`er`), section 6.3."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The conditional order that made an order: what of it the order's events and queries repeat."""

    algo_id: int
    type: str
    stop_price: Decimal
    """0 for a trailing stop, which shows none."""
    working_type: str = "CONTRACT_PRICE"
    price_protect: bool = False
    close_position: bool = False
    activation_price: Decimal | None = None
    """Trailing stops only, as the callback rate (percent)."""
    callback_rate: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Amendment:
    """One change of a resting order: what it was and what it became."""

    amendment_id: int
    time_ms: int
    count: int
    price_ticks: tuple[int, int]
    """(before, after), as `qty_lots`."""
    qty_lots: tuple[int, int]
    modify_id: int | None


@dataclass(slots=True, eq=False)
class Order:
    """An accepted order. `ahead_lots` is the external quantity that stands before it at its price."""

    account: str
    instrument: Instrument
    order_id: int
    client_id: str
    side: Side
    type: OrderType
    tif: str
    position_side: PositionSide
    price_ticks: int
    """0 for MARKET."""
    qty_lots: int
    reduce_only: bool
    stp: str
    good_till_ms: int
    created_ms: int
    price_match: str = "NONE"
    update_ms: int = 0
    status: str = "NEW"
    expiry_reason: str = NONE
    filled_lots: int = 0
    filled_tick_lots: int = 0
    """Sum of price_ticks * lots over all fills: the exact quote volume."""
    last_fill_lots: int = 0
    ahead_lots: int = 0
    resting: bool = False
    origin: Origin | None = None
    """None for an order that was placed as it is."""
    auto_close: str = ""
    """LIQUIDATION or ADL: an order of the exchange's own, whose fills are announced as CALCULATED."""
    shown_as: str = ""
    """What events call its type, if not by its name."""
    amendments: list[Amendment] = field(default_factory=list)

    @property
    def symbol(self) -> str:
        return self.instrument.symbol

    @property
    def original_type(self) -> str:
        return self.type if self.origin is None else self.origin.type

    @property
    def left_lots(self) -> int:
        return self.qty_lots - self.filled_lots

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES

    @property
    def price(self) -> Decimal:
        return self.instrument.price(self.price_ticks)

    @property
    def quote_filled(self) -> Decimal:
        return self.instrument.tick_size * self.instrument.step_size * self.filled_tick_lots

    @property
    def average_price(self) -> Decimal:
        """0 before the first fill."""
        if not self.filled_lots:
            return Decimal(0)
        return self.instrument.tick_size * self.filled_tick_lots / self.filled_lots

    def add_fill(self, price_ticks: int, lots: int, now_ms: int) -> None:
        if not 0 < lots <= self.left_lots:
            raise ValueError(f"fill of {lots} lots on order {self.order_id} with {self.left_lots} lots left")
        self.filled_lots += lots
        self.filled_tick_lots += price_ticks * lots
        self.last_fill_lots = lots
        self.status = "PARTIALLY_FILLED" if self.left_lots else "FILLED"
        self.update_ms = now_ms

    def amend(self, price_ticks: int, qty_lots: int, now_ms: int, modify_id: int | None) -> None:
        """New price and total; what is filled stays filled. The id of the change follows from order and count."""
        count = len(self.amendments) + 1
        changed = Amendment(
            amendment_id=self.order_id * 10_000 + count,
            time_ms=now_ms,
            count=count,
            price_ticks=(self.price_ticks, price_ticks),
            qty_lots=(self.qty_lots, qty_lots),
            modify_id=modify_id,
        )
        self.amendments.append(changed)
        self.price_ticks, self.qty_lots, self.update_ms = price_ticks, qty_lots, now_ms


@dataclass(frozen=True, slots=True)
class Fill:
    """One side of a trade. `fee` is positive when charged; `realised` excludes it and is in the margin asset."""

    order: Order
    trade_id: int
    price_ticks: int
    lots: int
    is_maker: bool
    fee: Decimal
    fee_asset: str
    realised: Decimal
    time_ms: int
