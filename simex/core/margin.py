"""Valuation and margin of an account: what positions and resting orders bind, what is still available.

Single-asset mode: each quote asset is its own pot. Initial margin of a position = |amount| * mark / leverage; orders
bind what the worse side of the book would add to it. Reduce-only orders bind nothing. Values are checked against the
worked example of section 13.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal

from simex.core.account import ZERO, Account, Position
from simex.core.instrument import Instrument
from simex.core.order import Order, PositionSide

MarkOf = Callable[[str], Decimal]


@dataclass(frozen=True, slots=True)
class LegMargin:
    """One leg, valued at mark. Notionals are positive, `notional` signed."""

    position: Position
    mark: Decimal
    notional: Decimal
    unrealised: Decimal
    position_initial: Decimal
    order_initial: Decimal
    maintenance: Decimal
    bid_notional: Decimal
    ask_notional: Decimal
    isolated: bool

    @property
    def initial(self) -> Decimal:
        return self.position_initial + self.order_initial

    @property
    def isolated_margin(self) -> Decimal:
        return self.position.isolated_wallet + self.unrealised if self.isolated else ZERO


@dataclass(frozen=True, slots=True)
class AssetMargin:
    """All legs margined in one asset, summed."""

    asset: str
    cross_wallet: Decimal
    wallet: Decimal
    unrealised: Decimal
    cross_unrealised: Decimal
    position_initial: Decimal
    order_initial: Decimal
    maintenance: Decimal
    free: Decimal
    """Cross wallet and cross profit less what is bound; negative when more is bound than there is."""
    update_ms: int

    @property
    def available(self) -> Decimal:
        return max(ZERO, self.free)

    @property
    def margin_balance(self) -> Decimal:
        return self.wallet + self.unrealised

    @property
    def max_withdraw(self) -> Decimal:
        return max(ZERO, min(self.available, self.cross_wallet))


def order_notional(orders: Iterable[Order], leg: PositionSide) -> tuple[Decimal, Decimal]:
    """What resting orders of one symbol's leg would buy and sell, at their prices; reduce-only ones bind nothing."""
    bids = asks = 0
    unit = ZERO
    for order in orders:
        if order.position_side != leg or order.reduce_only:
            continue
        unit = order.instrument.tick_size * order.instrument.step_size
        if order.side == "BUY":
            bids += order.price_ticks * order.left_lots
        else:
            asks += order.price_ticks * order.left_lots
    return unit * bids, unit * asks


def needed_notional(signed: Decimal, bids: Decimal, asks: Decimal) -> Decimal:
    """Largest exposure the position can reach by filling one side of its orders."""
    return max(abs(signed + bids), abs(signed - asks), abs(signed))


def leg_margin(account: Account, instrument: Instrument, position: Position, mark: Decimal) -> LegMargin:
    config = account.config(instrument)
    notional = position.amount * mark
    bids, asks = order_notional(account.orders_on(position.symbol), position.side)
    bracket = instrument.bracket_of(abs(notional))
    leverage = Decimal(config.leverage)
    return LegMargin(
        position=position,
        mark=mark,
        notional=notional,
        unrealised=position.unrealised(mark),
        position_initial=abs(notional) / leverage,
        order_initial=(needed_notional(notional, bids, asks) - abs(notional)) / leverage,
        maintenance=abs(notional) * bracket.maintenance_rate - (bracket.cum if notional else ZERO),
        bid_notional=bids,
        ask_notional=asks,
        isolated=config.isolated,
    )


def all_legs(account: Account, instruments: dict[str, Instrument], mark_of: MarkOf) -> list[LegMargin]:
    """Every leg that has a position or open orders, in the order of first use."""
    busy = {(order.symbol, order.position_side) for order in account.all_open()}
    for symbol, side in sorted(busy - account.positions.keys()):
        account.position(symbol, side)
    return [
        leg_margin(account, instruments[symbol], position, mark_of(symbol))
        for (symbol, side), position in account.positions.items()
        if position.amount or (symbol, side) in busy
    ]


def asset_margin(
    account: Account, asset: str, instruments: dict[str, Instrument], legs: Iterable[LegMargin]
) -> AssetMargin:
    own = [leg for leg in legs if instruments[leg.position.symbol].quote_asset == asset]
    cross = [leg for leg in own if not leg.isolated]
    cross_wallet = account.cross_wallet.get(asset, ZERO)
    cross_unrealised = sum((leg.unrealised for leg in cross), ZERO)
    order_initial = sum((leg.order_initial for leg in own), ZERO)
    bound = sum((leg.position_initial for leg in cross), ZERO) + order_initial
    return AssetMargin(
        asset=asset,
        cross_wallet=cross_wallet,
        wallet=account.wallet(asset, instruments),
        unrealised=sum((leg.unrealised for leg in own), ZERO),
        cross_unrealised=cross_unrealised,
        position_initial=sum((leg.position_initial for leg in own), ZERO),
        order_initial=order_initial,
        maintenance=sum((leg.maintenance for leg in own), ZERO),
        free=cross_wallet + cross_unrealised - bound,
        update_ms=account.balance_update_ms.get(asset, 0),
    )


def extra_initial_margin(
    account: Account, instrument: Instrument, leg: PositionSide, side: str, qty: Decimal, price: Decimal, mark: Decimal
) -> Decimal:
    """What a new order would bind on top: margin of the exposure it adds, and its loss at once if priced past mark."""
    position = account.position(instrument.symbol, leg)
    bids, asks = order_notional(account.orders_on(instrument.symbol), leg)
    signed = position.amount * mark
    before = needed_notional(signed, bids, asks)
    if side == "BUY":
        bids += qty * price
    else:
        asks += qty * price
    added = needed_notional(signed, bids, asks) - before
    if not added:
        return ZERO
    open_loss = qty * (price - mark if side == "BUY" else mark - price)
    return added / account.config(instrument).leverage + max(ZERO, open_loss)


def liquidation_price(leg: LegMargin, instrument: Instrument, cover: Decimal) -> Decimal:
    """Mark price at which `cover` and the leg's profit equal its maintenance margin; 0 where below zero or flat.

    The bracket is that of the notional at the price found: a position that loses its way to a liquidation price far
    off passes from one bracket into the next.
    """
    position = leg.position
    if not position.amount:
        return ZERO
    sign, size = (1 if position.amount > 0 else -1), abs(position.amount)
    bracket, price = instrument.bracket_of(abs(leg.notional)), ZERO
    for _ in instrument.brackets:
        price = (cover + bracket.cum - sign * position.cost) / (size * (bracket.maintenance_rate - sign))
        at_price = instrument.bracket_of(size * max(ZERO, price))
        if at_price == bracket:
            break
        bracket = at_price
    return max(ZERO, price)


def bankruptcy_price(position: Position, cover: Decimal) -> Decimal:
    """The price at which the leg's loss has used up `cover`; never below zero."""
    sign = 1 if position.amount > 0 else -1
    return max(ZERO, (position.cost - sign * cover) / abs(position.amount))
