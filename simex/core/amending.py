"""Amending a resting order (section 4.5): request, admission, endpoints `PUT order` and `GET orderAmendment`.

The quantity is the new total, the filled part included. New values that fail a filter leave the order as it was.
Queue priority is lost, whatever changes.
"""

from __future__ import annotations

from simex.core.amendment import AmendRequest
from simex.core.api import Reply
from simex.core.context import Context, Routes, ok
from simex.core.errors import Refusal, invalid, missing
from simex.core.lookup import any_order, ids, open_order
from simex.core.orders import check_price, check_quantity, decimal, integer, price_match, required
from simex.payloads import orders as payloads

HISTORY_MS = 90 * 86_400_000
"""How long amendments can be asked for ("three months")."""


def amend(ctx: Context) -> Reply:
    request = _request(ctx)
    order = ctx.engine.amend(ctx.account, request, ctx.fx)
    return Reply(200, payloads.amended(order, request.modify_id), order_count=1)


def history(ctx: Context) -> Reply:
    """Amendments of one order, oldest first, at most three months back."""
    limit = ctx.limit(50, 100)
    start, end = integer(ctx.params, "startTime") or 0, integer(ctx.params, "endTime")
    if end is not None and start > end:
        raise Refusal(-1023)
    order = any_order(ctx)
    first = max(start, ctx.now_ms - HISTORY_MS)
    rows = [row for row in order.amendments if first <= row.time_ms <= (ctx.now_ms if end is None else end)]
    return ok([payloads.amendment(order, row) for row in rows[-limit:]])


def _request(ctx: Context) -> AmendRequest:
    """Parameters and filters; the order must rest, on the side that is named."""
    market = ctx.market()
    instrument = market.instrument
    side = required(ctx.params, "side")
    ids(ctx)
    match = price_match(ctx.params, "LIMIT")
    if match == "NONE" and not ctx.params.get("price"):
        raise missing("price")
    required(ctx.params, "quantity")
    modify_id = integer(ctx.params, "modifyId")
    order = open_order(ctx, Refusal(-2013))
    if side != order.side:
        raise Refusal(-1117) if side not in ("BUY", "SELL") else invalid("side")
    qty_lots = check_quantity(decimal(ctx.params, "quantity"), instrument, "LIMIT")
    price_ticks = 0
    if match == "NONE":
        price_ticks = check_price(decimal(ctx.params, "price"), instrument, order.side, market.band_mark)
    return AmendRequest(order, price_ticks, match, qty_lots, modify_id)


ROUTES: Routes = {
    ("PUT", "/fapi/v1/order"): amend,
    ("GET", "/fapi/v1/orderAmendment"): history,
}
