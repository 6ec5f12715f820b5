"""The gateway's own process, with one thing more: every message applied to a live book is written to a file.

`python -m tests.proof.tapped_gateway TAPFILE --config ...`; one JSON line a message: symbol, last update id, best
levels a side as the book holds them at that very moment.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any
from unittest import mock

from gateway.core.book import Book
from gateway.core.build import CoreSettings, build
from gateway.core.gateway import Gateway
from scripts import gateway

TOP = 20


def tapped(file: IO[str], real: Callable[..., Gateway]) -> Callable[..., Gateway]:
    """`build` of the core, with a tap on each configured symbol."""

    def write(symbol: str) -> Callable[[int, Book], None]:
        def tap(last_id: int, book: Book) -> None:
            bids, asks = book.top(TOP)
            file.write(json.dumps({"s": symbol, "u": last_id, "bids": bids, "asks": asks}) + "\n")

        return tap

    def make(settings: CoreSettings, *args: Any, **fields: Any) -> Gateway:
        made = real(settings, *args, **fields)
        for symbol in settings.root.symbols:
            made._parts.market.tap(symbol, write(symbol))
        return made

    return make


if __name__ == "__main__":
    with (
        Path(sys.argv[1]).open("a", buffering=1, encoding="utf-8") as taps,
        mock.patch("gateway.app.build", tapped(taps, build)),
    ):
        code = gateway.main(sys.argv[2:])
    sys.exit(code)
