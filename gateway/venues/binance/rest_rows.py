"""An order and a trade as REST shows them (reference sections 4.3, 13.4, 13.5): wire rows -> the core's types. Pure."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Literal

from msgspec import Struct

from gateway.core.venue_orders import Source, VenueFill, VenueOrder

ZERO = Decimal(0)
LegWord = Literal["BOTH", "LONG", "SHORT"]
SideWord = Literal["BUY", "SELL"]


class BadRow(ValueError):
    """A row whose values no order or trade can have; says which."""


class OrderRow(Struct, frozen=True, rename="camel"):
    """Every field but symbol, ids and status is optional; replies carry no average price since 2026-06-30."""

    symbol: str
    order_id: int
    client_order_id: str
    status: str
    side: SideWord | None = None
    type: str = ""
    time_in_force: str | None = None
    orig_qty: Decimal = ZERO
    executed_qty: Decimal = ZERO
    price: Decimal = ZERO
    avg_price: str | None = None
    position_side: LegWord = "BOTH"
    reduce_only: bool = False
    time: int = 0
    update_time: int = 0


class TradeRow(Struct, frozen=True, rename="camel"):
    """`qty` is the quantity (`baseQty` is of another product)."""

    symbol: str
    id: int
    order_id: int
    price: Decimal
    qty: Decimal
    time: int = 0
    side: SideWord | None = None
    position_side: LegWord = "BOTH"
    commission: Decimal | None = None
    commission_asset: str | None = None
    realized_pnl: Decimal | None = None
    maker: bool = False
    buyer: bool | None = None


def finite(*values: Decimal | None) -> None:
    """Raises BadRow on NaN and infinity."""
    for value in values:
        if value is not None and not value.is_finite():
            raise BadRow(f"not a usable number: {value}")


def to_order(row: OrderRow, source: Source) -> VenueOrder:
    """`side` is BUY where the row says none: who needs it looks before. Raises BadRow."""
    finite(row.orig_qty, row.executed_qty, row.price)
    return VenueOrder(
        source=source,
        symbol=row.symbol,
        client_order_id=row.client_order_id,
        order_id=row.order_id,
        status=row.status,
        side=row.side or "BUY",
        type=row.type,
        tif=row.time_in_force,
        qty=row.orig_qty,
        filled_qty=row.executed_qty,
        price=row.price or None,
        avg_price=_average(row.avg_price) if row.avg_price else None,
        leg=row.position_side,
        reduce_only=row.reduce_only,
        updated_ms=row.update_time or row.time,
    )


def _average(raw: str) -> Decimal | None:
    try:
        value = Decimal(raw)
    except InvalidOperation:
        raise BadRow(f"average price {raw[:40]!r} is no number") from None
    finite(value)
    return value or None


def to_fill(row: TradeRow) -> VenueFill:
    """Raises BadRow."""
    finite(row.price, row.qty, row.commission, row.realized_pnl)
    if row.id <= 0 or row.qty <= 0 or row.price <= 0:
        raise BadRow(f"trade {row.id} of {row.symbol}: quantity {row.qty} at {row.price}")
    return VenueFill(
        row.id, row.qty, row.price, row.commission, row.commission_asset, row.realized_pnl, row.maker, row.time
    )
