"""A second book beside a live one: fed by the same messages, begun with a fresh snapshot. Pure.

When both stand at the same update they must be the same book, level by level, as far as both know. So every book is
checked from time to time, one after the other (law 1), and one whose best levels near the edge of its snapshot's range
gets a wider one without a moment of resync: the fresh book takes its place.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateway.core.book_keeper import Change, keeper_of
from gateway.core.depth_record import DepthRecord
from gateway.core.inputs import Now
from gateway.core.market_context import MarketContext
from gateway.core.market_data import Diff, Snapshot
from gateway.core.market_settings import MarketSettings
from gateway.core.sequencer import Phase

_MS = 1_000_000
MEET_WITHIN_NS = 60_000 * _MS  # a market so quiet that the two never stand at one update: the silence rules judge it


class Shadows:
    def __init__(self, settings: MarketSettings, context: MarketContext) -> None:
        self._settings = settings
        self._context = context
        self._next_check_ns = 0

    def begin(self, now: Now, record: DepthRecord, why: str, *, overlap: bool) -> bool:
        """Whether one was begun: `record` then wants a snapshot for it."""
        settings = self._settings
        held_back = now.boot_ns - record.refreshed_ns < settings.refresh_every_ms * _MS
        if record.shadow is not None or record.asked_ns is not None or held_back:
            return False
        record.refreshed_ns = now.boot_ns
        shadow = keeper_of(settings)
        shadow.connect()
        shadow.seq.overlapping(overlap)
        record.shadow = shadow
        record.due_ns = now.boot_ns
        self._context.notices.count(f"book.{why}")
        return True

    def check_one(self, now: Now, records: Iterable[DepthRecord], *, overlap: bool) -> bool:
        """Begin a check of the book whose last one lies farthest back; they are spread over `check_every_ms`."""
        every_ns = self._settings.check_every_ms * _MS
        if now.boot_ns < self._next_check_ns or not every_ns:
            return False
        held = list(records)
        due = [one for one in held if one.live and now.boot_ns - one.checked_ns >= every_ns]
        if not due:
            return False
        self._next_check_ns = now.boot_ns + every_ns // (2 * len(held))
        record = min(due, key=lambda one: (one.checked_ns, one.symbol))
        return self.begin(now, record, "check", overlap=overlap)

    def feed(self, now: Now, record: DepthRecord, diff: Diff, recv_ns: int) -> str | None:
        """A message for both; what `meet` says."""
        shadow = record.shadow
        if shadow is None:
            return None
        if shadow.take(diff, recv_ns) in (Change.BROKE, Change.REFETCH):
            record.shadow = None
            return None
        return self.meet(now, record)

    def snapshot(self, now: Now, record: DepthRecord, snapshot: Snapshot) -> str | None:
        shadow = record.shadow
        if shadow is None:
            return None
        if shadow.take_snapshot(snapshot, now.wall_ns) is Change.REFETCH:
            record.shadow = None
            return None
        return self.meet(now, record)

    def meet(self, now: Now, record: DepthRecord) -> str | None:
        """Where both stand at one update: exchange them, or say what differs (the live one is then no longer exact)."""
        shadow, keeper = record.shadow, record.keeper
        if shadow is None or not keeper.live:
            return None
        joined = shadow.live or shadow.seq.phase is Phase.BRIDGING
        if not joined or shadow.seq.at != keeper.seq.at:
            if now.boot_ns - record.refreshed_ns > MEET_WITHIN_NS:
                record.shadow = None
            return None
        record.shadow = None
        difference = keeper.book.difference(shadow.book)
        if difference is None:
            record.checked_ns = now.boot_ns
            keeper.book = shadow.book
            keeper.seq.snapshot_id = shadow.seq.snapshot_id
        return difference
