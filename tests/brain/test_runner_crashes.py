"""A brain that dies between any two of input, commit, send and answer decides nothing twice and loses nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from brain.api import Context, Fill
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
    st.tuples(st.just("other"), st.just(0)),
)


# a fill that the checkpoint does not know, and an event that comes while the answer to hello is on its way
READ_WHILE_GREETED: list[tuple[str, Any]] = [
    ("book", 0), ("read", 1), ("kill", True), ("read", 4), ("deliver", 3), ("other", 0), ("read", 4), ("answer", 3),
]  # fmt: skip


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
    elif action == "other":
        gateway.event("order.sent", "ETHUSDT")  # another brain's
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
@example(READ_WHILE_GREETED, True)
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


# -- orders that take their time, and orders whose role only the gateway knows ------------------------------------


class Mixing(Counting):
    """Buys and sells by turns without flagging an exit: what shrinks the position is a close, says the gateway."""

    name = "mixing"

    def on_slice(self, ctx: Context, symbol: str) -> None:
        self._pay(ctx)
        book = ctx.book(symbol)
        if book is None or book.u == ctx.state.get("u"):
            return
        number = ctx.state.get("entries", 0) + 1
        side, qty = ("BUY", "0.004") if number % 3 else ("SELL", "0.002")
        if ctx.place(side, Decimal(qty), slippage_bps=Decimal(5), tag=f"enter:{number}").done:
            return
        ctx.state["u"] = book.u
        ctx.state["entries"] = number

    def on_fill(self, ctx: Context, fill: Fill) -> None:
        """Answers with more than was filled: the gateway sends no more than there is to close."""
        ctx.state.setdefault("fills", []).append(fill.seq)
        if not fill.handle.is_exit:
            side = "SELL" if fill.side == "BUY" else "BUY"
            ctx.state.setdefault("owed", []).append([side, str(fill.qty * 2), f"counter:{fill.seq}"])
            self._pay(ctx)

    @staticmethod
    def _pay(ctx: Context) -> None:
        """What may not leave yet, because exits are unknown, stays owed."""
        ctx.state["owed"] = [
            [side, qty, tag]
            for side, qty, tag in ctx.state.get("owed", [])
            if ctx.place(side, Decimal(qty), reduce_only=True, tag=tag).done
        ]


SLOW_ACTIONS = st.one_of(
    ACTIONS,
    st.tuples(st.just("plan"), st.sampled_from(["rest", "half", "none"])),
    st.tuples(st.just("fill"), st.just(0)),
)


def fill_one(world: World) -> bool:
    """The oldest order that waits at the exchange trades in full; an exit no further than to zero."""
    for order in world.gateway.orders.values():
        if order.state in ("open", "partially_filled"):
            left = Decimal(order.qty) - order.filled
            held = world.gateway.symbols["BTCUSDT"].qty
            if order.role == "close":
                left = min(left, abs(held)) if (held > 0) == (order.place.side == "SELL") else Decimal(0)
            if left > 0:
                order.qty = str(order.filled + left) if order.role == "close" else order.qty
                world.gateway.fill(order, left, Decimal("60000.0"))
            else:
                order.state = "expired"
                world.gateway.event("order.expired", "BTCUSDT", order)
            return True
    return False


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(SLOW_ACTIONS, min_size=1, max_size=40))
@example([("book", 0), ("read", 1), ("book", 0), ("read", 1), ("book", 0), ("epoch", 0)])  # a close comes too late
def test_each_fill_is_told_once_and_answered_by_the_role_the_gateway_gave_its_order(
    actions: list[tuple[str, Any]],
) -> None:
    world = World(Mixing)
    world.turns(2)
    for action, amount in actions:
        try:
            if action == "plan":
                world.gateway.plan.append(amount)
            elif action == "fill":
                fill_one(world)
            else:
                perform(world, action, amount)
        except Died:
            world.crash(deliver=bool(len(actions) % 2))
    world.gateway.plan.clear()
    settle(world)
    while fill_one(world):
        settle(world)
    gateway = world.gateway
    tags = [place.tag for place in world.placed()]
    assert len(tags) == len(set(tags)), f"decided twice: {tags}"
    fills = [event for event in gateway.events if event.subject == "order.filled"]
    told = world.runner.hooks.context.state.get("fills", [])
    assert told == [event.seq for event in fills]
    answered = {tag for tag in tags if tag.startswith("counter:")}
    assert answered == {f"counter:{event.seq}" for event in fills if event.data["role"] == "entry"}
    assert world.runner.desk.live == {} and world.store.rows == {}
