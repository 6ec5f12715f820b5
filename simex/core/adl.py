"""Auto-deleveraging: the queue of those in profit, and each position's place in it as the account sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal

from simex.core.account import ZERO, Account, Position
from simex.core.treasury import Treasury
from simex.core.valuation import valuation

Quantile = Callable[[Position], int]
_LAST = 4


def score(treasury: Treasury, account: Account, position: Position) -> Decimal:
    """Profit in parts of the entry value, times the leverage really used; at most zero for a position at a loss.

    Profit weighs with the leverage, loss against it, as the exchange ranks.
    """
    mark = treasury.state.mark_of(position.symbol)
    if not position.amount or not position.cost:
        return ZERO
    profit = position.unrealised(mark) / position.cost
    value = valuation(account, treasury.state)
    leg = next(leg for leg in value.legs if leg.position is position)
    balance = position.isolated_wallet if leg.isolated else value.equity(value.pool_of(leg)) - leg.unrealised
    used = abs(leg.notional) / balance if balance > 0 else Decimal(account.config(value.instrument(leg)).leverage)
    return profit * used if profit > 0 else profit / used if used else profit


def queue(treasury: Treasury, symbol: str, *, longs: bool) -> list[tuple[Account, Position]]:
    """Who is deleveraged first: positions of one direction, by falling score; equal ones by account name."""
    found = [
        (score(treasury, account, position), account, position)
        for account, position in _open(treasury, symbol)
        if (position.amount > 0) == longs
    ]
    found.sort(key=lambda row: (-row[0], row[1].name, row[2].side))
    return [(account, position) for _, account, position in found]


def quantiles(treasury: Treasury, account: Account) -> Quantile:
    """0 (last in the queue) to 4 (first) for the account's positions; the queue is that of all accounts here."""

    def of(position: Position) -> int:
        if not position.amount:
            return 0
        line = queue(treasury, position.symbol, longs=position.amount > 0)
        place = next(index for index, (_, other) in enumerate(line) if other is position)
        return _LAST - place * (_LAST + 1) // len(line) if score(treasury, account, position) > 0 else 0

    return of


def _open(treasury: Treasury, symbol: str) -> Iterator[tuple[Account, Position]]:
    for account in treasury.accounts.values():
        for position in account.legs(symbol):
            if position.amount:
                yield account, position
