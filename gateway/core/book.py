"""One symbol's order book: levels as the exchange wrote them, read best first.

A level is found by its price's *value* ("0.10" and "0.1" are one level) and served as its newest text. A float is the
sort key only: price texts have at most 15 significant digits (`MAX_DIGITS`), for which text -> float is one to one.
Texts already seen are remembered with their meaning, so the strict check of a price or quantity is paid once per
distinct text; both memories are bounded (`MAX_TEXTS`): at the bound what is not in use is forgotten.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from heapq import nlargest
from math import inf
from typing import Any

from gateway.core.market_data import Level

MAX_DIGITS = 15
MAX_TEXTS = 65_536
MAX_LEVELS = (
    20_000  # a side, looked at when `MAX_TEXTS` is reached: the nearest 15,000 stay, the known range ends there
)
NEAR_LOW, NEAR, NEAR_HIGH = 64, 256, 512  # levels held sorted: sorted anew below the first, cut above the last

Slot = list[Any]  # [sort key, level or None]: what a price leads to, whether or not there is a level

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


class _Slots(dict[str, Slot]):
    """Price text -> the slot of its level; every way of writing one price leads to the same slot."""

    __slots__ = ("_sign", "by_key")

    def __init__(self, sign: float) -> None:
        super().__init__()
        self._sign = sign
        self.by_key: dict[float, Slot] = {}

    def __missing__(self, text: str) -> Slot:
        price = _value(text, "price")
        if price <= 0.0:
            raise BadLevel(f"price {text[:40]!r} is not above zero")
        key = price * self._sign
        slot = self.by_key.get(key)
        if slot is None:
            slot = self.by_key[key] = [key, None]
        self[text] = slot
        return slot

    def keep(self, slots: list[Slot]) -> None:
        """Forget every slot but these, and every way of writing a price but the one in use."""
        self.by_key = {slot[0]: slot for slot in slots}
        self.clear()
        self.update((slot[1][0], slot) for slot in slots)


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
    """One side. Levels near the best are held sorted (`_keys`, `_rows`, best at the end, where most changes fall and
    moving memory is cheap); those below `_floor` only in their slots, until the price comes near them.

    `known` counts held levels at or above `edge`, the end of the known range (all of them where there is none).
    """

    __slots__ = ("_floor", "_keys", "_rows", "_sizes", "_slots", "edge", "known")

    def __init__(self, sign: float, sizes: _Sizes) -> None:
        self._slots = _Slots(sign)
        self._sizes = sizes
        self.clear()

    def clear(self) -> None:
        self._slots.keep([])
        self._keys: list[float] = []
        self._rows: list[Slot] = []
        self._floor = -inf
        self.edge: float | None = None
        self.known = 0

    def load(self, levels: Iterable[Level], *, complete: bool) -> None:
        self.clear()
        for level in levels:
            price, size = level
            self._slots[price][1] = level if self._sizes[size] else None
        held = self._held()
        self.known = len(held)
        if not complete and held:
            self.edge = min(held)[0]
        self._sort_near(held)

    def apply(self, changes: list[Level]) -> None:
        """Set or remove levels by absolute size. Raises BadLevel half-way: the side is then worthless."""
        slots, sizes, keys, rows, floor = self._slots, self._sizes, self._keys, self._rows, self._floor
        edge = -inf if self.edge is None else self.edge
        for level in changes:
            price, size = level
            slot = slots[price]
            if sizes[size]:
                if slot[1] is None:
                    key = slot[0]
                    if key >= edge:
                        self.known += 1
                    if key >= floor:
                        at = bisect_left(keys, key)
                        keys.insert(at, key)
                        rows.insert(at, slot)
                slot[1] = level
            elif slot[1] is not None:
                slot[1] = None
                key = slot[0]
                if key >= edge:
                    self.known -= 1
                if key >= floor:
                    at = bisect_left(keys, key)
                    del keys[at]
                    del rows[at]
        near = len(keys)
        if near < NEAR_LOW:
            if floor != -inf:
                self._sort_near(self._held())
        elif near > NEAR_HIGH:
            del keys[: near - NEAR]
            del rows[: near - NEAR]
            self._floor = keys[0]
        if len(slots) > MAX_TEXTS:
            self._forget()

    def top(self, count: int) -> list[Level]:
        """The best `count` levels, best first."""
        rows = self._rows
        if count > len(rows) and self._floor != -inf:
            rows = sorted(self._held())
        return [slot[1] for slot in rows[: -count - 1 : -1]]

    def page(self, behind: str | None, count: int) -> list[Level]:
        """Up to `count` levels, best first, strictly farther than the price `behind` (default: from the best)."""
        if behind is None:
            return self.top(count)
        key = self._slots[behind][0]
        farther = sorted(slot for slot in self._held() if slot[0] < key)
        return [slot[1] for slot in farther[: -count - 1 : -1]]

    def best(self) -> Level | None:
        level: Level | None = self._rows[-1][1] if self._rows else None
        return level

    def exact_to(self, count: int) -> bool:
        """Whether the best `count` levels lie in the known range (an exhausted side with an edge does not)."""
        return self.edge is None or self.known >= count

    def edge_level(self) -> Level | None:
        """The farthest level of the known range still held, or None where the whole side is known."""
        if self.edge is None or not self.known:
            return None
        edge = self.edge
        level: Level = min(slot for slot in self._held() if slot[0] >= edge)[1]
        return level

    def difference(self, other: Side) -> str | None:
        """The best level the two do not share, as far as both know their side; None where they agree."""
        low = max((edge for edge in (self.edge, other.edge) if edge is not None), default=-inf)
        ours, theirs = self._sizes_from(low), other._sizes_from(low)
        if ours == theirs:
            return None
        key = max(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
        return f"at {abs(key)}: {ours.get(key, 0)} here, {theirs.get(key, 0)} in a fresh snapshot"

    def _sizes_from(self, low: float) -> dict[float, float]:
        return {slot[0]: float(slot[1][1]) for slot in self._held() if slot[0] >= low}

    def _held(self) -> list[Slot]:
        return [slot for slot in self._slots.by_key.values() if slot[1] is not None]

    def _sort_near(self, held: list[Slot]) -> None:
        rows = nlargest(NEAR, held)
        rows.reverse()
        self._rows = rows
        self._keys = [slot[0] for slot in rows]
        self._floor = self._keys[0] if len(rows) == NEAR else -inf

    def _forget(self) -> None:
        """Too many texts: forget removed levels, and where too many are held, the farthest of them."""
        held = self._held()
        if len(held) > MAX_LEVELS:
            held = nlargest(MAX_LEVELS * 3 // 4, held)
            end: float = held[-1][0]
            self.edge = end if self.edge is None else max(self.edge, end)
            edge = self.edge
            self.known = sum(slot[0] >= edge for slot in held)
        self._slots.keep(held)
        self._sort_near(held)


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
        bids, asks = self.bids._keys, self.asks._keys
        return bool(bids and asks) and bids[-1] >= -asks[-1]

    def top(self, count: int) -> tuple[list[Level], list[Level]]:
        return self.bids.top(count), self.asks.top(count)

    def difference(self, other: Book) -> str | None:
        """What the best level is that two books of one update do not share; None where they agree."""
        return self.bids.difference(other.bids) or self.asks.difference(other.asks)

    def exact_to(self, count: int) -> bool:
        bids, asks = self.bids, self.asks
        return (bids.edge is None or bids.known >= count) and (asks.edge is None or asks.known >= count)

    def best(self) -> tuple[Level, Level] | None:
        """(best bid, best ask), or None while a side is empty."""
        bid, ask = self.bids.best(), self.asks.best()
        return None if bid is None or ask is None else (bid, ask)
