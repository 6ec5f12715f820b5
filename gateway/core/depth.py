"""Depth of all symbols: who needs a snapshot and when, and what became of a message.

Snapshots are staggered (spacing and a number in flight) and backed off per symbol. Live books are checked, and widened,
by a second book beside them (`depth_shadow`); only one that is wrong or got beyond its edge goes to resync.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from gateway.core.book_keeper import Change, Tap, keeper_of
from gateway.core.depth_compare import SilenceWatch
from gateway.core.depth_page import book_page
from gateway.core.depth_record import Comparison, DepthOut, DepthRecord
from gateway.core.depth_shadow import Shadows
from gateway.core.effects import Dirty, Effect
from gateway.core.inputs import Now, RestFailed, RestReply
from gateway.core.market_context import MarketContext
from gateway.core.market_data import BadReply, Diff, Snapshot
from gateway.core.market_settings import MarketSettings
from gateway.core.market_venue import MarketVenue
from gateway.core.parts import Out
from gateway.core.sequencer import Phase
from ipc import keys
from ipc.errors import IpcError
from ipc.slices import BookSlice, State

_MS = 1_000_000
CALM_NS = 10_000 * _MS
BACKOFF_MAX_FEW_MS, BACKOFF_MAX_EACH_MS = 2_000, 1_000
_encode = msgspec.json.Encoder().encode


class DepthDesk:
    def __init__(self, settings: MarketSettings, context: MarketContext, venue: MarketVenue) -> None:
        self._settings = settings
        self._context = context
        self._venue = venue
        self._records: dict[str, DepthRecord] = {}
        self._next_send_ns = 0
        self._in_flight = 0
        self._serial = 0
        self._up = False
        self._overlap = False
        self._silence = SilenceWatch(settings)
        self._shadows = Shadows(settings, context)
        self.taps: dict[str, Tap] = {}

    # -- who is there ---------------------------------------------------------------------------------------------

    def add(self, now: Now, symbol: str) -> DepthRecord:
        settings = self._settings
        key = keys.book(self._context.account, symbol)
        keeper = keeper_of(settings)
        keeper.tap = self.taps.get(symbol)
        keeper.seq.overlapping(self._overlap)
        stream = self._venue.depth_stream(symbol, settings.depth_speed)
        record = DepthRecord(symbol, stream, key, Dirty((key,)), keeper)
        self._records[symbol] = record
        if self._up:
            self._connect(now, record)
        return record

    def get(self, symbol: str) -> DepthRecord | None:
        return self._records.get(symbol)

    def records(self) -> Iterable[DepthRecord]:
        return self._records.values()

    def connected(self, now: Now) -> Out:
        self._up = True
        for record in self._records.values():
            self._connect(now, record)
        return self.pump(now)

    def _connect(self, now: Now, record: DepthRecord) -> None:
        self._forget_request(record)
        record.begin(now)
        record.due_ns = now.boot_ns + self._settings.snapshot_grace_ms * _MS

    def disconnected(self, now: Now, reason: str) -> Out:
        self._up = False
        out: Out = []
        for record in self._records.values():
            record.shadow = None
            record.ahead.clear()
            record.due_ns = None
            self._forget_request(record)
            record.compare = None
            record.compare_serial = None
            change = record.keeper.disconnect("disconnected")
            record.reason = reason
            if change is Change.BROKE:
                out += self._broke(now, record)
            out.append(record.dirty)
        return out

    def overlap(self, on: bool) -> None:
        """Two connections deliver the same streams (a planned hand-over), or one again."""
        self._overlap = on
        for record in self._records.values():
            record.keeper.seq.overlapping(on)
            if record.shadow is not None:
                record.shadow.seq.overlapping(on)

    # -- the stream -----------------------------------------------------------------------------------------------

    def on_diff(self, now: Now, record: DepthRecord, diff: Diff, recv_ns: int) -> Out:
        if (self._overlap or record.ahead.waiting) and record.keeper.live:
            return self._on_overlapped(now, record, diff, recv_ns)
        return self._take(now, record, diff, recv_ns)

    def _on_overlapped(self, now: Now, record: DepthRecord, diff: Diff, recv_ns: int) -> Out:
        """The newer connection may be quicker than the older one: what it says too early waits until it joins."""
        ahead, seq = record.ahead, record.keeper.seq
        if diff.prev_id > seq.at and ahead.hold(now, diff, recv_ns):
            return []
        out = self._take(now, record, diff, recv_ns)
        while (held := ahead.next(seq.at)) is not None:
            out += self._take(now, record, *held)
        return out

    def _take(self, now: Now, record: DepthRecord, diff: Diff, recv_ns: int) -> Out:
        record.seen = True
        change = record.keeper.take(diff, recv_ns)
        difference = self._shadows.feed(now, record, diff, recv_ns) if record.shadow is not None else None
        if change is Change.APPLIED:
            record.moved_ns = now.boot_ns
            record.doubt_ns = None
            if difference is not None:
                return self._beside(now, record, difference)
            if record.shadow is None and not record.keeper.book.exact_to(self._settings.refresh_margin):
                begun = self._shadows.begin(now, record, "refresh", overlap=self._overlap)
                return [record.dirty, *self.pump(now)] if begun else [record.dirty]
            return [record.dirty]
        return self._changed(now, record, change)

    def on_bad(self, now: Now, record: DepthRecord, detail: str) -> Out:
        """A frame of this stream that could not be read: one message is lost, so the book is."""
        record.seen = True
        return self._changed(now, record, record.keeper.invalidate("bad_frame", detail))

    def _changed(self, now: Now, record: DepthRecord, change: Change) -> Out:
        if change is Change.NONE:
            if record.keeper.wants_snapshot and record.failures == 0 and record.asked_ns is None:
                record.due_ns = min(record.due_ns, now.boot_ns) if record.due_ns is not None else now.boot_ns
                return self.pump(now)
            return []
        if change is Change.LIVE:
            return self._went_live(now, record)
        if change is Change.BROKE:
            out = self._broke(now, record)
            # the first break is mended at once; a book that breaks again and again is backed off
            calm = record.break_ns is None or now.boot_ns - record.break_ns > CALM_NS
            record.break_ns = now.boot_ns
            record.failures = record.breaks = 0 if calm else record.breaks + 1
            self._want(now, record)
            return out + self.pump(now)
        return self._refetch(now, record)

    def _went_live(self, now: Now, record: DepthRecord) -> Out:
        record.moved_ns = record.checked_ns = now.boot_ns
        record.doubt_ns = None
        record.doubted = False
        record.failures = 0
        record.due_ns = None
        record.reason = ""
        record.strikes = record.mutes = 0
        return [self._live_event(now, record), record.dirty]

    def _live_event(self, now: Now, record: DepthRecord) -> Effect:
        keeper = record.keeper
        return self._context.events.add(
            now,
            "book.live",
            {
                "u": keeper.seq.at,
                "snapshot_id": keeper.seq.snapshot_id,
                "took_ms": (now.boot_ns - record.broke_ns) // _MS,
            },
            symbol=record.symbol,
            event_ms=keeper.event_ms,
        )

    def _broke(self, now: Now, record: DepthRecord) -> Out:
        broke = record.keeper.broke
        record.shadow = None
        record.ahead.clear()
        record.broke_ns = now.boot_ns
        record.doubt_ns = None
        record.doubted = False
        data: dict[str, Any] = {"reason": "unknown"}
        if broke is not None:
            record.reason = broke.reason
            data = {"reason": broke.reason, "u": broke.at}
            if broke.expected_prev_id is not None:
                data |= {"expected_pu": broke.expected_prev_id, "got_pu": broke.got_prev_id}
        detail = broke.detail if broke is not None else ""
        say = self._context.notices.say
        lines = say(now, "warning", "book.gap", record.symbol, reason=data["reason"], detail=detail)
        return [self._context.events.add(now, "book.gap", data, symbol=record.symbol), record.dirty, *lines]

    def _refetch(self, now: Now, record: DepthRecord) -> Out:
        """Not live, and what was held will not do. Counted, not an event: the book was not served."""
        broke = record.keeper.broke
        reason = broke.reason if broke is not None else "unknown"
        detail = broke.detail if broke is not None else ""
        out: Out = list(
            self._context.notices.say(now, "info", "book.refetch", record.symbol, reason=reason, detail=detail)
        )
        if record.asked_ns is None:
            record.failures += 1
            self._want(now, record)
        return out + self.pump(now)

    def _beside(self, now: Now, record: DepthRecord, difference: str | None) -> Out:
        """What the second book beside a live one says: nothing, or that the live one is not the exchange's."""
        if difference is None:
            return []
        self._context.notices.count("book.check_failed")
        return self._changed(now, record, record.keeper.invalidate("check_failed", difference))

    # -- snapshots ------------------------------------------------------------------------------------------------

    def _want(self, now: Now, record: DepthRecord) -> None:
        """The pauses grow with the number of books that want one: a few are live soon after REST answers again, and
        many do not use up the weight of a REST that fails."""
        settings = self._settings
        wanting = sum(one.keeper.wants_snapshot for one in self._records.values())
        most_ms = min(settings.backoff_max_ms, max(BACKOFF_MAX_FEW_MS, BACKOFF_MAX_EACH_MS * wanting))
        record.due_ns = now.boot_ns + self._context.backoff_ns(record.failures, settings.backoff_first_ms, most_ms)

    def _forget_request(self, record: DepthRecord) -> None:
        if record.asked_ns is not None:
            record.asked_ns = None
            self._in_flight -= 1

    def pump(self, now: Now) -> Out:
        """Send the snapshot requests that are due, in the order of their due times, within spacing and number."""
        settings = self._settings
        out: Out = []
        if now.boot_ns < self._next_send_ns or self._in_flight >= settings.snapshots_in_flight:
            return out
        due = [
            record
            for record in self._records.values()
            if record.due_ns is not None
            and record.due_ns <= now.boot_ns
            and record.asked_ns is None
            and (record.keeper.wants_snapshot or record.shadow is not None)
        ]
        if due:
            record = min(due, key=lambda one: (one.due_ns, one.symbol))
            self._serial += 1
            record.serial = self._serial
            record.asked_ns = now.boot_ns
            record.due_ns = None
            self._in_flight += 1
            self._next_send_ns = now.boot_ns + settings.snapshot_spacing_ms * _MS
            key = ("market", "depth", record.symbol, record.serial)
            out.append(self._venue.depth(key, record.symbol, settings.snapshot_limit))
        return out

    def on_rest(self, now: Now, reply: RestReply | RestFailed) -> DepthOut:
        """Keys ("market", "depth" | "compare", symbol, serial)."""
        _, purpose, symbol, serial = reply.key
        record = self._records.get(str(symbol))
        if record is None:
            return DepthOut()
        if purpose == "compare":
            return self._on_compare(now, record, reply, int(serial))
        if serial != record.serial:  # one that was only given up as lost is as good as any
            self._context.notices.count("book.late_snapshot")
            return DepthOut()
        record.serial = 0
        self._forget_request(record)
        return DepthOut(self._on_snapshot(now, record, reply) + self.pump(now))

    def _on_snapshot(self, now: Now, record: DepthRecord, reply: RestReply | RestFailed) -> Out:
        snapshot = self._read(now, record, reply)
        if isinstance(snapshot, list):
            record.failures += 1
            self._want(now, record)
            return snapshot
        keeper = record.keeper
        if keeper.wants_snapshot:
            change = keeper.take_snapshot(snapshot, now.wall_ns)
            record.moved_ns = now.boot_ns
            if change is Change.REFETCH:
                return self._refetch(now, record)
            if change is Change.LIVE:
                return self._went_live(now, record)
            return []
        return self._beside(now, record, self._shadows.snapshot(now, record, snapshot))

    def _read(self, now: Now, record: DepthRecord, reply: RestReply | RestFailed) -> Snapshot | Out:
        try:
            if isinstance(reply, RestFailed):
                raise BadReply(f"depth snapshot: no answer ({reply.reason[:300]})")
            return self._venue.parse_snapshot(reply.status, reply.body)
        except BadReply as bad:
            return list(self._context.notices.say(now, "warning", "market.bad_reply", record.symbol, detail=str(bad)))

    # -- silence --------------------------------------------------------------------------------------------------

    def on_tick(self, now: Now) -> DepthOut:
        result = DepthOut()
        if not self._up:
            return result
        settings = self._settings
        for record in self._records.values():
            if record.asked_ns is not None and now.boot_ns - record.asked_ns > settings.snapshot_lost_ms * _MS:
                self._forget_request(record)
                record.failures += 1
                self._want(now, record)
            for held in record.ahead.late(now):
                result.out += self._take(now, record, *held)
            if record.compare is not None and now.boot_ns >= record.compare.due_ns:
                self._judge(now, record, record.compare, result)
            if self._silence.turned(now, record):
                result.out += self._proof_changed(now, record)
            if record.compare is None and self._silence.wants_comparison(now, record):
                self._serial += 1
                record.compare_serial = self._serial
                record.compare_ns = now.boot_ns
                key = ("market", "compare", record.symbol, self._serial)
                result.out.append(self._venue.depth(key, record.symbol, settings.compare_levels))
        self._shadows.check_one(now, self._records.values(), overlap=self._overlap)
        result.out += self.pump(now)
        return result

    def _proof_changed(self, now: Now, record: DepthRecord) -> Out:
        if not record.doubted:
            record.reason = ""
            return [self._live_event(now, record), record.dirty]
        record.reason = "unproven"
        record.broke_ns = now.boot_ns
        detail = "no message, and REST does not answer: nobody can say whether the market is quiet"
        lines = self._context.notices.say(now, "warning", "book.gap", record.symbol, reason="unproven", detail=detail)
        data = {"reason": "unproven", "u": record.keeper.seq.at}
        return [self._context.events.add(now, "book.gap", data, symbol=record.symbol), record.dirty, *lines]

    def _judge(self, now: Now, record: DepthRecord, comparison: Comparison, result: DepthOut) -> None:
        doubt = self._silence.judge(now, record, comparison)
        if doubt is not None:
            doubt.suspicion.alone = self._silence.alone(now, record, self._records.values())
            result.suspicions.append(doubt.suspicion)
            change = record.keeper.invalidate(doubt.reason, doubt.detail, forget_floor=doubt.ids_restarted)
            result.out += self._changed(now, record, change)

    def _on_compare(self, now: Now, record: DepthRecord, reply: RestReply | RestFailed, serial: int) -> DepthOut:
        if serial != record.compare_serial:
            return DepthOut()
        record.compare_serial = None
        snapshot = self._read(now, record, reply)
        if isinstance(snapshot, list):
            self._silence.unproven(record)
            return DepthOut(snapshot)
        self._silence.compare(now, record, snapshot)
        return DepthOut()

    def next_deadline_boot_ns(self) -> int | None:
        """The earliest due snapshot request; other deadlines are kept by the regular tick (100 ms)."""
        dues = [
            max(record.due_ns, self._next_send_ns)
            for record in self._records.values()
            if record.due_ns is not None and record.asked_ns is None
        ]
        return min(dues) if dues and self._in_flight < self._settings.snapshots_in_flight else None

    # -- what others see ------------------------------------------------------------------------------------------

    def render(self, now: Now, record: DepthRecord) -> bytes:
        keeper = record.keeper
        bids, asks = keeper.top(self._settings.top) if record.live else ([], [])
        head = self._context.heads.fields(
            now, state_of(record), symbol=record.symbol, event_ms=keeper.event_ms, recv_ns=keeper.recv_ns
        )
        return _encode(BookSlice(**head, u=keeper.seq.at, bids=bids, asks=asks))  # type: ignore[arg-type]

    def page(self, symbol: str, limit: int, token: str | None) -> tuple[dict[str, Any], str | None]:
        """The answer of the operation `book`: (result, next). Raises IpcError."""
        record = self._records.get(symbol)
        if record is None:
            raise IpcError("symbol.unknown", f"{symbol} is not served here; say hello with it, or see `status`")
        return book_page(record, state_of(record), limit, token)


def state_of(record: DepthRecord) -> State:
    if record.live:
        return "live"
    return "down" if record.keeper.seq.phase is Phase.DOWN else "resync"
