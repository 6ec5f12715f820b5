"""The exchange's own record of what was true, for those who check a client: one JSON line for each book it has told of
(best levels at that update id) and each private event, before any fault meets it."""

import logging
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO

import orjson

from simex.market.public_book import PublicBook
from simex.market.scale import Scale

log = logging.getLogger("simex")
TOP = 20
MAX_BYTES = 4 * 1024**3
"""Some forty hours of two symbols; what comes after that is not written, and the log says so once."""


class Tape:
    """Appends to a file; each line is written whole, so that a reader can follow it.

    `{"k": "book", "s": symbol, "u": update id, "b": [[price, qty], ...], "a": [...]}`, and
    `{"k": "user", "a": account, "e": event}`.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self._file: IO[bytes] | None = path.open("ab", buffering=0)
        self._left_bytes = max_bytes - self._file.tell()

    def __enter__(self) -> "Tape":
        return self

    def __exit__(self, _kind: type[BaseException] | None, _e: BaseException | None, _tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the record."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def of(self, symbol: str, scale: Scale) -> Callable[[PublicBook], None]:
        """What a book calls whenever it tells somebody its state."""

        def told(book: PublicBook) -> None:
            bids, asks = book.top(TOP)
            self._write(
                {
                    "k": "book", "s": symbol, "u": book.last_id,
                    "b": [(scale.price(price), scale.qty(lots)) for price, lots in bids],
                    "a": [(scale.price(price), scale.qty(lots)) for price, lots in asks],
                }
            )  # fmt: skip

        return told

    def user(self, account: str, data: bytes) -> None:
        """A private event as it leaves, before any fault."""
        self._write({"k": "user", "a": account, "e": orjson.Fragment(data)})

    def _write(self, row: dict[str, object]) -> None:
        if self._file is None:
            return
        line = orjson.dumps(row) + b"\n"
        self._left_bytes -= len(line)
        if self._left_bytes < 0:
            log.warning("the tape is full; nothing more is written to it")
            self.close()
            return
        self._file.write(line)
