"""Exponential moving average.

The one definition used everywhere: `e[0] = x[0]`, `e[t] = e[t-1] + a * (x[t] - e[t-1])`, `a = 2 / (span + 1)`. It is
pandas' `ewm(span=span, adjust=False)`. Other libraries seed with a simple mean; the weight of the seed is
`(1 - a) ** t`, so both agree to 2e-9 after `10 * span` values: that is the warm-up (`WARM_UP_SPANS`).
"""

from __future__ import annotations

WARM_UP_SPANS = 10


class Ema:
    """`value` is None before the first `update`."""

    __slots__ = ("_alpha", "count", "span", "value")

    def __init__(self, span: int) -> None:
        if span < 1:
            raise ValueError(f"span is {span}, it must be at least 1")
        self.span = span
        self._alpha = 2.0 / (span + 1)
        self.value: float | None = None
        self.count = 0

    @property
    def warm(self) -> bool:
        return self.count >= WARM_UP_SPANS * self.span

    def update(self, x: float) -> float:
        self.value = self.peek(x)
        self.count += 1
        return self.value

    def peek(self, x: float) -> float:
        """What `update(x)` would give, changing nothing: for a bar that is still open."""
        return x if self.value is None else self.value + self._alpha * (x - self.value)
