"""Run inside ccxt's own environment: an unmodified client of the real exchange, pointed at another address.

Usage: ccxt_judge.py REST WS. Prints one JSON object of what the client saw; any exception is its verdict.
"""

import asyncio
import json
import sys
from typing import Any

import ccxt.pro as ccxt  # type: ignore[import-not-found,unused-ignore]


def exchange(rest: str, ws: str) -> Any:
    paths = {"fapiPublic": "/fapi/v1", "fapiPublicV2": "/fapi/v2", "fapiPublicV3": "/fapi/v3"}
    api: dict[str, Any] = {name: rest + path for name, path in paths.items()}
    api |= {name.replace("Public", "Private"): rest + path for name, path in paths.items()}
    api["fapiData"] = rest + "/futures/data"
    api["ws"] = {"linear": ws + "/ws", "ws-api": {"linear": ws + "/ws-fapi/v1"}}
    return ccxt.binanceusdm(
        {
            "apiKey": "simex",
            "secret": "simex",
            "urls": {"api": api},
            "options": {
                "defaultType": "swap",
                "fetchMarkets": {"types": ["linear"]},
                "fetchCurrencies": False,
                "fetchMargins": False,
            },
        }
    )


async def judge(rest: str, ws: str) -> dict[str, Any]:
    client = exchange(rest, ws)
    symbol = "BTC/USDT:USDT"
    seen: dict[str, Any] = {"version": ccxt.__version__}
    try:
        markets = await client.load_markets()
        market = markets[symbol]
        seen["markets"] = sorted(m["id"] for m in markets.values())
        seen["tick"], seen["step"] = market["precision"]["price"], market["precision"]["amount"]
        book = await client.fetch_order_book(symbol, 20)
        seen["fetched"] = {"bids": len(book["bids"]), "asks": len(book["asks"]), "bid": book["bids"][0][0]}
        seen["crossed"] = book["bids"][0][0] >= book["asks"][0][0]
        watched = []
        for _ in range(5):
            live = await asyncio.wait_for(client.watch_order_book(symbol), 20)
            watched.append((live["nonce"], live["bids"][0][0], live["asks"][0][0]))
        seen["watched"] = watched
        price = float(client.price_to_precision(symbol, book["bids"][0][0] * 0.97))
        placed = await client.create_order(symbol, "limit", "buy", 0.002, price)
        seen["placed"] = {key: placed[key] for key in ("id", "clientOrderId", "status", "price", "amount")}
        read = await client.fetch_order(placed["id"], symbol)
        seen["read"] = {key: read[key] for key in ("id", "status", "price", "amount", "filled")}
        seen["open"] = [order["id"] for order in await client.fetch_open_orders(symbol)]
        cancelled = await client.cancel_order(placed["id"], symbol)
        seen["cancelled"] = cancelled["status"]
        seen["after"] = (await client.fetch_order(placed["id"], symbol))["status"]
        try:
            await client.cancel_order(placed["id"], symbol)
            seen["again"] = "accepted"
        except ccxt.OrderNotFound as error:
            seen["again"] = type(error).__name__
        try:
            await client.create_order(
                symbol, "limit", "sell", 0.002, float(client.price_to_precision(symbol, price * 0.5))
            )
            seen["band"] = "accepted"
        except ccxt.BaseError as error:
            seen["band"] = type(error).__name__
    finally:
        await client.close()
    return seen


if __name__ == "__main__":
    print(json.dumps(asyncio.run(judge(sys.argv[1], sys.argv[2]))))
