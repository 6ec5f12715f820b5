"""Bars of one symbol: history, the live minute, and every interval made from them. Integer ticks and lots."""

from dataclasses import dataclass, replace

import numpy as np

from simex.market.history import COLUMNS, History, Rows, empty_rows
from simex.market.intervals import DAY_MS, MINUTE_MS, bucket_end, bucket_start, bucket_starts, typical_ms

_CHUNK = 4096
_MOST = np.iinfo(np.int64).max


@dataclass(slots=True)
class Bar:
    """One bar. Prices in ticks, volumes in lots, quote volumes in ticks x lots; trade ids -1 where none."""

    open_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: int = 0
    quote: int = 0
    trades: int = 0
    taker_volume: int = 0
    taker_quote: int = 0
    first_id: int = -1
    last_id: int = -1

    @classmethod
    def flat(cls, open_ms: int, price: int) -> "Bar":
        """A bar in which nothing traded."""
        return cls(open_ms, price, price, price, price)

    @classmethod
    def from_row(cls, row: "np.typing.NDArray[np.int64]") -> "Bar":
        """A table row as a bar."""
        return cls(*(int(value) for value in row))

    def row(self) -> tuple[int, ...]:
        """The bar as a table row."""
        return (self.open_ms, self.open, self.high, self.low, self.close, self.volume, self.quote, self.trades,
                self.taker_volume, self.taker_quote, self.first_id, self.last_id)  # fmt: skip

    def add_trade(self, price: int, lots: int, buyer_is_maker: bool, first_id: int, last_id: int) -> None:
        """Fold one trade (or aggregate trade) in."""
        if self.trades == 0:
            self.open = self.high = self.low = price
        self.high, self.low, self.close = max(self.high, price), min(self.low, price), price
        self.volume += lots
        self.quote += price * lots
        self.trades += last_id - first_id + 1
        if not buyer_is_maker:
            self.taker_volume += lots
            self.taker_quote += price * lots
        self.first_id = first_id if self.first_id < 0 else self.first_id
        self.last_id = last_id

    def merged(self, later: "Bar") -> "Bar":
        """This bar followed by a later one. A flat beginning leaves no trace: a bar opens with its first trade."""
        if self.volume == 0:
            return replace(later, open_ms=self.open_ms)
        return Bar(
            self.open_ms, self.open, max(self.high, later.high), min(self.low, later.low), later.close,
            self.volume + later.volume, self.quote + later.quote, self.trades + later.trades,
            self.taker_volume + later.taker_volume, self.taker_quote + later.taker_quote,
            later.first_id if self.first_id < 0 else self.first_id,
            self.last_id if later.last_id < 0 else later.last_id,
        )  # fmt: skip


def aggregate(rows: Rows, interval: str) -> Rows:
    """Rows folded into bars of `interval`, in order; a bar opens with its first trade, if it has one."""
    if not len(rows):
        return empty_rows()
    starts = bucket_starts(interval, rows[:, 0])
    edges = np.flatnonzero(np.concatenate(([True], starts[1:] != starts[:-1])))
    last = np.concatenate((edges[1:], [len(rows)])) - 1
    out = np.empty((len(edges), COLUMNS), dtype=np.int64)
    traded = rows[:, 5] > 0
    places = np.where(traded, np.arange(len(rows)), len(rows))
    first = np.minimum.reduceat(places, edges)
    first = np.where(first == len(rows), edges, first)  # nothing traded: the flat row itself
    out[:, 0], out[:, 1], out[:, 4] = starts[edges], rows[first, 1], rows[last, 4]
    out[:, 2] = np.maximum(np.maximum.reduceat(np.where(traded, rows[:, 2], 0), edges), rows[first, 2])
    out[:, 3] = np.minimum(np.minimum.reduceat(np.where(traded, rows[:, 3], _MOST), edges), rows[first, 3])
    out[:, 5:10] = np.add.reduceat(rows[:, 5:10], edges)
    first_ids = np.minimum.reduceat(np.where(rows[:, 10] < 0, _MOST, rows[:, 10]), edges)
    out[:, 10] = np.where(first_ids == _MOST, -1, first_ids)
    out[:, 11] = np.maximum.reduceat(rows[:, 11], edges)
    return out


