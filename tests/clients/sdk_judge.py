"""Run inside the official Python SDK's own environment: the unmodified client, pointed at another address.

Usage: sdk_judge.py REST WS. Its models come from the exchange's own API description, so every answer is also compared
with them field by field: `unknown` names what the description lacks, `missing` what it has and the answer has not.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import sys
from typing import Any

import binance_common.errors as errors  # type: ignore[import-not-found,unused-ignore]
from binance_common.configuration import (  # type: ignore[import-not-found,unused-ignore]
    ConfigurationRestAPI,
    ConfigurationWebSocketAPI,
    ConfigurationWebSocketStreams,
)
from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import (  # type: ignore[import-not-found,unused-ignore]
    DerivativesTradingUsdsFutures,
)
from judging import Judge, until  # type: ignore[import-not-found,unused-ignore]
from pydantic import BaseModel

SYMBOL = "BTCUSDT"


def client(rest: str, ws: str) -> Any:
    return DerivativesTradingUsdsFutures(
        config_rest_api=ConfigurationRestAPI(
            api_key="simex", api_secret="simex", base_path=rest, retries=0, timeout=10_000
        ),
        config_ws_api=ConfigurationWebSocketAPI(api_key="simex", api_secret="simex", stream_url=f"{ws}/ws-fapi/v1"),
        config_ws_streams=ConfigurationWebSocketStreams(stream_url=ws),
    )


def differences(model: Any, path: str = "") -> tuple[set[str], set[str]]:
    """(keys the description lacks, keys of the description that are absent), as dotted paths without indices."""
    unknown: set[str] = set()
    missing: set[str] = set()
    inner = getattr(model, "actual_instance", None)
    if inner is not None:
        return differences(inner, path)
    if isinstance(model, BaseModel):
        for key in getattr(model, "additional_properties", {}):
            unknown.add(f"{path}{key}")
        for name, field in type(model).model_fields.items():
            if name == "additional_properties":
                continue
            value = getattr(model, name)
            if value is None:
                missing.add(f"{path}{field.alias or name}")
            more, less = differences(value, f"{path}{field.alias or name}.")
            unknown |= more
            missing |= less
    elif isinstance(model, list):
        for one in model:
            more, less = differences(one, path)
            unknown |= more
            missing |= less
    return unknown, missing


class Cases:
    """Each method is one case; REST calls block, so they run in a thread."""

    def __init__(self, sdk: Any) -> None:
        self.sdk, self.rest = sdk, sdk.rest_api

    async def call(self, seen: dict[str, Any], name: str, *args: Any, **fields: Any) -> Any:
        answer = await asyncio.to_thread(getattr(self.rest, name), *args, **fields)
        data = answer.data()
        unknown, missing = differences(data)
        shapes = seen.setdefault("shapes", {})
        shapes[name] = [sorted(unknown), sorted(missing)]
        return data

    async def best_bid(self) -> float:
        book = (await asyncio.to_thread(self.rest.order_book, SYMBOL, 5)).data()
        return float(book.bids[0][0])

    async def markets(self, seen: dict[str, Any]) -> None:
        info = await self.call(seen, "exchange_information")
        seen["symbols"] = sorted(one.symbol for one in info.symbols)
        for name in ("check_server_time", "get_funding_rate_info", "get_funding_rate_history", "mark_price"):
            await self.call(seen, name)

    async def book(self, seen: dict[str, Any]) -> None:
        book = await self.call(seen, "order_book", SYMBOL, 20)
        seen["bids"], seen["asks"] = len(book.bids), len(book.asks)
        seen["crossed"] = float(book.bids[0][0]) >= float(book.asks[0][0])
        for name in ("symbol_order_book_ticker", "symbol_price_ticker", "symbol_price_ticker_v2", "open_interest"):
            await self.call(seen, name, SYMBOL)

    async def trades(self, seen: dict[str, Any]) -> None:
        trades = await self.call(seen, "recent_trades_list", SYMBOL, 50)
        seen["ids"] = [one.id for one in trades.root] if hasattr(trades, "root") else [one.id for one in trades]
        await self.call(seen, "compressed_aggregate_trades_list", SYMBOL, limit=50)

    async def bars(self, seen: dict[str, Any]) -> None:
        bars = await self.call(seen, "kline_candlestick_data", SYMBOL, "5m", limit=100)
        opens = [int(one[0]) for one in (bars.root if hasattr(bars, "root") else bars)]
        seen["count"] = len(opens)
        seen["steps_ms"] = sorted({later - earlier for earlier, later in itertools.pairwise(opens)})
        for name in ("mark_price_kline_candlestick_data", "index_price_kline_candlestick_data"):
            await self.call(seen, name, SYMBOL, "1m", limit=5)

    async def account(self, seen: dict[str, Any]) -> None:
        account = await self.call(seen, "account_information_v3")
        seen["wallet"] = account.total_wallet_balance
        for name in (
            "account_information_v2", "futures_account_balance_v2", "futures_account_balance_v3",
            "position_information_v2", "position_information_v3", "futures_account_configuration",
            "symbol_configuration", "notional_and_leverage_brackets", "get_income_history", "query_user_rate_limit",
            "get_current_position_mode", "get_current_multi_assets_mode",
        ):  # fmt: skip
            await self.call(seen, name)
        await self.call(seen, "user_commission_rate", SYMBOL)
        await self.call(seen, "change_initial_leverage", SYMBOL, 10)

    async def resting(self, seen: dict[str, Any]) -> Any:
        price = round(await self.best_bid() * 0.97, 1)
        return await self.call(
            seen, "new_order", SYMBOL, "BUY", "LIMIT", quantity=0.002, price=price, time_in_force="GTC"
        )

    async def place(self, seen: dict[str, Any]) -> None:
        placed = await self.resting(seen)
        read = await self.call(seen, "query_order", SYMBOL, order_id=placed.order_id)
        seen["placed"], seen["read"] = placed.status, [read.status, read.orig_qty, read.executed_qty]
        seen["listed"] = placed.order_id in [one.order_id for one in await self.call(seen, "current_all_open_orders")]
        await self.call(seen, "test_order", SYMBOL, "BUY", "MARKET", quantity=0.01)
        await self.call(seen, "cancel_all_open_orders", SYMBOL)

    async def amend(self, seen: dict[str, Any]) -> None:
        placed = await self.resting(seen)
        amended = await self.call(
            seen, "modify_order", SYMBOL, "BUY", 0.003, float(placed.price) - 10, order_id=placed.order_id
        )
        seen["amended"] = [amended.order_id == placed.order_id, amended.orig_qty, amended.status]
        history = await self.call(seen, "get_order_modify_history", SYMBOL, order_id=placed.order_id)
        seen["history"] = len(history.root if hasattr(history, "root") else history)
        await self.call(seen, "cancel_order", SYMBOL, order_id=placed.order_id)

    async def cancel(self, seen: dict[str, Any]) -> None:
        placed = await self.resting(seen)
        cancelled = await self.call(seen, "cancel_order", SYMBOL, order_id=placed.order_id)
        seen["cancelled"] = cancelled.status
        seen["after"] = (await self.call(seen, "query_order", SYMBOL, order_id=placed.order_id)).status

    async def fill(self, seen: dict[str, Any]) -> None:
        bought = await self.call(
            seen, "new_order", SYMBOL, "BUY", "MARKET", quantity=0.01, new_order_resp_type="RESULT"
        )
        seen["bought"] = [bought.status, bought.executed_qty]
        seen["held"] = [
            one.position_amt for one in await self.call(seen, "position_information_v3") if one.symbol == SYMBOL
        ]
        trades = await self.call(seen, "account_trade_list", SYMBOL)
        seen["trades_qty"] = sum(float(one.qty) for one in trades if one.order_id == bought.order_id)
        sold = await self.call(
            seen, "new_order", SYMBOL, "SELL", "MARKET", quantity=0.01, reduce_only="true", new_order_resp_type="RESULT"
        )
        seen["sold"] = sold.status

    async def stop_order(self, seen: dict[str, Any]) -> None:
        await self.call(seen, "new_order", SYMBOL, "BUY", "MARKET", quantity=0.01)
        trigger = round(await self.best_bid() * 0.95, 1)
        stop = await self.call(
            seen, "new_algo_order", "CONDITIONAL", SYMBOL, "SELL", "STOP_MARKET", trigger_price=trigger,
            close_position="true", working_type="MARK_PRICE",
        )  # fmt: skip
        listed = await self.call(seen, "current_all_algo_open_orders")
        seen["listed"] = stop.algo_id in [one.algo_id for one in listed]
        seen["status"] = [
            stop.algo_status,
            (await self.call(seen, "query_algo_order", algo_id=stop.algo_id)).algo_status,
        ]
        await self.call(seen, "cancel_algo_order", algo_id=stop.algo_id)
        seen["after"] = (await self.call(seen, "query_algo_order", algo_id=stop.algo_id)).algo_status
        await self.call(seen, "new_order", SYMBOL, "SELL", "MARKET", quantity=0.01, reduce_only="true")

    async def public_streams(self, seen: dict[str, Any]) -> None:
        streams = self.sdk.websocket_streams
        await streams.create_connection()
        got: dict[str, list[Any]] = {}
        wanted = {
            "diff depth": streams.diff_book_depth_streams(SYMBOL.lower(), update_speed="100ms"),
            "partial depth": streams.partial_book_depth_streams(SYMBOL.lower(), 5, update_speed="100ms"),
            "book ticker": streams.individual_symbol_book_ticker_streams(SYMBOL.lower()),
            "mark price": streams.mark_price_stream(SYMBOL.lower(), update_speed="1s"),
            "bar": streams.kline_candlestick_streams(SYMBOL.lower(), "1m"),
            "agg trade": streams.aggregate_trade_streams(SYMBOL.lower()),
            "ticker": streams.individual_symbol_ticker_streams(SYMBOL.lower()),
        }
        for name, coming in wanted.items():
            (await coming).on("message", got.setdefault(name, []).append)
        await until("message on every stream", lambda: all(got.values()), 25)
        seen["shapes"] = {name: [sorted(part) for part in differences(some[0])] for name, some in got.items()}

    async def user_stream(self, seen: dict[str, Any]) -> None:
        key = (await self.call(seen, "start_user_data_stream")).listen_key
        await self.call(seen, "keepalive_user_data_stream")
        streams = self.sdk.websocket_streams
        if not getattr(streams, "connections", None):
            await streams.create_connection()
        got: list[Any] = []
        (await streams.user_data(key)).on("message", lambda event: got.append(event))

        def kinds() -> set[str]:
            return {type(getattr(one, "actual_instance", one)).__name__ for one in got}

        await self.call(seen, "new_order", SYMBOL, "BUY", "MARKET", quantity=0.01)
        await self.call(seen, "new_order", SYMBOL, "SELL", "MARKET", quantity=0.01, reduce_only="true")
        await until("order and account updates", lambda: kinds() >= {"OrderTradeUpdate", "AccountUpdate"})
        seen["kinds"] = sorted(kinds())
        shapes = seen["shapes"]
        for one in got:
            name = type(getattr(one, "actual_instance", one)).__name__
            shapes[name] = [sorted(part) for part in differences(one)]

    async def error_mapping(self, seen: dict[str, Any]) -> None:
        async def error_of(name: str, *args: Any, **fields: Any) -> str:
            try:
                await asyncio.to_thread(getattr(self.rest, name), *args, **fields)
            except errors.Error as error:
                return f"{type(error).__name__} {error.args[0] if error.args else ''}"
            return "accepted"

        seen["cancel"] = await error_of("cancel_order", SYMBOL, order_id=999_999_999)
        seen["query"] = await error_of("query_order", SYMBOL, order_id=999_999_999)
        seen["symbol"] = await error_of("order_book", "NOSUCHUSDT")
        seen["old stop"] = await error_of("new_order", SYMBOL, "SELL", "STOP_MARKET", quantity=0.01)
        seen["lot"] = await error_of("new_order", SYMBOL, "BUY", "MARKET", quantity=0.0001)

    async def ws_trading(self, seen: dict[str, Any]) -> None:
        api = self.sdk.websocket_api
        await api.create_connection()
        try:
            price = round(await self.best_bid() * 0.97, 1)
            placed = await api.new_order(SYMBOL, "BUY", "LIMIT", quantity=0.002, price=price, time_in_force="GTC")
            order = placed.data().result
            seen["placed"] = order.status
            read = (await api.query_order(SYMBOL, order_id=order.order_id)).data().result
            seen["read"] = [read.status, read.orig_qty]
            amended = await api.modify_order(SYMBOL, "BUY", 0.003, price - 10, order_id=order.order_id)
            seen["amended"] = amended.data().result.orig_qty
            seen["cancelled"] = (await api.cancel_order(SYMBOL, order_id=order.order_id)).data().result.status
            seen["wallet"] = len((await api.futures_account_balance_v2()).data().result)
        finally:
            await api.close_connection()


async def judge(rest: str, ws: str) -> Judge:
    from importlib.metadata import version

    judge = Judge("official SDK", version("binance-sdk-derivatives-trading-usds-futures"))
    sdk = client(rest, ws)
    cases = Cases(sdk)
    for name, case in {
        "markets": cases.markets, "book": cases.book, "trades": cases.trades, "bars": cases.bars,
        "account": cases.account, "place": cases.place, "amend": cases.amend, "cancel": cases.cancel,
        "fill": cases.fill, "stop order": cases.stop_order, "public streams": cases.public_streams,
        "user stream": cases.user_stream, "error mapping": cases.error_mapping,
        "trading over WebSocket": cases.ws_trading,
    }.items():  # fmt: skip
        await judge.run(name, case)
    await sdk.websocket_streams.close_connection()
    return judge


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    print(asyncio.run(judge(sys.argv[1], sys.argv[2])).report())
