"""Cancels: acted on in the queue, sent at once for what is in flight, and again until the order is known closed."""

from __future__ import annotations

from gateway.core import answers
from gateway.core.effects import Answer, Send
from gateway.core.inputs import Now, RestFailed, RestReply
from gateway.core.intents import Intent, Waiter
from gateway.core.market_data import BadReply
from gateway.core.order_checks import GATEWAY_BRAIN
from gateway.core.order_desk import Desk
from gateway.core.order_record import Order
from gateway.core.order_venue import Verdict
from gateway.core.parts import Out
from gateway.core.placing import Placing
from gateway.core.ports import Caller
from gateway.core.resolver import Alarm, Resolver
from gateway.core.timers import MS
from ipc.errors import IpcError
from ipc.wire import Cancel, CancelAll
from rules.orders import Change


class Group:
    """One request that waits until all of its orders are closed."""

    __slots__ = ("pending", "total", "waiter")

    def __init__(self, waiter: Waiter, pending: set[str]) -> None:
        self.waiter = waiter
        self.pending = pending
        self.total = len(pending)


class Canceller:
    def __init__(self, desk: Desk, placing: Placing, resolver: Resolver) -> None:
        self._desk = desk
        self._placing = placing
        self._resolver = resolver
        self._waiters: dict[str, list[Waiter]] = {}
        self._groups: list[Group] = []
        self._flying: set[str] = set()  # a cancel of it is queued or on its way
        self._tries: dict[str, int] = {}
        self.alarm: Alarm = lambda *_: []

    # -- requests

    def cancel(self, now: Now, caller: Caller, request: Cancel) -> Out:
        intent, order = self._find(request)
        owner = intent.name[0] if intent is not None else order.brain if order is not None else None
        if not caller.admin and (owner is None or owner != caller.brain):
            raise IpcError("rights.denied", "a brain cancels its own orders; an administrator any that is named")
        last = self._desk.log.last
        if intent is not None and intent.outcome is None and (order is None or order.state == "queued" or order.closed):
            out = self._placing.drop(now, intent, "cancelled while it was queued; nothing was sent")
            return [*out, answers.done(caller.client, request.id, self._desk.log.last, order=intent.order)]
        if order is None or order.closed:
            return [answers.done(caller.client, request.id, last, order=order)]
        waiter = Waiter(caller.client, request.id, now.boot_ns + self._desk.settings.answer_within_ms * MS)
        self._waiters.setdefault(order.cid, []).append(waiter)
        self._desk.timers.add(waiter.until_boot_ns, "cancel_answer", order.cid)
        return self.start(now, order)

    def _find(self, request: Cancel) -> tuple[Intent | None, Order | None]:
        if request.intent is not None:
            name = (request.intent.brain, request.intent.run, request.intent.seq)
            intent = self._desk.intents.get(name)
            if intent is None:
                raise IpcError("order.not_found", f"no intent {'/'.join(map(str, name))} in the journal")
            return intent, intent.order
        if request.client_order_id is None:
            raise IpcError("wire.bad_request", "cancel needs an intent or a client_order_id")
        order = self._desk.orders.get(request.client_order_id)
        if order is None:
            raise IpcError("order.not_found", f"no order {request.client_order_id} is known here")
        return self._desk.intent_of(order), order

    def cancel_all(self, now: Now, caller: Caller, request: CancelAll) -> Out:
        """The asking brain's plain orders; an administrator with `everyone`: all of ours. Never foreign ones."""
        if request.everyone and not caller.admin:
            raise IpcError("rights.denied", "cancel_all with `everyone` is for administrators")
        if not request.everyone and caller.brain is None:
            raise IpcError("rights.hello_first", "cancel_all without `everyone` needs a hello that names a brain")
        brain = None if request.everyone else caller.brain
        out, pending = self.sweep(now, brain=brain, symbol=request.symbol, entries_only=False)
        waiter = Waiter(caller.client, request.id, now.boot_ns + self._desk.settings.answer_within_ms * MS)
        return out + self.wait_for(now, waiter, pending)

    def wait_for(self, now: Now, waiter: Waiter, pending: set[str]) -> Out:
        group = Group(waiter, pending)
        if not pending:
            return [self._group_done(group)]
        self._groups.append(group)
        self._desk.timers.add(waiter.until_boot_ns, "group_answer")
        return []

    def sweep(
        self, now: Now, *, brain: str | None, symbol: str | None, entries_only: bool, own: bool = True
    ) -> tuple[Out, set[str]]:
        """Cancel ours (of one brain, on one symbol, entries only, as asked): what was sent, and what is still open."""
        out: Out = []
        pending: set[str] = set()
        for intent in self._placing.held():
            if entries_only and self._placing.is_exit(intent):
                continue
            if brain in (None, intent.name[0]) and symbol in (None, intent.place.symbol) and not intent.own:
                out += self._placing.drop(now, intent, "cancelled while it waited; nothing was sent")
        for order in self._desk.live_orders(symbol):
            if order.brain is None or brain not in (None, order.brain) or (entries_only and order.role != "entry"):
                continue
            if not own and order.brain == GATEWAY_BRAIN:
                continue
            out += self.start(now, order)
            if not order.closed:
                pending.add(order.cid)
        return out, pending

    # -- one order

    def start(self, now: Now, order: Order) -> Out:
        """Cancel until known closed. Queued: in the queue. In flight: at once, and again when its outcome is known."""
        if order.state == "queued":
            intent = self._desk.intent_of(order)
            return [] if intent is None else self._placing.drop(now, intent, "cancelled while queued; nothing was sent")
        if order.closed:
            return []
        out: Out = []
        if not order.cancel:
            order.cancel = True
            out.append(self._desk.row(now, order))
        return out + self._send(order)

    def _send(self, order: Order) -> Out:
        if order.cid in self._flying:
            return []
        self._flying.add(order.cid)
        key = ("orders", "cancel", order.cid)
        return [
            Send(key, "DELETE", "", security="signed", order_path=True, weight=1, lane="cancel", repeatable=True),
        ]

    def on_granted(self, now: Now, send: Send, cid: str) -> tuple[Send | None, Out]:
        order = self._desk.orders.get(cid)
        if order is None or order.closed:
            self._flying.discard(cid)
            return None, []
        number = order.order_id if order.brain is None else None
        call = self._desk.venue.cancel(self._desk.clock(now), order.symbol, cid, number)
        return (
            Send(
                send.key,
                call.method,
                call.path,
                call.params,
                "signed",
                True,
                0,
                1,
                send.lane,
                True,
                self._desk.settings.silence_ms,
            ),
            [],
        )

    def on_reply(self, now: Now, cid: str, reply: RestReply | RestFailed) -> Out:
        self._flying.discard(cid)
        order = self._desk.orders.get(cid)
        if order is None:
            return []
        if isinstance(reply, RestFailed):
            verdict = self._desk.venue.transport(sent=reply.sent, reason=reply.reason)
        else:
            verdict = self._desk.venue.classify(reply.status, reply.body)
            if verdict.kind == "accepted":
                try:
                    said = self._desk.venue.parse_order(reply.body, "reply")
                except BadReply as error:
                    verdict = Verdict("unknown", None, str(error)[:300])
                else:
                    if said.client_order_id == cid:
                        return self._desk.evidence(now, said) + self._once_more(now, order, verdict)
                    verdict = Verdict("unknown", None, "the reply names another order")
        if order.closed:
            return []
        if verdict.kind == "not_found" and order.accepted:
            return self._resolver.ask(now, order, "cancel", at_once=True) + self._once_more(now, order, verdict)
        return self.alarm(now, order, verdict) + self._once_more(now, order, verdict)

    def _once_more(self, now: Now, order: Order, verdict: Verdict) -> Out:
        """Repeating a cancel is harmless: again after a while, until the order is known closed."""
        if order.closed or order.state in ("sent", "unknown"):
            return []  # its own outcome comes first; `after_change` cancels again
        settings = self._desk.settings
        tries = self._tries[order.cid] = self._tries.get(order.cid, 0) + 1
        steps = settings.cancel_retry_ms
        wait_ms = steps[min(tries, len(steps)) - 1]
        if verdict.kind == "rejected":
            wait_ms = settings.cancel_refused_retry_ms
        self._desk.timers.add(now.boot_ns + wait_ms * MS, "cancel", order.cid)
        return []

    def on_retry(self, now: Now, cid: str) -> Out:
        order = self._desk.orders.get(cid)
        return [] if order is None or order.closed or not order.cancel else self._send(order)

    # -- what changes

    def after_change(self, now: Now, order: Order, change: Change) -> Out:
        if order.closed:
            return [] if order.state == "rejected" else self.tell(order)  # a refusal is told after its place
        if order.cancel and order.accepted and change.was in ("sent", "unknown", "rejected"):
            return self._send(order)
        return []

    def tell(self, order: Order) -> Out:
        """Everybody who waited for it to close."""
        self._tries.pop(order.cid, None)
        last = self._desk.log.last
        out: Out = [
            answers.done(waiter.client, waiter.request_id, last, order=order)
            for waiter in self._waiters.pop(order.cid, ())
        ]
        if not self._groups:
            return out
        for group in self._groups:
            group.pending.discard(order.cid)
        out += [self._group_done(group) for group in self._groups if not group.pending]
        self._groups = [group for group in self._groups if group.pending]
        return out

    def _group_done(self, group: Group) -> Answer:
        result = {"cancelled": group.total, "pending": []}
        return answers.done(group.waiter.client, group.waiter.request_id, self._desk.log.last, result=result)

    def on_answer_due(self, now: Now, cid: str) -> Out:
        order = self._desk.orders.get(cid)
        waiters = self._waiters.get(cid, [])
        due = [waiter for waiter in waiters if waiter.until_boot_ns <= now.boot_ns]
        rest = [waiter for waiter in waiters if waiter.until_boot_ns > now.boot_ns]
        if rest:
            self._waiters[cid] = rest
        else:
            self._waiters.pop(cid, None)
        message = f"{cid} is not known closed yet; the cancel goes on, and the end follows as an event"
        last = self._desk.log.last
        return [answers.unknown(waiter.client, waiter.request_id, last, order, message) for waiter in due]

    def on_group_due(self, now: Now) -> Out:
        due = [group for group in self._groups if group.waiter.until_boot_ns <= now.boot_ns]
        self._groups = [group for group in self._groups if group.waiter.until_boot_ns > now.boot_ns]
        out: Out = []
        for group in due:
            result = {"cancelled": group.total - len(group.pending), "pending": sorted(group.pending)[:100]}
            message = f"{len(group.pending)} orders are not known closed yet; their cancels go on"
            out.append(
                answers.not_done_yet(group.waiter.client, group.waiter.request_id, self._desk.log.last, message, result)
            )
        return out

    @property
    def waiting(self) -> bool:
        return bool(self._waiters or self._groups)

    def restore(self, now: Now) -> Out:
        """Cancels the journal knows of go on."""
        return [effect for order in self._desk.live_orders() if order.cancel for effect in self._send(order)]
