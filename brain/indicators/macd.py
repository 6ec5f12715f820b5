"""Moving average convergence/divergence, seeded as `brain.indicators.ema` says.

`line = ema(fast) - ema(slow)`, `signal = ema(line, signal)` (so its seed is the first line value, 0), `histogram = line
- signal`. Speaks from the first value; may be relied on once `warm` (10 x slow values).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from brain.indicators.ema import WARM_UP_SPANS, Ema

if TYPE_CHECKING:
    import pandas as pd


class MacdValue(NamedTuple):
    line: float
    signal: float
    histogram: float


class Macd:
    """`value` is the newest, None before the first `update`."""

    __slots__ = ("_fast", "_signal", "_slow", "value")

    def __init__(self, fast: int = 12, slow: int = 26, signal: int = 9) -> None:
        if not 0 < fast < slow:
            raise ValueError(f"fast is {fast} and slow {slow}: fast must be below slow")
        self._fast, self._slow, self._signal = Ema(fast), Ema(slow), Ema(signal)
        self.value: MacdValue | None = None

    @property
    def count(self) -> int:
        return self._slow.count

    @property
    def needed(self) -> int:
        """Values until it may be relied on."""
        return WARM_UP_SPANS * self._slow.span

    @property
    def warm(self) -> bool:
        return self.count >= self.needed

    def update(self, close: float) -> MacdValue:
        line = self._fast.update(close) - self._slow.update(close)
        signal = self._signal.update(line)
        self.value = MacdValue(line, signal, line - signal)
        return self.value

    def peek(self, close: float) -> MacdValue:
        """What `update(close)` would give, changing nothing."""
        line = self._fast.peek(close) - self._slow.peek(close)
        signal = self._signal.peek(line)
        return MacdValue(line, signal, line - signal)


def macd_frame(close: pd.Series[float], fast: int = 12, slow: int = 26, signal: int = 9) -> pd.DataFrame:
    """The batch form: columns `line`, `signal`, `histogram` on the index of `close`."""
    import pandas as pd

    line = close.ewm(span=fast, adjust=False).mean() - close.ewm(span=slow, adjust=False).mean()
    smooth = line.ewm(span=signal, adjust=False).mean()
    return pd.DataFrame({"line": line, "signal": smooth, "histogram": line - smooth})
