"""The account part: the private stream's frames, the books, reconciliation, settings, readiness. Pure.

Order of a start: the private stream is up -> the account is read in full -> what was read is merged and compared ->
leverage, margin type and position mode are set or judged -> `ReadyChanged(True)`. Before that every slice says
`resync` (or `down`) and entries are refused. Without the private stream nothing is ready.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from gateway.core import account_views
from gateway.core.account_books import Books
from gateway.core.account_modes import ModeNews
from gateway.core.account_news import AccountNews
from gateway.core.account_settings import AccountWish, SettingsKeeper
from gateway.core.account_slices import AccountSlices
from gateway.core.account_venue import AccountVenue, UserFrameError
from gateway.core.effects import Dirty, Report
from gateway.core.eventlog import EventLog
from gateway.core.heads import Heads
from gateway.core.inputs import Frame, Now, RestFailed, RestReply
from gateway.core.parts import Out
from gateway.core.ports import BrainsView, MarketView, OrdersView, SymbolSettings
from gateway.core.reconcile import FULL_NS, Reconciler
from gateway.core.rows import Restored
from gateway.core.signals import Filled, KeyDoubt, PrivateDown, PrivateUp, ReadyChanged, ReconcileWanted, Signal
from gateway.core.statements import Statements
from gateway.core.trade_marks import TradeMarks
from gateway.core.unheard import Unheard
from gateway.core.venue_orders import (
    AccountUpdate,
    ConfigUpdate,
    Ignored,
    KeyExpired,
    MarginCall,
    UserEvent,
    VenueOrder,
    VenuePosition,
)
from ipc.slices import State
from rules.instrument import text
from rules.position import LegName

REPEATS_KEPT = 100  # newest statements a repetition is known by
NAMES_CAP = 50  # different ignored event names counted one by one; the rest under "other"


class AccountCore:
    """Implements `ports.AccountView`. `bind` hands over the parts built after it."""

    def __init__(
        self,
        *,
        account: str,
        symbols: Iterable[str],
        wish: AccountWish,
        venue: AccountVenue,
        heads: Heads,
        events: EventLog,
        market: MarketView,
        orders: OrdersView,
        brains: BrainsView,
        lease_ms: int,
        draw: Callable[[], float],
    ) -> None:
        self._account = account
        self._parse = venue.parse_user_frame
        self._symbols = list(symbols)
        self._heads = heads
        self._events = events
        self._market = market
        self._orders = orders
        self._brains = brains
        self.books = Books()
        self._marks = TradeMarks()
        self._unheard = Unheard()
        self._statements = Statements(self.books, self._tick_of)
        self._news = AccountNews(account, self.books, brains, events)
        self._settings = SettingsKeeper(wish, venue, self._symbols, market.server_ms)
        self._reconciler = Reconciler(
            self._symbols,
            venue,
            self.books,
            self._marks,
            orders,
            brains,
            self._news,
            self._statements,
            self._tick_of,
            market.server_ms,
            draw,
        )
        self._slices = AccountSlices(
            account, heads, self.books, self._news, market, orders, brains, self.state, lease_ms
        )
        self._ready = False
        self._up_ns = 0
        self._settings_ns: int | None = None
        self._streamed: tuple[str, int] | None = None  # the fill of the newest frame: what the stream brings is news
        self._modes = ModeNews(account, self._settings, events, self.settings)
        self._compared: object = None
        self.counters = {"user_frames": 0, "user_frames_bad": 0, "statements_repeated": 0}
        self.ignored: dict[str, int] = {}
        self._recent: deque[AccountUpdate] = deque(maxlen=REPEATS_KEPT)

    # -- life

    def start(self, now: Now, restored: Restored) -> Out:
        """Raises ValueError where our own rows cannot be read (a damaged journal is for a person)."""
        self.books.restore(restored.kv)
        self._marks.restore(restored.kv, restored.fills)
        return []

    def add_symbols(self, now: Now, symbols: Iterable[str]) -> Out:
        """Symbols that brains brought: read and judged like the first ones; until then their entries are refused."""
        new = [symbol for symbol in dict.fromkeys(symbols) if symbol not in self._symbols]
        self._symbols += new
        if not new or not self._reconciler.up:
            return []
        for symbol in new:
            self._reconciler.want(now, "new symbol", symbol)
        return self._settings.add(now, new)

    def on_signal(self, now: Now, signal: Signal) -> Out:
        if isinstance(signal, Filled):
            return self._filled(now, signal)
        if isinstance(signal, PrivateUp):
            return self._private_up(now, signal.cause)
        if isinstance(signal, PrivateDown):
            self._unheard.clear()
            return [*self._reconciler.private_down(), *self._set_ready(now, False, signal.reason), self._all_dirty()]
        if isinstance(signal, ReconcileWanted):
            self._reconciler.want(now, signal.cause, signal.symbol)
        return []

    def on_rest(self, now: Now, answer: RestReply | RestFailed) -> Out:
        settings = answer.key[1] == "set"
        part = self._settings if settings else self._reconciler
        if isinstance(answer, RestReply):
            out = part.on_reply(now, answer.key, answer.status, answer.body)
        else:
            out = part.on_failed(now, answer.key, answer.reason)
        if not settings:
            return out
        if self._settings.mode is not None:
            self.books.mode_legs = ("LONG", "SHORT") if self._settings.mode == "hedge" else ("BOTH",)
        return [*out, *self._modes.tell(now, self._symbols)]

    def on_tick(self, now: Now) -> Out:
        out = [*self._settings.on_tick(now), *self._reconciler.on_tick(now)]
        for update in self._statements.overdue(now):
            money = all(self.books.wallet_agrees(row.asset, row.wallet) for row in update.balances)
            symbols = dict.fromkeys(row.symbol for row in update.positions) if money else (None,)
            for symbol in symbols:
                self._reconciler.want(now, "a statement of the exchange that no fill explains", symbol)
        if self._settings_ns is not None and self._settings_ns <= now.boot_ns:
            self._settings_ns = now.boot_ns + FULL_NS
            out += self._settings.reread(now)
        if (mute := self._unheard.overdue(now)) is not None:
            out.append(KeyDoubt(mute, mute=True))
        compared = (len(self.books.known), dict(self._reconciler.unproven))
        if compared != self._compared:
            self._compared = compared
            out += self._modes.tell(now, self._symbols)
        if self._reconciler.proven and (not self._ready or self._settings.undecided(now)):
            out += self._settings.decide(now, self._idle, self.books.known.__contains__)
            if self._settings.settled:
                out += self._set_ready(now, True, "reconciled")
        return out

    def next_deadline_boot_ns(self) -> int | None:
        times = (
            self._settings.next_deadline_boot_ns(),
            self._reconciler.next_deadline_boot_ns(),
            self._statements.next_deadline_boot_ns(),
            self._unheard.next_deadline_boot_ns(),
            self._settings_ns,
        )
        return min((at for at in times if at is not None), default=None)

    # -- the private stream

    def on_frame(self, now: Now, frame: Frame) -> tuple[list[VenueOrder], Out]:
        """Orders are for the order core, in the same step; what it makes of their fills comes back as `Filled`."""
        self.counters["user_frames"] += 1
        try:
            event = self._parse(frame.data)
        except UserFrameError as fault:
            self.counters["user_frames_bad"] += 1
            self._reconciler.want(now, "a frame of the private stream that cannot be read", None)
            return [], [Report("error", "private stream: bad frame", {"why": str(fault)[:300]})]
        if isinstance(event, VenueOrder):
            self.books.touch(event.symbol)
            self._streamed = (event.symbol, event.fill.trade_id) if event.fill else None
            if event.fill is not None:
                self._unheard.heard(event.symbol, event.fill.trade_id)
            return [event], []
        return [], self._on_event(now, event)

    def _on_event(self, now: Now, event: UserEvent) -> Out:
        if isinstance(event, AccountUpdate):
            return self._on_update(now, event)
        if isinstance(event, ConfigUpdate):
            return self._on_config(now, event)
        if isinstance(event, MarginCall):
            return self._on_margin_call(now, event)
        if isinstance(event, KeyExpired):
            return [KeyDoubt("the exchange says that the listenKey expired")]
        if isinstance(event, Ignored):
            name = event.name if event.name in self.ignored or len(self.ignored) < NAMES_CAP else "other"
            self.ignored[name] = self.ignored.get(name, 0) + 1
        return []

    def _on_update(self, now: Now, update: AccountUpdate) -> Out:
        if update in self._recent:  # two connections overlap, or the exchange says it twice
            self.counters["statements_repeated"] += 1
            return []
        self._recent.append(update)
        for row in update.positions:
            self.books.touch(row.symbol)
        self.books.wallet_version += 1
        out: Out = []
        if update.reason != "order":
            for balance in update.balances:
                # a reading may have told of it already: then our figure is the statement's before we add anything
                told = self.books.wallet_known and self.books.wallet_agrees(balance.asset, balance.wallet)
                if balance.change:
                    out += self._moved(now, update, balance.asset, balance.change, told)
        if self.books.wallet_known:
            self._statements.hold(now, update)
            self._settle()
        return out

    def _moved(self, now: Now, update: AccountUpdate, asset: str, change: Decimal, told: bool) -> Out:
        """For transfers only, the balance change. Before the first reading it is in what will be read."""
        out: Out = []
        if self.books.wallet_known and not told:
            wallet = self.books.transfer(asset, change)
            out += self._news.balance(now, asset, wallet, change, update.reason, event_ms=update.event_ms)
        if update.reason == "funding":
            symbols = {row.symbol for row in update.positions}
            symbol = update.symbol or (symbols.pop() if len(symbols) == 1 else None)
            out += self._news.funding(now, symbol, asset, change, update.event_ms)
        return out

    def _filled(self, now: Now, filled: Filled) -> Out:
        order, fill = filled.order, filled.fill
        news = self._streamed == (order.symbol, fill.trade_id)
        if not news and self._marks.counted(order.symbol, fill):  # somebody asked for an old order's trades
            fields = {"symbol": order.symbol, "trade_id": fill.trade_id}
            return [Report("debug", "a fill the books have in them already", fields)]
        if not self._reconciler.merged(order.symbol, fill.trade_id):
            self.books.touch(order.symbol)
            if not news and self._reconciler.heard_since(fill.at_ms):
                self._unheard.learned(now, order.symbol, fill.trade_id)
        self._marks.see(order.symbol, fill)
        instrument = self._market.instrument(order.symbol)
        margin_asset = instrument.margin_asset if instrument else fill.fee_asset
        booked = self.books.fill(order, fill, margin_asset, self._news.owner(order))
        out = self._news.booked(now, order, fill, booked)
        self._settle()
        return out

    def _settle(self) -> None:
        """Where a statement agrees, its figures take the place of ours: roundings never add up."""
        update = self._statements.settle()
        if update is not None:
            for row in update.balances:
                self.books.adopt_wallet(row)

    def _on_config(self, now: Now, update: ConfigUpdate) -> Out:
        out: Out = []
        if update.multi_assets is not None:
            data = {"what": "multi_assets", "value": update.multi_assets, "by": "venue"}
            out.append(self._events.add(now, "mode.changed", data, source="venue", event_ms=update.event_ms))
        if self._settings.on_config(update):
            out += self._modes.tell(now, self._symbols)
        return out

    def _on_margin_call(self, now: Now, call: MarginCall) -> Out:
        rows = [{"symbol": row.symbol, "leg": row.leg, "qty": text(row.qty)} for row in call.positions]
        return [
            self._events.add(now, "margin.call", {"positions": rows}, source="venue", event_ms=call.event_ms),
            Report("error", "margin call", {"positions": rows}),
        ]

    # -- readiness

    def _private_up(self, now: Now, cause: str) -> Out:
        self._up_ns = now.boot_ns
        self._statements.clear()
        self._unheard.clear()
        out = self._reconciler.private_up(now, cause)
        if self._settings_ns is None:
            out += self._settings.start(now)
        else:
            out += self._settings.reread(now)
        self._settings_ns = now.boot_ns + FULL_NS
        return [*out, self._all_dirty()]

    def _set_ready(self, now: Now, ready: bool, reason: str) -> Out:
        if ready == self._ready:
            return []
        self._ready = ready
        if ready:
            data = {"epoch": self._heads.epoch, "took_ms": (now.boot_ns - self._up_ns) // 1_000_000}
            event = self._events.add(now, "gateway.ready", data)
        else:
            event = self._events.add(now, "gateway.not_ready", {"reason": reason})
        return [event, ReadyChanged(ready, reason), self._all_dirty()]

    def _idle(self, symbol: str | None) -> bool:
        """Flat and without orders: by what was last read of the whole account, and by our own books."""
        if symbol is None:
            return not self._reconciler.busy and self.books.all_flat() and not self._orders.open_orders()
        busy = symbol in self._reconciler.busy
        return not busy and self.books.flat(symbol) and not self._orders.open_orders(symbol)

    # -- what other parts see (ports.AccountView)

    def ready(self) -> bool:
        return self._ready

    def baseline(self) -> bool:
        return self._reconciler.baseline

    def private_live(self) -> bool:
        return self._reconciler.up

    def hedge(self) -> bool:
        return self._settings.mode == "hedge"

    def legs(self, symbol: str) -> tuple[VenuePosition, ...]:
        at_ms = self.books.updated_ms.get(symbol, 0)
        return tuple(
            VenuePosition(symbol, name, leg.qty, leg.entry, updated_ms=at_ms)
            for name, leg in self.books.legs_of(symbol)
        )

    def leg_qty(self, symbol: str, leg: LegName) -> Decimal:
        return self.books.leg(symbol, leg).qty

    def settings(self, symbol: str) -> SymbolSettings:
        return self._settings.view(symbol, self.entries_refused(symbol))

    def entries_refused(self, symbol: str) -> str | None:
        refused = self._settings.refusal(symbol)
        if refused is None and symbol not in self.books.known:
            return "the position there has not been read yet"
        return refused or self._reconciler.unproven.get(symbol)

    def state(self, symbol: str | None) -> State:
        if not self._reconciler.up or symbol in self._reconciler.missing:
            return "down"
        if symbol is None:
            return "live" if self._ready and self.books.wallet_known else "resync"
        proven = symbol in self.books.known and symbol not in self._reconciler.unproven
        return "live" if self._ready and proven else "resync"

    def position_mode(self) -> str | None:
        return self._settings.mode

    def status(self) -> dict[str, int]:
        """Counters for the gateway slice."""
        return {
            **self.counters,
            **self._reconciler.counters,
            "statements_held": len(self._statements),
            "user_events_ignored": sum(self.ignored.values()),
        }

    # -- slices and operations

    def keys(self) -> tuple[str, ...]:
        return self._slices.keys(self._symbols)

    def render(self, now: Now, key: str) -> bytes | None:
        return self._slices.render(now, key, self._symbols)

    def _all_dirty(self) -> Dirty:
        return Dirty(self.keys())

    def position_view(self, now: Now, symbol: str | None) -> list[dict[str, Any]]:
        """Operation `position`: each leg of one symbol, or of all."""
        return account_views.positions(now, self._slices, self._symbols if symbol is None else [symbol])

    def account_view(self, now: Now) -> dict[str, Any]:
        """Operation `account`: balances, mode, settings of each symbol, what refuses entries."""
        settings = {symbol: self.settings(symbol) for symbol in self._symbols}
        return account_views.account(now, self._slices, settings, ready=self._ready, mode=self._settings.mode)

    def _tick_of(self, symbol: str) -> Decimal:
        instrument = self._market.instrument(symbol)
        return instrument.tick if instrument is not None else Decimal(0)
