"""Puts together what one step must commit: the smallest set of rows that makes a restart exact. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from brain.checkpoint import Checkpoint, Meta, encode_meta, encode_state
from brain.closing import Closing
from brain.desk import Desk
from brain.inputs import Commit
from brain.records import Key, encode

_EVENTS_STEP = 1000
"""A checkpoint is not written for other people's events alone, but at least once for so many."""


class _Parts(NamedTuple):
    run: str
    next_seq: int
    closings: dict[str, Closing]
    bars_seen: dict[str, int]


class Keeper:
    """`meta.last_event` and `meta.bars_seen` are moved by the runner; the rest is taken from the desk."""

    def __init__(self, checkpoint: Checkpoint, desk: Desk) -> None:
        self.meta = checkpoint.meta
        self._desk = desk
        self._state = encode_state(checkpoint.state)
        self._parts: _Parts | None = None if checkpoint.fresh else self._now_parts()
        self._event = checkpoint.meta.last_event

    def collect(self, touched: set[Key], state: dict[str, Any]) -> Commit | None:
        """What changed since the last one, or None. Staged orders become live, closed ones are forgotten."""
        desk = self._desk
        for record in desk.staged:
            desk.live[record.key] = record
            touched.add(record.key)
        desk.staged.clear()
        for key in desk.cancels:
            asked = desk.live.get(key)
            if asked is not None and not asked.cancel_asked:
                asked.cancel_asked = True
                touched.add(key)
        desk.cancels.clear()
        put, gone = self._rows(touched)
        touched.clear()
        meta = self._meta(bool(put or gone))
        raw_state = encode_state(state)
        changed = raw_state if raw_state != self._state else None
        if meta is None and changed is None and not put and not gone:
            return None
        self._state = raw_state
        return Commit(meta, changed, tuple(put), tuple(gone))

    def _rows(self, touched: set[Key]) -> tuple[list[tuple[str, int, bytes]], list[Key]]:
        put: list[tuple[str, int, bytes]] = []
        gone: list[Key] = []
        for key in sorted(touched):
            record = self._desk.live[key]
            if record.closed:
                gone.append(key)
                del self._desk.live[key]
            else:
                put.append((*key, encode(record)))
        return put, gone

    def _now_parts(self) -> _Parts:
        return _Parts(self._desk.run, self._desk.next_seq, dict(self._desk.closings), dict(self.meta.bars_seen))

    def _meta(self, orders_changed: bool) -> bytes | None:
        parts, event = self._now_parts(), self.meta.last_event
        moved = event != self._event
        far = self._event is None or not 0 <= (event or 0) - self._event < _EVENTS_STEP
        if parts == self._parts and not (moved and (orders_changed or far)):
            return None
        self._parts, self._event = parts, event
        return encode_meta(
            Meta(
                strategy=self.meta.strategy,
                run=parts.run,
                next_seq=parts.next_seq,
                last_event=event,
                closings=parts.closings,
                bars_seen=parts.bars_seen,
            )
        )
