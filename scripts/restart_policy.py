"""When a process that ended is started again. Pure: times in, a decision out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

EXIT_USAGE = 2


class Again(NamedTuple):
    """Start it again after `delay_s`."""

    delay_s: float


class GiveUp(NamedTuple):
    reason: str


@dataclass
class RestartPolicy:
    """One process's history. At most `max_restarts` within `window_s`; a longer run forgets what was before it."""

    max_restarts: int = 10
    window_s: float = 60.0
    first_backoff_s: float = 0.1
    max_backoff_s: float = 5.0
    _restarts: deque[float] = field(default_factory=deque)
    _in_a_row: int = 0

    def after_exit(self, now_s: float, *, ran_s: float, code: int, was_ready: bool) -> Again | GiveUp:
        """`code` is the exit code, negative for a signal. Code 2 from a process that never was ready is a wrong usage
        or configuration: the same start would fail the same way."""
        if code == EXIT_USAGE and not was_ready:
            return GiveUp("its usage or configuration is wrong, or it is running already (exit 2)")
        if ran_s >= self.window_s:
            self._restarts.clear()
            self._in_a_row = 0
        while self._restarts and now_s - self._restarts[0] >= self.window_s:
            self._restarts.popleft()
        if len(self._restarts) >= self.max_restarts:
            return GiveUp(f"it ended {len(self._restarts) + 1} times within {self.window_s:g} s")
        self._restarts.append(now_s)
        # the first restart after a healthy run is quick; a process that cannot stay up waits longer each time
        self._in_a_row = 0 if was_ready and ran_s >= self.max_backoff_s else self._in_a_row + 1
        delay_s = self.first_backoff_s * 2 ** max(0, self._in_a_row - 1)
        return Again(min(delay_s, self.max_backoff_s))
