"""The types that cross the border between the core (matching, accounts) and the shell (market, server).

The core is pure: every call gets `now_ms`, every effect comes back as a value, in the order in which it happened.
Prices are integer ticks and quantities integer lots of the symbol's `Instrument`; money is `Decimal`.

Import `Exchange` from `simex.core.exchange`, `Instrument` and `default_instruments` from `simex.core.instrument`.
`ExchangeDoor` below is the same class as a protocol, for type annotations and for reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, Protocol

from simex.core.rights import Rights

Side = Literal["BUY", "SELL"]
Level = tuple[int, int]
"""(price in ticks, quantity in lots); quantity 0 = the level is gone."""

Json = dict[str, Any]
"""A JSON object ready for the wire: keys in wire order, prices and money as decimal strings."""


@dataclass(frozen=True, slots=True)
class PublicLevels:
    """Levels of the visible book that changed: absolute totals (external + own resting orders), 0 = gone.

    Only produced with `own_visible=True`; a replay shows its recording unchanged and gets none.
    """

    symbol: str
    bids: list[Level]
    asks: list[Level]


@dataclass(frozen=True, slots=True)
class PublicTrade:
    """One public trade. `trade_id` rises by one per symbol and is the `t` of the user events of the same trade.

    Only produced with `own_visible=True`, for prints given to `on_print` too (a print that fills own resting orders
    is split into one trade per maker), so that this list is the whole tape.
    """

    symbol: str
    trade_id: int
    price_ticks: int
    qty_lots: int
    buyer_is_maker: bool
    time_ms: int
    maker_is_own: bool = False
    taker_is_own: bool = False


@dataclass(frozen=True, slots=True)
class UserEvent:
    """One event of an account's private stream, in wire form, `E` and `T` stamped from `now_ms`."""

    account: str
    payload: Json


@dataclass(frozen=True, slots=True)
class Consumed:
    """External liquidity that own orders took; `side` is the side of the book it stood on (BUY = bid).

    The core has already lowered its own copy of the level and reported the new total in `PublicLevels`;
    a generator lowers its model by the same amount. Never produced with `own_visible=False`.
    """

    symbol: str
    side: Side
    price_ticks: int
    qty_lots: int


@dataclass(frozen=True, slots=True)
class FundingSettled:
    """Funding of a symbol was charged to every open position: what `fundingRate` lists from then on."""

    symbol: str
    time_ms: int
    rate: Decimal
    mark: Decimal


@dataclass(frozen=True, slots=True)
class ForcedOrder:
    """A liquidation order has ended: `order` is the `o` of a forceOrder event. The stream shows the largest a second.

    `lots` is what was filled. Produced in a replay too: liquidations of own accounts are not in the recording.
    """

    symbol: str
    lots: int
    order: Json


Out = PublicLevels | PublicTrade | UserEvent | Consumed | FundingSettled | ForcedOrder


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer of one REST call: HTTP status, JSON body (object or list), extra headers, cost in the ORDERS pools."""

    status: int
    body: object
    headers: dict[str, str] = field(default_factory=dict)
    order_count: int = 0
    order_count_1m: int | None = None
    """Cost in the pool of the minute where it differs (a batch: 5 in 10 s, 1 in the minute)."""


def _opening_balances() -> dict[str, Decimal]:
    return {"USDT": Decimal(10_000)}


@dataclass
class AccountSpec:
    """One account as configured. Its key and secret are the server's business and never shown in a repr."""

    name: str
    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)
    balances: dict[str, Decimal] = field(default_factory=_opening_balances)
    hedge: bool = False
    leverage: int = 20
    """Initial leverage of every symbol."""
    margin_type: Literal["CROSSED", "ISOLATED"] = "CROSSED"
    maker_rate: Decimal | None = None
    """Fee rates of this account; None = those of the instrument."""
    taker_rate: Decimal | None = None
    fee_tier: int = 0
    """VIP tier, 0 to 9."""
    fee_burn: bool = False
    """Pay commission in BNB with the discount, as long as the wallet holds enough of it."""
    multi_assets: bool = False
    rights: Rights = field(default_factory=Rights)
    """Of its API key."""
    public_keys: dict[str, str] = field(default_factory=dict, repr=False)
    """Further API keys: the public key (PEM, Ed25519 or RSA) of each."""


class ExchangeDoor(Protocol):
    """The one door into the core. Not thread-safe: one caller, `now_ms` never falling.

    Market inputs for one moment come in the order: `on_print` first, then the `on_levels` that shows its effect.
    (A print eats the queue ahead of a resting order; a level that shrinks afterwards only caps that queue.)
    An unknown symbol raises `KeyError` in market inputs and answers -1121 in `call`.
    """

    own_visible: bool

    def on_levels(self, now_ms: int, symbol: str, bids: list[Level], asks: list[Level]) -> list[Out]:
        """External absolute levels changed; own resting orders they cross fill as makers."""

    def on_print(self, now_ms: int, symbol: str, price_ticks: int, qty_lots: int, buyer_is_maker: bool) -> list[Out]:
        """An external trade: eats the queue ahead of own resting orders at its price, then fills them.

        Own orders at a better price than the print fill first, at their own price. The print does not change
        the external level: its owner says so by `on_levels`.
        """

    def on_mark(
        self, now_ms: int, symbol: str, mark: Decimal, index: Decimal, funding_rate: Decimal, next_funding_ms: int
    ) -> list[Out]:
        """New mark price: valuation, percent-price band, margin, liquidation; and when funding is charged next.

        Before the first one, mid or last price serves. At `next_funding_ms` the core settles by itself (`on_time`).
        """

    def settle_funding(self, now_ms: int, symbol: str) -> list[Out]:
        """Charge funding at the last mark and rate to every open position of the symbol."""

    def next_due_ms(self) -> int | None:
        """When `on_time` has something to do next; None as long as nothing is waiting for a time."""

    def on_time(self, now_ms: int) -> list[Out]:
        """Everything due by the clock: good-till dates, countdowns, funding. Every other input does it first too."""

    def call(
        self, now_ms: int, account: str, method: str, path: str, params: Mapping[str, str]
    ) -> tuple[Reply, list[Out]]:
        """Serve one trading or account endpoint, after the server checked key, signature and timestamp.

        `params` are decoded (query and body merged); `timestamp`, `recvWindow` and `signature` are ignored if there.
        `account` is `AccountSpec.name`. Unknown paths answer HTTP 404 with -5000. Never raises for bad input.
        """

    def insurance_fund(self) -> dict[str, Decimal]:
        """What the insurance fund holds, by margin asset."""

    def truth(self) -> Json:
        """Orders, fills, positions and balances as plain JSON (decimals as strings): what tests compare with."""

    def book_totals(self, symbol: str) -> tuple[list[Level], list[Level]]:
        """Every visible level (external + own if visible), bids and asks, best first: what a snapshot shows."""
