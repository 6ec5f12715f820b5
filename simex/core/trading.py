"""Endpoints of orders and trades (sections 4.1 to 4.4)."""

from __future__ import annotations

from simex.core.api import Reply
from simex.core.context import Context, Routes, ok
from simex.core.errors import Refusal, missing
from simex.core.order import Order
from simex.core.orders import OrderRequest, integer, parse_order, text
from simex.payloads import orders as payloads

_DAY_MS = 86_400_000
UNFILLED_RETENTION_MS = 3 * _DAY_MS
RETENTION_MS = 90 * _DAY_MS


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
    order = _open_order(ctx, Refusal(-2011))
    ctx.engine.cancel(order, ctx.fx)
    return ok(payloads.acknowledgement(order))


def cancel_all(ctx: Context) -> Reply:
    symbol = ctx.market().instrument.symbol
    for order in ctx.account.orders_on(symbol):
        ctx.engine.cancel(order, ctx.fx)
    return ok({"code": 200, "msg": "The operation of cancel all open order is done."})


def query(ctx: Context) -> Reply:
    return ok(payloads.queried(_any_order(ctx)))


def query_open(ctx: Context) -> Reply:
    return ok(payloads.queried(_open_order(ctx, Refusal(-2013))))


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
        and _is_retained(order, ctx.now_ms)
        and (order.order_id >= first_id if first_id is not None else start <= order.created_ms <= end)
    ]
    rows.sort(key=lambda order: (order.created_ms, order.symbol, order.order_id))
    oldest_first = first_id is not None or "startTime" in ctx.params
    return ok([payloads.listed(order) for order in (rows[:limit] if oldest_first else rows[-limit:])])


def list_trades(ctx: Context) -> Reply:
    """userTrades: from a trade id upwards, or a window of at most seven days."""
    symbol = ctx.market().instrument.symbol
    limit = ctx.limit(500, 1000)
    order_id, first_id = integer(ctx.params, "orderId"), integer(ctx.params, "fromId")
    start, end = ctx.window()
    rows = [
        fill
        for fill in ctx.account.history.fills
        if fill.order.symbol == symbol
        and (order_id is None or fill.order.order_id == order_id)
        and (fill.trade_id >= first_id if first_id is not None else start <= fill.time_ms <= end)
    ]
    oldest_first = first_id is not None or "startTime" in ctx.params
    return ok([payloads.trade(fill) for fill in (rows[:limit] if oldest_first else rows[-limit:])])


def _request(ctx: Context) -> OrderRequest:
    market = ctx.market()
    return parse_order(ctx.params, market.instrument, hedge=ctx.account.hedge, mark=market.band_mark, now_ms=ctx.now_ms)


def _ids(ctx: Context) -> tuple[int | None, str | None]:
    """(orderId, origClientOrderId); the order id wins where both are sent."""
    order_id, client_id = integer(ctx.params, "orderId"), text(ctx.params, "origClientOrderId")
    if order_id is None and client_id is None:
        raise Refusal(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    return order_id, client_id


def _open_order(ctx: Context, absent: Refusal) -> Order:
    symbol = ctx.market().instrument.symbol
    order_id, client_id = _ids(ctx)
    if order_id is not None:
        order = ctx.account.open_orders.get(symbol, {}).get(order_id)
    else:
        order = ctx.account.open_client_ids.get(client_id or "")
    if order is None or order.symbol != symbol:
        raise absent
    return order


def _any_order(ctx: Context) -> Order:
    symbol = ctx.market().instrument.symbol
    order_id, client_id = _ids(ctx)
    account = ctx.account
    if order_id is not None:
        order = account.open_orders.get(symbol, {}).get(order_id) or account.closed_orders.get((symbol, order_id))
    elif client_id is not None:
        order = account.last_by_client_id.get((symbol, client_id))
    else:
        raise missing("orderId")
    if order is None or not _is_retained(order, ctx.now_ms):
        raise Refusal(-2013)
    return order


def _is_retained(order: Order, now_ms: int) -> bool:
    """Closed without any fill: three days; anything closed: ninety."""
    if order.is_open:
        return True
    age = now_ms - order.update_ms
    return age <= (RETENTION_MS if order.filled_lots else UNFILLED_RETENTION_MS)


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
}
