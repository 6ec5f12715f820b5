"""Kline intervals: their names, lengths and where their buckets begin."""

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000

_FIXED_MS: dict[str, int] = {
    "1m": MINUTE_MS, "3m": 3 * MINUTE_MS, "5m": 5 * MINUTE_MS, "15m": 15 * MINUTE_MS, "30m": 30 * MINUTE_MS,
    "1h": HOUR_MS, "2h": 2 * HOUR_MS, "4h": 4 * HOUR_MS, "6h": 6 * HOUR_MS, "8h": 8 * HOUR_MS,
    "12h": 12 * HOUR_MS, "1d": DAY_MS, "3d": 3 * DAY_MS, "1w": 7 * DAY_MS,
}  # fmt: skip
MONTH = "1M"
INTERVALS = (*_FIXED_MS, MONTH)
_MONDAY_MS = 4 * DAY_MS  # 1970-01-05, the first Monday of the epoch


def bucket_start(interval: str, at_ms: int) -> int:
    """Open time of the bar that contains `at_ms`. KeyError for an unknown interval."""
    if interval == MONTH:
        moment = datetime.fromtimestamp(at_ms / 1000, UTC)
        return int(datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp()) * 1000
    length = _FIXED_MS[interval]
    anchor = _MONDAY_MS if interval == "1w" else 0
    return at_ms - (at_ms - anchor) % length


def bucket_end(interval: str, open_ms: int) -> int:
    """Open time of the bar after the one that opens at `open_ms`."""
    if interval == MONTH:
        return bucket_start(MONTH, open_ms + 31 * DAY_MS + 12 * HOUR_MS)
    return open_ms + _FIXED_MS[interval]


def typical_ms(interval: str) -> int:
    """Length of a bar, the longest one for months."""
    return 31 * DAY_MS if interval == MONTH else _FIXED_MS[interval]


def bucket_starts(interval: str, times: NDArray[np.int64]) -> NDArray[np.int64]:
    """`bucket_start` of every time at once."""
    if interval == MONTH:
        months = times.astype("datetime64[ms]").astype("datetime64[M]")
        return months.astype("datetime64[ms]").astype(np.int64)
    length = _FIXED_MS[interval]
    anchor = _MONDAY_MS if interval == "1w" else 0
    starts: NDArray[np.int64] = times - (times - anchor) % length
    return starts
