"""The account's slices: position, orders, ledger:<brain>, wallet. Pure.

`state` is live only while the private stream is and the account is reconciled; else `resync`, or `down` without the
stream. Every event of a step is in what is rendered after it, so `as_of` is the newest event.

Every slice is written ten times a second, and hardly ever changes: the content is encoded when it does, and only the
head is made anew each time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

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

_encode = msgspec.json.Encoder().encode
_NO_ORDERS = b'"orders":[],"more":false}'


@dataclass(slots=True)
class _Slot:
    """One key: whose it is, and its content as last encoded, with what it was made from."""

    what: str
    symbol: str
    brain: str
    made_from: object = None
    body: bytes = b""


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
        self._slots: dict[str, _Slot] = {}
        self._keys: tuple[str, ...] = ()
        self._keys_from: object = None

    # -- keys

    def keys(self, symbols: list[str]) -> tuple[str, ...]:
        made_from = (
            len(symbols),
            len(self._books.ledgers),
            [(brain.name, brain.symbols) for brain in self._brains.all()],
        )
        if made_from != self._keys_from:
            self._keys_from = made_from
            self._keys = tuple(self._all(symbols))
        return self._keys

    def _all(self, symbols: list[str]) -> list[str]:
        out = [self._add("wallet", "", "", keys.wallet(self._account))]
        for symbol in symbols:
            out.append(self._add("position", symbol, "", keys.position(self._account, symbol)))
            out.append(self._add("orders", symbol, "", keys.orders(self._account, symbol)))
            out += [
                self._add("ledger", symbol, brain, keys.ledger(self._account, symbol, brain))
                for brain in self._news.brains_of(symbol)
            ]
        return out

    def _add(self, what: str, symbol: str, brain: str, key: str) -> str:
        self._slots.setdefault(key, _Slot(what, symbol, brain))
        return key

    # -- rendering

    def render(self, now: Now, key: str, symbols: list[str]) -> bytes | None:
        slot = self._slots.get(key)
        if slot is None:
            self.keys(symbols)
            slot = self._slots.get(key)
            if slot is None:
                return None
        symbol = slot.symbol or None
        if slot.what == "orders":
            return self._render_orders(now, slot.symbol)
        made_from = self._source(now, slot)
        if made_from != slot.made_from:
            slot.body = self._body(now, slot)
            slot.made_from = made_from
        event_ms = self._books.updated_ms.get(slot.symbol) if slot.what == "position" else None
        return self._head_bytes(now, symbol, event_ms) + slot.body

    def _head_bytes(self, now: Now, symbol: str | None, event_ms: int | None = None) -> bytes:
        return _encode({"v": slices.VERSION, **self._head(now, symbol, event_ms)})[:-1] + b","

    def _render_orders(self, now: Now, symbol: str) -> bytes:
        if not self._orders.open_views(symbol):
            return self._head_bytes(now, symbol) + _NO_ORDERS
        return slices.encode(self.orders(now, symbol))

    def _source(self, now: Now, slot: _Slot) -> object:
        """What the content of a slot follows from; equal means the same content."""
        if slot.what == "wallet":
            return dict(self._books.wallets)
        symbol = slot.symbol
        mark = self._market.mark(symbol, now)
        if slot.what == "position":
            return self._books.revision(symbol), mark
        brain = self._brains.get(slot.brain)
        trading = self._brains.by_symbol(symbol)
        return (
            self._books.revision(symbol),
            mark,
            None if brain is None else (brain.run, brain.alive, brain.show_ms, brain.show),
            trading is not None and trading.name == slot.brain,
            self._orders.risk_state(slot.brain)[0],
            self._open_count(symbol, slot.brain),
        )

    def _body(self, now: Now, slot: _Slot) -> bytes:
        """The content without its head: what follows the head's last comma."""
        whole: slices.Head
        if slot.what == "wallet":
            whole = self.wallet(now)
        elif slot.what == "position":
            whole = self.position(now, slot.symbol)
        else:
            whole = self.ledger(now, slot.symbol, slot.brain)
        fields = {name: getattr(whole, name) for name in whole.__struct_fields__ if name not in _HEAD}
        return _encode(fields)[1:]

    # -- contents

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
            orders=self._open_count(symbol, name),
            fills=held.fills,
            show=brain.show if brain else None,
            show_ms=brain.show_ms if brain else None,
        )

    def _open_count(self, symbol: str, brain: str) -> int:
        return sum(1 for order in self._orders.open_orders(symbol) if order.brain == brain)

    def _head(self, now: Now, symbol: str | None, event_ms: int | None = None) -> dict[str, Any]:
        return self._heads.fields(
            now, self._state(symbol), symbol=symbol, event_ms=event_ms, as_of=self._news.events.last
        )


_HEAD = frozenset(slices.Head.__struct_fields__)


def _unrealised(legs: list[Leg], mark: Decimal | None) -> str | None:
    if mark is None:
        return "0" if all(leg.flat for leg in legs) else None
    return text(sum((position.unrealised(leg, mark) for leg in legs), Decimal(0)))
