"""What can be traded and by which rules: filters, fees and leverage brackets of one symbol.

Source: section 2.7 of the protocol reference (fields and filters) and its example for BTCUSDT; the other defaults are
realistic values of 2026 for the same contracts, written for this simulator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cached_property
from typing import Any

USUAL_FUNDING_HOURS = 8
FUNDING_HOURS = (1, 2, 4, 8)
"""Intervals that a symbol's funding may have."""
_FAR_FUTURE_MS = 4_133_404_800_000  # the exchange's "never delivered"


@dataclass(frozen=True, slots=True)
class Bracket:
    """One leverage bracket: up to `cap` of notional, at most `leverage`; maintenance = notional * rate - cum."""

    number: int
    leverage: int
    floor: Decimal
    cap: Decimal
    maintenance_rate: Decimal
    cum: Decimal


@dataclass(frozen=True)
class Instrument:
    """Static rules of one perpetual contract. Conversions between decimals and ticks or lots are exact or refused."""

    symbol: str
    base_asset: str
    quote_asset: str
    tick_size: Decimal
    step_size: Decimal
    min_price: Decimal
    max_price: Decimal
    min_qty: Decimal
    max_qty: Decimal
    market_max_qty: Decimal
    min_notional: Decimal
    reference_price: Decimal
    """A plausible price to start a generated market from."""
    brackets: tuple[Bracket, ...]
    price_precision: int
    quantity_precision: int
    multiplier_up: Decimal = Decimal("1.0500")
    multiplier_down: Decimal = Decimal("0.9500")
    maker_rate: Decimal = Decimal("0.000200")
    taker_rate: Decimal = Decimal("0.000500")
    max_orders: int = 200
    max_amendments: int = 10_000
    status: str = "TRADING"
    onboard_ms: int = 1_569_398_400_000
    delivery_ms: int = _FAR_FUTURE_MS
    trigger_protect: Decimal = Decimal("0.0500")
    liquidation_fee: Decimal = Decimal("0.012500")
    market_take_bound: Decimal = Decimal("0.05")
    funding_hours: int = USUAL_FUNDING_HOURS
    """Hours between two settlements, counted from midnight: one of `FUNDING_HOURS`."""
    order_tick: Decimal | None = None
    """The tick that orders must keep, where it was made coarser at run time; None = `tick_size`."""
    order_step: Decimal | None = None
    """The same for quantities."""

    @cached_property
    def max_leverage(self) -> int:
        return self.brackets[0].leverage

    @property
    def shown_tick(self) -> Decimal:
        """The tick of exchangeInfo and of order checks: a multiple of `tick_size`, in which books are counted."""
        return self.order_tick or self.tick_size

    @property
    def shown_step(self) -> Decimal:
        """The step of exchangeInfo and of order checks."""
        return self.order_step or self.step_size

    def price(self, ticks: int) -> Decimal:
        return self.tick_size * ticks

    def qty(self, lots: int) -> Decimal:
        return self.step_size * lots

    def ticks(self, price: Decimal) -> int:
        """Exact number of ticks; ValueError when the price is between two."""
        return _exact_units(price, self.tick_size)

    def lots(self, qty: Decimal) -> int:
        """Exact number of lots; ValueError when the quantity is between two."""
        return _exact_units(qty, self.step_size)

    def price_text(self, ticks: int) -> str:
        """As REST and market streams write a price: `price_precision` digits ("91250.00" for a tick of 0.10)."""
        return f"{self.price(ticks):.{self.price_precision}f}"

    def qty_text(self, lots: int) -> str:
        return f"{self.qty(lots):.{self.quantity_precision}f}"

    def bracket_of(self, notional: Decimal) -> Bracket:
        """The bracket that holds a position of this notional; the last one also holds what lies above it."""
        return next((b for b in self.brackets if notional <= b.cap), self.brackets[-1])

    def max_notional_at(self, leverage: int) -> Decimal:
        """Largest position notional that this leverage still allows (0 above the symbol's maximum)."""
        return max((b.cap for b in self.brackets if b.leverage >= leverage), default=Decimal(0))


def _exact_units(value: Decimal, unit: Decimal) -> int:
    units = value / unit
    whole = int(units)
    if unit * whole != value:
        raise ValueError(f"{value} is not a multiple of {unit}")
    return whole


