"""Batches of orders (section 4.4): each item is answered like the single call, by an order or by `{"code", "msg"}`.

The exchange runs items concurrently; here they run in the order of the request.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from simex.core import amending, trading
from simex.core.api import Reply
from simex.core.context import Context, Routes, ok
from simex.core.errors import Refusal, invalid, missing
from simex.core.orders import Params, text

MAX_ORDERS, MAX_CANCELS = 5, 10
_LISTS = ("orderIdList", "origClientOrderIdList")
"""The exchange takes these names in lower case too: a widespread client sends them so."""


def place(ctx: Context) -> Reply:
    return _all(ctx, trading.place)


def amend(ctx: Context) -> Reply:
    return _all(ctx, amending.amend)


def cancel(ctx: Context) -> Reply:
    """By order ids (a list of numbers) or client ids (a list of texts), at most ten; the order ids win."""
    symbol = ctx.market().instrument.symbol
    name = next((name for list_name in _LISTS for name in (list_name, list_name.lower()) if name in ctx.params), None)
    if name is None:
        raise Refusal(-1102, "Param 'origClientOrderIdList' or 'orderIdList' must be sent, but both were empty/null!")
    by_id = name.lower() == "orderidlist"
    key = "orderId" if by_id else "origClientOrderId"
    values = _read_list(ctx.params, name)
    if not 1 <= len(values) <= MAX_CANCELS:
        raise Refusal(-4032)
    if not all(type(value) is (int if by_id else str) for value in values):
        raise invalid(name)
    return ok([_one(ctx, trading.cancel, {"symbol": symbol, key: str(value)}) for value in values])


def _all(ctx: Context, handler: Callable[[Context], Reply]) -> Reply:
    """Five slots of the 10 s pool and one of the minute's, however many items there are."""
    items = _read_list(ctx.params, "batchOrders")
    if not 1 <= len(items) <= MAX_ORDERS:
        raise Refusal(-4082)
    rows = [_one(ctx, handler, _params(item)) for item in items]
    return Reply(200, rows, order_count=MAX_ORDERS, order_count_1m=1)


def _one(ctx: Context, handler: Callable[[Context], Reply], params: Params) -> object:
    try:
        return handler(replace(ctx, params=params)).body
    except Refusal as refusal:
        return refusal.body()


def _read_list(params: Params, name: str) -> list[object]:
    """A parameter that is a JSON list; numbers with a point stay text, so that none is rounded."""
    value = text(params, name)
    if value is None:
        raise missing(name)
    try:
        found = json.loads(value, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        raise invalid(name) from None
    if not isinstance(found, list):
        raise invalid(name)
    return found


def _params(item: object) -> Params:
    """One order of a batch as parameters; the values are texts, numbers or booleans."""
    if not isinstance(item, dict):
        raise invalid("batchOrders")
    params: dict[str, str] = {}
    for name, value in item.items():
        if isinstance(value, bool):
            params[name] = "true" if value else "false"
        elif isinstance(value, str | int):
            params[name] = str(value)
        else:
            raise invalid("batchOrders")
    return params


ROUTES: Routes = {
    ("POST", "/fapi/v1/batchOrders"): place,
    ("PUT", "/fapi/v1/batchOrders"): amend,
    ("DELETE", "/fapi/v1/batchOrders"): cancel,
}
