"""How busy the market is by the hour: thin before Asia opens and at weekends, busy when Europe and America overlap."""

import numpy as np
from numpy.typing import NDArray

from simex.market.intervals import DAY_MS, HOUR_MS

_BY_HOUR = (  # trades of an hour of the day, UTC; the mean of a working day is 1
    1.05, 1.10, 1.00, 0.85, 0.75, 0.75, 0.85, 1.00, 1.10, 1.05, 1.00, 1.00,
    1.10, 1.35, 1.50, 1.40, 1.25, 1.10, 1.00, 0.90, 0.80, 0.70, 0.65, 0.75,
)  # fmt: skip
_WEEKEND = 0.65
_SATURDAY = 5
_FIRST_WEEKDAY = 3
"""1970-01-01 was a Thursday."""


def activity(at_ms: int) -> float:
    """Trades per time as a multiple of the usual, without steps from hour to hour."""
    hour, into = divmod(at_ms % DAY_MS, HOUR_MS)
    share = into / HOUR_MS
    level = _BY_HOUR[hour] * (1 - share) + _BY_HOUR[(hour + 1) % 24] * share
    weekday = (at_ms // DAY_MS + _FIRST_WEEKDAY) % 7
    return level * (_WEEKEND if weekday >= _SATURDAY else 1.0)


def activities(times: NDArray[np.int64]) -> NDArray[np.float64]:
    """`activity` of every time at once."""
    table = np.array((*_BY_HOUR, _BY_HOUR[0]))
    hours, into = np.divmod(times % DAY_MS, HOUR_MS)
    share = into / HOUR_MS
    weekend = (times // DAY_MS + _FIRST_WEEKDAY) % 7 >= _SATURDAY
    level: NDArray[np.float64] = table[hours] * (1 - share) + table[hours + 1] * share
    return level * np.where(weekend, _WEEKEND, 1.0)
