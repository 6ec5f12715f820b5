"""`brainstem flatten`: cancel what rests, close what is held, and wait until the account is flat."""

from __future__ import annotations

import argparse
import time
from decimal import Decimal
from typing import Any, NamedTuple

from ipc.client import Client
from ipc.errors import IpcError
from ipc.wire import Flatten, OrdersQuery, PositionQuery
from scripts.asking import acting, config_of, connect, show
from scripts.exits import DONE, UNKNOWN

_POLL_S = 0.1
_OPEN_LIMIT = 1000


class Holding(NamedTuple):
    """What is still there: `{symbol leg: quantity}` of positions that are not flat, client ids of open orders."""

    positions: dict[str, str]
    orders: list[str]

    @property
    def is_flat(self) -> bool:
        return not self.positions and not self.orders


def holding(client: Client, symbol: str | None = None) -> Holding:
    """Raises IpcError."""
    positions = {}
    for row in legs_of(client.result(PositionQuery(id=0, symbol=symbol))):
        if Decimal(row["qty"]) != 0:
            positions[f"{row.get('symbol', symbol)} {row.get('leg', 'BOTH')}"] = row["qty"]
    orders = rows_of(client.result(OrdersQuery(id=0, symbol=symbol, scope="open", limit=_OPEN_LIMIT)), "orders")
    return Holding(positions, [row["client_order_id"] for row in orders])


def rows_of(result: Any, name: str) -> list[dict[str, Any]]:
    """The rows of a list answer, whether it stands alone or under its name."""
    rows = result.get(name, []) if isinstance(result, dict) else result
    return list(rows or [])


def legs_of(result: Any) -> list[dict[str, Any]]:
    """Every leg with its symbol, from an answer that groups legs by symbol or lists them flat."""
    found: list[dict[str, Any]] = []
    for row in rows_of(result, "positions") or rows_of(result, "legs"):
        legs = row.get("legs")
        found += [{"symbol": row.get("symbol"), **leg} for leg in legs] if isinstance(legs, list) else [row]
    return found


def ask(client: Client, symbol: str | None, reason: str) -> None:
    """The gateway goes on until it is done. That it is not done yet, or does not say so in time, changes nothing."""
    try:
        client.result(Flatten(id=0, symbol=symbol, reason=reason))
    except IpcError as error:
        not_yet = error.code == "venue.no_answer" or (error.code == "gateway.unreachable" and client.alive)
        if not not_yet:
            raise


def until_flat(client: Client, symbol: str | None, timeout_s: float, reason: str) -> Holding:
    """Ask for it, then watch. Returns what is left at the end."""
    deadline = time.monotonic() + timeout_s
    ask(client, symbol, reason)
    while True:
        left = holding(client, symbol)
        if left.is_flat or time.monotonic() > deadline:
            return left
        time.sleep(_POLL_S)


def run(args: argparse.Namespace) -> int:
    """Exit 0 when flat, 4 when it is not within the time."""
    with connect(config_of(args), args.account) as client:
        holding(client, args.symbol)  # a symbol that is not served is refused here: nobody could tell that it is flat
        reason = args.reason or "person: brainstem flatten"
        left = acting(lambda: until_flat(client, args.symbol, args.timeout, reason))
    show(args, {"flat": left.is_flat, "positions": left.positions, "orders": left.orders}, text)
    return DONE if left.is_flat else UNKNOWN


def text(found: dict[str, Any]) -> str:
    if found["flat"]:
        return "flat: no position and no open order"
    rows = [f"  {name}: {qty}" for name, qty in found["positions"].items()]
    return "\n".join(["NOT flat; the gateway goes on trying:", *rows, *(f"  open order {o}" for o in found["orders"])])
