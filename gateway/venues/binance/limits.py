"""Rate limits: names of windows, counting headers, refusals (reference sections 3.3 and 8). Pure."""

from __future__ import annotations

import re

from gateway.core.limit_venue import Stop
from gateway.core.market_data import Pool, RateLimit

POOLS: dict[str, Pool] = {"REQUEST_WEIGHT": "weight", "ORDERS": "orders"}
UNIT_S = {"SECOND": 1, "MINUTE": 60, "HOUR": 3_600, "DAY": 86_400}
_HEADERS: dict[Pool, str] = {"weight": "x-mbx-used-weight-", "orders": "x-mbx-order-count-"}
_DEFAULTS = (RateLimit("orders", 10, 300), RateLimit("orders", 60, 1_200), RateLimit("weight", 60, 2_400))
_BANNED = re.compile(r"banned until (\d{12,14})")
_ORDER_WINDOW = re.compile(r"per (\d+) (SECOND|MINUTE|HOUR|DAY)")


def default_limits() -> tuple[RateLimit, ...]:
    return _DEFAULTS


def usage_header(pool: Pool, interval_s: int) -> str:
    """`x-mbx-used-weight-1m`, `x-mbx-order-count-10s`, ..."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if interval_s % size == 0:
            return f"{_HEADERS[pool]}{interval_s // size}{unit}"
    return f"{_HEADERS[pool]}{interval_s}s"


def stop(status: int, body: bytes) -> Stop | None:
    """418 or a text "banned until": a ban. -1015: new orders only. 429 otherwise: weight."""
    text = body[:400].decode("utf-8", "replace")
    banned = _BANNED.search(text)
    if status == 418 or banned:
        return Stop("banned", until_ms=int(banned[1]) if banned else None)
    if '"code":-1015' in text.replace(" ", ""):
        named = _ORDER_WINDOW.search(text)
        return Stop("orders", window_s=int(named[1]) * UNIT_S[named[2]] if named else None)
    return Stop("weight") if status == 429 else None
