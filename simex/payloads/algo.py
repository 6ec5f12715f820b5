"""Replies and events about conditional orders (sections 4.8, 6.6, 13.4 and 13.6), keys in wire order."""

from __future__ import annotations

from decimal import Decimal

from simex.core.algo import AlgoOrder
from simex.core.api import Json
from simex.payloads import text

_ZERO = Decimal(0)


def _head(algo: AlgoOrder) -> Json:
    spec = algo.spec
    return {
        "algoId": algo.algo_id,
        "clientAlgoId": algo.client_id,
        "algoType": "CONDITIONAL",
        "orderType": spec.type,
        "symbol": algo.symbol,
        "side": spec.side,
        "positionSide": spec.position_side,
        "timeInForce": spec.tif,
        "quantity": spec.instrument.qty_text(spec.qty_lots),
        "algoStatus": algo.status,
    }


def _prices(algo: AlgoOrder) -> Json:
    spec = algo.spec
    return {
        "triggerPrice": text.price(spec.trigger, spec.instrument),
        "price": spec.instrument.price_text(spec.price_ticks),
        "icebergQuantity": None,
    }


def _modes(algo: AlgoOrder) -> Json:
    spec = algo.spec
    return {
        "selfTradePreventionMode": spec.stp,
        "workingType": spec.working_type,
        "priceMatch": spec.price_match,
        "closePosition": spec.close_position,
        "priceProtect": spec.price_protect,
        "reduceOnly": spec.reduce_only,
    }


def _times(algo: AlgoOrder) -> Json:
    return {
        "createTime": algo.created_ms,
        "updateTime": algo.update_ms,
        "triggerTime": algo.trigger_ms,
        "goodTillDate": algo.spec.good_till_ms,
    }


def placed(algo: AlgoOrder) -> Json:
    """Reply of POST algoOrder."""
    spec = algo.spec
    trailing = {
        "activatePrice": "" if spec.activation is None else text.price(spec.activation, spec.instrument),
        "callbackRate": "" if spec.callback_rate is None else text.short(spec.callback_rate),
    }
    return {**_head(algo), **_prices(algo), **_modes(algo), **trailing, **_times(algo)}


def queried(algo: AlgoOrder) -> Json:
    """Reply of GET algoOrder."""
    order, instrument = algo.order, algo.spec.instrument
    actual = {
        **_actual(algo),
        "actualType": "" if order is None else order.type,
        "actualQty": instrument.qty_text(algo.filled_lots),
    }
    return {**_head(algo), **actual, **_prices(algo), "tpOrderType": "", **_modes(algo), **_times(algo)}


def listed(algo: AlgoOrder) -> Json:
    """One row of openAlgoOrders and allAlgoOrders."""
    legs = dict.fromkeys(("tpTriggerPrice", "tpPrice", "slTriggerPrice", "slPrice"), "0.000")
    return {**_head(algo), **_actual(algo), **_prices(algo), **legs, "tpOrderType": "", **_modes(algo), **_times(algo)}


def _actual(algo: AlgoOrder) -> Json:
    order = algo.order
    return {
        "actualOrderId": "" if order is None else str(order.order_id),
        "actualPrice": text.average(_ZERO if order is None else order.average_price, algo.spec.instrument),
    }


def cancelled(algo: AlgoOrder) -> Json:
    """Reply of DELETE algoOrder; its code is a text."""
    return {"algoId": algo.algo_id, "clientAlgoId": algo.client_id, "code": "200", "msg": "success"}


def update(algo: AlgoOrder, now_ms: int) -> Json:
    """ALGO_UPDATE: what was executed is absent before the order exists, a reason is there only when refused."""
    spec, order = algo.spec, algo.order
    instrument = spec.instrument
    executed: Json = {}
    if order is not None:
        ended = algo.status == "FINISHED"
        executed = {
            "ap": text.entry(order.average_price) if ended else "0",
            "aq": instrument.qty_text(order.filled_lots) if ended and order.filled_lots else "0",
            "act": order.type,
        }
    return {
        "e": "ALGO_UPDATE",
        "T": now_ms,
        "E": now_ms,
        "o": {
            "caid": algo.client_id,
            "aid": algo.algo_id,
            "at": "CONDITIONAL",
            "o": spec.type,
            "s": algo.symbol,
            "S": spec.side,
            "ps": spec.position_side,
            "f": spec.tif,
            "q": instrument.qty_text(spec.qty_lots),
            "X": algo.status,
            "ai": "" if order is None else str(order.order_id),
            **executed,
            "tp": text.short(spec.trigger),
            "p": text.short(instrument.price(spec.price_ticks)),
            "V": spec.stp,
            "wt": spec.working_type,
            "pm": spec.price_match,
            "cp": spec.close_position,
            "pP": spec.price_protect,
            "R": spec.reduce_only,
            "tt": algo.trigger_ms,
            "gtd": spec.good_till_ms,
            **({"rm": algo.reject_reason} if algo.reject_reason else {}),
            "ia": algo.is_active,
        },
    }


def trigger_reject(algo: AlgoOrder, now_ms: int) -> Json:
    """CONDITIONAL_ORDER_TRIGGER_REJECT, deprecated: the algo id stands where its order's would."""
    about = {"s": algo.symbol, "i": algo.algo_id, "r": algo.reject_reason}
    return {"e": "CONDITIONAL_ORDER_TRIGGER_REJECT", "E": now_ms, "T": now_ms, "or": about}