# initial leverage, maintenance rate and upper notional in units of the first bracket's cap
_LADDER: tuple[tuple[int, str, str], ...] = (
    (125, "0.004", "1"),
    (100, "0.005", "2.6666666667"),
    (75, "0.0065", "10"),
    (50, "0.01", "40"),
    (25, "0.02", "266.6666666667"),
    (20, "0.025", "400"),
    (10, "0.05", "800"),
    (5, "0.1", "1333.3333333333"),
    (4, "0.125", "2000"),
    (3, "0.15", "2666.6666666667"),
    (2, "0.25", "4000"),
    (1, "0.5", "6000"),
)


def build_brackets(max_leverage: int, first_cap: Decimal) -> tuple[Bracket, ...]:
    """A consistent ladder from `max_leverage` down to 1: `cum` makes the maintenance margin continuous."""
    rows = [row for row in _LADDER if row[0] < max_leverage]
    top = next((row for row in _LADDER if row[0] >= max_leverage and row[0] == max_leverage), None)
    start_rate = top[1] if top else str(Decimal(1) / (2 * max_leverage))
    steps = [(max_leverage, Decimal(start_rate), first_cap)]
    steps += [(lev, Decimal(rate), (first_cap * Decimal(cap)).quantize(Decimal("1E+3"))) for lev, rate, cap in rows]
    brackets: list[Bracket] = []
    floor = cum = rate_before = Decimal(0)
    for leverage, rate, cap in steps:
        if cap <= floor or rate <= rate_before:
            continue
        cum += floor * (rate - rate_before)
        brackets.append(Bracket(len(brackets) + 1, leverage, floor, Decimal(int(cap)), rate, cum))
        floor, rate_before = Decimal(int(cap)), rate
    return tuple(brackets)


@dataclass(frozen=True, slots=True)
class _Preset:
    tick: str
    step: str
    notional: str
    price: str
    max_qty: str
    market_max_qty: str
    max_leverage: int
    first_cap: str
    price_precision: int
    min_price: str = ""
    max_price: str = ""
    funding_hours: int = USUAL_FUNDING_HOURS


_PRESETS: dict[str, _Preset] = {
    "BTCUSDT": _Preset("0.10", "0.001", "50", "91250", "1000", "120", 125, "300000", 2, "261.10", "809484"),
    "ETHUSDT": _Preset("0.01", "0.001", "20", "3120", "10000", "2000", 125, "300000", 2, "18.67", "306177"),
    "SOLUSDT": _Preset("0.0100", "0.01", "5", "138", "1000000", "30000", 100, "100000", 4),
    "BNBUSDT": _Preset("0.010", "0.01", "5", "905", "100000", "2000", 75, "100000", 3),
    "XRPUSDT": _Preset("0.0001", "0.1", "5", "2.10", "10000000", "2000000", 100, "60000", 4),
    "DOGEUSDT": _Preset("0.000010", "1", "5", "0.16", "50000000", "30000000", 75, "50000", 6),
    "ADAUSDT": _Preset("0.00010", "1", "5", "0.48", "10000000", "5000000", 75, "30000", 5),
    "AVAXUSDT": _Preset("0.0010", "0.1", "5", "14.5", "1000000", "100000", 75, "30000", 4),
    "LINKUSDT": _Preset("0.001", "0.01", "20", "13.8", "1000000", "100000", 75, "30000", 3),
    "LTCUSDT": _Preset("0.01", "0.001", "20", "95", "100000", "10000", 75, "30000", 2),
    "TRXUSDT": _Preset("0.00001", "1", "5", "0.29", "50000000", "20000000", 75, "30000", 5, funding_hours=4),
}
_GENERIC = _Preset("0.0001", "0.1", "5", "10", "10000000", "1000000", 50, "25000", 4, funding_hours=4)
_QUOTES = ("USDT", "USDC", "FDUSD", "BUSD")


def _digits(unit: Decimal) -> int:
    exponent = unit.normalize().as_tuple().exponent
    return max(0, -int(exponent))


def _split(symbol: str) -> tuple[str, str]:
    for quote in _QUOTES:
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return symbol.removesuffix(quote), quote
    return symbol, "USDT"


