"""One symbol's depth: sequencer and book together, exact or not served (law 1).

`take` is the hot path: a message in, a `Change` out. A book that would be wrong (gap, crossed, a level no exchange can
mean, ids that contradict themselves, best levels beyond the snapshot's range) is thrown away at once, and a new
snapshot is wanted while messages are buffered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from gateway.core.book import BadLevel, Book
from gateway.core.market_data import Diff, Level, Snapshot
from gateway.core.market_settings import MarketSettings
from gateway.core.sequencer import Phase, Sequencer, Step

Tap = Callable[[int, Book], None]
_LIVE = Phase.LIVE


class Change(Enum):
    """What one input did to the book as readers see it."""

    NONE = auto()  # buffered, dropped or ignored
    APPLIED = auto()  # live and one message newer
    LIVE = auto()  # exact again
    BROKE = auto()  # was live, is not any more: `broke` says why
    REFETCH = auto()  # not live yet, and the snapshot at hand will not do: `broke` says why


_APPLIED = Change.APPLIED


@dataclass(slots=True)
class Break:
    """Why a book was thrown away, for the event `book.gap`."""

    reason: str
    at: int
    expected_prev_id: int | None = None
    got_prev_id: int | None = None
    detail: str = ""


class BookKeeper:
    """`depth` is how many best levels a side must lie in the known range; `limit` that of snapshot requests.

    `tap`, if set, is called with (last update id, book) after every message applied to a live book.
    """

    __slots__ = ("_depth", "_limit", "book", "broke", "dropped", "event_ms", "recv_ns", "seq", "tap")

    def __init__(
        self, *, depth: int = 20, limit: int = 1000, max_buffered: int = 4_000, max_levels: int = 200_000
    ) -> None:
        self.book = Book()
        self.seq = Sequencer(max_buffered, max_levels)
        self.broke: Break | None = None
        self.tap: Tap | None = None
        self.dropped = 0
        self.event_ms: int | None = None
        self.recv_ns: int | None = None
        self._depth = depth
        self._limit = limit

    @property
    def live(self) -> bool:
        return self.seq.phase is _LIVE

    @property
    def wants_snapshot(self) -> bool:
        return self.seq.phase is Phase.COLLECTING

    def connect(self) -> None:
        """A connection carries the stream from here on; whatever was held is not continued."""
        self.book.clear()
        self.seq.connect()

    def disconnect(self, reason: str) -> Change:
        was = self.seq.phase
        broke = self._note(reason)
        self.book.clear()
        self.seq.disconnect()
        if was is Phase.LIVE:
            self.broke = broke
            return Change.BROKE
        return Change.NONE

    def take(self, diff: Diff, recv_ns: int) -> Change:
        """One message of the stream, in the order of arrival."""
        seq = self.seq
        if seq.phase is _LIVE and diff.prev_id == seq.at < diff.last_id >= diff.first_id:
            seq.at = diff.last_id  # the table's row (LIVE, JOINS) without its detour: nearly every message
            return self._apply(diff, _LIVE, recv_ns)
        if diff.first_id > diff.last_id or diff.prev_id >= diff.last_id:
            return self.invalidate("bad_ids", f"U={diff.first_id} u={diff.last_id} pu={diff.prev_id}")
        before, expected = seq.phase, seq.at
        step = seq.take(diff)
        if step is Step.APPLY:
            return self._apply(diff, before, recv_ns)
        if step is Step.GAP:
            self.broke = Break("gap", expected, expected, diff.prev_id)
            self.book.clear()
            return Change.BROKE
        if step is Step.REFETCH:
            self.broke = Break("snapshot_too_old", expected, None, diff.prev_id)
            self.book.clear()
            return Change.REFETCH
        if step is Step.DROP:
            self.dropped += 1
        return Change.NONE

    def take_snapshot(self, snapshot: Snapshot, recv_ns: int) -> Change:
        """The answer to the newest snapshot request. Ignored unless one is wanted; replays what was buffered."""
        seq = self.seq
        if seq.phase is not Phase.COLLECTING:
            return Change.NONE
        if not seq.accepts_snapshot(snapshot.last_id):
            self.broke = Break("snapshot_too_old", seq.floor, detail=f"snapshot {snapshot.last_id}")
            return Change.REFETCH
        try:
            self.book.load(snapshot.bids, snapshot.asks, limit=self._limit)
        except BadLevel as bad:
            return self._not_usable("bad_snapshot", str(bad))
        if self.book.crossed():
            return self._not_usable("bad_snapshot", "crossed")
        buffered = list(seq.buffer)
        seq.buffer.clear()
        seq.hold_snapshot(snapshot.last_id)
        self.event_ms = snapshot.event_ms
        self.recv_ns = recv_ns
        change = Change.NONE
        for index, diff in enumerate(buffered):
            step = self.take(diff, recv_ns)
            if step is Change.BROKE or step is Change.REFETCH:
                seq.buffer.extend(buffered[index + 1 :])
                return Change.REFETCH
            if step is Change.LIVE:
                change = Change.LIVE
        return change

    def invalidate(self, reason: str, detail: str = "", *, forget_floor: bool = False) -> Change:
        """Throw the book away (bad input, a comparison that failed) and want a snapshot. No-op while DOWN.

        `forget_floor` where the exchange's own snapshot stands behind us: its ids started over.
        """
        seq = self.seq
        if seq.phase is Phase.DOWN:
            return Change.NONE
        was_live = seq.phase is Phase.LIVE
        self.broke = self._note(reason, detail)
        self.book.clear()
        if was_live:
            seq.buffer.clear()
            seq.collect(0 if forget_floor else seq.at)
            return Change.BROKE
        seq.collect(0 if forget_floor else seq.floor)
        return Change.REFETCH

    def top(self, count: int) -> tuple[list[Level], list[Level]]:
        """Best levels a side; empty unless live."""
        return self.book.top(count) if self.seq.phase is _LIVE else ([], [])

    def _apply(self, diff: Diff, before: Phase, recv_ns: int) -> Change:
        book = self.book
        try:
            book.apply(diff.bids, diff.asks)
        except BadLevel as bad:
            return self._spoiled("bad_level", str(bad), diff, before)
        if book.crossed():
            return self._spoiled("crossed", "", diff, before)
        if not book.exact_to(self._depth):
            return self._spoiled("range", f"best {self._depth} levels reach beyond the snapshot", diff, before)
        self.event_ms = diff.event_ms
        self.recv_ns = recv_ns
        if self.tap is not None:
            self.tap(diff.last_id, book)
        return _APPLIED if before is _LIVE else Change.LIVE

    def _spoiled(self, reason: str, detail: str, diff: Diff, before: Phase) -> Change:
        """The message passed the sequencer but not the book: as if it had never been live with it."""
        was_live = before is Phase.LIVE
        self.broke = Break(reason, diff.last_id, None, diff.prev_id, detail)
        self.book.clear()
        self.seq.buffer.clear()
        self.seq.collect(diff.last_id)
        return Change.BROKE if was_live else Change.REFETCH

    def _not_usable(self, reason: str, detail: str) -> Change:
        self.broke = self._note(reason, detail)
        self.book.clear()
        return Change.REFETCH

    def _note(self, reason: str, detail: str = "") -> Break:
        return Break(reason, self.seq.at, detail=detail)


def keeper_of(settings: MarketSettings) -> BookKeeper:
    return BookKeeper(
        depth=settings.top, limit=settings.snapshot_limit,
        max_buffered=settings.max_buffered, max_levels=settings.max_buffered_levels,
    )  # fmt: skip
