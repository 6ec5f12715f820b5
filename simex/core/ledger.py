"""Endpoints of the account's own history: income, isolated margin moved by hand, forced orders (section 5)."""

from __future__ import annotations

from simex.core.api import Reply
from simex.core.context import WEEK_MS, Context, Routes, ok
from simex.core.errors import Refusal, invalid
from simex.core.orders import integer, text
from simex.payloads import account as payloads
from simex.payloads import orders as order_payloads

_DAY_MS = 86_400_000
INCOME_KEPT_MS = 90 * _DAY_MS
"""Three months."""
FORCED_KEPT_MS = 90 * _DAY_MS
MARGIN_MOVES_KEPT_MS = 30 * _DAY_MS
INCOME_TYPES = frozenset({
    "TRANSFER", "WELCOME_BONUS", "REALIZED_PNL", "FUNDING_FEE", "COMMISSION", "INSURANCE_CLEAR", "REFERRAL_KICKBACK",
    "COMMISSION_REBATE", "API_REBATE", "CONTEST_REWARD", "CROSS_COLLATERAL_TRANSFER", "OPTIONS_PREMIUM_FEE",
    "OPTIONS_SETTLE_PROFIT", "INTERNAL_TRANSFER", "AUTO_EXCHANGE", "DELIVERED_SETTELMENT", "COIN_SWAP_DEPOSIT",
    "COIN_SWAP_WITHDRAW", "POSITION_LIMIT_INCREASE_FEE", "STRATEGY_UMFUTURES_TRANSFER", "FEE_RETURN", "BFUSD_REWARD",
})  # fmt: skip
_CLOSE_TYPES = frozenset({"LIQUIDATION", "ADL"})


def income(ctx: Context) -> Reply:
    """Ascending. With `startTime` or `page` from the oldest of the window on, else the newest of it."""
    market = ctx.optional_market()
    kind = text(ctx.params, "incomeType")
    if kind is not None and kind not in INCOME_TYPES:
        raise invalid("incomeType")
    limit, page = ctx.limit(100, 1000), integer(ctx.params, "page")
    start, end = ctx.window(None)
    start = max(start, ctx.now_ms - INCOME_KEPT_MS)
    rows = [
        line
        for line in ctx.account.history.income
        if start <= line.time_ms <= end
        and (kind is None or line.kind == kind)
        and (market is None or line.symbol == market.instrument.symbol)
    ]
    if page is not None:
        first = (max(page, 1) - 1) * limit
        rows = rows[first : first + limit]
    else:
        rows = rows[:limit] if "startTime" in ctx.params else rows[-limit:]
    return ok([payloads.income_row(line) for line in rows])


def margin_history(ctx: Context) -> Reply:
    """Isolated margin added and taken back, newest first; at most thirty days back."""
    symbol = ctx.market().instrument.symbol
    kind = integer(ctx.params, "type")
    if kind not in (None, 1, 2):
        raise invalid("type")
    limit = ctx.limit(500, 1000)
    start, end = integer(ctx.params, "startTime"), integer(ctx.params, "endTime")
    first, last = max(start or 0, ctx.now_ms - MARGIN_MOVES_KEPT_MS), ctx.now_ms if end is None else end
    if start is not None and end is not None and start > end:
        raise Refusal(-1023, "Start time is greater than end time.")
    rows = [
        move
        for move in reversed(ctx.account.history.margin_moves)
        if move.symbol == symbol
        and first <= move.time_ms <= last
        and (kind is None or kind == payloads.margin_move_type(move))
    ]
    return ok([payloads.margin_move(move) for move in rows[:limit]])


def forced_orders(ctx: Context) -> Reply:
    """forceOrders: the exchange's own orders on this account; without times the last seven days."""
    market = ctx.optional_market()
    kind = text(ctx.params, "autoCloseType")
    if kind is not None and kind not in _CLOSE_TYPES:
        raise invalid("autoCloseType")
    limit = ctx.limit(50 if market is None else 100, 100)
    start, end = ctx.window(WEEK_MS)
    start = max(start, ctx.now_ms - FORCED_KEPT_MS)
    rows = [
        order
        for order in ctx.account.closed_orders.values()
        if order.auto_close
        and (kind is None or order.auto_close == kind)
        and (market is None or order.symbol == market.instrument.symbol)
        and start <= order.created_ms <= end
    ]
    rows.sort(key=lambda order: (order.created_ms, order.symbol, order.order_id))
    oldest_first = "startTime" in ctx.params
    return ok([order_payloads.forced(order) for order in (rows[:limit] if oldest_first else rows[-limit:])])


ROUTES: Routes = {
    ("GET", "/fapi/v1/income"): income,
    ("GET", "/fapi/v1/positionMargin/history"): margin_history,
    ("GET", "/fapi/v1/forceOrders"): forced_orders,
}
