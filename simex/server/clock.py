"""The exchange's clock: the machine's, plus a skew that tests can set."""

import time


class Clock:
    """Wall clock in milliseconds. `now_ms` is what the exchange tells and checks; `engine_ms` never falls."""

    def __init__(self, skew_ms: int = 0) -> None:
        self.skew_ms = skew_ms
        self._engine_ms = 0

    def now_ms(self) -> int:
        """The exchange's time; a change of skew can set it back."""
        return time.time_ns() // 1_000_000 + self.skew_ms

    def engine_ms(self) -> int:
        """The same for the matching engine: where the clock is set back, time stands still until it has caught up."""
        self._engine_ms = max(self._engine_ms, self.now_ms())
        return self._engine_ms
