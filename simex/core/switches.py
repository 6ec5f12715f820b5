"""Endpoints that change the account: leverage, margin type, isolated margin, position and asset mode (section 4.10)."""

from __future__ import annotations

from decimal import Decimal
from typing import cast

from simex.core.account import ZERO, Position, money
from simex.core.api import Reply
from simex.core.context import SUCCESS, Context, Routes, ok
from simex.core.errors import Refusal, bad_leverage, invalid, missing
from simex.core.instrument import Instrument
from simex.core.margin import leg_margin
from simex.core.order import PositionSide
from simex.core.orders import boolean, decimal, integer, required, text
from simex.core.valuation import valuation
from simex.core.wallet import every_leg, sides
from simex.payloads import account as payloads
from simex.payloads import events

_ADD, _REDUCE = 1, 2


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
        legs = [leg for leg in every_leg(ctx, instrument) if leg.position.amount]
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
    if ctx.account.multi_assets:
        raise Refusal(-4168)
    if ctx.account.orders_on(instrument.symbol) or ctx.account.algos.on(instrument.symbol):
        raise Refusal(-4047)
    legs = ctx.account.legs(instrument.symbol)
    if any(leg.amount for leg in legs):
        raise Refusal(-4048)
    config.isolated = wanted == "ISOLATED"
    positions = legs or [ctx.account.position(instrument.symbol, sides(ctx)[0])]
    ctx.engine.account_event(ctx.account, "MARGIN_TYPE_CHANGE", instrument, ZERO, positions, ctx.fx)
    return ok(dict(SUCCESS))


def set_position_mode(ctx: Context) -> Reply:
    wanted = boolean(ctx.params, "dualSidePosition")
    if wanted is None:
        raise missing("dualSidePosition")
    if wanted == ctx.account.hedge:
        raise Refusal(-4059)
    if ctx.account.all_open() or ctx.account.algos.waiting:
        raise Refusal(-4067)
    if any(position.amount for position in ctx.account.positions.values()):
        raise Refusal(-4068)
    ctx.account.hedge = wanted
    ctx.account.config_ms = ctx.now_ms
    return ok(dict(SUCCESS))


def set_multi_assets(ctx: Context) -> Reply:
    account = ctx.account
    wanted = boolean(ctx.params, "multiAssetsMargin")
    if wanted is None:
        raise missing("multiAssetsMargin")
    if wanted == account.multi_assets:
        raise Refusal(-4171)
    if account.all_open() or account.algos.waiting:
        raise Refusal(-4170)
    if wanted and any(
        account.config(instrument).isolated
        for instrument in ctx.engine.state.instruments.values()
        if any(leg.amount for leg in account.legs(instrument.symbol))
    ):
        raise Refusal(-4167)
    if not wanted and any(amount < 0 for amount in account.cross_wallet.values()):
        raise Refusal(-4172)
    account.multi_assets = wanted
    value = valuation(account, ctx.engine.state)
    if any(value.equity(pool) < value.maintenance(pool) for pool in {value.pool_of(leg) for leg in value.legs}
           if value.cross_legs(pool)):  # fmt: skip
        account.multi_assets = not wanted
        raise Refusal(-4169)
    if wanted:
        _cross_everywhere(ctx)
    account.config_ms = ctx.now_ms
    ctx.fx.event(account.name, events.asset_mode_update(wanted, ctx.now_ms))
    return ok(dict(SUCCESS))


def _cross_everywhere(ctx: Context) -> None:
    """Multi-assets mode knows no isolated margin; symbols without a position switch to cross by themselves."""
    for instrument in ctx.engine.state.instruments.values():
        ctx.account.config(instrument).isolated = False


def set_fee_burn(ctx: Context) -> Reply:
    wanted = boolean(ctx.params, "feeBurn")
    if wanted is None:
        raise missing("feeBurn")
    ctx.account.fee_burn = wanted
    ctx.account.config_ms = ctx.now_ms
    return ok(dict(SUCCESS))


# -- isolated margin --------------------------------------------------------------------------------------------


def change_margin(ctx: Context) -> Reply:
    """positionMargin: move margin between the wallet and an isolated leg; `type` 1 adds, 2 takes back."""
    instrument = ctx.market().instrument
    amount, kind = decimal(ctx.params, "amount"), integer(ctx.params, "type")
    if kind is None:
        raise missing("type")
    if kind not in (_ADD, _REDUCE):
        raise invalid("type")
    if amount <= 0 or money(amount) <= 0:
        raise Refusal(-4055)
    side = _leg_side(ctx)
    if not ctx.account.config(instrument).isolated:
        raise Refusal(-4049)
    position = next((leg for leg in ctx.account.legs(instrument.symbol) if leg.side == side), None)
    if position is None or not position.amount:
        raise Refusal(-4054)
    moved = money(amount)
    if kind == _ADD and moved > valuation(ctx.account, ctx.engine.state).assets[instrument.quote_asset].max_withdraw:
        raise Refusal(-4050)
    if kind == _REDUCE and moved > _removable(ctx, instrument, position):
        raise Refusal(-4051)
    ctx.account.move_margin(instrument, position, moved if kind == _ADD else -moved, ctx.now_ms)
    ctx.engine.account_event(ctx.account, "MARGIN_TRANSFER", instrument, ZERO, [position], ctx.fx)
    return ok({"amount": float(amount), "code": 200, "msg": "Successfully modify position margin.", "type": kind})


def _leg_side(ctx: Context) -> PositionSide:
    value = text(ctx.params, "positionSide")
    if value is not None and value not in ("BOTH", "LONG", "SHORT"):
        raise Refusal(-4060)
    if ctx.account.hedge == (value in (None, "BOTH")):
        raise Refusal(-4061)
    return cast(PositionSide, value or "BOTH")


def _removable(ctx: Context, instrument: Instrument, position: Position) -> Decimal:
    """What an isolated leg holds beyond its initial margin and its loss."""
    leg = leg_margin(ctx.account, instrument, position, ctx.engine.state.mark_of(position.symbol))
    return position.isolated_wallet + min(ZERO, leg.unrealised) - leg.position_initial


def _is_covered(ctx: Context, instrument: Instrument) -> bool:
    """Does the wallet still cover what is bound, at the leverage now set?"""
    return valuation(ctx.account, ctx.engine.state).assets[instrument.quote_asset].free >= 0


ROUTES: Routes = {
    ("POST", "/fapi/v1/leverage"): set_leverage,
    ("POST", "/fapi/v1/marginType"): set_margin_type,
    ("POST", "/fapi/v1/positionSide/dual"): set_position_mode,
    ("POST", "/fapi/v1/multiAssetsMargin"): set_multi_assets,
    ("POST", "/fapi/v1/feeBurn"): set_fee_burn,
    ("POST", "/fapi/v1/positionMargin"): change_margin,
}
