"""Timers of a pure core: what is due by CLOCK_BOOTTIME, in order. A timer that lost its sense is simply ignored."""

from __future__ import annotations

import heapq
from typing import Any

MS = 1_000_000


class Timers:
    """`add` a (kind, argument) for a time; `due` pops what has come. Equal times keep their order of adding."""

    __slots__ = ("_count", "_heap")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, str, Any]] = []
        self._count = 0

    def add(self, boot_ns: int, kind: str, argument: Any = None) -> None:
        self._count += 1
        heapq.heappush(self._heap, (boot_ns, self._count, kind, argument))

    def next_boot_ns(self) -> int | None:
        return self._heap[0][0] if self._heap else None

    def due(self, boot_ns: int) -> list[tuple[str, Any]]:
        out = []
        while self._heap and self._heap[0][0] <= boot_ns:
            _, _, kind, argument = heapq.heappop(self._heap)
            out.append((kind, argument))
        return out
