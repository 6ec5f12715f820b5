"""Names of streams and the command that subscribes to them (reference section 2). Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


def depth_stream(symbol: str, speed: str) -> str:
    """`speed` is 100ms, 250ms or 500ms."""
    return f"{symbol.lower()}@depth@{speed}"


def mark_stream(symbol: str) -> str:
    return f"{symbol.lower()}@markPrice@1s"


def bar_stream(symbol: str, interval: str) -> str:
    return f"{symbol.lower()}@kline_{interval}"


def subscribe(number: int, streams: Iterable[str]) -> bytes:
    """The text frame that adds streams to an open connection; `number` comes back as `id` of its answer."""
    return msgspec.json.encode({"method": "SUBSCRIBE", "params": list(streams), "id": number})