def default_instrument(
    symbol: str, *, tick: Decimal | None = None, step: Decimal | None = None, price: Decimal | None = None
) -> Instrument:
    """Realistic rules for a known symbol, generic ones for any other; tick, step and price may be forced (replay)."""
    preset = _PRESETS.get(symbol, _GENERIC)
    tick_size = Decimal(preset.tick) if tick is None else tick
    step_size = Decimal(preset.step) if step is None else step
    base, quote = _split(symbol)
    reference = Decimal(preset.price) if price is None else price
    return Instrument(
        symbol=symbol,
        base_asset=base,
        quote_asset=quote,
        tick_size=tick_size,
        step_size=step_size,
        min_price=Decimal(preset.min_price) if preset.min_price and tick is None else tick_size,
        max_price=_whole(Decimal(preset.max_price or "0") or reference * 1000, tick_size),
        min_qty=step_size,
        max_qty=_whole(Decimal(preset.max_qty), step_size),
        market_max_qty=_whole(Decimal(preset.market_max_qty), step_size),
        min_notional=Decimal(preset.notional),
        reference_price=_whole(reference, tick_size),
        brackets=build_brackets(preset.max_leverage, Decimal(preset.first_cap)),
        price_precision=max(preset.price_precision if tick is None else 0, _digits(tick_size)),
        quantity_precision=_digits(step_size),
        funding_hours=preset.funding_hours,
    )


def _whole(value: Decimal, unit: Decimal) -> Decimal:
    """The multiple of `unit` at or below `value`, at least one unit."""
    return max(unit, value // unit * unit)


def default_instruments(symbols: Iterable[str]) -> list[Instrument]:
    return [default_instrument(symbol) for symbol in symbols]


def instrument_from_info(info: Mapping[str, Any], *, price: Decimal | None = None) -> Instrument:
    """Build an instrument from one `symbols[]` entry of a recorded exchangeInfo (old ones lack some filters).

    ValueError names the symbol when a mandatory filter is missing or not a number.
    """
    symbol = str(info["symbol"])
    filters = {row["filterType"]: row for row in info["filters"]}
    base = default_instrument(symbol, price=price)

    def value(kind: str, name: str, fallback: Decimal | None = None) -> Decimal:
        raw = filters.get(kind, {}).get(name)
        if raw is None and fallback is not None:
            return fallback
        try:
            return Decimal(str(raw))
        except InvalidOperation as error:
            raise ValueError(f"exchangeInfo of {symbol}: {kind}.{name} is {raw!r}, not a number") from error

    tick = value("PRICE_FILTER", "tickSize")
    step = value("LOT_SIZE", "stepSize")
    return Instrument(
        symbol=symbol,
        base_asset=str(info.get("baseAsset", base.base_asset)),
        quote_asset=str(info.get("quoteAsset", base.quote_asset)),
        tick_size=tick,
        step_size=step,
        min_price=value("PRICE_FILTER", "minPrice", tick),
        max_price=value("PRICE_FILTER", "maxPrice", base.max_price),
        min_qty=value("LOT_SIZE", "minQty", step),
        max_qty=value("LOT_SIZE", "maxQty", base.max_qty),
        market_max_qty=value("MARKET_LOT_SIZE", "maxQty", base.market_max_qty),
        min_notional=value("MIN_NOTIONAL", "notional", base.min_notional),
        reference_price=_whole(base.reference_price, tick),
        brackets=base.brackets,
        price_precision=max(int(info.get("pricePrecision", 0)), _digits(tick)),
        quantity_precision=max(int(info.get("quantityPrecision", 0)), _digits(step)),
        multiplier_up=value("PERCENT_PRICE", "multiplierUp", base.multiplier_up),
        multiplier_down=value("PERCENT_PRICE", "multiplierDown", base.multiplier_down),
        max_orders=int(value("MAX_NUM_ORDERS", "limit", Decimal(base.max_orders))),
        status=str(info.get("status", "TRADING")),
        onboard_ms=int(info.get("onboardDate", base.onboard_ms)),
        delivery_ms=int(info.get("deliveryDate", base.delivery_ms)),
    )
