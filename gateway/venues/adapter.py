"""What a package of an exchange brings: the three adapters of the core, and where the exchange is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gateway.core.market_venue import Endpoints
from gateway.core.venue import Venue


class EndpointsOf(Protocol):
    def __call__(
        self,
        environment: str,
        *,
        simex_rest: str | None = None,
        simex_ws: str | None = None,
        rest: str | None = None,
        public: str | None = None,
        market: str | None = None,
        private: tuple[str, ...] = (),
    ) -> Endpoints:
        """Raises ValueError: unknown environment, simulator without an address, or an address that cannot be used."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """One exchange. The signer of its requests is the shell's (`sign.py` of the package)."""

    venue: Venue
    endpoints: EndpointsOf
