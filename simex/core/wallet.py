"""Endpoints that read the account: balances, positions, settings, limits, fees, rights (sections 4.10 and 5)."""

from __future__ import annotations

from simex.core.account import Position
from simex.core.adl import quantiles
from simex.core.api import Json, Reply
from simex.core.context import Context, Routes, ok
from simex.core.instrument import Instrument
from simex.core.margin import LegMargin, leg_margin
from simex.core.order import PositionSide
from simex.core.valuation import Valuation, valuation
from simex.payloads import account as payloads
from simex.payloads.instrument import leverage_bracket

_RATE_LIMITS = (
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
    {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200},
)


def account_v3(ctx: Context) -> Reply:
    value = _valuation(ctx)
    body: Json = {
        **payloads.totals(value.totals),
        "assets": [payloads.asset_row(asset) for asset in value.assets.values()],
        "positions": [payloads.position_v3(leg, value.instrument(leg)) for leg in value.legs],
    }
    return ok(body)


def account_v2(ctx: Context) -> Reply:
    value = _valuation(ctx)
    rows = [
        payloads.position_v2(leg, instrument, ctx.account.config(instrument))
        for instrument in ctx.engine.state.instruments.values()
        for leg in every_leg(ctx, instrument)
    ]
    return ok(
        {
            **payloads.flags_v2(ctx.account),
            **payloads.totals(value.totals),
            "assets": [_with_margin_flag(payloads.asset_row(asset)) for asset in value.assets.values()],
            "positions": rows,
        }
    )


def balance(ctx: Context) -> Reply:
    return ok([payloads.balance_row(asset) for asset in _valuation(ctx).assets.values()])


def risk_v3(ctx: Context) -> Reply:
    """Only legs with a position or open orders."""
    wanted = ctx.optional_market()
    value, ranks = _valuation(ctx), quantiles(ctx.engine, ctx.account)
    return ok(
        [
            payloads.risk_v3(leg, value.instrument(leg), value.liquidation_price(leg), ranks(leg.position))
            for leg in value.legs
            if wanted is None or leg.position.symbol == wanted.instrument.symbol
        ]
    )


def risk_v2(ctx: Context) -> Reply:
    """All symbols."""
    value, ranks = _valuation(ctx), quantiles(ctx.engine, ctx.account)
    return ok(
        [
            payloads.risk_v2(
                leg,
                instrument,
                ctx.account.config(instrument),
                value.liquidation_price(leg),
                ranks(leg.position),
            )
            for instrument in ctx.instruments()
            for leg in every_leg(ctx, instrument)
        ]
    )


def adl_quantile(ctx: Context) -> Reply:
    """Every symbol with a position, or the one asked for."""
    ranks = quantiles(ctx.engine, ctx.account)
    asked = ctx.optional_market() is not None
    rows = []
    for instrument in ctx.instruments():
        legs: dict[str, int] = {leg.position.side: ranks(leg.position) for leg in every_leg(ctx, instrument)}
        held = any(leg.amount for leg in ctx.account.legs(instrument.symbol))
        if held or asked:
            rows.append(payloads.adl_row(instrument.symbol, legs, hedge=ctx.account.hedge))
    return ok(rows)


def symbol_config(ctx: Context) -> Reply:
    return ok([payloads.symbol_config(i, ctx.account.config(i)) for i in ctx.instruments()])


def account_config(ctx: Context) -> Reply:
    return ok(payloads.account_config(ctx.account))


def commission_rate(ctx: Context) -> Reply:
    instrument = ctx.market().instrument
    maker, taker = (ctx.account.fee_rate(instrument, is_maker) for is_maker in (True, False))
    return ok(payloads.commission_rate(instrument.symbol, maker, taker))


def brackets(ctx: Context) -> Reply:
    return ok([leverage_bracket(instrument) for instrument in ctx.instruments()])


def order_limits(ctx: Context) -> Reply:
    return ok([dict(limit) for limit in _RATE_LIMITS])


def trading_status(ctx: Context) -> Reply:
    """No quantitative rule is ever broken here: no symbol has indicators."""
    ctx.optional_market()
    return ok({"indicators": {}, "updateTime": ctx.now_ms})


def position_mode(ctx: Context) -> Reply:
    return ok({"dualSidePosition": ctx.account.hedge})


def multi_assets(ctx: Context) -> Reply:
    return ok({"multiAssetsMargin": ctx.account.multi_assets})


def fee_burn(ctx: Context) -> Reply:
    return ok({"feeBurn": ctx.account.fee_burn})


def restrictions(ctx: Context) -> Reply:
    return ok(payloads.restrictions(ctx.account.rights))


# -- shared -----------------------------------------------------------------------------------------------------


def sides(ctx: Context) -> tuple[PositionSide, ...]:
    """The legs of the position mode."""
    return ("BOTH", "LONG", "SHORT") if ctx.account.hedge else ("BOTH",)


def every_leg(ctx: Context, instrument: Instrument) -> list[LegMargin]:
    """All legs of the position mode, flat ones too, without creating them."""
    symbol = instrument.symbol
    mark = ctx.engine.state.mark_of(symbol)
    held = {position.side: position for position in ctx.account.legs(symbol)}
    return [leg_margin(ctx.account, instrument, held.get(side) or Position(symbol, side), mark) for side in sides(ctx)]


def _valuation(ctx: Context) -> Valuation:
    return valuation(ctx.account, ctx.engine.state)


def _with_margin_flag(row: Json) -> Json:
    update = row.pop("updateTime")
    return {**row, "marginAvailable": True, "updateTime": update}


ROUTES: Routes = {
    ("GET", "/fapi/v2/account"): account_v2,
    ("GET", "/fapi/v3/account"): account_v3,
    ("GET", "/fapi/v2/balance"): balance,
    ("GET", "/fapi/v3/balance"): balance,
    ("GET", "/fapi/v2/positionRisk"): risk_v2,
    ("GET", "/fapi/v3/positionRisk"): risk_v3,
    ("GET", "/fapi/v1/adlQuantile"): adl_quantile,
    ("GET", "/fapi/v1/symbolConfig"): symbol_config,
    ("GET", "/fapi/v1/accountConfig"): account_config,
    ("GET", "/fapi/v1/commissionRate"): commission_rate,
    ("GET", "/fapi/v1/leverageBracket"): brackets,
    ("GET", "/fapi/v1/rateLimit/order"): order_limits,
    ("GET", "/fapi/v1/apiTradingStatus"): trading_status,
    ("GET", "/fapi/v1/positionSide/dual"): position_mode,
    ("GET", "/fapi/v1/multiAssetsMargin"): multi_assets,
    ("GET", "/fapi/v1/feeBurn"): fee_burn,
    ("GET", "/sapi/v1/account/apiRestrictions"): restrictions,
}
