"""What an endpoint handler gets, and the parameter helpers that several of them share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from simex.core.account import Account
from simex.core.api import Reply
from simex.core.effects import Effects
from simex.core.engine import Engine
from simex.core.errors import Refusal, invalid
from simex.core.instrument import Instrument
from simex.core.market import Market
from simex.core.orders import Params, integer, required, text

_DAY_MS = 86_400_000
WEEK_MS = 7 * _DAY_MS


@dataclass(frozen=True, slots=True)
class Context:
    """One authenticated call."""

    engine: Engine
    account: Account
    params: Params
    fx: Effects

    @property
    def now_ms(self) -> int:
        return self.fx.now_ms

    def market(self) -> Market:
        """The market of the mandatory `symbol`: -1102 when missing, -1121 when unknown."""
        return self._market(required(self.params, "symbol"))

    def optional_market(self) -> Market | None:
        symbol = text(self.params, "symbol")
        return None if symbol is None else self._market(symbol)

    def instruments(self) -> list[Instrument]:
        """The one of `symbol`, or all."""
        market = self.optional_market()
        if market is not None:
            return [market.instrument]
        return list(self.engine.state.instruments.values())

    def limit(self, default: int, maximum: int) -> int:
        value = integer(self.params, "limit")
        if value is None:
            return default
        if not 1 <= value <= maximum:
            raise invalid("limit")
        return value

    def window(self, span_ms: int | None = WEEK_MS) -> tuple[int, int]:
        """[start, end] of a history query in ms; without times the last seven days."""
        start, end = integer(self.params, "startTime"), integer(self.params, "endTime")
        if start is not None and end is not None:
            if start > end:
                raise Refusal(-1023, "Start time is greater than end time.")
            if span_ms is not None and end - start > span_ms:
                raise Refusal(-4165, "Invalid time interval")
            return start, end
        if start is not None:
            return start, self.now_ms if span_ms is None else start + span_ms
        last = self.now_ms if end is None else end
        return last - WEEK_MS, last

    def _market(self, symbol: str) -> Market:
        market = self.engine.markets.get(symbol)
        if market is None:
            raise Refusal(-1121)
        return market


Handler = Callable[[Context], Reply]
Routes = dict[tuple[str, str], Handler]


def ok(body: object) -> Reply:
    return Reply(200, body)


SUCCESS: dict[str, object] = {"code": 200, "msg": "success"}
