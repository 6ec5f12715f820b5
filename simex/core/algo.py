"""Conditional (algo) orders as the exchange holds them: data, and the book of one account's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from simex.core.api import Side
from simex.core.instrument import Instrument
from simex.core.order import Order, Origin, PositionSide

AlgoType = Literal["STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"]
LIMIT_TYPES = frozenset({"STOP", "TAKE_PROFIT"})
TAKE_PROFITS = frozenset({"TAKE_PROFIT", "TAKE_PROFIT_MARKET"})
TRAILING = "TRAILING_STOP_MARKET"
GTE = "GTE_GTC"
"""Time in force of what lives no longer than its position."""
UNDECIDED = frozenset({"NEW", "TRIGGERING", "TRIGGERED"})
MAX_CLOSED_ALGOS = 100_000
"""History kept per account; the oldest goes first."""


@dataclass(frozen=True, slots=True)
class AlgoSpec:
    """A conditional order as it was asked for, checked."""

    instrument: Instrument
    side: Side
    type: AlgoType
    tif: str
    position_side: PositionSide
    qty_lots: int
    """0 with `close_position`."""
    price_ticks: int
    """Limit price of STOP and TAKE_PROFIT; 0 for the others and before a price match has looked at the book."""
    price_match: str
    trigger: Decimal
    """0 for a trailing stop. It need not lie on the tick."""
    working_type: str
    close_position: bool
    price_protect: bool
    reduce_only: bool
    stp: str
    good_till_ms: int
    client_id: str | None
    activation: Decimal | None
    callback_rate: Decimal | None
    """Percent. Both only of a trailing stop; without an activation price it becomes active at the present one."""


@dataclass(slots=True, eq=False)
class AlgoOrder:
    """A conditional order. NEW, then TRIGGERING, TRIGGERED, FINISHED; or CANCELED, EXPIRED, REJECTED."""

    account: str
    algo_id: int
    client_id: str
    spec: AlgoSpec
    created_ms: int
    update_ms: int
    status: str = "NEW"
    is_active: bool = False
    """A trailing stop whose activation price was reached."""
    extreme: Decimal | None = None
    """Lowest (BUY) or highest (SELL) working price since a trailing stop became active."""
    trigger_ms: int = 0
    order: Order | None = None
    """What the trigger placed."""
    reject_reason: str = ""

    @property
    def symbol(self) -> str:
        return self.spec.instrument.symbol

    @property
    def filled_lots(self) -> int:
        return 0 if self.order is None else self.order.filled_lots

    @property
    def rises(self) -> bool:
        """Does it trigger when the price rises to its trigger, or when it falls to it?"""
        return (self.spec.side == "BUY") != (self.spec.type in TAKE_PROFITS)

    @property
    def is_bound(self) -> bool:
        """Does it end with its position?"""
        return self.spec.tif == GTE

    def is_reached(self, price: Decimal) -> bool:
        """Has the working price reached the trigger? A trailing stop follows the price in `follow`."""
        trigger = self._trailing_trigger() if self.spec.type == TRAILING else self.spec.trigger
        if trigger is None:
            return False
        return price >= trigger if self.rises else price <= trigger

    def follow(self, price: Decimal) -> bool:
        """Trailing stop: activate and follow the extreme; True if it became active by this price."""
        spec = self.spec
        became = False
        if not self.is_active:
            if spec.activation is not None and (price > spec.activation if self.rises else price < spec.activation):
                return False
            self.is_active = became = True
        extreme = price if self.extreme is None else self.extreme
        self.extreme = min(extreme, price) if self.rises else max(extreme, price)
        return became

    def origin(self) -> Origin:
        """What the triggered order says of it."""
        spec = self.spec
        return Origin(
            algo_id=self.algo_id,
            type=spec.type,
            stop_price=spec.trigger,
            working_type=spec.working_type,
            price_protect=spec.price_protect,
            close_position=spec.close_position,
            activation_price=spec.activation,
            callback_rate=spec.callback_rate,
        )

    def _trailing_trigger(self) -> Decimal | None:
        if self.extreme is None or self.spec.callback_rate is None:
            return None
        share = self.spec.callback_rate / 100
        return self.extreme * (1 + share if self.rises else 1 - share)


@dataclass(slots=True)
class AlgoBook:
    """One account's conditional orders: those still waiting (NEW, TRIGGERING) and those decided, by id."""

    waiting: dict[int, AlgoOrder] = field(default_factory=dict)
    decided: dict[int, AlgoOrder] = field(default_factory=dict)
    by_client_id: dict[str, AlgoOrder] = field(default_factory=dict)
    """The newest of each client id."""

    def add(self, algo: AlgoOrder) -> None:
        self.waiting[algo.algo_id] = algo
        self.by_client_id[algo.client_id] = algo

    def decide(self, algo: AlgoOrder) -> None:
        """It waits no longer; past `MAX_CLOSED_ALGOS` the oldest is forgotten."""
        del self.waiting[algo.algo_id]
        self.decided[algo.algo_id] = algo
        if len(self.decided) > MAX_CLOSED_ALGOS:
            oldest = self.decided.pop(next(iter(self.decided)))
            if self.by_client_id.get(oldest.client_id) is oldest:
                del self.by_client_id[oldest.client_id]

    def is_waiting(self, client_id: str) -> bool:
        algo = self.by_client_id.get(client_id)
        return algo is not None and algo.algo_id in self.waiting

    def on(self, symbol: str) -> list[AlgoOrder]:
        """Waiting orders of a symbol, oldest first."""
        return [algo for algo in self.waiting.values() if algo.symbol == symbol]

    def all(self) -> list[AlgoOrder]:
        return [*self.decided.values(), *self.waiting.values()]

    def restore(self, algos: Iterable[AlgoOrder]) -> None:
        """Into an empty book: what it held, oldest first."""
        for algo in algos:
            waits = algo.status in ("NEW", "TRIGGERING")
            (self.waiting if waits else self.decided)[algo.algo_id] = algo
            self.by_client_id[algo.client_id] = algo
