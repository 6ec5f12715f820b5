"""A campaign: the whole system as real processes trades on simex while faults of every family strike it, one at a time
and in storms; what simex knows to be true judges it all the time.

    python -m tests.proof.campaign --minutes 60          the long form; figures go to the terminal
    python -m tests.proof.campaign --minutes 60 --write  and into docs/guarantees.md
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import redis

from ipc.wire import Risk
from simex.server.chaos.draw import Setting, rows
from simex.server.chaos.kinds import FAMILIES
from tests.proof.campaign.watch import Seen, Tape, Watch
from tests.proof.stack import Stack
from tests.proof.test_kill import judge_intents
from tests.simex.running import running
from tests.waiting import wait_until

SYMBOLS = ["BTCUSDT", "ETHUSDT"]
STEADY_S = 1.0  # ready so long without a break is ready
PATIENCE_S = 60.0  # a system that is not ready by then needs a hand
TRADING_S = 180.0  # random brains must happen to be flat before settings can be set back, and decide to enter
FAULT_MAX_S = 12.0  # a fault that has met nothing by then is taken away
STORM_S = 20.0
STORM_EVERY = 12  # single faults


@dataclass
class Figures:
    """What a campaign has measured. Times in seconds, memory in KiB."""

    seed: int
    minutes: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    storms: int = 0
    recovery_s: dict[str, list[float]] = field(default_factory=dict)  # by kind of fault
    hands: int = 0  # how often a person had to resume a brain
    trading_s: list[float] = field(default_factory=list)  # until every brain's orders are accepted again
    books: Seen = field(default_factory=Seen)
    intents: int = 0
    fills: int = 0
    memory_kib: dict[str, list[tuple[float, int]]] = field(default_factory=dict)

    def all_recoveries_s(self) -> list[float]:
        return sorted(one for some in self.recovery_s.values() for one in some)

    def worst(self) -> list[tuple[float, str]]:
        return sorted(((max(some), kind) for kind, some in self.recovery_s.items()), reverse=True)[:8]


class Admin:
    """simex's administration over one connection that stands: a port that refuses newcomers is one of the faults."""

    def __init__(self, rest: str) -> None:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=3600)
        self._http = httpx.Client(base_url=f"{rest}/admin/", timeout=20, limits=limits)

    def __enter__(self) -> Admin:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, what: str) -> dict[str, Any]:
        return self._answer(self._http.get(what))

    def post(self, what: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._answer(self._http.post(what, json=body))

    def delete(self, what: str) -> dict[str, Any]:
        return self._answer(self._http.delete(what))

    def _answer(self, reply: httpx.Response) -> dict[str, Any]:
        assert reply.status_code == 200, f"{reply.request.url}: {reply.text}"
        found: dict[str, Any] = reply.json()
        return found


class Campaign:
    """One run. `folder` keeps configuration, journals, logs and the tape."""

    def __init__(self, folder: Path, run_dir: Path, seed: int, families: tuple[str, ...] = FAMILIES) -> None:
        self.folder, self.run_dir, self.seed, self.families = folder, run_dir, seed, families
        self.figures = Figures(seed)
        self.heard = {f"hear-{symbol}": folder / f"{symbol}.heard" for symbol in SYMBOLS}

    def run(self, seconds: float) -> Figures:
        tape_file = self.folder / "tape"
        started_s = time.monotonic()
        flags = ("--seed", str(self.seed), "--symbols", ",".join(SYMBOLS), "--tape", str(tape_file))
        with running(*flags, log=self.folder / "simex.log") as process, Admin(process.rest) as simex:
            addresses = {"rest": process.rest, "ws": process.ws}
            gateway = {"orders": {"recv_window_ms": 800}}
            with Stack(self.folder, self.run_dir, self._brains(), simex=addresses, gateway=gateway) as stack:
                tape = Tape(tape_file)
                try:
                    with Watch(stack.plan.redis_url, tape, SYMBOLS) as watch:
                        self._strike(stack, simex, watch, started_s + seconds)
                        self._end(stack, simex, watch, tape)
                    self.figures.books = watch.seen
                finally:
                    tape.close()
        self.figures.minutes = (time.monotonic() - started_s) / 60
        return self.figures

    def _brains(self) -> list[dict[str, Any]]:
        strategy = str(Path(__file__).with_name("listening.py"))
        return [
            {
                "name": name,
                "strategy": strategy,
                "symbols": [symbol],
                "params": {"rate_per_s": 3, "seed": index + 1, "heard": str(self.heard[name])},
            }
            for index, (name, symbol) in enumerate(zip(self.heard, SYMBOLS, strict=True))
        ]

    # -- faults ------------------------------------------------------------------------------------------------

    def _strike(self, stack: Stack, simex: Admin, watch: Watch, until_s: float) -> None:
        self._ready(watch, "ready at the start")
        plan = rows(Setting(self.seed, "medium", SYMBOLS, ["simex"], families=self.families))
        dice = random.Random(f"{self.seed}/campaign")
        number = 0
        while time.monotonic() < until_s:
            number += 1
            if number % STORM_EVERY == 0:
                self._storm(stack, simex, watch, dice.randrange(2**31))
            else:
                row = next(plan)
                row.pop("at_s")
                self._single(simex, watch, row)
            self._sample(stack)
            assert watch.seen.wrong == [], watch.seen.wrong[:5]

    def _single(self, simex: Admin, watch: Watch, fault: dict[str, Any]) -> None:
        """One fault alone: how long from its end until all is ready again."""
        fault = {"count": 2, **fault} if "for_s" not in fault else fault
        number = simex.post("faults", fault)["faults"][0]["id"]
        self.figures.faults[fault["fault"]] += 1
        over_s = time.monotonic() + FAULT_MAX_S

        def over() -> bool:
            left = [one["id"] for one in simex.get("faults")["faults"]]
            return number not in left or time.monotonic() > over_s

        wait_until(over, FAULT_MAX_S + 30, f"end of {fault}", poll_s=0.1)
        simex.delete("faults")
        self._recovered(watch, fault["fault"], self._ended_s(simex, number), json.dumps(fault))

    def _ended_s(self, simex: Admin, number: int) -> float:
        """Wall time at which a fault ended."""
        log = simex.get("chaos")["log"]
        ends = [row for row in log if row["id"] == number and row["what"] == "end"]
        return float(ends[-1]["time_ms"]) / 1000 if ends else time.time()

    def _storm(self, stack: Stack, simex: Admin, watch: Watch, seed: int) -> None:
        """Many at once, by seed; then none."""
        simex.post("chaos", {"seed": seed, "level": "heavy", "families": list(self.families)})
        over_s = time.monotonic() + STORM_S
        wait_until(lambda: time.monotonic() > over_s, STORM_S + 10, "end of the storm", poll_s=0.1)
        simex.delete("chaos")
        simex.delete("faults")
        self.figures.storms += 1
        self._recovered(watch, "storm", time.time(), f"storm {seed}")
        self._trades(stack, simex, f"storm {seed}")

    def _trades(self, stack: Stack, simex: Admin, what: str) -> None:
        """Ready is not all: each brain's orders are accepted again, once what somebody else left is taken away."""
        for symbol in SYMBOLS:
            simex.post("faults", {"fault": "foreign_cancel", "symbol": symbol, "which": "all"})
        before = {symbol: self._accepted(stack, symbol) for symbol in SYMBOLS}
        started_s = time.monotonic()

        def all_trade() -> bool:
            return all(self._accepted(stack, symbol) > before[symbol] for symbol in SYMBOLS)

        try:
            wait_until(all_trade, PATIENCE_S, f"every brain trades after {what}", poll_s=0.2)
        except AssertionError as error:
            print(f"a hand is needed: {error}", flush=True)
            self.figures.hands += 1
            for brain in (None, *self.heard):
                stack.ask(Risk(id=1, action="resume", brain=brain, reason="the campaign's person"))
            wait_until(all_trade, TRADING_S, f"every brain trades after {what}, with a hand", poll_s=0.2)
        self.figures.trading_s.append(time.monotonic() - started_s)

    def _accepted(self, stack: Stack, symbol: str) -> int:
        with stack.journal() as database:
            query = "SELECT count(*) FROM events WHERE subject = 'order.accepted' AND symbol = ?"
            (count,) = database.execute(query, (symbol,)).fetchone()
        return int(count)

    def _recovered(self, watch: Watch, kind: str, ended_s: float, what: str) -> None:
        since_s = self._ready(watch, f"ready after {what}", ended_s)
        self.figures.recovery_s.setdefault(kind, []).append(max(0.0, since_s - ended_s))

    def _ready(self, watch: Watch, what: str, after_s: float = 0.0) -> float:
        """Wall time since which all is ready, once it has been so for a while."""

        def steady() -> bool:
            since_s = watch.ready_since_s()
            return since_s is not None and time.time() >= max(since_s, after_s) + STEADY_S

        wait_until(steady, PATIENCE_S, what, poll_s=0.05)
        since_s = watch.ready_since_s()
        return time.time() if since_s is None else since_s

    def _sample(self, stack: Stack) -> None:
        """Resident memory of the processes."""
        for name in stack.plan.names:
            pid = stack.supervisor.of(name).pid
            if pid is not None and name != "redis":
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                self.figures.memory_kib.setdefault(name, []).append((time.monotonic(), pages * 4))

    # -- judgement ---------------------------------------------------------------------------------------------

    def _end(self, stack: Stack, simex: Admin, watch: Watch, tape: Tape) -> None:
        self._trades(stack, simex, "all of it")
        for name in self.heard:
            stack.ask(Risk(id=1, action="pause", brain=name, reason="end of the campaign"))
        wait_until(lambda: all(one.final for one in stack.intents()), 60, "every intent ended", poll_s=0.2)
        truth = self._truth(simex)
        asked = stack.intents()
        self.figures.intents = len(asked)
        at_exchange = Counter(order["clientOrderId"] for order in truth["orders"])
        assert judge_intents(asked, at_exchange) == []
        assert max(at_exchange.values(), default=0) <= 1
        for symbol in SYMBOLS:

            def agrees(symbol: str = symbol) -> bool:
                return stack.position(symbol) == self._position(simex, symbol)

            wait_until(agrees, 20, f"{symbol}: position agrees", poll_s=0.2)
        wait_until(lambda: self._wallet(stack) == self._balance(simex), 20, "wallet agrees", poll_s=0.2)
        wait_until(lambda: self._fills_told(stack, tape), 20, "every fill told once", poll_s=0.2)
        assert watch.seen.wrong == [], watch.seen.wrong[:5]

    def _fills_told(self, stack: Stack, tape: Tape) -> bool:
        """The exchange's trades of our orders, the journal's and the hooks': the same, each once, hooks in order."""
        tape.follow()
        with stack.journal() as database:
            found = [
                (seq, json.loads(event))
                for seq, event in database.execute("SELECT seq, event FROM events WHERE subject = 'order.filled'")
            ]
        attempts = {attempt for intent in stack.intents() for attempt in intent.attempts}
        at_exchange = Counter(trade for order, trades in tape.trades.items() if order in attempts for trade in trades)
        journalled = Counter((event["symbol"], event["data"]["trade_id"]) for _, event in found if event.get("brain"))
        self.figures.fills = len(found)
        doubled = [trade for trade, count in journalled.items() if count > 1]
        assert doubled == [], f"trades journalled twice: {doubled}"
        if set(journalled) != set(at_exchange):
            return False
        for name, path in self.heard.items():
            heard = [json.loads(line)["seq"] for line in path.read_text().splitlines()] if path.exists() else []
            assert heard == sorted(set(heard)), f"{name}: a fill told twice or out of order"
            if heard != [seq for seq, event in found if event.get("brain") == name]:
                return False
        return True

    def _truth(self, simex: Admin) -> dict[str, Any]:
        found: dict[str, Any] = simex.get("state")["truth"]["accounts"]["simex"]
        return found

    def _position(self, simex: Admin, symbol: str) -> Decimal:
        rows = [row for row in self._truth(simex)["positions"] if row["symbol"] == symbol]
        return sum((Decimal(row["amount"]) for row in rows), Decimal(0))

    def _balance(self, simex: Admin) -> Decimal:
        return Decimal(self._truth(simex)["balances"]["USDT"]["wallet"])

    def _wallet(self, stack: Stack) -> Decimal | None:
        client = redis.Redis.from_url(stack.plan.redis_url)
        try:
            raw = client.get("bs:main:wallet")
        finally:
            client.close()
        assert isinstance(raw, bytes)
        found = [Decimal(one["wallet"]) for one in json.loads(raw)["balances"] if one["asset"] == "USDT"]
        return found[0] if found else None
