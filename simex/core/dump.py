"""The whole state of the core as JSON, and back into a fresh exchange: same answers, same future.

What is configured (instruments, fee rates, rights) is not stored: it comes from the new start. What a client can
change (modes, leverage, margin types) is. Bounds: `history` keeps the newest closed orders, fills and income lines of
each account; open orders, positions and wallets are always whole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, TypeVar

from simex.core.account import Account, Income, MarginMove, Position, SymbolConfig
from simex.core.algo import AlgoOrder
from simex.core.api import Json, Side
from simex.core.codec import BadState, Codec
from simex.core.instrument import Instrument
from simex.core.liquidation import Liquidator
from simex.core.market import Market
from simex.core.order import Fill, Order, PositionSide

VERSION = 1
ACCOUNT: dict[str, Any] = {
    "hedge": bool,
    "multi_assets": bool,
    "fee_burn": bool,
    "config_ms": int,
    "called": set[str],
    "cross_wallet": dict[str, Decimal],
    "balance_update_ms": dict[str, int],
    "positions": dict[tuple[str, PositionSide], Position],
    "configs": dict[str, SymbolConfig],
    "tran_ids": int,
}
"""What is stored of an account as it is; its orders and history apart."""
MARKET: dict[str, Any] = {
    "order_ids": int,
    "trade_ids": int,
    "announced_mark": Decimal | None,
    "index": Decimal | None,
    "funding_rate": Decimal,
    "next_funding_ms": int,
    "funded_ms": int,
    "last_price_ticks": int | None,
}
ENGINE: dict[str, Any] = {
    "fees": dict[str, Decimal],
    "funding": dict[str, Decimal],
    "insurance": dict[str, Decimal],
    "forced_count": int,
}
_SIDES: tuple[Side, ...] = ("BUY", "SELL")
OrderKey = tuple[str, int]
T = TypeVar("T")


def dump(engine: Liquidator, *, history: int | None = None, levels: bool = True) -> Json:
    """Everything but what is configured. `levels` stores the outside book too; a market that comes anew needs none."""
    return {
        "version": VERSION,
        "engine": _stored(_codec(engine, {}), engine, ENGINE),
        "algo_ids": engine.algos.last_id,
        "markets": {symbol: _market(engine, market, levels) for symbol, market in engine.markets.items()},
        "accounts": {name: _account(engine, account, history) for name, account in engine.accounts.items()},
        "timers": [[kind, list(key), due_ms] for kind, key, due_ms in engine.timers.pending()],
    }


def restore(engine: Liquidator, state: Json) -> None:
    """Into a fresh engine. BadState if the stored state does not fit; the engine is then of no use any more.

    Accounts and symbols that are not configured any more are left out; one with a position or an open order there
    does not fit.
    """
    if state.get("version") != VERSION:
        raise BadState(f"the state has version {state.get('version')!r}, this simex reads {VERSION}: use a new file")
    try:
        _restore(engine, state)
    except (KeyError, TypeError, AttributeError) as error:
        raise BadState(f"the state is not whole: {type(error).__name__} {error}") from error


def _restore(engine: Liquidator, state: Json) -> None:
    _set(_codec(engine, {}), engine, ENGINE, state["engine"])
    engine.algos.last_id = max(engine.algos.last_id, state["algo_ids"])
    for name, raw in state["accounts"].items():
        if name in engine.accounts:
            _restore_account(engine, engine.accounts[name], raw)
    for symbol, raw in state["markets"].items():
        if symbol in engine.markets:
            _restore_market(engine, engine.markets[symbol], raw)
    engine.algos.restored()
    for kind, key, due_ms in state["timers"]:
        if _is_known(engine, key):
            engine.timers.set(kind, tuple(key), due_ms)


def _is_known(engine: Liquidator, key: list[str | int]) -> bool:
    """Is what a timer is about still there? Its texts are names of accounts and symbols."""
    return all(part in engine.accounts or part in engine.markets for part in key if isinstance(part, str))


# -- markets ----------------------------------------------------------------------------------------------------


def _market(engine: Liquidator, market: Market, levels: bool) -> Json:
    book, instrument = market.book, market.instrument
    queues = {
        side: [[order.account, order.order_id] for queue in book.side(side).own.values() for order in queue]
        for side in _SIDES
    }
    return {
        "tick": str(instrument.tick_size),
        "step": str(instrument.step_size),
        **_stored(_codec(engine, {}), market, MARKET),
        "queues": queues,
        "levels": {side: [list(level) for level in book.side(side).external.items()] if levels else []
                   for side in _SIDES},
    }  # fmt: skip


def _restore_market(engine: Liquidator, market: Market, raw: Json) -> None:
    instrument = market.instrument
    if (Decimal(raw["tick"]), Decimal(raw["step"])) != (instrument.tick_size, instrument.step_size):
        raise BadState(f"{instrument.symbol} has another tick or step size now than in the state: use a new file")
    newer = {name: max(getattr(market, name), raw[name]) for name in ("order_ids", "trade_ids")}
    _set(_codec(engine, {}), market, MARKET, raw | newer)
    for side in _SIDES:
        levels = market.book.side(side)
        for price, lots in raw["levels"][side]:
            levels.external[price] = lots
        for name, order_id in raw["queues"][side]:
            if name in engine.accounts:
                order = engine.accounts[name].open_orders[instrument.symbol][order_id]
                levels.own.setdefault(order.price_ticks, []).append(order)


# -- accounts ---------------------------------------------------------------------------------------------------


def _account(engine: Liquidator, account: Account, history: int | None) -> Json:
    codec = _codec(engine, {})
    closed = _newest(account.closed_orders.values(), history)
    fills = _newest(account.history.fills, history)
    listed = {_key(order) for order in [*closed, *account.all_open()]}
    algos = [*_newest(account.algos.decided.values(), history), *account.algos.waiting.values()]
    behind = [*(fill.order for fill in fills), *(algo.order for algo in algos if algo.order is not None)]
    forgotten = {_key(order): order for order in behind if _key(order) not in listed}
    return {
        **_stored(codec, account, ACCOUNT),
        "open_orders": [codec.whole(order) for order in account.all_open()],
        "closed_orders": [codec.whole(order) for order in closed],
        "forgotten_orders": [codec.whole(order) for order in forgotten.values()],
        "algos": [codec.whole(algo) for algo in algos],
        "fills": [codec.whole(fill) for fill in fills],
        "income": [codec.whole(line) for line in _newest(account.history.income, history)],
        "margin_moves": [codec.whole(move) for move in _newest(account.history.margin_moves, history)],
    }


def _restore_account(engine: Liquidator, account: Account, raw: Json) -> None:
    orders: dict[OrderKey, Order] = {}
    codec, known = _codec(engine, orders), engine.markets
    _set(codec, account, ACCOUNT, raw)
    for name, rows in (("a position", _open_positions(account)), ("an open order", raw["open_orders"])):
        strange = sorted({row["instrument"] if isinstance(row, dict) else row.symbol for row in rows} - known.keys())
        if strange:
            raise BadState(f"account {account.name} has {name} in {', '.join(strange)}: give it in --symbols too")
    account.positions = {key: leg for key, leg in account.positions.items() if key[0] in known}
    account.configs = {symbol: config for symbol, config in account.configs.items() if symbol in known}
    parts: dict[str, list[Order]] = {}
    for name in ("open_orders", "closed_orders", "forgotten_orders"):
        parts[name] = [codec.build(Order, row) for row in raw[name] if row["instrument"] in known]
        orders.update((_key(order), order) for order in parts[name])
    account.restore_orders(parts["open_orders"], parts["closed_orders"])
    account.algos.restore(codec.build(AlgoOrder, row) for row in raw["algos"] if row["spec"]["instrument"] in known)
    history = account.history
    history.fills.extend(codec.build(Fill, row) for row in raw["fills"] if tuple(row["order"]) in orders)
    history.income.extend(codec.build(Income, row) for row in raw["income"])
    history.margin_moves.extend(codec.build(MarginMove, row) for row in raw["margin_moves"])


def _open_positions(account: Account) -> list[Position]:
    return [position for position in account.positions.values() if position.amount]


def _key(order: Order) -> OrderKey:
    return order.symbol, order.order_id


def _newest(rows: Iterable[T], count: int | None) -> list[T]:
    return list(rows) if count is None else list(deque(rows, maxlen=count))


# -- shared -----------------------------------------------------------------------------------------------------


def _codec(engine: Liquidator, orders: dict[OrderKey, Order]) -> Codec:
    """Instruments by symbol, orders inside other values by symbol and id."""
    return Codec({
        Instrument: (lambda instrument: instrument.symbol, lambda symbol: engine.state.instruments[symbol]),
        Order: (lambda order: list(_key(order)), lambda raw: orders[tuple(raw)]),
    })  # fmt: skip


def _stored(codec: Codec, owner: object, hints: dict[str, Any]) -> Json:
    return {name: codec.encode(getattr(owner, name)) for name in hints}


def _set(codec: Codec, owner: object, hints: dict[str, Any], raw: Json) -> None:
    """Attributes of a part; a mapping is filled in place, so that a default factory stays."""
    for name, hint in hints.items():
        value = codec.decode(hint, raw[name])
        held = getattr(owner, name)
        if isinstance(held, dict):
            held.clear()
            held.update(value)
        else:
            setattr(owner, name, value)
