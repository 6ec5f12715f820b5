"""Which parameters each endpoint takes: for the OpenAPI description. `!` marks the mandatory ones. Pure."""

from typing import Any

_F1, _F2, _F3, _DATA = "/fapi/v1", "/fapi/v2", "/fapi/v3", "/futures/data"
_ORDER = (
    "symbol! side! type! positionSide timeInForce quantity price reduceOnly newClientOrderId newOrderRespType "
    "priceMatch selfTradePreventionMode goodTillDate"
)
_AMEND = "symbol! side! quantity! price! orderId origClientOrderId modifyId priceMatch"
_WHICH = "symbol! orderId origClientOrderId"
_TIMES = "startTime endTime limit"
_BARS = f"interval! {_TIMES}"
_RATIO = f"symbol! period! {_TIMES}"
_ALGO = (
    "algoType! symbol! side! type! positionSide timeInForce quantity price triggerPrice workingType priceMatch "
    "closePosition priceProtect reduceOnly activatePrice callbackRate clientAlgoId newOrderRespType "
    "selfTradePreventionMode goodTillDate"
)

NAMES: dict[tuple[str, str], str] = {
    ("GET", f"{_F1}/depth"): "symbol! limit",
    ("GET", f"{_F1}/rpiDepth"): "symbol! limit",
    ("GET", f"{_F1}/trades"): "symbol! limit",
    ("GET", f"{_F1}/historicalTrades"): "symbol! limit fromId",
    ("GET", f"{_F1}/aggTrades"): f"symbol! fromId {_TIMES}",
    ("GET", f"{_F1}/klines"): f"symbol! {_BARS}",
    ("GET", f"{_F1}/continuousKlines"): f"pair! contractType! {_BARS}",
    ("GET", f"{_F1}/indexPriceKlines"): f"pair! {_BARS}",
    ("GET", f"{_F1}/markPriceKlines"): f"symbol! {_BARS}",
    ("GET", f"{_F1}/premiumIndexKlines"): f"symbol! {_BARS}",
    ("GET", f"{_F1}/premiumIndex"): "symbol",
    ("GET", f"{_F1}/fundingRate"): f"symbol {_TIMES}",
    ("GET", f"{_F1}/ticker/24hr"): "symbol",
    ("GET", f"{_F1}/ticker/price"): "symbol",
    ("GET", f"{_F2}/ticker/price"): "symbol",
    ("GET", f"{_F1}/ticker/bookTicker"): "symbol",
    ("GET", f"{_F1}/openInterest"): "symbol!",
    ("GET", f"{_F1}/constituents"): "symbol!",
    ("GET", f"{_F1}/assetIndex"): "symbol",
    ("GET", f"{_F1}/indexInfo"): "symbol",
    ("GET", f"{_F1}/insuranceBalance"): "symbol",
    ("GET", f"{_F1}/symbolAdlRisk"): "symbol",
    ("GET", f"{_DATA}/openInterestHist"): _RATIO,
    ("GET", f"{_DATA}/takerlongshortRatio"): _RATIO,
    ("GET", f"{_DATA}/topLongShortAccountRatio"): _RATIO,
    ("GET", f"{_DATA}/topLongShortPositionRatio"): _RATIO,
    ("GET", f"{_DATA}/globalLongShortAccountRatio"): _RATIO,
    ("GET", f"{_DATA}/basis"): f"pair! contractType! period! {_TIMES}",
    ("GET", f"{_DATA}/delivery-price"): "pair!",
    ("POST", f"{_F1}/order"): _ORDER,
    ("POST", f"{_F1}/order/test"): _ORDER,
    ("PUT", f"{_F1}/order"): _AMEND,
    ("GET", f"{_F1}/order"): _WHICH,
    ("DELETE", f"{_F1}/order"): _WHICH,
    ("POST", f"{_F1}/batchOrders"): "batchOrders!",
    ("PUT", f"{_F1}/batchOrders"): "batchOrders!",
    ("DELETE", f"{_F1}/batchOrders"): "symbol! orderIdList origClientOrderIdList",
    ("DELETE", f"{_F1}/allOpenOrders"): "symbol!",
    ("POST", f"{_F1}/countdownCancelAll"): "symbol! countdownTime!",
    ("GET", f"{_F1}/openOrder"): _WHICH,
    ("GET", f"{_F1}/openOrders"): "symbol",
    ("GET", f"{_F1}/allOrders"): f"symbol orderId {_TIMES}",
    ("GET", f"{_F1}/orderAmendment"): f"symbol! orderId origClientOrderId {_TIMES}",
    ("POST", f"{_F1}/algoOrder"): _ALGO,
    ("GET", f"{_F1}/algoOrder"): "algoId clientAlgoId",
    ("DELETE", f"{_F1}/algoOrder"): "algoId clientAlgoId",
    ("DELETE", f"{_F1}/algoOpenOrders"): "symbol!",
    ("GET", f"{_F1}/openAlgoOrders"): "algoType symbol algoId",
    ("GET", f"{_F1}/allAlgoOrders"): f"symbol! algoId page {_TIMES}",
    ("GET", f"{_F1}/forceOrders"): f"symbol autoCloseType {_TIMES}",
    ("POST", f"{_F1}/leverage"): "symbol! leverage!",
    ("POST", f"{_F1}/marginType"): "symbol! marginType!",
    ("POST", f"{_F1}/positionMargin"): "symbol! positionSide amount! marginChange!",
    ("GET", f"{_F1}/positionMargin/history"): f"symbol! {_TIMES}",
    ("POST", f"{_F1}/positionSide/dual"): "dualSidePosition!",
    ("POST", f"{_F1}/multiAssetsMargin"): "multiAssetsMargin!",
    ("POST", f"{_F1}/feeBurn"): "feeBurn!",
    ("GET", f"{_F2}/positionRisk"): "symbol",
    ("GET", f"{_F3}/positionRisk"): "symbol",
    ("GET", f"{_F1}/symbolConfig"): "symbol",
    ("GET", f"{_F1}/commissionRate"): "symbol!",
    ("GET", f"{_F1}/leverageBracket"): "symbol",
    ("GET", f"{_F1}/userTrades"): f"symbol! orderId fromId {_TIMES}",
    ("GET", f"{_F1}/income"): f"symbol incomeType page {_TIMES}",
    ("GET", f"{_F1}/adlQuantile"): "symbol",
    ("GET", f"{_F1}/apiTradingStatus"): "symbol",
}
"""Endpoints without parameters of their own are not in it."""

