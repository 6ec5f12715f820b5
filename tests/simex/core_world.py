"""A small world around the core: an exchange, a clock that only moves forward, and what happened so far."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from simex.core.api import AccountSpec, Consumed, Json, Level, Out, PublicLevels, PublicTrade, Reply, UserEvent
from simex.core.exchange import Exchange
from simex.core.instrument import Instrument, default_instruments
from simex.core.rules import DEFAULT_RULES, Rules

START_MS = 1_795_132_800_000
ORDER = "/fapi/v1/order"


def spec(name: str, **settings: Any) -> AccountSpec:
    return AccountSpec(name, f"key-{name}", f"secret-{name}", **settings)


class World:
    """Drives one `Exchange` and keeps every effect in order."""

    def __init__(
        self,
        *accounts: AccountSpec,
        instruments: Iterable[Instrument] = (),
        own_visible: bool = True,
        rules: Rules = DEFAULT_RULES,
    ) -> None:
        self.exchange = Exchange(
            list(instruments) or default_instruments(["BTCUSDT", "ETHUSDT"]),
            list(accounts) or [spec("main")],
            own_visible=own_visible,
            rules=rules,
        )
        self.name = accounts[0].name if accounts else "main"
        self.now_ms = START_MS
        self.outs: list[Out] = []
        self.last: list[Out] = []

    # -- inputs -------------------------------------------------------------------------------------------------

    def _took(self, outs: list[Out]) -> list[Out]:
        self.last = outs
        self.outs.extend(outs)
        self.now_ms += 1
        return outs

    def levels(self, bids: list[Level], asks: list[Level], symbol: str = "BTCUSDT") -> list[Out]:
        return self._took(self.exchange.on_levels(self.now_ms, symbol, bids, asks))

    def print(self, price: int, lots: int, buyer_is_maker: bool, symbol: str = "BTCUSDT") -> list[Out]:
        return self._took(self.exchange.on_print(self.now_ms, symbol, price, lots, buyer_is_maker))

    def mark(self, price: str, rate: str = "0.0001", symbol: str = "BTCUSDT", next_ms: int | None = None) -> list[Out]:
        """A mark price; funding an hour ahead unless `next_ms` says when."""
        mark, at = Decimal(price), self.now_ms + 3_600_000 if next_ms is None else next_ms
        return self._took(self.exchange.on_mark(self.now_ms, symbol, mark, mark, Decimal(rate), at))

    def tick(self, at_ms: int) -> list[Out]:
        """The clock reaches `at_ms` and nothing else happens."""
        self.now_ms = at_ms
        return self._took(self.exchange.on_time(at_ms))

    def fund(self, symbol: str = "BTCUSDT") -> list[Out]:
        return self._took(self.exchange.settle_funding(self.now_ms, symbol))

    def transfer(self, amount: str, account: str = "") -> list[Out]:
        return self._took(self.exchange.transfer(self.now_ms, account or self.name, "USDT", Decimal(amount)))

    def call(self, method: str, path: str, account: str = "", **params: str) -> Reply:
        reply, outs = self.exchange.call(self.now_ms, account or self.name, method, path, params)
        self._took(outs)
        return reply

    def get(self, path: str, account: str = "", **params: str) -> Any:
        reply = self.call("GET", path, account, **params)
        assert reply.status == 200, reply.body
        return reply.body

    def order(self, account: str = "", **params: str) -> Reply:
        """POST order; BTCUSDT LIMIT GTC unless said otherwise."""
        full = {"symbol": "BTCUSDT", "type": "LIMIT", **params}
        if full["type"] == "LIMIT":
            full.setdefault("timeInForce", "GTC")
        return self.call("POST", ORDER, account, **full)

    def placed(self, account: str = "", **params: str) -> Json:
        """As `order`, for one that must be accepted; returns the body."""
        reply = self.order(account, **params)
        assert reply.status == 200, reply.body
        assert isinstance(reply.body, dict)
        return reply.body

    # -- what happened ------------------------------------------------------------------------------------------

    def events(self, kind: str = "", account: str = "", *, all_time: bool = False) -> list[Json]:
        """User events of the last input (or of all), as payloads; TRADE_LITE only when asked for by name."""
        outs = self.outs if all_time else self.last
        return [
            out.payload
            for out in outs
            if isinstance(out, UserEvent)
            and (out.payload["e"] == kind if kind else out.payload["e"] != "TRADE_LITE")
            and (not account or out.account == account)
        ]

    def executions(self, account: str = "", *, all_time: bool = False) -> list[tuple[str, str]]:
        """(x, X) of the order updates of the last input."""
        return [
            (event["o"]["x"], event["o"]["X"])
            for event in self.events("ORDER_TRADE_UPDATE", account, all_time=all_time)
        ]

    def trades(self) -> list[PublicTrade]:
        return [out for out in self.last if isinstance(out, PublicTrade)]

    def consumed(self) -> list[Consumed]:
        return [out for out in self.last if isinstance(out, Consumed)]

    def shown(self) -> list[PublicLevels]:
        return [out for out in self.last if isinstance(out, PublicLevels)]

    def open_orders(self, account: str = "") -> list[Json]:
        rows: list[Json] = self.get("/fapi/v1/openOrders", account)
        return rows

    def queried(self, client_id: str, account: str = "", symbol: str = "BTCUSDT") -> Json:
        row: Json = self.get(ORDER, account, symbol=symbol, origClientOrderId=client_id)
        return row

    def position(self, account: str = "", side: str = "BOTH", symbol: str = "BTCUSDT") -> Json:
        rows = self.get("/fapi/v2/positionRisk", account, symbol=symbol)
        return next(row for row in rows if row["positionSide"] == side)

    def wallet(self, account: str = "") -> Decimal:
        return Decimal(self.exchange.truth()["accounts"][account or self.name]["balances"]["USDT"]["wallet"])


def refusal(reply: Reply) -> tuple[int, Any]:
    """(HTTP status, body) of a refused call."""
    return reply.status, reply.body
