"""One consistent cut through a gateway's slices, decoded and judged. Pure: bytes in, verdicts out.

Refusing is the default: a slice is usable only through `Checked.fresh`, and everything is refused when the gateway's
own slice is (its lease ran out, its epoch is gone, or the store could not be read).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar, cast

import msgspec

from ipc import keys, slices
from ipc.events import Event
from ipc.slices import (
    BarSlice,
    BarsSlice,
    BookSlice,
    GatewaySlice,
    Head,
    InstrumentSlice,
    LedgerSlice,
    MarkSlice,
    Now,
    OrdersSlice,
    PositionSlice,
    Verdict,
)

H = TypeVar("H", bound=Head)

SLICE_AGE_NS = 1_000_000_000
LEASE_NS = 1_000_000_000
ABSENT = Verdict(False, "absent", "not read yet")


class Checked(NamedTuple, Generic[H]):
    """A slice with its verdict. `slice` may be looked at for display; decisions use `fresh`."""

    slice: H | None
    verdict: Verdict

    @property
    def fresh(self) -> H | None:
        return self.slice if self.verdict.ok else None


@dataclass(frozen=True, slots=True)
class BarsCut:
    """The open bar and the closed ones of one interval. `closed` is refused unless it holds the bar that `open`
    names as the last closed one."""

    open: Checked[BarSlice]
    closed: Checked[BarsSlice]


@dataclass(frozen=True, slots=True)
class SymbolCut:
    book: Checked[BookSlice]
    mark: Checked[MarkSlice]
    instrument: Checked[InstrumentSlice]
    position: Checked[PositionSlice]
    orders: Checked[OrdersSlice]
    ledger: Checked[LedgerSlice]
    bars: Mapping[str, BarsCut]

    def account_refusal(self) -> str:
        """Why the account's side of this symbol may not be decided on; empty when it may."""
        for name, checked in (("ledger", self.ledger), ("position", self.position), ("orders", self.orders)):
            if not checked.verdict.ok:
                return f"{name} is {checked.verdict.reason} ({checked.verdict.detail})"
        return ""


@dataclass(frozen=True, slots=True)
class Cut:
    """What one read found. `events` are new, in order; `last_seq` is the sequence up to which nothing of interest is
    missing any more (None: no position in the stream yet). `refused` says why nothing at all may be decided on."""

    now: Now
    gateway: Checked[GatewaySlice]
    symbols: Mapping[str, SymbolCut]
    events: Sequence[Event] = ()
    last_seq: int | None = None
    refused: str = ""
    malformed: Sequence[str] = field(default=())

    @property
    def epoch(self) -> str | None:
        return self.gateway.slice.epoch if self.gateway.slice is not None else None


