"""From `place` to the answer: intents, their attempts, what an exchange's reply means for them, retries."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from gateway.core import answers
from gateway.core.client_ids import run_number
from gateway.core.effects import OrderLane, Report, Send, Write
from gateway.core.inputs import Now, RestFailed, RestReply
from gateway.core.intents import Intent, Waiter, canonical
from gateway.core.order_checks import GATEWAY_BRAIN, Checker, Shape, faulty
from gateway.core.order_desk import Desk
from gateway.core.order_record import Order
from gateway.core.order_venue import BadReply, Verdict
from gateway.core.parts import Out
from gateway.core.ports import Caller
from gateway.core.resolver import Alarm, Resolver
from gateway.core.rows import IntentRow
from gateway.core.timers import MS
from gateway.core.venue_orders import VenueOrder
from ipc.errors import IpcError
from ipc.events import Ids
from ipc.wire import IntentId, Place
from rules.instrument import text
from rules.orders import Progress
from rules.risk import Refused

_NOT_ARRIVED = ("not_sent", "limit", "clock")


class Placing:
    def __init__(self, desk: Desk, checker: Checker, resolver: Resolver, *, boot: str) -> None:
        self._desk = desk
        self._checker = checker
        self._resolver = resolver
        self._boot = boot
        self._held: dict[tuple[str, str, int], Intent] = {}
        self._quiet: set[str] = set()  # symbols whose entries wait for a quiet second reading
        self.closed: IpcError | None = None  # why nothing new is taken: a stop, a journal that fails
        self.alarm: Alarm = lambda *_: []
        self.on_rejected: Callable[[Order], Out] = lambda _: []  # whoever waits for it to close, after the place itself

    # -- a request

    def place(self, now: Now, caller: Caller, request: Place) -> Out:
        name = (request.intent.brain, request.intent.run, request.intent.seq)
        brain = self._desk.brains.get(name[0]) if name[0] != GATEWAY_BRAIN else None
        if not (caller.admin or caller.brain == name[0]) or brain is None:
            message = f"this connection does not speak for brain {name[0]!r}; say hello under that name first"
            return self._turn_away(now, caller, request, IpcError("rights.denied", message))
        content = canonical(request)
        known = self._desk.intents.get(name)
        if known is not None:
            return self._repeat(now, caller, request, known, content)
        if brain.run != name[1] or self._desk.intents.forgotten(name):
            message = f"run {name[1]} seq {name[2]} lies behind what is registered (run {brain.run})"
            return self._turn_away(now, caller, request, IpcError("intent.old_run", message))
        if self.closed is not None:
            return self._turn_away(now, caller, request, self.closed)
        fault = faulty(request)
        if fault is not None:
            return self._turn_away(now, caller, request, IpcError("wire.bad_request", fault))
        intent = self._intent(now, name, request, content)
        intent.person = caller.admin and caller.brain is None
        intent.waiters.append(self._waiter(now, caller, request.id))
        out: Out = [Write(self._row(now, intent, brain.number))]
        self._desk.intents.add(intent)
        self._desk.timers.add(intent.waiters[0].until_boot_ns, "answer", name)
        out += self._try(now, intent)
        return out

    def _intent(self, now: Now, name: tuple[str, str, int], place: Place, content: bytes) -> Intent:
        """Role decides the default deadline: entries have one, closes none; it is known by the side's shape only later,
        so an unflagged order starts with the entry's and loses it when it proves to be a close."""
        asked = min(place.asked_boot_ns, now.boot_ns) if place.asked_boot_ns is not None else now.boot_ns
        deadline_ms = place.deadline_ms
        if deadline_ms is None and not place.reduce_only:
            deadline_ms = self._desk.settings.entry_deadline_ms
        deadline = asked + deadline_ms * MS if deadline_ms is not None else None
        return Intent(name, place, content, deadline_ms=deadline_ms, deadline_boot_ns=deadline)

    def _waiter(self, now: Now, caller: Caller, request_id: int) -> Waiter:
        return Waiter(caller.client, request_id, now.boot_ns + self._desk.settings.answer_within_ms * MS)

    def _row(self, now: Now, intent: Intent, brain_no: int) -> IntentRow:
        brain, run, seq = intent.name
        place = intent.place
        asked = place.asked_boot_ns if place.asked_boot_ns is not None else now.boot_ns
        return IntentRow(
            brain, brain_no, run, seq, place.symbol, intent.request, asked, self._boot, intent.deadline_ms, now.wall_ns
        )

    def _turn_away(self, now: Now, caller: Caller, request: Place, error: IpcError) -> Out:
        """Refused before it is an intent of ours: nothing is stored under its name."""
        data = {"code": error.code, "message": error.message}
        intent = f"{request.intent.brain}/{request.intent.run}/{request.intent.seq}"
        event = self._desk.log.add(
            now, "intent.refused", data, symbol=request.symbol, brain=request.intent.brain, ids=Ids(intent=intent)
        )
        return [event, answers.refused(caller.client, request.id, self._desk.log.last, error)]

    def _repeat(self, now: Now, caller: Caller, request: Place, intent: Intent, content: bytes) -> Out:
        """The same intent again gets what became of the first; other content under the name is a conflict."""
        if content != intent.request:
            message = f"intent {intent.text} was asked before with other content; nothing was sent"
            event = self._desk.log.add(
                now, "intent.conflict", {"message": message}, symbol=request.symbol, brain=intent.name[0],
                ids=Ids(intent=intent.text),
            )  # fmt: skip
            error = IpcError("intent.conflict", message)
            return [event, answers.refused(caller.client, request.id, self._desk.log.last, error)]
        if intent.outcome is not None:
            last = self._desk.log.last
            return [answers.of_outcome(caller.client, request.id, last, intent.outcome, intent.order)]
        if len(intent.waiters) >= 100:
            oldest = intent.waiters.pop(0)
            message = "the same intent is asked for by too many at once"
            late: Out = [answers.unknown(oldest.client, oldest.request_id, self._desk.log.last, intent.order, message)]
        else:
            late = []
        waiter = self._waiter(now, caller, request.id)
        intent.waiters.append(waiter)
        self._desk.timers.add(waiter.until_boot_ns, "answer", intent.name)
        return late

    def on_answer_due(self, now: Now, name: tuple[str, str, int]) -> Out:
        """Somebody has waited long enough: `unknown`, and what becomes of it follows as an event."""
        intent = self._desk.intents.get(name)
        if intent is None or intent.outcome is not None:
            return []
        due = [waiter for waiter in intent.waiters if waiter.until_boot_ns <= now.boot_ns]
        intent.waiters = [waiter for waiter in intent.waiters if waiter.until_boot_ns > now.boot_ns]
        state = intent.order.state if intent.order is not None else "waiting"
        message = f"no proof of the outcome yet ({state}); it follows as an event of intent {intent.text}"
        last = self._desk.log.last
        out: Out = [answers.unknown(waiter.client, waiter.request_id, last, intent.order, message) for waiter in due]
        return out + self._desk.follow(intent)

    # -- deciding

    def _try(self, now: Now, intent: Intent) -> Out:
        """Decide (again) and send, hold, expire or refuse."""
        expired = intent.expired(now.boot_ns)
        if expired and intent.place.deadline_ms is not None:
            return self._expire(now, intent)
        shape = self._checker.decide(now, intent)
        if expired and (isinstance(shape, Refused) or shape.role == "entry"):
            return self._expire(now, intent)
        if isinstance(shape, Refused):
            return self._refuse(now, intent, shape)
        if shape.role == "close" and intent.place.deadline_ms is None:
            intent.deadline_boot_ns = None
        if shape.role == "entry" and intent.place.symbol in self._quiet and self._hold(now, intent):
            return []
        return self._launch(now, intent, shape)

    def _launch(self, now: Now, intent: Intent, shape: Shape) -> Out:
        brain, run, seq = intent.name
        info = self._desk.brains.get(brain)
        number = 0 if intent.own or info is None else info.number
        intent.attempts += 1
        order = Order(
            cid=self._desk.ids.make(number, run_number(run), seq, intent.attempts),
            brain=brain,
            run=run,
            seq=seq,
            attempt=intent.attempts,
            symbol=intent.place.symbol,
            side=shape.side,
            type=shape.type,
            qty_text=text(shape.qty),
            price=shape.price,
            tif=shape.tif,
            leg=shape.leg,
            reduce_only=shape.reduce_only,
            post_only=shape.post_only,
            hedge=shape.hedge,
            role=shape.role,
            tag=intent.place.tag,
            checks=shape.checks,
            progress=Progress(qty=shape.qty),
            created_ms=now.wall_ms,
            sent_boot_ns=now.boot_ns,
        )
        intent.order = order
        self._desk.add(order)
        lane: OrderLane = "close" if shape.role == "close" else "entry"
        repeatable = order.bounded and order.type == "MARKET" and intent.own
        return [
            Send(
                ("orders", "place", order.cid), "POST", "", security="signed", order_path=True, orders=1, weight=0,
                lane=lane, repeatable=repeatable,
            )
        ]  # fmt: skip

    def _refuse(self, now: Now, intent: Intent, refused: Refused) -> Out:
        self._held.pop(intent.name, None)
        subject = "risk.refused" if refused.code.startswith("risk.") else "intent.refused"
        data = {"code": refused.code, "message": refused.message}
        if subject == "risk.refused":
            data["detail"] = refused.detail  # type: ignore[assignment]
        event = self._desk.log.add(
            now, subject, data, symbol=intent.place.symbol, brain=intent.name[0], ids=Ids(intent=intent.text)
        )
        stored = self._desk.refusal(refused.code, refused.message, refused.detail)
        return [event, *self._desk.finish(now, intent, stored)]

    def _expire(self, now: Now, intent: Intent) -> Out:
        self._held.pop(intent.name, None)
        late_ms = (now.boot_ns - (intent.deadline_boot_ns or now.boot_ns)) // MS
        data = {"deadline_ms": intent.deadline_ms, "late_ms": late_ms}
        event = self._desk.log.add(
            now, "intent.expired", data, symbol=intent.place.symbol, brain=intent.name[0], ids=Ids(intent=intent.text)
        )
        message = f"the deadline of {intent.deadline_ms} ms passed before it could leave; nothing was sent"
        return [event, *self._desk.finish(now, intent, self._desk.refusal("intent.expired", message, data))]

    # -- the gateway's own

    def own(self, now: Now, place: Place) -> tuple[Intent, Out]:
        """An intent of the gateway itself (brain number 0), journalled and sent like any other."""
        name = (place.intent.brain, place.intent.run, place.intent.seq)
        intent = Intent(name, place, canonical(place), deadline_ms=None, deadline_boot_ns=None)
        intent.own = True
        self._desk.intents.add(intent)
        return intent, [Write(self._row(now, intent, 0)), *self._try(now, intent)]

    # -- leaving

    def on_granted(self, now: Now, send: Send, cid: str) -> tuple[Send | None, Out]:
        """Its slot came. Whatever waited is looked at again: past its deadline nothing leaves, nor against a state."""
        order = self._desk.orders.get(cid)
        intent = self._desk.intent_of(order) if order is not None else None
        if order is None or intent is None or order.state != "queued":
            return None, []
        if intent.expired(now.boot_ns):
            self._withdraw(order, "expired", "its deadline passed")
            return None, self._expire(now, intent)
        if order.sent_boot_ns != now.boot_ns:
            refused = self._recheck(now, intent, order)
            if refused is not None:
                self._withdraw(order, "cancelled", refused.code)
                return None, self._refuse(now, intent, refused)
        clock = self._desk.clock(now)
        order.sent_ms = clock.timestamp_ms
        order.valid_until_ms = clock.timestamp_ms + clock.recv_window_ms
        order.sent_boot_ns = now.boot_ns
        call = self._desk.venue.place(
            clock, symbol=order.symbol, side=order.side, type_=order.type, qty=order.progress.qty, price=order.price,
            tif=order.tif, leg=order.leg, reduce_only=order.reduce_only, hedge=order.hedge, client_order_id=cid,
        )  # fmt: skip
        order.progress.apply("released")
        out: Out = [self._desk.row(now, order), self._desk.event(now, "order.sent", order, attempt=order.attempt)]
        out.append(self._desk.dirty(order.symbol))
        ready = Send(
            send.key, call.method, call.path, call.params, "signed", True, send.orders, send.weight, send.lane,
            send.repeatable, self._desk.settings.silence_ms,
        )  # fmt: skip
        return ready, out

    def _recheck(self, now: Now, intent: Intent, order: Order) -> Refused | None:
        """Rules may have changed while it waited in its lane; its own standing does not count against it."""
        del self._desk.live[order.symbol][order.cid]
        shape = self._checker.decide(now, intent, again=True)
        self._desk.live[order.symbol][order.cid] = order
        if isinstance(shape, Refused):
            return shape
        return None

    def _withdraw(self, order: Order, input_: str, reason: str) -> None:
        order.reason = reason
        self._desk.drop(order, input_)

    # -- replies

    def on_reply(self, now: Now, order: Order, reply: RestReply | RestFailed) -> Out:
        if isinstance(reply, RestFailed):
            if order.state == "queued":  # its lane was full: it never came near a socket
                self._withdraw(order, "cancelled", "the lane is full")
                intent = self._desk.intent_of(order)
                return self._again(now, intent, order, Verdict("limit", None, reply.reason)) if intent else []
            verdict = self._desk.venue.transport(sent=reply.sent, reason=reply.reason)
        else:
            verdict = self._desk.venue.classify(reply.status, reply.body)
        if verdict.kind == "accepted" and isinstance(reply, RestReply):
            try:
                said = self._desk.venue.parse_order(reply.body, "reply")
            except BadReply as error:
                verdict = Verdict("unknown", None, str(error)[:300])
            else:
                if said.client_order_id == order.cid and said.symbol == order.symbol:
                    return self._said(now, order, said)
                verdict = Verdict("unknown", None, "the reply names another order")
        return self._judge(now, order, verdict)

    def _said(self, now: Now, order: Order, said: VenueOrder) -> Out:
        out = self._desk.evidence(now, said)
        if order.state == "rejected":
            out += self._rejected(now, order, Verdict("rejected", None, "REJECTED")) + self.on_rejected(order)
        elif order.taker and not order.closed:
            self._resolver.watch_taker(now, order)
        return out

    def _judge(self, now: Now, order: Order, verdict: Verdict) -> Out:
        if verdict.kind in ("unknown", "duplicate", "not_found", "accepted"):
            return self.doubt(now, order, verdict)
        if verdict.kind in _NOT_ARRIVED and verdict.ask_first:
            return self.doubt(now, order, verdict, one_miss_is_enough=True)
        out = self.not_executed(now, order, verdict)
        return out + self.alarm(now, order, verdict)

    def doubt(self, now: Now, order: Order, verdict: Verdict, *, one_miss_is_enough: bool = False) -> Out:
        """No proof either way: never resend, ask."""
        if order.state != "sent":
            return []  # the stream, or an earlier answer, has said more already
        order.doubt_boot_ns = now.boot_ns
        order.reason = verdict.text or verdict.kind
        out = self._desk.apply(now, order, "silence")
        out.append(self._desk.event(now, "order.unknown", order))
        soon = verdict.kind == "duplicate" or one_miss_is_enough
        return out + self._resolver.ask(now, order, "unknown", at_once=soon, one_miss=one_miss_is_enough)

    def restart_doubt(self, now: Now, order: Order) -> Out:
        """Sent before the restart and not answered as far as the journal knows: a question again."""
        if order.state == "sent":
            return self.doubt(now, order, Verdict("unknown", None, "the gateway restarted before an answer came"))
        order.doubt_boot_ns = now.boot_ns
        return self._resolver.ask(now, order, "unknown")

    def not_executed(self, now: Now, order: Order, verdict: Verdict) -> Out:
        """Refused, or certainly never arrived: the end of this attempt, and perhaps of the intent."""
        order.reason = self._why(verdict)
        out = self._desk.apply(now, order, "refused")
        if order.state != "rejected":
            return out  # other evidence shows it alive: that outranks a refusal
        intent = self._desk.intent_of(order)
        if intent is not None and intent.outcome is None:
            arrived = verdict.kind not in _NOT_ARRIVED
            out += self._rejected(now, order, verdict) if arrived else self._again(now, intent, order, verdict)
        return out + self.on_rejected(order)

    @staticmethod
    def _why(verdict: Verdict) -> str:
        return f"{verdict.code}: {verdict.text}" if verdict.code is not None else verdict.text or verdict.kind

    def _rejected(self, now: Now, order: Order, verdict: Verdict, code: str = "venue.rejected") -> Out:
        more: dict[str, Any] = {"venue_code": verdict.code, "venue_text": verdict.text}
        out: Out = [self._desk.event(now, "order.rejected", order, **more)]
        intent = self._desk.intent_of(order)
        if intent is None or intent.outcome is not None:
            return out
        message = f"the exchange refused {order.cid}: {self._why(verdict)}"
        if code != "venue.rejected":
            message = f"{order.cid} certainly did not arrive ({self._why(verdict)}), after {intent.attempts} attempts"
        return out + self._desk.finish(now, intent, self._desk.refusal(code, message, more))

    def _again(self, now: Now, intent: Intent, order: Order, verdict: Verdict) -> Out:
        """Retries of what certainly did not arrive: entries few and within the deadline, closes decided anew."""
        out: Out = []
        code = "venue.rate_limited" if verdict.kind == "limit" else "venue.not_sent"
        if verdict.kind == "clock":
            if intent.clock_retried and order.role == "entry":
                return out + self._rejected(now, order, verdict)
            intent.clock_retried = True
        if order.cancel:
            return out + self.drop(now, intent, "cancelled before it arrived")
        if self.closed is not None:
            return out + self._refuse(now, intent, Refused(self.closed.code, self.closed.message))
        retry_ms = self._desk.settings.retry_ms
        delay_ms = retry_ms[min(intent.attempts, len(retry_ms)) - 1]
        if order.role == "close":
            delay_ms = min(delay_ms, self._desk.settings.close_retry_max_ms)
        elif intent.attempts >= self._desk.settings.entry_attempts or self._too_late(now, intent, delay_ms):
            return out + self._rejected(now, order, verdict, code)
        intent.not_before_ns = now.boot_ns + delay_ms * MS
        self._held[intent.name] = intent
        self._desk.timers.add(intent.not_before_ns, "held")
        fields = {"client_order_id": order.cid, "why": self._why(verdict), "again_in_ms": delay_ms}
        out.append(Report("warning", "an order did not arrive; trying again", fields))
        return out

    @staticmethod
    def _too_late(now: Now, intent: Intent, delay_ms: int) -> bool:
        return intent.deadline_boot_ns is not None and now.boot_ns + delay_ms * MS > intent.deadline_boot_ns

    # -- after negative proof

    def on_absent(self, now: Now, order: Order, proof: str, *, retry: bool) -> Out:
        """Certainly not there. `retry`: a short doubt (ask first) that may be tried again at once."""
        order.reason = "it certainly never arrived"
        doubted = order.doubt_boot_ns is not None
        out = self._desk.apply(now, order, "expired" if order.acked else "refused")
        if order.state not in ("rejected", "expired"):
            return out
        if doubted:
            outcome = "rejected" if order.state == "rejected" else "expired"
            out.append(self._desk.event(now, "order.resolved", order, outcome=outcome, proof=proof))
        intent = self._desk.intent_of(order)
        if order.state == "rejected" and intent is not None and intent.outcome is None:
            verdict = Verdict("not_sent", None, proof)
            again = self._again(now, intent, order, verdict) if retry else None
            out += again if again is not None else self._rejected(now, order, verdict, "venue.not_sent")
        return out + self.on_rejected(order)

    # -- waiting

    def _hold(self, now: Now, intent: Intent) -> bool:
        """True while it must wait for a quiet second reading; bounded in time, never past its own deadline."""
        since = intent.held_since_ns or now.boot_ns
        intent.held_since_ns = since
        end = since + self._desk.settings.holdback_ms * MS
        if now.boot_ns >= end:
            return False
        self._held[intent.name] = intent
        self._desk.timers.add(min(end, intent.deadline_boot_ns + 1 if intent.deadline_boot_ns else end), "held")
        return True

    def quiet(self, now: Now, symbol: str, on: bool) -> Out:
        if on:
            self._quiet.add(symbol)
            return []
        self._quiet.discard(symbol)
        return self.on_held(now)

    def restore(self, now: Now, intent: Intent) -> None:
        """An intent of the journal without an end: it goes on as soon as it can."""
        self._held[intent.name] = intent
        self._desk.timers.add(now.boot_ns, "held")

    def on_held(self, now: Now) -> Out:
        out: Out = []
        for name, intent in list(self._held.items()):
            if intent.outcome is not None:
                del self._held[name]
            elif intent.expired(now.boot_ns) and intent.place.deadline_ms is not None:
                out += self._expire(now, intent)
            elif intent.not_before_ns > now.boot_ns:
                continue
            elif not self._could_leave(intent):
                self._desk.timers.add(now.boot_ns + 100 * MS, "held")
            else:
                del self._held[name]
                out += self._try(now, intent)
        return out

    def _could_leave(self, intent: Intent) -> bool:
        """After a restart: filters are known, and for an entry the first reconciliation is done."""
        if self._desk.market.instrument(intent.place.symbol) is None or not self._desk.market.clock_known():
            return False
        return intent.place.reduce_only or intent.own or self._desk.account.baseline()

    # -- withdrawing

    def drop(self, now: Now, intent: Intent, why: str) -> Out:
        """A queued or held intent ends; nothing leaves."""
        self._held.pop(intent.name, None)
        order = intent.order
        if order is not None and order.state == "queued":
            self._desk.lanes.remove(("orders", "place", order.cid))
            self._withdraw(order, "cancelled", "cancelled while queued")
        event = self._desk.log.add(
            now, "intent.cancelled", {}, symbol=intent.place.symbol, brain=intent.name[0], ids=Ids(intent=intent.text)
        )
        return [event, *self._desk.finish(now, intent, self._desk.refusal("intent.cancelled", why))]

    @property
    def unanswered(self) -> bool:
        return any(intent.waiters for intent in self._desk.intents.unfinished())

    def held(self) -> list[Intent]:
        return list(self._held.values())

    @staticmethod
    def is_exit(intent: Intent) -> bool:
        """A waiting intent that is a close, as far as it is known: it was one before, or says so."""
        return intent.order.role == "close" if intent.order is not None else intent.place.reduce_only


def own_place(run: str, seq: int, symbol: str, side: str, qty: Decimal, leg: str, tag: str) -> Place:
    """A MARKET close of the gateway itself."""
    return Place(
        id=0, intent=IntentId(GATEWAY_BRAIN, run, seq), symbol=symbol, side=side, type="MARKET",  # type: ignore[arg-type]
        qty=text(qty), leg=leg, reduce_only=True, tag=tag,  # type: ignore[arg-type]
    )  # fmt: skip
