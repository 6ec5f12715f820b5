"""The journal's SQLite layout: one table for each kind of row in `gateway.core.rows`, and how a row is bound.

`VERSION` is the database's user_version; a journal of another version is refused, never migrated by guess.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.core.rows import BrainRow, EventRow, FillRow, IntentRow, KvRow, OrderRow, OutcomeRow

VERSION = 1

# Each commit writes every page it touched, whole, to the log: so intents and orders, whose rows are long, are appended
# to tables by row number (a WITHOUT ROWID tree of a few rows a page is rebalanced all the time), and an order that
# changes is updated in place, which leaves the keys it keeps alone.

TABLES = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY, subject TEXT NOT NULL, symbol TEXT, event BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS intents (
    brain TEXT NOT NULL, brain_no INTEGER NOT NULL, run TEXT NOT NULL, seq INTEGER NOT NULL, symbol TEXT NOT NULL,
    request BLOB NOT NULL, asked_boot_ns INTEGER NOT NULL, boot TEXT NOT NULL, deadline_ms INTEGER,
    journalled_ns INTEGER NOT NULL, PRIMARY KEY (brain, run, seq));
CREATE TABLE IF NOT EXISTS orders (
    client_order_id TEXT PRIMARY KEY, brain TEXT NOT NULL, run TEXT NOT NULL, seq INTEGER NOT NULL,
    attempt INTEGER NOT NULL, symbol TEXT NOT NULL, open INTEGER NOT NULL, updated_ns INTEGER NOT NULL,
    state BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS orders_open ON orders (open, updated_ns);
CREATE TABLE IF NOT EXISTS outcomes (
    brain TEXT NOT NULL, run TEXT NOT NULL, seq INTEGER NOT NULL, answer BLOB NOT NULL, final INTEGER NOT NULL,
    PRIMARY KEY (brain, run, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fills (
    symbol TEXT NOT NULL, trade_id INTEGER NOT NULL, client_order_id TEXT NOT NULL, at_ms INTEGER NOT NULL,
    fill BLOB NOT NULL, PRIMARY KEY (symbol, trade_id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS fills_time ON fills (at_ms);
CREATE TRIGGER IF NOT EXISTS fills_once BEFORE UPDATE ON fills WHEN OLD.at_ms = NEW.at_ms
    BEGIN SELECT RAISE(ABORT, 'a fill is written once'); END;
CREATE TABLE IF NOT EXISTS brains (
    name TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, run TEXT, last_seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kv (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""

Binder = Callable[[Any], tuple[Any, ...]]


def _intent(row: IntentRow) -> tuple[Any, ...]:
    return (
        row.brain,
        row.brain_no,
        row.run,
        row.seq,
        row.symbol,
        row.request,
        row.asked_boot_ns,
        row.boot,
        row.deadline_ms,
        row.journalled_ns,
    )


def _order(row: OrderRow) -> tuple[Any, ...]:
    return (
        row.client_order_id,
        row.brain,
        row.run,
        row.seq,
        row.attempt,
        row.symbol,
        int(row.open),
        row.updated_ns,
        row.state_json,
    )


# events, intents and fills are written once and never changed: a second write of one is a fault and fails the step
WRITES: dict[type, tuple[str, Binder]] = {
    IntentRow: ("INSERT INTO intents VALUES (?,?,?,?,?,?,?,?,?,?)", _intent),
    OrderRow: (
        "INSERT INTO orders VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT (client_order_id) DO UPDATE SET"
        " brain = excluded.brain, run = excluded.run, seq = excluded.seq, attempt = excluded.attempt,"
        " symbol = excluded.symbol, open = excluded.open, updated_ns = excluded.updated_ns, state = excluded.state",
        _order,
    ),
    OutcomeRow: (
        "INSERT INTO outcomes VALUES (?,?,?,?,?) ON CONFLICT (brain, run, seq) DO UPDATE SET"
        " answer = excluded.answer, final = excluded.final",
        lambda row: (row.brain, row.run, row.seq, row.answer, int(row.final)),
    ),
    FillRow: (
        # an exchange that is set up anew (a test one) counts trades from the start again: the newer takes the number
        "INSERT INTO fills VALUES (?,?,?,?,?) ON CONFLICT (symbol, trade_id) DO UPDATE SET"
        " client_order_id = excluded.client_order_id, at_ms = excluded.at_ms, fill = excluded.fill",
        lambda row: (row.symbol, row.trade_id, row.client_order_id, row.at_ms, row.fill_json),
    ),
    BrainRow: (
        "INSERT OR REPLACE INTO brains VALUES (?,?,?,?)",
        lambda row: (row.name, row.number, row.run, row.last_seq),
    ),
    KvRow: ("INSERT OR REPLACE INTO kv VALUES (?,?)", lambda row: (row.key, row.value)),
}
EVENT_INSERT = "INSERT INTO events VALUES (?,?,?,?)"

ALL_ROW_KINDS: frozenset[type] = frozenset({EventRow, *WRITES})
