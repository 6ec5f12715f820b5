"""Looks at everything Redis is told while a campaign runs: every book slice against the exchange's own tape, bit by
bit, and since when the system has been ready. Nothing is kept but what is still to be judged."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tests.proof.replaying import Monitor, plain

KEPT = 20_000  # update ids a symbol: at ten a second more than half an hour
Sides = tuple[list[list[str]], list[list[str]]]


class Tape:
    """Follows the file that simex writes with `--tape`."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("rb")
        self._rest = b""
        self.books: dict[str, OrderedDict[int, Sides]] = {}
        self.trades: dict[str, set[tuple[str, int]]] = {}  # (symbol, id) by client order id: ids are a symbol's own

    def close(self) -> None:
        self._file.close()

    def follow(self) -> None:
        lines = (self._rest + self._file.read()).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            row = json.loads(line)
            if row["k"] == "book":
                books = self.books.setdefault(row["s"], OrderedDict())
                books[row["u"]] = (row["b"], row["a"])
                if len(books) > KEPT:
                    books.popitem(last=False)
            elif row["e"]["e"] == "ORDER_TRADE_UPDATE" and row["e"]["o"]["x"] == "TRADE":
                order = row["e"]["o"]
                self.trades.setdefault(order["c"], set()).add((order["s"], order["t"]))


@dataclass
class Seen:
    """What the watch has counted."""

    slices: int = 0
    live: int = 0
    judged: int = 0  # different live books
    wrong: list[str] = field(default_factory=list)


class Watch(Monitor):
    """Judges each slice as it comes, and keeps none."""

    def __init__(self, url: str, tape: Tape, symbols: list[str], account: str = "main") -> None:
        super().__init__(url)
        self._tape = tape
        names = "|".join([*(f"{symbol}:book" for symbol in symbols), "gateway"])
        self._wanted = re.compile(rf'"bs:{account}:({names})" "((?:[^"\\]|\\.)*)"'.encode())
        self._last: dict[str, bytes] = {}
        self._state: dict[str, bool] = dict.fromkeys([*symbols, "gateway"], False)
        self._lock = threading.Lock()
        self._ready_since_s: float | None = None
        self.seen = Seen()
        self.error: BaseException | None = None

    def ready_since_s(self) -> float | None:
        """Wall time since which the gateway has been ready and every book live, without a break; None: it is not."""
        if self.error is not None:
            raise self.error
        with self._lock:
            return self._ready_since_s

    def _listen(self) -> None:
        rest = b""
        try:
            while chunk := self._socket.recv(1 << 20):
                lines = (rest + chunk).split(b"\r\n")
                rest = lines.pop()
                for line in lines:
                    if b'] "MSET" ' in line:  # alone or inside the script that appends events
                        for match in self._wanted.finditer(line):
                            self._take(match[1].decode(), match[2])
        except BaseException as error:
            self.error = error
            raise

    def _take(self, name: str, escaped: bytes) -> None:
        value: dict[str, Any] = json.loads(plain(escaped))
        if name == "gateway":
            self._note(name, bool(value["ready"]))
            return
        symbol = name.partition(":")[0]
        self.seen.slices += 1
        live = value["state"] == "live"
        self._note(symbol, live)
        if live:
            self.seen.live += 1
            self._judge(symbol, value)
        elif value["bids"] or value["asks"]:
            self.seen.wrong.append(f"{symbol}: levels of a book in state {value['state']}")

    def _judge(self, symbol: str, value: dict[str, Any]) -> None:
        shown = json.dumps([value["u"], value["bids"], value["asks"]]).encode()
        if self._last.get(symbol) == shown:
            return
        self._last[symbol] = shown
        self.seen.judged += 1
        self._tape.follow()
        truth = self._tape.books.get(symbol, OrderedDict()).get(value["u"])
        if truth is None:
            self.seen.wrong.append(f"{symbol}: live at u={value['u']}, which the exchange never told")
        elif truth != (value["bids"], value["asks"]):
            self.seen.wrong.append(f"{symbol}: wrong at u={value['u']}: {value['bids'][:2]} for {truth[0][:2]}")

    def _note(self, name: str, good: bool) -> None:
        self._state[name] = good
        with self._lock:
            if not all(self._state.values()):
                self._ready_since_s = None
            elif self._ready_since_s is None:
                self._ready_since_s = time.time()
