"""The desk every part of the order path works at: orders by id, the journal writes of a change, and who is told.

`evidence` is the one door through which anything said about an order comes in, whatever its source.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from gateway.core import answers
from gateway.core import order_record as record
from gateway.core.client_ids import ClientIds
from gateway.core.effects import Dirty, Report, Write
from gateway.core.eventlog import EventLog
from gateway.core.inputs import Now
from gateway.core.intents import ACCEPTED, Intent, IntentTable, Stored, outcome_row
from gateway.core.order_record import Order
from gateway.core.order_settings import OrderSettings
from gateway.core.order_venue import Clock, OrderVenue
from gateway.core.parts import Out
from gateway.core.ports import AccountView, BrainsView, Lanes, MarketView
from gateway.core.rows import FillRow
from gateway.core.signals import Filled, ReconcileWanted
from gateway.core.timers import Timers
from gateway.core.venue_orders import VenueFill, VenueOrder
from ipc import keys
from ipc.errors import CODES
from rules.instrument import text
from rules.orders import CLOSED, Change, Trade
from rules.risk import Standing

SEEN_TRADES_KEPT = 50_000
ZERO = Decimal(0)

ChangeHook = Callable[[Now, Order, Change], Out]


class Desk:
    """State shared by the parts; views of other cores; and `evidence`, `refuse`, `finish`."""

    def __init__(
        self,
        *,
        account_name: str,
        settings: OrderSettings,
        venue: OrderVenue,
        market: MarketView,
        account: AccountView,
        brains: BrainsView,
        log: EventLog,
        lanes: Lanes,
        client_ids: ClientIds,
    ) -> None:
        self.account_name = account_name
        self.settings = settings
        self.venue = venue
        self.market = market
        self.account = account
        self.brains = brains
        self.log = log
        self.lanes = lanes
        self.ids = client_ids
        self.timers = Timers()
        self.intents = IntentTable(settings.intents_kept)
        self.orders: dict[str, Order] = {}
        self.live: dict[str, dict[str, Order]] = {}  # by symbol: not closed, queued ones included
        self.doubtful: dict[str, Order] = {}  # state unknown
        self.hooks: list[ChangeHook] = []
        self._closed: deque[str] = deque()
        self._seen: OrderedDict[tuple[str, int], int] = OrderedDict()  # (symbol, trade id): when it traded
        self._dirty: dict[str, Dirty] = {}
        self._heard: dict[str, int] = {}  # live orders: boot time of the last evidence

    # -- looking

    def live_orders(self, symbol: str | None = None) -> list[Order]:
        """Not closed, oldest first; queued ones included."""
        if symbol is not None:
            return list(self.live.get(symbol, {}).values())
        return [order for orders in self.live.values() for order in orders.values()]

    def standing(self, symbol: str) -> list[Standing]:
        return [record.standing(order) for order in self.live.get(symbol, {}).values()]

    def unknown_exits(self, brain: str) -> list[Order]:
        if not self.doubtful:
            return []
        return [order for order in self.doubtful.values() if order.role == "close" and order.brain == brain]

    def clock(self, now: Now) -> Clock:
        return Clock(self.market.server_ms(now), self.settings.recv_window_ms)

    def heard_ns(self, order: Order) -> int:
        """When the exchange last said anything of this order in this process's life; -1: never."""
        return self._heard.get(order.cid, -1)

    def dirty(self, symbol: str) -> Dirty:
        effect = self._dirty.get(symbol)
        if effect is None:
            effect = self._dirty[symbol] = Dirty((keys.orders(self.account_name, symbol),))
        return effect

    # -- writing

    def add(self, order: Order) -> None:
        self.orders[order.cid] = order
        self._index(order)

    def _index(self, order: Order) -> None:
        state = order.progress.state
        if state == "unknown":
            self.doubtful[order.cid] = order
        elif self.doubtful:
            self.doubtful.pop(order.cid, None)
        if state in CLOSED:
            self._heard.pop(order.cid, None)
            if self.live.get(order.symbol, {}).pop(order.cid, None) is not None:
                self._closed.append(order.cid)
                self._forget_oldest()
        else:
            self.live.setdefault(order.symbol, {})[order.cid] = order

    def drop(self, order: Order, input_: str) -> None:
        """A queued attempt that never leaves: it was never journalled, so there is nothing to undo."""
        order.progress.apply(input_)
        self._index(order)

    def _forget_oldest(self) -> None:
        while len(self._closed) > self.settings.closed_kept:
            cid = self._closed.popleft()
            if (order := self.orders.get(cid)) is not None and order.closed:
                del self.orders[cid]

    def remember_closed(self, order: Order) -> None:
        """At start: a closed order of the journal takes its place among the kept ones."""
        self.orders[order.cid] = order
        self._closed.append(order.cid)
        self._forget_oldest()

    def remember_trade(self, symbol: str, trade_id: int, at_ms: int) -> None:
        """Bounded memory; an order's own trades are remembered with it."""
        self._seen[symbol, trade_id] = at_ms
        if len(self._seen) > SEEN_TRADES_KEPT:
            self._seen.popitem(last=False)

    def row(self, now: Now, order: Order) -> Write:
        return Write(record.row(order, now.wall_ns))

    def event(self, now: Now, subject: str, order: Order, *, event_ms: int | None = None, **more: Any) -> Write:
        data = record.event_data(order)
        if more:
            data.update(more)
        source = "venue" if event_ms is not None else "gateway"
        return self.log.add(
            now, subject, data, source=source, symbol=order.symbol, brain=order.brain, event_ms=event_ms,
            ids=record.ids(order),
        )  # fmt: skip

    # -- evidence

    def evidence(self, now: Now, venue_order: VenueOrder) -> Out:
        """Anything the exchange says of an order: reply, stream, query, reconciliation; in any order, twice, late."""
        order = self.orders.get(venue_order.client_order_id)
        if order is None:
            return self._stranger(now, venue_order)
        if record.is_another(order, venue_order):
            return self._reused(now, order, venue_order)
        return self.apply(now, order, self.venue.meaning(venue_order), venue_order, venue_order.fill)

    def _reused(self, now: Now, known: Order, said: VenueOrder) -> Out:
        """Ours are never used twice, but the exchange frees an id as its order closes, and gives all its own
        deleveragings the same one. The number tells them apart; a stranger's later order takes its id over."""
        later = said.symbol != known.symbol or said.order_id > (known.order_id or 0)
        if known.brain is None and known.closed and later:
            del self.orders[known.cid]
            return self.evidence(now, said)
        other = replace(said, client_order_id=f"{said.client_order_id}#{said.symbol}#{said.order_id}")
        if other.client_order_id not in self.orders and said.fill is None:
            return []  # a late word of an order that is past, without a trade in it
        return self.evidence(now, other)

    def _stranger(self, now: Now, venue_order: VenueOrder) -> Out:
        fill = venue_order.fill
        if venue_order.status == "REJECTED" or (fill is not None and self._was_seen(venue_order.symbol, fill)):
            return []
        order = record.foreign(venue_order)
        out: Out = []
        if self.ids.parse(order.cid) is not None:
            order.reason = "its id is ours, but the journal does not know it"
            fields = {"client_order_id": order.cid, "symbol": order.symbol}
            out.append(Report("warning", "an order with our id is not in the journal", fields))
        self.add(order)
        return out + self.apply(now, order, self.venue.meaning(venue_order), venue_order, fill)

    def _was_seen(self, symbol: str, fill: VenueFill) -> bool:
        """The number alone does not tell: an exchange that is set up anew (a test one) counts from the start again."""
        return self._seen.get((symbol, fill.trade_id)) == fill.at_ms

    def apply(
        self, now: Now, order: Order, input_: str, said: VenueOrder | None = None, fill: VenueFill | None = None
    ) -> Out:
        """One input of the transition table, with the exchange's words and one trade where it brought them."""
        progress = order.progress
        if said is not None:
            self._heard[order.cid] = now.boot_ns
        before = (progress.reported, progress.ended, order.order_id)
        was_acked = order.acked
        counted = fill is not None and fill.trade_id not in progress.trades and self._was_seen(order.symbol, fill)
        amended = said is not None and self._hear(order, said)
        trade = Trade(fill.trade_id, fill.qty, fill.price) if fill is not None else None
        change = progress.apply(input_, said.filled_qty if said is not None else ZERO, trade)
        if counted:  # by a record of this order that was forgotten since: it completes the order and is no news
            change = change._replace(new_trade=False)
        same = change.was == change.state and not (change.new_trade or counted or amended)
        if same and before == (progress.reported, progress.ended, order.order_id):
            return []
        event_ms = said.updated_ms if said is not None else None
        tail: Out = []
        if change.new_trade and fill is not None:
            self._count(order, fill)
            self.remember_trade(order.symbol, fill.trade_id, fill.at_ms)
        events = self._acceptance(now, order, event_ms, said.source if said is not None else "gateway")
        if amended:
            events.append(self.event(now, "order.amended", order, event_ms=event_ms))
        if change.new_trade and fill is not None:
            events += self._filled(now, order, fill, change)
        if change.state != change.was and change.state in ("cancelled", "expired"):
            events.append(self._ended(now, order, change.state, event_ms, said))
        if order.acked and order.brain is not None:
            tail = self._settle(now, order, ACCEPTED, first=not was_acked)
        self._index(order)
        out: Out = [Write(record.row(order, now.wall_ns)), *events, *tail, self.dirty(order.symbol)]
        for hook in self.hooks:
            out += hook(now, order, change)
        return out

    def _hear(self, order: Order, said: VenueOrder) -> bool:
        """Take over what the exchange says of the order itself; True where it was amended."""
        if order.order_id is None:
            order.order_id = said.order_id
        if said.updated_ms < order.updated_ms:
            return False
        order.updated_ms = said.updated_ms
        order.status = said.status
        if order.brain is None:
            order.price = said.price
        if said.source == "reply" or said.qty <= 0:
            return False
        repriced = said.price is not None and order.price is not None and said.price != order.price
        if said.qty == order.progress.qty and not repriced:
            return False
        order.progress.qty = said.qty
        order.qty_text = text(said.qty)
        order.price = said.price if repriced else order.price
        return True

    def _acceptance(self, now: Now, order: Order, event_ms: int | None, source: str) -> Out:
        if order.acked or not order.accepted:
            return []
        order.acked = True
        order.reason = None if order.brain is not None else order.reason
        if order.brain is None:
            return [self.event(now, "order.foreign", order, event_ms=event_ms)]
        out: Out = [self.event(now, "order.accepted", order, event_ms=event_ms, order_id=order.order_id)]
        if order.doubt_boot_ns is not None:
            out.append(self.event(now, "order.resolved", order, outcome="accepted", proof=source))
        return out

    def _count(self, order: Order, fill: VenueFill) -> None:
        if fill.fee is not None and fill.fee_asset is not None:
            order.fees = {**order.fees, fill.fee_asset: order.fees.get(fill.fee_asset, ZERO) + fill.fee}
        if fill.realised is not None:
            order.realised += fill.realised

    def _filled(self, now: Now, order: Order, fill: VenueFill, change: Change) -> Out:
        data = record.event_data(order)
        data.update(
            trade_id=fill.trade_id,
            last_qty=text(fill.qty),
            last_price=text(fill.price),
            fee=text(fill.fee) if fill.fee is not None else None,
            fee_asset=fill.fee_asset,
            realised=text(fill.realised) if fill.realised is not None else None,
            maker=fill.maker,
        )
        event = self.log.add(
            now, "order.filled", data, source="venue", symbol=order.symbol, brain=order.brain, event_ms=fill.at_ms,
            ids=record.ids(order, fill.trade_id),
        )  # fmt: skip
        row = FillRow(order.symbol, fill.trade_id, order.cid, fill.at_ms, record.encode_fill(fill))
        out: Out = [Write(row), event, Filled(record.snapshot(order), fill)]
        if change.over:
            out.append(Report("error", "an order traded more than its quantity", {"client_order_id": order.cid}))
            out.append(ReconcileWanted(f"order {order.cid} traded more than its quantity", order.symbol))
        return out

    def _ended(self, now: Now, order: Order, state: str, event_ms: int | None, said: VenueOrder | None) -> Write:
        if state == "cancelled":
            return self.event(now, "order.cancelled", order, event_ms=event_ms)
        reason = said.expiry_reason if said is not None else None
        more = {"expiry_reason": reason} if reason else {}
        return self.event(now, "order.expired", order, event_ms=event_ms, **more)

    # -- ends of intents

    def intent_of(self, order: Order) -> Intent | None:
        if order.brain is None:
            return None
        return self.intents.get((order.brain, order.run, order.seq))

    def _settle(self, now: Now, order: Order, stored: Stored, *, first: bool) -> Out:
        intent = self.intent_of(order)
        if intent is None:
            return []
        if intent.outcome is not None and intent.outcome.outcome == stored.outcome:
            return self._doubled(order) if first and intent.order is not order else []
        late: Out = []
        if intent.outcome is not None:
            fields = {"client_order_id": order.cid, "told": intent.outcome.code}
            late.append(Report("error", "an order that was told rejected proved alive", fields))
            late.append(ReconcileWanted(f"{order.cid} was told rejected and proved alive", order.symbol))
        if intent.order is not order:  # an earlier attempt proved alive: it is the one that counts
            intent.order = order
        return late + self.finish(now, intent, stored)

    @staticmethod
    def _doubled(order: Order) -> Out:
        """What the exchange had called failed came through, and the next attempt too: one of them goes."""
        order.cancel = True
        fields = {"client_order_id": order.cid}
        why = f"{order.cid} is a second living attempt of its intent"
        return [
            Report("error", "two attempts of one intent are alive", fields),
            ReconcileWanted(why, order.symbol),
        ]

    def finish(self, now: Now, intent: Intent, stored: Stored) -> Out:
        """The intent's final outcome: journalled, and told to everyone who waits for it."""
        intent.outcome = stored
        out: Out = [Write(outcome_row(intent.name, stored))]
        for waiter in intent.waiters:
            out.append(answers.of_outcome(waiter.client, waiter.request_id, self.log.last, stored, intent.order))
        intent.waiters.clear()
        return out + self.follow(intent)

    def follow(self, intent: Intent) -> Out:
        """Reads that were asked behind a place of the same client are answered after it: names keep their order."""
        if not intent.followers:
            return []
        waiting = {waiter.client for waiter in intent.waiters}
        ready = [follower for follower in intent.followers if follower[0] not in waiting]
        intent.followers = [follower for follower in intent.followers if follower[0] in waiting]
        return [answers.of_intent(client, request_id, self.log.last, intent) for client, request_id in ready]

    def refusal(self, code: str, message: str, detail: dict[str, Any] | None = None) -> Stored:
        return Stored("rejected", code, message, CODES[code].retryable, detail or {})
