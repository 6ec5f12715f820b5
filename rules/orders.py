"""The life of one order attempt: ONE transition table as data, and the tally of its fills.

Whatever tells us about an order (reply, stream event, query, reconciliation) is first named by one of `INPUTS`, then
goes through `TABLE`. Evidence may come in any order, twice, or late: the end state is the same, because every
transition is a join (a state is never left for a weaker one). What the exchange shows of a living or traded order
outranks a refusal: if both are ever claimed, the order exists.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import msgspec

ZERO = Decimal(0)

STATES: tuple[str, ...] = (
    "queued", "sent", "unknown", "rejected", "open", "partially_filled", "cancelled", "expired", "filled",
)  # fmt: skip
CLOSED: frozenset[str] = frozenset({"rejected", "cancelled", "expired", "filled"})
ACCEPTED: frozenset[str] = frozenset({"open", "partially_filled", "cancelled", "expired", "filled"})

INPUTS: dict[str, str] = {
    "released": "its slot came: it is leaving for the exchange",
    "silence": "no answer, or one that proves nothing",
    "refused": "the exchange refused it, or it certainly never arrived",
    "working": "the exchange holds it",
    "partial": "some of its quantity traded",
    "full": "all of its quantity traded",
    "cancelled": "ended by a cancel (of a queued one: nothing left)",
    "expired": "ended by the exchange, or by its own deadline while queued",
}

_TABLE_TEXT = """
state             released          silence           refused           working           partial           full    cancelled  expired
queued            sent              unknown           rejected          open              partially_filled  filled  cancelled  expired
sent              sent              unknown           rejected          open              partially_filled  filled  cancelled  expired
unknown           unknown           unknown           rejected          open              partially_filled  filled  cancelled  expired
rejected          rejected          rejected          rejected          open              partially_filled  filled  cancelled  expired
open              open              open              open              open              partially_filled  filled  cancelled  expired
partially_filled  partially_filled  partially_filled  partially_filled  partially_filled  partially_filled  filled  cancelled  expired
cancelled         cancelled         cancelled         cancelled         cancelled         cancelled         filled  cancelled  expired
expired           expired           expired           expired           expired           expired           filled  expired    expired
filled            filled            filled            filled            filled            filled            filled  filled     filled
"""  # noqa: E501


def _parse(text: str) -> dict[str, dict[str, str]]:
    lines = [line.split() for line in text.strip().splitlines()]
    inputs = lines[0][1:]
    return {cells[0]: dict(zip(inputs, cells[1:], strict=True)) for cells in lines[1:]}


TABLE: dict[str, dict[str, str]] = _parse(_TABLE_TEXT)


def advance(state: str, input_: str) -> str:
    """The state after one input. Raises KeyError on a word that is not in `STATES` or `INPUTS`."""
    return TABLE[state][input_]


def mermaid() -> str:
    """The table as a Mermaid state diagram; transitions that change nothing are left out."""
    lines = ["stateDiagram-v2", "    [*] --> queued"]
    for state, row in TABLE.items():
        edges: dict[str, list[str]] = {}
        for input_, after in row.items():
            if after != state:
                edges.setdefault(after, []).append(input_)
        lines += [f"    {state} --> {after}: {', '.join(inputs)}" for after, inputs in edges.items()]
    lines += [f"    {state} --> [*]" for state in STATES if state in CLOSED]
    return "\n".join(lines) + "\n"


class Trade(NamedTuple):
    trade_id: int
    qty: Decimal
    price: Decimal


class Change(NamedTuple):
    """What one piece of evidence did. `new_trade`: it was counted (a repeat is not); `over`: more than the quantity."""

    was: str
    state: str
    new_trade: bool
    over: bool


class Progress(msgspec.Struct, omit_defaults=True):
    """State and fills of one attempt. `traded` sums distinct trade ids; `reported` is the exchange's largest figure.

    An end (`ended`) closes the order only once the trades up to `reported` are known: an order never counts as closed
    with fills still to come, and `filled` never shrinks nor exceeds `qty`.
    """

    qty: Decimal
    state: str = "queued"
    traded: Decimal = ZERO
    quote: Decimal = ZERO
    reported: Decimal = ZERO
    ended: str | None = None
    trades: set[int] = msgspec.field(default_factory=set)

    @property
    def filled(self) -> Decimal:
        return self.traded if self.traded <= self.qty else self.qty

    @property
    def remaining(self) -> Decimal:
        """Quantity that may still trade or is reported traded but not yet known by trade; 0 once closed."""
        return ZERO if self.state in CLOSED else self.qty - self.filled

    @property
    def missing(self) -> Decimal:
        """Reported as traded, but no trade is known for it yet."""
        lacking = min(self.reported, self.qty) - self.traded
        return lacking if lacking > 0 else ZERO

    @property
    def avg_price(self) -> Decimal | None:
        return self.quote / self.traded if self.traded else None

    @property
    def closed(self) -> bool:
        return self.state in CLOSED

    def apply(self, input_: str, cumulative: Decimal = ZERO, trade: Trade | None = None) -> Change:
        """One piece of evidence. `cumulative` is the filled quantity it states (0: none), `trade` its own fill."""
        was = self.state
        new_trade = False
        if trade is not None and trade.trade_id not in self.trades:
            new_trade = True
            self.trades.add(trade.trade_id)
            self.traded += trade.qty
            self.quote += trade.qty * trade.price
        if cumulative > self.reported:
            self.reported = cumulative
        if input_ in ("cancelled", "expired", "full"):
            self._end(input_)
        self._settle(input_)
        return Change(was, self.state, new_trade, self.traded > self.qty)

    def _end(self, input_: str) -> None:
        if input_ == "full":
            self.reported = max(self.reported, self.qty)
        elif self.ended != "expired":
            self.ended = input_

    def _settle(self, input_: str) -> None:
        state = self.state
        if input_ not in ("cancelled", "expired", "full", "partial"):
            state = advance(state, input_)
        elif state != "queued" or self.reported > 0:
            state = advance(state, "working")
        if self.traded >= self.qty:
            state = advance(state, "full")
        elif self.traded > 0:
            state = advance(state, "partial")
        if self.ended is not None and self.traded >= min(self.reported, self.qty):
            state = advance(state, self.ended)
        self.state = state
