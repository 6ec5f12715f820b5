"""Due times of the exchange's own clockwork: good-till dates, countdowns, algo orders, funding, liquidation.

One registry for the whole core. A timer is plain data, `(kind, key, due_ms)`; what happens at its time is the handler
of its kind, registered once by the part that owns it. So the registry can be dumped and restored with the state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush

from simex.core.effects import Effects

Key = tuple[str | int, ...]
"""What a timer is about, as plain values: `(symbol, order_id)`, `(account, symbol)`, `(symbol,)`."""

Handler = Callable[[Key, Effects], None]


class Timers:
    """At most one due time per kind and key. Same due time: in the order in which they were set."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._due: dict[tuple[str, Key], tuple[int, int]] = {}
        self._heap: list[tuple[int, int, str, Key]] = []
        self._count = 0

    def register(self, kind: str, handler: Handler) -> None:
        """Say once what happens when a timer of this kind is due; ValueError if the kind is taken."""
        if kind in self._handlers:
            raise ValueError(f"timers of kind {kind!r} have a handler already")
        self._handlers[kind] = handler

    def set(self, kind: str, key: Key, due_ms: int) -> None:
        """Set or move a timer. KeyError if nobody registered the kind."""
        if kind not in self._handlers:
            raise KeyError(f"no handler for timers of kind {kind!r}")
        self._count += 1
        self._due[kind, key] = (due_ms, self._count)
        heappush(self._heap, (due_ms, self._count, kind, key))

    def clear(self, kind: str, key: Key) -> None:
        """Forget a timer; nothing happens if there is none."""
        self._due.pop((kind, key), None)

    def due_ms(self, kind: str, key: Key) -> int | None:
        """When this timer is due; None if it is not set."""
        entry = self._due.get((kind, key))
        return None if entry is None else entry[0]

    def next_due_ms(self) -> int | None:
        """The earliest due time; None while nothing is set."""
        while self._heap:
            due_ms, number, kind, key = self._heap[0]
            if self._due.get((kind, key)) == (due_ms, number):
                return due_ms
            heappop(self._heap)  # moved or cleared since
        return None

    def run(self, now_ms: int, fx: Effects) -> None:
        """Everything due, earliest first. What a handler sets for now or earlier waits for the next call."""
        last = self._count
        waiting: list[tuple[int, int, str, Key]] = []
        while (due_ms := self.next_due_ms()) is not None and due_ms <= now_ms:
            entry = heappop(self._heap)
            _, number, kind, key = entry
            if number > last:
                waiting.append(entry)
                continue
            del self._due[kind, key]
            self._handlers[kind](key, fx)
        for entry in waiting:
            heappush(self._heap, entry)

    def pending(self) -> Iterator[tuple[str, Key, int]]:
        """All timers as `(kind, key, due_ms)`, in the order in which they will run."""
        rows = sorted((due_ms, number, kind, key) for (kind, key), (due_ms, number) in self._due.items())
        return ((kind, key, due_ms) for due_ms, _, kind, key in rows)
