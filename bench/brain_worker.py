"""A real brain (runner, checkpoint, outbox, feed, socket) whose strategy places one order after the other.

python -m bench.brain_worker SOCKET REDIS_URL STATE_DIR COUNT

STATE_DIR/called.json then holds when each intent was called, {brain/run/seq: CLOCK_BOOTTIME ns}.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from decimal import Decimal
from pathlib import Path

from brain.api import Context, Handle, Params, Strategy
from brain.app import App, Plan
from brain.settings import BrainSettings
from ipc.clock import boot_ns

SYMBOL = "BTCUSDT"


class OneAfterTheOther(Strategy):
    """The next order as soon as the last one is known closed; far below the market, IOC, so it never fills."""

    name = "bench"

    def __init__(self, params: Params, count: int) -> None:
        super().__init__(params)
        self._left = count
        self._busy = False
        self.called: dict[str, int] = {}

    def on_slice(self, ctx: Context, symbol: str) -> None:
        if not self._busy and ctx.best() is not None and ctx.position() is not None:
            self._place(ctx)

    def on_order(self, ctx: Context, handle: Handle) -> None:
        if not handle.done:
            return
        self._busy = False
        if self._left > 0:
            self._place(ctx)
        else:
            os.kill(os.getpid(), signal.SIGTERM)

    def _place(self, ctx: Context) -> None:
        best = ctx.best()
        if best is None or self._left <= 0:
            return
        self._left -= 1
        self._busy = True
        price = best[0] * Decimal("0.99")
        at_ns = boot_ns()
        handle = ctx.place("BUY", Decimal("0.002"), price, tif="IOC", tag="bench")
        self.called[handle.intent] = at_ns


def main(socket: str, redis_url: str, state_dir: str, count: str) -> int:
    strategy = OneAfterTheOther(Params(), int(count))
    plan = Plan("bench", "main", strategy, [SYMBOL], redis_url, Path(socket), Path(state_dir), BrainSettings())
    code = App(plan).run()
    (Path(state_dir) / "called.json").write_text(json.dumps(strategy.called))
    return code


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
