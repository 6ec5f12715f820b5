"""Fills that somebody asked the exchange for, and that the private stream has yet to tell. Pure.

The order core finds out about a silent fill by asking; so the account never differs, and yet the stream may be mute.
One that is still unheard after `WAIT_NS` is the proof.
"""

from __future__ import annotations

from gateway.core.inputs import Now

WAIT_NS = 2_000_000_000
CAP = 1_000  # held at most; beyond it newer ones are not held: the older ones prove as much


class Unheard:
    def __init__(self) -> None:
        self._until: dict[tuple[str, int], int] = {}

    def learned(self, now: Now, symbol: str, trade_id: int) -> None:
        if len(self._until) < CAP:
            self._until[symbol, trade_id] = now.boot_ns + WAIT_NS

    def heard(self, symbol: str, trade_id: int) -> None:
        self._until.pop((symbol, trade_id), None)

    def overdue(self, now: Now) -> str | None:
        """The oldest that was never told, once: then all are let go, for the stream is given up with them."""
        late = next((key for key, until in self._until.items() if until <= now.boot_ns), None)
        if late is None:
            return None
        self._until.clear()
        return f"trade {late[1]} of {late[0]} was found by asking; the stream never told it"

    def clear(self) -> None:
        self._until.clear()

    def next_deadline_boot_ns(self) -> int | None:
        return next(iter(self._until.values()), None)
