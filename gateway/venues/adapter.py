"""What a package of an exchange brings: the adapters of the core, where the exchange is, how it is signed to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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


class RequestSigner(Protocol):
    """Holds an account's keys; neither `repr` nor an error shows them."""

    @property
    def key_header(self) -> tuple[str, str]:
        """Name and value of the header that carries the API key."""

    def query(self, params: Iterable[tuple[str, str]]) -> str:
        """The query string of a signed request, in the order of `params`. Raises ValueError on an empty value."""

    def plain(self, params: Iterable[tuple[str, str]]) -> str:
        """The query string of a request that is not signed. Raises like `query`."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """One exchange. `signer` takes API key and secret; `ping_path` is the cheapest request, to keep lines warm."""

    venue: Venue
    endpoints: EndpointsOf
    signer: Callable[[str, str], RequestSigner]
    ping_path: str
