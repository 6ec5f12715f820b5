"""What the desks of the market core share: numbers of events, heads of slices, counters and calm log lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.core.effects import Report
from gateway.core.eventlog import EventLog
from gateway.core.heads import Heads
from gateway.core.inputs import Level, Now

REPORT_EVERY_NS = 10_000_000_000
MAX_NAMES = 500


class Notices:
    """Counters by name, and at most one log line in 10 s for each name and subject (the rest is counted in it)."""

    __slots__ = ("_said", "counters")

    def __init__(self) -> None:
        self.counters: dict[str, int] = {}
        self._said: dict[tuple[str, str], tuple[int, int]] = {}  # -> (boot ns of the last line, held back since)

    def count(self, name: str) -> None:
        """At `MAX_NAMES` names, new ones are counted together under `other`."""
        if name not in self.counters and len(self.counters) >= MAX_NAMES:
            name = "other"
        self.counters[name] = self.counters.get(name, 0) + 1

    def say(self, now: Now, level: Level, event: str, about: str, **fields: Any) -> list[Report]:
        """Count it, and a line if none of that name and subject was written lately."""
        self.count(event)
        key = (event, about)
        last, held = self._said.get(key, (None, 0))
        if last is not None and now.boot_ns - last < REPORT_EVERY_NS:
            self._said[key] = (last, held + 1)
            return []
        if len(self._said) >= MAX_NAMES:
            self._said.clear()
        self._said[key] = (now.boot_ns, 0)
        if held:
            fields["held_back"] = held
        return [Report(level, event, {"about": about, **fields})]


class MarketContext:
    """`draw` gives a number in [0, 1): the only dice."""

    __slots__ = ("account", "draw", "events", "heads", "notices")

    def __init__(self, account: str, heads: Heads, events: EventLog, draw: Callable[[], float]) -> None:
        self.account = account
        self.heads = heads
        self.events = events
        self.draw = draw
        self.notices = Notices()

    def backoff_ns(self, failures: int, first_ms: int, max_ms: int) -> int:
        """Exponential from `first_ms`, at most `max_ms`, spread by half to one and a half."""
        if failures <= 0:
            return 0
        base_ms: float = min(float(max_ms), first_ms * 2.0 ** min(failures - 1, 20))
        return int(base_ms * (0.5 + self.draw()) * 1e6)
