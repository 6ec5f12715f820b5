"""REST replies about the account (sections 5 and 13.5), keys in the order of the reference's examples."""

from __future__ import annotations

from decimal import Decimal

from simex.core.account import Income, SymbolConfig
from simex.core.api import Json
from simex.core.instrument import Instrument
from simex.core.margin import AssetMargin, LegMargin
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
    """Account totals of single-asset mode: USDT alone."""
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


def flags_v2() -> Json:
    """What v2 account puts before the totals."""
    return {
        "feeTier": 0,
        "feeBurn": False,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
    }


def account_config(hedge: bool) -> Json:
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "dualSidePosition": hedge,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
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


def risk_v2(leg: LegMargin, instrument: Instrument, config: SymbolConfig, liquidation: Decimal) -> Json:
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
        "adlQuantile": 0,
    }


def risk_v3(leg: LegMargin, instrument: Instrument, liquidation: Decimal) -> Json:
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
        "adl": 0,
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
