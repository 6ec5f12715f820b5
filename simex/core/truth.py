"""The whole state as plain JSON: what tests, and the admin endpoint, compare others with."""

from __future__ import annotations

from simex.core.account import Account
from simex.core.api import Json
from simex.core.engine import Engine
from simex.payloads import orders as payloads
from simex.payloads.account import income_row
from simex.payloads.text import money, short


def truth(engine: Engine) -> Json:
    """`{"accounts": {name: {...}}, "symbols": {symbol: {...}}}`; decimals are strings."""
    return {
        "accounts": {name: _account(engine, account) for name, account in engine.accounts.items()},
        "symbols": {
            symbol: {
                "mark": short(market.mark),
                "best_bid": _price(engine, symbol, market.book.bids.best()),
                "best_ask": _price(engine, symbol, market.book.asks.best()),
                "funding_rate": short(market.funding_rate),
                "next_funding_ms": market.next_funding_ms,
            }
            for symbol, market in engine.markets.items()
        },
    }


def _price(engine: Engine, symbol: str, ticks: int | None) -> str | None:
    return None if ticks is None else engine.state.instruments[symbol].price_text(ticks)


def _account(engine: Engine, account: Account) -> Json:
    instruments = engine.state.instruments
    open_orders = account.all_open()
    return {
        "hedge": account.hedge,
        "balances": {
            asset: {"wallet": money(account.wallet(asset, instruments)), "cross": money(cross)}
            for asset, cross in account.cross_wallet.items()
        },
        "positions": [
            {
                "symbol": position.symbol,
                "side": position.side,
                "amount": short(position.amount),
                "entry_price": short(position.entry_price),
                "realised": short(position.realised),
                "isolated_wallet": money(position.isolated_wallet),
            }
            for position in account.positions.values()
            if position.amount
        ],
        "open_orders": [payloads.queried(order) for order in open_orders],
        "orders": [payloads.queried(order) for order in [*account.closed_orders.values(), *open_orders]],
        "fills": [payloads.trade(fill) for fill in account.history.fills],
        "income": [income_row(line) for line in account.history.income],
    }
