"""Reconciliation: when to read the account, what to do with what was found, when the gateway may trust itself. Pure.

A *chain* is a reading and the further ones its doubts need; one runs at a time. Chains start
  - when the private stream is up (a *gap* chain: full, never given up, `proven` at its end),
  - every 60 s for positions and open orders, every 5 min in full,
  - for one symbol when an unknown ended there or a statement stayed unexplained.
What a chain finds is merged or adopted with a `reconcile.difference` each, and ends in `reconcile.done`.
If a symbol never comes to rest, its entries are held back (at most 2 s); after `MAX_REREADS` the chain gives it up: at
the start its entries stay refused (`unproven`), and it is read again 5 s later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from gateway.core.account_books import Books
from gateway.core.account_news import AccountNews
from gateway.core.account_venue import AccountVenue
from gateway.core.effects import Report, Write
from gateway.core.inputs import Key, Now
from gateway.core.judge import Difference, Figures, Judge
from gateway.core.parts import Out
from gateway.core.ports import BrainsView, OrdersView
from gateway.core.reading import Gather, Plan, Reading
from gateway.core.signals import Holdback, KeyDoubt, OrdersRead, RestrictBrain
from gateway.core.statements import Statements
from gateway.core.trade_marks import TradeMarks

MS = 1_000_000
LIGHT_NS = 60_000 * MS
FULL_NS = 300_000 * MS
CONFIRM_WAIT_NS = 500 * MS
UNSETTLED_WAIT_NS = 200 * MS
HOLD_NS = 2_000 * MS
HOLD_AFTER = 3  # readings of a symbol that never rests, before its entries are held back
MAX_REREADS = 20
GIVE_UP_WAIT_NS = 5_000 * MS
STALL_NS = 90_000 * MS  # a reading that takes longer begins again, then after twice as long, up to
STALL_MAX_NS = 3_600_000 * MS  # (its requests may be waiting out a ban in the governor, and are not taken back)
WANT_GAP_NS = 1_000 * MS  # between two chains somebody asks for on one symbol
TOLD_KEPT = 10_000  # differences of one order or trade that are remembered as told; beyond it the oldest go
ALL_ORDERS_FROM = 40  # symbols from which one request for all open orders is cheaper


@dataclass(slots=True)
class _Chain:
    cause: str
    gap: bool
    began_ns: int
    differences: int = 0
    rereads: int = 0
    mute: str | None = None
    again_ns: int | None = None
    again: tuple[str, ...] = ()
    unsettled: set[str] = field(default_factory=set)


class Reconciler:
    """`proven`: a gap chain has ended since the stream came up. `baseline`: one has in this epoch."""

    def __init__(
        self,
        symbols: list[str],
        venue: AccountVenue,
        books: Books,
        marks: TradeMarks,
        orders: OrdersView,
        brains: BrainsView,
        news: AccountNews,
        statements: Statements,
        tick_of: Callable[[str], Decimal],
        server_ms: Callable[[Now], int],
        draw: Callable[[], float],
    ) -> None:
        self.up = False
        self.proven = False
        self.baseline = False
        self.unproven: dict[str, str] = {}
        self.missing: set[str] = set()  # symbols the exchange does not know
        self.busy: set[str] = set()  # symbols with a position or an open order, of the whole account, when last read
        self.counters = {"readings": 0, "differences": 0, "given_up": 0, "stalled": 0}
        self._symbols = symbols
        self._venue = venue
        self._books = books
        self._marks = marks
        self._orders = orders
        self._brains = brains
        self._news = news
        self._statements = statements
        self._server_ms = server_ms
        self._draw = draw
        self._judge = Judge(venue, books, orders, marks, tick_of)
        self._up_ms = 0
        self._gather: Gather | None = None
        self._reading: Reading | None = None  # complete; its figures are compared with the next tick
        self._chain: _Chain | None = None
        self._number = 0
        self._light_ns: int | None = None
        self._full_ns: int | None = None
        self._wanted: dict[str, tuple[str, int]] = {}  # symbol ("" for all) -> cause, not before
        self._held: dict[str, int] = {}
        self._merged: set[tuple[str, int]] = set()
        self._told: dict[tuple[str, str, str], None] = {}
        self._asked_ns: dict[str, int] = {}  # symbol ("" for all) -> when a chain somebody wanted last began
        self._stall_ns = STALL_NS

    # -- the stream

    def private_up(self, now: Now, cause: str) -> Out:
        self.up = True
        self._up_ms = self._server_ms(now)
        if self._marks.since_ms is None:
            self._marks.since_ms = self._up_ms
        self._abandon()
        return self._begin(now, cause, tuple(self._symbols), full=True, gap=True)

    def private_down(self) -> Out:
        self.up = False
        self.proven = False
        self._abandon()
        out = self._release(self._held)
        self._wanted.clear()  # the chain of the return reads everything
        return out

    def heard_since(self, at_ms: int) -> bool:
        """The stream is there, and was when this happened (exchange time)."""
        return self.up and at_ms > self._up_ms

    def want(self, now: Now, cause: str, symbol: str | None, wait_ns: int = 0) -> None:
        """Ask for a chain; several wishes for one symbol are one. Bounded by the number of symbols."""
        if self.up and (symbol is None or symbol in self._symbols):
            at = now.boot_ns + wait_ns
            if (last := self._asked_ns.get(symbol or "")) is not None:
                at = max(at, last + WANT_GAP_NS)
            held = self._wanted.get(symbol or "")
            self._wanted[symbol or ""] = (cause, min(at, held[1]) if held else at)

    def merged(self, symbol: str, trade_id: int) -> bool:
        """A fill that one of our own readings told: no news of the stream. Asked once a fill."""
        if (symbol, trade_id) in self._merged:
            self._merged.discard((symbol, trade_id))
            return True
        return False

    # -- answers and time

    def on_reply(self, now: Now, key: Key, status: int, body: bytes) -> Out:
        gather = self._gather
        if gather is None or key[2] != self._number:
            return []
        return [*gather.on_reply(now, key, status, body), *self._after_gather(now, gather)]

    def on_failed(self, now: Now, key: Key, reason: str) -> Out:
        gather = self._gather
        if gather is None or key[2] != self._number:
            return []
        return [*gather.on_failed(now, key, reason), *self._after_gather(now, gather)]

    def on_tick(self, now: Now) -> Out:
        out: Out = self._release([symbol for symbol, until in self._held.items() if until <= now.boot_ns])
        if self._reading is not None:
            out += self._compare(now, self._reading)
        gather, chain = self._gather, self._chain
        if gather is not None and chain is not None and now.boot_ns - gather.reading.boot_ns > self._stall_ns:
            self._stall_ns = min(STALL_MAX_NS, self._stall_ns * 2)
            self.counters["stalled"] += 1
            out.append(Report("warning", "account reading stalled; it begins again", {"cause": chain.cause}))
            out += self._read(now, gather.plan)
        elif gather is not None:
            out += gather.on_tick(now)
        elif chain is not None and chain.again_ns is not None and chain.again_ns <= now.boot_ns:
            out += self._again(now, chain)
        if self._chain is None and self.up:
            out += self._next_chain(now)
        return out

    def next_deadline_boot_ns(self) -> int | None:
        times: list[int | None] = [*self._held.values()]
        if self._reading is not None:
            times.append(self._reading.boot_ns)  # at once
        if self._gather is not None:
            times += [self._gather.next_deadline_boot_ns(), self._gather.reading.boot_ns + self._stall_ns]
        if self._chain is not None:
            times.append(self._chain.again_ns)
        elif self.up:
            times += [self._light_ns, self._full_ns, *(at for _, at in self._wanted.values())]
        return min((at for at in times if at is not None), default=None)

    # -- chains

    def _next_chain(self, now: Now) -> Out:
        due = {symbol: cause for symbol, (cause, at) in self._wanted.items() if at <= now.boot_ns}
        full = self._full_ns is not None and self._full_ns <= now.boot_ns
        if full or "" in due:
            cause = due.get("", "every 5 min")
            self._wanted.clear()
            self._asked_ns[""] = now.boot_ns
            return self._begin(now, cause, tuple(self._symbols), full=True, gap=False)
        if due:
            for symbol in due:
                del self._wanted[symbol]
                self._asked_ns[symbol] = now.boot_ns
            return self._begin(now, "; ".join(sorted(set(due.values()))), tuple(due), full=False, gap=False)
        if self._light_ns is not None and self._light_ns <= now.boot_ns:
            self._light_ns = now.boot_ns + self._jitter(LIGHT_NS)
            self._chain = _Chain("every 60 s", False, now.boot_ns)
            return self._read(now, Plan("every 60 s", tuple(self._symbols), False, False, self._many(self._symbols)))
        return []

    def _begin(self, now: Now, cause: str, symbols: tuple[str, ...], *, full: bool, gap: bool) -> Out:
        self._chain = _Chain(cause, gap, now.boot_ns)
        if full:
            self._full_ns = now.boot_ns + self._jitter(FULL_NS)
            self._light_ns = now.boot_ns + self._jitter(LIGHT_NS)
        return self._read(now, Plan(cause, symbols, True, full, full or self._many(symbols), gap, gap))

    def _read(self, now: Now, plan: Plan) -> Out:
        self._number += 1
        self.counters["readings"] += 1
        self._gather = Gather(
            self._number,
            plan,
            self._venue,
            self._books,
            self._orders,
            self._marks,
            self._server_ms,
            self._draw,
        )
        return self._gather.start(now)

    def _again(self, now: Now, chain: _Chain) -> Out:
        chain.again_ns = None
        chain.rereads += 1
        wallet = "" in chain.again  # every symbol's trades may explain it
        symbols = tuple(self._symbols) if wallet else chain.again
        plan = Plan(chain.cause, symbols, True, wallet, self._many(symbols), patient=chain.gap)
        return self._read(now, plan)

    def _abandon(self) -> None:
        self._gather = self._reading = self._chain = None
        self._judge.clear()
        self._merged.clear()

    # -- a reading is complete

    def _after_gather(self, now: Now, gather: Gather) -> Out:
        if gather.failed is not None:
            self._gather, self._chain = None, None
            self._judge.clear()
            self.counters["given_up"] += 1
            self._light_ns = now.boot_ns + self._jitter(LIGHT_NS)
            return [
                *self._release(list(self._held)),
                Report("error", "account reading given up until the next one is due", {"why": gather.failed}),
            ]
        if not gather.done or self._chain is None:
            return []
        self._gather, self._reading = None, gather.reading
        self._stall_ns = STALL_NS
        self.missing |= gather.reading.missing
        if gather.plan.everything:
            self.busy = {row.symbol for row in gather.reading.positions} | set(gather.reading.orders)
        self._judge.begin()
        facts = self._judge.facts(now, gather.reading, up_ms=self._up_ms, first=not self.baseline)
        self._merged |= facts.merged
        for order in facts.orders:
            if order.fill is not None:  # booked now, or known to the order core already
                self._marks.see(order.symbol, order.fill)
        out: Out = [OrdersRead(tuple(facts.orders))] if facts.orders else []
        return [*out, *self._tell(now, facts.differences)]

    def _compare(self, now: Now, reading: Reading) -> Out:
        chain = self._chain
        self._reading = None
        if chain is None:
            return []
        self._merged.clear()
        held = len(self._statements)
        figures = self._judge.figures(now, reading, rereads=chain.rereads, statements_held=held)
        self._judge.end(reading, figures.unsettled, figures.wallet_unsettled)
        out = self._tell(now, figures.differences)
        for symbol, legs in sorted(figures.changed.items()):
            out += self._news.legs_adopted(now, symbol, legs)
        for asset, wallet, change in figures.wallets:
            out += self._news.balance(now, asset, wallet, change, "reconcile")
        if reading.plan.wallet:
            out.append(self._news.wallet_dirty())
        for symbol in figures.agreed:
            self.unproven.pop(symbol, None)
        return [*out, *self._go_on(now, chain, reading, figures)]

    def _go_on(self, now: Now, chain: _Chain, reading: Reading, figures: Figures) -> Out:
        suspects = self._judge.suspected()
        doubt = suspects | figures.unsettled | ({""} if figures.wallet_unsettled else set())
        if not doubt:
            return self._end(now, chain)
        if chain.rereads >= MAX_REREADS:
            return self._give_up(now, chain, doubt)
        chain.again = tuple(sorted(doubt))
        chain.again_ns = now.boot_ns + (CONFIRM_WAIT_NS if suspects else UNSETTLED_WAIT_NS)
        out: Out = []
        if chain.rereads + 1 >= HOLD_AFTER and self.proven:
            for symbol in sorted(figures.unsettled):
                if symbol not in self._held and symbol not in chain.unsettled:
                    chain.unsettled.add(symbol)  # once a chain: entries are never held for longer than 2 s
                    self._held[symbol] = now.boot_ns + HOLD_NS
                    out.append(Holdback(symbol, True))
        return out

    def _give_up(self, now: Now, chain: _Chain, doubt: Iterable[str]) -> Out:
        self.counters["given_up"] += 1
        symbols = sorted(doubt)
        for symbol in symbols:
            if symbol and chain.gap:
                self.unproven[symbol] = "its position could not be compared with the exchange's yet"
        self._judge.clear()
        out = self._end(now, chain)
        for symbol in symbols:
            self.want(now, "what could not be compared", symbol or None, GIVE_UP_WAIT_NS)
        return [*out, Report("warning", "reconciliation found no quiet moment", {"symbols": symbols})]

    def _end(self, now: Now, chain: _Chain) -> Out:
        self._chain = None
        took_ms = (now.boot_ns - chain.began_ns) // MS
        data = {"cause": chain.cause, "differences": chain.differences, "took_ms": took_ms}
        out: Out = self._release(list(self._held))
        out += [self._news.events.add(now, "reconcile.done", data), Write(self._marks.row())]
        if chain.gap:
            self.proven = self.baseline = True
        if chain.mute is not None:
            out.append(KeyDoubt(chain.mute, mute=True))
        return out

    # -- telling

    def _tell(self, now: Now, differences: Iterable[Difference]) -> Out:
        out: Out = []
        for found in differences:
            if found.name and not self._first_time((found.kind, found.symbol or "", found.name)):
                continue
            self.counters["differences"] += 1
            brain = self._brains.by_symbol(found.symbol) if found.symbol else None
            data = {
                "kind": found.kind,
                "ours": found.ours,
                "theirs": found.theirs,
                "action": found.action,
                "evidence": found.evidence,
            }
            name = brain.name if brain else None
            out.append(self._news.events.add(now, "reconcile.difference", data, symbol=found.symbol, brain=name))
            out.append(Report("warning", "reconcile.difference", {"symbol": found.symbol, **data}))
            if found.restrict and brain is not None:
                reason = f"{found.symbol}: position was {found.ours}, the exchange says {found.theirs}"
                out.append(RestrictBrain(brain.name, "reduce_only", reason))
            if self._chain is not None:
                self._chain.differences += 1
                if found.mute and self._chain.mute is None:
                    self._chain.mute = f"{found.kind} on {found.symbol}: a reading shows what the stream did not"
        return out

    def _first_time(self, key: tuple[str, str, str]) -> bool:
        """What could not be mended (an order closed here and open there) is not told with every reading."""
        if key in self._told:
            return False
        self._told[key] = None
        if len(self._told) > TOLD_KEPT:
            self._told.pop(next(iter(self._told)))
        return True

    def _release(self, symbols: Iterable[str]) -> Out:
        out: Out = []
        for symbol in list(symbols):
            if self._held.pop(symbol, None) is not None:
                out.append(Holdback(symbol, False))
        return out

    def _jitter(self, interval_ns: int) -> int:
        return int(interval_ns * (0.95 + self._draw() / 10))

    @staticmethod
    def _many(symbols: Iterable[str]) -> bool:
        return len(tuple(symbols)) >= ALL_ORDERS_FROM