class CutReader:
    """Knows which keys to read for a brain, and turns their bytes into a Cut. Holds the closed bars between reads:
    they are rewritten only when one closes or is mended, so they are fetched only then (`stale_bars`)."""

    def __init__(
        self,
        account: str,
        symbols: Sequence[str],
        intervals: Sequence[str],
        brain: str,
        *,
        max_age_ns: int = SLICE_AGE_NS,
        lease_ns: int = LEASE_NS,
    ) -> None:
        self.account = account
        self.symbols = tuple(symbols)
        self.intervals = tuple(intervals)
        self.brain = brain
        self._max_age_ns = max_age_ns
        self._lease_ns = lease_ns
        self.keys = self._keys()
        self._closed: dict[tuple[str, str], BarsSlice] = {}
        self._mended: set[tuple[str, str]] = set()
        self._malformed: list[str] = []
        self._decoded: dict[int, tuple[bytes, Head]] = {}  # by place in `keys`: most polls find the same bytes again

    def _keys(self) -> list[str]:
        names = [keys.gateway(self.account)]
        for symbol in self.symbols:
            names += [kind(self.account, symbol) for kind in (keys.book, keys.mark, keys.instrument)]
            names += [keys.position(self.account, symbol), keys.orders(self.account, symbol)]
            names.append(keys.ledger(self.account, symbol, self.brain))
            names += [keys.bar(self.account, symbol, interval) for interval in self.intervals]
        return names

    def wake_channels(self) -> list[str]:
        return [keys.wake(self.account, symbol) for symbol in self.symbols]

    def note_events(self, events: Sequence[Event]) -> None:
        """Bars that an event says changed are fetched again."""
        for event in events:
            if event.subject in ("bar.mended", "bar.closed") and event.symbol is not None:
                self._mended.add((event.symbol, str(event.data.get("interval"))))

    def refuse(self, now: Now, reason: str) -> Cut:
        """A cut in which nothing may be decided on: the store is gone, or events are missing."""
        verdict = Verdict(False, "absent", reason)
        symbols = {symbol: _refused_symbol(verdict, self.intervals) for symbol in self.symbols}
        return Cut(now, Checked(None, verdict), symbols, refused=reason)

    def stale_bars(self, values: Sequence[bytes | None]) -> list[tuple[str, str]]:
        """Which (symbol, interval) need their closed bars fetched, given the values of `keys`."""
        out = []
        width = 6 + len(self.intervals)
        for number, symbol in enumerate(self.symbols):
            for offset, interval in enumerate(self.intervals):
                bar = self._at(BarSlice, values, 1 + number * width + 6 + offset)
                held = self._closed.get((symbol, interval))
                if bar is None:
                    continue
                fits = held is not None and held.epoch == bar.epoch and _last_open_ms(held) == bar.closed_open_ms
                if not fits or (symbol, interval) in self._mended:
                    out.append((symbol, interval))
        return out

    def hold_bars(self, symbol: str, interval: str, raw: bytes | None) -> None:
        found = self._decode(BarsSlice, raw)
        self._mended.discard((symbol, interval))
        if found is not None:
            self._closed[symbol, interval] = found

    def build(
        self,
        now: Now,
        values: Sequence[bytes | None],
        *,
        events: Sequence[Event] = (),
        last_seq: int | None = None,
        need_as_of: int = 0,
        refused: str = "",
    ) -> Cut:
        """`values` belong to `keys`. `need_as_of`: what the account's slices must include."""
        self._malformed = []
        gateway = self._at(GatewaySlice, values, 0)
        health = slices.judge(gateway, now, epoch=None, max_age_ns=self._lease_ns)
        if not health.ok:
            refused = refused or f"the gateway's slice is {health.reason} ({health.detail})"
        judged = _Judge(now, gateway.epoch if gateway and health.ok else None, health, self._max_age_ns, need_as_of)
        at = 1
        symbols = {}
        for symbol in self.symbols:
            symbols[symbol] = self._symbol(symbol, judged, values, at)
            at += 6 + len(self.intervals)
        return Cut(now, Checked(gateway, health), symbols, events, last_seq, refused, tuple(self._malformed))

    def _symbol(self, symbol: str, judged: _Judge, values: Sequence[bytes | None], at: int) -> SymbolCut:
        bars = {}
        for offset, interval in enumerate(self.intervals):
            bar = judged(self._at(BarSlice, values, at + 6 + offset))
            closed = judged(self._closed.get((symbol, interval)), aged=False)
            if closed.verdict.ok and bar.slice is not None and closed.slice is not None:
                closed = _must_hold(closed, bar.slice)
            bars[interval] = BarsCut(bar, closed)
        return SymbolCut(
            judged(self._at(BookSlice, values, at)),
            judged(self._at(MarkSlice, values, at + 1)),
            judged(self._at(InstrumentSlice, values, at + 2), aged=False),
            judged(self._at(PositionSlice, values, at + 3)),
            judged(self._at(OrdersSlice, values, at + 4)),
            judged(self._at(LedgerSlice, values, at + 5)),
            bars,
        )

    def _at(self, kind: type[H], values: Sequence[bytes | None], place: int) -> H | None:
        raw = values[place]
        if raw is None:
            return None
        held = self._decoded.get(place)
        if held is not None and held[0] == raw:
            return cast(H, held[1])
        found = self._decode(kind, raw)
        if found is not None:
            self._decoded[place] = (raw, found)
        return found

    def _decode(self, kind: type[H], raw: bytes | None) -> H | None:
        if raw is None:
            return None
        try:
            return slices.decode(kind, raw)
        except msgspec.MsgspecError as error:
            self._malformed.append(f"{kind.__name__}: {error}")
            return None


class _Judge:
    """Judges every slice of one cut by the same clocks, epoch and gateway health."""

    def __init__(self, now: Now, epoch: str | None, health: Verdict, max_age_ns: int, need_as_of: int) -> None:
        self._now = now
        self._epoch = epoch
        self._dead = None if health.ok else Verdict(False, health.reason, f"the gateway's slice: {health.detail}")
        self._max_age_ns = max_age_ns
        self._need_as_of = need_as_of

    def __call__(self, head: H | None, *, aged: bool = True) -> Checked[H]:
        if self._dead is not None:
            return Checked(head, self._dead)
        verdict = slices.judge(
            head,
            self._now,
            epoch=self._epoch,
            max_age_ns=self._max_age_ns if aged else None,
            need_as_of=self._need_as_of,
        )
        return Checked(head, verdict)


def _refused_symbol(verdict: Verdict, intervals: Sequence[str]) -> SymbolCut:
    bars = {interval: BarsCut(Checked(None, verdict), Checked(None, verdict)) for interval in intervals}
    none: Checked[Head] = Checked(None, verdict)
    return SymbolCut(none, none, none, none, none, none, bars)  # type: ignore[arg-type]


def _last_open_ms(bars: BarsSlice) -> int | None:
    return bars.rows[-1].open_ms if bars.rows else None


def _must_hold(closed: Checked[BarsSlice], bar: BarSlice) -> Checked[BarsSlice]:
    held = _last_open_ms(closed.slice) if closed.slice is not None else None
    if held == bar.closed_open_ms:
        return closed
    detail = f"ends at {held}, the last closed bar is {bar.closed_open_ms}"
    return Checked(closed.slice, Verdict(False, "old", detail))
