"""Refusals with the exchange's codes and texts.

Codes and texts: sections 8 and 13.4 of the protocol reference; what it does not print follows the exchange's public
error list. What the core refuses has HTTP status 400, an unknown path 404; refusals of keys, clocks and limits are
the server's.
"""

from __future__ import annotations

from decimal import Decimal

from simex.core.api import Json

_STATUS = {-2015: 401, -5000: 404}

_TEXTS = {
    -1023: "Start time is greater than end time.",
    -1111: "Precision is over the maximum defined for this asset.",
    -1115: "Invalid timeInForce.",
    -1116: "Invalid orderType.",
    -1117: "Invalid side.",
    -1121: "Invalid symbol.",
    -1128: "Combination of optional parameters invalid.",
    -2007: "Invalid callBack rate.",
    -2011: "Unknown order sent.",
    -2013: "Order does not exist.",
    -2015: "Invalid API-key, IP, or permissions for action.",
    -2019: "Margin is insufficient.",
    -2021: "Order would immediately trigger.",
    -2022: "ReduceOnly Order is rejected.",
    -2025: "Reach max open order limit.",
    -2027: "Exceeded the maximum allowable position at current leverage.",
    -2028: "Leverage is smaller than permitted: insufficient margin balance.",
    -4001: "Price less than 0.",
    -4002: "Price greater than max price.",
    -4003: "Quantity less than or equal to zero.",
    -4004: "Quantity less than min quantity.",
    -4005: "Quantity greater than max quantity.",
    -4006: "Stop price less than zero.",
    -4007: "Stop price greater than max price.",
    -4013: "Price less than min price.",
    -4014: "Price not increased by tick size.",
    -4015: "Client order id length should be less than 36 chars",
    -4023: "Qty not increased by step size.",
    -4032: "Exceed maximum cancel order size.",
    -4045: "Reach max stop order limit.",
    -4046: "No need to change margin type.",
    -4047: "Margin type cannot be changed if there exists open orders.",
    -4048: "Margin type cannot be changed if there exists position.",
    -4049: "Add margin only support for isolated position.",
    -4050: "Cross balance insufficient.",
    -4051: "Isolated balance insufficient.",
    -4054: "Cannot add position margin: position is 0.",
    -4055: "Amount must be positive.",
    -4059: "No need to change position side.",
    -4060: "Invalid position side.",
    -4061: "Order's position side does not match user's setting.",
    -4067: "Position side cannot be changed if there exists open orders.",
    -4068: "Position side cannot be changed if there exists position.",
    -4082: "Invalid number of batch place orders.",
    -4116: "ClientOrderId is duplicated.",
    -4117: "Stop order is in triggering process. Please try again later.",
    -4118: "ReduceOnly Order Failed. Please check your existing position and open orders",
    -4120: "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.",
    -4130: "An open stop or take profit order with GTE and closePosition in the direction is existing.",
    -4131: "The counterparty's best price does not meet the PERCENT_PRICE filter limit.",
    -4135: "Invalid activation price",
    -4137: "Quantity must be zero with closePosition equals true",
    -4138: "Reduce only must be true with closePosition equals true",
    -4140: "Invalid symbol status for opening position.",
    -4141: "Symbol is closed.",
    -4161: "Leverage reduction is not supported in Isolated Margin Mode with open positions.",
    -4167: "Unable to adjust to Multi-Assets mode with symbols of USDⓈ-M Futures under isolated-margin mode.",
    -4168: "Unable to adjust to isolated-margin mode under the Multi-Assets mode.",
    -4169: "Unable to adjust Multi-Assets Mode with insufficient margin balance in USDⓈ-M Futures.",
    -4170: "Unable to adjust Multi-Assets Mode with open orders in USDⓈ-M Futures.",
    -4171: "Adjusted asset mode is currently set and does not need to be adjusted repeatedly.",
    -4172: "Unable to adjust Multi-Assets Mode with a negative wallet balance of margin available asset in "
    "USDⓈ-M Futures account.",
    -4509: "Time in Force (TIF) GTE can only be used with open positions. Please ensure that positions are available.",
    -5021: "Due to the order could not be filled immediately, the FOK order has been rejected. "
    "The order will not be recorded in the order history",
    -5022: "Due to the order could not be executed as maker, the Post Only order will be rejected. "
    "The order will not be recorded in the order history",
    -5024: "Symbol is not in trading status. Order amendment is not permitted.",
    -5026: "Exceed maximum modify order limit.",
    -5027: "No need to modify the order.",
    -5037: "Invalid price match",
    -5038: "Price match only supports order type: LIMIT, STOP AND TAKE_PROFIT",
    -5039: "Invalid self trade prevention mode",
    -5040: "The goodTillDate timestamp must be greater than the current time plus 600 seconds and smaller than "
    "253402300799000",
    -5041: "No depth matches this BBO order",
}


class Refusal(Exception):
    """A request the exchange refuses: nothing happened. `order_count` is what it still costs in the ORDERS pool."""

    def __init__(self, code: int, msg: str | None = None, *, order_count: int = 0) -> None:
        self.code = code
        self.msg = _TEXTS[code] if msg is None else msg
        self.order_count = order_count
        super().__init__(f"{code}: {self.msg}")

    @property
    def status(self) -> int:
        return _STATUS.get(self.code, 400)

    def body(self) -> Json:
        return {"code": self.code, "msg": self.msg}


def missing(name: str) -> Refusal:
    return Refusal(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def not_required(name: str) -> Refusal:
    """The exchange prints this parameter name in lower case."""
    return Refusal(-1106, f"Parameter '{name.lower()}' sent when not required.")


def invalid(name: str) -> Refusal:
    return Refusal(-1130, f"Data sent for parameter '{name}' is not valid.")


def illegal(name: str, pattern: str) -> Refusal:
    return Refusal(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{pattern}'.")


def empty(name: str) -> Refusal:
    return Refusal(-1105, f"Parameter '{name}' was empty.")


def above_band(limit: Decimal) -> Refusal:
    return Refusal(-4016, f"Limit price can't be higher than {limit:f}.")


def below_band(limit: Decimal) -> Refusal:
    return Refusal(-4024, f"Limit price can't be lower than {limit:f}.")


def above_stop(limit: Decimal) -> Refusal:
    return Refusal(-4183, f"Limit price can't be higher than {limit:f}.")


def below_stop(limit: Decimal) -> Refusal:
    return Refusal(-4184, f"Limit price can't be lower than {limit:f}.")


def bad_leverage(leverage: str) -> Refusal:
    return Refusal(-4028, f"Leverage {leverage} is not valid")


def small_notional(minimum: Decimal) -> Refusal:
    return Refusal(-4164, f"Order's notional must be no smaller than {minimum:f} (unless you choose reduce only).")


def amended_notional(minimum: Decimal) -> Refusal:
    return Refusal(-5029, f"Order's notional must be no smaller than {minimum:f}")


def no_path(method: str, path: str) -> Refusal:
    return Refusal(-5000, f"Path {path}, Method {method} is invalid")
