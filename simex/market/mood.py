"""What drives a symbol for the next seconds: calm or burst, trend, and pressure at the top of its book.

Pressure is what an order-book-imbalance strategy lives on: for a second or three one side of the top is thick and
the other thin, and the price then leans that way more often than not. Episodes alternate with quiet spells, so that
every seed brings several a minute.
"""

import math
from random import Random

from simex.market.tempo import Activity

_QUIET_S = (1.5, 6.0)
_PRESSED_S = (1.0, 3.0)
_TREND_S = (60.0, 400.0)


class Mood:
    """The slow state behind one symbol's steps. All times in seconds, returns in basis points."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.pressure = 0.0
        """-1 (all asks) ... +1 (all bids)."""
        self.burst = 1.0
        """Volatility factor, 1 when calm."""
        self.trend_bps_s = 0.0
        self._episode_s = rng.uniform(*_QUIET_S)
        self._burst_s = 0.0
        self._trend_s = 0.0

    def advance(self, dt_s: float) -> None:
        """Let `dt_s` pass: episodes, bursts and trends end and begin."""
        rng = self._rng
        self._episode_s -= dt_s
        if self._episode_s <= 0:
            if self.pressure:
                self.pressure = 0.0
                self._episode_s = rng.uniform(*_QUIET_S)
            else:
                up = rng.random() < 0.5 + (0.1 if self.trend_bps_s > 0 else -0.1)
                self.pressure = (1 if up else -1) * rng.uniform(0.6, 0.92)
                self._episode_s = rng.uniform(*_PRESSED_S)
        self._burst_s -= dt_s
        if self._burst_s <= 0:
            self.burst = 1.0
            if rng.random() < dt_s / 45:
                self.burst = rng.uniform(2.0, 5.0)
                self._burst_s = rng.uniform(2.0, 15.0)
        self._trend_s -= dt_s
        if self._trend_s <= 0:
            self.trend_bps_s = rng.gauss(0.0, 0.03)
            self._trend_s = rng.uniform(*_TREND_S)

    def lean_bps(self, dt_s: float) -> float:
        """Where pressure and trend push the price, most of the time in the direction shown by the book."""
        agrees = 1.0 if self._rng.random() < 0.8 else -1.0
        return (self.trend_bps_s + 0.6 * self.pressure * agrees) * dt_s


class Factor:
    """What all symbols share: a random walk in waves, with rare jumps."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._activity = Activity(rng)
        self._jump_bps = 0.0

    def move_bps(self, dt_s: float) -> float:
        """The common return of this step; a jump spreads over several steps."""
        rng = self._rng
        if rng.random() < dt_s / 420:
            self._jump_bps += rng.choice((-1, 1)) * rng.uniform(4.0, 15.0)
        part = self._jump_bps * 0.4
        self._jump_bps -= part
        if abs(self._jump_bps) < 0.05:
            self._jump_bps = 0.0
        return part + rng.gauss(0.0, 0.42 * self._activity.advance(dt_s)) * math.sqrt(dt_s)
