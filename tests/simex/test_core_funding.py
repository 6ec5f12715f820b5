"""Funding at its hours: when it is due, once, at the last announced mark and rate."""

from __future__ import annotations

from decimal import Decimal

import pytest

from simex.core.api import FundingSettled
from tests.simex.core_world import START_MS, World

HOUR_MS = 3_600_000
BID, ASK = 912_499, 912_501


@pytest.fixture
def world() -> World:
    """Long 0.010 BTC, a mark announced for the next hour."""
    world = World()
    world.levels([(BID, 5000)], [(ASK, 5000)])
    world.placed(side="BUY", type="MARKET", quantity="0.010")
    world.mark("91250", next_ms=START_MS + HOUR_MS)
    return world


def settled(world: World) -> list[FundingSettled]:
    return [out for out in world.last if isinstance(out, FundingSettled)]


@pytest.mark.parametrize("hours", [1, 4, 8])
def test_funding_is_charged_by_the_clock_at_the_announced_time_and_once(hours: int) -> None:
    world, due = World(), START_MS + hours * HOUR_MS
    world.levels([(BID, 5000)], [(ASK, 5000)])
    world.placed(side="BUY", type="MARKET", quantity="0.010")
    world.mark("91250", next_ms=due)
    before = world.wallet()
    assert world.exchange.next_due_ms() == due
    world.tick(due - 1)
    assert (settled(world), world.wallet()) == ([], before)
    world.tick(due)
    assert settled(world) == [FundingSettled("BTCUSDT", due, Decimal("0.0001"), Decimal("91250"))]
    assert world.wallet() == before - Decimal("0.09125")
    world.mark("91260", next_ms=due)  # the old announcement, once more
    world.tick(due + HOUR_MS - 10)
    assert world.wallet() == before - Decimal("0.09125")
    world.mark("91300", rate="-0.0002", next_ms=due + hours * HOUR_MS)
    assert settled(world) == []
    world.tick(due + hours * HOUR_MS)
    assert world.wallet() == before - Decimal("0.09125") + Decimal("0.1826")


def test_a_rate_that_changes_before_the_hour_counts_as_announced_last(world: World) -> None:
    before = world.wallet()
    world.mark("90000", rate="0.00025", next_ms=START_MS + HOUR_MS)
    world.tick(START_MS + HOUR_MS + 7)
    assert world.wallet() == before - Decimal("0.225")
    assert settled(world)[0].time_ms == START_MS + HOUR_MS + 7


def test_an_announcement_that_moves_on_settles_what_it_passed_at_the_old_rate(world: World) -> None:
    """A recording played fast: its marks speak of the next hour before the clock is there."""
    before = world.wallet()
    world.mark("91000", rate="0.0003", next_ms=START_MS + 2 * HOUR_MS)
    assert settled(world) == [FundingSettled("BTCUSDT", world.now_ms - 1, Decimal("0.0001"), Decimal("91000"))]
    assert world.wallet() == before - Decimal("0.091")
    world.tick(START_MS + HOUR_MS)
    assert world.wallet() == before - Decimal("0.091"), "the time that was passed by does not come again"
    world.tick(START_MS + 2 * HOUR_MS)
    assert world.wallet() == before - Decimal("0.091") - Decimal("0.273")


def test_a_time_in_the_past_or_none_at_all_never_settles(world: World) -> None:
    fresh = World()
    for next_ms in (0, START_MS - HOUR_MS):
        fresh.mark("91250", next_ms=next_ms)
        assert fresh.exchange.next_due_ms() is None
        fresh.tick(fresh.now_ms + 24 * HOUR_MS)
        assert settled(fresh) == []


def test_funding_by_hand_comes_on_top_and_leaves_the_clock_alone(world: World) -> None:
    before = world.wallet()
    world.fund()
    world.tick(START_MS + HOUR_MS)
    assert world.wallet() == before - 2 * Decimal("0.09125")
