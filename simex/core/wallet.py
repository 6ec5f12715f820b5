"""Endpoints of the account: balances, positions, settings, income (sections 4.10 and 5)."""

from __future__ import annotations

from decimal import Decimal

from simex.core.account import ZERO, Position
from simex.core.api import Json, Reply
from simex.core.context import SUCCESS, Context, Routes, ok
from simex.core.errors import Refusal, bad_leverage, invalid, missing
from simex.core.instrument import Instrument
from simex.core.margin import AssetMargin, LegMargin, all_legs, asset_margin, leg_margin, liquidation_price
from simex.core.order import PositionSide
from simex.core.orders import boolean, integer, required, text
from simex.payloads import account as payloads
from simex.payloads import events
from simex.payloads.instrument import leverage_bracket

_RATE_LIMITS = (
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
    {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200},
)


# -- reading ----------------------------------------------------------------------------------------------------


def account_v3(ctx: Context) -> Reply:
    assets, legs = _valuation(ctx)
    body: Json = {
        **payloads.totals(_usdt(ctx, assets, legs)),
        "assets": [payloads.asset_row(asset) for asset in assets],
        "positions": [payloads.position_v3(leg, _instrument(ctx, leg)) for leg in legs],
    }
    return ok(body)


def account_v2(ctx: Context) -> Reply:
    assets, legs = _valuation(ctx)
    rows = [
        payloads.position_v2(leg, instrument, ctx.account.config(instrument))
        for instrument in ctx.engine.state.instruments.values()
        for leg in _every_leg(ctx, instrument)
    ]
    return ok(
        {
            **payloads.flags_v2(),
            **payloads.totals(_usdt(ctx, assets, legs)),
            "assets": [_with_margin_flag(payloads.asset_row(asset)) for asset in assets],
            "positions": rows,
        }
    )


def balance(ctx: Context) -> Reply:
    return ok([payloads.balance_row(asset) for asset in _valuation(ctx)[0]])


def risk_v3(ctx: Context) -> Reply:
    """Only legs with a position or open orders."""
    wanted = ctx.optional_market()
    _, legs = _valuation(ctx)
    return ok(
        [
            payloads.risk_v3(leg, _instrument(ctx, leg), _liquidation(ctx, leg, legs))
            for leg in legs
            if wanted is None or leg.position.symbol == wanted.instrument.symbol
        ]
    )


def risk_v2(ctx: Context) -> Reply:
    """All symbols."""
    _, legs = _valuation(ctx)
    return ok(
        [
            payloads.risk_v2(leg, instrument, ctx.account.config(instrument), _liquidation(ctx, leg, legs))
            for instrument in ctx.instruments()
            for leg in _every_leg(ctx, instrument)
        ]
    )


def symbol_config(ctx: Context) -> Reply:
    return ok([payloads.symbol_config(i, ctx.account.config(i)) for i in ctx.instruments()])


def account_config(ctx: Context) -> Reply:
    return ok(payloads.account_config(ctx.account.hedge))


def commission_rate(ctx: Context) -> Reply:
    instrument = ctx.market().instrument
    maker, taker = (ctx.account.fee_rate(instrument, is_maker) for is_maker in (True, False))
    return ok(payloads.commission_rate(instrument.symbol, maker, taker))


def brackets(ctx: Context) -> Reply:
    return ok([leverage_bracket(instrument) for instrument in ctx.instruments()])


def order_limits(ctx: Context) -> Reply:
    return ok([dict(limit) for limit in _RATE_LIMITS])


def position_mode(ctx: Context) -> Reply:
    return ok({"dualSidePosition": ctx.account.hedge})


def multi_assets(ctx: Context) -> Reply:
    return ok({"multiAssetsMargin": False})


def income(ctx: Context) -> Reply:
    """Ascending; the newest `limit` lines of the window unless a page is asked for."""
    market = ctx.optional_market()
    kind = text(ctx.params, "incomeType")
    limit = ctx.limit(100, 1000)
    page = integer(ctx.params, "page")
    start, end = ctx.window(None)
    rows = [
        line
        for line in ctx.account.history.income
        if start <= line.time_ms <= end
        and (kind is None or line.kind == kind)
        and (market is None or line.symbol == market.instrument.symbol)
    ]
    if page is not None:
        first = (max(page, 1) - 1) * limit
        rows = rows[first : first + limit]
    else:
        rows = rows[:limit] if "startTime" in ctx.params else rows[-limit:]
    return ok([payloads.income_row(line) for line in rows])


# -- switches ---------------------------------------------------------------------------------------------------


def set_leverage(ctx: Context) -> Reply:
    instrument = ctx.market().instrument
    value = integer(ctx.params, "leverage")
    if value is None:
        raise missing("leverage")
    if not 1 <= value <= instrument.max_leverage:
        raise bad_leverage(str(value))
    config = ctx.account.config(instrument)
    before = config.leverage
    if value != before:
        legs = [leg for leg in _every_leg(ctx, instrument) if leg.position.amount]
        if legs and config.isolated and value < before:
            raise Refusal(-4161)
        if any(abs(leg.notional) > instrument.max_notional_at(value) for leg in legs):
            raise Refusal(-2027)
        config.leverage = value
        if value < before and not _is_covered(ctx, instrument):
            config.leverage = before
            raise Refusal(-2028)
        ctx.fx.event(ctx.account.name, events.leverage_update(instrument.symbol, value, ctx.now_ms))
    maximum = payloads.max_notional(instrument, config)
    return ok({"leverage": value, "maxNotionalValue": maximum, "symbol": instrument.symbol})


