"""Recorded sessions as lines in order of arrival, whichever way they were written down.

Two formats: `<local time> <JSON>` a line, gzipped (the JSON is a combined-stream message, or a REST depth snapshot
without a symbol), and JSON lines of a session with several symbols (`t` = http, recv ...), Zstandard-compressed.
The text of every message is kept as recorded.
"""

import gzip
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import zstandard

DEPTH, BOOK_TICKER, TRADE, AGG_TRADE, MARK, KLINE, SNAPSHOT = (
    "depthUpdate", "bookTicker", "trade", "aggTrade", "markPriceUpdate", "kline", "snapshot",
)  # fmt: skip
_KINDS = {DEPTH, BOOK_TICKER, TRADE, AGG_TRADE, MARK, KLINE}
_TIME = re.compile(rb'("[ET]":\s*)(\d{13})(?=[,}\s])')


class BadRecording(ValueError):
    """The file cannot be replayed; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Line:
    """One recorded message: local time in ns, kind, symbol, and the bare event (or snapshot body) as recorded."""

    at_ns: int
    kind: str
    symbol: str
    text: bytes


def shifted(text: bytes, shift_ms: int) -> bytes:
    """The same text with every `E` and `T` moved by a constant; nothing else changes."""
    if shift_ms == 0:
        return text
    return _TIME.sub(lambda match: match[1] + str(int(match[2]) + shift_ms).encode(), text)


class Recording:
    """A recorded session. `lines` may be iterated any number of times."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.exchange_info: dict[str, Any] | None = None
        if path.suffix == ".gz":
            self._symbol = self._single_symbol()
        elif path.name.endswith(".jsonl.zst"):
            self._session = self._read_session()
        else:
            raise BadRecording(f"{path.name}: not a known recording (expected *.gz or *.jsonl.zst)")

    def lines(self) -> Iterator[Line]:
        """Every message that can be replayed, in order of arrival."""
        if self.path.suffix == ".gz":
            yield from self._text_lines()
        else:
            yield from self._session

    def _text_lines(self) -> Iterator[Line]:
        try:
            with gzip.open(self.path, "rb") as file:
                for number, raw in enumerate(file, 1):
                    line = self._text_line(number, raw)
                    if line is not None:
                        yield line
        except (OSError, EOFError) as error:
            raise BadRecording(f"{self.path.name}: cannot be read to its end: {error}") from error

    def _text_line(self, number: int, raw: bytes) -> Line | None:
        stamp, _, text = raw.rstrip().partition(b" ")
        if not stamp.isdigit():
            raise BadRecording(f"{self.path.name}: line {number} does not begin with a local time")
        at_ns = int(stamp) * 10 ** max(0, 19 - len(stamp))  # microseconds and milliseconds are shorter
        if text.startswith(b'{"stream":'):
            return _frame(at_ns, text, f"{self.path.name}: line {number}")
        if b'"lastUpdateId"' in text[:40]:
            return Line(at_ns, SNAPSHOT, self._symbol, text)
        raise BadRecording(f"{self.path.name}: line {number} is neither a stream message nor a depth snapshot")

    def _single_symbol(self) -> str:
        """The symbol of a file whose snapshots name none: that of its first stream message."""
        self._symbol = ""
        for line in self._text_lines():
            if line.symbol:
                return line.symbol
        raise BadRecording(f"{self.path.name}: holds no stream message")

    def _read_session(self) -> list[Line]:
        """The whole session, by local time: its file is ordered by connection first."""
        lines: list[Line] = []
        with self.path.open("rb") as file:
            reader = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file))
            for number, raw in enumerate(reader, 1):
                try:
                    entry = orjson.loads(raw)
                    at_ns = round(entry.get("ts", 0) * 1e6) * 1000
                    line = self._session_line(entry, at_ns, f"{self.path.name}: line {number}")
                except (ValueError, KeyError, TypeError) as error:
                    raise BadRecording(f"{self.path.name}: line {number}: {error}") from error
                if line is not None:
                    lines.append(line)
        lines.sort(key=lambda line: line.at_ns)
        return lines

    def _session_line(self, entry: dict[str, Any], at_ns: int, where: str) -> Line | None:
        if entry["t"] == "recv":
            return _frame(at_ns, entry["data"].encode(), where)
        if entry["t"] != "http":
            return None
        url = urlsplit(entry["url"])
        if url.path == "/fapi/v1/exchangeInfo":
            self.exchange_info = orjson.loads(entry["data"])
        elif url.path == "/fapi/v1/depth":
            return Line(at_ns, SNAPSHOT, parse_qs(url.query)["symbol"][0], entry["data"].encode())
        elif not url.path.startswith("/fapi/"):
            raise BadRecording(f"{where}: not a USDⓈ-M session: {url.path}")
        return None


def _frame(at_ns: int, text: bytes, where: str) -> Line | None:
    """A combined-stream message; None for one that is of no use in a replay (an acknowledgement, another kind)."""
    head, found, rest = text.partition(b'"data":')
    if not found or not head.startswith(b'{"stream":') or not rest.endswith(b"}"):
        return None
    data = rest[:-1].strip()
    event = orjson.loads(data)
    kind = event.get("e") if isinstance(event, dict) else None
    if kind not in _KINDS:
        return None
    if kind == DEPTH and "pu" not in event:
        raise BadRecording(f"{where}: a depth message without `pu` is not of USDⓈ-M futures")
    return Line(at_ns, kind, event["s"], data)
