"""From request parameters to a checked order request, or the exchange's refusal.

Parameter and filter checks only: what depends on the account's money or on the book is the engine's business.
Order of the checks: symbol, type, mandatory parameters, combinations, filters (precision before bounds before steps).
Sources: sections 2.7, 4.2, 8 and 13.4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import cast

from simex.core.api import Side
from simex.core.errors import (
    Refusal,
    above_band,
    below_band,
    empty,
    illegal,
    invalid,
    missing,
    not_required,
    small_notional,
)
from simex.core.instrument import Instrument
from simex.core.order import OrderType, Origin, PositionSide

Params = Mapping[str, str]

_CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
_DECIMAL = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")
_INTEGER = re.compile(r"[0-9]{1,20}")
_CONDITIONAL = frozenset({"STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"})
TIMES_IN_FORCE = frozenset({"GTC", "IOC", "FOK", "GTX", "GTD"})
STP_MODES = frozenset({"NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"})
PRICE_MATCHES = {
    "OPPONENT": 1, "OPPONENT_5": 5, "OPPONENT_10": 10, "OPPONENT_20": 20,
    "QUEUE": 1, "QUEUE_5": 5, "QUEUE_10": 10, "QUEUE_20": 20,
}  # fmt: skip
_GTD_LEAD_MS = 600_000
_GTD_MAX_MS = 253_402_300_799_000


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """A well-formed order that passed every filter that needs no account. `client_id` is None when none was sent."""

    instrument: Instrument
    side: Side
    type: OrderType
    tif: str
    position_side: PositionSide
    price_ticks: int
    """0 for MARKET, and for a price match before the engine has looked at the book."""
    qty_lots: int
    reduce_only: bool
    client_id: str | None
    stp: str
    good_till_ms: int
    price_match: str
    result: bool
    """newOrderRespType=RESULT"""
    origin: Origin | None = None
    """The conditional order whose trigger makes this one."""


def text(params: Params, name: str) -> str | None:
    """A parameter as sent; None when absent; an empty one is refused."""
    value = params.get(name)
    if value == "":
        raise empty(name)
    return value


def required(params: Params, name: str) -> str:
    value = params.get(name)
    if not value:
        raise missing(name)
    return value


def integer(params: Params, name: str) -> int | None:
    value = text(params, name)
    if value is None:
        return None
    if not _INTEGER.fullmatch(value):
        raise illegal(name, "^[0-9]{1,20}$")
    return int(value)


def boolean(params: Params, name: str) -> bool | None:
    value = text(params, name)
    if value is None:
        return None
    lowered = value.lower()
    if lowered not in ("true", "false"):
        raise invalid(name)
    return lowered == "true"


def decimal(params: Params, name: str) -> Decimal:
    """A plain decimal number of either sign; exponents, NaN and the like are malformed."""
    value = required(params, name)
    if not _DECIMAL.fullmatch(value.removeprefix("-")):
        raise missing(name)
    return Decimal(value)


def parse_order(
    params: Params, instrument: Instrument, *, hedge: bool, mark: Decimal | None, now_ms: int
) -> OrderRequest:
    """Check everything that needs neither money nor book. `mark` None (no mark price yet) skips the band."""
    side = order_side(params)
    order_type = _type(params)
    tif = _time_in_force(params, order_type)
    position_side, reduce_only = order_leg(params, side, hedge)
    _refuse_superfluous(params, order_type)
    match = price_match(params, order_type)
    qty_lots = check_quantity(decimal(params, "quantity"), instrument, order_type)
    price_ticks = 0
    if order_type == "LIMIT" and match == "NONE":
        price_ticks = check_price(decimal(params, "price"), instrument, side, mark)
    request = OrderRequest(
        instrument=instrument,
        side=side,
        type=order_type,
        tif=tif,
        position_side=position_side,
        price_ticks=price_ticks,
        qty_lots=qty_lots,
        reduce_only=reduce_only,
        client_id=client_id(params, "newClientOrderId"),
        stp=choice(params, "selfTradePreventionMode", STP_MODES, "EXPIRE_MAKER", Refusal(-5039)),
        good_till_ms=good_till(params, tif, now_ms),
        price_match=match,
        result=choice(params, "newOrderRespType", frozenset({"ACK", "RESULT"}), "ACK", invalid("newOrderRespType"))
        == "RESULT",
    )
    reference = mark if order_type == "MARKET" else instrument.price(price_ticks)
    if match == "NONE" and reference is not None:
        check_notional(request, reference)
    return request


def check_notional(request: OrderRequest, price: Decimal) -> None:
    """MIN_NOTIONAL: price * quantity, MARKET at the mark price; reduce-only orders are exempt."""
    minimum = request.instrument.min_notional
    if not request.reduce_only and price * request.instrument.qty(request.qty_lots) < minimum:
        raise small_notional(minimum)


def check_price(price: Decimal, instrument: Instrument, side: Side, mark: Decimal | None) -> int:
    """PRICE_FILTER and PERCENT_PRICE; returns ticks."""
    if price <= 0:
        raise Refusal(-4001)
    if _decimals(price) > instrument.price_precision:
        raise Refusal(-1111)
    if price > instrument.max_price > 0:
        raise Refusal(-4002)
    if price < instrument.min_price:
        raise Refusal(-4013)
    try:
        ticks = instrument.ticks(price)
    except ValueError:
        raise Refusal(-4014) from None
    if price % instrument.shown_tick:
        raise Refusal(-4014)
    if mark is not None:
        _check_band(price, instrument, side, mark)
    return ticks


def _check_band(price: Decimal, instrument: Instrument, side: Side, mark: Decimal) -> None:
    cent = Decimal(1).scaleb(-instrument.price_precision)
    if side == "BUY" and price > mark * instrument.multiplier_up:
        raise above_band((mark * instrument.multiplier_up).quantize(cent))
    if side == "SELL" and price < mark * instrument.multiplier_down:
        raise below_band((mark * instrument.multiplier_down).quantize(cent))


def check_quantity(qty: Decimal, instrument: Instrument, order_type: OrderType) -> int:
    """LOT_SIZE, or MARKET_LOT_SIZE's bound; returns lots."""
    if qty <= 0:
        raise Refusal(-4003)
    if _decimals(qty) > instrument.quantity_precision:
        raise Refusal(-1111)
    if qty < instrument.min_qty:
        raise Refusal(-4004)
    if qty > (instrument.market_max_qty if order_type == "MARKET" else instrument.max_qty):
        raise Refusal(-4005)
    try:
        lots = instrument.lots(qty)
    except ValueError:
        raise Refusal(-4023) from None
    if qty % instrument.shown_step:
        raise Refusal(-4023)
    return lots


