"""Run inside freqtrade's own environment: the whole bot, unmodified, first in dry-run and then sending orders.

Usage: freqtrade_judge.py REST WS. What the bot did is read from the database it keeps, as its user would see it.
"""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from judging import Judge, until  # type: ignore[import-not-found,unused-ignore]

HERE = Path(__file__).parent
PAIR = "BTC/USDT:USDT"
ROUND_S = 80.0


def config(rest: str, ws: str, dry: bool) -> dict[str, Any]:
    paths = {"fapiPublic": "/fapi/v1", "fapiPublicV2": "/fapi/v2", "fapiPublicV3": "/fapi/v3"}
    api: dict[str, Any] = {name: rest + path for name, path in paths.items()}
    api |= {name.replace("Public", "Private"): rest + path for name, path in paths.items()}
    api |= {"fapiData": rest + "/futures/data"}
    api |= {"ws": {"linear": ws + "/ws", "ws-api": {"linear": ws + "/ws-fapi/v1"}}}
    options = {
        "defaultType": "swap",
        "fetchMarkets": {"types": ["linear"]},
        "fetchCurrencies": False,
        "fetchMargins": False,
    }
    return {
        "max_open_trades": 1,
        "stake_currency": "USDT",
        "stake_amount": 500,
        "dry_run": dry,
        "dry_run_wallet": 10_000,
        "initial_state": "running",
        "trading_mode": "futures",
        "margin_mode": "isolated",
        "cancel_open_orders_on_exit": True,
        "exchange": {
            "name": "binance",
            "key": "simex",
            "secret": "simex",
            "pair_whitelist": [PAIR],
            "ccxt_config": {"urls": {"api": api}, "options": options},
            "ccxt_async_config": {"urls": {"api": api}, "options": options},
        },
        "entry_pricing": {"price_side": "other", "use_order_book": True, "order_book_top": 1},
        "exit_pricing": {"price_side": "other", "use_order_book": True, "order_book_top": 1},
        "pairlists": [{"method": "StaticPairList"}],
        "internals": {"process_throttle_secs": 1, "heartbeat_interval": 2},
    }


class Bot:
    """One run of `freqtrade trade` in a folder of its own."""

    def __init__(self, folder: Path, rest: str, ws: str, dry: bool) -> None:
        folder.mkdir()
        self.database, self.log = folder / "trades.sqlite", folder / "bot.log"
        (folder / "config.json").write_text(json.dumps(config(rest, ws, dry)))
        command = [sys.executable, "-m", "freqtrade", "trade", "-c", str(folder / "config.json")]
        command += ["--userdir", str(folder), "--strategy-path", str(HERE / "freqtrade_bot"), "-s", "AlwaysIn"]
        command += ["--db-url", f"sqlite:///{self.database}"]
        subprocess.run(
            [sys.executable, "-m", "freqtrade", "create-userdir", "--userdir", str(folder)],
            check=True,
            capture_output=True,
        )
        with self.log.open("w") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)

    def said(self, pattern: str) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"the bot ended with {self.process.returncode}: {self.log.read_text()[-1500:]}")
        return re.search(pattern, self.log.read_text()) is not None

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        if not self.database.exists():
            return []
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True) as database:
            try:
                return database.execute(query).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):  # the bot is still making them
                    return []
                raise

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(30)


async def rounds(bot: Bot, seen: dict[str, Any]) -> None:
    """Until a whole trade is done: entry filled, exit filled."""
    try:
        await until("running bot", lambda: bot.said("Bot heartbeat"), ROUND_S)
        closed = "select count(*) from trades where is_open = 0"
        await until("closed trade", lambda: bot.said(".") and bot.rows(closed) not in ([], [(0,)]), ROUND_S)
    finally:
        text = bot.log.read_text()
        seen["errors"] = [line for line in text.splitlines() if " ERROR " in line or "Traceback" in line][:5]
        seen["orders"] = bot.rows("select ft_order_side, amount, filled from orders order by id limit 3")
        seen["exit"] = bot.stop()


async def judge(rest: str, ws: str) -> Judge:
    judge = Judge("freqtrade", version("freqtrade"))
    with tempfile.TemporaryDirectory() as folder:

        async def dry(seen: dict[str, Any]) -> None:
            await rounds(Bot(Path(folder) / "dry", rest, ws, dry=True), seen)

        async def live(seen: dict[str, Any]) -> None:
            await rounds(Bot(Path(folder) / "live", rest, ws, dry=False), seen)

        await judge.run("whole bot, dry run", dry, 3 * ROUND_S)
        await judge.run("whole bot, orders sent", live, 3 * ROUND_S)
    return judge


if __name__ == "__main__":
    print(asyncio.run(judge(sys.argv[1], sys.argv[2])).report())
