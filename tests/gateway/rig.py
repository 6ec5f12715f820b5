"""A real gateway process against a real simex and a real Redis, driven over its socket."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import redis

from tests.simex.running import Running
from tests.waiting import wait_until


class Line:
    """One connection to the socket: JSON lines, blocking."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(10)
        self._socket.connect(os.fspath(path))
        self._file = self._socket.makefile("rb")
        self._number = 0

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def read(self) -> dict[str, Any]:
        line = self._file.readline()
        assert line, "the gateway closed the connection"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """The answer to one request (others must not be open on this connection)."""
        self._number += 1
        self.send(json.dumps({"id": self._number, "op": op, **fields}).encode() + b"\n")
        answer = self.read()
        assert answer["id"] == self._number
        return answer

    def result(self, op: str, **fields: Any) -> Any:
        answer = self.ask(op, **fields)
        assert answer["ok"], answer
        return answer["result"]

    def close(self) -> None:
        self._file.close()
        self._socket.close()


class Brain(Line):
    """A connection that said hello as a brain."""

    def __init__(
        self, path: Path, name: str = "tester", symbols: tuple[str, ...] = ("BTCUSDT",), run: str = ""
    ) -> None:
        super().__init__(path)
        self.name = name
        self.run = run or f"r{time.time_ns() // 1_000_000}"
        self.told = self.result("hello", brain=name, run=self.run, symbols=list(symbols), intervals=["5m"])
        self.seq = self.told["last_seq"]

    def intent(self, seq: int | None = None) -> dict[str, Any]:
        if seq is None:
            self.seq += 1
        return {"brain": self.name, "run": self.run, "seq": self.seq if seq is None else seq}

    def place(
        self, side: str, qty: str, price: str | None = None, *, seq: int | None = None, **more: Any
    ) -> dict[str, Any]:
        kind = {"type": "MARKET"} if price is None else {"type": "LIMIT", "price": price, "tif": "GTC"}
        fields = {"symbol": "BTCUSDT", "side": side, "qty": qty, **kind, **more}
        return self.ask("place", intent=self.intent(seq), **fields)


class Rig:
    """`start` and `stop` the gateway as often as wanted: the state folder stays. `url` None: no Redis."""

    def __init__(self, simex: Running, url: str | None, folder: Path, run_dir: Path, **config: Any) -> None:
        self.simex = simex
        self.socket = run_dir / "main.sock"
        self.state_dir = folder / "state"
        self.log = folder / "gateway.log"
        self.config = folder / "config.json"
        document: dict[str, Any] = {
            "environment": "simex",
            "accounts": {"main": {"symbols": ["BTCUSDT", "ETHUSDT"]}},
            "simex": {"rest": simex.rest, "ws": simex.ws},
            "state_dir": str(self.state_dir),
            "run_dir": str(run_dir),
            "redis": {"url": url},
            **config,
        }
        self.config.write_text(json.dumps(document))
        self.redis = redis.Redis.from_url(url) if url is not None else None
        self.process: subprocess.Popen[bytes] | None = None
        self.ready: dict[str, Any] = {}
        self._lines: list[Line] = []

    def __enter__(self) -> Rig:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for line in self._lines:
            line.close()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()
        if self.redis is not None:
            self.redis.close()
        if kind is not None:
            print(self.log.read_text()[-6000:])

    def spawn(self) -> subprocess.Popen[bytes]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("BRAINSTEM_")}
        command = [sys.executable, "-m", "scripts.gateway", "--config", str(self.config)]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, env=environ, cwd=Path(__file__).parents[2]
            )

    def start(self, timeout_s: float = 40) -> None:
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()
        self.process = self.spawn()
        assert self.process.stdout is not None
        found, _, _ = select.select([self.process.stdout], [], [], timeout_s)
        line = self.process.stdout.readline() if found else b""
        assert line, f"no ready line: {self.log.read_text()[-3000:]}"
        self.ready = json.loads(line)

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def brain(self, **fields: Any) -> Brain:
        brain = Brain(self.socket, **fields)
        self._lines.append(brain)
        return brain

    def line(self) -> Line:
        line = Line(self.socket)
        self._lines.append(line)
        return line

    def slice(self, name: str) -> dict[str, Any]:
        assert self.redis is not None
        raw: Any = self.redis.get(f"bs:main:{name}")
        found: dict[str, Any] = json.loads(raw) if raw else {}
        return found

    def book_live(self) -> dict[str, Any]:
        """The BTCUSDT book by the operation `book`, once it and the mark price are live: entries may leave."""
        line = self.line()
        try:
            wait_until(lambda: self._book(line).get("state") == "live", 20, "the book is live")
            wait_until(lambda: self.slice("BTCUSDT:mark").get("state") == "live", 20, "the mark price is live")
            return self._book(line)
        finally:
            line.close()

    @staticmethod
    def _book(line: Line) -> dict[str, Any]:
        answer = line.ask("book", symbol="BTCUSDT", limit=5)
        found: dict[str, Any] = answer["result"] if answer["ok"] else {}
        return found

    def truth(self) -> dict[str, Any]:
        """The exchange's own books of the account."""
        state = httpx.get(f"{self.simex.rest}/admin/state", timeout=20).json()
        account: dict[str, Any] = state["truth"]["accounts"][
            "main" if "main" in state["truth"]["accounts"] else "simex"
        ]
        return account

    def fault(self, **fault: Any) -> None:
        assert httpx.post(f"{self.simex.rest}/admin/faults", json=fault, timeout=10).status_code == 200


def far_below(book: dict[str, Any]) -> str:
    """A price 5 % below the market."""
    return f"{float(book['bids'][0][0]) * 0.95:.1f}"
