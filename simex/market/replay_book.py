"""The book of a recording: the recorded snapshot and every recorded diff after it."""

from collections.abc import Iterable

from simex.market.ladder import Ladder, Level


class ReplayBook:
    """Waits for its snapshot, then follows the diffs. Without a recorded snapshot it follows them from nothing."""

    def __init__(self, *, has_snapshot: bool) -> None:
        self.bids = Ladder(+1)
        self.asks = Ladder(-1)
        self.last_id = 0
        self.time_ms = 0
        self.ready = not has_snapshot
        self._waiting: list[tuple[int, int, list[Level], list[Level]]] = []

    def snapshot(self, last_id: int, time_ms: int, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """The recorded snapshot has come: take it, then the diffs that were waiting and are not older."""
        self.bids, self.asks = Ladder(+1), Ladder(-1)
        self._set(bids, asks)
        self.last_id, self.time_ms, self.ready = last_id, time_ms, True
        waiting, self._waiting = self._waiting, []
        for diff in waiting:
            if diff[0] >= last_id:
                self.diff(*diff)

    def diff(self, last_id: int, time_ms: int, bids: list[Level], asks: list[Level]) -> bool:
        """One recorded diff. True if it changed the book, False if it waits for the snapshot or is older."""
        if not self.ready:
            self._waiting.append((last_id, time_ms, bids, asks))
            return False
        if last_id < self.last_id:
            return False
        self._set(bids, asks)
        self.last_id, self.time_ms = last_id, time_ms
        return True

    def best(self) -> tuple[Level, Level]:
        """Best bid and ask; (0, 0) for an empty side."""
        return (self.bids.at(0) if len(self.bids) else (0, 0)), (self.asks.at(0) if len(self.asks) else (0, 0))

    def top(self, count: int) -> tuple[list[Level], list[Level]]:
        """The best `count` levels a side."""
        return self.bids.top(count), self.asks.top(count)

    def _set(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        for price, lots in bids:
            self.bids.set(price, lots)
        for price, lots in asks:
            self.asks.set(price, lots)
