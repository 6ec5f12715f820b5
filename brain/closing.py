"""Closing a position until it is flat: what the interceptor and a strategy's own `close` start. Pure.

A closing is latched: once begun it goes on until the position is flat, decided anew each time from the real position.
First a marketable limit (IOC) with bounded slippage; what that leaves goes as MARKET at once; a refused close is tried
again after a back-off of at most `MAX_BACKOFF_NS`. Closes are always reduce-only, so the exchange itself bounds them.

No second exit leaves within `SECOND_EXIT_NS` while one is in flight or unknown; after that one more may, then none
until one of the two is resolved (design section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from brain.interceptor import Prices
from brain.records import Key, Record
from rules.instrument import Instrument, round_price, round_qty

SECOND_EXIT_NS = 2_000_000_000
FIRST_BACKOFF_NS = 50_000_000
MAX_BACKOFF_NS = 1_000_000_000
_BPS = Decimal(10_000)

Side = Literal["BUY", "SELL"]


class Closing(Struct, frozen=True, kw_only=True):
    """One symbol being closed; kept in the checkpoint. `last` is the newest exit while its end is not known yet;
    `market` that the limited close has had its chance."""

    tag: str
    since_ms: int
    slippage_bps: Decimal
    market: bool = False
    failures: int = 0
    not_before_boot_ns: int = 0
    last: Key | None = None


class CloseOrder(NamedTuple):
    """What to send. `price` None is MARKET."""

    side: Side
    qty: Decimal
    price: Decimal | None


class Dust(NamedTuple):
    """What is left is less than the exchange's smallest step: nobody can close it."""

    qty: Decimal


def next_close(
    closing: Closing, qty: Decimal, prices: Prices, instrument: Instrument, exits: Sequence[Record], boot_ns: int
) -> CloseOrder | Dust | None:
    """What to do now for a position of `qty` (signed, not 0); None is wait. `exits` are the brain's exits on the
    symbol that are neither closed nor resting (resting ones are cancelled and never waited for)."""
    if not may_exit(exits, boot_ns):
        return None
    wait_ns = closing.not_before_boot_ns - boot_ns
    if 0 < wait_ns <= MAX_BACKOFF_NS:  # longer can only be another boot's clock
        return None
    side: Side = "SELL" if qty > 0 else "BUY"
    market = closing.market or prices.best is None
    amount = _amount(instrument, abs(qty), market)
    if amount <= 0:
        return Dust(qty)
    if market or prices.best is None:
        return CloseOrder(side, amount, None)
    return CloseOrder(side, amount, bounded_price(instrument, prices.best, side, closing.slippage_bps))


def may_exit(exits: Sequence[Record], boot_ns: int) -> bool:
    """May another exit leave beside those in flight or unknown?"""
    if not exits:
        return True
    if len(exits) > 1:
        return False
    asked_ns = exits[0].place.asked_boot_ns or 0
    return not 0 <= boot_ns - asked_ns < SECOND_EXIT_NS


def bounded_price(instrument: Instrument, best: tuple[Decimal, Decimal], side: Side, slippage_bps: Decimal) -> Decimal:
    """A limit that reaches the market and gives at most `slippage_bps` beyond the best price."""
    if side == "BUY":
        return round_price(instrument, best[1] * (1 + slippage_bps / _BPS), "BUY")
    return round_price(instrument, best[0] * (1 - slippage_bps / _BPS), "SELL")


def ended(closing: Closing, record: Record, boot_ns: int) -> Closing:
    """The newest exit came to its end: what that means for the next."""
    limited = record.place.type == "LIMIT"
    if record.state == "rejected" or (not limited and Decimal(record.filled_qty) == 0):
        failures = closing.failures + 1
        wait_ns = min(FIRST_BACKOFF_NS << min(failures - 1, 8), MAX_BACKOFF_NS)
        return replace(closing, last=None, market=True, failures=failures, not_before_boot_ns=boot_ns + wait_ns)
    return replace(closing, last=None, market=True, failures=0, not_before_boot_ns=0)


def _amount(instrument: Instrument, qty: Decimal, market: bool) -> Decimal:
    """All of it, or as much as one order may carry."""
    most = instrument.market_max_qty if market else instrument.max_qty
    return round_qty(instrument, min(qty, most) if most > 0 else qty, market=market)
