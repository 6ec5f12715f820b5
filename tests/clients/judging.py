"""What the judges share: one verdict for each thing a client does. It runs inside a client's environment: stdlib only.

A judge prints one JSON object: `{"client", "version", "verdicts": {case: "ok" | "Error: what"}, "seen": {...}}`. What a
case saw stays in `seen`, so that the tests compare values and not only the client's own satisfaction.
"""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

# the rows of the matrix, in its order; a client without one of them says "-" (its library has no such call)
CASES = (
    "markets", "book", "trades", "bars", "account", "place", "amend", "cancel", "fill", "stop order", "public streams",
    "user stream", "error mapping", "trading over WebSocket", "whole bot, dry run", "whole bot, orders sent",
)  # fmt: skip
CASE_S = 30.0  # a case; a whole bot says more

Case = Callable[[dict[str, Any]], Awaitable[None]]


class Judge:
    """Runs cases one after the other; a failing one leaves its error as verdict and the next one runs."""

    def __init__(self, client: str, version: str) -> None:
        self.verdicts: dict[str, str] = dict.fromkeys(CASES, "-")
        self.seen: dict[str, Any] = {}
        self._client, self._version = client, version

    async def run(self, name: str, case: Case, seconds: float = CASE_S) -> None:
        assert name in self.verdicts, name
        seen: dict[str, Any] = {}
        self.seen[name] = seen
        (end,) = await asyncio.gather(asyncio.wait_for(case(seen), seconds), return_exceptions=True)
        if isinstance(end, BaseException):  # the verdict is the error, whatever the client raises
            traceback.print_exception(end, file=sys.stderr)
            self.verdicts[name] = f"{type(end).__name__}: {str(end)[:300]}"
        else:
            self.verdicts[name] = "ok"

    def report(self) -> str:
        return json.dumps(
            {"client": self._client, "version": self._version, "verdicts": self.verdicts, "seen": self.seen}
        )


async def until(what: str, ready: Callable[[], bool], seconds: float = 15.0) -> None:
    """Wait for a condition that callbacks bring about."""
    for _ in range(int(seconds / 0.02)):
        if ready():
            return
        await asyncio.sleep(0.02)
    raise TimeoutError(f"no {what} within {seconds} s")
