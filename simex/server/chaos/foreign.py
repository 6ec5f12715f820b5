"""Somebody else at work on the account: orders, cancels, leverage, margin type, position mode.

Each is a real call of the account, as by another client with its key: its owner sees what follows from it.
"""

from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from simex.core.api import Json, Reply
from simex.core.exchange import Exchange
from simex.server.faults import Fault
from simex.server.state import SymbolState
from simex.server.world import World

ORDER, OPEN_ORDERS = "/fapi/v1/order", "/fapi/v1/openOrders"
_ORDER_FIELDS = ("side", "quantity", "timeInForce", "positionSide")


def act(world: World, exchange: Exchange, fault: Fault) -> Json:
    """Do what the fault says; returns the exchange's answers. ValueError if account or symbol do not exist."""
    accounts = list(exchange.truth()["accounts"])
    account = fault.fields.get("account", accounts[0])
    if account not in accounts:
        raise ValueError(f"fault {fault.kind}: account must be one of {', '.join(accounts)}")
    symbol = fault.fields.get("symbol")
    if symbol is not None and symbol not in world.symbols:
        raise ValueError(f"fault {fault.kind}: symbol must be one of {', '.join(world.symbols)}")
    now = world.clock.engine_ms()

    def call(method: str, path: str, params: Mapping[str, str]) -> Reply:
        reply, outs = exchange.call(now, account, method, path, params)
        world.absorb(now, outs)
        return reply

    return {"account": account, "answers": ACTIONS[fault.kind](world, fault.fields, call)}


Call = Callable[[str, str, Mapping[str, str]], Reply]
Fields = Mapping[str, Any]


def _answer(reply: Reply) -> Json:
    return {"status": reply.status, "body": reply.body}


def _order(world: World, fields: Fields, call: Call) -> list[Json]:
    """A LIMIT order, at `price` or `away_bps` behind the best price of its side (100 if neither is given), or a
    MARKET order by `type`."""
    params = {name: str(fields[name]) for name in _ORDER_FIELDS if name in fields}
    params |= {"symbol": fields["symbol"], "type": fields.get("type", "LIMIT")}
    if "reduceOnly" in fields:
        params["reduceOnly"] = str(fields["reduceOnly"]).lower()
    if params["type"] == "LIMIT":
        params.setdefault("timeInForce", "GTC")
        state = world.symbols[fields["symbol"]]
        params["price"] = str(fields["price"]) if "price" in fields else _behind(state, fields)
    return [_answer(call("POST", ORDER, params))]


def _behind(state: SymbolState, fields: Fields) -> str:
    (bid, _), (ask, _) = state.book.best()
    away = Decimal(str(fields.get("away_bps", 100))) / 10_000
    buys = fields["side"] == "BUY"
    exact = state.instrument.price(bid) * (1 - away) if buys else state.instrument.price(ask) * (1 + away)
    tick = state.instrument.shown_tick
    steps = (exact / tick).to_integral_value(ROUND_FLOOR if buys else ROUND_CEILING)
    return f"{steps * tick:f}"


def _cancel(_world: World, fields: Fields, call: Call) -> list[Json]:
    symbol = fields["symbol"]
    found = call("GET", OPEN_ORDERS, {"symbol": symbol}).body
    orders = sorted(found, key=lambda row: row["orderId"]) if isinstance(found, list) else []
    which = fields.get("which", "all")
    chosen = orders if which == "all" else orders[:1] if which == "oldest" else orders[-1:]
    return [_answer(call("DELETE", ORDER, {"symbol": symbol, "orderId": str(row["orderId"])})) for row in chosen]


def _leverage(_world: World, fields: Fields, call: Call) -> list[Json]:
    params = {"symbol": fields["symbol"], "leverage": str(fields["leverage"])}
    return [_answer(call("POST", "/fapi/v1/leverage", params))]


def _margin_type(_world: World, fields: Fields, call: Call) -> list[Json]:
    params = {"symbol": fields["symbol"], "marginType": fields["marginType"]}
    return [_answer(call("POST", "/fapi/v1/marginType", params))]


def _position_mode(_world: World, fields: Fields, call: Call) -> list[Json]:
    params = {"dualSidePosition": str(fields["hedge"]).lower()}
    return [_answer(call("POST", "/fapi/v1/positionSide/dual", params))]


ACTIONS: dict[str, Callable[[World, Fields, Call], list[Json]]] = {
    "foreign_order": _order,
    "foreign_cancel": _cancel,
    "foreign_leverage": _leverage,
    "foreign_margin_type": _margin_type,
    "foreign_position_mode": _position_mode,
}
