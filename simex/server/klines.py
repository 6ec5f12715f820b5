"""REST bars: the contract's, and those of mark price, index price and premium."""

from collections.abc import Mapping

from simex.market.bars import Bar, BarSeries
from simex.market.intervals import INTERVALS, bucket_end
from simex.market.scale import fixed
from simex.market.series import INDEX, MARK, PREMIUM, UNITS
from simex.server import frames
from simex.server.asked import limit_of, symbol_of, times_of
from simex.server.params import text_of
from simex.server.refusals import bad_interval, invalid
from simex.server.state import SymbolState
from simex.server.world import World

Params = Mapping[str, str]
PERPETUAL = "PERPETUAL"
CONTRACT_TYPES = frozenset({PERPETUAL, "CURRENT_QUARTER", "NEXT_QUARTER", "TRADIFI_PERPETUAL"})
_MOST = 1500


def klines(world: World, params: Params) -> object:
    """GET /fapi/v1/klines."""
    return _contract(symbol_of(world, params), params)


def continuous_klines(world: World, params: Params) -> object:
    """GET /fapi/v1/continuousKlines: of the perpetual; other contracts are not listed and have no bars."""
    state = symbol_of(world, params, "pair")
    contract = text_of(params, "contractType")
    if contract not in CONTRACT_TYPES:
        raise invalid("contractType")
    rows = _contract(state, params)
    return rows if contract == PERPETUAL else []


def mark_klines(world: World, params: Params) -> object:
    """GET /fapi/v1/markPriceKlines."""
    return _prices(symbol_of(world, params).prices[MARK], params)


def index_klines(world: World, params: Params) -> object:
    """GET /fapi/v1/indexPriceKlines."""
    return _prices(symbol_of(world, params, "pair").prices[INDEX], params)


def premium_klines(world: World, params: Params) -> object:
    """GET /fapi/v1/premiumIndexKlines."""
    return _prices(symbol_of(world, params).prices[PREMIUM], params, UNITS)


def _bars(series: BarSeries, params: Params) -> list[tuple[Bar, int]]:
    """The bars asked for, each with the time at which the next one opens."""
    interval = text_of(params, "interval")
    if interval not in INTERVALS:
        raise bad_interval()
    limit = limit_of(params, 500, _MOST)
    start, end = times_of(params)
    bars = [Bar.from_row(row) for row in series.query(interval, limit, start, end)]
    return [(bar, bucket_end(interval, bar.open_ms)) for bar in bars]


def _contract(state: SymbolState, params: Params) -> list[object]:
    return [frames.rest_kline(state.scale, bar, end_ms) for bar, end_ms in _bars(state.bars, params)]


def _prices(series: BarSeries, params: Params, zero: int = 0) -> list[object]:
    """Rows of prices alone: volumes are "0", the count is that of the samples."""
    return [
        [
            bar.open_ms, fixed(bar.open - zero, 8), fixed(bar.high - zero, 8), fixed(bar.low - zero, 8),
            fixed(bar.close - zero, 8), "0", end_ms - 1, "0", bar.trades, "0", "0", "0",
        ]
        for bar, end_ms in _bars(series, params)
    ]  # fmt: skip
