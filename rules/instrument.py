"""Instruments: the exchange's filters, and rounding to them the safe way, by `Decimal`.

Source: USDⓈ-M `exchangeInfo` filters PRICE_FILTER, LOT_SIZE, MARKET_LOT_SIZE, MIN_NOTIONAL, PERCENT_PRICE,
MAX_NUM_ORDERS. Precision never comes from a configured number of digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import Literal

Side = Literal["BUY", "SELL"]

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Instrument:
    """One symbol. A bound of 0 is no bound. `tick`, `step`, `market_step` are > 0."""

    symbol: str
    status: str
    base: str
    quote: str
    margin_asset: str
    tick: Decimal
    step: Decimal
    market_step: Decimal
    min_price: Decimal
    max_price: Decimal
    min_qty: Decimal
    max_qty: Decimal
    market_min_qty: Decimal
    market_max_qty: Decimal
    min_notional: Decimal
    multiplier_up: Decimal
    multiplier_down: Decimal
    max_orders: int | None = None

    @property
    def trading(self) -> bool:
        return self.status == "TRADING"


def _on_grid(value: Decimal, origin: Decimal, grid: Decimal, rounding: str) -> Decimal:
    """`origin + k * grid` nearest to `value` in the direction of `rounding`, written with the grid's exponent."""
    steps = ((value - origin) / grid).to_integral_value(rounding=rounding)
    return (origin + steps * grid).quantize(_exponent(origin, grid))


@lru_cache(maxsize=4096)
def _exponent(origin: Decimal, grid: Decimal) -> Decimal:
    places = min(_places(origin), _places(grid))
    return Decimal(1).scaleb(places)


def _places(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    return min(0, exponent) if isinstance(exponent, int) else 0


def round_price(instrument: Instrument, price: Decimal, side: Side, *, aggressive: bool = False) -> Decimal:
    """To the tick grid (`(price - minPrice) mod tick == 0`), never worse than asked: BUY down, SELL up.

    `aggressive` turns it round, for a price that must reach the market (a bounded marketable limit).
    """
    down = (side == "BUY") != aggressive
    return _on_grid(price, instrument.min_price, instrument.tick, ROUND_FLOOR if down else ROUND_CEILING)


def round_price_nearest(instrument: Instrument, price: Decimal) -> Decimal:
    return _on_grid(price, instrument.min_price, instrument.tick, ROUND_HALF_EVEN)


def round_qty(instrument: Instrument, qty: Decimal, *, market: bool = False) -> Decimal:
    """Down to the step grid (never more than asked). The result may be 0 or below the minimum: check it."""
    step = instrument.market_step if market else instrument.step
    origin = instrument.market_min_qty if market else instrument.min_qty
    if qty < origin:
        return _on_grid(ZERO, ZERO, step, ROUND_FLOOR)
    return _on_grid(qty, origin, step, ROUND_FLOOR)


def text(value: Decimal) -> str:
    """Plain decimal text, no exponent: what goes on a wire."""
    return format(value, "f")


@dataclass(frozen=True, slots=True)
class FilterFault:
    """Why an order cannot pass the exchange's filters: a code of `ipc.errors` and a sentence."""

    code: str
    message: str


def check_filters(
    instrument: Instrument,
    *,
    side: Side,
    qty: Decimal,
    price: Decimal | None,
    mark: Decimal | None,
    reduce_only: bool,
) -> FilterFault | None:
    """Already rounded values against every filter. `price` None is MARKET; then notional uses `mark` if there is one.

    Reduce-only orders are exempt from the minimum notional (exchange code -4164).
    """
    market = price is None
    low = instrument.market_min_qty if market else instrument.min_qty
    high = instrument.market_max_qty if market else instrument.max_qty
    if qty <= 0 or qty < low:
        return FilterFault("filter.qty", f"{text(qty)} {instrument.base} is below the minimum of {text(low)}")
    if high > 0 and qty > high:
        return FilterFault("filter.qty", f"{text(qty)} {instrument.base} is above the maximum of {text(high)}")
    if price is not None:
        fault = _check_price(instrument, side, price, mark)
        if fault is not None:
            return fault
    reference = price if price is not None else mark
    if not reduce_only and reference is not None and reference * qty < instrument.min_notional:
        return FilterFault(
            "filter.min_notional",
            f"{text(reference * qty)} {instrument.quote} is below the minimum notional {text(instrument.min_notional)}",
        )
    return None


def _check_price(instrument: Instrument, side: Side, price: Decimal, mark: Decimal | None) -> FilterFault | None:
    if price <= 0 or price < instrument.min_price:
        low = max(instrument.min_price, instrument.tick)
        return FilterFault("filter.price", f"{text(price)} is below the lowest price {text(low)}")
    if instrument.max_price > 0 and price > instrument.max_price:
        return FilterFault("filter.price", f"{text(price)} is above the highest price {text(instrument.max_price)}")
    if mark is not None and side == "BUY" and instrument.multiplier_up > 0 and price > mark * instrument.multiplier_up:
        return FilterFault("filter.price", f"{text(price)} is above mark {text(mark)} x {instrument.multiplier_up}")
    if mark is not None and side == "SELL" and price < mark * instrument.multiplier_down:
        return FilterFault("filter.price", f"{text(price)} is below mark {text(mark)} x {instrument.multiplier_down}")
    return None
