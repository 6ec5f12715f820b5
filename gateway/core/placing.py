"""From `place` to the order that may leave: intents by name, their decision, and those that have to wait."""

from __future__ import annotations

from decimal import Decimal

from gateway.core import answers
from gateway.core.client_ids import run_number
from gateway.core.effects import OrderLane, Send, Write
from gateway.core.inputs import Now
from gateway.core.intents import Intent, Waiter, canonical, deadline_ns
from gateway.core.order_checks import GATEWAY_BRAIN, Checker, Shape, faulty
from gateway.core.order_desk import Desk
from gateway.core.order_record import Order
from gateway.core.parts import Out
from gateway.core.ports import Caller
from gateway.core.rows import IntentRow
from gateway.core.timers import MS
from ipc.errors import IpcError
from ipc.events import Ids
from ipc.wire import IntentId, Place
from rules.instrument import text
from rules.orders import Progress
from rules.risk import Refused


class Placing:
    def __init__(self, desk: Desk, checker: Checker, *, boot: str) -> None:
        self._desk = desk
        self._checker = checker
        self._boot = boot
        self._held: dict[tuple[str, str, int], Intent] = {}
        self._quiet: set[str] = set()  # symbols whose entries wait for a quiet second reading
        self.closed: IpcError | None = None  # why nothing new is taken: a stop, a journal that fails

    # -- a request

    def place(self, now: Now, caller: Caller, request: Place) -> Out:
        desk = self._desk
        named = request.intent
        name = (named.brain, named.run, named.seq)
        brain = desk.brains.get(name[0]) if name[0] != GATEWAY_BRAIN else None
        if not (caller.admin or caller.brain == name[0]) or brain is None:
            message = f"this connection does not speak for brain {name[0]!r}; say hello under that name first"
            return self._turn_away(now, caller, request, IpcError("rights.denied", message))
        content = canonical(request)
        known = desk.intents.get(name)
        if known is not None:
            return self._repeat(now, caller, request, known, content)
        if brain.run != name[1] or desk.intents.forgotten(name):
            message = f"run {name[1]} seq {name[2]} lies behind what is registered (run {brain.run})"
            return self._turn_away(now, caller, request, IpcError("intent.old_run", message))
        if self.closed is not None:
            return self._turn_away(now, caller, request, self.closed)
        fault = faulty(request)
        if fault is not None:
            return self._turn_away(now, caller, request, IpcError("wire.bad_request", fault))
        intent = self._intent(now, name, request, content)
        intent.person = caller.admin and caller.brain is None
        waiter = self._waiter(now, caller, request.id)
        intent.waiters.append(waiter)
        row = Write(self._row(now, intent, brain.number))
        desk.intents.add(intent)
        desk.timers.add(waiter.until_boot_ns, "answer", name)
        return [row, *self._try(now, intent)]

    def _intent(self, now: Now, name: tuple[str, str, int], place: Place, content: bytes) -> Intent:
        """Role decides the default deadline: entries have one, closes none; it is known by the side's shape only later,
        so an unflagged order starts with the entry's and loses it when it proves to be a close."""
        asked = place.asked_boot_ns if place.asked_boot_ns is not None else now.boot_ns
        deadline_ms = place.deadline_ms
        if deadline_ms is None and not place.reduce_only:
            deadline_ms = self._desk.settings.entry_deadline_ms
        deadline = deadline_ns(now.boot_ns, asked, deadline_ms)
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
            return self.expire(now, intent)
        shape = self._checker.decide(now, intent)
        if expired and (isinstance(shape, Refused) or shape.role == "entry"):
            return self.expire(now, intent)
        if isinstance(shape, Refused):
            return self.refuse(now, intent, shape)
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

    def refuse(self, now: Now, intent: Intent, refused: Refused) -> Out:
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

    def expire(self, now: Now, intent: Intent) -> Out:
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

    def withdraw(self, order: Order, input_: str, reason: str) -> None:
        order.reason = reason
        self._desk.drop(order, input_)

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

    def try_later(self, now: Now, intent: Intent, delay_ms: int) -> None:
        """Decide it anew after a while."""
        intent.not_before_ns = now.boot_ns + delay_ms * MS
        self._held[intent.name] = intent
        self._desk.timers.add(intent.not_before_ns, "held")

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
                out += self.expire(now, intent)
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
            self.withdraw(order, "cancelled", "cancelled while queued")
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
