"""What the order path needs of an exchange's adapter: requests as data, replies as verdicts.

Exchange words end there.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, NamedTuple, Protocol

from gateway.core.venue_orders import Source, VenueFill, VenueOrder

Kind = Literal["accepted", "rejected", "unknown", "not_sent", "limit", "clock", "duplicate", "not_found"]
Alarm = Literal["", "keys", "stop", "edge", "reconcile", "filters", "mode"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer (or none) to an order request means; `code` and `text` are the exchange's own.

    accepted   2xx; the body says the rest
    rejected   refused for good, nothing was executed
    unknown    proves nothing: never resend, ask
    not_sent   certainly not executed, may be sent again as a new attempt; with `ask_first` only after asking once
    limit      certainly not executed: rate limits
    clock      certainly not executed: timestamp outside the window; resync, one new attempt
    duplicate  an open order has this client order id: ask for it
    not_found  (cancel, query) the exchange shows no such order now
    `alarm`    what else must happen: keys (stop trading, alert), stop (entries stop), reconcile, filters (read exchange
               info again), mode (position mode differs from what we believe)
    """

    kind: Kind
    code: int | None = None
    text: str = ""
    alarm: Alarm = ""
    ask_first: bool = False


class Call(NamedTuple):
    """A request before it is signed; `params` in wire order, unencoded."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    params: tuple[tuple[str, str], ...]


class TradeRow(NamedTuple):
    """One row of the account's trade list: the fill and the exchange's number of its order."""

    symbol: str
    order_id: int
    fill: VenueFill


class Clock(NamedTuple):
    """What a signed request is stamped with: the exchange's clock now, and for how long it is good."""

    timestamp_ms: int
    recv_window_ms: int


class OrderVenue(Protocol):
    """The adapter is a plain module with these functions."""

    def page_rows(self) -> int:
        """Rows of a full page of a list; fewer mean it is the last."""

    def weight(self, what: Literal["query", "list", "trades"]) -> int: ...

    def place(
        self,
        clock: Clock,
        *,
        symbol: str,
        side: str,
        type_: str,
        qty: Decimal,
        price: Decimal | None,
        tif: str | None,
        leg: str,
        reduce_only: bool,
        hedge: bool,
        client_order_id: str,
    ) -> Call: ...

    def cancel(self, clock: Clock, symbol: str, client_order_id: str, order_id: int | None) -> Call: ...

    def query(self, clock: Clock, symbol: str, client_order_id: str, order_id: int | None) -> Call: ...

    def list_orders(self, clock: Clock, symbol: str, start_ms: int, from_order_id: int | None) -> Call: ...

    def list_trades(
        self, clock: Clock, symbol: str, *, order_id: int | None, start_ms: int | None, from_id: int | None
    ) -> Call: ...

    def classify(self, status: int, body: bytes) -> Verdict: ...

    def transport(self, *, sent: bool, reason: str) -> Verdict: ...

    def parse_order(self, body: bytes, source: Source) -> VenueOrder: ...

    def parse_orders(self, body: bytes, source: Source) -> list[VenueOrder]: ...

    def parse_trades(self, body: bytes) -> list[TradeRow]: ...

    def meaning(self, order: VenueOrder) -> str: ...
