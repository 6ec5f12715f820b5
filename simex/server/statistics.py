"""Open interest and the statistics under /futures/data: one function per endpoint, (world, params) -> JSON body.

Taker volumes, open interest and basis are what happened here. The ratios of accounts are made up, plausibly: they lean
against the move of their period, and the same period always shows the same figure.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from random import Random

from simex.market.bars import Bar
from simex.market.intervals import DAY_MS
from simex.market.scale import fixed
from simex.market.series import INDEX
from simex.server.asked import limit_of, symbol_of, times_of
from simex.server.klines import CONTRACT_TYPES, PERPETUAL
from simex.server.params import text_of
from simex.server.refusals import Refused, invalid
from simex.server.state import SymbolState
from simex.server.world import World

Params = Mapping[str, str]
PERIODS = ("5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d")
_KEPT_MS = 30 * DAY_MS


def open_interest(world: World, params: Params) -> object:
    """GET /fapi/v1/openInterest."""
    state, now = symbol_of(world, params), world.clock.now_ms()
    return {"openInterest": state.scale.qty(state.interest.now(now)), "symbol": state.symbol, "time": now}


def open_interest_hist(world: World, params: Params) -> object:
    """GET /futures/data/openInterestHist."""
    state = symbol_of(world, params)

    def row(bar: Bar) -> object:
        lots = state.interest.at(bar.open_ms)
        qty, value = state.scale.qty(lots), state.scale.quote(lots * bar.open)
        return {
            "symbol": state.symbol, "sumOpenInterest": _padded(qty, 8), "sumOpenInterestValue": _padded(value, 8),
            "CMCCirculatingSupply": "0", "timestamp": bar.open_ms,
        }  # fmt: skip

    return [row(bar) for bar in _periods(world, state, params)]


def account_ratio(kind: str) -> Callable[[World, Params], object]:
    """GET /futures/data/{topLongShortAccountRatio, topLongShortPositionRatio, globalLongShortAccountRatio}."""

    def answer(world: World, params: Params) -> object:
        state = symbol_of(world, params)
        return [_ratio(state.symbol, kind, bar) for bar in _periods(world, state, params)]

    return answer


def taker_ratio(world: World, params: Params) -> object:
    """GET /futures/data/takerlongshortRatio."""
    state = symbol_of(world, params)

    def row(bar: Bar) -> object:
        bought, sold = bar.taker_volume, bar.volume - bar.taker_volume
        return {
            "buySellRatio": f"{bought / sold if sold else 0:.4f}", "buyVol": _padded(state.scale.qty(bought), 4),
            "sellVol": _padded(state.scale.qty(sold), 4), "timestamp": bar.open_ms,
        }  # fmt: skip

    return [row(bar) for bar in _periods(world, state, params)]


def basis(world: World, params: Params) -> object:
    """GET /futures/data/basis: of the perpetual; other contracts are not listed."""
    state = symbol_of(world, params, "pair")
    contract = text_of(params, "contractType")
    if contract not in CONTRACT_TYPES:
        raise invalid("contractType")
    bars = list(_periods(world, state, params))
    if contract != PERPETUAL or not bars:
        return []
    period = text_of(params, "period")
    rows = state.prices[INDEX].query(period, len(bars) + 1, bars[0].open_ms, None)
    indices = {int(row[0]): int(row[4]) for row in rows}
    tick = int(state.instrument.tick_size * 10**8)

    def row(bar: Bar) -> object:
        futures = bar.close * tick
        index = indices.get(bar.open_ms, futures)
        return {
            "indexPrice": fixed(index, 8), "contractType": PERPETUAL,
            "basisRate": fixed(round((futures - index) * 10_000 / index), 4),
            "futuresPrice": state.scale.price(bar.close), "annualizedBasisRate": "",
            "basis": fixed(futures - index, 8), "pair": state.symbol, "timestamp": bar.open_ms,
        }  # fmt: skip

    return [row(bar) for bar in bars]


def delivery_price(world: World, params: Params) -> object:
    """GET /futures/data/delivery-price: perpetuals deliver nothing."""
    symbol_of(world, params, "pair")
    return []


def _periods(world: World, state: SymbolState, params: Params) -> Iterator[Bar]:
    """The contract's bars of the periods asked for; a month back, the running one not yet."""
    period = text_of(params, "period")
    if period not in PERIODS:
        raise invalid("period")
    limit = limit_of(params, 30, 500)
    start, end = times_of(params)
    now = world.clock.now_ms()
    if start is not None and start < now - _KEPT_MS:
        raise Refused(400, -1130, "parameter 'startTime' is invalid.")
    rows = state.bars.query(period, limit + 1, start, end)
    bars = [Bar.from_row(row) for row in rows if row[0] >= now - _KEPT_MS]
    if bars and bars[-1].open_ms == int(state.bars.query(period, 1)[-1][0]):
        bars.pop()
    return iter(bars[:limit] if start is not None else bars[-limit:])


def _ratio(symbol: str, kind: str, bar: Bar) -> object:
    usual = 0.5 + 0.1 * Random(f"{symbol}/{kind}").random()
    noise = Random(f"{symbol}/{kind}/{bar.open_ms}").gauss(0.0, 0.004)
    against = -0.05 * math.tanh(80 * (bar.close / bar.open - 1))
    units = round(10_000 * min(0.95, max(0.05, usual + noise + against)))
    return {
        "symbol": symbol, "longShortRatio": f"{units / (10_000 - units):.4f}", "longAccount": fixed(units, 4),
        "shortAccount": fixed(10_000 - units, 4), "timestamp": bar.open_ms,
    }  # fmt: skip


def _padded(text: str, decimals: int) -> str:
    """A decimal text with at least so many decimals."""
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(decimals, '0')}"
