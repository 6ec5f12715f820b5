"""The exchange's clock: the machine's, at any speed from any start, plus a skew that tests can set."""

import time
from collections.abc import Callable

_NS = 1_000_000
MAX_SPEED = 1_000.0


class Clock:
    """Time in milliseconds. `now_ms` is what the exchange tells and checks; `engine_ms` never falls.

    `speed` seconds pass here for each of the machine's, beginning at `start_ms` (None: the machine's time).
    `offset_ms` is by how much a relay's exchange is ahead of this machine.
    """

    def __init__(
        self,
        skew_ms: int = 0,
        *,
        speed: float = 1.0,
        start_ms: int | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        if not 0 < speed <= MAX_SPEED:
            raise ValueError(f"the clock's speed must be above 0 and at most {MAX_SPEED:g}")
        self.skew_ms = skew_ms
        self.offset_ms = 0
        self.speed = speed
        self._wall_ns = wall_ns
        self._born_ns = wall_ns()
        self._first_ms = self._born_ns // _NS if start_ms is None else start_ms
        self._plain = speed == 1.0 and start_ms is None
        self._engine_ms = 0

    def move_to(self, start_ms: int) -> None:
        """Say another time from now on; before anybody has asked for one."""
        self._born_ns, self._first_ms, self._plain, self._engine_ms = self._wall_ns(), start_ms, False, 0

    @property
    def is_wall(self) -> bool:
        """Whether a second here is a second of the machine: clients can follow it."""
        return self.speed == 1.0

    def wall_ms(self) -> int:
        """The machine's own time."""
        return self._wall_ns() // _NS

    def now_ms(self) -> int:
        """The exchange's time; a change of skew can set it back."""
        if self._plain:
            return self._wall_ns() // _NS + self.offset_ms + self.skew_ms
        gone_ns = self._wall_ns() - self._born_ns
        return self._first_ms + int(gone_ns * self.speed) // _NS + self.offset_ms + self.skew_ms

    def engine_ms(self) -> int:
        """The same for the matching engine: where the clock is set back, time stands still until it has caught up."""
        self._engine_ms = max(self._engine_ms, self.now_ms())
        return self._engine_ms

    def real_s(self, span_ms: float) -> float:
        """How long a span of this clock lasts on the machine, in seconds."""
        return span_ms / 1000 / self.speed
