"""`exchangeInfo` -> instruments and rate limits (reference section 2.7). Pure.

The answer is about 1 MB with hundreds of symbols: it is indexed once, and a symbol is read when somebody wants it. A
malformed symbol is that symbol's fault alone. Unknown filter types are ignored.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
from msgspec import Raw, Struct

from gateway.core.market_data import BadReply, BadSymbol, RateLimit
from gateway.venues.binance.decoding import UNREADABLE
from gateway.venues.binance.limits import POOLS, UNIT_S
from gateway.venues.binance.market_frames import refusal
from rules.instrument import ZERO, Instrument


class _Name(Struct):
    symbol: str


class _Symbol(Struct, rename="camel"):
    symbol: str
    status: str
    filters: list[dict[str, Any]]
    base_asset: str = ""
    quote_asset: str = ""
    margin_asset: str = ""


class _Limit(Struct, rename="camel"):
    rate_limit_type: str
    interval: str
    interval_num: int
    limit: int


class _Info(Struct, rename="camel"):
    symbols: list[Raw]
    rate_limits: list[_Limit] = []


class ExchangeInfo:
    """An indexed answer. `nameless` counts entries without a readable symbol name."""

    __slots__ = ("_raw", "limits", "nameless")

    def __init__(self, raw: dict[str, bytes], limits: tuple[RateLimit, ...], nameless: int) -> None:
        self._raw = raw
        self.limits = limits
        self.nameless = nameless

    def names(self) -> tuple[str, ...]:
        return tuple(self._raw)

    def instrument(self, symbol: str) -> Instrument | None:
        """None where the exchange lacks the symbol. Raises BadSymbol."""
        raw = self._raw.get(symbol)
        if raw is None:
            return None
        try:
            parsed = msgspec.json.decode(raw, type=_Symbol)
        except UNREADABLE as error:
            raise BadSymbol(f"{symbol}: {str(error)[:120]}") from None
        return _instrument(parsed)


def parse_exchange_info(status: int, body: bytes) -> ExchangeInfo:
    """Raises BadReply where the whole answer cannot be used."""
    if status != 200:
        code, text = refusal(body)
        raise BadReply(f"exchange info: HTTP {status}, code {code}: {text}")
    try:
        info = msgspec.json.decode(body, type=_Info)
    except UNREADABLE as error:
        raise BadReply(f"exchange info: {str(error)[:120]}") from None
    name_of = msgspec.json.Decoder(_Name).decode
    raw: dict[str, bytes] = {}
    nameless = 0
    for entry in info.symbols:
        try:
            raw[name_of(entry).symbol] = bytes(entry)
        except UNREADABLE:
            nameless += 1
    limits = tuple(
        RateLimit(POOLS[item.rate_limit_type], UNIT_S[item.interval] * item.interval_num, item.limit)
        for item in info.rate_limits
        if item.rate_limit_type in POOLS and item.interval in UNIT_S and item.interval_num > 0 and item.limit > 0
    )
    return ExchangeInfo(raw, limits, nameless)


def _instrument(parsed: _Symbol) -> Instrument:
    found: dict[str, dict[str, Any]] = {}
    for entry in parsed.filters:
        kind = entry.get("filterType")
        if isinstance(kind, str):
            found[kind] = entry
    symbol = parsed.symbol
    price = _need(found, "PRICE_FILTER", symbol)
    lot = _need(found, "LOT_SIZE", symbol)
    market = found.get("MARKET_LOT_SIZE", lot)
    percent = found.get("PERCENT_PRICE", {})
    max_orders = found.get("MAX_NUM_ORDERS", {}).get("limit")
    step = _number(lot, "stepSize", symbol, positive=True)
    return Instrument(
        symbol=symbol,
        status=parsed.status,
        base=parsed.base_asset,
        quote=parsed.quote_asset,
        margin_asset=parsed.margin_asset,
        tick=_number(price, "tickSize", symbol, positive=True),
        step=step,
        market_step=_number(market, "stepSize", symbol) or step,
        min_price=_number(price, "minPrice", symbol),
        max_price=_number(price, "maxPrice", symbol),
        min_qty=_number(lot, "minQty", symbol),
        max_qty=_number(lot, "maxQty", symbol),
        market_min_qty=_number(market, "minQty", symbol),
        market_max_qty=_number(market, "maxQty", symbol),
        min_notional=_number(found.get("MIN_NOTIONAL", {}), "notional", symbol, missing=ZERO),
        multiplier_up=_number(percent, "multiplierUp", symbol, missing=ZERO),
        multiplier_down=_number(percent, "multiplierDown", symbol, missing=ZERO),
        max_orders=max_orders if isinstance(max_orders, int) and max_orders > 0 else None,
    )


def _need(found: dict[str, dict[str, Any]], kind: str, symbol: str) -> dict[str, Any]:
    if kind not in found:
        raise BadSymbol(f"{symbol}: filter {kind} is missing")
    return found[kind]


def _number(
    entry: dict[str, Any], name: str, symbol: str, *, positive: bool = False, missing: Decimal | None = None
) -> Decimal:
    value = entry.get(name)
    if value is None and missing is not None:
        return missing
    try:
        number = Decimal(value) if isinstance(value, str) else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite() or number < 0 or (positive and number == 0):
        kind = entry.get("filterType", "?")
        raise BadSymbol(f"{symbol}: {name} of {kind} is {str(value)[:40]!r}, not a usable decimal")
    return number
