"""An exchange as the core sees it: a name and its adapters. A second exchange is a second set of these."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.account_venue import AccountVenue
from gateway.core.limit_venue import LimitVenue
from gateway.core.market_venue import MarketVenue
from gateway.core.order_venue import OrderVenue


@dataclass(frozen=True, slots=True)
class Venue:
    """`name` stands in the head of every slice."""

    name: str
    market: MarketVenue
    account: AccountVenue
    orders: OrderVenue
    limits: LimitVenue
