"""Endpoints of conditional orders (section 4.8)."""

from __future__ import annotations

from simex.core.algo import UNDECIDED, AlgoOrder
from simex.core.algo_request import parse_algo
from simex.core.api import Reply
from simex.core.context import Context, Routes, ok
from simex.core.errors import Refusal
from simex.core.lookup import is_retained
from simex.core.orders import integer, text
from simex.payloads import algo as payloads


def place(ctx: Context) -> Reply:
    market = ctx.market()
    spec = parse_algo(ctx.params, market.instrument, hedge=ctx.account.hedge, now_ms=ctx.now_ms)
    algo = ctx.engine.algos.place(ctx.account, spec, ctx.fx)
    return Reply(200, payloads.placed(algo), order_count=1)


def cancel(ctx: Context) -> Reply:
    """Only what still waits; what was triggered is an order and has its own cancel."""
    algo = _find(ctx)
    if algo is None or algo.algo_id not in ctx.account.algos.waiting:
        raise Refusal(-2011)
    ctx.engine.algos.cancel(ctx.account, algo, ctx.fx)
    return ok(payloads.cancelled(algo))


def cancel_all(ctx: Context) -> Reply:
    ctx.engine.algos.cancel_all(ctx.account, ctx.market().instrument.symbol, ctx.fx)
    return ok({"code": 200, "msg": "The operation of cancel all open order is done."})


def query(ctx: Context) -> Reply:
    algo = _find(ctx)
    if algo is None or not _is_retained(algo, ctx.now_ms):
        raise Refusal(-2013)
    return ok(payloads.queried(algo))


def list_open(ctx: Context) -> Reply:
    """What still waits, of one symbol or of all."""
    market = ctx.optional_market()
    kind, algo_id = text(ctx.params, "algoType"), integer(ctx.params, "algoId")
    rows = [
        algo
        for algo in ctx.account.algos.waiting.values()
        if (market is None or algo.symbol == market.instrument.symbol)
        and kind in (None, "CONDITIONAL")
        and algo_id in (None, algo.algo_id)
    ]
    return ok([payloads.listed(algo) for algo in rows])


def list_all(ctx: Context) -> Reply:
    """From an algo id upwards, or a window of at most seven days; by page, the newest without one."""
    symbol = ctx.market().instrument.symbol
    limit = ctx.limit(500, 1000)
    first_id, page = integer(ctx.params, "algoId"), integer(ctx.params, "page")
    start, end = ctx.window()
    rows = [
        algo
        for algo in ctx.account.algos.all()
        if algo.symbol == symbol
        and _is_retained(algo, ctx.now_ms)
        and (algo.algo_id >= first_id if first_id is not None else start <= algo.created_ms <= end)
    ]
    rows.sort(key=lambda algo: algo.algo_id)
    if page is not None:
        first = (max(page, 1) - 1) * limit
        rows = rows[first : first + limit]
    else:
        rows = rows[:limit] if first_id is not None or "startTime" in ctx.params else rows[-limit:]
    return ok([payloads.listed(algo) for algo in rows])


def _find(ctx: Context) -> AlgoOrder | None:
    """By algo id, which wins, or client id (the newest of that name)."""
    book = ctx.account.algos
    algo_id, client_id = integer(ctx.params, "algoId"), text(ctx.params, "clientAlgoId")
    if algo_id is not None:
        return book.waiting.get(algo_id) or book.decided.get(algo_id)
    if client_id is None:
        raise Refusal(-1102, "Param 'clientAlgoId' or 'algoId' must be sent, but both were empty/null!")
    return book.by_client_id.get(client_id)


def _is_retained(algo: AlgoOrder, now_ms: int) -> bool:
    return is_retained(algo.status in UNDECIDED, algo.filled_lots, algo.update_ms, now_ms)


ROUTES: Routes = {
    ("POST", "/fapi/v1/algoOrder"): place,
    ("GET", "/fapi/v1/algoOrder"): query,
    ("DELETE", "/fapi/v1/algoOrder"): cancel,
    ("DELETE", "/fapi/v1/algoOpenOrders"): cancel_all,
    ("GET", "/fapi/v1/openAlgoOrders"): list_open,
    ("GET", "/fapi/v1/allAlgoOrders"): list_all,
}
