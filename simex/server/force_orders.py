"""The public liquidation streams: of each symbol the largest liquidation of a second, at most one a second."""

from dataclasses import dataclass

import orjson

from simex.core.api import ForcedOrder, Json

WINDOW_MS = 1_000


@dataclass(slots=True)
class _Window:
    """One symbol's liquidations since `start_ms`: only the largest is kept."""

    start_ms: int
    largest: ForcedOrder


class ForceOrders:
    """Gathers liquidations and says, a second later, what the streams show. At most one waits per symbol."""

    def __init__(self) -> None:
        self._waiting: dict[str, _Window] = {}

    def take(self, now_ms: int, order: ForcedOrder) -> None:
        """A liquidation order has ended."""
        window = self._waiting.setdefault(order.symbol, _Window(now_ms, order))
        if order.lots > window.largest.lots:
            window.largest = order

    def due(self, now_ms: int) -> list[ForcedOrder]:
        """What is to be shown now; it is forgotten after this call."""
        over = [symbol for symbol, window in self._waiting.items() if now_ms - window.start_ms >= WINDOW_MS]
        return [self._waiting.pop(symbol).largest for symbol in over]


def single_event(now_ms: int, order: ForcedOrder) -> bytes:
    """`<symbol>@forceOrder`: pair and product line lie inside `o`."""
    return orjson.dumps({"e": "forceOrder", "E": now_ms, "o": order.order})


def all_event(now_ms: int, order: ForcedOrder) -> bytes:
    """`!forceOrder@arr`: one object a message, pair and product line beside `o`."""
    inner: Json = {key: value for key, value in order.order.items() if key not in ("ps", "st")}
    return orjson.dumps({"e": "forceOrder", "E": now_ms, "o": inner, "ps": order.order["ps"], "st": order.order["st"]})
