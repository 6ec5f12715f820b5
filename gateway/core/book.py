"""One symbol's order book: levels as the exchange wrote them, kept sorted, read best first.

A level is found by its price's *value* ("0.10" and "0.1" are one level) and served as its newest text. A float is the
sort key only: price texts have at most 15 significant digits (`MAX_DIGITS`), for which text -> float is one to one.
Two small caches map texts already seen to their meaning, so the strict check of a price or quantity is paid once per
distinct text; both are bounded (`MAX_TEXTS`) and start over at the bound.
"""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections.abc import Iterable

from gateway.core.market_data import Level

MAX_DIGITS = 15
MAX_TEXTS = 65_536
MAX_LEVELS = 20_000  # a side; beyond it the farthest quarter is forgotten and the known range ends there

_DECIMAL = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?", re.ASCII)


class BadLevel(Exception):
    """A price or quantity no exchange can mean: negative, zero price, not a plain decimal, or too long."""


def plain_decimal(text: str) -> bool:
    """Whether a text may be the price of a level (as a token of a page must be)."""
    return _DECIMAL.fullmatch(text) is not None and len(text) <= MAX_DIGITS and float(text) > 0.0


def _value(text: str, what: str) -> float:
    if _DECIMAL.fullmatch(text) is None or len(text.replace(".", "").lstrip("0")) > MAX_DIGITS:
        raise BadLevel(f"{what} {text[:40]!r} is not a plain decimal of at most {MAX_DIGITS} digits")
    return float(text)


class _Keys(dict[str, float]):
    """Price text -> sort key, best level largest: the price for bids, its negative for asks."""

    __slots__ = ("_sign",)

    def __init__(self, sign: float) -> None:
        super().__init__()
        self._sign = sign

    def __missing__(self, text: str) -> float:
        price = _value(text, "price")
        if price <= 0.0:
            raise BadLevel(f"price {text[:40]!r} is not above zero")
        if len(self) >= MAX_TEXTS:
            self.clear()
        key = self[text] = price * self._sign
        return key


class _Sizes(dict[str, bool]):
    """Quantity text -> whether a level of that size exists ("0.000" and "0" both remove)."""

    __slots__ = ()

    def __missing__(self, text: str) -> bool:
        there = _value(text, "quantity") > 0.0
        if len(self) >= MAX_TEXTS:
            self.clear()
        self[text] = there
        return there


class Side:
    """One side. `keys` ascend to the best level at the end, where most changes fall and moving memory is cheap."""

    __slots__ = ("_key_of", "_sizes", "edge", "keys", "levels")

    def __init__(self, sign: float, sizes: _Sizes) -> None:
        self._key_of = _Keys(sign)
        self._sizes = sizes
        self.levels: dict[float, Level] = {}
        self.keys: list[float] = []
        self.edge: float | None = None  # levels with keys below it are unknown until an update names them

    def clear(self) -> None:
        self.levels.clear()
        self.keys.clear()
        self.edge = None

    def load(self, levels: Iterable[Level], *, complete: bool) -> None:
        self.clear()
        for level in levels:
            price, size = level
            key = self._key_of[price]
            if self._sizes[size]:
                self.levels[key] = level
        self.keys.extend(sorted(self.levels))
        if not complete and self.keys:
            self.edge = self.keys[0]

    def apply(self, changes: list[Level]) -> None:
        """Set or remove levels by absolute size. Raises BadLevel half-way: the side is then worthless."""
        key_of, sizes, levels, keys = self._key_of, self._sizes, self.levels, self.keys
        for level in changes:
            price, size = level
            key = key_of[price]
            if sizes[size]:
                if key not in levels:
                    insort(keys, key)
                levels[key] = level
            elif key in levels:
                del levels[key]
                del keys[bisect_left(keys, key)]
        if len(keys) > MAX_LEVELS:
            self._forget_farthest()

    def top(self, count: int) -> list[Level]:
        levels = self.levels
        return [levels[key] for key in self.keys[: -count - 1 : -1]]

    def page(self, behind: str | None, count: int) -> list[Level]:
        """Up to `count` levels, best first, strictly farther than the price `behind` (default: from the best)."""
        end = len(self.keys) if behind is None else bisect_left(self.keys, self._key_of[behind])
        return [self.levels[key] for key in reversed(self.keys[max(0, end - count) : end])]

    def exact_to(self, count: int) -> bool:
        """Whether the best `count` levels lie in the known range (an exhausted side with an edge does not)."""
        edge = self.edge
        if edge is None:
            return True
        keys = self.keys
        return len(keys) >= count and keys[-count] >= edge

    def edge_level(self) -> Level | None:
        """The farthest level of the known range still held, or None where the whole side is known."""
        if self.edge is None:
            return None
        at = bisect_left(self.keys, self.edge)
        return self.levels[self.keys[at]] if at < len(self.keys) else None

    def _forget_farthest(self) -> None:
        keys = self.keys
        gone = len(keys) // 4
        for key in keys[:gone]:
            del self.levels[key]
        del keys[:gone]
        self.edge = keys[0] if self.edge is None else max(self.edge, keys[0])


class Book:
    """Both sides. It knows nothing of update ids: continuity is the sequencer's job."""

    __slots__ = ("asks", "bids")

    def __init__(self) -> None:
        sizes = _Sizes()
        self.bids = Side(1.0, sizes)
        self.asks = Side(-1.0, sizes)

    def clear(self) -> None:
        self.bids.clear()
        self.asks.clear()

    def load(self, bids: list[Level], asks: list[Level], *, limit: int) -> None:
        """A snapshot fetched with `limit` levels a side; a side with fewer is complete. Raises BadLevel."""
        self.bids.load(bids, complete=len(bids) < limit)
        self.asks.load(asks, complete=len(asks) < limit)

    def apply(self, bids: list[Level], asks: list[Level]) -> None:
        """Raises BadLevel; the book is then worthless and must be rebuilt."""
        if bids:
            self.bids.apply(bids)
        if asks:
            self.asks.apply(asks)

    def crossed(self) -> bool:
        """Best bid at or above best ask: never true of a real book."""
        bids, asks = self.bids.keys, self.asks.keys
        return bool(bids) and bool(asks) and bids[-1] >= -asks[-1]

    def top(self, count: int) -> tuple[list[Level], list[Level]]:
        return self.bids.top(count), self.asks.top(count)

    def exact_to(self, count: int) -> bool:
        return self.bids.exact_to(count) and self.asks.exact_to(count)

    def best(self) -> tuple[Level, Level] | None:
        """(best bid, best ask), or None while a side is empty."""
        bids, asks = self.bids, self.asks
        if not bids.keys or not asks.keys:
            return None
        return bids.levels[bids.keys[-1]], asks.levels[asks.keys[-1]]
