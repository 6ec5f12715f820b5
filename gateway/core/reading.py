"""One reading of the account over REST: what to ask in which order, retries, and what came of it. Pure.

Order: positions, balances and open orders first, then the trade lists, then single orders that neither explains; so
trades that the positions include are always among those read. The stream's versions are noted before the first
request and after the last answer of the first stage: a symbol of which the stream spoke meanwhile is not `quiet`, and
nothing is concluded from its figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gateway.core.account_books import Books
from gateway.core.account_venue import AccountVenue, OwnBalance, OwnTrade, ReplyError
from gateway.core.effects import Report, Send
from gateway.core.inputs import Key, Now
from gateway.core.parts import Out
from gateway.core.ports import OrdersView
from gateway.core.signals import ClockSuspect
from gateway.core.trade_marks import TradeMarks
from gateway.core.venue_orders import VenueOrder, VenuePosition

FIRST_RETRY_NS = 250_000_000
MAX_RETRY_NS = 10_000_000_000
KEY_RETRY_NS = 30_000_000_000  # a refused key is not asked for more often
MAX_PAGES = 20  # of one symbol's trades in one reading; the rest comes with the next
MAX_QUERIES = 200  # single orders in one reading; the rest comes with the next
IN_FLIGHT = frozenset({"queued", "sent", "unknown"})


@dataclass(frozen=True, slots=True)
class Plan:
    """What to read. `gap`: the stream was not there before (start, reconnect). `patient`: never given up.

    `everything`: open orders of all symbols in one request; else one request a symbol.
    """

    cause: str
    symbols: tuple[str, ...]
    trades: bool
    wallet: bool
    everything: bool = False
    gap: bool = False
    patient: bool = False


@dataclass(slots=True)
class Reading:
    """What came. `queried[symbol, client id]` is None where the exchange does not know the order."""

    plan: Plan
    server_ms: int
    boot_ns: int
    positions: tuple[VenuePosition, ...] = ()
    balances: tuple[OwnBalance, ...] = ()
    orders: dict[str, list[VenueOrder]] = field(default_factory=dict)
    trades: dict[str, list[OwnTrade]] = field(default_factory=dict)
    trades_whole: set[str] = field(default_factory=set)
    by_number: dict[tuple[str, int], VenueOrder | None] = field(default_factory=dict)
    queried: dict[tuple[str, str], VenueOrder | None] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)  # of the stream, when the first stage was complete
    wallet_version: int = 0
    quiet: set[str] = field(default_factory=set)
    wallet_quiet: bool = False
    missing: set[str] = field(default_factory=set)  # symbols the exchange does not know


@dataclass(slots=True)
class _Ask:
    kind: str
    symbol: str
    arg: str
    send: Callable[[Key, int], Send]
    tries: int = 0
    due_ns: int | None = None


class Gather:
    """Runs one plan. `done` when everything came; `failed` says why an impatient plan was given up."""

    MAX_TRIES = 8

    def __init__(
        self,
        number: int,
        plan: Plan,
        venue: AccountVenue,
        books: Books,
        orders: OrdersView,
        marks: TradeMarks,
        server_ms: Callable[[Now], int],
        draw: Callable[[], float],
    ) -> None:
        self.plan = plan
        self.done = False
        self.failed: str | None = None
        self.reading = Reading(plan, 0, 0)
        self._number = number
        self._venue = venue
        self._books = books
        self._orders = orders
        self._marks = marks
        self._server_ms = server_ms
        self._draw = draw
        self._asks: dict[Key, _Ask] = {}
        self._count = 0
        self._stage = 0
        self._pages: dict[str, int] = {}
        self._versions: dict[str, int] = {}
        self._wallet_version = 0

    def start(self, now: Now) -> Out:
        plan = self.plan
        self.reading.server_ms = self._server_ms(now)
        self.reading.boot_ns = now.boot_ns
        self._versions = {symbol: self._books.version(symbol) for symbol in plan.symbols}
        self._wallet_version = self._books.wallet_version
        one = plan.symbols[0] if len(plan.symbols) == 1 and not plan.everything else None
        out: Out = [self._ask(now, "positions", "", "", lambda key, ms: self._venue.positions(key, ms, one))]
        if plan.wallet:
            out.append(self._ask(now, "balances", "", "", self._venue.balances))
        if plan.everything:
            out.append(self._ask(now, "orders", "", "", self._venue.open_orders))
        else:
            out += [self._ask_orders(now, symbol) for symbol in plan.symbols]
        return out

    def on_reply(self, now: Now, key: Key, status: int, body: bytes) -> Out:
        ask = self._asks.pop(key, None)
        if ask is None:
            return []
        try:
            out = self._take(now, ask, status, body)
        except ReplyError as fault:
            if fault.kind == "unknown_symbol" and ask.symbol:
                self.reading.missing.add(ask.symbol)
                out = [Report("error", "the exchange does not know the symbol", {"symbol": ask.symbol})]
            elif ask.kind in ("number", "client") and fault.kind == "not_found":
                self._found(ask, None)
                out = []
            else:
                again = self._retry(now, key, ask, str(fault), fault.kind == "keys")
                return [*again, ClockSuspect(str(fault))] if fault.kind == "clock" else again
        return out if self._asks else [*out, *self._advance(now)]

    def on_failed(self, now: Now, key: Key, reason: str) -> Out:
        ask = self._asks.pop(key, None)
        return [] if ask is None else self._retry(now, key, ask, reason, False)

    def on_tick(self, now: Now) -> Out:
        out: Out = []
        for key, ask in self._asks.items():
            if ask.due_ns is not None and ask.due_ns <= now.boot_ns:
                ask.due_ns = None
                out.append(ask.send(key, self._server_ms(now)))
        return out

    def next_deadline_boot_ns(self) -> int | None:
        return min((ask.due_ns for ask in self._asks.values() if ask.due_ns is not None), default=None)

    # -- stages

    def _advance(self, now: Now) -> Out:
        """Nothing is outstanding: the next stage that has something to ask."""
        if self._stage == 0:
            self._note_quiet()
        while self._stage < 2 and self.plan.trades:
            self._stage += 1
            out = self._ask_trades(now) if self._stage == 1 else self._ask_singles(now)
            if out:
                return out
        self.done = True
        return []

    def _note_quiet(self) -> None:
        books = self._books
        self.reading.quiet = {symbol for symbol, was in self._versions.items() if books.version(symbol) == was}
        self.reading.versions = {symbol: books.version(symbol) for symbol in self._versions}
        self.reading.wallet_version = books.wallet_version
        self.reading.wallet_quiet = self.plan.wallet and books.wallet_version == self._wallet_version

    def _ask_trades(self, now: Now) -> Out:
        return [
            self._ask_page(now, symbol, None if (mark := self._marks.mark(symbol)) is None else mark + 1)
            for symbol in self.plan.symbols
            if symbol not in self.reading.missing
        ]

    def _ask_singles(self, now: Now) -> Out:
        """Orders of trades we have not seen, and orders of ours the exchange does not list."""
        out: Out = []
        for symbol in self.plan.symbols:
            listed = {order.order_id: order for order in self.reading.orders.get(symbol, ())}
            numbers = {trade.order_id for trade in self.reading.trades.get(symbol, ()) if not self._marks.seen(trade)}
            for number in sorted(numbers):
                if number in listed:
                    self.reading.by_number[symbol, number] = listed[number]
                else:
                    out.append(self._ask_number(now, symbol, number))
            names = {order.client_order_id for order in listed.values()}
            out += [self._ask_client(now, symbol, name) for name in self._ours_unlisted(symbol, names)]
        return out[:MAX_QUERIES] if len(out) <= MAX_QUERIES else self._cut(out)

    def _cut(self, out: Out) -> Out:
        """Beyond the bound: forget the asks that do not leave; the next reading has fewer."""
        for effect in out[MAX_QUERIES:]:
            if isinstance(effect, Send):
                self._asks.pop(effect.key, None)
        return out[:MAX_QUERIES]

    def _ours_unlisted(self, symbol: str, listed: Iterable[str]) -> list[str]:
        names = set(listed)
        return [
            order.client_order_id
            for order in self._orders.open_orders(symbol)
            if order.client_order_id not in names
            and order.state != "queued"
            and (order.sent_boot_ns is None or order.sent_boot_ns < self.reading.boot_ns)
        ]

    # -- answers

    def _take(self, now: Now, ask: _Ask, status: int, body: bytes) -> Out:
        reading = self.reading
        if ask.kind == "positions":
            reading.positions = self._venue.read_positions(status, body)
        elif ask.kind == "balances":
            reading.balances = self._venue.read_balances(status, body)
        elif ask.kind == "orders":
            for order in self._venue.read_open_orders(status, body):
                reading.orders.setdefault(order.symbol, []).append(order)
        elif ask.kind == "trades":
            return self._page(now, ask, self._venue.read_trades(status, body))
        else:
            self._found(ask, self._venue.read_order(status, body))
        return []

    def _page(self, now: Now, ask: _Ask, rows: tuple[OwnTrade, ...]) -> Out:
        held = self.reading.trades.setdefault(ask.symbol, [])
        held.extend(rows)
        full = len(rows) >= self._venue.trades_page_rows() and ask.arg != ""
        if not full:
            self.reading.trades_whole.add(ask.symbol)
            return []
        self._pages[ask.symbol] = self._pages.get(ask.symbol, 1) + 1
        if self._pages[ask.symbol] > MAX_PAGES:
            return []
        return [self._ask_page(now, ask.symbol, rows[-1].fill.trade_id + 1)]

    def _found(self, ask: _Ask, order: VenueOrder | None) -> None:
        if ask.kind == "number":
            self.reading.by_number[ask.symbol, int(ask.arg)] = order
        else:
            self.reading.queried[ask.symbol, ask.arg] = order

    def _retry(self, now: Now, key: Key, ask: _Ask, reason: str, key_fault: bool) -> Out:
        ask.tries += 1
        if not self.plan.patient and ask.tries >= self.MAX_TRIES:
            self.failed = f"{ask.kind} {ask.symbol}: {reason}"
            return []
        wait = min(MAX_RETRY_NS, FIRST_RETRY_NS << min(ask.tries - 1, 10))
        wait = KEY_RETRY_NS if key_fault else int(wait * (0.75 + self._draw() / 2))
        ask.due_ns = now.boot_ns + wait
        self._asks[key] = ask
        fields = {"what": ask.kind, "symbol": ask.symbol, "why": reason, "try": ask.tries, "wait_ms": wait // 1_000_000}
        return [Report("error" if key_fault else "warning", "account reading: no usable answer", fields)]

    # -- requests

    def _ask_orders(self, now: Now, symbol: str) -> Send:
        return self._ask(now, "orders", symbol, "", lambda key, ms: self._venue.open_orders(key, ms, symbol))

    def _ask_page(self, now: Now, symbol: str, from_id: int | None) -> Send:
        arg = "" if from_id is None else str(from_id)
        return self._ask(now, "trades", symbol, arg, lambda key, ms: self._venue.trades(key, ms, symbol, from_id))

    def _ask_number(self, now: Now, symbol: str, number: int) -> Send:
        return self._ask(
            now, "number", symbol, str(number), lambda key, ms: self._venue.order(key, ms, symbol, order_id=number)
        )

    def _ask_client(self, now: Now, symbol: str, name: str) -> Send:
        return self._ask(
            now, "client", symbol, name, lambda key, ms: self._venue.order(key, ms, symbol, client_id=name)
        )

    def _ask(self, now: Now, kind: str, symbol: str, arg: str, send: Callable[[Key, int], Send]) -> Send:
        self._count += 1
        key: Key = ("account", "read", self._number, self._count)
        self._asks[key] = _Ask(kind, symbol, arg, send)
        return send(key, self._server_ms(now))
