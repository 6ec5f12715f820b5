"""May this amendment enter? What a new price and total of a resting order need, checked before anything changes."""

from __future__ import annotations

from dataclasses import dataclass

from simex.core.account import ZERO, Account
from simex.core.admission import check_notional_cap, matched_price, reducible_lots
from simex.core.errors import Refusal, amended_notional
from simex.core.margin import all_legs, asset_margin, needed_notional, order_notional
from simex.core.market import Market, State
from simex.core.order import Order


@dataclass(frozen=True, slots=True)
class AmendRequest:
    """New values of a resting order that passed the filters."""

    order: Order
    price_ticks: int
    """0 where a price match is still to look at the book."""
    price_match: str
    qty_lots: int
    """The new total."""
    modify_id: int | None


def admit_amendment(state: State, account: Account, request: AmendRequest) -> int:
    """Raises the exchange's Refusal, or returns the new price in ticks."""
    order = request.order
    market = state.markets[order.symbol]
    price_ticks = request.price_ticks
    if request.price_match != "NONE":
        price_ticks = matched_price(market, order.side, request.price_match, state.own_visible)
    if market.instrument.status != "TRADING":
        raise Refusal(-5024)
    if len(order.amendments) >= market.instrument.max_amendments:
        raise Refusal(-5026)
    if (price_ticks, request.qty_lots) == (order.price_ticks, order.qty_lots):
        raise Refusal(-5027)
    if order.reduce_only:
        _check_leg(account, request)
    else:
        notional = market.instrument.price(price_ticks) * market.instrument.qty(request.qty_lots)
        if notional < market.instrument.min_notional:
            raise amended_notional(market.instrument.min_notional)
        _check_money(state, account, market, request, price_ticks)
    return price_ticks


def _check_leg(account: Account, request: AmendRequest) -> None:
    """In hedge mode an order that closes never asks for more than its leg holds."""
    order = request.order
    position = account.position(order.symbol, order.position_side)
    left = request.qty_lots - order.filled_lots
    if order.position_side != "BOTH" and left > reducible_lots(position, order.side, order.instrument):
        raise Refusal(-2022)


def _check_money(state: State, account: Account, market: Market, request: AmendRequest, price_ticks: int) -> None:
    """What the order binds more than before must be free (-2019), its leg within what the leverage allows (-2027)."""
    order, instrument = request.order, market.instrument
    left = instrument.qty(max(0, request.qty_lots - order.filled_lots))
    price = instrument.price(price_ticks)
    bids, asks = order_notional(account.orders_on(order.symbol), order.position_side)
    signed = account.position(order.symbol, order.position_side).amount * market.mark
    before = needed_notional(signed, bids, asks)
    change = left * price - order.price * instrument.qty(order.left_lots)
    bids, asks = (bids + change, asks) if order.side == "BUY" else (bids, asks + change)
    after = needed_notional(signed, bids, asks)
    if after <= before:
        return
    legs = all_legs(account, state.instruments, state.mark_of)
    free = asset_margin(account, instrument.quote_asset, state.instruments, legs).available
    open_loss = left * (price - market.mark if order.side == "BUY" else market.mark - price)
    if (after - before) / account.config(instrument).leverage + max(ZERO, open_loss) > free:
        raise Refusal(-2019)
    check_notional_cap(account, instrument, after)
