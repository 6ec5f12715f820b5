"""exchangeInfo, which a fault can make stale."""

from simex.server import marketdata
from simex.server.limits import LimitSettings
from simex.server.world import World


class ExchangeInfo:
    """The answer of GET /fapi/v1/exchangeInfo; frozen, it stays what it was, its serverTime too."""

    def __init__(self, world: World, limits: LimitSettings) -> None:
        self._world = world
        self._limits = limits
        self._frozen: list[bytes] = []

    def body(self) -> bytes:
        """The JSON text."""
        return self._frozen[0] if self._frozen else self._fresh()

    def freeze(self) -> None:
        """Stale from now on, until each `freeze` has been taken back."""
        self._frozen.append(self._frozen[0] if self._frozen else self._fresh())

    def thaw(self) -> None:
        """Take one `freeze` back."""
        self._frozen.pop()

    def _fresh(self) -> bytes:
        return marketdata.dump(marketdata.exchange_info(self._world, self._limits))
