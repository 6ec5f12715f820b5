"""How long entries wait after the exchange's edge refused a request (HTTP 403 by its web application firewall): the
exchange asks to stop and slow down; it names no end. Cancels and closes go on: they show when it is over. Pure."""

from __future__ import annotations

FIRST_NS = 30_000_000_000
MAX_NS = 600_000_000_000
FORGET_NS = 900_000_000_000  # so long without another: the next one counts as the first


class EdgePause:
    """`strike` doubles the pause of refusals that follow each other; those during a pause count once."""

    def __init__(self) -> None:
        self._wait_ns = 0
        self._until_ns = 0

    def strike(self, boot_ns: int) -> int | None:
        """A refusal: when entries may go on (CLOCK_BOOTTIME), or None where a pause runs already."""
        if boot_ns < self._until_ns:
            return None
        fresh = boot_ns - self._until_ns >= FORGET_NS
        self._wait_ns = FIRST_NS if fresh or not self._wait_ns else min(self._wait_ns * 2, MAX_NS)
        self._until_ns = boot_ns + self._wait_ns
        return self._until_ns

    def over(self, boot_ns: int) -> bool:
        """May entries go on?"""
        return boot_ns >= self._until_ns
