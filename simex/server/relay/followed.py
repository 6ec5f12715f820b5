"""The book of a followed symbol: the rules for a local book of USDⓈ-M, kept for the matching. Pure.

A diff is applied only where its `pu` is the `u` before it; the first one after a snapshot must span the snapshot's
id. Anything else breaks the book: it is not live until a new snapshot fits.
"""

from collections import deque
from dataclasses import dataclass

from simex.market.ladder import Ladder, Level

MAX_WAITING = 2_000
"""Diffs kept while a snapshot is on its way; the oldest go, and the snapshot is newer than those."""
MAX_LEVELS = 3_000
"""Levels a side; the farthest go. A snapshot has a thousand, diffs name farther ones now and then."""


@dataclass(frozen=True, slots=True)
class Update:
    """One diff: its ids, and absolute levels (0 = gone)."""

    first_id: int
    last_id: int
    previous_id: int
    bids: list[Level]
    asks: list[Level]


Changes = tuple[list[Level], list[Level]]
"""Absolute levels that changed, bids and asks."""


class FollowedBook:
    """`live` says whether the book is exact at `last_id`. Not live and `wants_snapshot`: somebody has to fetch one."""

    def __init__(self) -> None:
        self.bids = Ladder(+1)
        self.asks = Ladder(-1)
        self.last_id = 0
        self.time_ms = 0
        self.live = False
        self._bridged = False
        self._waiting: deque[Update] = deque(maxlen=MAX_WAITING)

    @property
    def wants_snapshot(self) -> bool:
        """Diffs arrive, but there is no book that they fit to."""
        return not self.live and bool(self._waiting)

    def lost(self) -> None:
        """The stream broke off: what is here is old, and what waited is of no use."""
        self.live = False
        self._waiting.clear()

    def update(self, update: Update) -> Changes | None:
        """One diff in order of arrival. The changed levels, or None if it has to wait or is old."""
        if not self.live:
            self._waiting.append(update)
            return None
        if not self._bridged and update.last_id < self.last_id:
            return None
        follows = update.previous_id == self.last_id
        spans = not self._bridged and update.previous_id <= self.last_id <= update.last_id
        if not (follows or spans):
            self.lost()
            self._waiting.append(update)
            return None
        self._bridged = True
        self.last_id = update.last_id
        return self._apply(update.bids, update.asks)

    def snapshot(self, last_id: int, bids: list[Level], asks: list[Level]) -> Changes | None:
        """A snapshot and the diffs that wait. None if it is older than they are: another one is needed."""
        waiting = [update for update in self._waiting if update.last_id >= last_id]
        if waiting and waiting[0].previous_id > last_id:
            return None
        old_bids, old_asks = self.bids.top(len(self.bids)), self.asks.top(len(self.asks))
        self.bids, self.asks = Ladder(+1), Ladder(-1)
        self._apply(bids, asks)
        self.last_id, self.live, self._bridged = last_id, True, False
        self._waiting.clear()
        for update in waiting:
            self.update(update)
        return _difference(old_bids, self.bids), _difference(old_asks, self.asks)

    def best(self) -> tuple[Level, Level]:
        """Best bid and ask; (0, 0) for an empty side."""
        return (self.bids.at(0) if len(self.bids) else (0, 0)), (self.asks.at(0) if len(self.asks) else (0, 0))

    def top(self, count: int) -> tuple[list[Level], list[Level]]:
        """The best `count` levels a side."""
        return self.bids.top(count), self.asks.top(count)

    def _apply(self, bids: list[Level], asks: list[Level]) -> Changes:
        changed = (list(bids), list(asks))
        for ladder, changes in ((self.bids, changed[0]), (self.asks, changed[1])):
            for price, lots in changes:
                ladder.set(price, lots)
            for price, _ in [ladder.at(index) for index in range(MAX_LEVELS, len(ladder))]:
                ladder.set(price, 0)
                changes.append((price, 0))
        return changed


def _difference(old: list[Level], now: Ladder) -> list[Level]:
    """What makes the old levels the new ones."""
    gone = [(price, 0) for price, _ in old if not now.get(price)]
    return gone + now.top(len(now))
