"""What one reading of the account proves: pure judgement, no scheduling (that is `reconcile`).

Two halves, because what the first merges (orders, trades) changes the figures the second compares (legs, wallets):
`facts` runs when a reading is complete, `figures` after the orders it returned have gone through the order core.

A difference counts after a second reading at least `CONFIRM_NS` after the first, when nothing is in flight on the
symbol and the stream was silent about it meanwhile. Exceptions: after a gap of the stream (start, reconnect) trades
and orders from before its return are merged at once, for they could not have come otherwise; and what is in flight or
unknown may always be told what became of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from gateway.core.account_books import LEG_ORDER, Books, positions_by_leg
from gateway.core.account_venue import AccountVenue, OwnTrade
from gateway.core.inputs import Now
from gateway.core.ports import OrdersView
from gateway.core.reading import IN_FLIGHT, Reading
from gateway.core.trade_marks import TradeMarks
from gateway.core.venue_orders import OrderSnapshot, VenueOrder, VenuePosition
from rules.instrument import text
from rules.position import LegName

CONFIRM_NS = 400_000_000
STALE_REREADS = 5  # after so many the exchange's own time of a row is not believed to be stale any more

SuspectKey = tuple[str, str, str]  # kind, symbol ("" for wallets), what


@dataclass(frozen=True, slots=True)
class Difference:
    """`mute`: the stream was there and did not tell. `restrict`: the symbol's brain must not enter."""

    kind: str
    symbol: str | None
    ours: str
    theirs: str
    action: str
    evidence: dict[str, Any]
    mute: bool = False
    restrict: bool = False
    name: str = ""  # of the order or trade it is about: told once an epoch


@dataclass(slots=True)
class Facts:
    orders: list[VenueOrder] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    merged: set[tuple[str, int]] = field(default_factory=set)  # (symbol, trade id)
    told_by_fill: set[tuple[str, int]] = field(default_factory=set)  # (symbol, order number) of merged trades
    waiting: set[tuple[str, int]] = field(default_factory=set)  # of trades that are still only suspected


@dataclass(slots=True)
class Figures:
    """`unsettled` symbols could not be compared; `changed` legs are others than they were (adopted)."""

    differences: list[Difference] = field(default_factory=list)
    unsettled: set[str] = field(default_factory=set)
    agreed: set[str] = field(default_factory=set)
    changed: dict[str, list[LegName]] = field(default_factory=dict)
    wallet_unsettled: bool = False
    wallets: list[tuple[str, Decimal, Decimal]] = field(default_factory=list)  # asset, wallet, change


