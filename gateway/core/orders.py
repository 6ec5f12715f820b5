"""The order path: everything between a `place` and the exchange. `OrderCore` is its one door.

It is made of parts that share a `Desk`: `Placing` (intents), `Checker` (may it leave), `Attempts` (leaving, answers,
retries), `Resolver` (unknown outcomes), `Canceller`, `Flattener`, `RiskStates`. Nothing leaves that was not journalled
in the same step: a Send goes out as a ticket, and `on_granted` makes the real request when its slot has come.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.core import answers, order_lists, order_restore
from gateway.core.attempts import Attempts
from gateway.core.canceller import Canceller
from gateway.core.client_ids import ClientIds
from gateway.core.edge import EdgePause
from gateway.core.effects import Report, Send
from gateway.core.eventlog import EventLog
from gateway.core.flatten import Flattener
from gateway.core.inputs import Now, RestFailed, RestReply
from gateway.core.order_checks import Checker
from gateway.core.order_desk import Desk
from gateway.core.order_record import Order, snapshot, view
from gateway.core.order_settings import OrderSettings
from gateway.core.order_venue import OrderVenue, Verdict
from gateway.core.parts import Out
from gateway.core.placing import Placing
from gateway.core.ports import AccountView, BrainsView, Caller, Lanes, MarketView
from gateway.core.resolver import Resolver
from gateway.core.risk_states import ACCOUNT, RiskStates
from gateway.core.rows import Restored
from gateway.core.signals import (
    BrainBack,
    BrainLost,
    CatalogDoubt,
    ClockSuspect,
    Holdback,
    OrdersRead,
    PrivateDown,
    PrivateUp,
    ReadyChanged,
    ReconcileWanted,
    RestrictBrain,
    Signal,
)
from gateway.core.venue_orders import OrderSnapshot, VenueOrder
from ipc import wire
from ipc.errors import IpcError
from rules.risk import is_stricter

OrderRequest = wire.Place | wire.Cancel | wire.CancelAll | wire.Flatten | wire.OrderQuery | wire.OrdersQuery | wire.Risk


class OrderCore:
    """Implements `ports.OrdersView`. `run_wall_ms` names the gateway's own run; `boot` is this boot's id."""

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
        tag: str,
        now: Now,
        boot: str,
    ) -> None:
        self._desk = Desk(
            account_name=account_name, settings=settings, venue=venue, market=market, account=account, brains=brains,
            log=log, lanes=lanes, client_ids=ClientIds(tag),
        )  # fmt: skip
        desk = self._desk
        self._boot = boot
        self._risk = RiskStates(desk)
        self._edge = EdgePause()
        self._checker = Checker(desk, self._risk)
        self._resolver = Resolver(desk, start_boot_ns=now.boot_ns)
        self._placing = Placing(desk, self._checker, boot=boot)
        self._attempts = Attempts(desk, self._checker, self._resolver, self._placing)
        self._canceller = Canceller(desk, self._placing, self._resolver)
        self._flattener = Flattener(desk, self._checker, self._placing, self._canceller, run=f"r{now.wall_ms}")
        self._resolver.on_absent = self._attempts.on_absent
        self._attempts.on_rejected = self._canceller.tell
        for part in (self._resolver, self._attempts, self._canceller):
            part.alarm = self._alarm
        desk.hooks += [self._resolver.after_change, self._canceller.after_change]
        self._timers: dict[str, Callable[[Now, Any], Out]] = {
            "answer": self._placing.on_answer_due,
            "held": lambda at, _: self._placing.on_held(at),
            "ask": self._resolver.on_ask,
            "taker": self._resolver.on_taker,
            "cancel": self._canceller.on_retry,
            "cancel_answer": self._canceller.on_answer_due,
            "group_answer": lambda at, _: self._canceller.on_group_due(at),
            "flatten": self._flattener.on_timer,
            "flatten_answer": lambda at, _: self._flattener.on_answer_due(at),
            "lost": self._flattener.on_lost_due,
            "edge": lambda at, _: self._edge_over(at),
        }

    # -- life

    def start(self, now: Now, restored: Restored) -> Out:
        """Take up what the journal knows: unknown orders are asked for, queued intents go on or expire."""
        self._risk.restore(restored.kv)
        out = order_restore.restore(
            now, restored, self._desk, self._placing, self._attempts, self._resolver, self._boot
        )
        return out + self._canceller.restore(now) + self._flattener.restore(now, restored.kv)

    def shutdown(self, now: Now) -> Out:
        """Nothing new is taken; resting entries are cancelled, exits and positions stay (a setting: flatten)."""
        self._placing.closed = IpcError("gateway.stopping", "the gateway is shutting down")
        out, _ = self._canceller.sweep(now, brain=None, symbol=None, entries_only=True)
        if self._desk.settings.flatten_on_stop:
            for symbol in self._flattener.everything():
                out += self._flattener.start(now, symbol, "the gateway stops")
        return out

    def drained(self) -> bool:
        """Nothing is in flight, no cancel of an entry is open, and no flatten is at work."""
        if self._flattener.busy or self._canceller.waiting or self._placing.unanswered:
            return False
        return not any(
            order.in_doubt or order.state == "queued" or (order.cancel and order.role == "entry")
            for order in self._desk.live_orders()
            if order.brain is not None
        )

    def on_journal_failed(self, now: Now, reason: str) -> Out:
        """Nothing new may leave; whether what was to leave in that step did is asked of the exchange."""
        self._placing.closed = IpcError("gateway.journal", f"the journal cannot be written: {reason}")
        out: Out = []
        for order in self._desk.live_orders():
            if order.state == "sent":
                out += self._attempts.doubt(
                    now, order, Verdict("unknown", None, "the journal failed as it was to leave")
                )
        return out

    # -- requests

    def handle(self, now: Now, caller: Caller, request: OrderRequest) -> Out:
        """One request of the socket; it is answered in this step or by a later one, always exactly once."""
        if type(request) is wire.Place:
            return self._placing.place(now, caller, request)
        try:
            return self._handle(now, caller, request)
        except IpcError as error:
            outcome = isinstance(request, wire.Cancel | wire.CancelAll | wire.Flatten)
            return [answers.refused(caller.client, request.id, self._desk.log.last, error, outcome=outcome)]

    def _handle(self, now: Now, caller: Caller, request: OrderRequest) -> Out:
        match request:
            case wire.Cancel():
                self._may_cancel(caller)
                return self._canceller.cancel(now, caller, request)
            case wire.CancelAll():
                self._may_cancel(caller)
                return self._canceller.cancel_all(now, caller, request)
            case wire.Flatten():
                state = self._risk.binding(caller.brain) if caller.brain is not None else "running"
                return self._flattener.flatten(now, caller, request, state)
            case wire.Risk():
                return self._risk_request(now, caller, request)
            case wire.OrderQuery():
                answer = order_lists.one(caller, request, self._desk)
                return [answer] if answer is not None else []
            case wire.OrdersQuery():
                return [order_lists.many(caller, request, self._desk)]
        raise IpcError("op.unknown", f"{type(request).__name__} is not an order operation")

    def _may_cancel(self, caller: Caller) -> None:
        if caller.brain is not None and self._risk.binding(caller.brain) == "halted":
            raise IpcError("risk.halted", "halted: brains may only read; a person may cancel")

    def _risk_request(self, now: Now, caller: Caller, request: wire.Risk) -> Out:
        wanted = self._risk.wanted(caller, request)
        out: Out = []
        if wanted is not None:
            scope, state = wanted
            author = f"brain:{caller.brain}" if caller.brain is not None else f"person:{caller.uid}"
            out = self.set_risk(now, scope, state, author, request.reason)
        return [*out, answers.result(caller.client, request.id, self._desk.log.last, self._risk.report())]

    def set_risk(self, now: Now, scope: str, state: str, author: str, reason: str) -> Out:
        """Change a state (`account`, `brain:<name>`); entering a stricter one cancels that scope's resting entries."""
        stricter = is_stricter(state, self._risk.of(scope).state)
        out = self._risk.change(now, scope, state, author, reason)
        if stricter:
            brain = None if scope == ACCOUNT else scope.removeprefix("brain:")
            swept, _ = self._canceller.sweep(now, brain=brain, symbol=None, entries_only=True)
            out += swept
        return out

    def block_entries(self, cause: str, why: str | None) -> None:
        """A passing reason that stops entries (`why`), or its end (None): a store that is gone, a disk that is full."""
        if why is None:
            self._risk.let_entries(cause)
        else:
            self._risk.stop_entries(cause, why)

    # -- the exchange

    def on_granted(self, now: Now, send: Send) -> tuple[Send | None, Out]:
        """A ticket's slot came: the request to perform now (None: no longer wanted) and what is journalled with it."""
        kind, cid = str(send.key[1]), str(send.key[2])
        if kind == "place":
            return self._attempts.on_granted(now, send, cid)
        if kind == "cancel":
            return self._canceller.on_granted(now, send, cid)
        return self._resolver.on_granted(now, send, cid, str(send.key[3]))

    def on_reply(self, now: Now, reply: RestReply | RestFailed) -> Out:
        kind, cid = str(reply.key[1]), str(reply.key[2])
        if kind == "cancel":
            return self._canceller.on_reply(now, cid, reply)
        if kind == "ask":
            return self._resolver.on_reply(now, cid, str(reply.key[3]), reply)
        order = self._desk.orders.get(cid)
        if order is None:
            return [Report("error", "a reply to an order nobody knows", {"client_order_id": cid})]
        return self._attempts.on_reply(now, order, reply)

    def on_venue_order(self, now: Now, order: VenueOrder) -> Out:
        """What the private stream or a reconciliation says of an order, ours or not."""
        return self._desk.evidence(now, order)

    def _alarm(self, now: Now, order: Order, verdict: Verdict) -> Out:
        """What a refusal means beyond its order."""
        why = f"{order.cid}: {verdict.code}: {verdict.text}" if verdict.code is not None else verdict.text
        if verdict.kind == "clock":
            return [ClockSuspect(why)]
        match verdict.alarm:
            case "keys" | "stop":
                return self._stop_entries(now, why)
            case "edge":
                return self._edge_refused(now, why)
            case "reconcile":
                return [ReconcileWanted(why, order.symbol)]
            case "filters":
                return [CatalogDoubt(order.symbol, why)]
            case "mode":
                self._risk.stop_entries("mode", f"the position mode is not what we believe ({why})")
                return [ReconcileWanted(why)]
        return []

    def _stop_entries(self, now: Now, why: str) -> Out:
        """The exchange will not let this account trade: entries stop, once, until a person resumes."""
        out: Out = [Report("error", "the exchange refuses to trade; entries stop until a person resumes", {"why": why})]
        if is_stricter("reduce_only", self._risk.of(ACCOUNT).state):
            out += self.set_risk(now, ACCOUNT, "reduce_only", "gateway", why[:300])
        return out

    def _edge_refused(self, now: Now, why: str) -> Out:
        """The exchange's edge asks to slow down: entries wait, and go on by themselves."""
        until_ns = self._edge.strike(now.boot_ns)
        if until_ns is None:
            return []
        wait_s = (until_ns - now.boot_ns) // 1_000_000_000
        self._desk.timers.add(until_ns, "edge")
        self._risk.stop_entries("edge", f"the exchange's edge refuses requests (HTTP 403); entries wait {wait_s} s")
        return [Report("error", "the exchange's edge refuses requests; entries wait", {"wait_s": wait_s, "why": why})]

    def _edge_over(self, now: Now) -> Out:
        if self._edge.over(now.boot_ns):
            self._risk.let_entries("edge")
        return []

    # -- signals and time

    def on_signal(self, now: Now, signal: Signal) -> Out:
        match signal:
            case PrivateDown():
                self._resolver.stream_down(now)
            case PrivateUp():
                self._resolver.stream_up(now)
            case ReadyChanged(ready=True):
                self._risk.let_entries("mode")
                return self._resolver.reconciled(now) + self._placing.on_held(now)
            case OrdersRead():
                return [effect for order in signal.orders for effect in self._desk.evidence(now, order)]
            case Holdback():
                return self._placing.quiet(now, signal.symbol, signal.on)
            case BrainLost():
                return self._flattener.on_lost(now, signal)
            case BrainBack():
                return self._flattener.on_back(signal.brain)
            case RestrictBrain():
                scope = f"brain:{signal.brain}"
                if not is_stricter(signal.state, self._risk.of(scope).state):
                    return []  # it is bound as much already, perhaps by a person: that is not loosened
                return self.set_risk(now, scope, signal.state, "gateway", signal.reason)
        return []

    def hear_lost(self, until_boot_ns: int) -> None:
        """Nothing is closed for a lost brain before that time: it may have asked while this process stood still."""
        self._flattener.hear_lost(until_boot_ns)

    def on_tick(self, now: Now) -> Out:
        out: Out = []
        for kind, argument in self._desk.timers.due(now.boot_ns):
            out += self._timers[kind](now, argument)
        return out

    def next_deadline_boot_ns(self) -> int | None:
        return self._desk.timers.next_boot_ns()

    # -- OrdersView

    def open_orders(self, symbol: str | None = None) -> tuple[OrderSnapshot, ...]:
        return tuple(snapshot(order) for order in self._desk.live_orders(symbol) if order.state != "queued")

    def open_views(self, symbol: str) -> tuple[wire.OrderView, ...]:
        return tuple(view(order) for order in self._desk.live_orders(symbol) if order.state != "queued")

    def in_flight(self, symbol: str) -> bool:
        return any(
            order.in_doubt or order.cancel or order.progress.missing > 0
            for order in self._desk.live.get(symbol, {}).values()
        )

    def unknown_count(self) -> int:
        return len(self._desk.doubtful)

    def find(self, client_order_id: str) -> OrderSnapshot | None:
        order = self._desk.orders.get(client_order_id)
        return snapshot(order) if order is not None else None

    def risk_state(self, brain: str | None) -> tuple[str, str]:
        return self._risk.shown(brain)
