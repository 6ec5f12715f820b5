"""Recorded sessions served by simex to a tapped gateway, all over sockets, and the oracles its books are held against.

The oracles know nothing of the gateway and nothing of simex: they read the recording with the standard library.
"""

from __future__ import annotations

import functools
import gzip
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import zstandard

from tests.gateway.rig import Rig
from tests.simex.running import Running
from tests.waiting import wait_until

TOP = 20
Level = tuple[int, int]
Sides = tuple[tuple[Level, ...], tuple[Level, ...]]


@functools.lru_cache(maxsize=1_000_000)
def exact(text: str) -> int:
    """A decimal text as a whole number of 1e-12: two texts are equal here only if the numbers are."""
    scaled = Decimal(text).scaleb(12)
    assert scaled == int(scaled), f"{text} is finer than 1e-12"
    return int(scaled)


def levels(rows: list[Any]) -> tuple[Level, ...]:
    return tuple((exact(price), exact(size)) for price, size in rows)


def recorded(path: Path) -> Iterator[dict[str, Any]]:
    """Depth events, book tickers and snapshots in the order in which the recorder got them; a snapshot of a file of
    one symbol carries none, so its name is added."""
    if path.suffix == ".gz":
        symbol = path.name.split("_")[1].upper()
        with gzip.open(path, "rb") as lines:
            for line in lines:
                message = json.loads(line.partition(b" ")[2])
                yield message.get("data", {**message, "e": "snapshot", "s": symbol})
        return
    text = zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read()
    rows = [json.loads(line) for line in text.splitlines()]
    for row in sorted((row for row in rows if row["t"] in ("http", "recv")), key=lambda row: row["ts"]):
        if row["t"] == "recv":
            yield json.loads(row["data"])["data"]
        elif "/depth?symbol=" in row["url"]:
            symbol = row["url"].partition("symbol=")[2].partition("&")[0]
            yield {**json.loads(row["data"]), "e": "snapshot", "s": symbol}


@dataclass
class Oracle:
    """What one symbol's book must show after each update id, by the recorded snapshot, and the best quotes recorded.

    `tops` has every message of the chain that a book from the recorded snapshot must apply, in order.
    """

    symbol: str
    tops: dict[int, Sides] = field(default_factory=dict)
    best: dict[int, tuple[int, int]] = field(default_factory=dict)
    messages: int = 0
    last_u: int = 0
    _events: list[dict[str, Any]] = field(default_factory=list)
    _tickers: list[tuple[int, str, str]] = field(default_factory=list)
    _snapshot: dict[str, Any] = field(default_factory=dict)

    def take(self, event: dict[str, Any]) -> None:
        if event["e"] == "depthUpdate":
            self._events.append(event)
        elif event["e"] == "bookTicker":
            self._tickers.append((event["u"], event["b"], event["a"]))
        elif event["e"] == "snapshot":
            self._snapshot = event

    def build(self) -> Oracle:
        """Plain dicts, sorted anew after every message."""
        bids, asks = dict(levels(self._snapshot["bids"])), dict(levels(self._snapshot["asks"]))
        last_id = self._snapshot["lastUpdateId"]
        tickers = sorted(self._tickers)
        ticker = 0
        chained = False
        for event in self._events:
            self.messages += 1
            self.last_u = event["u"]
            if event["u"] < last_id and not chained:
                continue
            assert event["pu"] == last_id if chained else event["U"] <= last_id, "the recording itself is broken"
            chained, last_id = True, event["u"]
            for side, changes in ((bids, event["b"]), (asks, event["a"])):
                side.update(levels(changes))
                for price in [exact(price) for price, size in changes if exact(size) == 0]:
                    side.pop(price, None)
            self.tops[last_id] = (
                tuple((price, bids[price]) for price in sorted(bids, reverse=True)[:TOP]),
                tuple((price, asks[price]) for price in sorted(asks)[:TOP]),
            )
            while ticker < len(tickers) and tickers[ticker][0] <= last_id:
                ticker += 1
            if ticker:
                _, bid, ask = tickers[ticker - 1]
                self.best[last_id] = (exact(bid), exact(ask))
        self._events.clear()
        self._tickers.clear()
        return self


def oracles(path: Path) -> dict[str, Oracle]:
    """One for each symbol of the recording."""
    found: dict[str, Oracle] = {}
    for event in recorded(path):
        if event["e"] in ("depthUpdate", "bookTicker", "snapshot"):
            found.setdefault(event["s"], Oracle(event["s"])).take(event)
    return {symbol: oracle.build() for symbol, oracle in found.items()}


class TappedRig(Rig):
    """A gateway process with `tests.proof.tapped_gateway` inside."""

    def __init__(self, simex: Running, url: str, folder: Path, run_dir: Path, **config: Any) -> None:
        super().__init__(simex, url, folder, run_dir, **config)
        self.tap_file = folder / "taps"
        self.tap_file.touch()

    def __enter__(self) -> TappedRig:
        super().__enter__()
        return self

    def spawn(self) -> subprocess.Popen[bytes]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("BRAINSTEM_")}
        command = [sys.executable, "-m", "tests.proof.tapped_gateway", str(self.tap_file), "--config", str(self.config)]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, env=environ, cwd=Path(__file__).parents[2]
            )

    def taps(self) -> list[dict[str, Any]]:
        """Every message applied so far."""
        whole = self.tap_file.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def wait_applied(self, oracle: Oracle, timeout_s: float) -> None:
        """Until the last message of the recording was applied."""
        end = f"{oracle.symbol} to its end"
        wait_until(lambda: self.last_applied(oracle.symbol) == oracle.last_u, timeout_s, end, poll_s=0.1)

    def last_applied(self, symbol: str) -> int:
        """Update id of the newest applied message; 0 before the first."""
        with self.tap_file.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 65_536))
            tail = file.read().rpartition(b"\n")[0].decode()
        found = re.findall(rf'\{{"s": "{symbol}", "u": (\d+)', tail)
        return int(found[-1]) if found else 0


class Monitor:
    """Everything Redis is told, from `MONITOR` on a connection of its own: no slice is overwritten unseen."""

    def __init__(self, url: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(urlsplit(url).path)
        self._raw = bytearray()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._socket.sendall(b"MONITOR\r\n")
        assert self._socket.recv(5) == b"+OK\r\n"
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._socket.close()

    def _listen(self) -> None:
        while chunk := self._socket.recv(1 << 20):
            self._raw += chunk

    def slices(self, key: str) -> list[dict[str, Any]]:
        """Every value the key was given, in order (MSET, alone or inside the script that appends events)."""
        found = []
        wanted = re.compile(rb'"' + re.escape(key.encode()) + rb'" "((?:[^"\\]|\\.)*)"')
        for line in bytes(self._raw).split(b"\r\n"):
            if b'] "MSET" ' in line:
                found += [json.loads(plain(match[1])) for match in wanted.finditer(line)]
        return found


def plain(escaped: bytes) -> bytes:
    """MONITOR's escapes undone; a slice is ASCII JSON, so only quotes and backslashes are escaped."""
    return re.sub(rb"\\(.)", rb"\1", escaped)
