"""Administration of money: what the exchange does to positions without being asked, when a test asks for it."""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, cast

from simex.core.exchange import Exchange
from simex.core.order import PositionSide
from simex.server.world import World


def money_actions(world: World, exchange: Exchange) -> dict[tuple[str, str], Callable[[dict[str, Any]], object]]:
    """The handlers of POST /admin/liquidate and /admin/deleverage. They raise ValueError for what makes no sense."""

    def chosen(body: dict[str, Any]) -> tuple[str, str]:
        account, symbol = body.get("account"), body.get("symbol")
        accounts = exchange.truth()["accounts"]
        if account not in accounts:
            raise ValueError(f"account must be one of {', '.join(accounts)}")
        if symbol not in world.symbols:
            raise ValueError(f"symbol must be one of {', '.join(world.symbols)}")
        return str(account), str(symbol)

    def positions(account: str) -> object:
        return {"account": account, "positions": exchange.truth()["accounts"][account]["positions"]}

    def liquidate(body: dict[str, Any]) -> object:
        """{"account", "symbol"}: its positions there are closed as if their margin were used up."""
        account, symbol = chosen(body)
        now = world.clock.engine_ms()
        world.absorb(now, exchange.liquidate(now, account, symbol))
        return positions(account)

    def deleverage(body: dict[str, Any]) -> object:
        """{"account", "symbol", "side"?: "BOTH", "qty"?: all}: an `adl_autoclose` order takes it at mark."""
        account, symbol = chosen(body)
        side = body.get("side", "BOTH")
        if side not in ("BOTH", "LONG", "SHORT"):
            raise ValueError("side must be BOTH, LONG or SHORT")
        now = world.clock.engine_ms()
        outs = exchange.deleverage(now, account, symbol, cast(PositionSide, side), _quantity(body.get("qty")))
        world.absorb(now, outs)
        return positions(account)

    return {("POST", "liquidate"): liquidate, ("POST", "deleverage"): deleverage}


def _quantity(raw: object) -> Decimal | None:
    if raw is None:
        return None
    try:
        qty = Decimal(str(raw))
    except InvalidOperation as error:
        raise ValueError(f"qty must be a decimal number, not {raw!r:.40}") from error
    if not qty.is_finite():
        raise ValueError(f"qty must be a decimal number, not {raw!r:.40}")
    return qty
