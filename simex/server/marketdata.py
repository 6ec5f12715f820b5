"""REST market data: one function per endpoint, (world, params) -> JSON body. Refusals are raised."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping

import orjson

from simex.core.instrument import USUAL_FUNDING_HOURS
from simex.market.intervals import HOUR_MS
from simex.market.scale import fixed
from simex.payloads.instrument import symbol_info
from simex.server import frames
from simex.server.asked import limit_of, one_or_all, symbol_of, times_of
from simex.server.frames import AggTrade
from simex.server.limits import LimitSettings
from simex.server.params import optional_whole, whole
from simex.server.refusals import Refused
from simex.server.state import SymbolState
from simex.server.world import World

Params = Mapping[str, str]
DEPTH_LIMITS = (5, 10, 20, 50, 100, 500, 1000)


def ping(_world: World, _params: Params) -> object:
    """GET /fapi/v1/ping."""
    return {}


def server_time(world: World, _params: Params) -> object:
    """GET /fapi/v1/time."""
    return {"serverTime": world.clock.now_ms()}


def exchange_info(world: World, limits: LimitSettings) -> object:
    """GET /fapi/v1/exchangeInfo, with the limits that are really enforced."""
    return {
        "timezone": "UTC",
        "serverTime": world.clock.now_ms(),
        "futuresType": "U_MARGINED",
        "rateLimits": rate_limits(limits),
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": [symbol_info(state.instrument) for state in world.symbols.values()],
    }


def rate_limits(limits: LimitSettings) -> list[dict[str, object]]:
    """exchangeInfo.rateLimits."""
    rows = (
        ("REQUEST_WEIGHT", "MINUTE", 1, limits.weight_1m),
        ("ORDERS", "MINUTE", 1, limits.orders_1m),
        ("ORDERS", "SECOND", 10, limits.orders_10s),
    )
    return [
        {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}
        for kind, interval, number, limit in rows
    ]


def depth_limit(params: Params) -> int:
    """`limit` of the depth endpoint. Raises Refused -4021."""
    limit = whole(params, "limit", 500)
    if limit not in DEPTH_LIMITS:
        raise Refused(400, -4021, f"{limit} is not valid depth limit.")
    return limit


def rpi_depth_limit(params: Params) -> int:
    """`limit` of the depth endpoint with RPI orders: 1000 and no other. Raises Refused -4021."""
    limit = whole(params, "limit", 1000)
    if limit != 1000:
        raise Refused(400, -4021, f"{limit} is not valid depth limit.")
    return limit


def depth_body(
    state: SymbolState, now_ms: int, update_id: int, bids: list[tuple[int, int]], asks: list[tuple[int, int]]
) -> object:
    """GET /fapi/v1/depth."""
    scale = state.scale
    return {
        "lastUpdateId": update_id,
        "E": now_ms,
        "T": state.book.time_ms,
        "bids": [[scale.price(price), scale.qty(lots)] for price, lots in bids],
        "asks": [[scale.price(price), scale.qty(lots)] for price, lots in asks],
    }


def trades(world: World, params: Params) -> object:
    """GET /fapi/v1/trades: the latest."""
    state = symbol_of(world, params)
    return _trades(state, list(state.trades)[-limit_of(params, 500, 1000) :])


def historical_trades(world: World, params: Params) -> object:
    """GET /fapi/v1/historicalTrades: from an id on, or the latest; what happened since the start, at most the tape."""
    state = symbol_of(world, params)
    limit, from_id = limit_of(params, 100, 500), optional_whole(params, "fromId")
    if from_id is None:
        return _trades(state, list(state.trades)[-limit:])
    rows = list(state.trades)
    begin = bisect_left(rows, from_id, key=lambda item: item.last_id)
    return _trades(state, rows[begin : begin + limit])


def _trades(state: SymbolState, rows: list[AggTrade]) -> list[object]:
    scale = state.scale
    return [
        {
            "id": item.last_id, "price": scale.price(item.price), "qty": scale.qty(item.lots),
            "quoteQty": scale.quote(item.price * item.lots), "time": item.time_ms,
            "isBuyerMaker": item.buyer_is_maker, "isRPITrade": False,
        }
        for item in rows
    ]  # fmt: skip


def agg_trades(world: World, params: Params) -> object:
    """GET /fapi/v1/aggTrades: by `fromId`, or by times, or the latest."""
    state = symbol_of(world, params)
    limit = limit_of(params, 500, 1000)
    from_id = optional_whole(params, "fromId")
    start, end = times_of(params)
    if from_id is not None and (start is not None or end is not None):
        raise Refused(400, -1128, "Combination of optional parameters invalid.")
    if start is not None and end is not None and end - start > HOUR_MS:
        raise Refused(400, -4166, "Search window is restricted to recent 1 hours.")
    rows: list[AggTrade] = list(state.agg_trades)
    if from_id is not None:
        rows = rows[bisect_left(rows, from_id, key=lambda item: item.agg_id) :]
    if start is not None:
        rows = rows[bisect_left(rows, start, key=lambda item: item.time_ms) :]
    if end is not None:
        rows = rows[: bisect_right(rows, end, key=lambda item: item.time_ms)]
    rows = rows[:limit] if from_id is not None or start is not None else rows[-limit:]
    scale = state.scale
    return [
        {
            "a": item.agg_id, "p": scale.price(item.price), "q": scale.qty(item.lots), "nq": scale.qty(item.lots),
            "f": item.first_id, "l": item.last_id, "T": item.time_ms, "m": item.buyer_is_maker,
        }
        for item in rows
    ]  # fmt: skip


def premium_index(world: World, params: Params) -> object:
    """GET /fapi/v1/premiumIndex."""

    def row(state: SymbolState) -> object:
        mark = state.mark
        return {
            "symbol": state.symbol, "markPrice": f"{mark.mark:.8f}", "indexPrice": f"{mark.index:.8f}",
            "estimatedSettlePrice": f"{mark.index:.8f}", "lastFundingRate": f"{mark.rate:.8f}",
            "interestRate": "0.00010000", "nextFundingTime": mark.next_funding_ms, "time": mark.time_ms,
        }  # fmt: skip

    return one_or_all(world, params, row)


def funding_rate(world: World, params: Params) -> object:
    """GET /fapi/v1/fundingRate, ascending; without times the latest."""
    limit = limit_of(params, 100, 1000)
    start, end = times_of(params)
    states = [symbol_of(world, params)] if "symbol" in params else list(world.symbols.values())
    rows = sorted(
        (point.time_ms, state.symbol, point, state)
        for state in states
        for point in state.funding()
        if (start is None or point.time_ms >= start) and (end is None or point.time_ms <= end)
    )
    rows = rows[:limit] if start is not None else rows[-limit:]
    return [
        {
            "symbol": symbol, "fundingRate": fixed(point.rate_e8, 8), "fundingTime": at,
            "markPrice": f"{state.price(point.mark_ticks):.8f}", "rateType": "Regular",
        }
        for at, symbol, point, state in rows
    ]  # fmt: skip


def funding_info(world: World, _params: Params) -> object:
    """GET /fapi/v1/fundingInfo: only the symbols whose interval is not the usual one of eight hours."""
    return [
        {
            "symbol": symbol,
            "adjustedFundingRateCap": "0.02000000",
            "adjustedFundingRateFloor": "-0.02000000",
            "fundingIntervalHours": state.instrument.funding_hours,
            "disclaimer": False,
        }
        for symbol, state in world.symbols.items()
        if state.instrument.funding_hours != USUAL_FUNDING_HOURS
    ]


def ticker_24h(world: World, params: Params) -> object:
    """GET /fapi/v1/ticker/24hr."""
    now = world.clock.now_ms()

    def row(state: SymbolState) -> object:
        state_day = state.bars.last_day()
        return frames.rest_ticker(state.symbol, state.scale, now, state_day, state.bars.last_lots)

    return one_or_all(world, params, row)


def ticker_price(world: World, params: Params) -> object:
    """GET /fapi/v1/ticker/price and v2."""

    def row(state: SymbolState) -> object:
        at = state.trades[-1].time_ms if state.trades else state.book.time_ms
        return {"symbol": state.symbol, "price": state.scale.price(state.bars.last_price), "time": at}

    return one_or_all(world, params, row)


def ticker_book(world: World, params: Params) -> object:
    """GET /fapi/v1/ticker/bookTicker."""

    def row(state: SymbolState) -> object:
        (bid, bid_lots), (ask, ask_lots) = state.book.best()
        scale = state.scale
        return {
            "symbol": state.symbol, "bidPrice": scale.price(bid), "bidQty": scale.qty(bid_lots),
            "askPrice": scale.price(ask), "askQty": scale.qty(ask_lots), "time": state.book.time_ms,
            "lastUpdateId": state.book.last_id,
        }  # fmt: skip

    return one_or_all(world, params, row)


def dump(body: object) -> bytes:
    """A JSON body."""
    return orjson.dumps(body)
