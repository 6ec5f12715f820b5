"""The account's slices: position, orders, ledger:<brain>, wallet. Pure.

`state` is live only while the private stream is and the account is reconciled; else `resync`, or `down` without the
stream. Every event of a step is in what is rendered after it, so `as_of` is the newest event.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from gateway.core.account_books import Books
from gateway.core.account_news import AccountNews
from gateway.core.heads import Heads
from gateway.core.inputs import Now
from gateway.core.ports import BrainsView, MarketView, OrdersView
from ipc import keys, slices
from ipc.slices import State
from rules import ledger as ledgers
from rules import position
from rules.instrument import text
from rules.position import Leg

ORDERS_CAP = 500  # of one symbol's orders slice; `more` says when it was cut


class AccountSlices:
    def __init__(
        self,
        account: str,
        heads: Heads,
        books: Books,
        news: AccountNews,
        market: MarketView,
        orders: OrdersView,
        brains: BrainsView,
        state: Callable[[str | None], State],
        lease_ms: int,
    ) -> None:
        self._account = account
        self._heads = heads
        self._books = books
        self._news = news
        self._market = market
        self._orders = orders
        self._brains = brains
        self._state = state
        self._lease_ms = lease_ms
        self._owner: dict[str, tuple[str, str, str]] = {}  # key -> what, symbol, brain

    def keys(self, symbols: list[str]) -> tuple[str, ...]:
        out = [keys.wallet(self._account)]
        self._owner[out[0]] = ("wallet", "", "")
        for symbol in symbols:
            out += self._add("position", symbol, "", keys.position(self._account, symbol))
            out += self._add("orders", symbol, "", keys.orders(self._account, symbol))
            for brain in self._news.brains_of(symbol):
                out += self._add("ledger", symbol, brain, keys.ledger(self._account, symbol, brain))
        return tuple(out)

    def _add(self, what: str, symbol: str, brain: str, key: str) -> list[str]:
        self._owner[key] = (what, symbol, brain)
        return [key]

    def render(self, now: Now, key: str, symbols: list[str]) -> bytes | None:
        owner = self._owner.get(key)
        if owner is None:
            self.keys(symbols)
            owner = self._owner.get(key)
        if owner is None:
            return None
        what, symbol, brain = owner
        if what == "wallet":
            return slices.encode(self.wallet(now))
        if what == "position":
            return slices.encode(self.position(now, symbol))
        if what == "orders":
            return slices.encode(self.orders(now, symbol))
        return slices.encode(self.ledger(now, symbol, brain))

    def wallet(self, now: Now) -> slices.WalletSlice:
        rows = [
            slices.Balance(
                asset=asset,
                wallet=text(held.wallet),
                cross=text(held.cross),
                available=None if held.available is None else text(held.available),
            )
            for asset, held in sorted(self._books.wallets.items())
        ]
        return slices.WalletSlice(**self._head(now, None), balances=rows)

    def position(self, now: Now, symbol: str) -> slices.PositionSlice:
        mark = self._market.mark(symbol, now)
        legs = [
            slices.PositionLeg(
                leg=name,
                qty=text(leg.qty),
                entry=text(leg.entry),
                realised=text(leg.realised),
                unrealised=_unrealised([leg], mark),
                updated_ms=self._books.updated_ms.get(symbol, 0),
            )
            for name, leg in self._books.legs_of(symbol)
        ]
        event_ms = self._books.updated_ms.get(symbol)
        return slices.PositionSlice(**self._head(now, symbol, event_ms), legs=legs)

    def orders(self, now: Now, symbol: str) -> slices.OrdersSlice:
        views = self._orders.open_views(symbol)
        return slices.OrdersSlice(
            **self._head(now, symbol), orders=list(views[:ORDERS_CAP]), more=len(views) > ORDERS_CAP
        )

    def ledger(self, now: Now, symbol: str, name: str) -> slices.LedgerSlice:
        """The position is the account's there while this brain is the one that trades the symbol; `orders` are open."""
        brain = self._brains.get(name)
        trading = self._brains.by_symbol(symbol)
        mine = trading is not None and trading.name == name
        legs = [leg for _, leg in self._books.legs_of(symbol)] if mine else []
        whole = position.net(legs)
        held = self._books.ledgers.get((symbol, name), ledgers.EMPTY)
        return slices.LedgerSlice(
            **self._head(now, symbol),
            brain=name,
            run=brain.run if brain else None,
            alive=brain.alive if brain else False,
            lease_ms=self._lease_ms,
            risk=self._orders.risk_state(name)[0],
            qty=text(whole.qty),
            entry=text(whole.entry),
            realised=text(held.realised),
            unrealised=_unrealised(legs, self._market.mark(symbol, now)),
            fees={asset: text(fee) for asset, fee in held.fees},
            funding=text(held.funding),
            orders=sum(1 for order in self._orders.open_orders(symbol) if order.brain == name),
            fills=held.fills,
            show=brain.show if brain else None,
            show_ms=brain.show_ms if brain else None,
        )

    def _head(self, now: Now, symbol: str | None, event_ms: int | None = None) -> dict[str, Any]:
        return self._heads.fields(
            now, self._state(symbol), symbol=symbol, event_ms=event_ms, as_of=self._news.events.last
        )


def _unrealised(legs: list[Leg], mark: Decimal | None) -> str | None:
    if mark is None:
        return "0" if all(leg.flat for leg in legs) else None
    return text(sum((position.unrealised(leg, mark) for leg in legs), Decimal(0)))
