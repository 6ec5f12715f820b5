"""Order calls of USDⓈ-M REST and their replies (reference §4.1 to §4.6, §13.4). Pure: builds parameters, reads bodies.

`newOrderRespType` is ACK: fills reach us by trade id on the private stream (or userTrades), never from a reply, and
since 2026-06-30 replies carry no average price; RESULT would only hold a MARKET or IOC reply back until the engine is
done and so lengthen the time an order is in flight.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from gateway.core.market_data import BadReply
from gateway.core.order_venue import Call, Clock, TradeRow
from gateway.core.venue_orders import Source, VenueOrder
from gateway.venues.binance import rest_rows
from gateway.venues.binance.decoding import UNREADABLE
from gateway.venues.binance.errors import classify, transport
from gateway.venues.binance.rest_rows import BadRow, OrderRow, to_fill, to_order
from rules.instrument import text

__all__ = [
    "cancel",
    "classify",
    "list_orders",
    "list_trades",
    "meaning",
    "page_rows",
    "parse_order",
    "parse_orders",
    "parse_trades",
    "place",
    "query",
    "transport",
    "weight",
]

ORDER_PATH = "/fapi/v1/order"
ALL_ORDERS_PATH = "/fapi/v1/allOrders"
TRADES_PATH = "/fapi/v1/userTrades"
PAGE_ROWS = 1000
_WEIGHTS = {"query": 1, "list": 5, "trades": 5}

Pairs = list[tuple[str, str]]

_RESP_TYPE = ("newOrderRespType", "ACK")

_MEANING: dict[str, str] = {
    "NEW": "working",
    "PARTIALLY_FILLED": "partial",
    "FILLED": "full",
    "CANCELED": "cancelled",
    "EXPIRED": "expired",
    "EXPIRED_IN_MATCH": "expired",
    "REJECTED": "refused",
}


def page_rows() -> int:
    return PAGE_ROWS


def weight(what: Literal["query", "list", "trades"]) -> int:
    return _WEIGHTS[what]


def _stamped(params: Pairs, clock: Clock) -> tuple[tuple[str, str], ...]:
    params.append(("recvWindow", str(clock.recv_window_ms)))
    params.append(("timestamp", str(clock.timestamp_ms)))
    return tuple(params)


def place(
    clock: Clock,
    *,
    symbol: str,
    side: str,
    type_: str,
    qty: Decimal,
    price: Decimal | None,
    tif: str | None,
    leg: str,
    reduce_only: bool,
    hedge: bool,
    client_order_id: str,
) -> Call:
    """POST /fapi/v1/order. One-way mode: `reduceOnly` where set; hedge mode: `positionSide`, never `reduceOnly`."""
    params = [("symbol", symbol), ("side", side), ("type", type_)]
    if hedge:
        params.append(("positionSide", leg))
    if price is not None:
        params.append(("timeInForce", tif or "GTC"))
    params.append(("quantity", text(qty)))
    if price is not None:
        params.append(("price", text(price)))
    if reduce_only and not hedge:
        params.append(("reduceOnly", "true"))
    params.append(("newClientOrderId", client_order_id))
    params.append(_RESP_TYPE)
    return Call("POST", ORDER_PATH, _stamped(params, clock))


def _which(symbol: str, client_order_id: str, order_id: int | None) -> Pairs:
    """By our id, which is never reused; the exchange's number only for orders that are not ours (it would win)."""
    which = ("origClientOrderId", client_order_id) if order_id is None else ("orderId", str(order_id))
    return [("symbol", symbol), which]


def cancel(clock: Clock, symbol: str, client_order_id: str, order_id: int | None) -> Call:
    """DELETE /fapi/v1/order."""
    return Call("DELETE", ORDER_PATH, _stamped(_which(symbol, client_order_id, order_id), clock))


def query(clock: Clock, symbol: str, client_order_id: str, order_id: int | None) -> Call:
    """GET /fapi/v1/order."""
    return Call("GET", ORDER_PATH, _stamped(_which(symbol, client_order_id, order_id), clock))


def list_orders(clock: Clock, symbol: str, start_ms: int, from_order_id: int | None) -> Call:
    """GET /fapi/v1/allOrders from `start_ms` on; `from_order_id` pages on (a lower bound, without times)."""
    bound = ("startTime", str(start_ms)) if from_order_id is None else ("orderId", str(from_order_id))
    return Call("GET", ALL_ORDERS_PATH, _stamped([("symbol", symbol), bound, ("limit", str(PAGE_ROWS))], clock))


def list_trades(clock: Clock, symbol: str, *, order_id: int | None, start_ms: int | None, from_id: int | None) -> Call:
    """GET /fapi/v1/userTrades of one order, from a time, or from a trade id on."""
    params = [("symbol", symbol)]
    if order_id is not None:
        params.append(("orderId", str(order_id)))
    if from_id is not None:
        params.append(("fromId", str(from_id)))
    elif start_ms is not None:
        params.append(("startTime", str(start_ms)))
    params.append(("limit", str(PAGE_ROWS)))
    return Call("GET", TRADES_PATH, _stamped(params, clock))


_order_decoder: msgspec.json.Decoder[OrderRow] = msgspec.json.Decoder(OrderRow)
_orders_decoder: msgspec.json.Decoder[list[OrderRow]] = msgspec.json.Decoder(list[OrderRow])
_trades_decoder: msgspec.json.Decoder[list[rest_rows.TradeRow]] = msgspec.json.Decoder(list[rest_rows.TradeRow])


def parse_order(body: bytes, source: Source) -> VenueOrder:
    """Reply of place, cancel or query. Raises BadReply."""
    try:
        return to_order(_order_decoder.decode(body), source)
    except (*UNREADABLE, BadRow) as error:
        raise BadReply(f"order reply: {error}") from None


def parse_orders(body: bytes, source: Source) -> list[VenueOrder]:
    """Rows of allOrders or openOrders. Raises BadReply."""
    try:
        return [to_order(raw, source) for raw in _orders_decoder.decode(body)]
    except (*UNREADABLE, BadRow) as error:
        raise BadReply(f"list of orders: {error}") from None


def parse_trades(body: bytes) -> list[TradeRow]:
    """Rows of userTrades (`qty`, not `baseQty`). Raises BadReply."""
    try:
        return [TradeRow(raw.symbol, raw.order_id, to_fill(raw)) for raw in _trades_decoder.decode(body)]
    except (*UNREADABLE, BadRow) as error:
        raise BadReply(f"list of trades: {error}") from None


def meaning(order: VenueOrder) -> str:
    """The exchange's status as an input of `rules.orders`. A word nobody knows says only that the order exists."""
    return _MEANING.get(order.status, "working")
