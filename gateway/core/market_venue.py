"""What the market side needs of an exchange's adapter: stream names and URLs, requests as data, replies as our types.

Exchange words end there. The adapter is a plain module with these functions; nothing here is called through more than
one attribute on the way of a frame (`parse` is bound once, when the core is built).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from gateway.core.effects import Send
from gateway.core.inputs import Key
from gateway.core.market_data import HistoryRow, Parsed, RateLimit, Snapshot
from rules.instrument import Instrument


@dataclass(frozen=True, slots=True)
class PrivateUrl:
    """One way to reach the user stream; `form` names it for people (never the key)."""

    form: str
    template: str  # with {key}


@dataclass(frozen=True, slots=True)
class Endpoints:
    """`public` and `market` are bases that end with the family's path element; `private` in the order of trial."""

    rest: str
    public: str
    market: str
    private: tuple[PrivateUrl, ...]


class ExchangeInfo(Protocol):
    """What the exchange trades, indexed; `limits` are its published request limits."""

    @property
    def limits(self) -> tuple[RateLimit, ...]: ...

    def names(self) -> tuple[str, ...]: ...

    def instrument(self, symbol: str) -> Instrument | None:
        """None where the exchange lacks the symbol. Raises market_data.BadSymbol."""


class MarketVenue(Protocol):
    """Every `parse_...` of a reply takes HTTP status and body, and raises market_data.BadReply."""

    # -- streams

    def depth_stream(self, symbol: str, speed: str) -> str: ...

    def mark_stream(self, symbol: str) -> str: ...

    def bar_stream(self, symbol: str, interval: str) -> str: ...

    def stream_url(self, base: str, streams: Iterable[str]) -> str: ...

    def private_url(self, form: PrivateUrl, key: str) -> str: ...

    def subscribe(self, number: int, streams: Iterable[str]) -> bytes:
        """The text frame that adds streams to an open connection; `number` comes back with its answer."""

    def parse(self, data: bytes) -> Parsed:
        """One frame of a public or market connection. Never raises: what cannot be used is a BadFrame."""

    # -- requests

    def max_bars(self) -> int:
        """Rows one request for history may ask for."""

    def depth(self, key: Key, symbol: str, limit: int) -> Send: ...

    def history(self, key: Key, symbol: str, interval: str, limit: int, start_ms: int | None = None) -> Send:
        """Bars from `start_ms` on (default: the newest `limit`), the open one included."""

    def exchange_info(self, key: Key) -> Send: ...

    def server_time(self, key: Key) -> Send: ...

    def create_listen_key(self, key: Key) -> Send: ...

    def renew_listen_key(self, key: Key) -> Send: ...

    # -- replies

    def parse_snapshot(self, status: int, body: bytes) -> Snapshot: ...

    def parse_history(self, status: int, body: bytes) -> list[HistoryRow]:
        """Ascending."""

    def parse_exchange_info(self, status: int, body: bytes) -> ExchangeInfo: ...

    def parse_time(self, status: int, body: bytes) -> int:
        """In ms."""

    def parse_listen_key(self, status: int, body: bytes) -> str:
        """Never quotes the key in an error. Raises market_data.KeyRefused where the API key is the fault."""

    def parse_renewal(self, status: int, body: bytes) -> None:
        """Returns where the listenKey was renewed. Raises like `parse_listen_key`, and market_data.ListenKeyGone."""