def set_margin_type(ctx: Context) -> Reply:
    instrument = ctx.market().instrument
    wanted = required(ctx.params, "marginType")
    if wanted not in ("ISOLATED", "CROSSED"):
        raise invalid("marginType")
    config = ctx.account.config(instrument)
    if config.isolated == (wanted == "ISOLATED"):
        raise Refusal(-4046)
    if ctx.account.orders_on(instrument.symbol):
        raise Refusal(-4047)
    legs = ctx.account.legs(instrument.symbol)
    if any(leg.amount for leg in legs):
        raise Refusal(-4048)
    config.isolated = wanted == "ISOLATED"
    positions = legs or [ctx.account.position(instrument.symbol, _sides(ctx)[0])]
    ctx.engine.account_event(ctx.account, "MARGIN_TYPE_CHANGE", instrument, ZERO, positions, ctx.fx)
    return ok(dict(SUCCESS))


def set_position_mode(ctx: Context) -> Reply:
    wanted = boolean(ctx.params, "dualSidePosition")
    if wanted is None:
        raise missing("dualSidePosition")
    if wanted == ctx.account.hedge:
        raise Refusal(-4059)
    if ctx.account.all_open():
        raise Refusal(-4067)
    if any(position.amount for position in ctx.account.positions.values()):
        raise Refusal(-4068)
    ctx.account.hedge = wanted
    return ok(dict(SUCCESS))


# -- shared -----------------------------------------------------------------------------------------------------


def _valuation(ctx: Context) -> tuple[list[AssetMargin], list[LegMargin]]:
    """Every margin asset (empty ones too) and every leg with a position or orders."""
    state = ctx.engine.state
    legs = all_legs(ctx.account, state.instruments, state.mark_of)
    names = dict.fromkeys([*ctx.account.cross_wallet, *(i.quote_asset for i in state.instruments.values())])
    return [asset_margin(ctx.account, name, state.instruments, legs) for name in names], legs


def _usdt(ctx: Context, assets: list[AssetMargin], legs: list[LegMargin]) -> AssetMargin:
    found = next((asset for asset in assets if asset.asset == "USDT"), None)
    return found or asset_margin(ctx.account, "USDT", ctx.engine.state.instruments, legs)


def _with_margin_flag(row: Json) -> Json:
    update = row.pop("updateTime")
    return {**row, "marginAvailable": True, "updateTime": update}


def _instrument(ctx: Context, leg: LegMargin) -> Instrument:
    return ctx.engine.state.instruments[leg.position.symbol]


def _sides(ctx: Context) -> tuple[PositionSide, ...]:
    return ("BOTH", "LONG", "SHORT") if ctx.account.hedge else ("BOTH",)


def _every_leg(ctx: Context, instrument: Instrument) -> list[LegMargin]:
    """All legs of the position mode, flat ones too, without creating them."""
    symbol = instrument.symbol
    mark = ctx.engine.state.mark_of(symbol)
    held = {position.side: position for position in ctx.account.legs(symbol)}
    return [leg_margin(ctx.account, instrument, held.get(side) or Position(symbol, side), mark) for side in _sides(ctx)]


def _liquidation(ctx: Context, leg: LegMargin, legs: list[LegMargin]) -> Decimal:
    return liquidation_price(leg, ctx.account, ctx.engine.state.instruments, legs)


def _is_covered(ctx: Context, instrument: Instrument) -> bool:
    """Does the wallet still cover what is bound, at the leverage now set?"""
    state = ctx.engine.state
    legs = all_legs(ctx.account, state.instruments, state.mark_of)
    return asset_margin(ctx.account, instrument.quote_asset, state.instruments, legs).free >= 0


ROUTES: Routes = {
    ("GET", "/fapi/v2/account"): account_v2,
    ("GET", "/fapi/v3/account"): account_v3,
    ("GET", "/fapi/v2/balance"): balance,
    ("GET", "/fapi/v3/balance"): balance,
    ("GET", "/fapi/v2/positionRisk"): risk_v2,
    ("GET", "/fapi/v3/positionRisk"): risk_v3,
    ("GET", "/fapi/v1/symbolConfig"): symbol_config,
    ("GET", "/fapi/v1/accountConfig"): account_config,
    ("GET", "/fapi/v1/commissionRate"): commission_rate,
    ("GET", "/fapi/v1/leverageBracket"): brackets,
    ("GET", "/fapi/v1/rateLimit/order"): order_limits,
    ("GET", "/fapi/v1/positionSide/dual"): position_mode,
    ("GET", "/fapi/v1/multiAssetsMargin"): multi_assets,
    ("GET", "/fapi/v1/income"): income,
    ("POST", "/fapi/v1/leverage"): set_leverage,
    ("POST", "/fapi/v1/marginType"): set_margin_type,
    ("POST", "/fapi/v1/positionSide/dual"): set_position_mode,
}
