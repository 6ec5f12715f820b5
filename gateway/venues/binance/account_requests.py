"""Signed account requests of USDⓈ-M as `Send` effects. Pure: the timestamp is a parameter.

Source: reference §4.1, §4.10, §5 (paths, weights). The shell appends the signature.
"""

from __future__ import annotations

from gateway.core.effects import Send, WeightLane
from gateway.core.inputs import Key

RECV_WINDOW_MS = 5_000
TRADES_PAGE = 1_000  # rows a page of userTrades may have


def trades_page_rows() -> int:
    return TRADES_PAGE


def position_mode(key: Key, at_ms: int) -> Send:
    """accountConfig rather than positionSide/dual: the same answer for 5 instead of 30 weight."""
    return _get(key, "/fapi/v1/accountConfig", at_ms, 5)


def symbol_settings(key: Key, at_ms: int) -> Send:
    """Leverage and margin type of every symbol in one answer."""
    return _get(key, "/fapi/v1/symbolConfig", at_ms, 5)


def commission(key: Key, at_ms: int, symbol: str) -> Send:
    return _get(key, "/fapi/v1/commissionRate", at_ms, 20, (("symbol", symbol),), lane="data")


def balances(key: Key, at_ms: int) -> Send:
    return _get(key, "/fapi/v3/balance", at_ms, 5)


def positions(key: Key, at_ms: int, symbol: str | None = None) -> Send:
    return _get(key, "/fapi/v3/positionRisk", at_ms, 5, _symbol(symbol))


def open_orders(key: Key, at_ms: int, symbol: str | None = None) -> Send:
    return _get(key, "/fapi/v1/openOrders", at_ms, 1 if symbol else 40, _symbol(symbol))


def trades(key: Key, at_ms: int, symbol: str, from_id: int | None) -> Send:
    """From `from_id` on, oldest first; without it the newest page."""
    params: tuple[tuple[str, str], ...] = (("symbol", symbol), ("limit", str(TRADES_PAGE)))
    if from_id is not None:
        params += (("fromId", str(from_id)),)
    return _get(key, "/fapi/v1/userTrades", at_ms, 5, params)


def order(key: Key, at_ms: int, symbol: str, *, order_id: int | None = None, client_id: str | None = None) -> Send:
    """By the exchange's number, or by client order id."""
    name = ("orderId", str(order_id)) if order_id is not None else ("origClientOrderId", client_id or "")
    return _get(key, "/fapi/v1/order", at_ms, 1, (("symbol", symbol), name))


def set_position_mode(key: Key, at_ms: int, mode: str) -> Send:
    return _post(key, "/fapi/v1/positionSide/dual", at_ms, (("dualSidePosition", _bool(mode == "hedge")),))


def set_margin_type(key: Key, at_ms: int, symbol: str, margin_type: str) -> Send:
    return _post(key, "/fapi/v1/marginType", at_ms, (("symbol", symbol), ("marginType", margin_type.upper())))


def set_leverage(key: Key, at_ms: int, symbol: str, leverage: int) -> Send:
    return _post(key, "/fapi/v1/leverage", at_ms, (("symbol", symbol), ("leverage", str(leverage))))


def _symbol(symbol: str | None) -> tuple[tuple[str, str], ...]:
    return (("symbol", symbol),) if symbol else ()


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _signed(params: tuple[tuple[str, str], ...], at_ms: int) -> tuple[tuple[str, str], ...]:
    return (*params, ("recvWindow", str(RECV_WINDOW_MS)), ("timestamp", str(at_ms)))


def _get(
    key: Key,
    path: str,
    at_ms: int,
    weight: int,
    params: tuple[tuple[str, str], ...] = (),
    lane: WeightLane = "reconcile",
) -> Send:
    return Send(key, "GET", path, _signed(params, at_ms), security="signed", weight=weight, lane=lane)


def _post(key: Key, path: str, at_ms: int, params: tuple[tuple[str, str], ...]) -> Send:
    return Send(key, "POST", path, _signed(params, at_ms), security="signed", weight=1, lane="reconcile")
