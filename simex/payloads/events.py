"""Events of the private stream (sections 6 and 13.6), keys in wire order."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from simex.core.account import ZERO, Position
from simex.core.api import Json
from simex.core.instrument import Instrument
from simex.core.margin import LegMargin
from simex.core.order import Fill, Order
from simex.payloads import text

Balance = tuple[str, Decimal, Decimal, Decimal]
"""(asset, wallet balance, cross wallet, change other than profit and commission)"""
PositionRow = tuple[Position, Instrument, Decimal, bool]
"""(leg, its instrument, mark price, isolated?)"""


def order_update(
    order: Order, execution: str, now_ms: int, fill: Fill | None = None, modify_id: int | None = None
) -> Json:
    """ORDER_TRADE_UPDATE for `execution` (x): NEW, TRADE, CALCULATED, CANCELED, EXPIRED, AMENDMENT."""
    instrument, origin = order.instrument, order.origin
    reserved = order.price * instrument.qty(order.left_lots) if order.resting else Decimal(0)
    return {
        "e": "ORDER_TRADE_UPDATE",
        "T": now_ms,
        "E": now_ms,
        "o": {
            "s": order.symbol,
            "c": order.client_id,
            "S": order.side,
            "o": order.shown_as or order.type,
            "f": order.tif,
            "q": instrument.qty_text(order.qty_lots),
            "p": text.short(order.price),
            "ap": text.entry(order.average_price),
            "sp": text.short(origin.stop_price) if origin else "0",
            "x": execution,
            "X": order.status,
            "i": order.order_id,
            **({} if modify_id is None else {"M": str(modify_id)}),
            "l": instrument.qty_text(fill.lots) if fill else "0",
            "z": instrument.qty_text(order.filled_lots) if order.filled_lots else "0",
            "L": text.short(instrument.price(fill.price_ticks)) if fill else "0",
            "n": text.money(fill.fee) if fill else "0",
            "N": fill.fee_asset if fill else instrument.quote_asset,
            "T": now_ms,
            "t": fill.trade_id if fill else 0,
            "b": text.short(reserved) if order.side == "BUY" else "0",
            "a": text.short(reserved) if order.side == "SELL" else "0",
            "m": fill.is_maker if fill else False,
            "R": order.reduce_only,
            "wt": origin.working_type if origin else "CONTRACT_PRICE",
            "ot": order.original_type,
            "ps": order.position_side,
            "cp": origin is not None and origin.close_position,
            **_trailing(order),
            "rp": text.money_or_zero(fill.realised) if fill else "0",
            "pP": origin is not None and origin.price_protect,
            "si": 0,
            "ss": 0,
            "V": order.stp,
            "pm": order.price_match,
            "gtd": order.good_till_ms,
            "er": order.expiry_reason,
        },
    }


def _trailing(order: Order) -> Json:
    """Activation price and callback rate, of an order that a trailing stop made."""
    origin = order.origin
    if origin is None or origin.callback_rate is None:
        return {}
    return {"AP": text.short(origin.activation_price or ZERO), "cr": text.short(origin.callback_rate)}


def trade_lite(order: Order, fill: Fill) -> Json:
    """TRADE_LITE of one fill."""
    instrument = order.instrument
    return {
        "e": "TRADE_LITE",
        "E": fill.time_ms,
        "T": fill.time_ms,
        "s": order.symbol,
        "q": instrument.qty_text(order.qty_lots),
        "p": instrument.price_text(order.price_ticks),
        "m": fill.is_maker,
        "c": order.client_id,
        "S": order.side,
        "L": instrument.price_text(fill.price_ticks),
        "l": instrument.qty_text(fill.lots),
        "t": fill.trade_id,
        "i": order.order_id,
    }


def _position_row(row: PositionRow) -> Json:
    position, instrument, mark, isolated = row
    return {
        "s": position.symbol,
        "pa": text.amount(position.amount, instrument) if position.amount else "0",
        "ep": text.entry(position.entry_price),
        "cr": text.short(position.realised),
        "up": text.money_or_zero(position.unrealised(mark)),
        "mt": "isolated" if isolated else "cross",
        "iw": text.money_or_zero(position.isolated_wallet),
        "ps": position.side,
        "ma": instrument.quote_asset,
        "bep": text.entry(position.break_even_price),
    }


def account_update(
    reason: str, now_ms: int, balances: Iterable[Balance], positions: Iterable[PositionRow], symbol: str | None = None
) -> Json:
    """ACCOUNT_UPDATE: only what changed. `symbol` is sent for funding alone."""
    data: Json = {
        "B": [
            {"a": asset, "wb": text.money(wallet), "cw": text.money(cross), "bc": text.money_or_zero(change)}
            for asset, wallet, cross, change in balances
        ],
        "P": [_position_row(row) for row in positions],
        "m": reason,
    }
    if symbol is not None:
        data["S"] = symbol
    return {"e": "ACCOUNT_UPDATE", "T": now_ms, "E": now_ms, "a": data}


def leverage_update(symbol: str, leverage: int, now_ms: int) -> Json:
    """ACCOUNT_CONFIG_UPDATE after a change of leverage."""
    return {"e": "ACCOUNT_CONFIG_UPDATE", "T": now_ms, "E": now_ms, "ac": {"s": symbol, "l": leverage}}


def asset_mode_update(multi_assets: bool, now_ms: int) -> Json:
    """ACCOUNT_CONFIG_UPDATE after a change of the asset mode."""
    return {"e": "ACCOUNT_CONFIG_UPDATE", "T": now_ms, "E": now_ms, "ai": {"j": multi_assets}}


def margin_call(cross_wallet: Decimal | None, legs: Iterable[LegMargin], now_ms: int) -> Json:
    """MARGIN_CALL; `cross_wallet` is sent for crossed positions only."""
    head: Json = {"e": "MARGIN_CALL", "E": now_ms}
    if cross_wallet is not None:
        head["cw"] = text.money(cross_wallet)
    return head | {
        "p": [
            {
                "s": leg.position.symbol,
                "ps": leg.position.side,
                "pa": text.short(leg.position.amount),
                "mt": "ISOLATED" if leg.isolated else "CROSSED",
                "iw": text.money_or_zero(leg.position.isolated_wallet),
                "mp": text.entry(leg.mark),
                "up": text.short(Decimal(text.money(leg.unrealised))),
                "mm": text.short(Decimal(text.money(leg.maintenance))),
            }
            for leg in legs
        ]
    }


def force_order(order: Order) -> Json:
    """The `o` of a forceOrder event, when a liquidation order has ended."""
    instrument = order.instrument
    last = order.last_fill_lots
    return {
        "s": order.symbol,
        "S": order.side,
        "o": order.type,
        "f": order.tif,
        "q": instrument.qty_text(order.qty_lots),
        "p": instrument.price_text(order.price_ticks),
        "ap": text.price(order.average_price, instrument),
        "X": order.status,
        "l": instrument.qty_text(last),
        "z": instrument.qty_text(order.filled_lots),
        "T": order.update_ms,
        "ps": order.symbol,
        "st": 1,
    }
