"""Market data as the core understands it, whatever exchange sent it. Adapters make these; ids are update ids.

Prices and quantities stay the exchange's own text up to the border that uses them: a book level is the very pair that
came, so what is served is what was sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from msgspec import Struct

from ipc.slices import BarRow

Pool = Literal["orders", "weight"]  # new orders of the account; requests of this address, by their weight
Level = tuple[str, str]  # (price, quantity); quantity is the new absolute size, zero removes


class Diff(Struct, kw_only=True):
    """One depth change: update ids `first_id..last_id`, chained to the message before by `prev_id`."""

    symbol: str
    first_id: int
    last_id: int
    prev_id: int
    event_ms: int
    bids: list[Level]
    asks: list[Level]


class Snapshot(Struct, kw_only=True):
    """A book as it was at update `last_id`, best levels first."""

    last_id: int
    event_ms: int | None = None
    bids: list[Level]
    asks: list[Level]


class MarkUpdate(Struct, kw_only=True):
    """`next_funding_ms` 0 and an empty `funding_rate` mean: none (delivery contracts)."""

    symbol: str
    event_ms: int
    mark: str
    index: str | None = None
    funding_rate: str | None = None
    next_funding_ms: int | None = None


class BarUpdate(Struct, kw_only=True):
    """A bar as it stands. `final`: the exchange says it is closed."""

    symbol: str
    interval: str
    event_ms: int
    close_ms: int
    final: bool
    row: BarRow


class Streamed(NamedTuple):
    """One good frame: the stream's name and what it carried."""

    stream: str
    data: Diff | MarkUpdate | BarUpdate


@dataclass(frozen=True, slots=True)
class CommandReply:
    """The answer to a stream command; `error` None is an acknowledgement (which proves nothing about data)."""

    id: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Unused:
    """A well-formed frame nobody here needs, by event name (or `unknown` names the exchange invented since)."""

    name: str
    known: bool


@dataclass(frozen=True, slots=True)
class BadFrame:
    """A frame that cannot be used. `kind` is from a short list (for counting); `stream` where it could be told."""

    kind: str
    detail: str
    stream: str | None = None


Parsed = Streamed | CommandReply | Unused | BadFrame


class RateLimit(NamedTuple):
    """One window of the exchange's published limits: what the rate governor's `set_limits` takes."""

    pool: Pool
    seconds: int
    limit: int


class HistoryRow(Struct, frozen=True):
    """A bar from REST: the row and its close time."""

    row: BarRow
    close_ms: int


class BadReply(Exception):
    """A REST answer that is not what the exchange documents (cut short, HTML, other fields): it cannot be used, and of
    an order it proves nothing. The text says what and where, never quoting more than 120 characters."""


class KeyRefused(BadReply):
    """The exchange refused the API key itself: asking again will not help, a person must look."""


class ListenKeyGone(BadReply):
    """The exchange no longer knows the key of the private stream."""


class BadSymbol(Exception):
    """One symbol of the exchange's information cannot be used; says which field."""
