"""Integers to decimal text and back: ticks, lots and their products, without floats."""

from dataclasses import dataclass
from decimal import Decimal


def decimals_of(text: str) -> int:
    """Digits after the point, as written: "0.10" has 2."""
    _, _, fraction = text.partition(".")
    return len(fraction)


def fixed(units: int, decimals: int) -> str:
    """`units` of 10**-decimals as plain decimal text with exactly that many digits."""
    if decimals == 0:
        return str(units)
    sign = "-" if units < 0 else ""
    whole, fraction = divmod(abs(units), 10**decimals)
    return f"{sign}{whole}.{fraction:0{decimals}d}"


def units_of(text: str, decimals: int) -> int:
    """Decimal text as an integer count of 10**-decimals. ValueError if it is not a whole number of them."""
    whole, _, fraction = text.partition(".")
    if not (whole + fraction).lstrip("-").isdigit() or "-" in fraction:
        raise ValueError(f"not a plain decimal: {text!r}")
    if len(fraction) > decimals:
        if fraction[decimals:].strip("0"):
            raise ValueError(f"{text!r} has more than {decimals} decimals")
        fraction = fraction[:decimals]
    return int(whole + fraction.ljust(decimals, "0"))


@dataclass(frozen=True, slots=True)
class Scale:
    """How a symbol writes its numbers. `tick_units` is one tick in 10**-price_decimals, `lot_units` likewise."""

    price_decimals: int
    tick_units: int
    qty_decimals: int
    lot_units: int

    @classmethod
    def of(cls, tick: Decimal, step: Decimal, price_precision: int = 0, qty_precision: int = 0) -> "Scale":
        """From tick and step; the text shows at least `*_precision` decimals, and all the tick needs."""
        tick_decimals = max(decimals_of(f"{tick.normalize():f}"), price_precision)
        step_decimals = max(decimals_of(f"{step.normalize():f}"), qty_precision)
        return cls(tick_decimals, int(tick.scaleb(tick_decimals)), step_decimals, int(step.scaleb(step_decimals)))

    def price(self, ticks: int) -> str:
        """Ticks as price text."""
        return fixed(ticks * self.tick_units, self.price_decimals)

    def qty(self, lots: int) -> str:
        """Lots as quantity text."""
        return fixed(lots * self.lot_units, self.qty_decimals)

    def quote(self, tick_lots: int) -> str:
        """A sum of price x quantity (in ticks x lots) as text."""
        return fixed(tick_lots * self.tick_units * self.lot_units, self.price_decimals + self.qty_decimals)

    def ticks(self, text: str) -> int:
        """Price text as ticks. ValueError if it lies between two ticks."""
        ticks, rest = divmod(units_of(text, self.price_decimals), self.tick_units)
        if rest:
            raise ValueError(f"price {text!r} is not on the tick grid")
        return ticks

    def lots(self, text: str) -> int:
        """Quantity text as lots. ValueError if it lies between two steps."""
        lots, rest = divmod(units_of(text, self.qty_decimals), self.lot_units)
        if rest:
            raise ValueError(f"quantity {text!r} is not on the step grid")
        return lots
