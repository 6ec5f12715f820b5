"""How often settings that somebody else changed may be set back: bounded, so that two programs never fight. Pure."""

from __future__ import annotations

from collections import deque

RESTORES_MAX = 6  # of one symbol (or of the mode) within an hour; then a person decides
RESTORE_EVERY_NS = 10_000_000_000
HOUR_NS = 3_600_000_000_000


class Restores:
    """Counts what was set back, by symbol; "" is the position mode."""

    def __init__(self) -> None:
        self._done: dict[str, deque[int]] = {}

    def may(self, symbol: str, boot_ns: int) -> bool:
        """May it be set back now?"""
        done = self._done.get(symbol)
        if not done:
            return True
        return not self.spent(symbol, boot_ns) and boot_ns - done[-1] >= RESTORE_EVERY_NS

    def spent(self, symbol: str, boot_ns: int) -> bool:
        """Was it set back as often as an hour allows?"""
        done = self._done.get(symbol)
        return done is not None and len(done) == RESTORES_MAX and boot_ns - done[0] < HOUR_NS

    def all_spent(self, boot_ns: int) -> frozenset[str]:
        """All for which that is so."""
        return frozenset(symbol for symbol in self._done if self.spent(symbol, boot_ns))

    def note(self, symbol: str, boot_ns: int) -> None:
        """It is being set back."""
        self._done.setdefault(symbol, deque(maxlen=RESTORES_MAX)).append(boot_ns)
