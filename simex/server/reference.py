"""What the exchange tells about its indices and itself: one function per endpoint, (world, params) -> JSON body."""

import zlib
from collections.abc import Iterable, Mapping
from decimal import Decimal

from simex.server.asked import one_or_all, symbol_of
from simex.server.refusals import bad_symbol
from simex.server.state import SymbolState
from simex.server.world import World

Params = Mapping[str, str]
_UNIT = Decimal("1e-8")
_SOURCES = (  # exchange, form of its symbol, weight
    ("binance", "{base}{quote}", "0.50000000"),
    ("coinbase", "{base}-{quote}", "0.20000000"),
    ("kucoin", "{base}-{quote}", "0.10000000"),
    ("bitget", "{base}{quote}", "0.10000000"),
    ("bybit", "{base}{quote}", "0.10000000"),
)
_BUFFERS: dict[str, tuple[str, str]] = {"USDT": ("0.0001", "0.0001"), "USDC": ("0.0001", "0.0001")}
_BUFFER = ("0.05", "0.025")
_HALF_HOUR_MS = 1_800_000
_HOUR_MS = 3_600_000


def constituents(world: World, params: Params) -> object:
    """GET /fapi/v1/constituents: where the index price comes from; their weighted mean is the index."""
    state = symbol_of(world, params)
    base, quote = state.instrument.base_asset, state.instrument.quote_asset
    index = state.mark.index
    spread = index / 20_000
    away = [spread * ((zlib.crc32(name.encode()) % 7) - 3) for name, _, _ in _SOURCES[1:]]
    weights = [Decimal(weight) for _, _, weight in _SOURCES]
    away.insert(0, -sum((a * w for a, w in zip(away, weights[1:], strict=True)), Decimal(0)) / weights[0])
    rows = [
        {
            "exchange": name, "symbol": form.format(base=base, quote=quote),
            "price": f"{(index + shift).quantize(_UNIT):f}", "weight": weight,
        }
        for (name, form, weight), shift in zip(_SOURCES, away, strict=True)
    ]  # fmt: skip
    return {"symbol": state.symbol, "time": state.mark.time_ms, "constituents": rows}


def asset_indices(world: World) -> Iterable[tuple[str, Decimal, str, str]]:
    """Index of each asset that can be margin, in USD: (symbol, price, buffer, buffer of the automatic exchange)."""
    yield ("USDTUSD", Decimal(1), *_BUFFERS["USDT"])
    for state in world.symbols.values():
        if state.instrument.quote_asset == "USDT" and state.mark.index > 0:
            yield (f"{state.instrument.base_asset}USD", state.mark.index, *_BUFFER)


def asset_index(world: World, params: Params) -> object:
    """GET /fapi/v1/assetIndex."""
    now = world.clock.now_ms()
    rows = {
        name: {
            "symbol": name, "time": now, "index": f"{price:.8f}", "bidBuffer": f"{Decimal(buffer):.8f}",
            "askBuffer": f"{Decimal(buffer):.8f}", "bidRate": f"{price * (1 - Decimal(buffer)):.8f}",
            "askRate": f"{price * (1 + Decimal(buffer)):.8f}", "autoExchangeBidBuffer": f"{Decimal(auto):.8f}",
            "autoExchangeAskBuffer": f"{Decimal(auto):.8f}",
            "autoExchangeBidRate": f"{price * (1 - Decimal(auto)):.8f}",
            "autoExchangeAskRate": f"{price * (1 + Decimal(auto)):.8f}",
        }
        for name, price, buffer, auto in asset_indices(world)
    }  # fmt: skip
    if "symbol" not in params:
        return list(rows.values())
    if params["symbol"] not in rows:
        raise bad_symbol()
    return rows[params["symbol"]]


def index_info(world: World, params: Params) -> object:
    """GET /fapi/v1/indexInfo: no composite index is listed."""
    if "symbol" in params:
        raise bad_symbol()
    return []


def insurance_balance(world: World, params: Params) -> object:
    """GET /fapi/v1/insuranceBalance: one fund for all symbols."""
    now = world.clock.now_ms()
    fund = {
        "symbols": list(world.symbols),
        "assets": [
            {"asset": asset, "marginBalance": f"{held:.8f}", "updateTime": now - now % _HALF_HOUR_MS}
            for asset, held in world.exchange.insurance_fund().items()
        ],
    }
    if "symbol" not in params:
        return [fund]
    symbol_of(world, params)
    return fund


def adl_risk(world: World, params: Params) -> object:
    """GET /fapi/v1/symbolAdlRisk: low, as of the last half hour."""
    now = world.clock.now_ms()

    def row(state: SymbolState) -> object:
        return {"symbol": state.symbol, "adlRisk": "low", "updateTime": now - now % _HALF_HOUR_MS}

    return one_or_all(world, params, row)


def trading_schedule(world: World, _params: Params) -> object:
    """GET /fapi/v1/tradingSchedule: a week of sessions; no stock or commodity contract is listed that follows them."""
    now = world.clock.now_ms()
    day = now - now % (24 * _HOUR_MS)
    hours = (("OVERNIGHT", 1, 9), ("PRE_MARKET", 9, 14), ("REGULAR", 14, 21), ("AFTER_MARKET", 21, 25))
    sessions = [
        {"startTime": start, "endTime": at + end * _HOUR_MS, "type": kind if _is_weekday(start) else "NO_TRADING"}
        for at in (day + number * 24 * _HOUR_MS for number in range(7))
        for kind, begin, end in hours
        if (start := at + begin * _HOUR_MS)
    ]
    return {"updateTime": now, "marketSchedules": {"EQUITY": {"sessions": sessions}}}


def _is_weekday(at_ms: int) -> bool:
    return (at_ms // (24 * _HOUR_MS) + 3) % 7 < 5  # 1970-01-01 was a Thursday
