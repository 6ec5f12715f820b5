"""The brain's own process with a strategy of its own: an entry every 20 ms, by the clock alone.

The strategies that ship decide when something they read has changed, so they would fall silent with the gateway in any
case. This one falls silent only if the brain refuses to decide. `python -m tests.proof.ticking_brain --symbol ...`.
"""

from __future__ import annotations

import sys
from decimal import Decimal
from unittest import mock

from brain.api import Context, Params, Strategy
from scripts import brain

NAME = "ticking"
EVERY_MS = 20


class Ticking(Strategy):
    name = NAME
    help = "an entry every 20 ms"
    parameters = Params

    def on_start(self, ctx: Context) -> None:
        ctx.timer("tick", EVERY_MS)

    def on_timer(self, ctx: Context, timer: str) -> None:
        ctx.place("BUY", Decimal("0.01"), tag="tick")
        ctx.timer("tick", EVERY_MS)


if __name__ == "__main__":
    with mock.patch("brain.strategies.find", lambda *_, **__: Ticking):
        code = brain.main(["--strategy", NAME, *sys.argv[1:]])
    sys.exit(code)
