"""A brain that dies between any two of input, commit, send and answer decides nothing twice and loses nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.brain.world import Counting, Died, World

ACTIONS = st.one_of(
    st.tuples(st.just("book"), st.just(0)),
    st.tuples(st.just("time"), st.integers(1, 400)),
    st.tuples(st.just("long_silence"), st.just(2600)),
    st.tuples(st.just("deliver"), st.integers(1, 3)),
    st.tuples(st.just("answer"), st.integers(1, 3)),
    st.tuples(st.just("read"), st.integers(1, 4)),
    st.tuples(st.just("die"), st.integers(0, 4)),
    st.tuples(st.just("kill"), st.booleans()),
    st.tuples(st.just("line"), st.booleans()),
    st.tuples(st.just("epoch"), st.just(0)),
)


def perform(world: World, action: str, amount: Any) -> None:
    gateway = world.gateway
    if action == "book":
        gateway.symbols["BTCUSDT"].u += 1
    elif action in ("time", "long_silence"):
        gateway.tick(amount)
    elif action == "deliver":
        world.deliver(amount)
    elif action == "answer":
        world.answer(amount)
    elif action == "read":
        world.connect()
        world.read(amount)
    elif action == "die":
        world.die_after = amount
    elif action == "kill":
        world.crash(deliver=amount)
    elif action == "line":
        world.cut_line(deliver=amount)
    else:
        gateway.epoch = f"e{int(gateway.epoch[1:]) + 1}"
        world.cut_line()


def check(world: World) -> None:
    gateway = world.gateway
    contents: dict[tuple[str, int], set[bytes]] = {}
    for key, content in gateway.calls:
        contents.setdefault(key, set()).add(content)
    assert {key: found for key, found in contents.items() if len(found) > 1} == {}, "other content under one name"
    tags = [place.tag for place in world.placed()]
    assert len(tags) == len(set(tags)), f"decided twice: {tags}"
    entries = {f"enter:{number}" for number in range(1, world.runner.hooks.context.state.get("entries", 0) + 1)}
    fills = {f"counter:{event.seq}" for event in gateway.events
             if event.subject == "order.filled" and event.data["role"] == "entry"}  # fmt: skip
    assert set(tags) == entries | fills, "lost, or from nowhere"
    told = world.runner.hooks.context.state.get("fills", [])
    assert told == [event.seq for event in gateway.events if event.subject == "order.filled"]
    assert gateway.symbols["BTCUSDT"].qty == 0
    assert world.runner.desk.live == {} and world.store.rows == {}


def settle(world: World) -> None:
    for _ in range(60):
        try:
            world.turn(100)
        except Died:
            world.crash()


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ACTIONS, min_size=1, max_size=40), st.booleans())
def test_any_history_of_crashes_ends_as_if_there_had_been_none(actions: list[tuple[str, Any]], started: bool) -> None:
    world = World(Counting)
    if started:
        world.turns(2)
    for action, amount in actions:
        try:
            perform(world, action, amount)
        except Died:
            world.crash(deliver=bool(len(actions) % 2))
    settle(world)
    check(world)


@pytest.mark.parametrize("effects", range(12))
@pytest.mark.parametrize("deliver", [True, False])
def test_death_after_each_effect_of_an_entry_and_its_counter_order(effects: int, deliver: bool) -> None:
    world = World(Counting)
    world.turns(3)
    settle(world)
    world.gateway.symbols["BTCUSDT"].u += 1
    world.die_after = effects
    try:
        world.turns(6, ms=50)
    except Died:
        world.crash(deliver=deliver)
    settle(world)
    check(world)


def test_the_property_is_not_vacuous() -> None:
    world = World(Counting)
    settle(world)
    world.gateway.symbols["BTCUSDT"].u += 1
    settle(world)
    check(world)
    assert [place.tag for place in world.placed()] == ["enter:1", "counter:2", "enter:2", "counter:6"]
