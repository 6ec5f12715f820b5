"""Median of the last values: what is usual, whatever a few wild ones among them say."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from decimal import Decimal
from typing import Generic, TypeVar

Number = TypeVar("Number", float, Decimal)


class RollingMedian(Generic[Number]):
    """Of at most `size` values (floats, or Decimals where they are prices). The oldest leaves when a new one comes.

    Kept sorted beside the order of arrival, so an update costs one search and two short moves.
    """

    __slots__ = ("_arrived", "_sorted", "size")

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"size is {size}, it must be at least 1")
        self.size = size
        self._arrived: deque[Number] = deque(maxlen=size)
        self._sorted: list[Number] = []

    @property
    def count(self) -> int:
        return len(self._arrived)

    @property
    def warm(self) -> bool:
        return self.count == self.size

    @property
    def value(self) -> Number | None:
        """The middle one; of an even count the lower of the two in the middle. None before the first `update`."""
        return self._sorted[(self.count - 1) // 2] if self._sorted else None

    def update(self, x: Number) -> None:
        if self.warm:
            del self._sorted[bisect_left(self._sorted, self._arrived[0])]
        self._arrived.append(x)
        insort(self._sorted, x)
