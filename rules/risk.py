"""Risk checks before an order leaves: pure, by `Decimal`, each one Approved (None) or Refused with a code.

What is unknown or in flight counts at its worst: an entry as filled, an exit as not filled yet still claiming its part
of the position. Closes are bound by none of the limits (design law 3).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from rules.instrument import text

ZERO = Decimal(0)

RISK_STATES: tuple[str, ...] = ("running", "reduce_only", "cancel_only", "halted")
_STRICTNESS = {state: rank for rank, state in enumerate(RISK_STATES)}

INTERCEPTOR_TAG = "interceptor"  # a brain's quick line: its reduce-only closes carry this tag and pass in every state

Side = Literal["BUY", "SELL"]
Leg = Literal["BOTH", "LONG", "SHORT"]
Role = Literal["entry", "close"]


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a check failed: a code of `ipc.errors`, a sentence (what, limit, next step), and figures."""

    code: str
    message: str
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limits:
    """Per account. Notionals in the quote currency; None is no limit. `price_band` is a fraction of the mark price."""

    max_order_notional: Decimal | None = Decimal(20_000)
    max_position_notional: Decimal | None = Decimal(50_000)
    price_band: Decimal | None = Decimal("0.02")
    orders_per_s: int = 25
    orders_burst: int = 30


def strictest(*states: str) -> str:
    """The state that binds most. Raises KeyError on an unknown word."""
    return max(states, key=_STRICTNESS.__getitem__)


def is_stricter(state: str, than: str) -> bool:
    return _STRICTNESS[state] > _STRICTNESS[than]


def check_state(state: str, role: Role, *, privileged: bool) -> Refused | None:
    """May an order of this role leave in this state? `privileged`: the interceptor's close, or a person's flatten."""
    if state == "running" or (privileged and role == "close"):
        return None
    if state == "reduce_only":
        return None if role == "close" else Refused("risk.reduce_only", "entries are stopped; closes pass")
    if state == "cancel_only":
        return Refused("risk.cancel_only", "only cancels pass; a person may flatten")
    return Refused("risk.halted", "halted: brains may only read until a person resumes")


@dataclass(frozen=True, slots=True)
class Standing:
    """One order not closed yet, as risk sees it. `remaining` may still trade; `close` orders only shrink."""

    side: Side
    leg: Leg
    close: bool
    remaining: Decimal


def worst_position(qty: Decimal, side: Side, leg: Leg, standing: Iterable[Standing], adding: Decimal) -> Decimal:
    """How large the position could become towards `side` (0: still on the other one) if `adding` and every standing
    entry of that side fill and no exit does. `qty` is signed."""
    pending = adding
    for order in standing:
        if not order.close and order.side == side and order.leg == leg:
            pending += order.remaining
    worst = qty + pending if side == "BUY" else pending - qty
    return worst if worst > 0 else ZERO


def closable(qty: Decimal, side: Side, leg: Leg, standing: Iterable[Standing]) -> Decimal:
    """How much of a position `side` may still shrink: the position less what other exits claim. 0: nothing."""
    if (side == "SELL") != (qty > 0) or qty == 0:
        return ZERO
    claimed = ZERO
    for order in standing:
        if order.close and order.side == side and order.leg == leg:
            claimed += order.remaining
    free = abs(qty) - claimed
    return free if free > 0 else ZERO


def check_order_notional(limits: Limits, qty: Decimal, price: Decimal) -> Refused | None:
    limit = limits.max_order_notional
    if limit is None or qty * price <= limit:
        return None
    notional = text(qty * price)
    return Refused(
        "risk.max_notional",
        f"the order's notional {notional} is above the limit {text(limit)}; ask for less",
        {"notional": notional, "limit": text(limit)},
    )


def check_position_notional(limits: Limits, worst_qty: Decimal, mark: Decimal) -> Refused | None:
    """`worst_qty` includes the order itself."""
    limit = limits.max_position_notional
    if limit is None or worst_qty * mark <= limit:
        return None
    notional = text(worst_qty * mark)
    return Refused(
        "risk.max_position",
        f"the position could reach a notional of {notional}, the limit is {text(limit)}; open orders count as filled",
        {"notional": notional, "limit": text(limit)},
    )


def check_price_band(limits: Limits, side: Side, price: Decimal, mark: Decimal) -> Refused | None:
    """One-sided: only the losing side of the mark price is bounded (a BUY far above it, a SELL far below)."""
    band = limits.price_band
    if band is None:
        return None
    bound = mark * (1 + band) if side == "BUY" else mark * (1 - band)
    if (price <= bound) if side == "BUY" else (price >= bound):
        return None
    word = "above" if side == "BUY" else "below"
    return Refused(
        "risk.price_band",
        f"{side} at {text(price)} is more than {text(band * 100)} % {word} the mark price {text(mark)}",
        {"price": text(price), "bound": text(bound), "mark": text(mark)},
    )


class RateBucket:
    """A token bucket on CLOCK_BOOTTIME: `rate` a second, at most `burst` at once. Starts full.

    It lends as far as the asker is patient: the rate governor lets what was lent wait its turn.
    """

    __slots__ = ("_burst_ns", "_cost_ns", "_free_at_ns")

    def __init__(self, rate: int, burst: int) -> None:
        if rate < 1 or burst < 1:
            raise ValueError(f"rate {rate} and burst {burst} must be at least 1")
        self._cost_ns = 1_000_000_000 // rate
        self._burst_ns = self._cost_ns * (burst - 1)
        self._free_at_ns = 0

    def take(self, boot_ns: int, patience_ns: int = 0) -> int:
        """0 when granted within `patience_ns`, else how many ns a token is away (nothing is taken then)."""
        start = self._free_at_ns if self._free_at_ns > boot_ns else boot_ns
        wait = start - boot_ns - self._burst_ns
        if wait > patience_ns:
            return wait
        self._free_at_ns = start + self._cost_ns
        return 0


def check_rate(bucket: RateBucket, limits: Limits, boot_ns: int, patience_ns: int = 0) -> Refused | None:
    """`patience_ns`: how long the order may wait before its deadline; what could not leave by then is refused now."""
    wait_ns = bucket.take(boot_ns, patience_ns)
    if wait_ns == 0:
        return None
    wait_ms = -(-wait_ns // 1_000_000)
    return Refused(
        "risk.order_rate",
        f"more than {limits.orders_per_s} entries a second (bursts of {limits.orders_burst}); wait {wait_ms} ms",
        {"wait_ms": wait_ms},
    )
