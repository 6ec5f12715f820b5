"""Reply, stream, query and reconciliation in any order, twice, late: one end state, one position, each fill once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.signals import OrdersRead
from gateway.core.venue_orders import VenueOrder
from gateway.venues.binance import order_requests
from ipc import wire
from ipc.wire import IntentId
from tests.gateway.orders_rig import BRAIN, RUN, SYMBOL, Rig

D = Decimal
Said = Callable[[Rig], None]


def stream(order: VenueOrder) -> Said:
    return lambda rig: rig.do(rig.core.on_venue_order(rig.now, order))


def reading(order: VenueOrder) -> Said:
    return lambda rig: rig.do(rig.core.on_signal(rig.now, OrdersRead((replace(order, source="reconcile"),))))


def query(order: VenueOrder) -> Said:
    """A query carries the state but never a fill."""
    said = replace(order, source="query", fill=None, execution=None)
    return lambda rig: rig.do(rig.core.on_venue_order(rig.now, said))


def life(ending: str) -> tuple[Rig, list[Said], list[Said]]:
    """A rig with one order just sent; all that is ever said of it; and what must all arrive for the end to be known."""
    rig = Rig()
    rig.place(qty="0.010")
    send = rig.wire.pop(0)
    status, body = rig.exchange.call(send, rig.ms)
    rig.advance(1)
    rig.exchange.fill(1001, D("0.004"), rig.ms)
    rig.advance(1)
    if ending == "filled":
        rig.exchange.fill(1001, D("0.006"), rig.ms)
    elif ending == "cancelled":
        rig.exchange.orders[1001].update(status="CANCELED", updateTime=rig.ms)
        rig.exchange._say(rig.exchange.orders[1001], "CANCELED")
    else:
        rig.exchange.expire(1001, rig.ms)
    told = rig.exchange.stream
    rig.exchange.stream = []
    last = json.dumps(rig.exchange.orders[1001]).encode()
    final = order_requests.parse_order(last, "query")
    reply: Said = lambda held: held.reply(send, status, body)  # noqa: E731
    needed = [stream(order) for order in told if order.fill is not None or order.execution != "NEW"]
    return rig, [reply, *(stream(order) for order in told), query(final), reading(final), query(told[0])], needed


def end(rig: Rig) -> tuple[object, ...]:
    answer = rig.answer(rig.ask(wire.OrderQuery, intent=IntentId(BRAIN, RUN, 1)))
    assert answer is not None and answer.order is not None
    view = answer.order
    subjects = rig.journal.subjects("order.")
    return (
        view.state, view.filled_qty, view.avg_price, view.order_id, view.fees, view.realised,
        rig.account.qty[SYMBOL, "BOTH"], frozenset(rig.journal.fills),
        subjects.count("order.filled"), subjects.count("order.accepted"), subjects[0],
    )  # fmt: skip


EXPECTED = {"filled": "0.010", "cancelled": "0.004", "expired": "0.004"}


@pytest.mark.parametrize("ending", list(EXPECTED))
@given(random=st.randoms(use_true_random=False))
@settings(max_examples=120, deadline=None)
def test_any_order_of_arrival_ends_the_same(ending: str, random: object) -> None:
    rig, said, needed = life(ending)
    arrivals = said + [random.choice(said) for _ in range(3)] + needed  # type: ignore[attr-defined]
    random.shuffle(arrivals)  # type: ignore[attr-defined]
    for tell in arrivals:
        tell(rig)
    shown = end(rig)
    fills = 2 if ending == "filled" else 1
    assert shown[:2] == (ending, EXPECTED[ending])
    assert shown[3:] == (
        1001, {"USDT": "0.01" if fills == 1 else "0.02"}, "0", D(EXPECTED[ending]),
        frozenset((SYMBOL, number) for number in range(1, fills + 1)), fills, 1, "order.sent",
    )  # fmt: skip
    assert rig.core.open_orders() == () and not rig.core.in_flight(SYMBOL)


@pytest.mark.parametrize("ending", list(EXPECTED))
@given(random=st.randoms(use_true_random=False), cut=st.integers(0, 12))
@settings(max_examples=120, deadline=None)
def test_a_restart_between_any_two_of_them_changes_nothing(ending: str, random: object, cut: int) -> None:
    rig, said, needed = life(ending)
    arrivals = said + needed
    random.shuffle(arrivals)  # type: ignore[attr-defined]
    for number, tell in enumerate(arrivals):
        if number == cut:
            rig.restart(1)
        tell(rig)
    assert end(rig)[:2] == (ending, EXPECTED[ending])
    assert rig.account.qty[SYMBOL, "BOTH"] == D(EXPECTED[ending])
