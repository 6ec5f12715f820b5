"""The gateway stopped (SIGSTOP) and resumed, in the whole system: every brain refuses within 1.5 s, what was asked
meanwhile waits in the socket, and after the return nothing leaves past its deadline; closes, which have none, do."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ipc import clock
from ipc.cut import CutReader
from ipc.feed import Feed
from tests.gateway.rig import Brain
from tests.proof.stack import ACCOUNT, Asked, Stack

HAND, TICKING = "BNBUSDT", "ETHUSDT"
BRAINS: list[dict[str, Any]] = [
    {
        "name": "r-btc",
        "strategy": "random",
        "symbols": ["BTCUSDT"],
        "params": {"rate_per_s": 15, "seed": 5},
    },
]
REFUSED_WITHIN_NS = 1_500_000_000
STOPPED_S = 2.6  # longer than a refusal and any entry's deadline, shorter than the lease of a brain


@contextmanager
def ticking_brain(stack: Stack, folder: Path) -> Iterator[Path]:
    """`tests.proof.ticking_brain` beside the others; gives the file of its log."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("BRAINSTEM_")}
    environ["BRAINSTEM_REDIS__URL"] = stack.plan.redis_url
    log = folder / "ticking.log"
    command = ["-m", "tests.proof.ticking_brain", "--config", str(folder / "config.json"), "--symbol", TICKING]
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, *command, "--name", "ticking"],
            stdout=subprocess.PIPE, stderr=stderr, env=environ, cwd=Path(__file__).parents[2],
        )  # fmt: skip
    assert process.stdout is not None
    with process.stdout:
        try:
            assert select.select([process.stdout], [], [], 40)[0], log.read_text()[-2000:]
            assert json.loads(process.stdout.readline())["ready"]
            yield log
        finally:
            process.terminate()
            process.wait(20)
    assert process.returncode == 0, log.read_text()[-2000:]


@contextmanager
def feed_of(stack: Stack, brain: str, symbol: str) -> Iterator[Feed]:
    """The very reader brains decide by, as they make it."""
    reader = CutReader(ACCOUNT, [symbol], [], brain)
    boot = clock.boot_id()
    feed = Feed(stack.plan.redis_url, reader, lambda _after, _limit: [], lambda: clock.reader_now(boot))
    yield feed
    feed.close()


def of(asked: list[Asked], brain: str) -> list[int]:
    """When its intents were first asked (CLOCK_BOOTTIME)."""
    return sorted(asked_ns(one) for one in asked if one.request["intent"]["brain"] == brain)


def asked_ns(asked: Asked) -> int:
    return int(asked.request["asked_boot_ns"])


@pytest.mark.timeout(300)
def test_brains_refuse_within_time_and_nothing_leaves_past_its_deadline(tmp_path: Path, run_dir: Path) -> None:
    limits = {"max_position_notional": None, "orders_per_s": 1000, "orders_burst": 1000}
    accounts = {"main": {"symbols": ["BTCUSDT", TICKING, HAND], "limits": limits}}
    with Stack(tmp_path, run_dir, BRAINS, accounts=accounts) as stack, ticking_brain(stack, tmp_path) as log:
        stack.wait(stack.gateway_ready, 20, "gateway ready")
        for brain in ("r-btc", "ticking"):
            stack.wait(lambda name=brain: len(of(stack.intents(), name)) > 20, 40, f"{brain} trades")
        hand = Brain(stack.socket, name="hand", symbols=(HAND,))
        stack.wait(lambda: buy(hand, "2")["ok"], 20, "the hand buys")
        stack.wait(lambda: stack.position(HAND) > 0, 10, "the hand's position is shown")
        held = stack.exchange_position(HAND)

        said = said_waiting(stack, log)

        stack.supervisor.suspend("gateway")
        stopped_ns = clock.boot_ns()
        decided = decided_until_ns(stack, stopped_ns)
        requests = queue_requests(hand, stopped_ns)
        until_s = time.monotonic() + STOPPED_S - (clock.boot_ns() - stopped_ns) / 1e9
        stack.wait(lambda: time.monotonic() >= until_s, 10, "the time it stands still")
        to_wall_ms = time.time_ns() // 1_000_000 - clock.boot_ns() // 1_000_000
        resumed_ns = clock.boot_ns()
        stack.supervisor.resume("gateway")

        numbers = dict(enumerate(requests, 1000))
        answers = {numbers[answer["id"]]: answer for answer in (hand.read() for _ in requests)}
        hand.close()
        for brain in ("r-btc", "ticking"):
            stack.wait(lambda name=brain: of(stack.intents(), name)[-1] > resumed_ns, 40, f"{brain} trades again")
        assert said_waiting(stack, log) > said + 1, "brains that refuse say so"
        stack.wait(lambda: all(one.final for one in overdue(stack.intents(), resumed_ns)), 20, "all of it is answered")
        asked = stack.intents()
        truth = stack.truth()
    print(f"did not refuse until (ns after the stop): {decided}")
    assert all(until_ns <= REFUSED_WITHIN_NS for until_ns in decided.values()), decided
    judge_decisions(asked, stopped_ns, resumed_ns)
    judge_departures(asked, truth, resumed_ns, to_wall_ms)
    assert answers["late entry"]["error"]["code"] == "intent.expired"
    assert answers["long deadline"]["outcome"] == "accepted"
    assert answers["close"]["outcome"] == "accepted"
    moved = sum((Decimal(row["amount"]) for row in truth["positions"] if row["symbol"] == HAND), Decimal(0)) - held
    assert moved == Decimal("0.05") - Decimal("0.04"), "the entry with time left and the close, and nothing else"


