"""One strategy on its inputs: `step(now, input) -> effects`. Pure; live, paper and backtest run this same object.

A decision is made only on a cut whose account slices include the last event and the last answer (`brain.gate`).
Within one step: what events and answers say is noted, the interceptor looks, then the strategy's hooks run, and what
was decided is committed together with the position in the event stream; only after that is anything sent. So a crash
before the commit decides the same again from the same state under the same numbers, and a crash after it sends the
outbox again word for word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from brain.api import Context, Strategy
from brain.checkpoint import Checkpoint, run_name
from brain.courier import Courier
from brain.desk import Desk
from brain.evidence import Evidence, Notice
from brain.gate import Waiting, refusal
from brain.hooks import Hooks
from brain.inputs import (
    Answered,
    Ask,
    Connected,
    CutRead,
    Disconnected,
    Effect,
    Errand,
    Exit,
    Hangup,
    Input,
    Now,
    Report,
    Stop,
)
from brain.interceptor import TAG, triggered
from brain.keeper import Keeper
from brain.market import Market
from ipc import wire
from ipc.cut import Cut
from rules.instrument import text

_STOP_NS = 2_000_000_000
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
        self.need_as_of = 0
        self._answered = 0
        self._seen_at_hello: int | None = None
        self.epoch: str | None = None
        self.market = Market()
        self.desk = Desk(name, boot, self.market)
        self.desk.run = checkpoint.meta.run
        self.desk.next_seq = checkpoint.meta.next_seq
        self.desk.closings = dict(checkpoint.meta.closings)
        self.desk.live = {record.key: record for record in checkpoint.records}
        self.courier = Courier(ping_ns)
        self.evidence = Evidence(self.desk, self.courier, self.symbols, checkpoint.meta.last_event)
        self.keeper = Keeper(checkpoint, self.desk)
        context = Context(self.desk, self.market, self.symbols, name)
        context.state = checkpoint.state
        context.restarted = not checkpoint.fresh
        self.hooks = Hooks(strategy, context, self.desk)
        self.waiting = Waiting()
        self._strategy = strategy
        self._slice_seqs: dict[str, tuple[int, ...]] = {}
        self._stopping_ns: int | None = None
        self._stop_reason = ""
        self._taken_since_ns: int | None = None

    @property
    def after(self) -> int | None:
        """Read events above this sequence; None: none now."""
        return self.evidence.after

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
            self.evidence.drop_answers()
            self.epoch = None
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
        self._seen_at_hello = self.evidence.seen
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
            self._answered = max(self._answered, answer.as_of or 0)
            self.evidence.take_answer(given)  # acted on with the next cut that includes it
        elif answer.error is not None:
            out.append(Report("warning", "refused", {"op": purpose, "code": answer.error.code}))

    def _on_hello(self, now: Now, answer: wire.Answer, out: list[Effect]) -> None:
        if not answer.ok:
            self._hello_refused(now, answer, out)
            return
        result = answer.result if isinstance(answer.result, dict) else {}
        self._taken_since_ns = None
        self.epoch = str(result.get("epoch"))
        as_of = int(result.get("as_of") or answer.as_of or 0)
        self._join_events(as_of, out)
        if int(result.get("last_seq") or 0) >= self.desk.next_seq:
            out.append(Report("warning", "checkpoint_behind", {"run": self.desk.run, "next_seq": self.desk.next_seq}))
            self._new_run(now, out)
            return
        self.courier.linked = True
        out.append(Report("info", "linked", {"epoch": self.epoch, "run": self.desk.run, "as_of": as_of}))
        self._commit(out)
        # orders a lost checkpoint does not know are adopted
        out.append(Ask(Errand("orders"), wire.OrdersQuery(id=0, brain=self.name, limit=100)))

    def _join_events(self, as_of: int, out: list[Effect]) -> None:
        """A gateway whose journal ends before what was read when it was greeted has another journal: events begin anew.
        What was read since then, while the answer was on its way, may lie behind `as_of` in any journal."""
        seen = self._seen_at_hello
        if seen is not None and as_of >= seen:
            self.need_as_of = max(self.need_as_of, as_of)
            return
        if seen is not None:
            out.append(Report("warning", "events_begin_anew", {"was": seen, "now": as_of}))
        self.evidence.begin_at(as_of)
        self.keeper.meta.last_event = as_of
        self.need_as_of = self._answered = as_of

    def _hello_refused(self, now: Now, answer: wire.Answer, out: list[Effect]) -> None:
        error = answer.error
        code, message = (error.code, error.message) if error is not None else ("op.internal", "")
        out.append(Report("warning", "hello_refused", {"code": code, "message": message}))
        if code == "brain.run_used" and error is not None:
            self._new_run(now, out, str(error.detail.get("newest") or ""))
        elif code in _FATAL:
            out.append(Exit(_FATAL[code], f"{code}: {message}"))
        elif code == "brain.name_taken" and not self.waiting.ready:
            # after a crash the gateway may need a moment to see that the earlier process is gone
            self._taken_since_ns = self._taken_since_ns or now.boot_ns
            if now.boot_ns - self._taken_since_ns > _NAME_TAKEN_NS:
                out.append(Exit(2, f"{code}: {message}"))
            else:
                out.append(Hangup(code))
        else:
            out.append(Hangup(code))

    def _new_run(self, now: Now, out: list[Effect], newest: str = "") -> None:
        """Newer than ours and than what the gateway knows, even if the clock went back."""
        self.desk.run = run_name(now.wall_ms, max(self.desk.run, newest, key=lambda run: int(run[1:] or 0)))
        self.desk.next_seq = 1
        out.append(Report("warning", "new_run", {"run": self.desk.run}))
        self._commit(out)
        self._greet(now, out)

    # -- a cut ------------------------------------------------------------------------------------------------

    def _on_cut(self, now: Now, cut: Cut, out: list[Effect]) -> None:
        self.evidence.take_events(cut)
        why = "the gateway's answer to hello" if self.courier.connected else "the gateway's socket"
        if self.courier.linked:
            need = max(self.need_as_of, self.evidence.concerned)
            why = refusal(cut, self.epoch, need, self.evidence.seen or 0, self._answered)
        self.waiting.note(why, now, out)
        if why:
            return
        self.market.install(cut)
        slices = cut.gateway.slice.seq if cut.gateway.slice is not None else None
        self.desk.begin(now, wire.Cause(slices, self.evidence.seen))
        self.hooks.begin(now)
        notices = self.evidence.apply(now)
        self.keeper.meta.last_event = self.evidence.seen
        self._rename(now, out)
        self._intercept(out)
        self._run_hooks(notices, out)
        self._commit(out)

    def _rename(self, now: Now, out: list[Effect]) -> None:
        """Names that were used up, by a checkpoint lost or copied: what they became the first time is adopted from the
        list of orders; a close goes again at once under a name of a new run, an entry has ended."""
        used, self.evidence.used_up = self.evidence.used_up, []
        if any(record.key[0] == self.desk.run for record, _ in used):
            self.desk.run = run_name(now.wall_ms, self.desk.run)
            self.desk.next_seq = 1
            self._greet(now, out)
        for record, code in used:
            fields = {"intent": f"{record.key[0]}/{record.key[1]}", "code": code, "run": self.desk.run}
            out.append(Report("warning", "name_used", fields))
            if record.role == "exit":
                self.desk.reissue(record)

    # -- deciding ---------------------------------------------------------------------------------------------

    def _intercept(self, out: list[Effect]) -> None:
        """Before any hook: orders that ended free a closing, limits are checked, closings go on."""
        for record in self.desk.live.values():
            if record.closed:
                self.desk.note_ended(record)
        for symbol in self.symbols:
            self._check_limits(symbol, out)
            self.desk.work_closing(symbol)
        for symbol, left in self.desk.dust:
            out.append(Report("warning", "dust", {"symbol": symbol, "qty": str(left)}))
        self.desk.dust.clear()

    def _check_limits(self, symbol: str, out: list[Effect]) -> None:
        rules, position = self.hooks.exit_rules, self.market.position(symbol)
        if rules is None or position is None or symbol in self.desk.closings:
            return
        price = self.market.prices(symbol).hit(position.qty)
        what = triggered(position.qty, position.entry, price, rules) if price is not None else ""
        if what:
            self.desk.start_closing(symbol, f"{TAG}.{what}", rules.slippage_bps)
            fields = {"symbol": symbol, "price": str(price), "entry": str(position.entry), "qty": str(position.qty)}
            out.append(Report("info", what, fields))
            self.hooks.context.show(decision=f"{what.replace('_', ' ')} at {price}, entry {position.entry}")

    def _run_hooks(self, notices: list[Notice], out: list[Effect]) -> None:
        if self._stopping_ns is None:
            self.hooks.start()
            self.hooks.tell(notices)
            self.hooks.bars(self.keeper.meta.bars_seen)
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
        book, mark, ledger = each.book.fresh, each.mark.fresh, each.ledger.fresh
        seqs = (
            book.seq if book is not None else -1,
            mark.seq if mark is not None else -1,
            ledger.seq if ledger is not None else -1,
        )
        moved = seqs != self._slice_seqs.get(symbol)
        self._slice_seqs[symbol] = seqs
        return moved

    # -- committing and sending -------------------------------------------------------------------------------

    def _commit(self, out: list[Effect]) -> None:
        """Everything decided and learned in this step, in one transaction; nothing if there is nothing."""
        commit = self.keeper.collect(self.evidence.touched, self.hooks.context.state)
        if commit is not None:
            # before whatever this step sends, also a hello under a new run
            at = next((index for index, effect in enumerate(out) if isinstance(effect, Ask)), len(out))
            out.insert(at, commit)

    def _sends(self, now: Now) -> list[Effect]:
        if self.courier.hello_overdue(now):
            return [Hangup("no answer to hello")]
        if self.courier.may_show(now):
            self.hooks.context.shown.update(self._shown())
        return list(self.courier.due(self.desk.live.values(), self.hooks.context.shown, self.boot, now))

    def _shown(self) -> dict[str, Any]:
        waiting = self.waiting.reason
        return {
            "strategy": self._strategy.name,
            "state": f"waiting for {waiting}" if waiting else "deciding",
            "profit": text(self.hooks.context.profit()) if self.market.cut is not None else None,
            "open_orders": len(self.desk.live),
            "closing": sorted(self.desk.closings),
            "errors": self.hooks.errors,
        }

    def _on_stop(self, now: Now, given: Stop, out: list[Effect]) -> None:
        if self._stopping_ns is not None:
            return
        self._stopping_ns = now.boot_ns
        self._stop_reason = given.reason
        self.desk.begin(now, wire.Cause(None, self.evidence.seen))
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
