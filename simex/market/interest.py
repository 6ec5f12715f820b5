"""Open interest of one symbol: a slow tide of its own, moved by what trades and by positions that are closed by force.

Pure; the tide is a closed form of time, so that the past is known as far back as anybody asks.
"""

import math
import zlib
from bisect import bisect_right
from collections import deque

from simex.market.intervals import DAY_MS, MINUTE_MS

SAMPLE_MS = 5 * MINUTE_MS
KEPT_SAMPLES = 9_000
"""Five minutes each: a month and a day."""
_PERIODS_DAYS = (0.9, 4.3, 17.0)
_SWINGS = (0.012, 0.03, 0.06)
_OPENING_SHARE = 0.15
_FADE_MS = 6 * 3_600_000


class OpenInterest:
    """In lots. `base_lots` is the usual amount; 0 (a recording): only what trades counts."""

    def __init__(self, symbol: str, base_lots: float, start_ms: int) -> None:
        mix = zlib.crc32(symbol.encode())
        self._phases = [2 * math.pi * (mix >> shift & 0xFF) / 256 for shift in (0, 8, 16)]
        self._base = base_lots
        self._away = 0.0
        self._last_ms = start_ms
        self._times: deque[int] = deque(maxlen=KEPT_SAMPLES)
        self._lots: deque[int] = deque(maxlen=KEPT_SAMPLES)

    def traded(self, now_ms: int, lots: int, buyer_is_maker: bool) -> None:
        """A trade: buyers in a hurry open positions, sellers in a hurry close them, more often than not."""
        self._fade(now_ms)
        self._away += lots * _OPENING_SHARE * (-0.8 if buyer_is_maker else 1.0)

    def forced(self, now_ms: int, lots: int) -> None:
        """A position of this size was closed by force."""
        self._fade(now_ms)
        self._away -= lots

    def now(self, now_ms: int) -> int:
        """The amount now; a sample is kept every five minutes."""
        self._fade(now_ms)
        lots = max(0, round(self._tide(now_ms) + self._away))
        sample_ms = now_ms - now_ms % SAMPLE_MS
        if not self._times or sample_ms > self._times[-1]:
            self._times.append(sample_ms)
            self._lots.append(lots)
        return lots

    def at(self, at_ms: int) -> int:
        """The amount at a past time: the sample before it, or the tide where there is none."""
        index = bisect_right(self._times, at_ms) - 1
        return self._lots[index] if index >= 0 else max(0, round(self._tide(at_ms)))

    def _fade(self, now_ms: int) -> None:
        if now_ms > self._last_ms:
            self._away *= 0.5 ** ((now_ms - self._last_ms) / _FADE_MS)
            self._last_ms = now_ms

    def _tide(self, at_ms: int) -> float:
        days = at_ms / DAY_MS
        swings = (
            swing * math.sin(2 * math.pi * days / period + phase)
            for period, swing, phase in zip(_PERIODS_DAYS, _SWINGS, self._phases, strict=True)
        )
        return self._base * (1 + sum(swings))