class Judge:
    def __init__(
        self,
        venue: AccountVenue,
        books: Books,
        orders: OrdersView,
        marks: TradeMarks,
        tick_of: Callable[[str], Decimal],
    ) -> None:
        self._venue = venue
        self._books = books
        self._orders = orders
        self._marks = marks
        self._tick_of = tick_of
        self._suspects: dict[SuspectKey, int] = {}
        self._touched: set[SuspectKey] = set()

    # -- suspects

    def clear(self) -> None:
        self._suspects.clear()

    def suspected(self) -> set[str]:
        """Symbols (and "" for wallets) with something to be read again."""
        return {symbol for _, symbol, _ in self._suspects}

    def begin(self) -> None:
        self._touched.clear()

    def end(self, reading: Reading, unsettled: Iterable[str], wallet_unsettled: bool) -> None:
        """What a reading could look at and did not find again was no difference."""
        open_symbols = set(unsettled)
        for key in list(self._suspects):
            kind, symbol, _ = key
            looked = (symbol in reading.plan.symbols) if symbol else (reading.plan.wallet and not wallet_unsettled)
            if looked and not (kind == "position" and symbol in open_symbols) and key not in self._touched:
                del self._suspects[key]

    def _confirmed(self, now: Now, reading: Reading, key: SuspectKey) -> bool:
        """True the second time; else noted for it."""
        self._touched.add(key)
        first = self._suspects.get(key)
        if first is None:
            self._suspects[key] = now.boot_ns
            return False
        if reading.boot_ns < first + CONFIRM_NS:
            return False
        del self._suspects[key]
        return True

    def _note(self, now: Now, key: SuspectKey) -> None:
        self._touched.add(key)
        self._suspects.setdefault(key, now.boot_ns)

    # -- first half: trades and orders

    def facts(self, now: Now, reading: Reading, *, up_ms: int, first: bool) -> Facts:
        """`up_ms`: exchange time since which the stream is there; `first`: no reading of this epoch is complete."""
        facts = Facts()
        for symbol in reading.plan.symbols:
            if symbol not in reading.missing:
                self._fills(now, reading, symbol, up_ms, facts)
                self._listed(now, reading, symbol, up_ms, first, facts)
                self._unlisted(now, reading, symbol, up_ms, facts)
        return facts

    def _fills(self, now: Now, reading: Reading, symbol: str, up_ms: int, facts: Facts) -> None:
        rows = reading.trades.get(symbol, [])
        unseen = [trade for trade in rows if not self._marks.seen(trade)]
        if not unseen:
            if rows:
                self._marks.advance(symbol, rows[-1].fill)
            return
        states = {order.order_id: order.state for order in self._orders.open_orders(symbol)}
        by_order: dict[int, list[OwnTrade]] = {}
        for trade in unseen:
            if reading.by_number.get((symbol, trade.order_id)) is None:
                continue  # no order to book it on: the figures will differ and be adopted
            gap = reading.plan.gap and trade.fill.at_ms <= up_ms
            flying = states.get(trade.order_id) in IN_FLIGHT
            if gap or flying or self._confirmed(now, reading, ("fill.missed", symbol, str(trade.fill.trade_id))):
                by_order.setdefault(trade.order_id, []).append(trade)
                if gap or not flying:
                    facts.differences.append(_missed(trade, gap))
            else:
                facts.waiting.add((symbol, trade.order_id))
        told: list[VenueOrder] = []
        for number, trades in by_order.items():
            order = reading.by_number[symbol, number]
            assert order is not None
            told += self._venue.fill_orders(order, [trade.fill for trade in trades])
            facts.merged |= {(symbol, trade.fill.trade_id) for trade in trades}
            facts.told_by_fill.add((symbol, number))
        facts.orders += sorted(told, key=lambda order: order.fill.trade_id if order.fill else 0)

    def _listed(self, now: Now, reading: Reading, symbol: str, up_ms: int, first: bool, facts: Facts) -> None:
        ours = {order.client_order_id: order for order in self._orders.open_orders(symbol)}
        for order in reading.orders.get(symbol, ()):
            mine = ours.get(order.client_order_id)
            if mine is None:
                gap = reading.plan.gap and order.updated_ms <= up_ms
                known = self._orders.find(order.client_order_id) is not None
                kind = "order.reopened" if known else "order.foreign"
                if gap or self._confirmed(now, reading, (kind, symbol, str(order.order_id))):
                    facts.orders.append(order)
                    if not first:
                        facts.differences.append(_listed_only(kind, order, gap))
            elif reading.plan.gap or mine.state in IN_FLIGHT:
                facts.orders.append(order)
            elif order.filled_qty > mine.filled_qty and (symbol, order.order_id) not in facts.told_by_fill:
                key = ("order.behind", symbol, order.client_order_id)
                if not reading.plan.trades or (symbol, order.order_id) in facts.waiting:
                    self._note(now, key)
                elif self._confirmed(now, reading, key):
                    facts.orders.append(order)  # its trades did not tell: the order's own word is taken

    def _unlisted(self, now: Now, reading: Reading, symbol: str, up_ms: int, facts: Facts) -> None:
        listed = {order.client_order_id for order in reading.orders.get(symbol, ())}
        for mine in self._orders.open_orders(symbol):
            name = mine.client_order_id
            newer = mine.sent_boot_ns is not None and mine.sent_boot_ns >= reading.boot_ns
            number = (symbol, mine.order_id or 0)
            if name in listed or mine.state == "queued" or newer or number in facts.told_by_fill:
                continue
            flying = mine.state in IN_FLIGHT
            if (symbol, name) not in reading.queried or (number in facts.waiting and not flying):
                if not flying:
                    self._note(now, ("order.closed", symbol, name))
                continue
            theirs = reading.queried[symbol, name]
            if theirs is None:
                if not flying and self._confirmed(now, reading, ("order.vanished", symbol, name)):
                    facts.orders.append(self._venue.vanished(mine, reading.server_ms))
                    facts.differences.append(_gone(mine, None, False))
            elif flying:
                facts.orders.append(theirs)
            elif not self._venue.still_open(theirs):
                gap = reading.plan.gap and theirs.updated_ms <= up_ms
                if gap or self._confirmed(now, reading, ("order.closed", symbol, name)):
                    facts.orders.append(theirs)
                    facts.differences.append(_gone(mine, theirs, gap))

    # -- second half: legs and wallets

    def figures(self, now: Now, reading: Reading, *, rereads: int, statements_held: int) -> Figures:
        figures = Figures()
        theirs = positions_by_leg(reading.positions)
        for symbol in reading.plan.symbols:
            if symbol not in reading.missing:
                self._legs(now, reading, symbol, theirs, rereads, figures)
        if reading.plan.wallet:
            self._wallets(now, reading, statements_held, figures)
        return figures

    def _legs(
        self,
        now: Now,
        reading: Reading,
        symbol: str,
        theirs: dict[tuple[str, LegName], VenuePosition],
        rereads: int,
        figures: Figures,
    ) -> None:
        books = self._books
        rows = {name: theirs.get((symbol, name)) for name in LEG_ORDER}
        told_ms = books.updated_ms.get(symbol, 0)
        stale = any(row is not None and 0 < row.updated_ms < told_ms for row in rows.values())
        if (
            symbol not in reading.quiet
            or books.version(symbol) != reading.versions[symbol]
            or (stale and rereads < STALE_REREADS)
            or (symbol not in books.known and self._awaits_fills(symbol))  # read already, and yet to come by stream
        ):
            figures.unsettled.add(symbol)
            return
        if symbol not in books.known:
            for name, row in rows.items():
                before = books.leg(symbol, name)
                if row is not None or not before.flat:
                    books.adopt_leg(symbol, name, row)
                if books.leg(symbol, name) != before:
                    figures.changed.setdefault(symbol, []).append(name)
            books.known.add(symbol)
            figures.agreed.add(symbol)
            return
        tick = self._tick_of(symbol)
        agreed = True
        for name, row in rows.items():
            qty, entry = (row.qty, row.entry) if row else (Decimal(0), Decimal(0))
            if books.leg_agrees(symbol, name, qty, entry, tick):
                continue
            agreed = False
            if self._orders.in_flight(symbol):
                figures.unsettled.add(symbol)
                self._touched.add(("position", symbol, name))
            elif symbol not in reading.trades_whole or self._awaits_fills(symbol):
                self._note(now, ("position", symbol, name))  # trades may yet explain it
            elif self._confirmed(now, reading, ("position", symbol, name)):
                leg = books.leg(symbol, name)
                # fills heard of in another order than they happened make another entry price of the same quantity
                same_qty = leg.qty == qty
                ours = f"{name} {text(leg.qty)} @ {text(leg.entry)}"
                evidence = {"cause": reading.plan.cause, "updated_ms": row.updated_ms if row else None}
                figures.differences.append(
                    Difference(
                        "position",
                        symbol,
                        ours,
                        f"{name} {text(qty)} @ {text(entry)}",
                        "adopted" if same_qty else "adopted; entries stopped",
                        evidence,
                        mute=not same_qty,
                        restrict=not same_qty,
                    )
                )
                books.adopt_leg(symbol, name, row)
                figures.changed.setdefault(symbol, []).append(name)
                agreed = True
        if agreed:
            figures.agreed.add(symbol)

    def _awaits_fills(self, symbol: str) -> bool:
        return any(kind == "fill.missed" and where == symbol for kind, where, _ in self._suspects)

    def _wallets(self, now: Now, reading: Reading, statements_held: int, figures: Figures) -> None:
        books = self._books
        if not reading.wallet_quiet or books.wallet_version != reading.wallet_version or statements_held:
            figures.wallet_unsettled = not books.wallet_known or "" in self.suspected()
            return
        rows = {row.balance.asset: row for row in reading.balances}
        if any(kind == "fill.missed" for kind, _, _ in self._suspects):
            figures.wallet_unsettled = True
            return
        if not books.wallet_known:
            for row in rows.values():
                books.adopt_wallet(row.balance, row.available)
            books.wallet_known = True
            return
        for asset in sorted(rows.keys() | books.wallets.keys()):
            found = rows.get(asset)
            theirs = found.balance.wallet if found else Decimal(0)
            ours = books.wallets[asset].wallet if asset in books.wallets else Decimal(0)
            if books.wallet_agrees(asset, theirs):
                if found is not None:
                    books.adopt_wallet(found.balance, found.available)
            elif self._confirmed(now, reading, ("wallet", "", asset)):
                evidence = (
                    {"cause": reading.plan.cause, "asset": asset, "bound": text(books.wallets[asset].bound)}
                    if (asset in books.wallets)
                    else {"cause": reading.plan.cause, "asset": asset}
                )
                figures.differences.append(
                    Difference("wallet", None, f"{asset} {text(ours)}", f"{asset} {text(theirs)}", "adopted", evidence)
                )
                if found is not None:
                    books.adopt_wallet(found.balance, found.available)
                else:
                    books.transfer(asset, -ours)
                figures.wallets.append((asset, theirs, theirs - ours))


