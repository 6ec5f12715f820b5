"""What the terminal view shows: plain values read from Redis, judged by the clocks they were read with. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from ipc.events import Event
from ipc.slices import (
    BookSlice,
    GatewaySlice,
    Head,
    LedgerSlice,
    MarkSlice,
    Now,
    OrdersSlice,
    PositionSlice,
    WalletSlice,
    age_ns,
    judge,
)
from ipc.wire import OrderView

SLICE_AGE_NS = 1_000_000_000
FILLS_SHOWN = 8
_IN_FLIGHT = 1000  # orders whose answer is awaited; beyond, the oldest is forgotten
_SAMPLES = 500
_ANSWERS = frozenset({"order.accepted", "order.rejected", "order.filled", "order.expired", "order.cancelled"})


@dataclass(frozen=True)
class ProcessLine:
    """One process of the set-up, where a supervisor tells."""

    name: str
    state: str
    restarts: int = 0
    detail: str = ""


@dataclass(frozen=True)
class SymbolModel:
    book: BookSlice | None = None
    mark: MarkSlice | None = None
    position: PositionSlice | None = None
    orders: OrdersSlice | None = None


@dataclass
class Tally:
    """What the events have told since the view began. Bounded: counts, and the newest fills."""

    last_seq: int | None = None
    sent: int = 0
    rejected: int = 0
    unknown: int = 0
    fills: int = 0
    first_fill_ns: int | None = None
    newest: list[Event] = field(default_factory=list)
    _sent_ns: dict[str, int] = field(default_factory=dict)
    _answered_us: deque[float] = field(default_factory=lambda: deque(maxlen=_SAMPLES))

    def add(self, event: Event) -> None:
        self.last_seq = event.seq
        self._time(event)
        if event.subject == "order.sent":
            self.sent += 1
        elif event.subject in ("order.rejected", "intent.refused", "risk.refused"):
            self.rejected += 1
        elif event.subject == "order.unknown":
            self.unknown += 1
        elif event.subject == "order.filled":
            self.fills += 1
            self.first_fill_ns = self.first_fill_ns or event.at_ns
            self.newest = [event, *self.newest][:FILLS_SHOWN]

    def round_trip_us(self) -> dict[str, float] | None:
        """From an order's sending to the first word of the exchange about it, of the newest `_SAMPLES`."""
        if not self._answered_us:
            return None
        ranked = sorted(self._answered_us)
        last = len(ranked) - 1
        return {"p50": ranked[round(last * 0.5)], "p99": ranked[round(last * 0.99)], "n": float(len(ranked))}

    def _time(self, event: Event) -> None:
        name = str(event.data.get("client_order_id", ""))
        if event.subject == "order.sent":
            self._sent_ns[name] = event.at_ns
            if len(self._sent_ns) > _IN_FLIGHT:
                del self._sent_ns[next(iter(self._sent_ns))]
        elif event.subject in _ANSWERS and name in self._sent_ns:
            self._answered_us.append((event.at_ns - self._sent_ns.pop(name)) / 1000)


@dataclass(frozen=True)
class Model:
    """One picture. `problem` says why Redis cannot be read; then everything else is what was read last."""

    now: Now
    account: str
    symbols: Mapping[str, SymbolModel]
    ledgers: Sequence[LedgerSlice]
    tally: Tally
    gateway: GatewaySlice | None = None
    wallet: WalletSlice | None = None
    processes: Sequence[ProcessLine] = ()
    title: str = ""
    footer: str = ""
    problem: str = ""

    def freshness(self, head: Head | None) -> tuple[str, bool]:
        """Text for the age column, and whether a brain would decide on it."""
        if head is None:
            return "-", False
        epoch = self.gateway.epoch if self.gateway is not None else None
        verdict = judge(head, self.now, epoch=epoch, max_age_ns=SLICE_AGE_NS)
        age_ms = age_ns(head, self.now) / 1e6
        return (f"{age_ms:.0f} ms" if verdict.ok else f"{verdict.reason} ({age_ms:.0f} ms)"), verdict.ok

    @property
    def latency_us(self) -> dict[str, Mapping[str, float]]:
        """Hop to `{p50, p99, n}`: the gateway's own, and the exchange's answer as the events tell it."""
        held: dict[str, Mapping[str, float]] = dict(self.gateway.latency_us) if self.gateway is not None else {}
        answered = self.tally.round_trip_us()
        return {**held, "exchange_answer": answered} if answered is not None else held

    @property
    def open_orders(self) -> list[OrderView]:
        return [order for held in self.symbols.values() if held.orders is not None for order in held.orders.orders]

    @property
    def is_flat(self) -> bool:
        """By the slices: no open order, no leg of a position, nothing in a brain's ledger."""
        legs = [leg for held in self.symbols.values() if held.position is not None for leg in held.position.legs]
        quantities = [*(leg.qty for leg in legs), *(ledger.qty for ledger in self.ledgers)]
        return not self.open_orders and not any(map(Decimal, quantities))

    @property
    def is_live(self) -> bool:
        """Gateway ready, every book fresh, every brain of the ledgers alive."""
        books = [self.freshness(held.book)[1] for held in self.symbols.values()]
        return (
            self.gateway is not None
            and self.freshness(self.gateway)[1]
            and self.gateway.ready
            and all(books)
            and bool(self.ledgers)
            and all(ledger.alive for ledger in self.ledgers)
        )


def net_profit(ledger: LedgerSlice) -> Decimal:
    """With what an open position would bring at the mark price."""
    return booked_profit(ledger) + Decimal(ledger.unrealised or 0)


def booked_profit(ledger: LedgerSlice) -> Decimal:
    """What the wallet has had of it: realised plus funding less fees, in the quote asset (others are left out)."""
    return Decimal(ledger.realised) + Decimal(ledger.funding) - quote_fees(ledger)


def quote_fees(ledger: LedgerSlice) -> Decimal:
    return sum((Decimal(value) for asset, value in ledger.fees.items() if asset.startswith("USD")), Decimal(0))


def spread(book: BookSlice) -> tuple[Decimal, Decimal, Decimal] | None:
    """(bid, ask, spread in basis points of the middle), or None where a side is empty."""
    if not book.bids or not book.asks:
        return None
    bid, ask = Decimal(book.bids[0][0]), Decimal(book.asks[0][0])
    middle = (bid + ask) / 2
    return bid, ask, (ask - bid) / middle * 10_000 if middle else Decimal(0)
