"""Bars of all symbols and intervals: REST history, closings as events, slices and pages.

At most `MAX_IN_FLIGHT` history requests at a time, in order of need; a failing one is backed off per series.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.core.bars import BarChange, BarSeries, Closed
from gateway.core.effects import Dirty, Write
from gateway.core.inputs import Now, RestFailed, RestReply
from gateway.core.market_context import MarketContext
from gateway.core.market_data import BadReply, BarUpdate
from gateway.core.market_settings import MarketSettings
from gateway.core.market_venue import MarketVenue
from gateway.core.parts import Out
from gateway.core.rows import KvRow
from ipc import keys
from ipc.errors import IpcError
from ipc.slices import BarSlice, BarsSlice, State

_MS = 1_000_000
MAX_IN_FLIGHT = 4
BACKOFF_MAX_FEW_MS, BACKOFF_MAX_EACH_MS = 2_000, 250
MAX_PAGE = 500  # a page of long rows stays within one line of 64 KiB
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class MuteBars:
    """A whole bar was traded while the stream said nothing. `first`: it never did since the connection came up."""

    stream: str
    silent_ms: int
    deadline_ms: int
    first: bool


@dataclass(slots=True)
class BarRecord:
    """One series. `due_ns` is when REST may be asked next; `asked_ns` when it was (CLOCK_BOOTTIME)."""

    symbol: str
    interval: str
    stream: str
    bar_key: str
    bars_key: str
    dirty: Dirty
    dirty_both: Dirty
    series: BarSeries
    due_ns: int = 0
    asked_ns: int | None = None
    asked_from: int | None = None
    serial: int = 0
    failures: int = 0
    overdue: int = 0
    overdue_ns: int = 0
    late: bool = False  # a bar must have closed by now, and we have not got it
    shown: State = "down"  # what the slices say; `bars` is written only on change, so each turn of it is one
    event_ms: int | None = None
    recv_ns: int | None = None


class BarDesk:
    """`server_ms` gives the exchange's clock; `stored` is the journal's small state (last announced closings)."""

    def __init__(
        self,
        settings: MarketSettings,
        context: MarketContext,
        venue: MarketVenue,
        server_ms: Callable[[Now], int],
        stored: Mapping[str, bytes],
    ) -> None:
        self._settings = settings
        self._context = context
        self._venue = venue
        self._server_ms = server_ms
        self._stored = stored
        self._records: dict[tuple[str, str], BarRecord] = {}
        self._in_flight = 0
        self._serial = 0
        self._up = False
        self._up_ms = 0  # since when, on the exchange's clock
        self._mute: list[MuteBars] = []
        self.started_boot_ns: int | None = None

    def add(self, now: Now, symbol: str, interval: str) -> BarRecord:
        held = self._records.get((symbol, interval))
        if held is not None:
            return held
        bar_key = keys.bar(self._context.account, symbol, interval)
        bars_key = keys.bars(self._context.account, symbol, interval)
        series = BarSeries(interval, self._settings.memory_bars, self._watermark(symbol, interval))
        stream = self._venue.bar_stream(symbol, interval)
        both = Dirty((bar_key, bars_key))
        record = BarRecord(symbol, interval, stream, bar_key, bars_key, Dirty((bar_key,)), both, series)
        record.due_ns = now.boot_ns
        record.overdue_ns = now.boot_ns
        self._records[symbol, interval] = record
        return record

    def _watermark(self, symbol: str, interval: str) -> int:
        raw = self._stored.get(_kv_key(symbol, interval), b"")
        return int(raw) if raw.isdigit() and len(raw) < 16 else -1

    def get(self, symbol: str, interval: str) -> BarRecord | None:
        return self._records.get((symbol, interval))

    def records(self) -> Iterable[BarRecord]:
        return self._records.values()

    def connected(self, now: Now) -> Out:
        """Bars may have closed while nobody listened: every series asks REST from its last closed one on."""
        self._up = True
        self._up_ms = self._server_ms(now)
        for record in self._records.values():
            if record.series.loaded:
                self._verify_from(record, record.series.last_closed_ms)
            record.due_ns = now.boot_ns
        return self.pump(now) + self._look(now)

    def disconnected(self) -> Out:
        self._up = False
        for record in self._records.values():
            record.shown = "down"
        return [record.dirty_both for record in self._records.values()]

    def _look(self, now: Now) -> Out:
        """Slices whose state turned. Without the bar that must be there by now a series is not live: decisions are
        made on closed bars, and the last one of these is not the last one any more."""
        out: Out = []
        server_ms = self._server_ms(now)
        for record in self._records.values():
            due_ms = self._due_ms(record)
            record.late = due_ms is not None and server_ms > due_ms
            state = self.state(record)
            if state != record.shown:
                record.shown = state
                out.append(record.dirty_both)
        return out

    def _due_ms(self, record: BarRecord) -> int | None:
        """By when (on the exchange's clock) the next bar must be here, closed; None while nothing is known."""
        expected = record.series.expected_ms
        return None if expected is None else expected + record.series.interval_ms + self._settings.bar_overdue_ms

    def on_update(self, now: Now, record: BarRecord, update: BarUpdate, recv_ns: int) -> Out:
        record.event_ms = update.event_ms
        record.recv_ns = recv_ns
        was_whole = record.series.whole
        change = record.series.update(update)
        out = self._announce(now, record, change)
        if record.series.want_from is not None or not record.series.loaded:
            out += self.pump(now)
        if record.series.whole != was_whole:
            out.append(record.dirty_both)
        elif change.changed:
            out.append(record.dirty)
        return out

    def _announce(self, now: Now, record: BarRecord, change: BarChange) -> Out:
        out: Out = []
        for closed in change.closed:
            out += self._closed(now, record, closed)
        if change.mended:
            first, last = change.mended[0].open_ms, change.mended[-1].open_ms
            data = {"interval": record.interval, "from_ms": first, "to_ms": last, "count": len(change.mended)}
            out.append(self._context.events.add(now, "bar.mended", data, symbol=record.symbol))
        if change.closed or change.mended:
            record.overdue = 0
            due_ms = self._due_ms(record)
            record.late = due_ms is not None and self._server_ms(now) > due_ms
            record.shown = self.state(record)
            out.append(record.dirty_both)
        return out

    def _closed(self, now: Now, record: BarRecord, closed: Closed) -> Out:
        row, by = closed
        data = {
            "interval": record.interval, "open_ms": row.open_ms,
            "o": row.o, "h": row.h, "l": row.l, "c": row.c, "v": row.v, "by": by,
        }  # fmt: skip
        event = self._context.events.add(now, "bar.closed", data, symbol=record.symbol, event_ms=record.event_ms)
        mark = Write(KvRow(_kv_key(record.symbol, record.interval), str(row.open_ms).encode()))
        return [event, mark]

    # -- REST -----------------------------------------------------------------------------------------------------

    def _verify_from(self, record: BarRecord, open_ms: int | None) -> None:
        series = record.series
        if open_ms is None:
            open_ms = series.expected_ms
        if open_ms is None:
            series.loaded = False
        elif series.verify_from is None or open_ms < series.verify_from:
            series.verify_from = open_ms

    def pump(self, now: Now) -> Out:
        out: Out = []
        if self._in_flight >= MAX_IN_FLIGHT:
            return out
        for record in self._records.values():
            if self._in_flight >= MAX_IN_FLIGHT:
                break
            if record.asked_ns is not None or now.boot_ns < record.due_ns:
                continue
            series = record.series
            if series.loaded and series.want_from is None:
                continue
            self._serial += 1
            record.serial = self._serial
            record.asked_ns = now.boot_ns
            record.asked_from = series.want_from if series.loaded else None
            self._in_flight += 1
            key = ("market", "bars", record.symbol, record.interval, record.serial)
            limit = self._settings.history_bars
            if record.asked_from is not None:
                missing = (self._server_ms(now) - record.asked_from) // series.interval_ms + 2
                limit = max(10, min(missing, self._venue.max_bars()))
            out.append(self._venue.history(key, record.symbol, record.interval, limit, record.asked_from))
        return out

    def on_rest(self, now: Now, reply: RestReply | RestFailed) -> Out:
        """Keys ("market", "bars", symbol, interval, serial)."""
        record = self._records.get((str(reply.key[2]), str(reply.key[3])))
        if record is None or record.asked_ns is None or reply.key[4] != record.serial:
            return []
        record.asked_ns = None
        self._in_flight -= 1
        try:
            if isinstance(reply, RestFailed):
                raise BadReply(f"klines: no answer ({reply.reason[:300]})")
            history = self._venue.parse_history(reply.status, reply.body)
        except BadReply as bad:
            return self._failed(now, record, str(bad)) + self.pump(now)
        record.failures = 0
        first = not record.series.loaded
        server_ms = self._server_ms(now)
        change = record.series.merge(history, server_ms, self._started_ms(now, server_ms))
        self._look_for_mute(record, change, server_ms)
        out = self._announce(now, record, change)
        if record.series.want_from is not None:  # REST has not got it yet either
            record.failures += 1
            record.due_ns = now.boot_ns + self._context.backoff_ns(record.failures, 1_000, 60_000)
        if first:
            out.append(record.dirty_both)
        out.append(record.dirty)
        return out + self.pump(now)

    def _look_for_mute(self, record: BarRecord, change: BarChange, server_ms: int) -> None:
        """Bars and trades may be silent in a quiet market. But where REST shows trades of a whole bar that began after
        the stream was there, and the stream said nothing since, it is mute."""
        heard_ms = max(record.event_ms or 0, self._up_ms)
        if self._up and any(row.n > 0 and row.open_ms > heard_ms for row, by in change.closed if by == "rest"):
            deadline_ms = record.series.interval_ms + self._settings.bar_overdue_ms
            first = record.event_ms is None or record.event_ms < self._up_ms
            self._mute.append(MuteBars(record.stream, server_ms - heard_ms, deadline_ms, first))

    def take_mute(self) -> list[MuteBars]:
        """Found since the last call; for the one who owns the connections."""
        mute, self._mute = self._mute, []
        return mute

    def _started_ms(self, now: Now, server_ms: int) -> int:
        """When this process started, on the exchange's clock."""
        if self.started_boot_ns is None:
            return server_ms
        return server_ms - (now.boot_ns - self.started_boot_ns) // _MS

    def _failed(self, now: Now, record: BarRecord, detail: str) -> Out:
        record.failures += 1
        settings = self._settings
        wanting = sum(not one.series.loaded or one.series.want_from is not None for one in self._records.values())
        most_ms = min(settings.backoff_max_ms, max(BACKOFF_MAX_FEW_MS, BACKOFF_MAX_EACH_MS * wanting))
        record.due_ns = now.boot_ns + self._context.backoff_ns(record.failures, settings.backoff_first_ms, most_ms)
        about = f"{record.symbol} {record.interval}"
        return list(self._context.notices.say(now, "warning", "market.bad_reply", about, detail=detail))

    def on_tick(self, now: Now) -> Out:
        """Closings that neither the exchange's word nor a next bar brought are asked for."""
        if not self._up:
            return []
        server_ms = self._server_ms(now)
        for record in self._records.values():
            if record.asked_ns is not None and now.boot_ns - record.asked_ns > self._settings.snapshot_lost_ms * _MS:
                record.asked_ns = None
                self._in_flight -= 1
            series = record.series
            due_ms = self._due_ms(record)
            if due_ms is None or not series.loaded or series.want_from is not None or now.boot_ns < record.overdue_ns:
                continue
            if server_ms > due_ms:
                record.overdue += 1
                record.overdue_ns = now.boot_ns + self._context.backoff_ns(record.overdue, 5_000, 60_000)
                self._context.notices.count("bar.overdue")
                self._verify_from(record, series.expected_ms)
        return self.pump(now) + self._look(now)

    # -- what others see ------------------------------------------------------------------------------------------

    def state(self, record: BarRecord) -> State:
        if not self._up:
            return "down"
        return "live" if record.series.whole and not record.late else "resync"

    def render_bar(self, now: Now, record: BarRecord) -> bytes:
        series = record.series
        slice_ = BarSlice(
            **self._head(now, record), interval=record.interval, bar=series.open, closed_open_ms=series.last_closed_ms
        )
        return _encode(slice_)

    def render_bars(self, now: Now, record: BarRecord) -> bytes:
        rows = record.series.rows(self._settings.slice_bars)
        return _encode(BarsSlice(**self._head(now, record), interval=record.interval, rows=rows))

    def _head(self, now: Now, record: BarRecord) -> dict[str, Any]:
        return self._context.heads.fields(
            now, self.state(record), symbol=record.symbol, event_ms=record.event_ms, recv_ns=record.recv_ns
        )

    def page(
        self, symbol: str, interval: str, limit: int, end_ms: int | None, token: str | None
    ) -> tuple[dict[str, Any], str | None]:
        """Closed bars from memory, newest page first, each oldest first. The token is where the page before began."""
        record = self._records.get((symbol, interval))
        if record is None:
            raise IpcError("symbol.unknown", f"{symbol} {interval} is not served here; say hello with both")
        before_ms = None if end_ms is None else end_ms - record.series.interval_ms + 1  # by end, held by open time
        if token is not None:
            if not (token.isascii() and token.isdecimal()) or len(token) > 15:
                raise IpcError("page.bad_token", "the token is not one that `bars` gave; start again without `next`")
            before_ms = int(token) if before_ms is None else min(int(token), before_ms)
        rows = record.series.rows(min(limit, MAX_PAGE) + 1, before_ms)
        more = len(rows) > min(limit, MAX_PAGE)
        rows = rows[1:] if more else rows
        result = {"symbol": symbol, "interval": interval, "state": self.state(record), "rows": rows}
        return result, str(rows[0].open_ms) if more else None


def _kv_key(symbol: str, interval: str) -> str:
    return f"bar:{symbol}:{interval}"
