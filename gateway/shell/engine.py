"""Drives the core: one input at a time, its rows committed first, then its effects performed, then the next input.

Inputs that arrive while effects are performed (a send that fails at once) wait their turn. A `place` that may leave
goes from its line to the order connection within one `feed`.

Faults. The journal: what is not `repeatable` does not leave, its owner is told unsent; the rows are kept (bounded) and
written as soon as the journal takes them. The core itself: while it only read, the asker is told `op.internal`; while
it handled a market frame, that connection is rebuilt (3 times a minute at most); otherwise its state may be wrong, and
the process ends so that a new one reads the journal and reconciles.
"""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from gateway.core import lines
from gateway.core.effects import (
    Answer,
    Connect,
    Dirty,
    Disconnect,
    Effect,
    Exit,
    Hangup,
    Observe,
    Probe,
    ReadEvents,
    Ready,
    Report,
    Send,
    SendFrame,
    Write,
)
from gateway.core.gateway import Gateway
from gateway.core.inputs import ClientLine, Frame, Input, JournalBack, JournalFailed, Now, RestFailed, Tick
from gateway.core.rows import Row
from gateway.shell import alarm
from gateway.shell.histogram import Latencies
from gateway.shell.journal import Journal
from gateway.shell.publisher import Publisher
from ipc import wire
from ipc.clock import boot_ns, wall_ns
from ipc.errors import IpcError
from ipc.framing import TooLong

TICK_NS = 100_000_000
# `ipc.clock` without its calls: every input is stamped
_clock_ns, _BOOTTIME, _wall_ns = time.clock_gettime_ns, time.CLOCK_BOOTTIME, time.time_ns
BACKLOG_ROWS = 10_000
RETRY_NS = 50_000_000
FOLD_NS = 5_000_000  # the journal's rows go into SQLite so often, and with each tick
FOLD_TOLD_NS = 10_000_000_000
FRAME_FAULTS = 3
FRAME_FAULTS_NS = 60_000_000_000

_READS = (
    wire.Status, wire.OrderQuery, wire.OrdersQuery, wire.PositionQuery, wire.AccountQuery, wire.BookQuery,
    wire.BarsQuery,
)  # fmt: skip


class Shells(Protocol):
    """Where effects go. None of these blocks or raises; what fails comes back as an input."""

    def order(self, send: Send) -> bool: ...

    def rest(self, send: Send) -> None: ...

    def connect(self, effect: Connect) -> None: ...

    def disconnect(self, effect: Disconnect) -> None: ...

    def send_frame(self, effect: SendFrame) -> None: ...

    def probe(self, effect: Probe) -> None: ...

    def answer(self, client: int, line: bytes) -> None: ...

    def hang_up(self, client: int, reason: str) -> None: ...

    def ready(self) -> None: ...

    def leave(self, code: int, reason: str) -> None: ...