_DECIMAL: dict[str, Any] = {"type": "string", "pattern": r"^[0-9]{1,20}(\.[0-9]{1,20})?$"}
_FLAG: dict[str, Any] = {"type": "string", "enum": ["true", "false"]}
_TIME: dict[str, Any] = {"type": "integer", "minimum": 0, "description": "ms"}
_ID: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": 9_223_372_036_854_775_807}
_CLIENT_ID: dict[str, Any] = {"type": "string", "pattern": r"^[.A-Z:/a-z0-9_-]{1,36}$"}
_JSON: dict[str, Any] = {"type": "string", "description": "JSON text"}
_TYPES = ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"]
_MATCHES = ["OPPONENT", "OPPONENT_5", "OPPONENT_10", "OPPONENT_20", "QUEUE", "QUEUE_5", "QUEUE_10", "QUEUE_20"]


def _words(*words: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(words)}


_BASE: dict[str, dict[str, Any]] = {
    "side": _words("BUY", "SELL"), "type": _words(*_TYPES), "positionSide": _words("BOTH", "LONG", "SHORT"),
    "timeInForce": _words("GTC", "IOC", "FOK", "GTX", "GTD"), "newOrderRespType": _words("ACK", "RESULT"),
    "priceMatch": _words(*_MATCHES), "workingType": _words("CONTRACT_PRICE", "MARK_PRICE"),
    "selfTradePreventionMode": _words("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"),
    "algoType": _words("CONDITIONAL"), "marginType": _words("ISOLATED", "CROSSED"),
    "contractType": _words("PERPETUAL", "CURRENT_QUARTER", "NEXT_QUARTER"),
    "autoCloseType": _words("LIQUIDATION", "ADL"),
    "period": _words("5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d"),
    "interval": _words("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"),
    "limit": {"type": "integer", "minimum": 1, "maximum": 1500}, "page": {"type": "integer", "minimum": 1},
    "leverage": {"type": "integer", "minimum": 1, "maximum": 125}, "countdownTime": _TIME,
    "marginChange": {"type": "integer", "enum": [1, 2]}, "batchOrders": _JSON, "orderIdList": _JSON,
    "origClientOrderIdList": _JSON, "incomeType": {"type": "string"},
    **dict.fromkeys(("quantity", "price", "triggerPrice", "activatePrice", "callbackRate", "amount"), _DECIMAL),
    **dict.fromkeys(("startTime", "endTime", "goodTillDate"), _TIME),
    **dict.fromkeys(("orderId", "fromId", "algoId", "modifyId"), _ID),
    **dict.fromkeys(("newClientOrderId", "origClientOrderId", "clientAlgoId"), _CLIENT_ID),
    **dict.fromkeys(
        ("reduceOnly", "closePosition", "priceProtect", "dualSidePosition", "multiAssetsMargin", "feeBurn"), _FLAG
    ),
}  # fmt: skip


def parameters(method: str, path: str) -> list[tuple[str, bool, dict[str, Any]]]:
    """(name, whether it is mandatory, schema) of each parameter. `marginChange` is the `type` of positionMargin."""
    found = []
    for word in NAMES.get((method, path), "").split():
        name = word.removesuffix("!")
        schema = _BASE.get(name, {"type": "string", "minLength": 1})
        found.append(("type" if name == "marginChange" else name, word.endswith("!"), schema))
    return found
