"""Recorded user data sessions turned back into the wire's own form (field names of the data folder's README, §7)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ORDER = {
    "symbol": "s",
    "clientOrderId": "c",
    "orderSide": "S",
    "orderType": "o",
    "orderTimeInForce": "f",
    "originalQuantity": "q",
    "originalPrice": "p",
    "averagePrice": "ap",
    "stopPrice": "sp",
    "executionType": "x",
    "orderStatus": "X",
    "orderId": "i",
    "lastFilledQuantity": "l",
    "orderFilledAccumulatedQuantity": "z",
    "lastFilledPrice": "L",
    "commissionAmount": "n",
    "commissionAsset": "N",
    "orderTradeTime": "T",
    "tradeId": "t",
    "bidsNotional": "b",
    "asksNotional": "a",
    "isMakerTrade": "m",
    "isReduceOnly": "R",
    "originalOrderType": "ot",
    "positionSide": "ps",
    "isCloseAll": "cp",
    "realisedProfit": "rp",
    "stopPriceWorkingType": "wt",
}
BALANCE = {"asset": "a", "walletBalance": "wb", "crossWalletBalance": "cw", "balanceChange": "bc"}
POSITION = {
    "symbol": "s",
    "positionAmount": "pa",
    "entryPrice": "ep",
    "accumulatedRealisedPreFee": "cr",
    "unrealisedPnl": "up",
    "marginType": "mt",
    "isolatedWalletAmount": "iw",
    "positionSide": "ps",
}
INTEGERS = frozenset({"i", "T", "t"})


def session_files(data: Path) -> list[Path]:
    return sorted((data / "user_data" / "sessions_formatted").glob("*.jsonl"))


def wire_events(path: Path) -> list[dict[str, Any]]:
    """The session's events in order, as the exchange sent them (numbers as strings; their text kept exactly)."""
    lines = path.read_text(encoding="utf-8").splitlines()
    # parse_float/parse_int as text: the recorded digits reach the wire form without passing through a float
    return [_event(json.loads(line, parse_float=str, parse_int=str)["event"]) for line in lines if line]


def _event(event: dict[str, Any]) -> dict[str, Any]:
    times = {"T": int(event.get("transactionTime") or event["transactionId"]), "E": int(event["eventTime"])}
    if event["eventType"] == "ORDER_TRADE_UPDATE":
        return {"e": "ORDER_TRADE_UPDATE", **times, "o": _rename(event["order"], ORDER)}
    if event["eventType"] == "ACCOUNT_UPDATE":
        content = event["updateData"]
        body = {
            "m": content["updateEventType"],
            "B": [_rename(row, BALANCE) for row in content["updatedBalances"]],
            "P": [_rename(row, POSITION) for row in content["updatedPositions"]],
        }
        return {"e": "ACCOUNT_UPDATE", **times, "a": body}
    raise ValueError(f"a session holds {event['eventType']!r}")


def _rename(row: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    out = {}
    for long, value in row.items():
        if long in names and value is not None:
            short = names[long]
            out[short] = int(value) if short in INTEGERS else value
    return out
