"""The whole system as real processes under the real supervisor, for proofs: Redis, simex, gateway, brains."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import msgspec
import redis

from gateway.shell.journal_log import look
from ipc.client import Client
from ipc.config import load
from ipc.errors import IpcError
from ipc.slices import PositionSlice, decode
from ipc.wire import Request, Status
from scripts.plan import make_plan
from scripts.supervisor import Supervisor
from tests.waiting import pause_here, wait_until

ACCOUNT = "main"


@dataclass(frozen=True)
class Asked:
    """One intent as the journal has it."""

    name: str
    request: dict[str, Any]
    final: bool
    answer: dict[str, Any]
    attempts: tuple[str, ...]

    @property
    def outcome(self) -> str | None:
        return self.answer.get("outcome")

    @property
    def tag(self) -> str:
        return str(self.request.get("tag", ""))


class Stack:
    """`config` is merged over a quick default: short receive window, quick restarts."""

    def __init__(self, folder: Path, run_dir: Path, brains: Sequence[dict[str, Any]], **config: Any) -> None:
        symbols = sorted({symbol for brain in brains for symbol in brain["symbols"]}) or ["BTCUSDT", "ETHUSDT"]
        document: dict[str, Any] = {
            "environment": "simex",
            "state_dir": str(folder / "state"),
            "run_dir": str(run_dir),
            "accounts": {ACCOUNT: {"symbols": symbols}},
            "brains": list(brains),
            "supervisor": {"max_restarts": 1000, "first_backoff_ms": 20, "max_backoff_ms": 100},
        }
        for section, value in config.items():
            document[section] = {**document.get(section, {}), **value} if isinstance(value, dict) else value
        path = folder / "config.json"
        path.write_text(json.dumps(document))
        environ = {name: value for name, value in os.environ.items() if not name.startswith("BRAINSTEM_")}
        self.plan = make_plan(load(path, environ), environ)
        self.supervisor = Supervisor(self.plan.specs, self.plan.log_dir)

    def __enter__(self) -> Stack:
        try:
            self.supervisor.start(timeout_s=40)
        except BaseException:
            self.supervisor.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        if kind is not None:
            for name in self.plan.names:
                print(f"--- {name}\n{self.supervisor.tail(name, 25)}")
        self.supervisor.close()

    # -- the exchange's own truth ------------------------------------------------------------------------------

    def admin(self, what: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        rest = self.supervisor.of("simex").ready["rest"]
        url = f"{rest}/admin/{what}"
        reply = httpx.get(url, timeout=20) if body is None else httpx.post(url, json=body, timeout=20)
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()
        return found

    def truth(self) -> dict[str, Any]:
        accounts: dict[str, dict[str, Any]] = self.admin("state")["truth"]["accounts"]
        (account,) = accounts.values()
        return account

    def exchange_position(self, symbol: str) -> Decimal:
        rows = [row for row in self.truth()["positions"] if row["symbol"] == symbol]
        return sum((Decimal(row["amount"]) for row in rows), Decimal(0))

    # -- the gateway -------------------------------------------------------------------------------------------

    @property
    def socket(self) -> Path:
        return self.plan.sockets[ACCOUNT]

    def ask(self, request: Request, timeout_s: float = 10) -> dict[str, Any]:
        """One request on a connection of its own; the answer as plain JSON."""
        with Client.connect(self.socket) as client:
            found: dict[str, Any] = msgspec.to_builtins(client.ask(request, timeout_s=timeout_s))
            return found

    def gateway_ready(self) -> bool:
        try:
            return bool(self.ask(Status(id=1))["result"]["ready"])
        except (IpcError, KeyError):
            return False

    def position(self, symbol: str) -> Decimal:
        """As the slice shows it."""
        client = redis.Redis.from_url(self.plan.redis_url)
        try:
            raw = client.get(f"bs:{ACCOUNT}:{symbol}:position")
        finally:
            client.close()
        assert isinstance(raw, bytes), "no position slice"
        return sum((Decimal(leg.qty) for leg in decode(PositionSlice, raw).legs), Decimal(0))

    # -- the journal -------------------------------------------------------------------------------------------

    @contextmanager
    def journal(self) -> Iterator[sqlite3.Connection]:
        """The journal as it is at this moment, what waits in its log included."""
        (path,) = self.plan.state_dir.glob(f"**/{ACCOUNT}.journal.sqlite")
        database = look(path)
        try:
            yield database
        finally:
            database.close()

    def intents(self) -> list[Asked]:
        with self.journal() as database:
            attempts: dict[tuple[str, str, int], list[str]] = {}
            for client_id, *key in database.execute("SELECT client_order_id, brain, run, seq FROM orders"):
                attempts.setdefault(tuple(key), []).append(client_id)
            rows = database.execute(
                "SELECT i.brain, i.run, i.seq, i.request, o.answer, o.final FROM intents i"
                " LEFT JOIN outcomes o ON o.brain = i.brain AND o.run = i.run AND o.seq = i.seq"
            ).fetchall()
        return [
            Asked(
                name=f"{brain}/{run}/{seq}",
                request=json.loads(request),
                final=bool(final),
                answer=json.loads(answer) if answer else {},
                attempts=tuple(attempts.get((brain, run, seq), ())),
            )
            for brain, run, seq, request, answer, final in rows
        ]

    def at_rest(self, timeout_s: float = 20) -> tuple[list[Asked], dict[str, Any]]:
        """The journal and the exchange as they were together, with nothing in flight: paused brains may still close,
        and what leaves between two readings is in one of them only. After `timeout_s` the last reading, to be judged.
        """
        deadline_s = time.monotonic() + timeout_s
        while True:
            asked, truth = self.intents(), self.truth()
            alike = self.intents() == asked
            if (alike and all(intent.final for intent in asked)) or time.monotonic() > deadline_s:
                return asked, truth
            pause_here(0.05)

    def order_row(self, client_order_id: str) -> dict[str, Any]:
        with self.journal() as database:
            row = database.execute("SELECT state FROM orders WHERE client_order_id = ?", (client_order_id,)).fetchone()
        found: dict[str, Any] = json.loads(row[0])
        return found

    def wait(self, condition: Any, timeout_s: float, what: str) -> None:
        wait_until(condition, timeout_s, what, poll_s=0.05)
