"""What a package of an exchange brings: the adapters of the core, where the exchange is, how it is signed to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from gateway.core.effects import Send
from gateway.core.inputs import Key
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
class KeyRights:
    """What the exchange lets an API key do. `address_bound`: only from addresses its owner named."""

    reading: bool
    futures: bool
    withdrawals: bool
    transfers: bool
    address_bound: bool


class KeyDesk(Protocol):
    """Where an exchange says what a key may do."""

    def host(self, environment: str, rest: str) -> str | None:
        """The base URL to ask; None where nobody answers it."""

    def request(self, key: Key, at_ms: int) -> Send: ...

    def read(self, status: int, body: bytes) -> KeyRights | None:
        """None where the host does not know the question. Raises account_venue.ReplyError."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """One exchange. `signer` takes API key and secret; `ping_path` is the cheapest request, to keep lines warm."""

    venue: Venue
    endpoints: EndpointsOf
    signer: Callable[[str, str], RequestSigner]
    ping_path: str
    key_desk: KeyDesk | None = None
