"""The dead man's switch (section 4.7): cancels all open orders of one symbol when nobody restarted it in time.

Whether it takes conditional orders along is not known of the real exchange: `Rules.countdown_cancels_algos`.
"""

from __future__ import annotations

from simex.core.api import Reply
from simex.core.context import Context, Routes, ok
from simex.core.errors import missing
from simex.core.orders import integer
from simex.core.settlement import COUNTDOWN


def start(ctx: Context) -> Reply:
    """Start, restart or (0) stop the countdown of a symbol."""
    symbol = ctx.market().instrument.symbol
    countdown_ms = integer(ctx.params, "countdownTime")
    if countdown_ms is None:
        raise missing("countdownTime")
    key = (ctx.account.name, symbol)
    if countdown_ms:
        ctx.engine.timers.set(COUNTDOWN, key, ctx.now_ms + countdown_ms)
    else:
        ctx.engine.timers.clear(COUNTDOWN, key)
    return ok({"symbol": symbol, "countdownTime": str(countdown_ms)})


ROUTES: Routes = {("POST", "/fapi/v1/countdownCancelAll"): start}
