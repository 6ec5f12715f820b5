"""REST replies about orders and trades (sections 4.3 and 13.4), keys in wire order."""

from __future__ import annotations

from simex.core.api import Json
from simex.core.order import Fill, Order
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
    instrument = order.instrument
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
        "closePosition": False,
        "side": order.side,
        "positionSide": order.position_side,
        "stopPrice": instrument.price_text(0),
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": order.type,
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
    instrument = order.instrument
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
        "closePosition": False,
        "side": order.side,
        "positionSide": order.position_side,
        "stopPrice": "0",
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": order.type,
        "priceMatch": order.price_match,
        "selfTradePreventionMode": order.stp,
        "goodTillDate": order.good_till_ms,
        "time": order.created_ms,
        "updateTime": order.update_ms,
    }


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
        "commissionAsset": instrument.quote_asset,
        "time": fill.time_ms,
        "positionSide": order.position_side,
        "baseQty": "0",
        "marginAsset": instrument.quote_asset,
        "buyer": order.side == "BUY",
        "maker": fill.is_maker,
    }
