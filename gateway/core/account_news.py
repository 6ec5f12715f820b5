"""Events, rows and dirty slices of account changes, made in one place so that they always go together. Pure."""

from __future__ import annotations

from decimal import Decimal

from gateway.core.account_books import Booked, Books
from gateway.core.effects import Dirty, Write
from gateway.core.eventlog import EventLog
from gateway.core.inputs import Now
from gateway.core.parts import Out
from gateway.core.ports import BrainsView
from gateway.core.venue_orders import OrderSnapshot, VenueFill
from ipc import keys
from ipc.events import Ids
from rules.instrument import text
from rules.position import Leg, LegName


class AccountNews:
    def __init__(self, account: str, books: Books, brains: BrainsView, events: EventLog) -> None:
        self.events = events
        self._account = account
        self._books = books
        self._brains = brains

    def booked(self, now: Now, order: OrderSnapshot, fill: VenueFill, booked: Booked) -> Out:
        """One fill: the position's event, the balances' events, the symbol's row, and every slice it changed."""
        intent = order.intent
        ids = Ids(
            intent=f"{intent.brain}/{intent.run}/{intent.seq}" if intent else None,
            client_order_id=order.client_order_id,
            order_id=order.order_id,
            trade_id=fill.trade_id,
        )
        data = _leg_data(booked.leg, booked.after)
        out: Out = [
            self.events.add(
                now,
                "position.changed",
                data,
                source="venue",
                symbol=order.symbol,
                brain=order.brain,
                event_ms=fill.at_ms,
                ids=ids,
            )
        ]
        if self._books.wallet_known:
            for asset, change in booked.wallets:
                wallet = self._books.wallets[asset].wallet
                out += self.balance(now, asset, wallet, change, "fill", event_ms=fill.at_ms, ids=ids)
        out.append(Write(self._books.symbol_row(order.symbol)))
        out.append(Dirty((*self.symbol_keys(order.symbol), keys.wallet(self._account))))
        return out

    def legs_adopted(self, now: Now, symbol: str, legs: list[LegName]) -> Out:
        """The exchange's legs in the place of ours (first baseline, or a difference)."""
        brain = self._brains.by_symbol(symbol)
        out: Out = [
            self.events.add(
                now,
                "position.changed",
                _leg_data(name, self._books.leg(symbol, name)),
                symbol=symbol,
                brain=brain.name if brain else None,
            )
            for name in legs
        ]
        out.append(Write(self._books.symbol_row(symbol)))
        out.append(Dirty(self.symbol_keys(symbol)))
        return out

    def balance(
        self,
        now: Now,
        asset: str,
        wallet: Decimal,
        change: Decimal,
        reason: str,
        *,
        event_ms: int | None = None,
        ids: Ids | None = None,
    ) -> Out:
        data = {"asset": asset, "wallet": text(wallet), "change": text(change), "reason": reason}
        source = "gateway" if event_ms is None else "venue"
        return [
            self.events.add(now, "balance.changed", data, source=source, event_ms=event_ms, ids=ids),
            self.wallet_dirty(),
        ]

    def funding(self, now: Now, symbol: str | None, asset: str, amount: Decimal, event_ms: int) -> Out:
        """Funding goes to the books of the brain that trades the symbol; where the exchange names none, to nobody's."""
        brain = self._brains.by_symbol(symbol) if symbol else None
        name = brain.name if brain else None
        data = {"asset": asset, "amount": text(amount)}
        out: Out = [
            self.events.add(now, "funding.paid", data, source="venue", symbol=symbol, brain=name, event_ms=event_ms)
        ]
        if symbol is not None and name is not None:
            self._books.funding(symbol, name, amount)
            out += [Write(self._books.symbol_row(symbol)), Dirty(self.symbol_keys(symbol))]
        return out

    def wallet_dirty(self) -> Dirty:
        return Dirty((keys.wallet(self._account),))

    def symbol_keys(self, symbol: str) -> tuple[str, ...]:
        """Position, orders and ledgers move together."""
        ledgers = tuple(keys.ledger(self._account, symbol, brain) for brain in self.brains_of(symbol))
        return (keys.position(self._account, symbol), keys.orders(self._account, symbol), *ledgers)

    def owner(self, order: OrderSnapshot) -> str | None:
        """In whose ledger the order's fills stand. A brain's position is the account's on its symbol, so what others do
        there (the gateway's closes, a person at the exchange) is its profit and its fee too, as funding is."""
        if order.brain is not None and self._brains.get(order.brain) is not None:
            return order.brain
        trading = self._brains.by_symbol(order.symbol)
        return order.brain if trading is None else trading.name

    def brains_of(self, symbol: str) -> tuple[str, ...]:
        """Brains with books on the symbol: those that ever traded it here, and the one that does now."""
        names = {brain for where, brain in self._books.ledgers if where == symbol}
        now_there = self._brains.by_symbol(symbol)
        if now_there is not None:
            names.add(now_there.name)
        return tuple(sorted(names))


def _leg_data(name: str, leg: Leg) -> dict[str, str]:
    return {"leg": name, "qty": text(leg.qty), "entry": text(leg.entry), "realised": text(leg.realised)}
