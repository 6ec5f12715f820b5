"""Stream names: what each one means and which route carries it. Pure."""

import re
from dataclasses import dataclass

from simex.market.intervals import INTERVALS

PUBLIC, MARKET, PRIVATE, LEGACY = "public", "market", "private", "legacy"
ROUTES = (PUBLIC, MARKET, PRIVATE)

_DEPTH = re.compile(r"depth(5|10|20)?(?:@(500|250|100|0)ms)?")
_ALL: dict[str, tuple[str, str, int]] = {
    "!bookTicker": ("allBookTicker", PUBLIC, 5000),
    "!markPrice@arr": ("allMarkPrice", MARKET, 3000),
    "!markPrice@arr@1s": ("allMarkPrice", MARKET, 1000),
    "!ticker@arr": ("allTicker", MARKET, 1000),
    "!miniTicker@arr": ("allMiniTicker", MARKET, 1000),
    "!forceOrder@arr": ("allForceOrder", MARKET, 1000),
    "!contractInfo": ("contractInfo", MARKET, 0),
    "!assetIndex@arr": ("allAssetIndex", MARKET, 1000),
    "tradingSession": ("silent", MARKET, 0),
}
_ONE: dict[str, tuple[str, str, int]] = {
    "bookTicker": ("bookTicker", PUBLIC, 0),
    "rpiDepth@500ms": ("depth", PUBLIC, 500),
    "trade": ("trade", PUBLIC, 0),
    "aggTrade": ("aggTrade", MARKET, 0),
    "markPrice": ("markPrice", MARKET, 3000),
    "markPrice@1s": ("markPrice", MARKET, 1000),
    "ticker": ("ticker", MARKET, 2000),
    "miniTicker": ("miniTicker", MARKET, 2000),
    "forceOrder": ("forceOrder", MARKET, 1000),
    "assetIndex": ("assetIndex", MARKET, 1000),
    "compositeIndex": ("silent", MARKET, 0),
}


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream: `kind`, its route, the upper-case symbol ("" for all-market ones) and the cadence in ms.

    Kinds: depth, partialDepth, bookTicker, allBookTicker, trade, aggTrade, kline, continuousKline, markPrice, ticker,
    miniTicker, forceOrder, assetIndex, allMarkPrice, allTicker, allMiniTicker, allForceOrder, allAssetIndex,
    contractInfo, silent (accepted and quiet: composite indices and stock sessions are not listed here). `rpiDepth` is
    a depth stream with a chain of its own: there are no RPI orders here, so its levels are those of the book.
    """

    name: str
    kind: str
    route: str
    symbol: str = ""
    every_ms: int = 0
    levels: int = 0
    interval: str = ""


def parse_stream(name: str) -> Stream | None:
    """The meaning of a stream name, or None: such a name is acknowledged and stays mute."""
    if name in _ALL:
        kind, route, every_ms = _ALL[name]
        return Stream(name, kind, route, "", every_ms)
    head, _, rest = name.partition("@")
    if not rest or head != head.lower():
        return None
    if rest in _ONE:
        kind, route, every_ms = _ONE[rest]
        return Stream(name, kind, route, head.upper(), every_ms)
    depth = _DEPTH.fullmatch(rest)
    if depth:
        levels, speed = int(depth[1] or 0), int(depth[2] or 250)
        kind = "partialDepth" if levels else "depth"
        return Stream(name, kind, PUBLIC, head.upper(), speed, levels=levels)
    return _parse_kline(name, head, rest)


def _parse_kline(name: str, head: str, rest: str) -> Stream | None:
    kind, _, interval = rest.partition("_")
    if interval not in INTERVALS:
        return None
    if kind == "kline":
        return Stream(name, "kline", MARKET, head.upper(), 250, interval=interval)
    pair, _, contract = head.partition("_")
    if kind == "continuousKline" and contract == "perpetual":
        return Stream(name, "continuousKline", MARKET, pair.upper(), 250, interval=interval)
    return None


def served_on(name: str, route: str) -> Stream | None:
    """The stream behind a name on a route; None on the wrong route: acknowledged, and nothing is ever sent."""
    stream = parse_stream(name)
    return stream if stream is not None and stream.route == route else None
