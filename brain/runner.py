"""One strategy on its inputs: `step(now, input) -> effects`. Pure; live, paper and backtest run this same object.

A decision is made only on a cut whose account slices include the last event and the last answer (`_closed_gate`).
Within one step: what events and answers say is noted, the interceptor looks, then the strategy's hooks run, and what
was decided is committed together with the position in the event stream; only after that is anything sent. So a crash
before the commit decides the same again from the same state under the same numbers, and a crash after it sends the
outbox again word for word.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from brain.api import Context, Strategy
from brain.checkpoint import Checkpoint, Meta, encode_meta, encode_state, run_name
from brain.courier import Courier
from brain.desk import Desk
from brain.hooks import Hooks, Notice
from brain.inputs import (
    Answered,
    Ask,
    Commit,
    Connected,
    CutRead,
    Disconnected,
    Effect,
    Errand,
    Exit,
    Hangup,
    Input,
    Now,
    Ready,
    Report,
    Stop,
)
from brain.interceptor import TAG, triggered
from brain.market import Market
from brain.records import (
    NAME_USED,
    Key,
    Record,
    adopted,
    advance,
    apply_answer,
    apply_event,
    apply_view,
    encode,
    intent_key,
)
from ipc import wire
from ipc.cut import Cut
from ipc.events import Event

MAX_PENDING = 2000
_LAST_EVENT_STEP = 1000  # a checkpoint is not written for other people's events alone, but at least so often
_STOP_NS = 2_000_000_000
_REPORT_WAIT_NS = 10_000_000_000
_FATAL = {
    "rights.denied": 2, "brain.symbol_taken": 2, "wire.version": 2, "symbol.unknown": 1, "wire.bad_request": 2,
}  # fmt: skip
_NAME_TAKEN_NS = 10_000_000_000


class Runner:
    """`after` and `need_as_of` are what the next read of the feed must use."""

    def __init__(
        self,
        strategy: Strategy,
        checkpoint: Checkpoint,
        *,
        name: str,
        symbols: Sequence[str],
        boot: str,
        ping_ns: int = 1_000_000_000,
    ) -> None:
        self.name = name
        self.symbols = tuple(symbols)
        self.boot = boot
        self.market = Market()
        self.desk = Desk(name, boot, self.market)
        self.courier = Courier(ping_ns)
        self.need_as_of = 0
        self.ready = False
        self.waiting_for = "the gateway"
        self._strategy = strategy
        self._meta = checkpoint.meta
        self._restore(checkpoint)
        context = Context(self.desk, self.market, self.symbols, name)
        context.state = checkpoint.state
        context.restarted = not checkpoint.fresh
        self.hooks = Hooks(strategy, context, self.desk)
        self._seen = checkpoint.meta.last_event  # up to here events were read, pending or handled
        self._pending: deque[Event] = deque()
        self._answers: deque[Answered] = deque()
        self._epoch: str | None = None
        self._committed_meta = b""
        self._committed_state = encode_state(checkpoint.state)
        self._dirty: set[Key] = set()
        self._slice_seqs: dict[str, tuple[int, ...]] = {}
        self._stopping_ns: int | None = None
        self._stop_reason = ""
        self._waiting_since: tuple[str, int] = ("", 0)
        self._taken_since_ns: int | None = None

    def _restore(self, checkpoint: Checkpoint) -> None:
        self.desk.run = checkpoint.meta.run
        self.desk.next_seq = checkpoint.meta.next_seq
        self.desk.closings = dict(checkpoint.meta.closings)
        self.desk.live = {record.key: record for record in checkpoint.records}

    @property
    def after(self) -> int | None:
        """Read events above this sequence; None: none now (no hello yet, or enough are waiting)."""
        return self._seen if len(self._pending) < MAX_PENDING else None

    @property
    def epoch(self) -> str | None:
        return self._epoch

    def step(self, now: Now, given: Input) -> list[Effect]:
        """One input, wholly handled. Effects are performed in their order."""
        out: list[Effect] = []
        if isinstance(given, CutRead):
            self._on_cut(now, given.cut, out)
        elif isinstance(given, Answered):
            self._on_answer(now, given, out)
        elif isinstance(given, Connected):
            self.courier.connection(True)
            self._greet(now, out)
        elif isinstance(given, Disconnected):
            self.courier.connection(False)
            self._answers.clear()
            self._epoch = None
            out.append(Report("warning", "gateway_lost", {"reason": given.reason}))
        else:
            self._on_stop(now, given, out)
        out += self._sends(now)
        self._finish(now, out)
        return out

    # -- the link ---------------------------------------------------------------------------------------------

    def _greet(self, now: Now, out: list[Effect]) -> None:
        hello = wire.Hello(
            id=0, brain=self.name, run=self.desk.run, strategy=self._strategy.name, symbols=list(self.symbols),
            intervals=list(self.hooks.intervals),
        )  # fmt: skip
        out.append(self.courier.greet(hello, now))

    def _on_answer(self, now: Now, given: Answered, out: list[Effect]) -> None:
        answer = given.answer
        again = self.courier.landed(given.errand, answer, now)
        purpose = given.errand.purpose
        if purpose == "hello":
            self._on_hello(now, answer, out)
        elif again:
            if not self.courier.linked and Errand("hello") not in self.courier.flying:
                self._greet(now, out)
        elif purpose in ("place", "order", "cancel", "orders"):
            self.need_as_of = max(self.need_as_of, answer.as_of or 0)
            if len(self._answers) < MAX_PENDING:
                self._answers.append(given)  # handled with the next cut that includes it
        elif answer.error is not None:
            out.append(Report("warning", "refused", {"op": purpose, "code": answer.error.code}))

    def _on_hello(self, now: Now, answer: wire.Answer, out: list[Effect]) -> None:
        if not answer.ok:
            self._hello_refused(now, answer, out)
            return
        result = answer.result if isinstance(answer.result, dict) else {}
        self._taken_since_ns = None
        self._epoch = str(result.get("epoch"))
        as_of = int(result.get("as_of") or answer.as_of or 0)
        if self._seen is None or as_of < self._seen:
            if self._seen is not None:
                out.append(Report("warning", "events_begin_anew", {"was": self._seen, "now": as_of}))
            self._seen = self._meta.last_event = as_of
            self._pending.clear()
            self.need_as_of = 0
        self.need_as_of = max(self.need_as_of, as_of)
        if int(result.get("last_seq") or 0) >= self.desk.next_seq:
            out.append(Report("warning", "checkpoint_behind", {"run": self.desk.run, "next_seq": self.desk.next_seq}))
            self._new_run(now, out)
            return
        self.courier.linked = True
        out.append(Report("info", "linked", {"epoch": self._epoch, "run": self.desk.run, "as_of": as_of}))
        query = wire.OrdersQuery(id=0, brain=self.name, limit=1000)
        out.append(Ask(Errand("orders"), query))
        self._commit(out)

    def _hello_refused(self, now: Now, answer: wire.Answer, out: list[Effect]) -> None:
        error = answer.error
        code, message = (error.code, error.message) if error is not None else ("op.internal", "")
        out.append(Report("warning", "hello_refused", {"code": code, "message": message}))
        if code == "brain.run_used":
            self._new_run(now, out)
        elif code in _FATAL:
            out.append(Exit(_FATAL[code], f"{code}: {message}"))
        elif code == "brain.name_taken" and not self.ready:
            # after a crash the gateway may need a moment to see that the earlier process is gone
            self._taken_since_ns = self._taken_since_ns or now.boot_ns
            if now.boot_ns - self._taken_since_ns > _NAME_TAKEN_NS:
                out.append(Exit(2, f"{code}: {message}"))
            else:
                out.append(Hangup(code))
        else:
            out.append(Hangup(code))

    def _new_run(self, now: Now, out: list[Effect]) -> None:
        self.desk.run = run_name(now.wall_ms, self.desk.run)
        self.desk.next_seq = 1
        out.append(Report("warning", "new_run", {"run": self.desk.run}))
        self._commit(out)
        self._greet(now, out)

    # -- a cut ------------------------------------------------------------------------------------------------

    def _on_cut(self, now: Now, cut: Cut, out: list[Effect]) -> None:
        self._take_events(cut)
        why = self._closed_gate(cut)
        self._say_waiting(now, why, out)
        if why:
            return
        self.market.install(cut)
        slices = cut.gateway.slice.seq if cut.gateway.slice is not None else None
        self.desk.begin(now, wire.Cause(slices, self._seen))
        self.hooks.begin(now)
        notices = self._note_lost() + self._take_answers(now, out) + self._take_pending()
        self._intercept(out)
        self._run_hooks(notices, out)
        self._commit(out)

    def _take_events(self, cut: Cut) -> None:
        for event in cut.events:
            if self._seen is None or event.seq > self._seen:
                if intent_key(event, self.name) is not None:
                    self._pending.append(event)
                self._seen = event.seq
        if self._seen is not None and cut.last_seq is not None:
            self._seen = max(self._seen, cut.last_seq)

    def _closed_gate(self, cut: Cut) -> str:
        """Why nothing may be decided on this cut; empty when it may."""
        if not self.courier.connected:
            return "the gateway's socket"
        if not self.courier.linked:
            return "the gateway's answer to hello"
        if cut.refused:
            return cut.refused
        if cut.epoch != self._epoch:
            return f"slices of gateway epoch {self._epoch} (there are those of {cut.epoch})"
        for symbol, each in cut.symbols.items():
            why = each.account_refusal()
            if why:
                return f"{symbol}: {why}"
            for head in (each.ledger.slice, each.position.slice, each.orders.slice):
                if head is not None and (head.as_of or 0) < self.need_as_of:
                    return f"{symbol}: slices that include event {self.need_as_of}"
        return ""

    def _say_waiting(self, now: Now, why: str, out: list[Effect]) -> None:
        self.waiting_for = why
        if not why:
            if not self.ready:
                self.ready = True
                out.append(Ready())
            if self._waiting_since[0]:
                out.append(Report("info", "deciding"))
            self._waiting_since = ("", 0)
            return
        before, since_ns = self._waiting_since
        if not before or now.boot_ns - since_ns >= _REPORT_WAIT_NS:
            # a cut that is refused for one poll is nothing to talk about
            if before:
                out.append(Report("info", "waiting", {"for": why}))
            self._waiting_since = (why, now.boot_ns - (0 if before else _REPORT_WAIT_NS - 500_000_000))

    def _take_pending(self) -> list[Notice]:
        notices: list[Notice] = []
        while self._pending:
            event = self._pending.popleft()
            key = intent_key(event, self.name)
            record = self.desk.live.get(key) if key is not None else None
            if record is None:
                record = self._adopt_event(event)
            if record is None:
                continue
            self._dirty.add(record.key)
            changed = apply_event(record, event)
            if event.subject == "order.filled":
                notices.append(Notice(record, event))
            if changed:
                notices.append(Notice(record))
        self._meta.last_event = self._seen
        return notices

    def _adopt_event(self, event: Event) -> Record | None:
        """An order of ours that the checkpoint does not know: lost with an older one, or thought closed too early."""
        key, data = intent_key(event, self.name), event.data
        if key is None or not event.subject.startswith("order.") or event.symbol not in self.symbols:
            return None
        view = wire.OrderView(
            client_order_id=(event.ids.client_order_id if event.ids else None) or "",
            symbol=event.symbol, side=str(data.get("side")), type="LIMIT" if data.get("price") else "MARKET",
            state="sent", qty=str(data.get("qty", "0")), price=data.get("price"),
            intent=wire.IntentId(self.name, *key), role=str(data.get("role", "entry")),
        )  # fmt: skip
        record = adopted(view, self.boot, 0)
        if record is not None:
            self.desk.live[key] = record
        return record

    def _note_lost(self) -> list[Notice]:
        """Orders nobody answered in time: their outcome is unknown, and was asked for again."""
        notices = []
        for key in self.courier.take_lost():
            record = self.desk.live.get(key)
            if record is not None and advance(record, "unknown", reason="gateway.unreachable"):
                self._dirty.add(key)
                notices.append(Notice(record))
        return notices

    def _take_answers(self, now: Now, out: list[Effect]) -> list[Notice]:
        notices: list[Notice] = []
        while self._answers:
            errand, answer = (given := self._answers.popleft()).errand, given.answer
            record = self.desk.live.get(errand.key) if errand.key is not None else None
            if errand.purpose == "orders":
                self._adopt_views(answer, now)
            elif record is None:
                continue
            elif errand.purpose == "cancel":
                record.cancel_done = answer.ok
                self._dirty.add(record.key)
            elif errand.purpose == "order":
                notices += self._on_order_answer(record, answer)
            else:
                notices += self._on_place_answer(now, record, answer, out)
        return notices

    def _on_place_answer(self, now: Now, record: Record, answer: wire.Answer, out: list[Effect]) -> list[Notice]:
        self._dirty.add(record.key)
        code = answer.error.code if answer.error is not None else ""
        if code in NAME_USED and record.state in ("queued", "sent", "unknown"):
            return self._name_used(now, record, code, out)
        changed = apply_answer(record, answer)
        if record.state == "unknown":
            self.courier.wait_unknown(record.key, now)
        return [Notice(record)] if changed else []

    def _on_order_answer(self, record: Record, answer: wire.Answer) -> list[Notice]:
        self._dirty.add(record.key)
        if answer.error is not None and answer.error.code == "order.not_found":
            record.delivered = True
            return [Notice(record)] if advance(record, "expired", reason="intent.expired") else []
        view = answer.order
        if view is None:
            return []
        record.delivered = True
        return [Notice(record)] if apply_view(record, view) else []

    def _name_used(self, now: Now, record: Record, code: str, out: list[Effect]) -> list[Notice]:
        """The checkpoint was lost or copied: what this name became the first time is adopted from the list of orders;
        a close goes again at once under a new name, an entry ends here."""
        out.append(Report("warning", "name_used", {"intent": f"{record.key[0]}/{record.key[1]}", "code": code}))
        if record.key[0] == self.desk.run:
            self._new_run(now, out)
        if record.role == "exit":
            self.desk.reissue(record)
        advance(record, "rejected", reason=code)
        return [Notice(record)]

    def _adopt_views(self, answer: wire.Answer, now: Now) -> None:
        rows = answer.result if isinstance(answer.result, list) else (answer.result or {}).get("orders", [])
        for row in rows:
            record = adopted(msgspec.convert(row, wire.OrderView), self.boot, now.wall_ms)
            if record is None or record.closed or record.symbol not in self.symbols:
                continue
            if record.place.intent.brain == self.name and record.key not in self.desk.live:
                self.desk.live[record.key] = record
                self._dirty.add(record.key)

    # -- deciding ---------------------------------------------------------------------------------------------

    def _intercept(self, out: list[Effect]) -> None:
        """Before any hook: orders that ended free a closing, limits are checked, closings go on."""
        for record in self.desk.live.values():
            if record.closed:
                self.desk.note_ended(record)
        rules = self.hooks.exit_rules
        for symbol in self.symbols:
            position = self.market.position(symbol)
            price = self.market.prices(symbol).hit(position.qty) if position is not None else None
            if rules is not None and position is not None and price is not None and symbol not in self.desk.closings:
                what = triggered(position.qty, position.entry, price, rules)
                if what:
                    self.desk.start_closing(symbol, f"{TAG}.{what}", rules.slippage_bps)
                    fields = {"symbol": symbol, "price": str(price), "entry": str(position.entry)}
                    out.append(Report("info", what, {**fields, "qty": str(position.qty)}))
                    self.hooks.context.show(decision=f"{what.replace('_', ' ')} at {price}, entry {position.entry}")
            self.desk.work_closing(symbol)
        for symbol, left in self.desk.dust:
            out.append(Report("warning", "dust", {"symbol": symbol, "qty": str(left)}))
        self.desk.dust.clear()

    def _run_hooks(self, notices: list[Notice], out: list[Effect]) -> None:
        if self._stopping_ns is None:
            self.hooks.start()
            self.hooks.tell(notices)
            self.hooks.bars(self._meta.bars_seen)
            for symbol in self.symbols:
                if self._moved(symbol):
                    self.hooks.slice(symbol)
            self.hooks.due_timers()
        for symbol in self.symbols:  # a hook may have begun to close, or to cancel what stood in the way
            self.desk.work_closing(symbol)
        self._collect(out)

    def _collect(self, out: list[Effect]) -> None:
        out += self.hooks.take_reports()
        for subject, symbol, data in self.hooks.take_notes():
            self.courier.note(wire.Note(id=0, subject=subject, symbol=symbol, data=data))

    def _moved(self, symbol: str) -> bool:
        each = self.market.symbol(symbol)
        heads = (each.book.fresh, each.mark.fresh, each.ledger.fresh)
        seqs = tuple(head.seq if head is not None else -1 for head in heads)
        moved = seqs != self._slice_seqs.get(symbol)
        self._slice_seqs[symbol] = seqs
        return moved

    # -- committing and sending -------------------------------------------------------------------------------

    def _commit(self, out: list[Effect]) -> None:
        """Everything decided and learned in this step, in one transaction; nothing if there is nothing."""
        for record in self.desk.staged:
            self.desk.live[record.key] = record
            self._dirty.add(record.key)
        self.desk.staged.clear()
        for key in self.desk.cancels:
            record_ = self.desk.live.get(key)
            if record_ is not None and not record_.cancel_asked:
                record_.cancel_asked = True
                self._dirty.add(key)
        self.desk.cancels.clear()
        put, gone = [], []
        for key in self._dirty:
            record = self.desk.live[key]
            if record.closed:
                gone.append(key)
                del self.desk.live[key]
            else:
                put.append((*key, encode(record)))
        self._dirty.clear()
        meta = self._meta_if_due(bool(put or gone))
        state = encode_state(self.hooks.context.state)
        changed = state if state != self._committed_state else None
        if put or gone or meta is not None or changed is not None:
            self._committed_state = state
            out.append(Commit(meta, changed, tuple(put), tuple(gone)))

    def _meta_if_due(self, orders_changed: bool) -> bytes | None:
        old = self._meta
        meta = Meta(
            strategy=old.strategy, run=self.desk.run, next_seq=self.desk.next_seq, last_event=old.last_event,
            closings=dict(self.desk.closings), bars_seen=old.bars_seen,
        )  # fmt: skip
        raw = encode_meta(meta)
        if raw == self._committed_meta:
            return None
        same = (meta.run, meta.next_seq, meta.closings, meta.bars_seen) == self._committed_parts()
        lag = (meta.last_event or 0) - self._committed_event
        if same and not orders_changed and 0 <= lag < _LAST_EVENT_STEP and self._committed_meta:
            return None
        self._committed_meta = raw
        self._parts = (meta.run, meta.next_seq, meta.closings, dict(meta.bars_seen))
        self._committed_event = meta.last_event or 0
        return raw

    _parts: tuple[Any, ...] = ()
    _committed_event = 0

    def _committed_parts(self) -> tuple[Any, ...]:
        return self._parts

    def _sends(self, now: Now) -> list[Effect]:
        if self.courier.hello_overdue(now):
            return [Hangup("no answer to hello")]
        self.hooks.context.shown.update(self._shown())
        return list(self.courier.due(self.desk.live.values(), self.hooks.context.shown, self.boot, now))

    def _shown(self) -> dict[str, Any]:
        return {
            "strategy": self._strategy.name,
            "state": f"waiting for {self.waiting_for}" if self.waiting_for else "deciding",
            "profit": str(self.hooks.context.profit()) if self.market.cut is not None else None,
            "open_orders": len(self.desk.live),
            "closing": sorted(self.desk.closings),
            "errors": self.hooks.errors,
        }

    def _on_stop(self, now: Now, given: Stop, out: list[Effect]) -> None:
        if self._stopping_ns is not None:
            return
        self._stopping_ns = now.boot_ns
        self._stop_reason = given.reason
        self.desk.begin(now, wire.Cause(None, self._seen))
        self.hooks.begin(now)
        self.hooks.stop()
        self._collect(out)
        self._commit(out)

    def _finish(self, now: Now, out: list[Effect]) -> None:
        if self._stopping_ns is None:
            return
        waited_ns = now.boot_ns - self._stopping_ns
        if not self.courier.busy() or waited_ns > _STOP_NS or not self.courier.connected:
            out.append(Exit(0, self._stop_reason))