def buy(hand: Brain, qty: str) -> dict[str, Any]:
    return hand.place("BUY", qty, symbol=HAND, asked_boot_ns=clock.boot_ns())


def said_waiting(stack: Stack, log: Path) -> int:
    return sum(text.count('"waiting"') for text in (stack.supervisor.tail("r-btc", 1000), log.read_text()))


def queue_requests(hand: Brain, at_ns: int) -> dict[str, dict[str, Any]]:
    """Into the socket of a gateway that does not read; numbered from 1000 on."""
    order = {"op": "place", "symbol": HAND, "type": "MARKET", "asked_boot_ns": at_ns}
    requests = {
        "late entry": {**order, "side": "BUY", "qty": "0.03"},
        "long deadline": {**order, "side": "BUY", "qty": "0.05", "deadline_ms": 60_000},
        "close": {**order, "side": "SELL", "qty": "0.04", "reduce_only": True},
    }
    for number, request in enumerate(requests.values(), 1000):
        hand.send(json.dumps({"id": number, "intent": hand.intent(), **request}).encode() + b"\n")
    return requests


def decided_until_ns(stack: Stack, stopped_ns: int) -> dict[str, int]:
    """How long after the stop the reader of each brain was still asked and did not refuse; it must not take that back.
    What counts is when it was asked: how soon this process was given time to ask again is not the reader's doing."""
    found = {"r-btc": 0, "ticking": 0}

    def refuses(brain: str, feed: Feed) -> bool:
        asked_ns = clock.boot_ns()
        refused = bool(feed.read(None).refused)
        if not refused:
            found[brain] = asked_ns - stopped_ns
        return refused

    with feed_of(stack, "r-btc", "BTCUSDT") as first, feed_of(stack, "ticking", TICKING) as second:
        both = (("r-btc", first), ("ticking", second))
        stack.wait(lambda: min(refuses(*one) for one in both), 10, "the readers refuse")
        assert all(refuses(*one) for one in both)
    return found


def judge_decisions(asked: list[Asked], stopped_ns: int, resumed_ns: int) -> None:
    """A brain that refuses decides nothing: no intent was first asked in the rest of the stop."""
    ticks = of(asked, "ticking")
    going_on = [at for at in ticks if stopped_ns < at < stopped_ns + 500_000_000]
    assert len(going_on) > 5, "the clock strategy did not go on at first: its silence would prove nothing"
    for brain in ("r-btc", "ticking"):
        late = [at - stopped_ns for at in of(asked, brain) if stopped_ns + REFUSED_WITHIN_NS < at < resumed_ns]
        assert late == [], f"{brain} decided {late} ns after the stop"


def overdue(asked: list[Asked], resumed_ns: int) -> list[Asked]:
    """Entries whose deadline was over when the gateway came back."""
    entries = [one for one in asked if not one.request.get("reduce_only")]
    return [one for one in entries if asked_ns(one) + deadline_ns(one) < resumed_ns]


def judge_departures(asked: list[Asked], truth: dict[str, Any], resumed_ns: int, to_wall_ms: int) -> None:
    """By the exchange's own books: nothing overdue arrived after the return, and most of it had not before."""
    arrived_ms = {order["clientOrderId"]: order["time"] for order in truth["orders"]}
    resumed_ms = resumed_ns // 1_000_000 + to_wall_ms
    expired = 0
    for one in overdue(asked, resumed_ns):
        expired += one.answer.get("code") == "intent.expired"
        late = [name for name in one.attempts if arrived_ms.get(name, 0) >= resumed_ms]
        assert late == [], f"{one.name} arrived {arrived_ms[late[0]] - resumed_ms} ms after the return"
    assert expired > 5, "hardly anything was overdue: this proved nothing"


def deadline_ns(asked: Asked) -> int:
    return int(asked.request.get("deadline_ms") or 1000) * 1_000_000
