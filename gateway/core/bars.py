"""One symbol's bars of one interval: each closed exactly once, in order, without holes.

A bar is closed by the exchange's word (`stream`), by the arrival of the next one (`next`: a lost closing message is
normal; its content is then checked against REST), or by REST (`rest`: it closed while nobody listened). A closed bar
that does not follow the one before waits in `pending` until REST has filled the hole; at `MAX_PENDING` the oldest
waiting one is dropped, for REST fills it too. Where REST itself lacks it three times, the series starts anew behind it:
nothing is stitched.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from decimal import Decimal
from itertools import islice
from typing import NamedTuple

from gateway.core.market_data import BarUpdate, HistoryRow
from ipc.slices import BarRow

MINUTE_MS = 60_000
INTERVAL_MS: dict[str, int] = {
    "1m": MINUTE_MS, "3m": 3 * MINUTE_MS, "5m": 5 * MINUTE_MS, "15m": 15 * MINUTE_MS, "30m": 30 * MINUTE_MS,
    "1h": 60 * MINUTE_MS, "2h": 120 * MINUTE_MS, "4h": 240 * MINUTE_MS, "6h": 360 * MINUTE_MS,
    "8h": 480 * MINUTE_MS, "12h": 720 * MINUTE_MS, "1d": 1440 * MINUTE_MS,
}  # fmt: skip
MAX_PENDING = 100
MAX_LATE = 100  # bars that closed while the process was down and are announced; after more, all of them are history
MAX_HOLES = 3  # answers of REST that lack the same bar, before the series starts anew behind it
CLOSE_MARGIN_MS = 2_000  # REST's newest bar counts as closed only this long after its end


class Closed(NamedTuple):
    """A bar that became final; `by` is `stream`, `next` or `rest`."""

    row: BarRow
    by: str


class BarChange(NamedTuple):
    closed: list[Closed]
    mended: list[BarRow]
    changed: bool


NOTHING = BarChange([], [], False)


class BarSeries:
    """`watermark`: the open time up to which closings were announced (or are history): never again."""

    __slots__ = (
        "_event_ms", "_rows", "holes", "interval_ms", "loaded", "open", "pending", "verify_from", "watermark",
    )  # fmt: skip

    def __init__(self, interval: str, memory: int, watermark: int = -1) -> None:
        self.interval_ms = INTERVAL_MS[interval]
        self._rows: deque[BarRow] = deque(maxlen=memory)
        self._event_ms = 0
        self.open: BarRow | None = None
        self.pending: dict[int, Closed] = {}
        self.loaded = False
        self.verify_from: int | None = None
        self.holes = 0
        self.watermark = watermark

    @property
    def last_closed_ms(self) -> int | None:
        return self._rows[-1].open_ms if self._rows else None

    @property
    def expected_ms(self) -> int | None:
        """Open time of the bar that must close next; None while nothing is known."""
        if self._rows:
            return self._rows[-1].open_ms + self.interval_ms
        return self.open.open_ms if self.open is not None else None

    @property
    def whole(self) -> bool:
        """Loaded, and no hole behind what was closed."""
        return self.loaded and not self.pending

    @property
    def want_from(self) -> int | None:
        """Where REST should start (see `loaded` for the first load), or None if nothing is needed."""
        if self.pending and self._rows:
            expected = self._rows[-1].open_ms + self.interval_ms
            return expected if self.verify_from is None else min(expected, self.verify_from)
        return self.verify_from

    def rows(self, count: int, before_ms: int | None = None) -> list[BarRow]:
        """The newest `count` closed bars (with open times before `before_ms`), oldest first."""
        held = self._rows
        end = len(held) if before_ms is None else bisect_left(held, before_ms, key=lambda row: row.open_ms)
        start = max(0, end - count)
        return list(islice(held, start, end))

    def update(self, update: BarUpdate) -> BarChange:
        """One message of the stream. Late, repeated and off-grid ones change nothing."""
        row = update.row
        at = row.open_ms
        if at % self.interval_ms:
            return NOTHING
        if (self._rows and at <= self._rows[-1].open_ms) or at in self.pending:
            return self._late(update)
        result = BarChange([], [], True)
        held = self.open
        if held is not None and at < held.open_ms:
            if update.final:
                self._close(row, "stream", result)
            return result
        if held is not None and at == held.open_ms and (update.event_ms < self._event_ms or row.n < held.n):
            return NOTHING
        self.open = row
        self._event_ms = update.event_ms
        if held is not None and at > held.open_ms:
            self.verify_from = held.open_ms if self.verify_from is None else min(self.verify_from, held.open_ms)
            self._close(held, "next", result)
        if self.loaded and self._rows and at > self._rows[-1].open_ms + self.interval_ms and not self.pending:
            missing = self._rows[-1].open_ms + self.interval_ms
            self.verify_from = missing if self.verify_from is None else min(self.verify_from, missing)
        if update.final:
            self.open = None
            self._close(row, "stream", result)
        return result

    def _late(self, update: BarUpdate) -> BarChange:
        """About a bar already closed: the closing message after `next` closed it may still correct it."""
        row = update.row
        waiting = self.pending.get(row.open_ms)
        if waiting is not None:
            if update.final and row.n >= waiting.row.n:
                self.pending[row.open_ms] = Closed(row, waiting.by)
            return NOTHING
        if not update.final:
            return NOTHING
        result = BarChange([], [], False)
        self._correct(row, result)
        return result._replace(changed=bool(result.mended))

    def merge(self, history: list[HistoryRow], server_ms: int, started_ms: int) -> BarChange:
        """A REST answer, ascending. Its newest bar is open unless it ended `CLOSE_MARGIN_MS` ago.

        `started_ms` is when this process started, on the exchange's clock: bars closed before it are announced only
        where the process before it announced the one before them, at most `MAX_LATE` back.
        """
        result = BarChange([], [], True)
        final = [
            item.row
            for index, item in enumerate(history)
            if index + 1 < len(history) or item.close_ms + CLOSE_MARGIN_MS < server_ms
        ]
        if self.loaded:
            asked_from, expected = self.want_from, self.expected_ms
            for row in final:
                self._merge_one(row, result)
            self._judge_hole(asked_from, expected)
        else:
            self._load(final, started_ms, result)
        self._drain(result)
        self._merge_open(history[-1].row if len(history) > len(final) else None)
        self.verify_from = None
        return result

    def _load(self, final: list[BarRow], started_ms: int, result: BarChange) -> None:
        down_ms = started_ms - self.watermark - self.interval_ms
        if self.watermark < 0 or down_ms > (MAX_LATE + 1) * self.interval_ms:
            for row in final:
                if row.open_ms + self.interval_ms <= started_ms:
                    self.watermark = max(self.watermark, row.open_ms)
        self.loaded = True
        for row in final:
            if self._rows and row.open_ms != self._rows[-1].open_ms + self.interval_ms:
                self._rows.clear()  # a hole in the exchange's own history: what lies before it is not offered
            waiting = self.pending.pop(row.open_ms, None)
            self._append(row, waiting.by if waiting is not None else "rest", result)
        if self._rows:
            for at in [at for at in self.pending if at <= self._rows[-1].open_ms]:
                del self.pending[at]

    def _merge_one(self, row: BarRow, result: BarChange) -> None:
        if self._rows and row.open_ms <= self._rows[-1].open_ms:
            self._correct(row, result)
        elif not self._rows or row.open_ms == self._rows[-1].open_ms + self.interval_ms:
            waiting = self.pending.pop(row.open_ms, None)
            self._append(row, waiting.by if waiting is not None else "rest", result)
        else:
            self._close(row, "rest", result)

    def _judge_hole(self, asked_from: int | None, expected: int | None) -> None:
        """REST was asked for the missing bar and does not have it: believed the third time."""
        last = self._rows[-1].open_ms if self._rows else None
        if not self.pending or last is None or expected is None or last >= expected:
            self.holes = 0
        elif asked_from is not None and asked_from <= expected:
            self.holes += 1
            if self.holes >= MAX_HOLES:
                self.holes = 0
                self._rows.clear()

    def _merge_open(self, row: BarRow | None) -> None:
        if self.open is not None and self._rows and self.open.open_ms <= self._rows[-1].open_ms:
            self.open = None
        if row is None or (self._rows and row.open_ms <= self._rows[-1].open_ms):
            return
        held = self.open
        if held is None or row.open_ms > held.open_ms or (row.open_ms == held.open_ms and row.n > held.n):
            self.open = row

    def _close(self, row: BarRow, by: str, result: BarChange) -> None:
        if self.loaded and (not self._rows or row.open_ms == self._rows[-1].open_ms + self.interval_ms):
            self._append(row, by, result)
            self._drain(result)
            return
        if len(self.pending) >= MAX_PENDING:
            del self.pending[min(self.pending)]
        self.pending[row.open_ms] = Closed(row, by)

    def _drain(self, result: BarChange) -> None:
        while self.loaded and self.pending:
            at = self._rows[-1].open_ms + self.interval_ms if self._rows else min(self.pending)
            waiting = self.pending.pop(at, None)
            if waiting is None:
                return
            self._append(waiting.row, waiting.by, result)

    def _append(self, row: BarRow, by: str, result: BarChange) -> None:
        self._rows.append(row)
        if row.open_ms > self.watermark:
            self.watermark = row.open_ms
            result.closed.append(Closed(row, by))

    def _correct(self, row: BarRow, result: BarChange) -> None:
        """Replace a closed bar by a fuller account of it; one with fewer trades is older, not better."""
        back = (self._rows[-1].open_ms - row.open_ms) // self.interval_ms
        at = len(self._rows) - 1 - back
        if at < 0:
            return
        held = self._rows[at]
        if row.n < held.n or _same(held, row):
            return
        self._rows[at] = row
        result.mended.append(row)


def _same(one: BarRow, other: BarRow) -> bool:
    if one == other:
        return True
    texts = ((one.o, other.o), (one.h, other.h), (one.l, other.l), (one.c, other.c), (one.v, other.v), (one.q, other.q))
    return one.n == other.n and all(a == b or Decimal(a) == Decimal(b) for a, b in texts)
