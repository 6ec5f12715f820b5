"""Runs in python-binance's own environment: its bare futures_create_order in a loop, on uvloop, one after the other.

python python_binance_orders.py REST COUNT     prints {client order id: CLOCK_BOOTTIME ns before the call}
"""

import asyncio
import json
import sys
import time

import uvloop
from binance import AsyncClient


async def run(rest: str, count: int) -> dict[str, int]:
    client = AsyncClient("simex", "simex")
    client.FUTURES_URL = rest + "/fapi"
    called = {}
    for number in range(count):
        name = f"pb-{time.time_ns()}-{number}"[:36]
        called[name] = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        await client.futures_create_order(
            symbol="BTCUSDT",
            side="BUY",
            type="LIMIT",
            timeInForce="IOC",
            quantity="0.002",
            price="90000.0",
            newClientOrderId=name,
        )
    await client.close_connection()
    return called


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(run(sys.argv[1], int(sys.argv[2])))))
