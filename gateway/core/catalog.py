"""What the exchange says about the wanted symbols: instruments, status, limits; read at start, refreshed regularly.

A symbol the exchange lacks, does not trade, or describes in a way that cannot be used is known with its reason; the
others go on.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Any

from gateway.core.inputs import Now, RestFailed, RestReply
from gateway.core.market_context import MarketContext
from gateway.core.market_data import BadReply, BadSymbol, RateLimit
from gateway.core.market_settings import MarketSettings
from gateway.core.market_venue import ExchangeInfo, MarketVenue
from gateway.core.parts import Out
from rules.instrument import Instrument, text

_MS = 1_000_000
MISSING = "MISSING"  # status of a symbol the exchange does not list any more, or not in a way that can be read
MIN_REFRESH_NS = 10_000 * _MS  # a burst of filter refusals asks once
# while a symbol is down its return is looked for, soon at first: nothing else would tell before the next refresh
DOWN_FIRST_NS, DOWN_MAX_NS = 15_000 * _MS, 300_000 * _MS


@dataclass(frozen=True, slots=True)
class Entry:
    """`instrument` None or not trading: `reason` says why the symbol is down."""

    instrument: Instrument | None
    reason: str


class Catalog:
    """Keys ("market", "info", serial)."""

    def __init__(self, settings: MarketSettings, context: MarketContext, venue: MarketVenue) -> None:
        self._settings = settings
        self._context = context
        self._venue = venue
        self._info: ExchangeInfo | None = None
        self._entries: dict[str, Entry] = {}
        self._serial = 0
        self._asked_ns: int | None = None
        self._due_ns: int | None = None
        self._read_ns: int | None = None
        self._failures = 0
        self._down_reads = 0  # in a row before which some symbol was down

    @property
    def loaded(self) -> bool:
        return self._info is not None

    @property
    def limits(self) -> tuple[RateLimit, ...]:
        return self._info.limits if self._info is not None else ()

    def get(self, symbol: str) -> Entry | None:
        return self._entries.get(symbol)

    def refresh(self, now: Now) -> Out:
        """Read again now, unless an answer is awaited or hardly older than a burst of refusals."""
        if self._asked_ns is not None:
            return []
        if self._read_ns is not None and now.boot_ns - self._read_ns < MIN_REFRESH_NS:
            self._due_ns = self._read_ns + MIN_REFRESH_NS
            return []
        self._serial += 1
        self._asked_ns = now.boot_ns
        self._due_ns = None
        return [self._venue.exchange_info(("market", "info", self._serial))]

    def on_tick(self, now: Now) -> Out:
        if self._asked_ns is not None and now.boot_ns - self._asked_ns > self._settings.snapshot_lost_ms * _MS:
            self._asked_ns = None
            self._retry(now)
        if self._due_ns is not None and now.boot_ns >= self._due_ns:
            return self.refresh(now)
        return []

    def next_deadline_boot_ns(self) -> int | None:
        return self._due_ns

    def _retry(self, now: Now) -> None:
        self._failures += 1
        self._due_ns = now.boot_ns + self._context.backoff_ns(self._failures, 500, 5_000)

    def on_rest(self, now: Now, reply: RestReply | RestFailed, wanted: Iterable[str]) -> tuple[bool, Out]:
        """(a new answer was read, effects). An answer that cannot be used leaves the last good one in force."""
        if self._asked_ns is None or reply.key[2] != self._serial:
            return False, []
        self._asked_ns = None
        try:
            if isinstance(reply, RestFailed):
                raise BadReply(f"exchange info: no answer ({reply.reason[:300]})")
            self._info = self._venue.parse_exchange_info(reply.status, reply.body)
        except BadReply as bad:
            self._retry(now)
            return False, list(
                self._context.notices.say(now, "error", "market.bad_reply", "exchange info", detail=str(bad))
            )
        self._failures = 0
        self._read_ns = now.boot_ns
        self._due_ns = now.boot_ns + self._settings.info_every_ms * _MS
        out: Out = []
        down = any(entry.reason for entry in self._entries.values())
        self._down_reads = self._down_reads + 1 if down else 0
        for symbol in wanted:
            out += self.look_up(now, symbol)
        return True, out

    def look_up(self, now: Now, symbol: str) -> Out:
        """Read one symbol from the newest answer; a change against the last reading is an event."""
        if self._info is None:
            return []
        entry = self._read(self._info, symbol)
        held = self._entries.get(symbol)
        if entry.instrument is None and held is not None and held.instrument is not None:
            # gone or unreadable while we hold it: no entries, but closes still need its grid
            entry = Entry(replace(held.instrument, status=MISSING), entry.reason)
        self._entries[symbol] = entry
        if entry.reason and self._due_ns is not None and self._read_ns is not None:
            wait_ns = min(DOWN_FIRST_NS << min(self._down_reads, 10), DOWN_MAX_NS)
            self._due_ns = min(self._due_ns, self._read_ns + wait_ns)
        out: Out = []
        if entry.reason and (held is None or held.reason != entry.reason):
            out += self._context.notices.say(now, "error", "symbol.down", symbol, reason=entry.reason)
        old, new = held.instrument if held is not None else None, entry.instrument
        if old is not None and new is not None and old != new:
            changes = _changes(old, new)
            out.append(self._context.events.add(now, "instrument.changed", {"changes": changes}, symbol=symbol))
        return out

    def _read(self, info: ExchangeInfo, symbol: str) -> Entry:
        try:
            instrument = info.instrument(symbol)
        except BadSymbol as bad:
            return Entry(None, f"the exchange's description cannot be used: {bad}")
        if instrument is None:
            near = difflib.get_close_matches(symbol, info.names(), n=3)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            return Entry(None, f"the exchange has no symbol {symbol}{hint}")
        if not instrument.trading:
            return Entry(instrument, f"the exchange does not trade it: status {instrument.status}")
        return Entry(instrument, "")


def _changes(old: Instrument, new: Instrument) -> dict[str, Any]:
    return {
        field.name: [_shown(getattr(old, field.name)), _shown(getattr(new, field.name))]
        for field in fields(Instrument)
        if getattr(old, field.name) != getattr(new, field.name)
    }


def _shown(value: object) -> Any:
    return text(value) if isinstance(value, Decimal) else value
