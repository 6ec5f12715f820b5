"""The REST routing table: path, method, what it costs, who may ask, who answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from simex.server import klines, marketdata, reference, statistics
from simex.server.world import World

Params = Mapping[str, str]
NONE, KEY, SIGNED = "NONE", "KEY", "SIGNED"
"""Security: nothing, the API key header, the header and a signature."""
MarketHandler = Callable[[World, Params], object]


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint. Without a `handler` the core answers (SIGNED), or the server itself (by path)."""

    security: str
    weight: Callable[[Params], int]
    handler: MarketHandler | None = None
    pool: str = "weight"
    orders: bool = False
    """Counts to the ORDERS pools."""


def _flat(weight: int) -> Callable[[Params], int]:
    return lambda _params: weight


def _by_symbol(one: int, every: int) -> Callable[[Params], int]:
    return lambda params: one if "symbol" in params else every


def _number(params: Params, default: int) -> int:
    text = params.get("limit", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else default


def depth_weight(params: Params) -> int:
    """2 to 20, by limit."""
    limit = _number(params, 500)
    return 2 if limit <= 50 else 5 if limit <= 100 else 10 if limit <= 500 else 20


def kline_weight(params: Params) -> int:
    """1 to 10, by limit."""
    limit = _number(params, 500)
    return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10


def _market(
    weight: Callable[[Params], int], handler: MarketHandler, pool: str = "weight", security: str = NONE
) -> Route:
    return Route(security, weight, handler, pool)


def _core(weight: int | Callable[[Params], int], *, orders: bool = False) -> Route:
    return Route(SIGNED, _flat(weight) if isinstance(weight, int) else weight, orders=orders)


_F1, _F2, _F3, _DATA = "/fapi/v1", "/fapi/v2", "/fapi/v3", "/futures/data"
_LISTEN_KEY = Route(KEY, _flat(1))
LISTEN_KEY_PATH = f"{_F1}/listenKey"
DEPTH_PATH = f"{_F1}/depth"
RPI_DEPTH_PATH = f"{_F1}/rpiDepth"
INFO_PATH = f"{_F1}/exchangeInfo"
OWN_PATHS = frozenset({f"{_F1}/ping", f"{_F1}/time"})
"""Public, and yet answered by a relay itself."""

ROUTES: dict[tuple[str, str], Route] = {
    ("GET", f"{_F1}/ping"): _market(_flat(1), marketdata.ping),
    ("GET", f"{_F1}/time"): _market(_flat(1), marketdata.server_time),
    ("GET", INFO_PATH): Route(NONE, _flat(1)),
    ("GET", DEPTH_PATH): Route(NONE, depth_weight),
    ("GET", RPI_DEPTH_PATH): Route(NONE, _flat(20)),
    ("GET", f"{_F1}/trades"): _market(_flat(5), marketdata.trades),
    ("GET", f"{_F1}/historicalTrades"): _market(_flat(200), marketdata.historical_trades, security=KEY),
    ("GET", f"{_F1}/aggTrades"): _market(_flat(20), marketdata.agg_trades),
    ("GET", f"{_F1}/klines"): _market(kline_weight, klines.klines),
    ("GET", f"{_F1}/continuousKlines"): _market(kline_weight, klines.continuous_klines),
    ("GET", f"{_F1}/indexPriceKlines"): _market(kline_weight, klines.index_klines),
    ("GET", f"{_F1}/markPriceKlines"): _market(kline_weight, klines.mark_klines),
    ("GET", f"{_F1}/premiumIndexKlines"): _market(kline_weight, klines.premium_klines),
    ("GET", f"{_F1}/premiumIndex"): _market(_by_symbol(1, 10), marketdata.premium_index),
    ("GET", f"{_F1}/fundingRate"): _market(_flat(1), marketdata.funding_rate, "funding"),
    ("GET", f"{_F1}/fundingInfo"): _market(_flat(1), marketdata.funding_info, "funding"),
    ("GET", f"{_F1}/ticker/24hr"): _market(_by_symbol(1, 40), marketdata.ticker_24h),
    ("GET", f"{_F1}/ticker/price"): _market(_by_symbol(1, 2), marketdata.ticker_price),
    ("GET", f"{_F2}/ticker/price"): _market(_by_symbol(1, 2), marketdata.ticker_price),
    ("GET", f"{_F1}/ticker/bookTicker"): _market(_by_symbol(2, 5), marketdata.ticker_book),
    ("GET", f"{_F1}/openInterest"): _market(_flat(1), statistics.open_interest),
    ("GET", f"{_F1}/constituents"): _market(_flat(2), reference.constituents),
    ("GET", f"{_F1}/assetIndex"): _market(_by_symbol(1, 10), reference.asset_index),
    ("GET", f"{_F1}/indexInfo"): _market(_flat(1), reference.index_info),
    ("GET", f"{_F1}/insuranceBalance"): _market(_flat(1), reference.insurance_balance),
    ("GET", f"{_F1}/symbolAdlRisk"): _market(_flat(1), reference.adl_risk),
    ("GET", f"{_F1}/tradingSchedule"): _market(_flat(5), reference.trading_schedule),
    ("GET", f"{_DATA}/openInterestHist"): _market(_flat(1), statistics.open_interest_hist, "data"),
    ("GET", f"{_DATA}/takerlongshortRatio"): _market(_flat(1), statistics.taker_ratio, "data"),
    ("GET", f"{_DATA}/basis"): _market(_flat(1), statistics.basis, "data"),
    ("GET", f"{_DATA}/delivery-price"): _market(_flat(1), statistics.delivery_price, "data"),
    **{
        ("GET", f"{_DATA}/{kind}"): _market(_flat(1), statistics.account_ratio(kind), "data")
        for kind in ("topLongShortAccountRatio", "topLongShortPositionRatio", "globalLongShortAccountRatio")
    },
    ("POST", LISTEN_KEY_PATH): _LISTEN_KEY,
    ("PUT", LISTEN_KEY_PATH): _LISTEN_KEY,
    ("DELETE", LISTEN_KEY_PATH): _LISTEN_KEY,
    ("POST", f"{_F1}/order"): _core(0, orders=True),
    ("PUT", f"{_F1}/order"): _core(0, orders=True),
    ("GET", f"{_F1}/order"): _core(1),
    ("DELETE", f"{_F1}/order"): _core(1),
    ("POST", f"{_F1}/order/test"): _core(1),
    ("POST", f"{_F1}/batchOrders"): _core(5, orders=True),
    ("PUT", f"{_F1}/batchOrders"): _core(5, orders=True),
    ("DELETE", f"{_F1}/batchOrders"): _core(1),
    ("DELETE", f"{_F1}/allOpenOrders"): _core(1),
    ("POST", f"{_F1}/countdownCancelAll"): _core(10),
    ("GET", f"{_F1}/openOrder"): _core(1),
    ("GET", f"{_F1}/openOrders"): _core(_by_symbol(1, 40)),
    ("GET", f"{_F1}/allOrders"): _core(5),
    ("GET", f"{_F1}/orderAmendment"): _core(1),
    ("POST", f"{_F1}/algoOrder"): _core(0, orders=True),
    ("GET", f"{_F1}/algoOrder"): _core(1),
    ("DELETE", f"{_F1}/algoOrder"): _core(1),
    ("DELETE", f"{_F1}/algoOpenOrders"): _core(1),
    ("GET", f"{_F1}/openAlgoOrders"): _core(_by_symbol(1, 40)),
    ("GET", f"{_F1}/allAlgoOrders"): _core(5),
    ("GET", f"{_F1}/forceOrders"): _core(_by_symbol(20, 50)),
    ("POST", f"{_F1}/leverage"): _core(1),
    ("POST", f"{_F1}/marginType"): _core(1),
    ("POST", f"{_F1}/positionMargin"): _core(1),
    ("GET", f"{_F1}/positionMargin/history"): _core(1),
    ("POST", f"{_F1}/positionSide/dual"): _core(1),
    ("GET", f"{_F1}/positionSide/dual"): _core(30),
    ("POST", f"{_F1}/multiAssetsMargin"): _core(1),
    ("GET", f"{_F1}/multiAssetsMargin"): _core(30),
    ("GET", f"{_F2}/account"): _core(5),
    ("GET", f"{_F3}/account"): _core(5),
    ("GET", f"{_F2}/balance"): _core(5),
    ("GET", f"{_F3}/balance"): _core(5),
    ("GET", f"{_F2}/positionRisk"): _core(5),
    ("GET", f"{_F3}/positionRisk"): _core(5),
    ("GET", f"{_F1}/accountConfig"): _core(5),
    ("GET", f"{_F1}/symbolConfig"): _core(5),
    ("GET", f"{_F1}/commissionRate"): _core(20),
    ("GET", f"{_F1}/leverageBracket"): _core(1),
    ("GET", f"{_F1}/userTrades"): _core(5),
    ("GET", f"{_F1}/income"): _core(30),
    ("GET", f"{_F1}/rateLimit/order"): _core(1),
    ("GET", f"{_F1}/feeBurn"): _core(30),
    ("POST", f"{_F1}/feeBurn"): _core(1),
    ("GET", f"{_F1}/adlQuantile"): _core(5),
    ("GET", f"{_F1}/apiTradingStatus"): _core(_by_symbol(1, 10)),
    ("GET", "/sapi/v1/account/apiRestrictions"): _core(1),
}
"""What the core does not know yet it answers with -5000 itself; the weight and the signature rule hold all the same."""
