"""The matching core behind a relay: new orders are refused while there is no live market to match them on."""

from collections.abc import Callable, Mapping

from simex.core.api import Out, Reply
from simex.core.exchange import Exchange

_PLACES = frozenset(
    (method, f"/fapi/v1/{name}")
    for method, name in (
        ("POST", "order"), ("PUT", "order"), ("POST", "batchOrders"), ("PUT", "batchOrders"), ("POST", "algoOrder"),
    )
)  # fmt: skip


class GatedExchange(Exchange):
    """`is_open(symbol)` says whether a symbol's market is live; without a symbol, whether all are.

    Everything else is served as ever: what is open can be seen and cancelled while the market is away.
    """

    is_open: Callable[[str | None], bool] = staticmethod(lambda _symbol: False)

    def call(
        self, now_ms: int, account: str, method: str, path: str, params: Mapping[str, str]
    ) -> tuple[Reply, list[Out]]:
        """As `Exchange.call`; 503 "Service Unavailable." says that a request surely did nothing."""
        if (method, path) in _PLACES and self._blocked(params.get("symbol")):
            return Reply(503, {"code": 0, "msg": "Service Unavailable."}), self.on_time(now_ms)
        return super().call(now_ms, account, method, path, params)

    def _blocked(self, symbol: str | None) -> bool:
        known = symbol is None or symbol in self._markets  # an unknown one is refused in the core's words
        return known and not self.is_open(symbol)
