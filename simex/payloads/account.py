"""REST replies about the account (sections 5 and 13.5), keys in the order of the reference's examples."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from simex.core.account import Account, Income, MarginMove, SymbolConfig
from simex.core.api import Json
from simex.core.instrument import Instrument
from simex.core.margin import AssetMargin, LegMargin
from simex.core.rights import Rights
from simex.payloads.text import amount, money, money_or_zero, rest_entry, short

_ALIAS = "SgsR"


def asset_row(asset: AssetMargin) -> Json:
    return {
        "asset": asset.asset,
        "walletBalance": money(asset.wallet),
        "unrealizedProfit": money(asset.unrealised),
        "marginBalance": money(asset.margin_balance),
        "maintMargin": money(asset.maintenance),
        "initialMargin": money(asset.position_initial + asset.order_initial),
        "positionInitialMargin": money(asset.position_initial),
        "openOrderInitialMargin": money(asset.order_initial),
        "crossWalletBalance": money(asset.cross_wallet),
        "crossUnPnl": money(asset.cross_unrealised),
        "availableBalance": money(asset.available),
        "maxWithdrawAmount": money(asset.max_withdraw),
        "updateTime": asset.update_ms,
    }


def totals(usdt: AssetMargin) -> Json:
    """Account totals: USDT alone in single-asset mode, the whole account in dollars in multi-assets mode."""
    return {
        "totalInitialMargin": money(usdt.position_initial + usdt.order_initial),
        "totalMaintMargin": money(usdt.maintenance),
        "totalWalletBalance": money(usdt.wallet),
        "totalUnrealizedProfit": money(usdt.unrealised),
        "totalMarginBalance": money(usdt.margin_balance),
        "totalPositionInitialMargin": money(usdt.position_initial),
        "totalOpenOrderInitialMargin": money(usdt.order_initial),
        "totalCrossWalletBalance": money(usdt.cross_wallet),
        "totalCrossUnPnl": money(usdt.cross_unrealised),
        "availableBalance": money(usdt.available),
        "maxWithdrawAmount": money(usdt.max_withdraw),
    }


def balance_row(asset: AssetMargin) -> Json:
    return {
        "accountAlias": _ALIAS,
        "asset": asset.asset,
        "balance": money(asset.wallet),
        "crossWalletBalance": money(asset.cross_wallet),
        "crossUnPnl": money(asset.cross_unrealised),
        "availableBalance": money(asset.available),
        "maxWithdrawAmount": money(asset.max_withdraw),
        "marginAvailable": True,
        "updateTime": asset.update_ms,
    }


def flags_v2(account: Account) -> Json:
    """What v2 account puts before the totals."""
    return {
        "feeTier": account.fee_tier,
        "feeBurn": account.fee_burn,
        "canTrade": account.rights.futures,
        "canDeposit": True,
        "canWithdraw": True,
        "updateTime": 0,
        "multiAssetsMargin": account.multi_assets,
        "tradeGroupId": -1,
    }


def account_config(account: Account) -> Json:
    return {
        "feeTier": account.fee_tier,
        "canTrade": account.rights.futures,
        "canDeposit": True,
        "canWithdraw": True,
        "dualSidePosition": account.hedge,
        "updateTime": account.config_ms,
        "multiAssetsMargin": account.multi_assets,
        "tradeGroupId": -1,
    }


def restrictions(rights: Rights) -> Json:
    """GET /sapi/v1/account/apiRestrictions."""
    return {
        "ipRestrict": rights.ip_restricted,
        "createTime": rights.created_ms,
        "enableReading": rights.reading,
        "enableWithdrawals": rights.withdrawals,
        "enableInternalTransfer": rights.internal_transfer,
        "enableMargin": rights.margin,
        "enableFutures": rights.futures,
        "permitsUniversalTransfer": rights.universal_transfer,
        "enableVanillaOptions": rights.vanilla_options,
        "enableSpotAndMarginTrading": rights.spot_and_margin_trading,
        "enablePortfolioMarginTrading": rights.portfolio_margin,
    }


def adl_row(symbol: str, quantiles: Mapping[str, int], *, hedge: bool) -> Json:
    """One row of adlQuantile: BOTH in one-way mode, HEDGE (a mark, always 0) in hedge mode."""
    legs = {"LONG": quantiles.get("LONG", 0), "SHORT": quantiles.get("SHORT", 0)}
    last = {"HEDGE": 0} if hedge else {"BOTH": quantiles.get("BOTH", 0)}
    return {"symbol": symbol, "adlQuantile": {**legs, **last}}


def margin_move_type(move: MarginMove) -> int:
    return 1 if move.amount > 0 else 2


def margin_move(move: MarginMove) -> Json:
    """One row of positionMargin/history."""
    return {
        "symbol": move.symbol,
        "type": margin_move_type(move),
        "deltaType": "USER_ADJUST",
        "amount": money(abs(move.amount)),
        "asset": move.asset,
        "time": move.time_ms,
        "positionSide": move.side,
    }


def position_v2(leg: LegMargin, instrument: Instrument, config: SymbolConfig) -> Json:
    """One entry of `positions` in v2 account."""
    position = leg.position
    return {
        "symbol": position.symbol,
        "initialMargin": money_or_zero(leg.initial),
        "maintMargin": money_or_zero(leg.maintenance),
        "unrealizedProfit": money(leg.unrealised),
        "positionInitialMargin": money_or_zero(leg.position_initial),
        "openOrderInitialMargin": money_or_zero(leg.order_initial),
        "leverage": str(config.leverage),
        "isolated": leg.isolated,
        "entryPrice": rest_entry(position.entry_price),
        "maxNotional": max_notional(instrument, config),
        "bidNotional": money_or_zero(leg.bid_notional),
        "askNotional": money_or_zero(leg.ask_notional),
        "positionSide": position.side,
        "positionAmt": amount(position.amount, instrument),
        "updateTime": position.update_ms,
    }


def position_v3(leg: LegMargin, instrument: Instrument) -> Json:
    """One entry of `positions` in v3 account."""
    position = leg.position
    return {
        "symbol": position.symbol,
        "positionSide": position.side,
        "positionAmt": amount(position.amount, instrument),
        "unrealizedProfit": money(leg.unrealised),
        "isolatedMargin": money_or_zero(leg.isolated_margin),
        "notional": money_or_zero(leg.notional),
        "isolatedWallet": money_or_zero(position.isolated_wallet),
        "initialMargin": money_or_zero(leg.initial),
        "maintMargin": money_or_zero(leg.maintenance),
        "updateTime": position.update_ms,
    }


def risk_v2(leg: LegMargin, instrument: Instrument, config: SymbolConfig, liquidation: Decimal, adl: int) -> Json:
    position = leg.position
    return {
        "symbol": position.symbol,
        "positionAmt": amount(position.amount, instrument),
        "entryPrice": rest_entry(position.entry_price),
        "breakEvenPrice": rest_entry(position.break_even_price),
        "markPrice": money(leg.mark),
        "unRealizedProfit": money(leg.unrealised),
        "liquidationPrice": short(Decimal(money(liquidation))),
        "leverage": str(config.leverage),
        "maxNotionalValue": max_notional(instrument, config),
        "marginType": "isolated" if leg.isolated else "cross",
        "isolatedMargin": money(leg.isolated_margin),
        "isAutoAddMargin": "false",
        "positionSide": position.side,
        "notional": money_or_zero(leg.notional),
        "isolatedWallet": money_or_zero(position.isolated_wallet),
        "updateTime": position.update_ms,
        "isolated": leg.isolated,
        "adlQuantile": adl,
    }


def risk_v3(leg: LegMargin, instrument: Instrument, liquidation: Decimal, adl: int) -> Json:
    position = leg.position
    return {
        "symbol": position.symbol,
        "positionSide": position.side,
        "positionAmt": amount(position.amount, instrument),
        "entryPrice": rest_entry(position.entry_price),
        "breakEvenPrice": rest_entry(position.break_even_price),
        "markPrice": money(leg.mark),
        "unRealizedProfit": money(leg.unrealised),
        "liquidationPrice": short(Decimal(money(liquidation))),
        "isolatedMargin": money_or_zero(leg.isolated_margin),
        "notional": money_or_zero(leg.notional),
        "marginAsset": instrument.quote_asset,
        "isolatedWallet": money_or_zero(position.isolated_wallet),
        "initialMargin": money_or_zero(leg.initial),
        "maintMargin": money_or_zero(leg.maintenance),
        "positionInitialMargin": money_or_zero(leg.position_initial),
        "openOrderInitialMargin": money_or_zero(leg.order_initial),
        "adl": adl,
        "bidNotional": money_or_zero(leg.bid_notional),
        "askNotional": money_or_zero(leg.ask_notional),
        "updateTime": position.update_ms,
    }


def max_notional(instrument: Instrument, config: SymbolConfig) -> str:
    return f"{instrument.max_notional_at(config.leverage):f}"


def symbol_config(instrument: Instrument, config: SymbolConfig) -> Json:
    return {
        "symbol": instrument.symbol,
        "marginType": "ISOLATED" if config.isolated else "CROSSED",
        "isAutoAddMargin": False,
        "leverage": config.leverage,
        "maxNotionalValue": max_notional(instrument, config),
    }


def commission_rate(symbol: str, maker: Decimal, taker: Decimal) -> Json:
    return {
        "symbol": symbol,
        "makerCommissionRate": f"{maker:.6f}",
        "takerCommissionRate": f"{taker:.6f}",
        "rpiCommissionRate": "0",
    }


def income_row(line: Income) -> Json:
    return {
        "symbol": line.symbol,
        "incomeType": line.kind,
        "income": money(line.amount),
        "asset": line.asset,
        "info": line.kind,
        "time": line.time_ms,
        "tranId": line.tran_id,
        "tradeId": "" if line.trade_id is None else str(line.trade_id),
    }
