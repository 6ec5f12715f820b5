"""Requests for market data, time and the listenKey, with their weights (reference sections 2.2, 2.6, 6.1). Pure."""

from __future__ import annotations

from gateway.core.effects import Send
from gateway.core.inputs import Key

_MAX_BARS = 1500
_DEPTH_WEIGHTS = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1000: 20}


def max_bars() -> int:
    return _MAX_BARS


def depth(key: Key, symbol: str, limit: int) -> Send:
    """`limit` is one of 5, 10, 20, 50, 100, 500, 1000 (others are -4021)."""
    return Send(key, "GET", "/fapi/v1/depth", (("symbol", symbol), ("limit", str(limit))), weight=_DEPTH_WEIGHTS[limit])


def history(key: Key, symbol: str, interval: str, limit: int, start_ms: int | None = None) -> Send:
    """Bars from `start_ms` on (default: the newest `limit`), the open one included."""
    params = [("symbol", symbol), ("interval", interval), ("limit", str(limit))]
    if start_ms is not None:
        params.append(("startTime", str(start_ms)))
    weight = 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10
    return Send(key, "GET", "/fapi/v1/klines", tuple(params), weight=weight)


def exchange_info(key: Key) -> Send:
    return Send(key, "GET", "/fapi/v1/exchangeInfo", weight=1, timeout_ms=20_000)


def server_time(key: Key) -> Send:
    return Send(key, "GET", "/fapi/v1/time", weight=1, lane="lifeline", timeout_ms=5_000)


def create_listen_key(key: Key) -> Send:
    return Send(key, "POST", "/fapi/v1/listenKey", security="key", weight=1, lane="lifeline")


def renew_listen_key(key: Key) -> Send:
    return Send(key, "PUT", "/fapi/v1/listenKey", security="key", weight=1, lane="lifeline")
