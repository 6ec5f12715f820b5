"""Public payloads of one instrument: its exchangeInfo entry and its leverage brackets (section 13.3)."""

from __future__ import annotations

from decimal import Decimal

from simex.core.api import Json
from simex.core.instrument import Instrument

_ORDER_TYPES = ("LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")
_TIMES_IN_FORCE = ("GTC", "IOC", "FOK", "GTX", "GTD")


def plain(value: Decimal) -> str:
    """Decimal as the exchange writes filter values: no exponent, the digits it was configured with."""
    return f"{value:f}"


def _number(value: Decimal) -> int | float:
    """leverageBracket alone sends JSON numbers."""
    return int(value) if value == value.to_integral_value() else float(value)


def filters(instrument: Instrument) -> list[Json]:
    i = instrument
    return [
        {
            "minPrice": plain(i.min_price),
            "tickSize": plain(i.shown_tick),
            "maxPrice": plain(i.max_price),
            "filterType": "PRICE_FILTER",
        },
        {
            "minQty": plain(i.min_qty),
            "filterType": "LOT_SIZE",
            "maxQty": plain(i.max_qty),
            "stepSize": plain(i.shown_step),
        },
        {
            "stepSize": plain(i.shown_step),
            "filterType": "MARKET_LOT_SIZE",
            "minQty": plain(i.min_qty),
            "maxQty": plain(i.market_max_qty),
        },
        {"limit": i.max_orders, "filterType": "MAX_NUM_ORDERS"},
        {"filterType": "MIN_NOTIONAL", "notional": plain(i.min_notional)},
        {
            "multiplierDown": plain(i.multiplier_down),
            "filterType": "PERCENT_PRICE",
            "multiplierDecimal": "4",
            "multiplierUp": plain(i.multiplier_up),
        },
        {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
    ]


def symbol_info(instrument: Instrument) -> Json:
    """One entry of `exchangeInfo.symbols`."""
    i = instrument
    return {
        "symbol": i.symbol,
        "pair": i.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": i.delivery_ms,
        "onboardDate": i.onboard_ms,
        "status": i.status,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": i.base_asset,
        "quoteAsset": i.quote_asset,
        "marginAsset": i.quote_asset,
        "pricePrecision": i.price_precision,
        "quantityPrecision": i.quantity_precision,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": plain(i.trigger_protect),
        "liquidationFee": plain(i.liquidation_fee),
        "marketTakeBound": plain(i.market_take_bound),
        "maxMoveOrderLimit": i.max_amendments,
        "filters": filters(i),
        "orderTypes": list(_ORDER_TYPES),
        "timeInForce": list(_TIMES_IN_FORCE),
        "permissionSets": ["GRID", "COPY"],
    }


def leverage_bracket(instrument: Instrument) -> Json:
    """One entry of `GET /fapi/v1/leverageBracket`; its values are JSON numbers on the wire."""
    return {
        "symbol": instrument.symbol,
        "brackets": [
            {
                "bracket": b.number,
                "initialLeverage": b.leverage,
                "notionalCap": _number(b.cap),
                "notionalFloor": _number(b.floor),
                "maintMarginRatio": float(b.maintenance_rate),
                "cum": float(b.cum),
            }
            for b in instrument.brackets
        ],
    }
