"""The account's events from two connections that say the same, each once and in order. Pure.

Each connection keeps the order of one kind of events. The older one leads: what it says passes at once. What the newer
one says waits for it, at most `HOLD_NS`; then the older one is late, silent or gone, and the newer one leads. Whatever
was told already is dropped when the other one tells it too. Two events that are word for word the same are two events:
they are counted, not only recognised.
"""

from __future__ import annotations

from collections import deque

from gateway.core.inputs import Frame, Now

HOLD_NS = 250_000_000
MAX_HELD = 1_000  # events of the newer connection that wait: beyond, the oldest pass
MAX_TOLD = 10_000  # events told by one connection that the other has yet to tell: beyond, the oldest are forgotten


class Overlap:
    """`matched`: events both have told. `alone_since_ns`: since when the newer one owes an event of the older one."""

    def __init__(self) -> None:
        self._held: deque[tuple[int, bytes, Frame]] = deque()
        self._old = _Told()
        self._new = _Told()
        self.matched = 0

    def take(self, now: Now, frame: Frame, identity: bytes, *, new: bool, counted: bool = True) -> list[Frame]:
        """What passes on now, in order. `identity` is what the event says, without when it was pushed.

        `counted` False: the newer connection may not have listened yet when this was sent; it owes nothing for it.
        """
        if not new:
            return self._of_old(now, frame, identity, counted=counted)
        if self._old.had(identity):
            self.matched += 1
            return []
        self._held.append((now.boot_ns, identity, frame))
        return self._pass(len(self._held) - MAX_HELD)

    def _of_old(self, now: Now, frame: Frame, identity: bytes, *, counted: bool) -> list[Frame]:
        if self._new.had(identity):
            self.matched += 1
            return []
        for index, (_, held, _) in enumerate(self._held):
            if held == identity:
                del self._held[index]
                self.matched += 1
                return [frame]
        self._old.note(identity, now.boot_ns if counted else None)
        return [frame]

    def due(self, now: Now) -> list[Frame]:
        """What has waited long enough."""
        late = sum(now.boot_ns - since_ns >= HOLD_NS for since_ns, _, _ in self._held)
        return self._pass(late)

    def end(self) -> list[Frame]:
        """The older connection is gone: everything that waited for it."""
        return self._pass(len(self._held))

    def _pass(self, count: int) -> list[Frame]:
        passed = []
        for _ in range(max(0, count)):
            _, identity, frame = self._held.popleft()
            self._new.note(identity, None)
            passed.append(frame)
        return passed

    @property
    def alone_since_ns(self) -> int | None:
        return self._old.oldest_ns()

    @property
    def waiting(self) -> int:
        return len(self._held)


class _Told:
    """Events one connection told and the other has not yet, in their order."""

    def __init__(self) -> None:
        self._since_ns: dict[int, tuple[bytes, int | None]] = {}
        self._numbers: dict[bytes, deque[int]] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._since_ns)

    def note(self, identity: bytes, since_ns: int | None) -> None:
        self._since_ns[self._next] = (identity, since_ns)
        self._numbers.setdefault(identity, deque()).append(self._next)
        self._next += 1
        if len(self._since_ns) > MAX_TOLD:
            self.had(next(iter(self._since_ns.values()))[0])

    def had(self, identity: bytes) -> bool:
        """Whether it was told; each time it was told answers for one."""
        numbers = self._numbers.get(identity)
        if numbers is None:
            return False
        del self._since_ns[numbers.popleft()]
        if not numbers:
            del self._numbers[identity]
        return True

    def oldest_ns(self) -> int | None:
        """Of those the other one owes."""
        return next((since_ns for _, since_ns in self._since_ns.values() if since_ns is not None), None)
