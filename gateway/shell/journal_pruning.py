"""The journal forgets what is old, in small steps, so that it is bounded; numbers are never used again.

Kept in any case: what a start reads (`journal_restore`), everything of an open order or an intent without a final
outcome, the newest `RUN_FLOOR` intents of each brain's present run, and the newest `EVENTS_FLOOR` events (far more than
the stream in Redis holds). Beyond that: events up to `keep_events` in number, and everything up to `keep_days` in age.
An intent's name that went is remembered as forgotten, and refused for ever (`intent.old_run`). Free pages are used
again: the file stops growing.

A step is one short transaction on the loop, where nobody else writes, in an idle moment; one that finds the journal
busy gives way.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

from gateway.core.client_ids import run_number
from gateway.core.rows import FORGOTTEN_KV, forgotten_mark
from gateway.shell.journal_restore import CLOSED_ORDERS, FILLS, INTENTS

STEP_ROWS = 500
EVENTS_FLOOR = 100_000
RUN_FLOOR = 1_000
REST_NS = 60_000_000_000  # after a round that found nothing more
HASTE_AFTER_NS = 10_000_000_000  # without an idle moment for so long, a step is taken all the same
_DAY_NS = 86_400_000_000_000


class Pruner:
    """`look(idle, now_ns, boot_ns)` every second or so from the loop; `now_ns` is wall time. `pruned` counts rows."""

    def __init__(self, path: Path, *, keep_days: int, keep_events: int) -> None:
        self._path = path
        self._keep_ns = keep_days * _DAY_NS
        self._keep_events = max(keep_events, EVENTS_FLOOR)
        self._kinds: list[Callable[[sqlite3.Connection, int], tuple[int, bool]]] = [
            self._events, self._orders, self._fills, self._intents,
        ]  # fmt: skip
        self._next = 0
        self._idle_kinds = 0
        self._rest_until_ns = 0
        self._stepped_ns = 0
        self._intents_seen = 0  # row number up to which intents were looked at in this round
        self.pruned = 0
        self.last_error = ""

    def look(self, *, idle: bool, now_ns: int, boot_ns: int) -> None:
        if boot_ns < self._rest_until_ns or not (idle or boot_ns - self._stepped_ns >= HASTE_AFTER_NS):
            return
        self._stepped_ns = boot_ns
        self._idle_kinds = 0 if self.step(now_ns) else self._idle_kinds + 1
        if self._idle_kinds >= len(self._kinds):
            self._idle_kinds = 0
            self._rest_until_ns = boot_ns + REST_NS

    def step(self, now_ns: int) -> bool:
        """One kind's next few rows. Whether there is more of it; False too where the journal was busy."""
        kind = self._kinds[self._next]
        try:
            db = sqlite3.connect(self._path, isolation_level=None, timeout=0.0)
            try:
                db.execute("PRAGMA synchronous=NORMAL")
                db.execute("PRAGMA wal_autocheckpoint=0")  # `journal_upkeep` makes them
                db.execute("BEGIN IMMEDIATE")
                gone, more = kind(db, now_ns - self._keep_ns)
                db.execute("COMMIT")
            finally:
                db.close()  # an open transaction is rolled back
        except sqlite3.Error as error:  # nothing is lost: what was to go is still there, and is looked at again
            self.last_error = str(error)
            gone, more = 0, False
        if not more:
            self._next = (self._next + 1) % len(self._kinds)
        self.pruned += gone
        return more

    def _events(self, db: sqlite3.Connection, before_ns: int) -> tuple[int, bool]:
        first, last = db.execute("SELECT coalesce(min(seq), 1), coalesce(max(seq), 0) FROM events").fetchone()
        end = last - self._keep_events  # the last that goes by number
        if first > end:
            end = min(first + STEP_ROWS - 1, last - EVENTS_FLOOR)
            while end >= first and not _older(db, end, before_ns):
                end = first + (end - first) // 2 if end > first else first - 1
        last_gone = min(end, first + STEP_ROWS - 1)
        return _deleted(db, "DELETE FROM events WHERE seq >= ? AND seq <= ?", first, last_gone)

    def _orders(self, db: sqlite3.Connection, before_ns: int) -> tuple[int, bool]:
        kept_ns = _nth(db, "SELECT updated_ns FROM orders WHERE open = 0 ORDER BY updated_ns DESC", CLOSED_ORDERS)
        if kept_ns is None:
            return 0, False
        return _deleted(
            db,
            "DELETE FROM orders WHERE rowid IN (SELECT rowid FROM orders WHERE open = 0 AND updated_ns < ?"
            " ORDER BY updated_ns LIMIT ?)",
            min(kept_ns, before_ns),
            STEP_ROWS,
        )

    def _fills(self, db: sqlite3.Connection, before_ns: int) -> tuple[int, bool]:
        kept_ms = _nth(db, "SELECT at_ms FROM fills ORDER BY at_ms DESC", FILLS)
        if kept_ms is None:
            return 0, False
        return _deleted(
            db,
            "DELETE FROM fills WHERE (symbol, trade_id) IN (SELECT symbol, trade_id FROM fills WHERE at_ms < ?"
            " AND client_order_id NOT IN (SELECT client_order_id FROM orders WHERE open = 1) ORDER BY at_ms LIMIT ?)",
            min(kept_ms, before_ns // 1_000_000),
            STEP_ROWS,
        )

    def _intents(self, db: sqlite3.Connection, before_ns: int) -> tuple[int, bool]:
        """By row number, which is their order; those that must stay are passed over until the next round."""
        last = db.execute("SELECT coalesce(max(rowid), 0) FROM intents").fetchone()[0]
        rows = db.execute(
            "SELECT i.rowid, i.brain, i.run, i.seq, i.journalled_ns, EXISTS (SELECT 1 FROM outcomes r WHERE r.final = 1"
            " AND r.brain = i.brain AND r.run = i.run AND r.seq = i.seq) AND NOT EXISTS (SELECT 1 FROM orders o"
            " INDEXED BY orders_open WHERE o.open = 1 AND o.brain = i.brain AND o.run = i.run AND o.seq = i.seq)"
            " FROM intents i WHERE i.rowid > ? AND i.rowid <= ? ORDER BY i.rowid LIMIT ?",
            (self._intents_seen, last - INTENTS, STEP_ROWS),
        ).fetchall()
        old = [row for row in rows if row[4] < before_ns]
        floors = _Floors(db)
        gone = [row for row in old if row[5] and floors.below(*row[1:4])]
        _remember(db, [row[1:4] for row in gone])
        db.executemany("DELETE FROM outcomes WHERE brain = ? AND run = ? AND seq = ?", [row[1:4] for row in gone])
        db.executemany("DELETE FROM intents WHERE rowid = ?", [row[:1] for row in gone])
        ended = len(old) < STEP_ROWS
        self._intents_seen = 0 if ended else old[-1][0]
        return len(gone), not ended


class _Floors:
    """The newest `RUN_FLOOR` intents of a brain's present run stay: what `hello` answers as last comes from them."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._runs = dict(db.execute("SELECT name, run FROM brains"))
        self._floors: dict[str, int] = {}

    def below(self, brain: str, run: str, seq: int) -> bool:
        if self._runs.get(brain) != run:
            return True
        if brain not in self._floors:
            newest = "SELECT max(seq) FROM intents WHERE brain = ? AND run = ?"
            self._floors[brain] = self._db.execute(newest, (brain, run)).fetchone()[0] - RUN_FLOOR
        return seq <= self._floors[brain]


def _remember(db: sqlite3.Connection, gone: list[tuple[str, str, int]]) -> None:
    """A name that went must never look new: in the same transaction it is noted up to where a brain's are forgotten."""
    marks: dict[str, tuple[str, int]] = {}
    for brain, run, seq in gone:
        if brain not in marks:
            row = db.execute("SELECT value FROM kv WHERE key = ?", (FORGOTTEN_KV + brain,)).fetchone()
            marks[brain] = forgotten_mark(row[0]) if row is not None else (run, seq)
        marks[brain] = max(marks[brain], (run, seq), key=lambda mark: (run_number(mark[0]), mark[1]))
    rows = [(FORGOTTEN_KV + brain, f"{run} {seq}".encode()) for brain, (run, seq) in marks.items()]
    db.executemany("INSERT OR REPLACE INTO kv VALUES (?,?)", rows)


def _deleted(db: sqlite3.Connection, sql: str, *bound: int) -> tuple[int, bool]:
    gone = db.execute(sql, bound).rowcount
    return gone, gone >= STEP_ROWS


def _older(db: sqlite3.Connection, seq: int, before_ns: int) -> bool:
    row = db.execute("SELECT event FROM events WHERE seq <= ? ORDER BY seq DESC LIMIT 1", (seq,)).fetchone()
    return row is not None and int(json.loads(row[0])["at_ns"]) < before_ns


def _nth(db: sqlite3.Connection, newest_first: str, kept: int) -> int | None:
    """The value of the row that is the last of the newest `kept`; None where there are no more than these."""
    row = db.execute(f"{newest_first} LIMIT 1 OFFSET ?", (kept - 1,)).fetchone()
    return None if row is None else int(row[0])
