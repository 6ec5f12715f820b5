"""Latencies of one hop: buckets of logarithmic width, constant memory, a figure within 4 % of the true one."""

from __future__ import annotations

import math

_PER_OCTAVE = 18  # 2 ** (1 / 18): 3.9 % a bucket
_SIZE = 30 * _PER_OCTAVE  # 1 us ... 1000 s
_WINDOW = 2000  # samples that are shown; the counts of all stay


class Histogram:
    """`add(us)`; `summary()` gives p50, p99 and the count over the last one to two windows of samples."""

    __slots__ = ("_now", "_old", "_recent", "total")

    def __init__(self) -> None:
        self._now = [0] * _SIZE
        self._old = [0] * _SIZE
        self._recent = 0
        self.total = 0

    def add(self, us: float) -> None:
        index = 0 if us <= 1.0 else min(_SIZE - 1, int(math.log2(us) * _PER_OCTAVE))
        self._now[index] += 1
        self.total += 1
        self._recent += 1
        if self._recent >= _WINDOW:
            self._now, self._old = [0] * _SIZE, self._now
            self._recent = 0

    def quantile(self, share: float) -> float:
        counts = [now + old for now, old in zip(self._now, self._old, strict=True)]
        rank = max(1, math.ceil(sum(counts) * share))
        seen = 0
        for index, count in enumerate(counts):
            seen += count
            if seen >= rank:
                return float(round(2 ** ((index + 0.5) / _PER_OCTAVE), 1))
        return 0.0

    def summary(self) -> dict[str, float]:
        return {"p50": self.quantile(0.5), "p99": self.quantile(0.99), "n": self.total}


class Latencies:
    """One histogram a hop, at most 50 hops (a name beyond is not kept: names come from code)."""

    def __init__(self) -> None:
        self._hops: dict[str, Histogram] = {}

    def observe(self, hop: str, us: float) -> None:
        held = self._hops.get(hop)
        if held is None:
            if len(self._hops) >= 50:
                return
            held = self._hops[hop] = Histogram()
        held.add(us)

    def summaries(self) -> dict[str, dict[str, float]]:
        return {hop: held.summary() for hop, held in self._hops.items()}
