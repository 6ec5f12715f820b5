"""kill -9 of gateway, brain and Redis at random moments under load: nothing lost, nothing doubled, no hands needed."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ipc.wire import Risk
from tests.proof.stack import Asked, Stack

KILLS = 30
BRAINS = [
    {"name": "r-btc", "strategy": "random", "symbols": ["BTCUSDT"], "params": {"rate_per_s": 12, "seed": 5}},
    {
        "name": "r-eth",
        "strategy": "random",
        "symbols": ["ETHUSDT"],
        "params": {"rate_per_s": 8, "seed": 6, "counter": True, "kinds": "enter,market,cancel"},
    },
]
VICTIMS = ("gateway", "r-btc", "r-eth", "redis")


def settled(stack: Stack) -> bool:
    """Ready, every intent ended, and every fill of an entry of r-eth answered: a fill of the last moment is answered
    some ms later, and a counter-order that had to wait for an unknown exit is asked for only when that is resolved."""
    if not stack.gateway_ready():
        return False
    asked = stack.intents()
    return all(intent.final for intent in asked) and entry_fills(eth_fills(stack)) <= answered_fills(asked)


def judge_intents(asked: list[Asked], at_exchange: Counter[str]) -> list[str]:
    """What is wrong: every intent is exactly one order at the exchange, or a recorded refusal or expiry and none."""
    wrong = []
    for intent in asked:
        orders = sum(at_exchange[attempt] for attempt in intent.attempts)
        expected = 1 if intent.outcome == "accepted" else 0
        if not intent.final or intent.outcome not in ("accepted", "rejected"):
            wrong.append(f"{intent.name}: no final outcome ({intent.answer})")
        elif orders != expected:
            wrong.append(f"{intent.name}: {intent.outcome}, yet {orders} orders at the exchange {intent.attempts}")
    return wrong


@pytest.mark.timeout(600)
def test_thirty_kills_lose_nothing_and_double_nothing(tmp_path: Path, run_dir: Path, seed: int) -> None:
    dice = random.Random(seed)
    gateway: dict[str, Any] = {"orders": {"recv_window_ms": 800}}
    with Stack(tmp_path, run_dir, BRAINS, gateway=gateway, simex={"seed": seed % 2**32}) as stack:
        stack.wait(stack.gateway_ready, 20, "gateway ready")
        killed: Counter[str] = Counter()
        for _ in range(KILLS):
            victim = dice.choices(VICTIMS, weights=(5, 3, 3, 2))[0]
            # sometimes while everything trades, sometimes in the middle of another's recovery
            if dice.random() < 0.7:
                stack.supervisor.wait_ready(timeout_s=30)
            deadline_s = time.monotonic() + dice.uniform(0.05, 2.0)
            stack.wait(lambda until=deadline_s: time.monotonic() >= until, 5, "the drawn moment")
            stack.supervisor.wait_ready(victim, timeout_s=30)
            stack.supervisor.kill(victim)
            killed[victim] += 1
        print(f"seed {seed}: killed {dict(killed)}")
        stack.supervisor.wait_ready(timeout_s=30)
        stack.wait(stack.gateway_ready, 30, "ready again without hands")
        for brain in BRAINS:
            stack.ask(Risk(id=1, action="pause", brain=str(brain["name"]), reason="end of the proof"))
        try:
            stack.wait(lambda: settled(stack), 40, "every intent ended, and every fill of an entry answered")
        finally:
            judge(stack)  # also where it was not: what is wrong is told by name


def judge(stack: Stack) -> None:
    asked, truth = stack.at_rest()
    print(f"{len(asked)} intents, {len(entry_fills(eth_fills(stack)))} fills of entries to be answered")
    at_exchange = Counter(order["clientOrderId"] for order in truth["orders"])
    assert len(asked) > 100, "too little happened to prove anything"
    assert judge_intents(asked, at_exchange) == []
    assert [name for name, count in at_exchange.items() if count > 1] == []
    ours = {attempt for intent in asked for attempt in intent.attempts}
    assert set(at_exchange) <= ours, "an order at the exchange that the journal does not know"
    for symbol in ("BTCUSDT", "ETHUSDT"):
        stack.wait(lambda s=symbol: stack.position(s) == stack.exchange_position(s), 10, f"{symbol} agrees")
    judge_counters(asked, stack)


Fills = dict[int, dict[str, Any]]


def eth_fills(stack: Stack) -> Fills:
    """Events `order.filled` of ETHUSDT by sequence."""
    with stack.journal() as database:
        query = "SELECT seq, event FROM events WHERE subject = 'order.filled' AND symbol = 'ETHUSDT'"
        return {seq: json.loads(event) for seq, event in database.execute(query)}


def entry_fills(fills: Fills) -> set[int]:
    return {seq for seq, event in fills.items() if event["data"]["role"] == "entry" and event.get("brain") == "r-eth"}


def answered_fills(asked: list[Asked]) -> set[int]:
    return {int(intent.tag.removeprefix("counter:")) for intent in asked if intent.tag.startswith("counter:")}


def judge_counters(asked: list[Asked], stack: Stack) -> None:
    """Each fill of an entry of r-eth was answered by exactly one counter-order, decided once."""
    tags = Counter(intent.tag for intent in asked if intent.tag.startswith("counter:"))
    assert [tag for tag, count in tags.items() if count > 1] == []
    fills = eth_fills(stack)
    entries, answered = entry_fills(fills), answered_fills(asked)
    unmatched = {seq: fills.get(seq) for seq in entries ^ answered}
    assert entries == answered, f"unanswered {entries - answered}, unasked {answered - entries}: {unmatched}"
    assert len(entries) > 10
    assert sum((Decimal(event["data"]["last_qty"]) for event in fills.values()), Decimal(0)) > 0
