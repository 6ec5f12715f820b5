"""What the journal holds, row by row. The SQLite layout follows these one table each (`gateway.shell.journal`).

Rows of one step are one transaction. Events are numbered by the core (`EventLog`), contiguous, from what the journal
held at start; an event's sequence is its row number.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import Struct

from ipc.events import Event


class EventRow(Struct, frozen=True):
    event: Event


class IntentRow(Struct, frozen=True):
    """An intent as it was asked. `request` is the canonical JSON of its content (what `intent.conflict` compares).

    Written once; never changed. `brain_no` 0 is the gateway itself.
    """

    brain: str
    brain_no: int
    run: str
    seq: int
    symbol: str
    request: bytes
    asked_boot_ns: int
    boot: str
    deadline_ms: int | None
    journalled_ns: int


class OrderRow(Struct, frozen=True):
    """The newest state of one attempt (upsert by client order id). `state_json` is the order core's own record."""

    client_order_id: str
    brain: str
    run: str
    seq: int
    attempt: int
    symbol: str
    open: bool
    updated_ns: int
    state_json: bytes


class OutcomeRow(Struct, frozen=True):
    """What became of an intent (upsert by brain, run, seq): the answer a repeat of its name gets."""

    brain: str
    run: str
    seq: int
    answer: bytes
    final: bool


class FillRow(Struct, frozen=True):
    """One trade, unique by (symbol, trade_id)."""

    symbol: str
    trade_id: int
    client_order_id: str
    at_ms: int
    fill_json: bytes


class BrainRow(Struct, frozen=True):
    """Registry (upsert by name): the number that stands in client order ids, the newest run and its owner's uid."""

    name: str
    number: int
    run: str | None
    last_seq: int


class KvRow(Struct, frozen=True):
    """Small state that survives restarts (upsert): risk states, installation tag, ledgers, reconciliation marks."""

    key: str
    value: bytes


FORGOTTEN_KV = "forgotten:"  # and a brain's name: up to which run and number its intents were pruned


def forgotten_mark(value: bytes) -> tuple[str, int]:
    """(run, seq) of such a row."""
    run, _, seq = value.decode().partition(" ")
    return run, int(seq)


Row = EventRow | IntentRow | OrderRow | OutcomeRow | FillRow | BrainRow | KvRow


@dataclass(frozen=True, slots=True)
class Restored:
    """What the journal knew at start: input to the cores' constructors."""

    next_event_seq: int
    intents: tuple[IntentRow, ...]  # of brains' current runs, plus every one with an open order or no final outcome
    orders: tuple[OrderRow, ...]  # open ones, and those closed in the last 3 days (bounded to 10,000)
    outcomes: tuple[OutcomeRow, ...]  # of the intents above
    fills: tuple[FillRow, ...]  # newest 20,000
    brains: tuple[BrainRow, ...]
    kv: dict[str, bytes]
