"""The exchange's account statements, held until the fills they speak of have come. Pure.

A statement comes before the order update of the same fill, and several may come before the first fill. So each waits,
bounded in time and number; as soon as our books agree with one, it is settled together with the older ones it overtook
(those that speak of no other leg than it does, or agree too). One that stays unsettled past its time is handed back:
it is a suspicion, not yet a difference.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from decimal import Decimal

from gateway.core.account_books import Books
from gateway.core.inputs import Now
from gateway.core.venue_orders import AccountUpdate, VenuePosition

WAIT_NS = 1_000_000_000
CAP = 1_000  # held at most; at the bound the oldest is handed back as overdue


class Statements:
    def __init__(self, books: Books, tick_of: Callable[[str], Decimal]) -> None:
        self._books = books
        self._tick_of = tick_of
        self._held: deque[tuple[int, AccountUpdate]] = deque()

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, now: Now, update: AccountUpdate) -> None:
        self._held.append((now.boot_ns + WAIT_NS, update))

    def settle(self) -> AccountUpdate | None:
        """The newest statement our books agree with, taken out with those it overtook; None: none agrees yet."""
        for index in range(len(self._held) - 1, -1, -1):
            update = self._held[index][1]
            if self._agrees(update):
                self._drop(index, update)
                return update
        return None

    def _drop(self, index: int, newest: AccountUpdate) -> None:
        """`newest` (at `index`) agrees: older ones go whose every leg a newer one settles, or that agree by legs."""
        covered = {(row.symbol, row.leg) for row in newest.positions}
        held = list(self._held)
        keep = held[index + 1 :]
        for until, update in reversed(held[:index]):
            rest = [row for row in update.positions if (row.symbol, row.leg) not in covered]
            if self._legs_agree(rest):
                covered |= {(row.symbol, row.leg) for row in rest}
            else:
                keep.insert(0, (until, update))
        self._held = deque(keep)

    def overdue(self, now: Now) -> list[AccountUpdate]:
        """Those past their time, taken out."""
        out = []
        while self._held and (self._held[0][0] <= now.boot_ns or len(self._held) > CAP):
            out.append(self._held.popleft()[1])
        return out

    def clear(self) -> None:
        """A full reading is about to replace what they could have told."""
        self._held.clear()

    def next_deadline_boot_ns(self) -> int | None:
        return self._held[0][0] if self._held else None

    def _agrees(self, update: AccountUpdate) -> bool:
        return self._legs_agree(update.positions) and all(
            self._books.wallet_agrees(row.asset, row.wallet) for row in update.balances
        )

    def _legs_agree(self, rows: Iterable[VenuePosition]) -> bool:
        return all(
            self._books.leg_agrees(row.symbol, row.leg, row.qty, row.entry, self._tick_of(row.symbol)) for row in rows
        )
