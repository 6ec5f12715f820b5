"""REST replies about orders and trades (sections 4.3 and 13.4), keys in wire order."""

from __future__ import annotations

from decimal import Decimal

from simex.core.api import Json
from simex.core.order import Amendment, Fill, Order
from simex.payloads import text


def _price(order: Order, *, padded: bool) -> str:
    instrument = order.instrument
    if order.type == "MARKET" and not padded:
        return "0"
    return instrument.price_text(order.price_ticks)


def acknowledgement(order: Order, *, as_new: bool = False) -> Json:
    """Reply of place and cancel: exactly 22 keys, no average price, no quote volume.

    `as_new` shows the order as it was accepted (an ACK says NEW and nothing filled even when it is filled already).
    """
    instrument, origin = order.instrument, order.origin
    filled = instrument.qty_text(0 if as_new else order.filled_lots)
    return {
        "orderId": order.order_id,
        "symbol": order.symbol,
        "status": "NEW" if as_new else order.status,
        "clientOrderId": order.client_id,
        "price": _price(order, padded=True),
        "origQty": instrument.qty_text(order.qty_lots),
        "executedQty": filled,
        "cumQty": filled,
        "timeInForce": order.tif,
        "type": order.type,
        "reduceOnly": order.reduce_only,
        "closePosition": origin is not None and origin.close_position,
        "side": order.side,
        "positionSide": order.position_side,
        "stopPrice": text.price(origin.stop_price, instrument) if origin else instrument.price_text(0),
        "workingType": origin.working_type if origin else "CONTRACT_PRICE",
        "priceProtect": origin is not None and origin.price_protect,
        "origType": order.original_type,
        "priceMatch": order.price_match,
        "selfTradePreventionMode": order.stp,
        "goodTillDate": order.good_till_ms,
        "updateTime": order.created_ms if as_new else order.update_ms,
    }


_EMPTY_TYPES = {str: "", int: 0, bool: False}


def tested(order: Order) -> Json:
    """Reply of order/test: the acknowledgement with every value empty but the client id."""
    return {
        key: order.client_id if key == "clientOrderId" else _EMPTY_TYPES[type(value)]
        for key, value in acknowledgement(order).items()
    }


def queried(order: Order) -> Json:
    """One order as GET order, openOrder and openOrders show it."""
    instrument, origin = order.instrument, order.origin
    return {
        "orderId": order.order_id,
        "symbol": order.symbol,
        "status": order.status,
        "clientOrderId": order.client_id,
        "price": _price(order, padded=False),
        "avgPrice": text.average(order.average_price, instrument),
        "origQty": instrument.qty_text(order.qty_lots),
        "executedQty": instrument.qty_text(order.filled_lots),
        "cumQuote": text.quote(order.quote_filled, instrument),
        "timeInForce": order.tif,
        "type": order.type,
        "reduceOnly": order.reduce_only,
        "closePosition": origin is not None and origin.close_position,
        "side": order.side,
        "positionSide": order.position_side,
        "stopPrice": text.price(origin.stop_price, instrument) if origin and origin.stop_price else "0",
        "workingType": origin.working_type if origin else "CONTRACT_PRICE",
        "priceProtect": origin is not None and origin.price_protect,
        "origType": order.original_type,
        "priceMatch": order.price_match,
        "selfTradePreventionMode": order.stp,
        "goodTillDate": order.good_till_ms,
        **_trailing(order),
        "time": order.created_ms,
        "updateTime": order.update_ms,
    }


def _trailing(order: Order) -> Json:
    """Only orders that a trailing stop made."""
    origin = order.origin
    if origin is None or origin.callback_rate is None:
        return {}
    activation = text.price(origin.activation_price or Decimal(0), order.instrument)
    return {"activatePrice": activation, "priceRate": text.short(origin.callback_rate)}


def amended(order: Order, modify_id: int | None) -> Json:
    """Reply of PUT order: the acknowledgement with pair, modify id and short zeros."""
    instrument = order.instrument
    row: Json = {}
    for key, value in acknowledgement(order).items():
        row[key] = value
        if key == "symbol":
            row["pair"] = order.symbol
        if key == "clientOrderId" and modify_id is not None:
            row["modifyId"] = modify_id
    if not order.filled_lots:
        row["executedQty"] = row["cumQty"] = "0"
    if row["stopPrice"] == instrument.price_text(0):
        row["stopPrice"] = "0"
    return row


def amendment(order: Order, change: Amendment) -> Json:
    """One row of orderAmendment."""
    instrument = order.instrument
    prices = [instrument.price_text(ticks) for ticks in change.price_ticks]
    quantities = [instrument.qty_text(lots) for lots in change.qty_lots]
    return {
        "amendmentId": change.amendment_id,
        "symbol": order.symbol,
        "pair": order.symbol,
        "orderId": order.order_id,
        "clientOrderId": order.client_id,
        "time": change.time_ms,
        "amendment": {
            "price": {"before": prices[0], "after": prices[1]},
            "origQty": {"before": quantities[0], "after": quantities[1]},
            "count": change.count,
            **({} if change.modify_id is None else {"modifyId": change.modify_id}),
        },
    }


def forced(order: Order) -> Json:
    """One row of forceOrders."""
    row = listed(order)
    wanted = (
        "orderId", "symbol", "pair", "status", "clientOrderId", "price", "avgPrice", "origQty", "executedQty",
        "cumQuote", "cumBase", "timeInForce", "type", "reduceOnly", "closePosition", "side", "positionSide",
        "stopPrice", "workingType", "origType", "time", "updateTime",
    )  # fmt: skip
    return {key: row[key] for key in wanted}


def listed(order: Order) -> Json:
    """One row of allOrders."""
    return {**queried(order), "cumBase": "0", "pair": order.symbol}


def trade(fill: Fill) -> Json:
    """One row of userTrades."""
    order = fill.order
    instrument = order.instrument
    quote = instrument.price(fill.price_ticks) * instrument.qty(fill.lots)
    return {
        "symbol": order.symbol,
        "id": fill.trade_id,
        "orderId": order.order_id,
        "pair": order.symbol,
        "side": order.side,
        "price": instrument.price_text(fill.price_ticks),
        "qty": instrument.qty_text(fill.lots),
        "realizedPnl": text.money_or_zero(fill.realised),
        "quoteQty": text.quote(quote, instrument),
        "commission": text.money(fill.fee),
        "commissionAsset": fill.fee_asset,
        "time": fill.time_ms,
        "positionSide": order.position_side,
        "baseQty": "0",
        "marginAsset": instrument.quote_asset,
        "buyer": order.side == "BUY",
        "maker": fill.is_maker,
    }
