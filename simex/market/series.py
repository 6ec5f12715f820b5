"""Bars of mark price, index price and premium: sampled once a second live, derived from the contract's bars before.

Prices are counted in units of 1e-8. A premium may be negative, so it is kept as 1 + premium. A sample counts as one lot
traded, so that the folding of bars works; the wire shows no volume for them.
"""

import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from simex.market.bars import BarSeries
from simex.market.history import COLUMNS, History, Rows, empty_rows

UNITS = 10**8
MARK, INDEX, PREMIUM = "mark", "index", "premium"
KINDS = (MARK, INDEX, PREMIUM)
_INDEX_WEIGHT = 0.3
"""The mark lies between the contract's price and the index; live marks are made the same way."""


def _derived(contract: Rows, factor: int, kind: str, rng: np.random.Generator) -> Rows:
    """Bars of one kind from the contract's: the index wanders some hundredths of a percent around it."""
    if not len(contract):
        return empty_rows()
    count = len(contract)
    away = np.convolve(rng.normal(0.0, 1.2e-4, count + 4), np.ones(5) / 5, "valid")
    prices = contract[:, 1:5].astype(np.float64) * factor
    index = prices * (1 - np.column_stack((np.roll(away, 1), away, away, away)))
    index[:, 1] = np.maximum(index[:, 1], np.maximum(index[:, 0], index[:, 3]))
    index[:, 2] = np.minimum(index[:, 2], np.minimum(index[:, 0], index[:, 3]))
    mark = (1 - _INDEX_WEIGHT) * prices + _INDEX_WEIGHT * index
    shown: NDArray[np.float64] = {MARK: mark, INDEX: index}.get(kind, UNITS * mark / index)
    rows = np.zeros((count, COLUMNS), dtype=np.int64)
    rows[:, 0] = contract[:, 0]
    rows[:, 1:5] = np.rint(shown)
    rows[:, 2] = rows[:, 1:5].max(axis=1)
    rows[:, 3] = rows[:, 1:5].min(axis=1)
    rows[:, 5], rows[:, 7], rows[:, 10:] = 60, 60, -1
    return rows


@dataclass(frozen=True)
class DerivedPast:
    """The history of one kind, made from the contract's when first asked for. `factor`: one tick in units."""

    past: History
    factor: int
    kind: str
    seed: int

    @cached_property
    def minutes(self) -> Rows:
        """One-minute bars."""
        return _derived(self.past.minutes, self.factor, self.kind, np.random.default_rng([self.seed, 1]))

    @cached_property
    def hours(self) -> Rows:
        """Hour bars of the years before."""
        return _derived(self.past.hours, self.factor, self.kind, np.random.default_rng([self.seed, 2]))


def price_series(kind: str, symbol: str, past: History, start_ms: int, factor: int) -> BarSeries:
    """The bars of one kind; without a past they begin with the first sample."""
    derived = DerivedPast(past, factor, kind, zlib.crc32(symbol.encode()))
    return BarSeries(start_ms, 0, derived)
