"""Reading the journal at start. Every list is bounded; the newest rows win, and what must be known is never cut."""

from __future__ import annotations

import sqlite3

from gateway.core.rows import BrainRow, FillRow, IntentRow, KvRow, OrderRow, OutcomeRow, Restored

CLOSED_ORDERS = 10_000
CLOSED_ORDERS_AGE_NS = 3 * 86_400 * 1_000_000_000
FILLS = 20_000
INTENTS = 50_000  # of the brains' current runs; those with an open order or without a final outcome come on top

_INTENT_COLUMNS = "brain, brain_no, run, seq, symbol, request, asked_boot_ns, boot, deadline_ms, journalled_ns"

_INTENTS = f"""
SELECT {_INTENT_COLUMNS} FROM (
    SELECT i.* FROM intents i JOIN brains b ON b.name = i.brain AND b.run = i.run
    ORDER BY i.journalled_ns DESC LIMIT {INTENTS})
UNION
SELECT {_INTENT_COLUMNS} FROM intents WHERE (brain, run, seq) IN (SELECT brain, run, seq FROM orders WHERE open = 1)
UNION
SELECT {_INTENT_COLUMNS} FROM intents i WHERE NOT EXISTS (
    SELECT 1 FROM outcomes r WHERE r.final = 1 AND r.brain = i.brain AND r.run = i.run AND r.seq = i.seq)
ORDER BY 10, 1, 3, 4
"""

_FILLS = """
SELECT * FROM (SELECT * FROM fills ORDER BY at_ms DESC, trade_id DESC LIMIT ?) ORDER BY at_ms, trade_id
"""

_ORDER_COLUMNS = "client_order_id, brain, run, seq, attempt, symbol, open, updated_ns, state"


def load(db: sqlite3.Connection) -> Restored:
    """One read transaction, so that all lists are of one moment."""
    db.execute("BEGIN")
    try:
        return _load(db)
    finally:
        db.execute("COMMIT")


def _load(db: sqlite3.Connection) -> Restored:
    intents = tuple(IntentRow(*row) for row in db.execute(_INTENTS))
    names = {(row.brain, row.run, row.seq) for row in intents}
    return Restored(
        next_event_seq=db.execute("SELECT coalesce(max(seq), 0) + 1 FROM events").fetchone()[0],
        intents=intents,
        orders=_orders(db),
        outcomes=tuple(_outcomes(db, names)),
        fills=tuple(FillRow(*row) for row in db.execute(_FILLS, (FILLS,))),
        brains=tuple(BrainRow(*row) for row in db.execute("SELECT * FROM brains ORDER BY number")),
        kv={row.key: row.value for row in (KvRow(*pair) for pair in db.execute("SELECT key, value FROM kv"))},
    )


def _orders(db: sqlite3.Connection) -> tuple[OrderRow, ...]:
    newest_ns = db.execute("SELECT coalesce(max(updated_ns), 0) FROM orders").fetchone()[0]
    rows = db.execute(
        f"SELECT {_ORDER_COLUMNS} FROM orders WHERE open = 1 UNION ALL SELECT * FROM ("
        f"SELECT {_ORDER_COLUMNS} FROM orders WHERE open = 0 AND updated_ns >= ? ORDER BY updated_ns DESC LIMIT ?"
        ") ORDER BY updated_ns, client_order_id",
        (newest_ns - CLOSED_ORDERS_AGE_NS, CLOSED_ORDERS),
    )
    return tuple(
        OrderRow(name, brain, run, seq, attempt, symbol, bool(is_open), updated_ns, state)
        for name, brain, run, seq, attempt, symbol, is_open, updated_ns, state in rows
    )


def _outcomes(db: sqlite3.Connection, names: set[tuple[str, str, int]]) -> list[OutcomeRow]:
    found = []
    for brain, run in {(brain, run) for brain, run, _ in names}:
        rows = db.execute(
            "SELECT seq, answer, final FROM outcomes WHERE brain = ? AND run = ? ORDER BY seq", (brain, run)
        )
        found += [
            OutcomeRow(brain, run, seq, answer, bool(final))
            for seq, answer, final in rows
            if (brain, run, seq) in names
        ]
    return sorted(found, key=lambda row: (row.brain, row.run, row.seq))
