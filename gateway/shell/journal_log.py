"""The journal with a log before it: a step costs one `write`, and SQLite gets the rows a little later, many at once.

`commit` appends the rows of a step to the log (`ipc.append_log`) as one record; that outlives the process, so the bytes
of the step may leave. `fold` puts all rows that wait into SQLite in one transaction, together with the number of the
last record, then empties the log. A start reads the log first: what SQLite does not have yet is folded before anything
is restored, what it has (by number) is left out; so a kill between any two instructions loses and doubles nothing.

Readers in this process (`restore`, `read_events`) fold first. Whoever opens the SQLite file from outside sees a
consistent moment, at most a tick (100 ms) old while the gateway lives; `look` shows the log's end as well.

`durability` "power" writes to SQLite at once and syncs, as `Journal` does; a log left by another setting is folded.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gateway.core.rows import BrainRow, EventRow, FillRow, IntentRow, KvRow, OrderRow, OutcomeRow, Restored, Row
from gateway.shell.journal import Durability, Journal, JournalError, Recorded
from gateway.shell.journal_schema import EVENT_INSERT, WRITES
from ipc import events
from ipc.append_log import AppendLog, LogDamaged, parse

MAX_ROWS = 10_000  # in the log and not in SQLite: beyond, SQLite has failed for long and the journal counts as failed
REFUSED_KEPT = 20

_MARK = "CREATE TABLE IF NOT EXISTS log_mark (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL)"
_SET_MARK = "INSERT INTO log_mark VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET number = excluded.number"

# a row's kind in the log is its place here: never reordered, only appended to
_KINDS: tuple[type, ...] = (EventRow, IntentRow, OrderRow, OutcomeRow, FillRow, BrainRow, KvRow)
_EVENT = 0
_SQL: tuple[str, ...] = (EVENT_INSERT, *(WRITES[kind][0] for kind in _KINDS[1:]))
_BIND: dict[type, tuple[int, Callable[[Any], tuple[Any, ...]]]] = {
    kind: (code, WRITES[kind][1]) for code, kind in enumerate(_KINDS) if kind is not EventRow
}

_Bound = tuple[int, Sequence[Any]]  # kind, parameters
_Record = tuple[int, list[tuple[int, list[Any]]]]  # number, rows

_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[_Record] = msgspec.msgpack.Decoder(_Record)


class LoggedJournal(Journal):
    """`behind` counts rows SQLite does not have yet. `refused`: rows it would not take, since they contradict written
    ones (a fault of ours); `dropped`: records behind a hole, which only a loss of power leaves."""

    def __init__(self, path: Path, durability: Durability = "crash") -> None:
        """Raises JournalError."""
        super().__init__(path, durability)
        self._at_once = durability == "power"
        self._waiting: list[_Bound] = []
        log_path = _log_path(path)
        try:
            self._db.execute(_MARK)
            found = self._db.execute("SELECT number FROM log_mark").fetchone()
            self._number: int = found[0] if found is not None else 0
            self._log = AppendLog(log_path)
            self._replay()
        except (sqlite3.Error, OSError, LogDamaged, msgspec.MsgspecError) as error:
            super().close()
            raise JournalError(f"journal {log_path}: {error}; move it away to go on without its rows") from error

    def _replay(self) -> None:
        self.dropped = 0
        for position, record in enumerate(self._log.records):
            number, rows = _decoder.decode(record)
            if number <= self._number:
                continue
            if number != self._number + 1:
                self.dropped = len(self._log.records) - position
                break
            self._number = number
            self._waiting += rows
        self._log.records.clear()
        self.fold()
        self.last_event_seq = self._db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0]

    @property
    def behind(self) -> int:
        return len(self._waiting)

    def commit(self, rows: Sequence[Row]) -> list[Recorded]:
        """All rows or none. Returns the events among them, encoded. Raises sqlite3.Error; then nothing was written."""
        if self._at_once:
            return super().commit(rows)
        if len(self._waiting) >= MAX_ROWS:
            self.fold()
        recorded: list[Recorded] = []
        bound: list[_Bound] = []
        for row in rows:
            if type(row) is EventRow:
                event = row.event
                raw = events.encode(event)
                recorded.append(Recorded(event.seq, event.symbol, raw))
                bound.append((_EVENT, (event.seq, event.subject, event.symbol, raw)))
            else:
                code, bind = _BIND[type(row)]
                bound.append((code, bind(row)))
        if recorded:
            self._check_numbers(recorded)
        number = self._number + 1
        try:
            self._log.append(_encode((number, bound)))
        except OSError as error:
            raise sqlite3.OperationalError(f"{self._log.path.name}: {error}") from None
        self._number = number
        self._waiting += bound
        if recorded:
            self.last_event_seq = recorded[-1].seq
        return recorded

    def _check_numbers(self, recorded: list[Recorded]) -> None:
        if len(recorded) > 1:
            # a step numbers events as they happen; one caused in the middle of a list stands before older ones
            recorded.sort(key=lambda event: event.seq)
        last = self.last_event_seq
        for event in recorded:
            if event.seq <= last:
                raise sqlite3.IntegrityError(f"event {event.seq} was written already (the last is {last})")
            last = event.seq

    def fold(self) -> None:
        """Everything that waits into SQLite, in one transaction. Raises sqlite3.Error: then it waits on."""
        if self._waiting:
            self._into_sqlite(self._waiting)
            self._waiting = []
        if not self._log.empty:
            with contextlib.suppress(OSError):  # it only grows until the next time: its records are known by number
                self._log.clear()

    def _into_sqlite(self, bound: Sequence[_Bound]) -> None:
        execute = self._db.execute
        refused: list[str] = []
        execute("BEGIN IMMEDIATE")
        try:
            for code, parameters in bound:
                try:
                    execute(_SQL[code], parameters)
                except sqlite3.IntegrityError as error:
                    refused.append(f"{_KINDS[code].__name__} {str(tuple(parameters))[:200]}: {error}")
            execute(_SET_MARK, (self._number,))
            execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # the first error is the one to tell
                execute("ROLLBACK")
            raise
        self.refused = [*self.refused, *refused][-REFUSED_KEPT:]

    def restore(self) -> Restored:
        self.fold()
        return super().restore()

    def read_events(
        self, after: int, limit: int, subjects: Sequence[str] = (), max_bytes: int = 60_000
    ) -> tuple[list[Recorded], bool]:
        self.fold()
        return super().read_events(after, limit, subjects, max_bytes)

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # what could not be folded is in the log: the next start has it
            self.fold()
        self._log.close()
        super().close()


def look(path: Path) -> sqlite3.Connection:
    """The journal as it is now, the end of its log included, as a database in memory; from any process, whether or not
    a gateway lives. Close it when done. Raises sqlite3.Error, OSError, LogDamaged.

    The log is read first: what is folded meanwhile is in SQLite, and known by its number."""
    try:
        records, _ = parse(_log_path(path).read_bytes())
    except FileNotFoundError:
        records = []
    memory = sqlite3.connect(":memory:", isolation_level=None)
    source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        source.backup(memory)
    finally:
        source.close()
    memory.execute(_MARK)
    mark = (memory.execute("SELECT number FROM log_mark").fetchone() or (0,))[0]
    for number, rows in map(_decoder.decode, records):
        if number == mark + 1:
            mark = number
            for code, parameters in rows:
                memory.execute(_SQL[code], parameters)
    return memory


def _log_path(path: Path) -> Path:
    return path.with_name(path.name + "-log")
