"""Run inside ccxt's own environment: the unmodified client (REST and pro), pointed at another address.

Usage: ccxt_judge.py REST WS. Prints the judge's report; any exception of the client is the verdict of its case.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from typing import Any

import ccxt.pro as ccxt  # type: ignore[import-not-found,unused-ignore]
from judging import Judge, until  # type: ignore[import-not-found,unused-ignore]

SYMBOL = "BTC/USDT:USDT"


def urls(rest: str, ws: str) -> dict[str, Any]:
    paths = {"fapiPublic": "/fapi/v1", "fapiPublicV2": "/fapi/v2", "fapiPublicV3": "/fapi/v3"}
    api: dict[str, Any] = {name: rest + path for name, path in paths.items()}
    api |= {name.replace("Public", "Private"): rest + path for name, path in paths.items()}
    api["fapiData"] = rest + "/futures/data"
    api["ws"] = {"linear": ws + "/ws", "ws-api": {"linear": ws + "/ws-fapi/v1"}}
    return {"api": api}


def exchange(rest: str, ws: str) -> Any:
    return ccxt.binanceusdm(
        {
            "apiKey": "simex",
            "secret": "simex",
            "urls": urls(rest, ws),
            "options": {
                "defaultType": "swap",
                "fetchMarkets": {"types": ["linear"]},
                "fetchCurrencies": False,
                "fetchMargins": False,
            },
        }
    )


class Cases:
    """Each method is one case."""

    def __init__(self, client: Any) -> None:
        self.client = client

    async def far_price(self, factor: float = 0.97) -> float:
        book = await self.client.fetch_order_book(SYMBOL, 5)
        return float(self.client.price_to_precision(SYMBOL, book["bids"][0][0] * factor))

    async def resting(self) -> Any:
        return await self.client.create_order(SYMBOL, "limit", "buy", 0.002, await self.far_price())

    async def markets(self, seen: dict[str, Any]) -> None:
        markets = await self.client.load_markets()
        seen["symbols"] = sorted(market["id"] for market in markets.values())
        seen["precision"] = [markets[SYMBOL]["precision"][key] for key in ("price", "amount")]
        seen["swap"] = [markets[SYMBOL]["swap"], markets[SYMBOL]["linear"]]
        seen["ticker"] = (await self.client.fetch_ticker(SYMBOL))["last"] > 0
        seen["funding"] = (await self.client.fetch_funding_rate(SYMBOL))["symbol"]
        seen["interest"] = (await self.client.fetch_open_interest(SYMBOL))["symbol"]

    async def book(self, seen: dict[str, Any]) -> None:
        book = await self.client.fetch_order_book(SYMBOL, 20)
        seen["bids"], seen["asks"] = len(book["bids"]), len(book["asks"])
        seen["crossed"] = book["bids"][0][0] >= book["asks"][0][0]

    async def trades(self, seen: dict[str, Any]) -> None:
        seen["ids"] = [int(trade["id"]) for trade in await self.client.fetch_trades(SYMBOL, limit=50)]

    async def bars(self, seen: dict[str, Any]) -> None:
        bars = await self.client.fetch_ohlcv(SYMBOL, "5m", limit=100)
        seen["count"] = len(bars)
        seen["steps_ms"] = sorted({later[0] - earlier[0] for earlier, later in itertools.pairwise(bars)})

    async def account(self, seen: dict[str, Any]) -> None:
        seen["wallet"] = (await self.client.fetch_balance())["USDT"]["total"]
        seen["positions"] = [one["symbol"] for one in await self.client.fetch_positions([SYMBOL])]
        await self.client.set_leverage(10, SYMBOL)
        seen["leverage"] = (await self.client.fetch_leverage(SYMBOL))["longLeverage"]
        seen["tiers"] = len((await self.client.fetch_leverage_tiers([SYMBOL]))[SYMBOL]) > 1
        seen["fee"] = (await self.client.fetch_trading_fee(SYMBOL))["taker"]
        await self.client.fetch_ledger("USDT")
        seen["mode"] = (await self.client.fetch_position_mode(SYMBOL))["hedged"]

    async def place(self, seen: dict[str, Any]) -> None:
        placed = await self.resting()
        seen["placed"] = [placed["status"], placed["amount"]]
        read = await self.client.fetch_order(placed["id"], SYMBOL)
        seen["read"] = [read["status"], read["price"] == placed["price"], read["amount"], read["filled"]]
        seen["listed"] = [one["id"] for one in await self.client.fetch_open_orders(SYMBOL)] == [placed["id"]]
        await self.client.cancel_all_orders(SYMBOL)
        two = await self.client.create_orders(
            [
                {"symbol": SYMBOL, "type": "limit", "side": "buy", "amount": 0.002, "price": await self.far_price(rate)}
                for rate in (0.97, 0.96)
            ]
        )
        seen["batch"] = [one["status"] for one in two]
        await self.client.cancel_all_orders(SYMBOL)

    async def amend(self, seen: dict[str, Any]) -> None:
        placed = await self.resting()
        amended = await self.client.edit_order(placed["id"], SYMBOL, "limit", "buy", 0.003, placed["price"] - 10)
        seen["amended"] = [amended["id"] == placed["id"], amended["amount"], amended["status"]]
        await self.client.cancel_order(placed["id"], SYMBOL)

    async def cancel(self, seen: dict[str, Any]) -> None:
        placed = await self.resting()
        seen["cancelled"] = (await self.client.cancel_order(placed["id"], SYMBOL))["status"]
        seen["after"] = (await self.client.fetch_order(placed["id"], SYMBOL))["status"]

    async def fill(self, seen: dict[str, Any]) -> None:
        bought = await self.client.create_order(SYMBOL, "market", "buy", 0.01)
        seen["bought"] = [(await self.client.fetch_order(bought["id"], SYMBOL))[key] for key in ("status", "filled")]
        seen["held"] = [(one["side"], one["contracts"]) for one in await self.client.fetch_positions([SYMBOL])]
        trades = await self.client.fetch_my_trades(SYMBOL)
        seen["trades_qty"] = round(sum(one["amount"] for one in trades if one["order"] == bought["id"]), 8)
        await self.client.create_order(SYMBOL, "market", "sell", 0.01, None, {"reduceOnly": True})
        seen["flat"] = [one["contracts"] for one in await self.client.fetch_positions([SYMBOL])]

    async def stop_order(self, seen: dict[str, Any]) -> None:
        await self.client.create_order(SYMBOL, "market", "buy", 0.01)
        stop = await self.client.create_order(
            SYMBOL, "market", "sell", 0.01, None, {"stopLossPrice": await self.far_price(0.95), "reduceOnly": True}
        )
        listed = await self.client.fetch_open_orders(SYMBOL, params={"trigger": True})
        seen["listed"] = [one["id"] for one in listed] == [stop["id"]]
        await self.client.cancel_order(stop["id"], SYMBOL, {"trigger": True})
        seen["left"] = len(await self.client.fetch_open_orders(SYMBOL, params={"trigger": True}))
        await self.client.create_order(SYMBOL, "market", "sell", 0.01, None, {"reduceOnly": True})

    async def public_streams(self, seen: dict[str, Any]) -> None:
        watched = []
        for _ in range(5):
            live = await self.client.watch_order_book(SYMBOL)
            watched.append((live["nonce"], live["bids"][0][0] < live["asks"][0][0]))
        seen["nonces"] = [nonce for nonce, _ in watched]
        seen["sound"] = all(sound for _, sound in watched)
        seen["trade"] = (await self.client.watch_trades(SYMBOL))[0]["symbol"]
        seen["bar"] = len((await self.client.watch_ohlcv(SYMBOL, "1m"))[0])
        seen["ticker"] = (await self.client.watch_ticker(SYMBOL))["symbol"]
        seen["mark"] = (await self.client.watch_mark_price(SYMBOL))["symbol"]

    async def user_stream(self, seen: dict[str, Any]) -> None:
        got: dict[str, list[Any]] = {"orders": [], "trades": [], "positions": [], "balance": []}

        async def watch(name: str, call: Any) -> None:
            while True:
                got[name].append(await call())

        watchers = [
            asyncio.create_task(watch("orders", lambda: self.client.watch_orders(SYMBOL))),
            asyncio.create_task(watch("trades", lambda: self.client.watch_my_trades(SYMBOL))),
            asyncio.create_task(watch("positions", lambda: self.client.watch_positions([SYMBOL]))),
            asyncio.create_task(watch("balance", self.client.watch_balance)),
        ]
        try:
            # the watchers subscribe first: an order placed before that would leave nothing to see
            await until("user connection", lambda: any("/private" in url for url in self.client.clients))
            client = next(one for url, one in self.client.clients.items() if "/private" in url)
            await client.connected
            await self.client.create_order(SYMBOL, "market", "buy", 0.01)
            await self.client.create_order(SYMBOL, "market", "sell", 0.01, None, {"reduceOnly": True})
            await until("all four kinds of news", lambda: all(got.values()))
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)
        seen["kinds"] = sorted(name for name, some in got.items() if some)
        seen["orders"] = sorted({order["status"] for orders in got["orders"] for order in orders})

    async def error_mapping(self, seen: dict[str, Any]) -> None:
        async def error_of(coming: Any) -> str:
            try:
                await coming
            except ccxt.BaseError as error:
                return type(error).__name__
            return "accepted"

        price = await self.far_price()
        low = float(self.client.price_to_precision(SYMBOL, price * 0.5))
        seen["cancel"] = await error_of(self.client.cancel_order("999999999", SYMBOL))
        seen["query"] = await error_of(self.client.fetch_order("999999999", SYMBOL))
        seen["band"] = await error_of(self.client.create_order(SYMBOL, "limit", "sell", 0.002, low))
        seen["funds"] = await error_of(self.client.create_order(SYMBOL, "limit", "buy", 3.0, price))
        stranger = exchange(self.client.urls["api"]["fapiPublic"].removesuffix("/fapi/v1"), "ws://127.0.0.1:1")
        stranger.secret = "wrong"
        try:
            seen["signature"] = await error_of(stranger.fetch_balance())
        finally:
            await stranger.close()

    async def ws_trading(self, seen: dict[str, Any]) -> None:
        placed = await self.client.create_order_ws(SYMBOL, "limit", "buy", 0.002, await self.far_price())
        seen["placed"] = placed["status"]
        seen["read"] = (await self.client.fetch_order_ws(placed["id"], SYMBOL))["status"]
        seen["cancelled"] = (await self.client.cancel_order_ws(placed["id"], SYMBOL))["status"]


async def judge(rest: str, ws: str) -> Judge:
    judge = Judge("ccxt", ccxt.__version__)
    client = exchange(rest, ws)
    cases = Cases(client)
    try:
        for name, case in {
            "markets": cases.markets, "book": cases.book, "trades": cases.trades, "bars": cases.bars,
            "account": cases.account, "place": cases.place, "amend": cases.amend, "cancel": cases.cancel,
            "fill": cases.fill, "stop order": cases.stop_order, "public streams": cases.public_streams,
            "user stream": cases.user_stream, "error mapping": cases.error_mapping,
            "trading over WebSocket": cases.ws_trading,
        }.items():  # fmt: skip
            await judge.run(name, case)
    finally:
        await client.close()
    return judge


if __name__ == "__main__":
    print(asyncio.run(judge(sys.argv[1], sys.argv[2])).report())
