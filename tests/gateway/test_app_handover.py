"""The gateway process changes each connection to simex beside the old one while it trades, and nothing shows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.rig import Brain, Rig, far_below
from tests.simex.running import Running, running
from tests.waiting import pause_here, wait_until

pytestmark = pytest.mark.timeout(180)
LINKS = {"max_age_ms": 2_000, "max_age_jitter_ms": 0, "handover_ms": 5_000}


def events(brain: Brain, *subjects: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    more = True
    while more:
        after = found[-1]["seq"] if found else 0
        page = brain.result("events", after=after, limit=1000, subjects=list(subjects))
        found += page
        more = len(page) > 0
    return found


def test_each_connection_is_replaced_under_load_and_no_brain_notices(
    redis_url: str, tmp_path: Path, run_dir: Path
) -> None:
    with running("--seed", "7", log=tmp_path / "simex.log") as simex:
        check(simex, redis_url, tmp_path, run_dir)


def check(simex: Running, redis_url: str, tmp_path: Path, run_dir: Path) -> None:
    with Rig(simex, redis_url, tmp_path, run_dir, gateway={"links": LINKS}) as rig:
        brain = rig.brain()
        price = far_below(rig.book_live())
        states: Counter[str] = Counter()
        ups: Counter[str] = Counter()
        bought = 0
        while min(ups[name] for name in ("public", "market", "private")) < 2:
            side = "BUY" if bought % 2 == 0 else "SELL"
            assert brain.place(side, "0.002")["outcome"] == "accepted"
            assert brain.place("BUY", "0.002", price)["outcome"] == "accepted"
            assert brain.ask("cancel", intent=brain.intent(brain.seq))["outcome"] == "accepted"
            bought += 1
            pause_here(0.1)  # a trader within the account's rate of orders
            for symbol in ("BTCUSDT", "ETHUSDT"):
                states[rig.slice(f"{symbol}:book")["state"]] += 1
            if bought % 5 == 0:
                ups = Counter(one["data"]["connection"] for one in events(brain, "stream.up"))
        assert set(states) == {"live"}, "no reader ever saw another state"
        assert [one["subject"] for one in events(brain, "book.gap", "stream.down", "stream.silent")] == []
        assert events(brain, "gateway.not_ready", "listen_key.lost", "reconcile.difference") == []

        def trades() -> list[int]:
            return sorted(one["data"]["trade_id"] for one in events(brain, "order.filled"))

        def theirs() -> list[int]:
            return sorted(fill["id"] for fill in rig.truth()["fills"])

        wait_until(lambda: trades() == theirs(), 10, "each trade is told once")
        assert len(trades()) >= bought
        accepted = Counter(one["data"]["client_order_id"] for one in events(brain, "order.accepted"))
        assert set(accepted.values()) == {1}
        cancelled = Counter(one["data"]["client_order_id"] for one in events(brain, "order.cancelled"))
        assert len(cancelled) == bought
        assert set(cancelled.values()) == {1}
        budget = rig.slice("gateway")["budgets"]["connections_60s"]
        assert 6 <= budget["used"] <= budget["limit"] == 40
        assert rig.stop() == 0
