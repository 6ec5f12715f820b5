"""Number texts of the wire. They are not canonical there: REST pads to the symbol's precision, user events shorten."""

from __future__ import annotations

from decimal import Decimal

from simex.core.instrument import Instrument


def short(value: Decimal) -> str:
    """No exponent, no trailing zeros, "0" for zero: 91250, 0.1, 26.83159999."""
    if not value:
        return "0"
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def money(value: Decimal) -> str:
    """Eight decimals, never "-0.00000000"."""
    text = f"{value:.8f}"
    return text[1:] if text == "-0.00000000" else text


def money_or_zero(value: Decimal) -> str:
    """As user events and some account fields write it: "0" or eight decimals."""
    return money(value) if value else "0"


def amount(value: Decimal, instrument: Instrument) -> str:
    """Quantity or position amount with the symbol's precision."""
    return f"{value:.{instrument.quantity_precision}f}"


def price(value: Decimal, instrument: Instrument) -> str:
    """A price that need not lie on the tick, with the symbol's digits."""
    return f"{value:.{instrument.price_precision}f}"


def entry(value: Decimal) -> str:
    """Entry and break-even prices in user events: up to 10 decimals, shortened."""
    return short(Decimal(f"{value:.10f}"))


def rest_entry(value: Decimal) -> str:
    """Entry price in REST replies: at least one decimal ("91250.0")."""
    text = entry(value)
    return text if "." in text else f"{text}.0"


def average(value: Decimal, instrument: Instrument) -> str:
    """avgPrice in REST replies."""
    return f"{value:.{max(5, instrument.price_precision + 1)}f}"


def quote(value: Decimal, instrument: Instrument) -> str:
    """A quote volume: digits of price times digits of quantity."""
    return f"{value:.{instrument.price_precision + instrument.quantity_precision}f}"
