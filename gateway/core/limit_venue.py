"""What the rate governor needs of an exchange's adapter: its limits, its counts, and when it says stop."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

from gateway.core.market_data import Pool, RateLimit


class Stop(NamedTuple):
    """The exchange refused for its limits (for how long: Retry-After, else what is named here).

    weight  too many requests: nothing leaves
    orders  too many new orders, in the window of `window_s` seconds where it was named
    banned  nothing leaves until `until_ms` (wall clock) where it was named
    """

    kind: Literal["weight", "orders", "banned"]
    window_s: int | None = None
    until_ms: int | None = None


class LimitVenue(Protocol):
    """The adapter is a plain module with these functions. Names of headers are in lower case."""

    def default_limits(self) -> tuple[RateLimit, ...]:
        """In force until the exchange has published its own."""

    def usage_header(self, pool: Pool, interval_s: int) -> str:
        """The header that says how much of a window is used (by everybody who shares it)."""

    def stop(self, status: int, body: bytes) -> Stop | None:
        """Of a refusal (HTTP 400 and above): None where it is not about limits."""
