"""The journal: SQLite in WAL mode, one transaction a step, on the loop.

A commit costs some 20 us, so the order path waits for it before a byte leaves. `durability` "crash" (synchronous
NORMAL) survives the end of the process at any instruction; "power" (FULL) survives loss of power too, at milliseconds
a commit. In both, whatever is cut off is a suffix: what remains is a contiguous prefix of the history.

Checkpoints never run on a commit: `gateway.shell.journal_upkeep` makes them in idle moments.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from gateway.core.rows import EventRow, Restored, Row
from gateway.shell import journal_restore
from gateway.shell.journal_schema import EVENT_INSERT, TABLES, VERSION, WRITES
from ipc import events

Durability = Literal["crash", "power"]


class JournalError(Exception):
    """The journal cannot be opened or read; the text says what and what to do."""


class Recorded(NamedTuple):
    """One journalled event as it goes on: the same bytes stand in the journal and in the stream."""

    seq: int
    symbol: str | None
    raw: bytes


class Journal:
    """Owned by the loop's thread. The caller holds `locks.JournalLock` on `path` first."""

    def __init__(self, path: Path, durability: Durability = "crash") -> None:
        self.path = path
        self.refused: list[str] = []
        try:
            _make_private(path)
            self._db = sqlite3.connect(path, isolation_level=None, cached_statements=64, timeout=5.0)
            self._prepare(durability)
            self._reader = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"journal {path}: {error}; move it away to begin a new one, or mend the disk") from error
        self.last_event_seq: int = self._db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0]

    def _prepare(self, durability: Durability) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, VERSION):
            raise JournalError(
                f"journal {self.path} has layout {version}, this gateway writes {VERSION}; use the one that wrote it"
            )
        self._db.execute("PRAGMA page_size=2048")  # of a new file: a commit writes whole pages
        mode = self._db.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise JournalError(f"journal {self.path}: SQLite gives mode {mode!r}, not WAL (a network file system?)")
        self._db.execute(f"PRAGMA synchronous={'FULL' if durability == 'power' else 'NORMAL'}")
        self._db.execute("PRAGMA wal_autocheckpoint=0")
        self._db.execute("PRAGMA journal_size_limit=1048576")
        self._db.execute("PRAGMA temp_store=MEMORY")
        self._db.executescript(f"BEGIN; {TABLES} PRAGMA user_version={VERSION}; COMMIT;")

    def commit(self, rows: Sequence[Row]) -> list[Recorded]:
        """All rows or none. Returns the events among them, encoded. Raises sqlite3.Error (rolled back)."""
        recorded: list[Recorded] = []
        execute = self._db.execute
        if len(rows) == 1:  # one statement is a transaction by itself
            self._write(execute, rows[0], recorded)
        else:
            execute("BEGIN IMMEDIATE")
            try:
                for row in rows:
                    self._write(execute, row, recorded)
                execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # the first error is the one to tell
                    execute("ROLLBACK")
                raise
        if recorded:
            if len(recorded) > 1:
                # a step numbers events as they happen; one caused in the middle of a list stands before older ones
                recorded.sort(key=lambda event: event.seq)
            self.last_event_seq = recorded[-1].seq
        return recorded

    @staticmethod
    def _write(execute: _Execute, row: Row, recorded: list[Recorded]) -> None:
        if type(row) is EventRow:
            event = row.event
            raw = events.encode(event)
            execute(EVENT_INSERT, (event.seq, event.subject, event.symbol, raw))
            recorded.append(Recorded(event.seq, event.symbol, raw))
        else:
            sql, bind = WRITES[type(row)]
            execute(sql, bind(row))

    @property
    def behind(self) -> int:
        """Rows that are committed and not in SQLite yet: see `journal_log`."""
        return 0

    def fold(self) -> None:
        """Bring SQLite level with what was committed. Raises sqlite3.Error."""

    def restore(self) -> Restored:
        """Everything the cores start from, bounded (see `journal_restore`)."""
        return journal_restore.load(self._reader)

    def read_events(
        self, after: int, limit: int, subjects: Sequence[str] = (), max_bytes: int = 60_000
    ) -> tuple[list[Recorded], bool]:
        """Events above `after`, oldest first, at most `limit` of them and `max_bytes` (at least one); and whether
        there is more. `subjects` are exact, or end in `*`."""
        where, bound = _subject_filter(subjects)
        cursor = self._reader.execute(
            f"SELECT seq, symbol, event FROM events WHERE seq > ?{where} ORDER BY seq LIMIT ?",
            (after, *bound, limit + 1),
        )
        page: list[Recorded] = []
        size = 0
        for seq, symbol, raw in cursor:
            size += len(raw) + 1
            if len(page) == limit or (page and size > max_bytes):
                cursor.close()
                return page, True
            page.append(Recorded(seq, symbol, raw))
        return page, False

    def close(self) -> None:
        self._reader.close()
        self._db.close()


def _make_private(path: Path) -> None:
    """0600 whatever the umask and the folder: a brain of another user must not read it. SQLite gives its companions
    (-wal, -shm) the mode of the file."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    for one in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        with contextlib.suppress(FileNotFoundError):
            if one.stat().st_mode & 0o077:
                one.chmod(0o600)


class _Execute(Protocol):
    """The bound `sqlite3.Connection.execute`, for types."""

    def __call__(self, sql: str, parameters: Sequence[object] = ..., /) -> sqlite3.Cursor: ...


def _subject_filter(subjects: Sequence[str]) -> tuple[str, list[str]]:
    """GLOB has no escape character: subjects are dotted lower-case words, so all else is bracketed away."""
    if not subjects or "*" in subjects:
        return "", []
    tests: list[str] = []
    bound: list[str] = []
    for pattern in subjects:
        if pattern.endswith(".*"):
            tests.append("substr(subject, 1, ?) = ?")
            bound += [str(len(pattern) - 1), pattern[:-1]]
        else:
            tests.append("subject = ?")
            bound.append(pattern)
    return f" AND ({' OR '.join(tests)})", bound
