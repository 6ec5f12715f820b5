"""Finding an order by the ids of a request, and how long it can be found."""

from __future__ import annotations

from simex.core.context import Context
from simex.core.errors import Refusal
from simex.core.order import Order
from simex.core.orders import integer, text

_DAY_MS = 86_400_000
UNFILLED_RETENTION_MS = 3 * _DAY_MS
RETENTION_MS = 90 * _DAY_MS


def ids(ctx: Context) -> tuple[int | None, str | None]:
    """(orderId, origClientOrderId), one of them at least; the order id wins where both are sent."""
    order_id, client_id = integer(ctx.params, "orderId"), text(ctx.params, "origClientOrderId")
    if order_id is None and client_id is None:
        raise Refusal(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    return order_id, client_id


def open_order(ctx: Context, absent: Refusal) -> Order:
    """The open order that is named; raises `absent`."""
    symbol = ctx.market().instrument.symbol
    order_id, client_id = ids(ctx)
    if order_id is not None:
        order = ctx.account.open_orders.get(symbol, {}).get(order_id)
    else:
        order = ctx.account.open_client_ids.get(client_id or "")
    if order is None or order.symbol != symbol:
        raise absent
    return order


def any_order(ctx: Context) -> Order:
    """The open or retained order that is named; a client id used twice names the newest. Raises -2013."""
    symbol = ctx.market().instrument.symbol
    order_id, client_id = ids(ctx)
    account = ctx.account
    if order_id is not None:
        order = account.open_orders.get(symbol, {}).get(order_id) or account.closed_orders.get((symbol, order_id))
    else:
        order = account.last_by_client_id.get((symbol, client_id or ""))
    if order is None or not is_retained(order.is_open, order.filled_lots, order.update_ms, ctx.now_ms):
        raise Refusal(-2013)
    return order


def is_retained(is_open: bool, filled_lots: int, ended_ms: int, now_ms: int) -> bool:
    """Closed without any fill: three days; anything closed: ninety."""
    if is_open:
        return True
    return now_ms - ended_ms <= (RETENTION_MS if filled_lots else UNFILLED_RETENTION_MS)
