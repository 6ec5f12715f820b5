"""What makes a market come in waves: slow changes of activity, trades that draw trades, and news."""

import math
from random import Random

_SLOW_S, _QUICK_S = 240.0, 25.0
_SLOW_SHARE, _QUICK_SHARE = 0.45, 0.30
_MEMORY_S = 1.5
_CHILDREN = 0.7
"""Trades that one trade draws after it, in the mean; below 1, or it would never end."""
_MANY = 30.0
_HEAT_HALF_LIFE_S = 100.0


class Activity:
    """A factor on volatility and trades that wanders around 1: calm and lively spells of seconds and of minutes."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._slow = rng.gauss(0.0, _SLOW_SHARE)
        self._quick = rng.gauss(0.0, _QUICK_SHARE)

    def advance(self, dt_s: float) -> float:
        """Let `dt_s` pass; the mean square of what comes is 1."""
        self._slow = self._next(self._slow, dt_s / _SLOW_S, _SLOW_SHARE)
        self._quick = self._next(self._quick, dt_s / _QUICK_S, _QUICK_SHARE)
        return math.exp(self._slow + self._quick - _SLOW_SHARE**2 - _QUICK_SHARE**2)

    def _next(self, value: float, steps: float, size: float) -> float:
        kept = math.exp(-steps)
        return value * kept + self._rng.gauss(0.0, size * math.sqrt(1 - kept * kept))


class Arrivals:
    """Trades that draw trades: each raises the rate of the next, which fades. The mean rate is the one asked for."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._excited = 0.0

    def count(self, rate: float, dt_s: float) -> int:
        """How many trades come in `dt_s` at a mean rate a second."""
        kept = math.exp(-dt_s / _MEMORY_S)
        expected = rate * (1 - _CHILDREN) * dt_s + self._excited * _MEMORY_S * (1 - kept)
        number = poisson(self._rng, expected)
        self._excited = self._excited * kept + number * _CHILDREN / _MEMORY_S
        return number

    def draw(self, number: int) -> None:
        """Trades from elsewhere (sweeps, liquidations) draw others too."""
        self._excited += number * _CHILDREN / _MEMORY_S / 4


def poisson(rng: Random, mean: float) -> int:
    """A count of independent events."""
    if mean > _MANY:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    limit, product, number = math.exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        number += 1
    return number


class News:
    """Rare shocks: the price runs one way for some seconds, and for minutes everything is hot, wide and thin."""

    def __init__(self, rng: Random, every_s: float, smallest_bps: float, largest_bps: float) -> None:
        self._rng = rng
        self._every_s = every_s
        self._sizes = (smallest_bps, largest_bps)
        self._left_bps = 0.0
        self.heat = 0.0
        """0 on an ordinary day, about 1 after a shock, then fading."""

    def advance(self, dt_s: float) -> float:
        """The return of this step in basis points."""
        rng = self._rng
        if rng.random() < dt_s / self._every_s:
            self._left_bps += rng.choice((-1, 1)) * rng.uniform(*self._sizes)
            self.heat = max(self.heat, rng.uniform(0.7, 1.3))
        self.heat *= 0.5 ** (dt_s / _HEAT_HALF_LIFE_S)
        if self.heat < 0.01:
            self.heat = 0.0
        if not self._left_bps:
            return 0.0
        part = self._left_bps * (1 - math.exp(-dt_s / rng.uniform(2.0, 12.0)))
        self._left_bps -= part
        if abs(self._left_bps) < 0.1:
            self._left_bps = 0.0
        return part