class BarSeries:
    """All bars of one symbol. `past` is what came before `start_ms`; it is looked at when first needed."""

    def __init__(self, start_ms: int, start_ticks: int, past: History) -> None:
        self._past = past
        self._loaded = False
        self._minutes = empty_rows()
        self._used = 0
        self._live: list[Bar] = []
        self.open_minute = Bar.flat(start_ms - start_ms % MINUTE_MS, start_ticks)
        self._partial: dict[str, Bar | None] = {}
        self.last_price = start_ticks
        self.last_lots = 0

    def add_trade(self, price: int, lots: int, buyer_is_maker: bool, ids: tuple[int, int]) -> None:
        """One trade into the open minute (call `roll` with its time first)."""
        self.open_minute.add_trade(price, lots, buyer_is_maker, *ids)
        self.last_price, self.last_lots = price, lots

    def roll(self, now_ms: int) -> list[tuple[str, Bar]]:
        """Close the minutes that ended before `now_ms`. Returns the watched bars that closed, oldest first."""
        closed: list[tuple[str, Bar]] = []
        while now_ms >= self.open_minute.open_ms + MINUTE_MS:
            minute = self.open_minute
            if minute.close == 0:
                self.open_minute = Bar.flat(now_ms - now_ms % MINUTE_MS, 0)
                break
            end = minute.open_ms + MINUTE_MS
            for interval in self._partial:
                whole = self._with_open(interval)
                if bucket_end(interval, whole.open_ms) <= end:
                    closed.append((interval, whole))
                    self._partial[interval] = None
                else:
                    self._partial[interval] = whole
            self._live.append(minute)
            self.open_minute = Bar.flat(end, minute.close)
        return closed

    def watch(self, interval: str) -> None:
        """Keep the open bar of an interval at hand and report its closing from `roll`."""
        if interval in self._partial:
            return
        start = bucket_start(interval, self.open_minute.open_ms)
        before = aggregate(self._rows_from(start), interval) if start < self.open_minute.open_ms else empty_rows()
        self._partial[interval] = Bar.from_row(before[-1]) if len(before) else None

    def open_bar(self, interval: str) -> Bar:
        """The bar of a watched interval that is still open. KeyError if it is not watched."""
        return self._with_open(interval)

    def _with_open(self, interval: str) -> Bar:
        partial, minute = self._partial[interval], self.open_minute
        if partial is not None:
            return partial.merged(minute)
        whole = Bar(*minute.row())
        whole.open_ms = bucket_start(interval, minute.open_ms)
        return whole

    def query(self, interval: str, limit: int, start_ms: int | None = None, end_ms: int | None = None) -> Rows:
        """Up to `limit` bars, oldest first, the open one included: the latest, or those that open in the range.

        With `start_ms` the first ones from there are taken, otherwise the last ones up to `end_ms`.
        """
        open_end = self.open_minute.open_ms + MINUTE_MS
        until = min(open_end, end_ms + 1 if end_ms is not None else open_end)
        if start_ms is not None:
            begin = start_ms
        else:
            begin = bucket_start(interval, max(0, until - 1)) - (limit + 1) * typical_ms(interval)
        aligned = bucket_start(interval, max(0, begin))
        rows = self._rows_from(aligned, with_open=True, fine=typical_ms(interval) < 60 * MINUTE_MS)
        bars = aggregate(rows, interval)
        bars = bars[bars[:, 0] >= begin] if start_ms is not None else bars
        bars = bars[bars[:, 0] < until]
        bars = bars[bars[:, 4] > 0]  # a series without a past has no bars before its first trade
        return bars[:limit] if start_ms is not None else bars[-limit:]

    def last_day(self) -> Bar:
        """The rolling 24 hours as one bar."""
        since = self.open_minute.open_ms - DAY_MS + MINUTE_MS
        rows = self._rows_from(since, with_open=True, fine=True)
        whole = Bar.from_row(rows[0])
        whole.high, whole.low, whole.close = int(rows[:, 2].max()), int(rows[:, 3].min()), int(rows[-1, 4])
        whole.first_id, whole.last_id = -1, int(rows[:, 11].max())
        whole.volume, whole.quote, whole.trades = (int(total) for total in rows[:, 5:8].sum(axis=0))
        return whole

    def minutes(self) -> Rows:
        """Closed minute bars, history first."""
        self._fold()
        return self._minutes[: self._used]

    def _fold(self) -> None:
        """Move live minutes into the table, loading the history first."""
        if not self._loaded:
            self._minutes = self._past.minutes
            self._used, self._loaded = len(self._minutes), True
        if not self._live:
            return
        need = self._used + len(self._live)
        if need > len(self._minutes):
            grown = np.empty((need + _CHUNK, COLUMNS), dtype=np.int64)
            grown[: self._used] = self._minutes[: self._used]
            self._minutes = grown
        self._minutes[self._used : need] = [bar.row() for bar in self._live]
        self._used = need
        self._live = []

    def _rows_from(self, from_ms: int, *, with_open: bool = False, fine: bool = False) -> Rows:
        """Minute rows from a time on; before the minute table begins, hour rows (unless `fine`)."""
        self._fold()
        minutes = self._minutes[: self._used]
        parts = [minutes[np.searchsorted(minutes[:, 0], from_ms) :]]
        if not fine and len(minutes) and from_ms < minutes[0, 0]:
            hours = self._past.hours
            parts.insert(0, hours[np.searchsorted(hours[:, 0], from_ms) :])
        if with_open:
            parts.append(np.array([self.open_minute.row()], dtype=np.int64))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
