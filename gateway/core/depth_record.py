"""What is held about the depth of one symbol, and what a call about it led to."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field

from gateway.core.book_keeper import BookKeeper
from gateway.core.effects import Dirty
from gateway.core.inputs import Now
from gateway.core.market_data import Diff, Level
from gateway.core.parts import Out

AHEAD_NS = 1_000_000_000
MAX_AHEAD = 100


@dataclass(slots=True)
class Comparison:
    """A small snapshot that is ahead of us: judged when the stream had time to catch up."""

    snapshot_id: int
    bids: list[Level]
    asks: list[Level]
    due_ns: int


class Ahead:
    """Depth messages that came too early over the quicker of two connections. One whose hole nothing fills within
    `AHEAD_NS` shows a real gap; at `MAX_AHEAD` the same is said of the newcomer."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: list[tuple[int, Diff, int]] = []

    @property
    def waiting(self) -> bool:
        return bool(self._held)

    def hold(self, now: Now, diff: Diff, recv_ns: int) -> bool:
        if len(self._held) >= MAX_AHEAD:
            return False
        insort(self._held, (now.boot_ns, diff, recv_ns), key=lambda held: held[1].prev_id)
        return True

    def next(self, at: int) -> tuple[Diff, int] | None:
        """The next one that joins a book at this position; those it has passed are dropped."""
        while self._held and self._held[0][1].prev_id <= at:
            _, diff, recv_ns = self._held.pop(0)
            if diff.last_id > at:
                return diff, recv_ns
        return None

    def late(self, now: Now) -> list[tuple[Diff, int]]:
        """Everything held, once one of them has waited too long."""
        if not any(now.boot_ns - since_ns >= AHEAD_NS for since_ns, _, _ in self._held):
            return []
        late = [(diff, recv_ns) for _, diff, recv_ns in self._held]
        self._held.clear()
        return late

    def clear(self) -> None:
        self._held.clear()


@dataclass(slots=True)
class DepthRecord:
    """One symbol. Times are CLOCK_BOOTTIME in ns; `serial` numbers requests, so that late answers are known."""

    symbol: str
    stream: str
    key: str
    dirty: Dirty
    keeper: BookKeeper
    shadow: BookKeeper | None = None
    due_ns: int | None = None
    asked_ns: int | None = None
    serial: int = 0
    failures: int = 0
    broke_ns: int = 0
    break_ns: int | None = None
    breaks: int = 0
    moved_ns: int = 0  # last applied message, snapshot or agreeing comparison
    seen: bool = False
    refreshed_ns: int = 0
    checked_ns: int = 0  # last snapshot it was begun with or compared to
    compare_serial: int | None = None
    compare_ns: int = 0
    compare: Comparison | None = None
    strikes: int = 0
    mutes: int = 0  # how often its silence was found to be a fault since it was live
    doubt_ns: int | None = None  # since when its silence waits for a proof that it is a quiet market
    doubted: bool = False  # for too long: exact perhaps, but nobody can say so
    ahead: Ahead = field(default_factory=Ahead)
    reason: str = "starting"

    def begin(self, now: Now) -> None:
        """A connection carries the stream from here on."""
        self.keeper.connect()
        self.shadow = self.compare = self.compare_serial = None
        self.serial = self.failures = 0
        self.broke_ns = self.moved_ns = now.boot_ns
        self.seen = False
        self.reason = "syncing"

    @property
    def live(self) -> bool:
        """Whether the book may be relied on: exact, and its stream known to be alive."""
        return self.keeper.live and not self.doubted


@dataclass(slots=True)
class Suspicion:
    """REST moved while the stream of `symbol` was silent. `alone`: the streams beside it deliver, so it is asked for
    again by itself; else the connection is not to be trusted."""

    symbol: str
    stream: str
    silent_ms: int
    deadline_ms: int
    first: bool
    alone: bool = False


@dataclass(slots=True)
class DepthOut:
    """What a desk call led to: effects, and suspicions for the one who owns the connections."""

    out: Out = field(default_factory=list)
    suspicions: list[Suspicion] = field(default_factory=list)