def _missed(trade: OwnTrade, gap: bool) -> Difference:
    fill = trade.fill
    evidence = {"trade_id": fill.trade_id, "order_id": trade.order_id, "at_ms": fill.at_ms, "during_gap": gap}
    theirs = f"{trade.side} {text(fill.qty)} @ {text(fill.price)}"
    return Difference(
        "fill.missed", trade.symbol, "no such fill", theirs, "booked", evidence, not gap, name=str(fill.trade_id)
    )


def _listed_only(kind: str, order: VenueOrder, gap: bool) -> Difference:
    evidence = {
        "client_order_id": order.client_order_id,
        "order_id": order.order_id,
        "updated_ms": order.updated_ms,
        "during_gap": gap,
    }
    ours = "closed" if kind == "order.reopened" else "no such order"
    price = text(order.price) if order.price is not None else "market"
    theirs = f"{order.status} {order.side} {text(order.qty)} @ {price}"
    action = "adopted" if kind == "order.foreign" else "shown; closed in the journal, so a person must look"
    return Difference(kind, order.symbol, ours, theirs, action, evidence, not gap, name=str(order.order_id))


def _gone(mine: OrderSnapshot, theirs: VenueOrder | None, gap: bool) -> Difference:
    kind = "order.vanished" if theirs is None else "order.closed"
    evidence = {"client_order_id": mine.client_order_id, "order_id": mine.order_id, "during_gap": gap}
    said = "unknown to the exchange" if theirs is None else f"{theirs.status}, {text(theirs.filled_qty)} filled"
    mute = theirs is not None and not gap
    return Difference(kind, mine.symbol, mine.state, said, "adopted", evidence, mute, name=mine.client_order_id)
