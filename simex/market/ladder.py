"""One side of a book: quantities by price in ticks, best first."""

from itertools import islice

from sortedcontainers import SortedDict

Level = tuple[int, int]


class Ladder:
    """Levels of one side, best first. `toward` is +1 for bids (better is higher), -1 for asks.

    Keys are prices turned so that the best one sorts first; nothing outside sees them.
    """

    def __init__(self, toward: int) -> None:
        self._toward = toward
        self._levels: SortedDict[int, int] = SortedDict()

    def __len__(self) -> int:
        return len(self._levels)

    def get(self, price: int) -> int:
        """Quantity at a price in ticks, 0 where nothing rests."""
        return int(self._levels.get(-self._toward * price, 0))

    def set(self, price: int, lots: int) -> None:
        """Put an absolute quantity at a price; 0 removes."""
        key = -self._toward * price
        if lots > 0:
            self._levels[key] = lots
        else:
            self._levels.pop(key, None)

    def best(self) -> int | None:
        """The best price in ticks, or None when the side is empty."""
        return -self._toward * self._levels.peekitem(0)[0] if self._levels else None

    def at(self, index: int) -> Level:
        """The level number `index`, best is 0. IndexError beyond the end."""
        key, lots = self._levels.peekitem(index)
        return -self._toward * key, lots

    def top(self, count: int) -> list[Level]:
        """The best `count` levels."""
        return [(-self._toward * key, lots) for key, lots in islice(self._levels.items(), count)]

    def better_than(self, price: int) -> list[Level]:
        """Levels strictly better than `price`, best first."""
        keys = list(self._levels.irange(None, -self._toward * price, inclusive=(True, False)))
        return [(-self._toward * key, self._levels[key]) for key in keys]


class TrackedLadder(Ladder):
    """A ladder that remembers what changed since the last look."""

    def __init__(self, toward: int) -> None:
        super().__init__(toward)
        self._dirty: dict[int, int] = {}

    def set(self, price: int, lots: int) -> None:
        """Put an absolute quantity at a price; 0 removes, and removing nothing is no change."""
        if lots > 0 or self.get(price):
            super().set(price, lots)
            self._dirty[price] = max(lots, 0)

    def take_changes(self) -> list[Level]:
        """What changed since the last call, as absolute levels, best first."""
        changes = sorted(self._dirty.items(), key=lambda level: -self._toward * level[0])
        self._dirty = {}
        return changes
