"""What the terminal view shows: plain values read from Redis, judged by the clocks they were read with. Pure."""

from __future__ import annotations

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

    def add(self, event: Event) -> None:
        self.last_seq = event.seq
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
    """Realised plus unrealised plus funding less fees, in the quote asset (fees in other assets are left out)."""
    fees = sum((Decimal(value) for asset, value in ledger.fees.items() if asset.startswith("USD")), Decimal(0))
    return Decimal(ledger.realised) + Decimal(ledger.unrealised or 0) + Decimal(ledger.funding) - fees


def spread(book: BookSlice) -> tuple[Decimal, Decimal, Decimal] | None:
    """(bid, ask, spread in basis points of the middle), or None where a side is empty."""
    if not book.bids or not book.asks:
        return None
    bid, ask = Decimal(book.bids[0][0]), Decimal(book.asks[0][0])
    middle = (bid + ask) / 2
    return bid, ask, (ask - bid) / middle * 10_000 if middle else Decimal(0)
