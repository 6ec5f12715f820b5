"""Endpoints of orders and trades (sections 4.1 to 4.4)."""

from __future__ import annotations

from simex.core.api import Reply
from simex.core.context import Context, Routes, ok
from simex.core.errors import Refusal, invalid
from simex.core.lookup import RETENTION_MS, any_order, is_retained, open_order
from simex.core.order import Order
from simex.core.orders import OrderRequest, integer, parse_order, text
from simex.payloads import orders as payloads

TRADES_MS = 90 * 86_400_000
"""How far back userTrades reaches ("three months")."""


def place(ctx: Context) -> Reply:
    request = _request(ctx)
    order = ctx.engine.place(ctx.account, request, ctx.fx)
    final = request.result and (request.type == "MARKET" or request.tif in ("IOC", "FOK"))
    return Reply(200, payloads.acknowledgement(order, as_new=not final), order_count=1)


def test(ctx: Context) -> Reply:
    """Parameters and filters only: nothing reaches the engine, no money is looked at."""
    request = _request(ctx)
    probe = Order(
        account=ctx.account.name,
        instrument=request.instrument,
        order_id=0,
        client_id=request.client_id or "",
        side=request.side,
        type=request.type,
        tif=request.tif,
        position_side=request.position_side,
        price_ticks=request.price_ticks,
        qty_lots=request.qty_lots,
        reduce_only=request.reduce_only,
        stp=request.stp,
        good_till_ms=0,
        created_ms=0,
    )
    return ok(payloads.tested(probe))


def cancel(ctx: Context) -> Reply:
    order = open_order(ctx, Refusal(-2011))
    ctx.engine.cancel(order, ctx.fx)
    return ok(payloads.acknowledgement(order))


def cancel_all(ctx: Context) -> Reply:
    ctx.engine.cancel_all(ctx.account, ctx.market().instrument.symbol, ctx.fx)
    return ok({"code": 200, "msg": "The operation of cancel all open order is done."})


def query(ctx: Context) -> Reply:
    return ok(payloads.queried(any_order(ctx)))


def query_open(ctx: Context) -> Reply:
    return ok(payloads.queried(open_order(ctx, Refusal(-2013))))


def list_open(ctx: Context) -> Reply:
    market = ctx.optional_market()
    found = ctx.account.all_open() if market is None else ctx.account.orders_on(market.instrument.symbol)
    return ok([payloads.queried(order) for order in found])


def list_all(ctx: Context) -> Reply:
    """allOrders: from an order id upwards, or the newest of a window of at most seven days."""
    market = ctx.optional_market()
    limit = ctx.limit(500, 1000)
    first_id = integer(ctx.params, "orderId")
    start, end = ctx.window()
    known = [*ctx.account.closed_orders.values(), *ctx.account.all_open()]
    rows = [
        order
        for order in known
        if (market is None or order.symbol == market.instrument.symbol)
        and is_retained(order.is_open, order.filled_lots, order.update_ms, ctx.now_ms)
        and (order.order_id >= first_id if first_id is not None else start <= order.created_ms <= end)
    ]
    rows.sort(key=lambda order: (order.created_ms, order.symbol, order.order_id))
    oldest_first = first_id is not None or "startTime" in ctx.params
    return ok([payloads.listed(order) for order in (rows[:limit] if oldest_first else rows[-limit:])])


def list_trades(ctx: Context) -> Reply:
    """userTrades: from a trade id upwards (never with times), or a window of at most seven days; three months back."""
    symbol = ctx.market().instrument.symbol
    limit = ctx.limit(500, 1000)
    order_id, first_id = integer(ctx.params, "orderId"), integer(ctx.params, "fromId")
    start, end = ctx.window()
    if first_id is not None and ("startTime" in ctx.params or "endTime" in ctx.params):
        raise Refusal(-1128)
    oldest = ctx.now_ms - TRADES_MS
    rows = [
        fill
        for fill in ctx.account.history.fills
        if fill.order.symbol == symbol
        and fill.time_ms >= oldest
        and (order_id is None or fill.order.order_id == order_id)
        and (fill.trade_id >= first_id if first_id is not None else start <= fill.time_ms <= end)
    ]
    oldest_first = first_id is not None or "startTime" in ctx.params
    return ok([payloads.trade(fill) for fill in (rows[:limit] if oldest_first else rows[-limit:])])


def list_forced(ctx: Context) -> Reply:
    """forceOrders: the exchange's own orders on this account (liquidation, ADL), the newest, at most 90 days back."""
    market = ctx.optional_market()
    kind = text(ctx.params, "autoCloseType")
    if kind not in (None, "LIQUIDATION", "ADL"):
        raise invalid("autoCloseType")
    limit = ctx.limit(50, 100)
    start, end = ctx.window()
    first = max(start, ctx.now_ms - RETENTION_MS)
    rows = [
        order
        for order in [*ctx.account.closed_orders.values(), *ctx.account.all_open()]
        if order.auto_close
        and (kind is None or order.auto_close == kind)
        and (market is None or order.symbol == market.instrument.symbol)
        and first <= order.created_ms <= end
    ]
    rows.sort(key=lambda order: (order.created_ms, order.symbol, order.order_id))
    return ok([payloads.forced(order) for order in rows[-limit:]])


def _request(ctx: Context) -> OrderRequest:
    market = ctx.market()
    return parse_order(ctx.params, market.instrument, hedge=ctx.account.hedge, mark=market.band_mark, now_ms=ctx.now_ms)


ROUTES: Routes = {
    ("POST", "/fapi/v1/order"): place,
    ("POST", "/fapi/v1/order/test"): test,
    ("GET", "/fapi/v1/order"): query,
    ("DELETE", "/fapi/v1/order"): cancel,
    ("DELETE", "/fapi/v1/allOpenOrders"): cancel_all,
    ("GET", "/fapi/v1/openOrder"): query_open,
    ("GET", "/fapi/v1/openOrders"): list_open,
    ("GET", "/fapi/v1/allOrders"): list_all,
    ("GET", "/fapi/v1/userTrades"): list_trades,
    ("GET", "/fapi/v1/forceOrders"): list_forced,
}
