"""May this order enter? Every check that needs the account's money, its position or the book. Nothing changes here."""

from __future__ import annotations

from decimal import Decimal

from simex.core.account import Account, Position
from simex.core.api import Side
from simex.core.book import opposite
from simex.core.errors import Refusal
from simex.core.instrument import Instrument
from simex.core.margin import extra_initial_margin, needed_notional, order_notional
from simex.core.market import Market, State
from simex.core.matching import available_lots, would_take
from simex.core.orders import PRICE_MATCHES, OrderRequest, check_notional, check_price
from simex.core.rules import Rules
from simex.core.valuation import valuation


def admit(state: State, account: Account, request: OrderRequest, rules: Rules) -> int:
    """Raises the exchange's Refusal, or returns the limit price in ticks (0 for MARKET)."""
    market = state.markets[request.instrument.symbol]
    if request.client_id is not None and request.client_id in account.open_client_ids:
        raise Refusal(-4116)
    price_ticks = request.price_ticks
    if request.price_match != "NONE":
        price_ticks = matched_price(market, request.side, request.price_match, state.own_visible)
        check_notional(request, request.instrument.price(price_ticks))
    if request.instrument.status != "TRADING":
        raise Refusal(-4141 if request.reduce_only else -4140)
    if request.origin is None and _count_open(account, request.instrument.symbol) >= request.instrument.max_orders:
        raise Refusal(-2025)
    if request.reduce_only:
        _check_reduce_only(account, request, price_ticks, rules)
    else:
        _check_money(state, account, market, request, price_ticks)
    _check_engine(market, request, price_ticks)
    return price_ticks


def _count_open(account: Account, symbol: str) -> int:
    """Open orders of a symbol as MAX_NUM_ORDERS counts them: conditional ones that wait are among them."""
    return len(account.open_orders.get(symbol, ())) + len(account.algos.on(symbol))


def reducible_lots(position: Position, side: Side, instrument: Instrument) -> int:
    """Lots that an order of this side could take off the position."""
    amount = position.amount if side == "SELL" else -position.amount
    return instrument.lots(amount) if amount > 0 else 0


def reduce_priority(side: Side, is_market: bool, price_ticks: int) -> tuple[int, int]:
    """Rank among reduce-only orders of one leg, smallest first: MARKET, then the price nearest to trading."""
    return (0, 0) if is_market else (1, price_ticks if side == "SELL" else -price_ticks)


def _check_engine(market: Market, request: OrderRequest, price_ticks: int) -> None:
    """Refusals judged at the matching engine; they cost an order slot."""
    if request.type == "MARKET":
        _check_market_price(market, request)
    elif request.tif == "GTX" and would_take(market.book, request.side, price_ticks):
        raise Refusal(-5022, order_count=1)
    elif request.tif == "FOK":
        found = available_lots(market.book, request.side, price_ticks, request.qty_lots)
        if found < request.qty_lots:
            raise Refusal(-5021, order_count=1)


def matched_price(market: Market, side: Side, price_match: str, own_visible: bool) -> int:
    """Price of a priceMatch order in ticks: the nth visible level of its own (QUEUE) or the other side (OPPONENT)."""
    own_side, depth = price_match.startswith("QUEUE"), PRICE_MATCHES[price_match]
    levels = market.book.side(side if own_side else opposite(side)).totals(own_visible)
    if len(levels) < depth:
        raise Refusal(-5041)
    price = market.instrument.price(levels[depth - 1][0])
    return check_price(price, market.instrument, side, market.band_mark)


def _check_reduce_only(account: Account, request: OrderRequest, price_ticks: int, rules: Rules) -> None:
    """There must be a position to reduce, not yet claimed by resting reduce-only orders of higher priority."""
    instrument = request.instrument
    position = account.position(instrument.symbol, request.position_side)
    held = reducible_lots(position, request.side, instrument)
    if not held or (request.position_side != "BOTH" and request.qty_lots > held):
        raise Refusal(-2022)
    rank = reduce_priority(request.side, request.type == "MARKET", price_ticks)
    before = sum(
        order.left_lots
        for order in account.orders_on(instrument.symbol)
        if order.reduce_only
        and order.position_side == request.position_side
        and reduce_priority(order.side, False, order.price_ticks) <= rank
    )
    if before >= held:
        raise Refusal(rules.reduce_only_conflict)


def _check_money(state: State, account: Account, market: Market, request: OrderRequest, price_ticks: int) -> None:
    """Free margin (-2019) and the largest notional at the chosen leverage (-2027)."""
    instrument, leg = request.instrument, request.position_side
    qty = instrument.qty(request.qty_lots)
    mark = market.mark
    price = instrument.price(price_ticks) if request.type == "LIMIT" else _market_price(market, request.side)
    extra = extra_initial_margin(account, instrument, leg, request.side, qty, price, mark)
    if not extra:
        return
    if extra > valuation(account, state).available(instrument.quote_asset):
        raise Refusal(-2019)
    bids, asks = order_notional(account.orders_on(instrument.symbol), leg)
    bids, asks = (bids + qty * price, asks) if request.side == "BUY" else (bids, asks + qty * price)
    signed = account.position(instrument.symbol, leg).amount * mark
    check_notional_cap(account, instrument, needed_notional(signed, bids, asks))


def check_notional_cap(account: Account, instrument: Instrument, notional: Decimal) -> None:
    """-2027: the leg could grow beyond what the chosen leverage allows."""
    if notional > instrument.max_notional_at(account.config(instrument).leverage):
        raise Refusal(-2027)


def _market_price(market: Market, side: Side) -> Decimal:
    """What a MARKET order is valued at for margin: the higher of mark and best opposite price."""
    best = market.book.side(opposite(side)).best()
    return market.mark if best is None else max(market.mark, market.instrument.price(best))


def _check_market_price(market: Market, request: OrderRequest) -> None:
    """PERCENT_PRICE for MARKET: the best opposite price must lie inside the band."""
    best = market.book.side(opposite(request.side)).best()
    mark = market.band_mark
    if best is None or mark is None:
        return
    price, instrument = market.instrument.price(best), market.instrument
    too_high = request.side == "BUY" and price > mark * instrument.multiplier_up
    too_low = request.side == "SELL" and price < mark * instrument.multiplier_down
    if too_high or too_low:
        raise Refusal(-4131, order_count=1)
