"""From the parameters of `POST algoOrder` to a checked conditional order, or the exchange's refusal (section 4.8).

Not checked here: money, the position, the present price. Codes that the reference only names have the texts of the
exchange's public error list; -2007 (callback rate) and -4509 (no position) are from published replies.
"""

from __future__ import annotations

from decimal import Decimal
from typing import cast

from simex.core.algo import GTE, LIMIT_TYPES, TRAILING, AlgoSpec, AlgoType
from simex.core.errors import Refusal, above_stop, below_stop, invalid, not_required, small_notional
from simex.core.instrument import Instrument
from simex.core.order import OrderType
from simex.core.orders import (
    STP_MODES,
    TIMES_IN_FORCE,
    Params,
    boolean,
    check_price,
    check_quantity,
    choice,
    client_id,
    decimal,
    good_till,
    order_leg,
    order_side,
    price_match,
    required,
    text,
)

_TYPES = frozenset({"STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"})
_CLOSERS = frozenset({"STOP_MARKET", "TAKE_PROFIT_MARKET"})
_MIN_CALLBACK, _MAX_CALLBACK, _CALLBACK_STEP = Decimal("0.1"), Decimal(20), Decimal("0.1")


def parse_algo(params: Params, instrument: Instrument, *, hedge: bool, now_ms: int) -> AlgoSpec:
    """Check everything that needs neither money nor position nor the present price."""
    if required(params, "algoType") != "CONDITIONAL":
        raise invalid("algoType")
    side = order_side(params)
    kind = _type(params)
    close_position = _close_position(params, kind)
    leg, reduce_only = order_leg(params, side, hedge)
    tif = _time_in_force(params, close_position)
    match = "NONE" if kind not in LIMIT_TYPES else price_match(params, "LIMIT")
    _refuse_superfluous(params, kind)
    activation, callback_rate = _trailing(params, instrument) if kind == TRAILING else (None, None)
    trigger = Decimal(0) if kind == TRAILING else check_trigger(decimal(params, "triggerPrice"), instrument)
    order_type: OrderType = "LIMIT" if kind in LIMIT_TYPES else "MARKET"
    qty_lots = 0 if close_position else check_quantity(decimal(params, "quantity"), instrument, order_type)
    price_ticks = 0
    if kind in LIMIT_TYPES and match == "NONE":
        price_ticks = check_price(decimal(params, "price"), instrument, side, None)
        _check_stop_band(instrument.price(price_ticks), trigger, instrument, side)
    choice(params, "newOrderRespType", frozenset({"ACK", "RESULT"}), "ACK", invalid("newOrderRespType"))
    spec = AlgoSpec(
        instrument=instrument,
        side=side,
        type=kind,
        tif=tif,
        position_side=leg,
        qty_lots=qty_lots,
        price_ticks=price_ticks,
        price_match=match,
        trigger=trigger,
        working_type=_working_type(params),
        close_position=close_position,
        price_protect=bool(boolean(params, "priceProtect")),
        reduce_only=reduce_only or close_position,
        stp=choice(params, "selfTradePreventionMode", STP_MODES, "EXPIRE_MAKER", Refusal(-5039)),
        good_till_ms=good_till(params, tif, now_ms),
        client_id=client_id(params, "clientAlgoId"),
        activation=activation,
        callback_rate=callback_rate,
    )
    _check_notional(spec)
    return spec


def check_trigger(price: Decimal, instrument: Instrument) -> Decimal:
    """Bounds and precision of a trigger; the exchange does not ask it to lie on the tick."""
    if price <= 0:
        raise Refusal(-4006)
    if price > instrument.max_price > 0:
        raise Refusal(-4007)
    if price != round(price, instrument.price_precision):
        raise Refusal(-1111)
    return price


def _type(params: Params) -> AlgoType:
    value = required(params, "type")
    if value not in _TYPES:
        raise Refusal(-1116)
    return cast(AlgoType, value)


def _close_position(params: Params, kind: AlgoType) -> bool:
    """closePosition goes with the two plain market types alone, without quantity or reduceOnly."""
    if not boolean(params, "closePosition"):
        return False
    if kind not in _CLOSERS:
        raise Refusal(-4136, f"Target strategy invalid for orderType {kind},closePosition true")
    if text(params, "quantity") is not None:
        raise Refusal(-4137)
    if text(params, "reduceOnly") is not None:
        raise not_required("reduceOnly")
    return True


def _time_in_force(params: Params, close_position: bool) -> str:
    value = text(params, "timeInForce")
    if value is not None and value not in TIMES_IN_FORCE | {GTE}:
        raise Refusal(-1115)
    return GTE if close_position else value or "GTC"


def _refuse_superfluous(params: Params, kind: AlgoType) -> None:
    if kind == TRAILING:
        if text(params, "triggerPrice") is not None:
            raise Refusal(-2021)  # as seen: the exchange takes it for a trigger that is reached already
    else:
        for name in ("activatePrice", "activationPrice", "callbackRate"):
            if text(params, name) is not None:
                raise not_required(name)
    if kind not in LIMIT_TYPES:
        if text(params, "price") is not None:
            raise not_required("price")
        if (text(params, "priceMatch") or "NONE") != "NONE":
            raise Refusal(-5038)


def _trailing(params: Params, instrument: Instrument) -> tuple[Decimal | None, Decimal]:
    """(activation price, callback rate in percent). `activationPrice` is the name of older clients."""
    rate = decimal(params, "callbackRate")
    if not _MIN_CALLBACK <= rate <= _MAX_CALLBACK or rate % _CALLBACK_STEP:
        raise Refusal(-2007)
    name = "activatePrice" if text(params, "activatePrice") is not None else "activationPrice"
    if text(params, name) is None:
        return None, rate
    price = decimal(params, name)
    if price <= 0 or price > instrument.max_price:
        raise Refusal(-4135)
    return price, rate


def _working_type(params: Params) -> str:
    value = text(params, "workingType") or "CONTRACT_PRICE"
    if value not in ("CONTRACT_PRICE", "MARK_PRICE"):
        raise Refusal(-4031, f"Invalid parameter working type: {value}")
    return value


def _check_stop_band(price: Decimal, trigger: Decimal, instrument: Instrument, side: str) -> None:
    """The limit price must lie within the price multipliers of the trigger, not of the present mark."""
    highest, lowest = trigger * instrument.multiplier_up, trigger * instrument.multiplier_down
    if side == "BUY" and price > highest:
        raise above_stop(round(highest, instrument.price_precision))
    if side == "SELL" and price < lowest:
        raise below_stop(round(lowest, instrument.price_precision))


def _check_notional(spec: AlgoSpec) -> None:
    """MIN_NOTIONAL at the limit price, or at the trigger; not for what only reduces, nor where no price is known."""
    instrument = spec.instrument
    price = instrument.price(spec.price_ticks) if spec.price_ticks else spec.trigger
    if price and not spec.reduce_only and price * instrument.qty(spec.qty_lots) < instrument.min_notional:
        raise small_notional(instrument.min_notional)
