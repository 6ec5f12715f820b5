"""How often connections may be made: a budget of all connections together, so that no fault becomes a storm. Pure.

The exchange allows an address 300 attempts in 5 minutes; ours is lower (`attempts_per_minute`, 40). The last few of it
are the private stream's. While no connection at all is open the fault is not one connection's: then they take turns,
with growing pauses up to `DARK_MAX_MS`, so that the end of the fault is found within seconds at a small price.
"""

from __future__ import annotations

from collections import deque

from gateway.core.inputs import Now
from gateway.core.market_context import MarketContext

WINDOW_NS = 60_000_000_000
FOR_PRIVATE = 6
DARK_FIRST_MS, DARK_MAX_MS = 250, 2_000


class ConnectionBudget:
    def __init__(self, attempts_per_minute: int) -> None:
        self._limit = max(1, attempts_per_minute)
        self._for_data = max(1, self._limit - min(FOR_PRIVATE, self._limit // 3))
        self._made: deque[int] = deque()
        self._dark = 0
        self._dark_ns = 0

    def wait_ns(self, now: Now, family: str) -> int:
        """0 where another attempt of this family is within the budget, else how long until one is."""
        limit = self._limit if family == "private" else self._for_data
        if self._used(now) < limit:
            return 0
        return self._made[-limit] + WINDOW_NS - now.boot_ns

    def take(self, now: Now) -> None:
        self._made.append(now.boot_ns)

    def in_the_dark(self, now: Now, context: MarketContext) -> bool:
        """Nothing is open: whether an attempt may be made now, by whoever is next."""
        if now.boot_ns < self._dark_ns:
            return False
        self._dark += 1
        self._dark_ns = now.boot_ns + context.backoff_ns(self._dark, DARK_FIRST_MS, DARK_MAX_MS)
        return True

    def light(self) -> None:
        """A connection is open."""
        self._dark = self._dark_ns = 0

    def shown(self, now: Now) -> dict[str, int]:
        return {"used": self._used(now), "limit": self._limit}

    def _used(self, now: Now) -> int:
        while self._made and now.boot_ns - self._made[0] >= WINDOW_NS:
            self._made.popleft()
        return len(self._made)
