"""The whole state as plain JSON: what tests, and the admin endpoint, compare others with."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

from simex.core.account import Account
from simex.core.api import Json
from simex.core.engine import Engine
from simex.core.valuation import valuation
from simex.payloads import algo as algo_payloads
from simex.payloads import orders as payloads
from simex.payloads.account import income_row
from simex.payloads.text import money, short


def truth(engine: Engine) -> Json:
    """`{"accounts": {name: {...}}, "symbols": {symbol: {...}}, "exchange": {...}}`; decimals are strings."""
    return {
        "exchange": {
            "insurance": {asset: money(engine.insurance[asset]) for asset in _margin_assets(engine)},
            "fees": {asset: money(amount) for asset, amount in engine.fees.items()},
            "funding": {asset: money(amount) for asset, amount in engine.funding.items()},
        },
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


def _margin_assets(engine: Engine) -> list[str]:
    return list(dict.fromkeys(instrument.quote_asset for instrument in engine.state.instruments.values()))


def _margin(engine: Engine, account: Account) -> Json:
    """What the account's assets are worth and bind, by asset; `USD` in multi-assets mode is all of them together."""
    value = valuation(account, engine.state)
    pots = [*value.assets.values(), *([value.dollars] if value.dollars else [])]
    return {
        pot.asset: {
            "wallet": money(pot.wallet),
            "unrealised": money(pot.unrealised),
            "initial": money(pot.position_initial + pot.order_initial),
            "maintenance": money(pot.maintenance),
            "available": money(pot.available),
        }
        for pot in pots
    }


def _income_sums(account: Account) -> Json:
    """By kind, then by asset. The history is bounded: of a very long life only the end is counted."""
    sums: defaultdict[str, defaultdict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for line in account.history.income:
        sums[line.kind][line.asset] += line.amount
    return {kind: {asset: money(amount) for asset, amount in rows.items()} for kind, rows in sums.items()}


def _account(engine: Engine, account: Account) -> Json:
    instruments = engine.state.instruments
    open_orders = account.all_open()
    return {
        "hedge": account.hedge,
        "multi_assets": account.multi_assets,
        "fee_tier": account.fee_tier,
        "fee_burn": account.fee_burn,
        "symbols": {
            symbol: {"leverage": config.leverage, "isolated": config.isolated}
            for symbol, config in ((i.symbol, account.config(i)) for i in instruments.values())
        },
        "margin": _margin(engine, account),
        "income_sums": _income_sums(account),
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
                "break_even_price": short(position.break_even_price),
                "realised": short(position.realised),
                "isolated_wallet": money(position.isolated_wallet),
            }
            for position in account.positions.values()
            if position.amount
        ],
        "open_orders": [payloads.queried(order) for order in open_orders],
        "orders": [payloads.queried(order) for order in [*account.closed_orders.values(), *open_orders]],
        "algo_orders": [algo_payloads.queried(algo) for algo in account.algos.all()],
        "fills": [payloads.trade(fill) for fill in account.history.fills],
        "income": [income_row(line) for line in account.history.income],
    }
