"""Runs a strategy's hooks, one at a time, inside a fence. Pure.

A hook that raises has decided nothing: its orders, cancels, timers, notes and changes of `state` are undone, and
`on_error` is told. Failures are counted; each is reported at most once a second.
"""

from __future__ import annotations

import traceback
from decimal import Decimal
from typing import Any

from brain.api import Bar, Context, Fill, Strategy
from brain.checkpoint import decode_state, encode_state
from brain.desk import Desk, Handle
from brain.evidence import Notice
from brain.inputs import Now, Report
from brain.market import INTERVAL_MS
from brain.records import Record
from ipc.events import Event
from ipc.slices import BarRow

MAX_NOTES_A_STEP = 20
_REPORT_NS = 1_000_000_000
_NOTE_SUBJECTS = ("brain.signal", "brain.decision", "brain.params")
_NOTE_BYTES = 4096


class Hooks:
    """`errors` counts failed hooks."""

    def __init__(self, strategy: Strategy, context: Context, desk: Desk) -> None:
        self.context = context
        self.intervals = tuple(strategy.intervals())
        self.exit_rules = strategy.exit_rules()
        self.errors = 0
        self._strategy = strategy
        self._desk = desk
        self._started = False
        self._reports: list[Report] = []
        self._reported_ns = -_REPORT_NS
        self._state = encode_state(context.state)

    def begin(self, now: Now) -> None:
        self.context.now_ms = now.wall_ms
        self.context.boot_ns = now.boot_ns

    def start(self) -> None:
        if not self._started:
            self._started = True
            self._call("on_start")
            note = {"strategy": self._strategy.name, **self._strategy.params.model_dump(mode="json")}
            self.context.notes.append(("brain.params", None, note))

    def stop(self) -> None:
        if self._started:
            self._call("on_stop")

    def tell(self, notices: list[Notice]) -> None:
        """Trades one by one; of several changes of an order only the newest, since a handle shows no other."""
        last = {notice.record.key: number for number, notice in enumerate(notices) if notice.event is None}
        for number, notice in enumerate(notices):
            if notice.event is None and last[notice.record.key] != number:
                continue
            if notice.event is None:
                self._call("on_order", Handle(notice.record))
            else:
                self._call("on_fill", _fill(notice.record, notice.event))

    def bars(self, seen: dict[str, int]) -> None:
        """Bars that closed since the last one handed over. The first time nothing is: history is no event."""
        for symbol in self.context.symbols:
            for interval in self.intervals:
                self._bars(symbol, interval, seen)

    def _bars(self, symbol: str, interval: str, seen: dict[str, int]) -> None:
        held = self.context._market.bars(symbol, interval)
        if held is None or not held.rows:
            return
        newest_ms = held.rows[-1].open_ms
        self.context.shown["next_bar_ms"] = newest_ms + 2 * INTERVAL_MS[interval]
        name = f"{symbol}:{interval}"
        last_ms = seen.get(name)
        if last_ms == newest_ms:
            return
        seen[name] = newest_ms
        if last_ms is None:
            return
        for row in held.rows:
            if row.open_ms > last_ms:
                self._call("on_bar", _bar(symbol, interval, row, row.open_ms == newest_ms))

    def slice(self, symbol: str) -> None:
        self._call("on_slice", symbol)

    def due_timers(self) -> None:
        due = [timer for timer, at_ns in self.context.timers.items() if at_ns <= self.context.boot_ns]
        for timer in due:
            del self.context.timers[timer]
            self._call("on_timer", timer)

    def take_reports(self) -> list[Report]:
        reports, self._reports = self._reports, []
        return reports

    def take_notes(self) -> list[tuple[Any, str | None, dict[str, Any]]]:
        notes, self.context.notes = self.context.notes[:MAX_NOTES_A_STEP], []
        return [note for note in notes if self._may_note(note)]

    def _may_note(self, note: tuple[str, str | None, dict[str, Any]]) -> bool:
        subject, _, data = note
        try:
            size = len(encode_state(data))
        except TypeError as error:
            self._report("note", error)
            return False
        if subject in _NOTE_SUBJECTS and size <= _NOTE_BYTES:
            return True
        self._report("note", ValueError(f"subject {subject!r} with {size} bytes; see Context.note"))
        return False

    def _call(self, hook: str, *args: Any) -> None:
        error = self._fenced(hook, *args)
        if error is not None:
            self._report(hook, error)
            second = self._fenced("on_error", hook, error)
            if second is not None:
                self._report("on_error", second)

    def _fenced(self, hook: str, *args: Any) -> Exception | None:
        point = self._desk.savepoint()
        timers, notes = dict(self.context.timers), len(self.context.notes)
        try:
            getattr(self._strategy, hook)(self.context, *args)
            self._state = encode_state(self.context.state)
        except Exception as error:  # noqa: BLE001 - this is the fence: a strategy may raise anything
            self._desk.rollback(point)
            self.context.timers = timers
            del self.context.notes[notes:]
            self.context.state = decode_state(self._state)
            return error
        return None

    def _report(self, hook: str, error: Exception) -> None:
        self.errors += 1
        if self.context.boot_ns - self._reported_ns < _REPORT_NS:
            return
        self._reported_ns = self.context.boot_ns
        frames = traceback.extract_tb(error.__traceback__)
        where = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "?"
        fields = {"hook": hook, "error": f"{type(error).__name__}: {error}"[:300], "where": where, "count": self.errors}
        self._reports.append(Report("error", "hook_failed", fields))


def _bar(symbol: str, interval: str, row: BarRow, latest: bool) -> Bar:
    return Bar(
        symbol, interval, row.open_ms, float(row.o), float(row.h), float(row.l), float(row.c), float(row.v), latest
    )


def _fill(record: Record, event: Event) -> Fill:
    data = event.data
    return Fill(
        handle=Handle(record),
        seq=event.seq,
        trade_id=event.ids.trade_id
        if event.ids is not None and event.ids.trade_id is not None
        else data.get("trade_id"),
        qty=Decimal(data["last_qty"]),
        price=Decimal(data["last_price"]),
        fee=Decimal(data.get("fee") or "0"),
        fee_asset=str(data.get("fee_asset") or ""),
        realised=Decimal(data.get("realised") or "0"),
        maker=bool(data.get("maker")),
    )
