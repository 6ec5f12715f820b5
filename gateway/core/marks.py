"""Mark price, index and funding of all symbols. A value is relied on only while its stream is within its deadline."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from gateway.core.effects import Dirty
from gateway.core.inputs import Now
from gateway.core.market_context import MarketContext
from gateway.core.market_data import MarkUpdate
from gateway.core.market_settings import MarketSettings
from gateway.core.market_venue import MarketVenue
from gateway.core.parts import Out
from ipc import keys
from ipc.slices import MarkSlice, State

_MS = 1_000_000
_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class MarkRecord:
    """One symbol. `seen_ns` is when the stream last spoke, or when it was (re)connected (CLOCK_BOOTTIME)."""

    symbol: str
    stream: str
    key: str
    dirty: Dirty
    seen_ns: int
    update: MarkUpdate | None = None
    recv_ns: int | None = None
    fresh: bool = False
    silent: bool = False


class MarkDesk:
    def __init__(self, settings: MarketSettings, context: MarketContext, venue: MarketVenue) -> None:
        self._settings = settings
        self._context = context
        self._venue = venue
        self._records: dict[str, MarkRecord] = {}
        self._up = False

    def add(self, now: Now, symbol: str) -> MarkRecord:
        key = keys.mark(self._context.account, symbol)
        record = MarkRecord(symbol, self._venue.mark_stream(symbol), key, Dirty((key,)), now.boot_ns)
        self._records[symbol] = record
        return record

    def get(self, symbol: str) -> MarkRecord | None:
        return self._records.get(symbol)

    def records(self) -> Iterable[MarkRecord]:
        return self._records.values()

    def connected(self, now: Now) -> None:
        self._up = True
        for record in self._records.values():
            record.seen_ns = now.boot_ns
            record.fresh = False
            record.silent = False

    def disconnected(self) -> Out:
        self._up = False
        for record in self._records.values():
            record.fresh = False
        return [record.dirty for record in self._records.values()]

    def on_update(self, now: Now, record: MarkRecord, update: MarkUpdate, recv_ns: int) -> Out:
        """A message older than the one held is counted and dropped."""
        record.seen_ns = now.boot_ns
        record.silent = False
        if record.update is not None and record.fresh and update.event_ms < record.update.event_ms:
            self._context.notices.count("mark.late")
            return []
        record.update = update
        record.recv_ns = recv_ns
        record.fresh = True
        return [record.dirty]

    def newly_silent(self, now: Now) -> list[MarkRecord]:
        """Streams past their deadline, each named once until it speaks again."""
        if not self._up:
            return []
        limit_ns = self._settings.mark_silence_ms * _MS
        found = [
            record for record in self._records.values() if not record.silent and now.boot_ns - record.seen_ns > limit_ns
        ]
        for record in found:
            record.silent = True
        return found

    def live(self, record: MarkRecord, now: Now) -> bool:
        in_time = now.boot_ns - record.seen_ns <= self._settings.mark_silence_ms * _MS
        return self._up and record.fresh and in_time

    def price(self, symbol: str, now: Now) -> Decimal | None:
        record = self._records.get(symbol)
        if record is None or record.update is None or not self.live(record, now):
            return None
        return Decimal(record.update.mark)

    def render(self, now: Now, record: MarkRecord) -> bytes | None:
        """None before the first message: there is no mark price to show."""
        update = record.update
        if update is None:
            return None
        state: State = "live" if self.live(record, now) else "resync" if self._up else "down"
        head = self._context.heads.fields(
            now, state, symbol=record.symbol, event_ms=update.event_ms, recv_ns=record.recv_ns
        )
        slice_ = MarkSlice(
            **head,
            mark=update.mark,
            index=update.index,
            funding_rate=update.funding_rate or None,
            next_funding_ms=update.next_funding_ms or None,
        )
        return _encode(slice_)
