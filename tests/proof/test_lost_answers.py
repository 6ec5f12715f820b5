"""Every way in which the answer to an order request can be lost, wrong or late: each intent ends as exactly one order
at the exchange or as a recorded refusal and none, what was unknown is resolved, and nothing is doubled."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from ipc.wire import Risk
from tests.gateway.rig import Brain, Rig, far_below
from tests.proof.stack import Asked, Stack
from tests.proof.test_kill import judge_intents
from tests.simex.running import running
from tests.waiting import wait_until

PATH = "/fapi/v1/order"
SETTINGS: dict[str, Any] = {"orders": {"recv_window_ms": 800}}
# the fault; how many orders the exchange has of the first attempt; how the intent ends
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "answer lost after acceptance": ({"fault": "reply_lost", "when": "after"}, "accepted"),
    "connection cut before acceptance": ({"fault": "reply_lost", "when": "before"}, "rejected"),
    "503 unknown, accepted": ({"fault": "reply_error", "variant": "503_unknown", "when": "after"}, "accepted"),
    "503 unknown, never arrived": ({"fault": "reply_error", "variant": "503_unknown", "when": "before"}, "rejected"),
    "408 accepted": ({"fault": "reply_error", "variant": "408", "when": "after"}, "accepted"),
    "408 never arrived": ({"fault": "reply_error", "variant": "408", "when": "before"}, "rejected"),
    "502 page, accepted": ({"fault": "reply_error", "variant": "502_html", "when": "after"}, "accepted"),
    "502 page, never arrived": ({"fault": "reply_error", "variant": "502_html", "when": "before"}, "rejected"),
    "200 page, accepted": ({"fault": "reply_body", "body": "<html></html>", "when": "after"}, "accepted"),
    "200 cut short, accepted": ({"fault": "reply_body", "body": '{"orderId": 12', "when": "after"}, "accepted"),
    "200 of the wrong kind, accepted": ({"fault": "reply_body", "body": '["no order"]', "when": "after"}, "accepted"),
    "503 unavailable": ({"fault": "reply_error", "variant": "503_unavailable", "when": "before"}, "accepted"),
    "503 throttled": ({"fault": "reply_error", "variant": "503_throttled", "when": "before"}, "accepted"),
    "late by 1 s": ({"fault": "reply_delay", "delay_ms": 1000}, "accepted"),
    "late by 4 s": ({"fault": "reply_delay", "delay_ms": 4000}, "accepted"),
}
# no answer within 2 s can tell: that an order never arrived takes longer to prove
UNKNOWN = {"connection cut before acceptance", *(name for name in FAULTS if name.endswith("never arrived"))}


def known(ask: Callable[[int], dict[str, Any]], seq: int) -> bool:
    return bool(ask(seq)["outcome"] != "unknown")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("stream", ["heard", "mute"])
def test_each_lost_answer_ends_as_one_order_or_a_refusal_and_none(
    stream: str, tmp_path: Path, run_dir: Path, redis_url: str
) -> None:
    """Where the user stream is mute, only asking the exchange can tell what became of an order."""
    with running() as simex, Rig(simex, redis_url, tmp_path, run_dir, gateway=SETTINGS) as rig:
        brain = rig.brain()
        price = far_below(rig.book_live())

        def place(seq: int | None = None) -> dict[str, Any]:
            """A new intent, or again the one of that number: then the answer is what became of it."""
            return brain.place("BUY", "0.002", price, seq=seq, deadline_ms=60_000)

        if stream == "mute":
            rig.fault(fault="silent", route="private")
        first: dict[str, str] = {}
        for name, (fault, _) in FAULTS.items():
            rig.fault(**fault, method="POST", path=PATH, count=1)
            first[name] = place()["outcome"]
        ends: dict[str, dict[str, Any]] = {}
        for seq, name in enumerate(FAULTS, 1):
            wait_until(partial(known, place, seq), 40, f"{name} is resolved", 0.2)
            ends[name] = place(seq)
        orders = Counter(order["clientOrderId"] for order in rig.truth()["orders"])
    print({name: (first[name], answer["outcome"]) for name, answer in ends.items()})
    for name, (_, expected) in FAULTS.items():
        assert ends[name]["outcome"] == expected, name
    accepted = [answer["order"]["client_order_id"] for answer in ends.values() if answer["outcome"] == "accepted"]
    assert orders == Counter(accepted), "one order for each accepted intent, nothing else"
    told_unknown = {name for name, told in first.items() if told == "unknown"}
    # with the stream mute, only a reading that happens to fall into the 2 s can tell of an answer that takes 4
    may_be = {"late by 4 s"} if stream == "mute" else set()
    assert told_unknown - may_be == UNKNOWN


# cancels: closed in the end whatever became of the answers
CANCEL_FAULTS: dict[str, dict[str, Any]] = {name: fault for name, (fault, _) in FAULTS.items()}


@pytest.mark.timeout(300)
def test_a_cancel_goes_on_until_the_order_is_known_closed(tmp_path: Path, run_dir: Path, redis_url: str) -> None:
    with running() as simex, Rig(simex, redis_url, tmp_path, run_dir, gateway=SETTINGS) as rig:
        brain = rig.brain()
        price = far_below(rig.book_live())
        for _ in CANCEL_FAULTS:
            assert brain.place("BUY", "0.002", price)["outcome"] == "accepted"
        for seq, (name, fault) in enumerate(CANCEL_FAULTS.items(), 1):
            rig.fault(**fault, method="DELETE", path=PATH, count=1)
            brain.ask("cancel", intent=brain.intent(seq))
            wait_until(partial(cancelled, brain, seq), 20, f"{name}: the order is cancelled", 0.1)
        truth = rig.truth()
    assert truth["open_orders"] == []
    assert Counter(order["status"] for order in truth["orders"]) == {"CANCELED": len(CANCEL_FAULTS)}


def cancelled(brain: Brain, seq: int) -> bool:
    return bool(brain.ask("order", intent=brain.intent(seq))["order"]["state"] == "cancelled")


BRAINS: list[dict[str, Any]] = [
    {"name": "r-btc", "strategy": "random", "symbols": ["BTCUSDT"], "params": {"rate_per_s": 12, "seed": 5}},
    {"name": "r-eth", "strategy": "random", "symbols": ["ETHUSDT"], "params": {"rate_per_s": 12, "seed": 6}},
]
STRIKES = 4


@pytest.mark.timeout(300)
def test_the_whole_system_under_all_of_them_at_once_loses_and_doubles_nothing(
    tmp_path: Path, run_dir: Path, seed: int
) -> None:
    dice = random.Random(seed)
    faults = [
        {**fault, "method": method, "path": PATH, "share": round(dice.uniform(0.02, 0.1), 3), "count": STRIKES}
        for fault, _ in FAULTS.values()
        for method in ("POST", "DELETE", "GET")
    ]
    dice.shuffle(faults)
    with Stack(tmp_path, run_dir, BRAINS, gateway=SETTINGS, simex={"seed": seed % 2**32}) as stack:
        stack.wait(stack.gateway_ready, 20, "gateway ready")
        stack.admin("faults", {"list": faults})
        stack.wait(lambda: posts_left(stack) == 0, 120, "every fault of a placement has struck")
        for brain in BRAINS:
            stack.ask(Risk(id=1, action="pause", brain=str(brain["name"]), reason="end of the proof"))
        httpx.delete(f"{stack.supervisor.of('simex').ready['rest']}/admin/faults", timeout=20).raise_for_status()
        try:
            stack.wait(lambda: every_intent_ended(stack), 60, "every intent ended")
        except AssertionError as error:
            raise AssertionError(f"{error}; not ended: {left_open(stack)}") from None
        asked, truth = stack.at_rest()
        unknown = unknown_intents(stack)
        for symbol in ("BTCUSDT", "ETHUSDT"):
            stack.wait(lambda s=symbol: stack.position(s) == stack.exchange_position(s), 20, f"{symbol} agrees")
    at_exchange = Counter(order["clientOrderId"] for order in truth["orders"])
    print(f"{len(asked)} intents, {len(unknown)} were unknown, {sum(at_exchange.values())} orders")
    assert judge_intents(asked, at_exchange) == []
    assert max(at_exchange.values()) == 1
    assert set(at_exchange) <= attempts_of(asked), "an order at the exchange that the journal does not know"
    assert len(unknown) > STRIKES * 4, "the faults hardly bit"


def every_intent_ended(stack: Stack) -> bool:
    return stack.gateway_ready() and all(asked.final for asked in stack.intents())


def left_open(stack: Stack) -> list[object]:
    """What an intent without a final outcome looks like, with its orders as the journal has them."""
    return [
        (asked.name, asked.request, asked.answer, [stack.order_row(attempt) for attempt in asked.attempts])
        for asked in stack.intents()
        if not asked.final
    ]


def posts_left(stack: Stack) -> int:
    faults = stack.admin("faults")["faults"]
    return sum(fault["left"] for fault in faults if fault["method"] == "POST")


def attempts_of(asked: list[Asked]) -> set[str]:
    return {attempt for intent in asked for attempt in intent.attempts}


def unknown_intents(stack: Stack) -> set[str]:
    with stack.journal() as database:
        rows = database.execute("SELECT event FROM events WHERE subject = 'order.unknown'").fetchall()
    return {event for (event,) in rows}
