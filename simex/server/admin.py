"""Administration, for tests and people on the same machine: truth, faults, accounts, clock, market.

Only loopback addresses are served. Bodies are JSON objects; what is wrong with one is answered as HTTP 400 with
`{"error": "..."}`.
"""

import ipaddress
from collections.abc import Callable
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

import orjson
from aiohttp import web

from simex.core.exchange import Exchange
from simex.server.admin_money import money_actions
from simex.server.chaos.control import Chaos
from simex.server.chaos.draw import Setting
from simex.server.chaos.kinds import FAMILIES
from simex.server.open_rules import change_rules
from simex.server.openapi import description
from simex.server.streams import MARKET, PRIVATE, PUBLIC
from simex.server.world import World


class Feed(Protocol):
    """What administration needs of the market behind the server."""

    def describe(self) -> dict[str, Any]:
        """For /admin/state."""

    def nudge(self, symbol: str, move_bps: float) -> None:
        """Move a price. ValueError if this feed cannot."""

    def trade(self, symbol: str, side: str, lots: int) -> int:
        """An external market order; returns the lots it took. ValueError if this feed cannot."""


class AdminError(Exception):
    """The request makes no sense; the text says why."""


class Admin:
    """The handlers under /admin/."""

    def __init__(self, world: World, exchange: Exchange, feed: Feed, seed: int, chaos: Chaos) -> None:
        self._world = world
        self._chaos = chaos
        self._exchange = exchange
        self._feed = feed
        self._seed = seed
        self._actions: dict[tuple[str, str], Callable[[dict[str, Any]], object]] = {
            ("GET", "state"): self._state,
            ("GET", "openapi.json"): self._openapi,
            ("GET", "faults"): self._list_faults,
            ("POST", "faults"): self._add_faults,
            ("DELETE", "faults"): self._clear_faults,
            ("GET", "chaos"): self._chaos_report,
            ("POST", "chaos"): self._chaos_add,
            ("DELETE", "chaos"): self._chaos_stop,
            ("POST", "account"): self._account,
            ("POST", "user_event"): self._user_event,
            ("POST", "frame"): self._frame,
            ("POST", "funding"): self._funding,
            ("POST", "clock"): self._clock,
            ("POST", "market"): self._market,
            ("GET", "rules"): self._rules,
            ("POST", "rules"): self._change_rules,
            **money_actions(world, exchange),
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One administrative request."""
        if not _is_loopback(request.remote):
            return _answer(403, {"error": "administration is served to this machine only"})
        action = self._actions.get((request.method, request.path.removeprefix("/admin/")))
        if action is None:
            known = ", ".join(f"{method} /admin/{name}" for method, name in self._actions)
            return _answer(404, {"error": f"unknown; there are: {known}"})
        try:
            raw = await request.read()
            body: object = orjson.loads(raw) if raw else dict(request.query)
            if isinstance(body, list):
                body = {"list": body}
            if not isinstance(body, dict):
                raise AdminError("a JSON object is needed")
            return _answer(200, action(body))
        except (AdminError, ValueError) as error:
            return _answer(400, {"error": str(error)})

    def _state(self, _body: dict[str, Any]) -> object:
        world = self._world
        return {
            "seed": self._seed,
            "time_ms": world.clock.now_ms(),
            "skew_ms": world.clock.skew_ms,
            "truth": self._exchange.truth(),
            "connections": [item.describe() for item in world.hub.connections.values()],
            "faults": world.faults.listing(world.fault_ms()),
            "market": self._feed.describe(),
        }

    def _openapi(self, _body: dict[str, Any]) -> object:
        return description(list(self._world.symbols))

    def _list_faults(self, _body: dict[str, Any]) -> object:
        return {"faults": self._world.faults.listing(self._world.fault_ms())}

    def _add_faults(self, body: dict[str, Any]) -> object:
        rows = body.get("list", [body])
        return {"faults": [self._chaos.switch_on(row) for row in rows]}

    def _clear_faults(self, body: dict[str, Any]) -> object:
        number = body.get("id")
        if number is not None and not isinstance(number, int):
            raise AdminError("id must be the number of a fault")
        return {"cleared": self._world.faults.clear(number, self._world.fault_ms())}

    def _chaos_report(self, body: dict[str, Any]) -> object:
        """`since`: the log after that number."""
        since = str(body.get("since", 0))
        if not since.isdigit():
            raise AdminError("since must be the number of a row of the log")
        return self._chaos.report(int(since))

    def _chaos_add(self, body: dict[str, Any]) -> object:
        """Rows of a schedule (one or a list), or {"seed", "level", "families"?}: draw by seed from now on."""
        if "seed" not in body:
            return {"schedule": self._chaos.add(body.get("list", [body]))}
        unknown = set(body) - {"seed", "level", "families"}
        if unknown:
            raise AdminError(f"unknown field {', '.join(sorted(unknown))}; there are seed, level, families")
        seed, families = body["seed"], body.get("families", list(FAMILIES))
        if not isinstance(seed, int) or not isinstance(families, list):
            raise AdminError("seed must be a whole number, families a list")
        accounts = list(self._exchange.truth()["accounts"])
        level = str(body.get("level", "medium"))
        self._chaos.draw(Setting(seed, level, list(self._world.symbols), accounts, self._chaos.tls, families))
        return {"seed": seed, "level": level}

    def _chaos_stop(self, _body: dict[str, Any]) -> object:
        return self._chaos.stop()

    def _account(self, body: dict[str, Any]) -> object:
        """{"account", "balances": {asset: amount}, "positions": {symbol: amount or {leg: amount}}, "reason"?}.

        Balances change by deposit or withdrawal, positions by a market order of the account: both are real, and
        its owner sees them as something that somebody else has done.
        """
        account = self._account_name(body)
        balances, positions = body.get("balances", {}), body.get("positions", {})
        if not isinstance(balances, dict) or not isinstance(positions, dict) or not (balances or positions):
            raise AdminError("balances must map assets to amounts, positions symbols to amounts")
        now = self._world.clock.engine_ms()
        for asset, text in balances.items():
            wanted = _decimal(text, f"balance of {asset}")
            if wanted < 0:
                raise AdminError(f"balance of {asset} must be a number from 0 up")
            change = wanted - self._balance(account, asset)
            if change:
                self._world.absorb(now, self._exchange.transfer(now, account, asset, change, body.get("reason")))
        for symbol, legs in positions.items():
            for leg, text in legs.items() if isinstance(legs, dict) else [("BOTH", legs)]:
                self._move_position(now, account, symbol, leg, _decimal(text, f"position of {symbol}"))
        truth = self._exchange.truth()["accounts"][account]
        shown = {asset: str(self._balance(account, asset)) for asset in balances}
        return {"account": account, "balances": shown, "positions": truth["positions"]}

    def _move_position(self, now: int, account: str, symbol: str, leg: str, wanted: Decimal) -> None:
        """Bring one leg to a signed amount by a market order. AdminError in the exchange's words if it is refused."""
        held = [
            Decimal(row["amount"])
            for row in self._exchange.truth()["accounts"][account]["positions"]
            if (row["symbol"], row["side"]) == (symbol, leg)
        ]
        change = wanted - sum(held, Decimal(0))
        if not change:
            return
        side = "BUY" if change > 0 else "SELL"
        order = {"symbol": symbol, "side": side, "type": "MARKET", "quantity": f"{abs(change):f}", "positionSide": leg}
        reply, outs = self._exchange.call(now, account, "POST", "/fapi/v1/order", order)
        self._world.absorb(now, outs)
        if reply.status != 200:
            raise AdminError(f"position of {symbol} {leg} was not moved: {orjson.dumps(reply.body).decode()}")

    def _balance(self, account: str, asset: str) -> Decimal:
        held = self._exchange.truth()["accounts"][account]["balances"].get(asset)
        return Decimal(held["wallet"]) if held else Decimal(0)

    def _account_name(self, body: dict[str, Any]) -> str:
        name = body.get("account")
        accounts = self._exchange.truth()["accounts"]
        if not isinstance(name, str) or name not in accounts:
            raise AdminError(f"account must be one of {', '.join(accounts)}")
        return str(name)

    def _rules(self, _body: dict[str, Any]) -> object:
        return {"rules": asdict(self._exchange.rules)}

    def _change_rules(self, body: dict[str, Any]) -> object:
        """{name: value}: what the sources of the protocol leave open is decided otherwise from now on."""
        self._exchange.rules = change_rules(self._exchange.rules, body)
        return self._rules({})

    def _user_event(self, body: dict[str, Any]) -> object:
        """{"account", "event": {...}}: pushes the event as it is."""
        account = self._account_name(body)
        event = body.get("event")
        if not isinstance(event, dict):
            raise AdminError("event must be a JSON object")
        if self._world.keys.key_of(account) is None:
            raise AdminError(f"account {account} has no listenKey: nobody would hear the event")
        self._world.user_event(account, event)
        return {"account": account, "event": event.get("e")}

    def _frame(self, body: dict[str, Any]) -> object:
        """{"route", "text"}: sends a frame of any text, good or bad, to every socket of a route."""
        route, text = body.get("route"), body.get("text")
        if route not in (PUBLIC, MARKET, PRIVATE):
            raise AdminError(f"route must be one of {PUBLIC}, {MARKET}, {PRIVATE}")
        if not isinstance(text, str):
            raise AdminError("text must be a text")
        connections = list(self._world.hub.on_route(route))
        for connection in connections:
            connection.send_text(text)
        return {"route": route, "sent": len(connections)}

    def _funding(self, body: dict[str, Any]) -> object:
        symbol = self._symbol(body)
        now = self._world.clock.engine_ms()
        self._world.settle_funding(now, self._world.symbols[symbol])
        return {"symbol": symbol, "time_ms": now}

    def _clock(self, body: dict[str, Any]) -> object:
        skew = body.get("skew_ms")
        if not isinstance(skew, int) or isinstance(skew, bool):
            raise AdminError("skew_ms must be a whole number of milliseconds")
        self._world.clock.skew_ms = skew
        return {"skew_ms": skew, "time_ms": self._world.clock.now_ms()}

    def _market(self, body: dict[str, Any]) -> object:
        """{"symbol", "move_bps"} moves the price at once; {"symbol", "trade": {"side", "qty"}} is a market order."""
        symbol = self._symbol(body)
        scale = self._world.symbols[symbol].scale
        answer: dict[str, object] = {"symbol": symbol}
        if "trade" in body:
            trade = body["trade"]
            if not isinstance(trade, dict) or trade.get("side") not in ("BUY", "SELL"):
                raise AdminError("trade must be an object with side BUY or SELL, and qty")
            lots = scale.lots(str(trade.get("qty")))
            if lots <= 0:
                raise AdminError("qty must be above 0")
            answer["traded"] = scale.qty(self._feed.trade(symbol, trade["side"], lots))
        else:
            move = body.get("move_bps")
            if not isinstance(move, int | float) or isinstance(move, bool) or not -5000 <= move <= 10_000:
                raise AdminError("move_bps must be a number from -5000 to 10000 (or send a trade)")
            self._feed.nudge(symbol, float(move))
        bid, ask = self._world.symbols[symbol].book.best()
        return answer | {"bid": scale.price(bid[0]), "ask": scale.price(ask[0])}

    def _symbol(self, body: dict[str, Any]) -> str:
        symbol = body.get("symbol")
        if not isinstance(symbol, str) or symbol not in self._world.symbols:
            raise AdminError(f"symbol must be one of {', '.join(self._world.symbols)}")
        return str(symbol)


def _decimal(text: object, what: str) -> Decimal:
    try:
        value = Decimal(str(text))
    except InvalidOperation as error:
        raise AdminError(f"{what} is not a number") from error
    if not value.is_finite():
        raise AdminError(f"{what} is not a number")
    return value


def _is_loopback(address: str | None) -> bool:
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def _answer(status: int, body: object) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body, default=str), content_type="application/json")
