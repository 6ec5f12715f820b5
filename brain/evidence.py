"""What events and answers say of the brain's own orders, held until it may be acted on. Pure.

Nothing held here is durable, and need not be: an event is read again from the last committed sequence, an answer is
asked for again because its order still counts as undelivered.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from brain.courier import Courier
from brain.desk import Desk
from brain.inputs import Answered, Now
from brain.records import (
    NAME_USED,
    Key,
    Record,
    adopted,
    advance,
    apply_answer,
    apply_event,
    apply_view,
    intent_key,
)
from ipc import wire
from ipc.cut import Cut
from ipc.events import Event
from rules.orders import CLOSED

MAX_PENDING = 2000


@dataclass(frozen=True, slots=True)
class Notice:
    """What a strategy is to be told of: an order that changed or, with `event`, one of its trades."""

    record: Record
    event: Event | None = None


class Evidence:
    """`seen`: events up to this sequence were read; `concerned`: the last of them that may have changed a slice of this
    brain. `touched`: records to be committed. `used_up`: a name of the
    current run turned out to be taken, so a new run is needed."""

    def __init__(self, desk: Desk, courier: Courier, symbols: tuple[str, ...], seen: int | None) -> None:
        self.seen = seen
        self.concerned = 0
        self.touched: set[Key] = set()
        self.used_up: list[tuple[Record, str]] = []
        self._desk = desk
        self._courier = courier
        self._symbols = symbols
        self._pending: deque[Event] = deque()
        self._answers: deque[Answered] = deque()

    @property
    def after(self) -> int | None:
        """Read events above this; None: none now (no hello yet, or enough are held)."""
        return self.seen if len(self._pending) < MAX_PENDING else None

    def begin_at(self, seq: int) -> None:
        self.seen = seq
        self.concerned = 0
        self._pending.clear()

    def take_events(self, cut: Cut) -> None:
        for event in cut.events:
            if self.seen is not None and event.seq > self.seen:
                if intent_key(event, self._desk.brain) is not None:
                    self._pending.append(event)
                if event.symbol is None or event.symbol in self._symbols:
                    self.concerned = event.seq
                self.seen = event.seq
        if self.seen is not None and cut.last_seq is not None:
            self.seen = max(self.seen, cut.last_seq)

    def take_answer(self, given: Answered) -> None:
        if len(self._answers) < MAX_PENDING:
            self._answers.append(given)

    def drop_answers(self) -> None:
        self._answers.clear()

    def apply(self, now: Now) -> list[Notice]:
        """Everything held, in order; what the strategy is to be told of it.

        Called only when every event that an answer includes was read (`brain.gate`); events come first, so that no fill
        is known before its event is.
        """
        notices = self._lost()
        while self._pending:
            notices += self._event(self._pending.popleft())
        while self._answers:
            notices += self._answer(self._answers.popleft(), now)
        return notices

    # -- events -----------------------------------------------------------------------------------------------

    def _event(self, event: Event) -> list[Notice]:
        key = intent_key(event, self._desk.brain)
        record = self._desk.live.get(key) if key is not None else None
        if record is None:
            record = self._adopt(key, event)
        if record is None or _of_another(record, event):
            return []
        self.touched.add(record.key)
        changed = apply_event(record, event)
        notices = [Notice(record, event)] if event.subject == "order.filled" else []
        return [*notices, Notice(record)] if changed else notices

    def _adopt(self, key: Key | None, event: Event) -> Record | None:
        """An order of ours that the checkpoint does not know: lost with an older one, or thought closed too early."""
        data = event.data
        if key is None or not event.subject.startswith("order.") or event.symbol not in self._symbols:
            return None
        if data.get("state") in CLOSED and event.subject != "order.filled":
            return None  # the end of an order that was known to have ended
        view = wire.OrderView(
            client_order_id=(event.ids.client_order_id if event.ids else None) or "",
            symbol=event.symbol,
            side=str(data.get("side")),
            type="LIMIT" if data.get("price") else "MARKET",
            state="sent",
            qty=str(data.get("qty", "0")),
            price=data.get("price"),
            intent=wire.IntentId(self._desk.brain, *key),
            role=str(data.get("role", "entry")),
        )
        record = adopted(view, self._desk.boot, 0)
        if record is not None:
            self._desk.live[key] = record
            if key[0] == self._desk.run and key[1] >= self._desk.next_seq:
                self._desk.next_seq = key[1] + 1  # the name is used, whoever used it
        return record

    # -- answers ----------------------------------------------------------------------------------------------

    def _lost(self) -> list[Notice]:
        """Orders nobody answered in time: their outcome is unknown, and was asked for again."""
        notices = []
        for key in self._courier.take_lost():
            record = self._desk.live.get(key)
            if record is not None and advance(record, "unknown", reason="gateway.unreachable"):
                self.touched.add(key)
                notices.append(Notice(record))
        return notices

    def _answer(self, given: Answered, now: Now) -> list[Notice]:
        errand, answer = given.errand, given.answer
        self._courier.settled(errand)
        if errand.purpose == "orders":
            self._adopt_views(answer, now)
            return []
        record = self._desk.live.get(errand.key) if errand.key is not None else None
        if record is None:
            return []
        self.touched.add(record.key)
        if errand.purpose == "cancel":
            record.cancel_done = answer.ok
            if not answer.ok:
                self._courier.wait_cancel(record.key, now)
            return []
        changed = self._queried(record, answer) if errand.purpose == "order" else self._placed(record, answer, now)
        return [Notice(record)] if changed else []

    def _placed(self, record: Record, answer: wire.Answer, now: Now) -> bool:
        code = answer.error.code if answer.error is not None else ""
        if code in NAME_USED and record.state in ("queued", "sent", "unknown"):
            self.used_up.append((record, code))
            return advance(record, "rejected", reason=code)
        changed = apply_answer(record, answer)
        if record.state == "unknown":
            self._courier.wait_unknown(record.key, now)
        return changed

    def _queried(self, record: Record, answer: wire.Answer) -> bool:
        if answer.error is not None and answer.error.code == "order.not_found":
            record.delivered = True
            return advance(record, "expired", reason="intent.expired")
        if answer.outcome is not None:
            return apply_answer(record, answer)
        if answer.order is None:
            return False
        record.delivered = True
        return apply_view(record, answer.order)

    def _adopt_views(self, answer: wire.Answer, now: Now) -> None:
        rows = answer.result if isinstance(answer.result, list) else (answer.result or {}).get("orders", [])
        for row in rows:
            record = adopted(msgspec.convert(row, wire.OrderView), self._desk.boot, now.wall_ms)
            if record is None or record.closed or record.symbol not in self._symbols:
                continue
            known = self._desk.live.get(record.key)
            if record.place.intent.brain == self._desk.brain and (known is None or known.adopted):
                self._desk.live[record.key] = record
                self.touched.add(record.key)


def _of_another(record: Record, event: Event) -> bool:
    """An event of the same name but other content: the name stands for an earlier order, as `intent.conflict` is about
    to say. A close may have been sent for less than was asked: no more than the position leaves."""
    side, qty = event.data.get("side"), event.data.get("qty")
    if record.delivered or side is None or qty is None:
        return False
    sent, asked = Decimal(qty), Decimal(record.place.qty)
    smaller_close = sent < asked and event.data.get("role") == "close"
    return bool(side != record.place.side or (sent != asked and not smaller_close))