def _decimals(number: Decimal) -> int:
    """Digits after the point that carry information ("1.50" has one); exact at any length."""
    return len(f"{number:f}".partition(".")[2].rstrip("0"))


def order_side(params: Params) -> Side:
    """BUY or SELL."""
    value = required(params, "side")
    if value not in ("BUY", "SELL"):
        raise Refusal(-1117)
    return cast(Side, value)


def _type(params: Params) -> OrderType:
    value = required(params, "type")
    if value in _CONDITIONAL:
        raise Refusal(-4120)
    if value not in ("LIMIT", "MARKET"):
        raise Refusal(-1116)
    return cast(OrderType, value)


def _time_in_force(params: Params, order_type: OrderType) -> str:
    value = text(params, "timeInForce")
    if order_type == "MARKET":
        if value is not None:
            raise not_required("timeInForce")
        return "GTC"
    if value is None:
        raise missing("timeInForce")
    if value not in TIMES_IN_FORCE:
        raise Refusal(-1115)
    return value


def order_leg(params: Params, side: Side, hedge: bool) -> tuple[PositionSide, bool]:
    """Position side and whether the order may only reduce (in hedge mode: closing its leg implies it)."""
    value = text(params, "positionSide")
    if value is not None and value not in ("BOTH", "LONG", "SHORT"):
        raise Refusal(-4060)
    reduce_only = boolean(params, "reduceOnly")
    if hedge:
        if value not in ("LONG", "SHORT"):
            raise Refusal(-4061)
        if reduce_only is not None:
            raise not_required("reduceOnly")
        leg = cast(PositionSide, value)
        return leg, (leg == "LONG") == (side == "SELL")
    if value not in (None, "BOTH"):
        raise Refusal(-4061)
    return "BOTH", bool(reduce_only)


def _refuse_superfluous(params: Params, order_type: OrderType) -> None:
    if boolean(params, "closePosition"):
        raise Refusal(-4136, f"Target strategy invalid for orderType {order_type},closePosition true")
    for name in ("stopPrice", "activationPrice", "callbackRate"):
        if text(params, name) is not None:
            raise not_required(name)
    if order_type == "MARKET" and text(params, "price") is not None:
        raise not_required("price")


def price_match(params: Params, order_type: OrderType) -> str:
    """NONE or the price match asked for, which goes without a price."""
    value = text(params, "priceMatch")
    if value is None or value == "NONE":
        return "NONE"
    if value not in PRICE_MATCHES:
        raise Refusal(-5037)
    if order_type != "LIMIT":
        raise Refusal(-5038)
    if text(params, "price") is not None:
        raise not_required("price")
    return value


def client_id(params: Params, name: str) -> str | None:
    """A client's own id, checked; None when none was sent."""
    value = text(params, name)
    if value is not None and not _CLIENT_ID.fullmatch(value):
        raise Refusal(-4015)
    return value


def choice(params: Params, name: str, allowed: frozenset[str], default: str, refusal: Refusal) -> str:
    """One of the allowed values, the default when absent."""
    value = text(params, name)
    if value is None:
        return default
    if value not in allowed:
        raise refusal
    return value


def good_till(params: Params, tif: str, now_ms: int) -> int:
    """goodTillDate: GTD only, whole seconds, more than 600 s ahead."""
    value = integer(params, "goodTillDate")
    if tif != "GTD":
        if value:
            raise not_required("goodTillDate")
        return 0
    if value is None:
        raise missing("goodTillDate")
    if not now_ms + _GTD_LEAD_MS < value < _GTD_MAX_MS:
        raise Refusal(-5040)
    return value // 1000 * 1000
