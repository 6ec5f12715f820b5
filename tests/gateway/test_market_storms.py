"""No fault makes a storm of connections, and the end of a fault is found within seconds."""

from __future__ import annotations

import random
from typing import Any

import pytest

from gateway.core.effects import Connect
from gateway.core.inputs import Now
from gateway.core.link_budget import FOR_PRIVATE, ConnectionBudget
from gateway.core.market_settings import LinkSettings
from tests.gateway.market_rig import Rig, diff
from tests.gateway.test_market_links import KEY, keyed_rig, mark

S = 1_000_000_000


class Counting(Rig):
    """Notes when connections are asked for."""

    made_ns: list[int]

    def _perform(self, effect: Any) -> None:
        if isinstance(effect, Connect):
            self.made_ns.append(self.now.boot_ns)
        super()._perform(effect)


def counting(draw: Any = lambda: 0.5) -> Counting:
    plain = keyed_rig(KEY)
    rig = Counting(private=True, draw=draw)
    rig.made_ns = []
    rig.answers = plain.answers
    rig.start("BTCUSDT")
    return rig


def most_within(times: list[int], span_ns: int) -> int:
    return max(sum(start <= one < start + span_ns for one in times) for start in times)


@pytest.mark.parametrize("run", range(6))
def test_whatever_fails_and_however_often_the_exchange_counts_far_below_300_in_5_minutes(seed: int, run: int) -> None:
    rng = random.Random(seed + run)
    rig = counting(rng.random)
    for _ in range(3_000):  # 15 minutes of connections that are refused, cut, held and let go
        rig.refuse = {name for name in ("public", "market", "private") if rng.random() < 0.6}
        for conn in list(rig.open):
            if rng.random() < 0.1:
                rig.close(conn)
        rig.wait(300)
    assert most_within(rig.made_ns, 300 * S) <= 200
    assert most_within(rig.made_ns, 60 * S) <= 40


def test_in_the_dark_they_take_turns_and_the_end_is_found_within_three_seconds() -> None:
    rig = counting()
    rig.refuse = {"public", "market", "private"}
    for conn in list(rig.open):
        rig.close(conn)
    before = len(rig.made_ns)
    rig.wait(600_000)
    made = rig.made_ns[before:]
    assert 250 <= len(made) <= 320, "an attempt each two seconds for ten minutes"
    assert most_within(made, 60 * S) <= 33
    rig.refuse = set()
    rig.wait(3_000)
    assert {conn.partition("#")[0] for conn in rig.open} == {"public", "market", "private"}


def test_one_family_that_fails_alone_backs_off_to_half_a_minute() -> None:
    rig = counting()
    rig.refuse = {"market"}
    rig.close("market")
    before = len(rig.made_ns)
    for step in range(3_000):
        rig.feed(diff("BTCUSDT", 101 + step, 101 + step, 100 + step, [], []))
        rig.wait(100)
    assert 10 <= len(rig.made_ns) - before <= 18
    assert rig.open.keys() == {"public", "private"}


def test_the_last_of_the_budget_is_the_private_streams() -> None:
    budget = ConnectionBudget(40)
    now = Now(0, 5 * S)
    for _ in range(40 - FOR_PRIVATE):
        assert budget.wait_ns(now, "market") == 0
        budget.take(now)
    assert budget.wait_ns(now, "market") == 60 * S
    for _ in range(FOR_PRIVATE):
        assert budget.wait_ns(now, "private") == 0
        budget.take(now)
    assert budget.wait_ns(now, "private") == 60 * S
    assert budget.shown(now) == {"used": 40, "limit": 40}
    assert budget.wait_ns(Now(0, 65 * S - 1), "private") == 1
    assert budget.wait_ns(Now(0, 65 * S), "private") == 0


def test_a_refused_handover_costs_one_attempt_a_minute() -> None:
    rig = counting()
    rig.links._settings = LinkSettings()
    for family in rig.links._families.values():
        family.next_age_ns = rig.now.boot_ns
    rig.refuse = {"public", "market", "private"}
    before = len(rig.made_ns)
    for step in range(3_000):
        rig.feed(diff("BTCUSDT", 101 + step, 101 + step, 100 + step, [], []))
        rig.feed(mark("BTCUSDT", step), "market")
        rig.wait(100)
    assert len(rig.made_ns) - before == 15
    assert rig.open.keys() == {"public", "market", "private"}, "the old ones serve on"
