"""What is held about the depth of one symbol, and what a call about it led to."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.core.book_keeper import BookKeeper
from gateway.core.effects import Dirty
from gateway.core.market_data import Level
from gateway.core.parts import Out


@dataclass(slots=True)
class Comparison:
    """A small snapshot that is ahead of us: judged when the stream had time to catch up."""

    snapshot_id: int
    bids: list[Level]
    asks: list[Level]
    due_ns: int


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
    compare_serial: int | None = None
    compare_ns: int = 0
    compare: Comparison | None = None
    strikes: int = 0
    mutes: int = 0  # how often its silence was found to be a fault since it was live
    doubt_ns: int | None = None  # since when its silence waits for a proof that it is a quiet market
    doubted: bool = False  # for too long: exact perhaps, but nobody can say so
    reason: str = "starting"

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