class Engine:
    """`start()` once, then `feed(input)` from anywhere on the loop."""

    def __init__(
        self,
        core: Gateway,
        journal: Journal,
        publisher: Publisher,
        shells: Shells,
        log: Any,
        latencies: Latencies,
    ) -> None:
        self._core = core
        self._journal = journal
        self._publisher = publisher
        self._shells = shells
        self._answer = shells.answer
        self._log = log
        self._latencies = latencies
        self._waiting: deque[tuple[Input, int]] = deque()
        self._busy = False
        self._timer: alarm.Handle | None = None
        self._timer_at_ns = 0
        self._backlog: list[Row] = []
        self._journal_down = False
        self._tried_ns = 0
        self._folded_ns = 0
        self._fold_told_ns = 0
        self._frame_faults: deque[int] = deque()
        self._left = False
        self._cause_ns = 0
        self.order_boot_ns = 0  # when an order or a request of a brain was last handled
        self.steps = 0
        self._perform: dict[type, Callable[[Any], object]] = {
            Answer: lambda effect: shells.answer(effect.client, effect.line),
            Send: self._send,
            Connect: shells.connect,
            Disconnect: shells.disconnect,
            SendFrame: shells.send_frame,
            Probe: shells.probe,
            ReadEvents: self._read_events,
            Hangup: lambda effect: shells.hang_up(effect.client, effect.reason),
            Report: self._report,
            Observe: lambda effect: latencies.observe(effect.hop, effect.us),
            Ready: lambda _effect: shells.ready(),
            Exit: self._exit,
        }

    def start(self) -> None:
        now = Now(wall_ns(), boot_ns())
        self._busy = True
        try:
            self._apply(None, self._core.start(now), now.boot_ns)
            self._drain()
        finally:
            self._busy = False
        self._publisher.flush()
        self._arm()

    def feed(self, item: Input) -> None:
        """`item` is handled now, or right after what is being handled."""
        if self._left:
            return
        if self._busy:
            self._waiting.append((item, boot_ns()))
            return
        self._busy = True
        try:
            came_ns = _clock_ns(_BOOTTIME)
            changed = self._handle(item, came_ns, Now(_wall_ns(), came_ns))
            if self._waiting:
                changed = self._drain() or changed
        finally:
            self._busy = False
        if changed:  # else nothing became dirty either; what was is the publisher's own timer's business
            self._publisher.flush()
            self._arm()
            if self._journal.behind and came_ns - self._folded_ns > FOLD_NS and type(item) is not ClientLine:
                self._fold(came_ns)  # never between a line and what it is answered or sends

    def line(self, client: int, line: bytes | TooLong) -> None:
        """`feed` of one line of a client: see `ipc.server.Handler`."""
        self.feed(ClientLine(client, line))

    def stop(self) -> None:
        self._left = True
        if self._timer is not None:
            self._timer.cancel()

    def render(self, key: str) -> bytes | None:
        """One slice, for the publisher. A fault here ends the process: a slice that is not rewritten any more, or the
        tick behind it that never comes, would show a world that is over."""
        try:
            return self._core.render(Now(wall_ns(), boot_ns()), key)
        except Exception as error:  # noqa: BLE001  the last line of defence: see the module's text
            self._log.error("a slice cannot be rendered", key=key, exc_info=error)
            self._exit(Exit(1, f"the slice {key} cannot be rendered; only a new start is clean"))
            return None

    def backlog(self) -> int:
        return len(self._backlog)

    # -- one input -----------------------------------------------------------------------------------------------

    def _drain(self) -> bool:
        changed = False
        while self._waiting and not self._left:
            item, came_ns = self._waiting.popleft()
            changed = self._handle(item, came_ns, Now(wall_ns(), boot_ns())) or changed
        return changed

    def _handle(self, item: Input, came_ns: int, now: Now) -> bool:
        """One step. True where deadlines may have changed: more came of it than one answer to a client."""
        self.steps += 1
        try:
            effects = self._core.step(now, item)
        except Exception as error:  # noqa: BLE001  the last line of defence: see the module's text
            effects = self._fault(now, item, error)
        if len(effects) == 1 and type(only := effects[0]) is Answer and not self._backlog:
            self._answer(only.client, only.line)
            return type(item) is not ClientLine
        try:
            self._apply(item, effects, item.recv_boot_ns if type(item) is Frame else came_ns)
        except Exception as error:  # noqa: BLE001  what was to be performed is half done: only a new start is clean
            self._log.error("a fault in a shell", input=type(item).__name__, exc_info=error)
            self._exit(Exit(1, "an effect could not be performed; the journal is the truth"))
        return True

    def _apply(self, item: Input | None, effects: Sequence[Effect], came_ns: int) -> None:
        rows = [effect.row for effect in effects if type(effect) is Write]
        if rows or self._backlog:
            effects = self._commit(item, rows, effects, came_ns)
        self._cause_ns = came_ns
        is_line = type(item) is ClientLine
        for effect in effects:
            kind = type(effect)
            if kind is Dirty:
                self._publisher.dirty(effect.keys, came_ns)  # type: ignore[union-attr]
            elif kind is Send and is_line:
                self._send_of_line(effect, came_ns)  # type: ignore[arg-type]
            elif kind is not Write:
                self._perform[kind](effect)

    def _commit(self, item: Input | None, rows: list[Row], effects: Sequence[Effect], came_ns: int) -> Sequence[Effect]:
        """What may be performed: all of `effects`, or what is safe where the journal failed."""
        held, self._backlog = self._backlog, []
        try:
            if held and boot_ns() - self._tried_ns < RETRY_NS:
                raise sqlite3.OperationalError("it failed a moment ago")
            recorded = self._journal.commit([*held, *rows] if held else rows)
        except sqlite3.Error as error:
            self._backlog = [*held, *rows]
            return self._without_journal(item, effects, error)
        if recorded:
            private = type(item) is Frame and item.conn.startswith("private")
            self._publisher.event(recorded, came_ns if private else 0)
        if held:
            self._journal_down = False
            self._log.warning("the journal takes rows again", rows=len(held))
            self._waiting.append((JournalBack(), came_ns))
        return effects

    # -- effects -------------------------------------------------------------------------------------------------

    def _send(self, send: Send) -> None:
        if send.order_path:
            self.order_boot_ns = self._cause_ns
            self._shells.order(send)
        else:
            self._shells.rest(send)

    def _send_of_line(self, send: Send, came_ns: int) -> None:
        if not send.order_path:
            self._shells.rest(send)
            return
        self.order_boot_ns = came_ns
        if self._shells.order(send):
            self._latencies.observe("intent_to_socket", (boot_ns() - came_ns) / 1000)

    def _report(self, report: Report) -> None:
        fields = {("about_event" if name == "event" else name): value for name, value in report.fields.items()}
        getattr(self._log, report.level)(report.event, **fields)

    def _read_events(self, effect: ReadEvents) -> None:
        try:
            page, more = self._journal.read_events(effect.after, effect.limit, effect.subjects, 60_000)
        except sqlite3.Error as error:
            fault = IpcError("gateway.journal", f"the journal cannot be read: {error}")
            self._shells.answer(effect.client, lines.error_line(effect.id, fault, as_of=effect.as_of))
            return
        answer = wire.Answer(
            id=effect.id,
            ok=True,
            as_of=effect.as_of,
            result=[msgspec.Raw(event.raw) for event in page],
            next=str(page[-1].seq) if more else None,
        )
        self._shells.answer(effect.client, wire.encode(answer))

    def _exit(self, effect: Exit) -> None:
        if not self._left:
            self.stop()
            self._shells.leave(effect.code, effect.reason)

    # -- time ----------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        if self._left:
            return
        now_ns = boot_ns()
        due_ns = self._core.next_deadline_boot_ns()
        due_ns = now_ns + TICK_NS if due_ns is None else min(due_ns, now_ns + TICK_NS)
        if self._timer is not None:
            if self._timer_at_ns <= due_ns:
                return
            self._timer.cancel()
        self._timer_at_ns = due_ns
        # below 1 ms the loop's timer returns at once, again and again
        self._timer = alarm.call_later(max(0.001, (due_ns - now_ns) / 1e9), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.feed(Tick())

    def _fold(self, now_ns: int) -> None:
        """What was committed goes into SQLite; where that fails it stays in the log and waits for the next time."""
        self._folded_ns = now_ns
        try:
            self._journal.fold()
        except sqlite3.Error as error:
            if now_ns - self._fold_told_ns > FOLD_TOLD_NS:
                self._fold_told_ns = now_ns
                self._log.error("SQLite takes no rows; they wait in the journal's log", error=str(error),
                                rows=self._journal.behind)  # fmt: skip
        if self._journal.refused:
            self._log.error("the journal contradicts itself", refused=self._journal.refused)
            self._exit(Exit(1, "rows that are written once came again: state may be wrong; the journal is the truth"))

    # -- faults --------------------------------------------------------------------------------------------------

    def _without_journal(self, item: Input | None, effects: Sequence[Effect], error: sqlite3.Error) -> list[Effect]:
        now_ns = boot_ns()
        if now_ns - self._tried_ns >= RETRY_NS:
            self._tried_ns = now_ns
            self._log.error("the journal cannot be written", error=str(error), rows_held=len(self._backlog))
        if len(self._backlog) > BACKLOG_ROWS:
            return [Exit(1, f"more than {BACKLOG_ROWS} rows could not be journalled: {error}")]
        kept: list[Effect] = []
        for effect in effects:
            if type(effect) is Send and not effect.repeatable:
                if effect.key[0] in ("orders", "account"):
                    self._waiting.append((RestFailed(effect.key, False, "the journal cannot be written"), now_ns))
                else:
                    kept.append(effect)  # market data and life lines change nothing at the exchange
            elif type(effect) is Send:
                self._log.error("leaves without a journal", request="/".join(map(str, effect.key)))
                kept.append(effect)
            elif type(effect) is Answer:
                kept.append(_unjournalled(effect, error))
            elif type(effect) is not Write:
                kept.append(effect)
        if not self._journal_down:
            self._journal_down = True
            self._waiting.append((JournalFailed(str(error)), now_ns))
        return kept

    def _fault(self, now: Now, item: Input, error: Exception) -> list[Effect]:
        kind = type(item).__name__
        self._log.error("a fault inside the gateway", input=kind, exc_info=error)
        if isinstance(item, ClientLine):
            answered = self._internal(item)
            if self._only_read(item):
                return [answered]
            return [answered, Exit(1, f"a fault while handling {kind}: state may be wrong; the journal is the truth")]
        if isinstance(item, Frame) and not item.conn.startswith("private"):
            while self._frame_faults and now.boot_ns - self._frame_faults[0] > FRAME_FAULTS_NS:
                self._frame_faults.popleft()
            self._frame_faults.append(now.boot_ns)
            if len(self._frame_faults) <= FRAME_FAULTS:
                return self._core.doubt_connection(now, item.conn, "a fault of ours: rebuilt from nothing")
        return [Exit(1, f"a fault while handling {kind}: state may be wrong; the journal is the truth")]

    @staticmethod
    def _internal(item: ClientLine) -> Answer:
        fault = IpcError("op.internal", "a fault inside the gateway; its log has the cause")
        return Answer(item.client, lines.error_line(lines.id_of(item.line), fault))

    @staticmethod
    def _only_read(item: ClientLine) -> bool:
        try:
            return isinstance(lines.request_of(item.line), _READS)
        except IpcError:
            return True  # refused before anything was touched


def _unjournalled(answer: Answer, error: sqlite3.Error) -> Answer:
    """An answer that says something happened cannot be given where it is not journalled."""
    told = wire.decode_answer(answer.line)
    if not told.ok:
        return answer
    fault = IpcError("gateway.journal", f"the journal cannot be written: {error}")
    outcome = {"outcome": "unknown"} if told.outcome is not None else {}
    return Answer(answer.client, lines.error_line(told.id, fault, **outcome))
