"""cancel and cancel_all: in the queue, in flight, at the exchange; until known closed; never foreign, never others'."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from ipc import wire
from ipc.wire import Answer, IntentId
from tests.gateway.orders_rig import BRAIN, PERSON, RUN, SETTINGS, SYMBOL, Brain, Rig

D = Decimal


def intent(seq: int = 1) -> IntentId:
    return IntentId(BRAIN, RUN, seq)


def cancel(rig: Rig, seq: int = 1, **fields: Any) -> int:
    return rig.ask(wire.Cancel, intent=intent(seq), **fields)


def told(rig: Rig, request: int) -> Answer:
    answer = rig.answer(request)
    assert answer is not None, "not answered"
    return answer


def placed(rig: Rig, count: int = 1) -> Rig:
    for seq in range(1, count + 1):
        rig.place(seq)
        rig.perform()
    rig.stream()
    return rig


def test_a_cancel_closes_and_is_answered_by_proof() -> None:
    rig = placed(Rig())
    request = cancel(rig)
    assert rig.answer(request) is None
    assert (rig.wire[0].method, rig.wire[0].lane, rig.wire[0].repeatable) == ("DELETE", "cancel", True)
    rig.perform()
    answer = told(rig, request)
    assert answer.ok and answer.order is not None and answer.order.state == "cancelled"
    assert rig.journal.subjects("order.")[-1] == "order.cancelled"
    rig.stream()
    assert rig.journal.subjects("order.").count("order.cancelled") == 1


def test_a_queued_intent_is_cancelled_in_the_queue_and_nothing_leaves() -> None:
    rig = Rig()
    rig.lanes.shut = True
    place = rig.place()
    request = cancel(rig)
    assert rig.lanes.waiting == []
    rig.open_lanes()
    assert rig.wire == []
    assert told(rig, request).ok
    answer = told(rig, place)
    assert answer.error is not None and answer.error.code == "intent.cancelled"
    assert rig.journal.subjects() == ["intent.cancelled"]
    again = rig.place(asked_boot_ns=rig.boot_ns)
    assert told(rig, again).error is not None and rig.wire == []


def test_a_held_intent_and_one_between_attempts_are_cancelled_where_they_wait() -> None:
    from gateway.core.signals import Holdback

    rig = Rig()
    rig.do(rig.core.on_signal(rig.now, Holdback(SYMBOL, True)))
    rig.place(1)
    assert told(rig, cancel(rig, 1)).ok
    rig.do(rig.core.on_signal(rig.now, Holdback(SYMBOL, False)))
    rig.place(2, deadline_ms=60_000)
    rig.fail(sent=False)
    assert told(rig, cancel(rig, 2)).ok
    rig.advance(2_000)
    assert rig.wire == []
    assert rig.journal.subjects("intent.") == ["intent.cancelled"] * 2


def test_one_in_flight_is_cancelled_at_once_and_again_when_its_outcome_is_known() -> None:
    """The cancel overtakes the order: the exchange does not know it yet."""
    rig = Rig()
    rig.place()
    order = rig.wire.pop(0)
    request = cancel(rig)
    assert [send.method for send in rig.wire] == ["DELETE"]
    rig.perform()  # -2011: proves nothing
    assert rig.answer(request) is None
    rig.wire.append(order)
    rig.perform()
    assert [send.method for send in rig.wire] == ["DELETE"]
    rig.perform()
    answer = told(rig, request)
    assert answer.ok and answer.order is not None and answer.order.state == "cancelled"


def test_the_cancel_of_an_unknown_order_is_repeated_until_it_is_known_closed() -> None:
    rig = Rig()
    rig.place()
    rig.perform(lose_reply=True)
    rig.exchange.stream.clear()
    request = cancel(rig)
    rig.fail(sent=True)
    rig.advance(3_000, serve=True)
    assert rig.exchange.open() == []
    assert rig.answer(request) is not None
    assert rig.core.open_orders() == ()


def test_a_cancel_that_is_too_late_is_answered_with_the_fill() -> None:
    rig = placed(Rig())
    rig.exchange.fill(1001, D("0.002"), rig.ms)
    request = cancel(rig)
    rig.perform()  # -2011
    assert rig.answer(request) is None and rig.wire[0].method == "GET"
    rig.perform()
    rig.stream()
    answer = told(rig, request)
    assert answer.ok and answer.order is not None and answer.order.state == "filled"


def test_cancels_are_repeated_through_every_failure() -> None:
    rig = placed(Rig())
    cancel(rig)
    for status, body in ((503, b""), (408, b""), (429, b""), (502, b"<html>"), (200, b"<html>"), (400, b"{}")):
        send = rig.wire.pop(0)
        rig.reply(send, status, body)
        assert rig.wire == []
        rig.advance(1_000)
        assert [again.method for again in rig.wire] == ["DELETE"], (status, body)
    rig.perform()
    assert rig.exchange.open() == []
    rig.advance(5_000)
    assert rig.wire == []


def test_a_cancel_is_answered_unknown_within_two_seconds() -> None:
    rig = placed(Rig())
    request = cancel(rig)
    rig.advance(1_899)
    assert rig.answer(request) is None
    rig.advance(1)
    answer = told(rig, request)
    assert not answer.ok and answer.outcome == "unknown"


def test_repeating_a_cancel_is_harmless_and_each_gets_its_answer() -> None:
    rig = placed(Rig())
    first, second = cancel(rig), cancel(rig)
    assert len(rig.wire) == 1
    rig.perform()
    assert told(rig, first).ok and told(rig, second).ok
    assert told(rig, cancel(rig)).ok and rig.wire == []


def test_a_cancel_survives_a_restart() -> None:
    rig = placed(Rig())
    cancel(rig)
    rig.restart()
    assert [send.method for send in rig.wire] == ["DELETE"]
    rig.perform()
    assert rig.exchange.open() == []


def test_a_cancelled_intent_is_not_tried_again_after_a_restart() -> None:
    rig = Rig()
    rig.place(deadline_ms=600_000)
    order = rig.wire.pop(0)
    cancel(rig)
    rig.wire.clear()
    rig.wire.append(order)
    rig.fail(sent=False)
    rig.restart()
    rig.advance(5_000, serve=True)
    assert rig.exchange.orders == {}


def test_rights_own_orders_only_and_foreign_ones_by_a_person_that_names_them() -> None:
    rig = placed(Rig())
    rig.brains.by_name["other"] = Brain("other", 2)
    rig.place(9, brain="other", caller=PERSON)
    rig.perform()
    assert told(rig, rig.ask(wire.Cancel, intent=IntentId("other", RUN, 9))).error.code == "rights.denied"  # type: ignore[union-attr]
    assert told(rig, rig.ask(wire.Cancel, intent=intent(77))).error.code == "order.not_found"  # type: ignore[union-attr]
    assert told(rig, rig.ask(wire.Cancel)).error.code == "wire.bad_request"  # type: ignore[union-attr]
    row = {**rig.exchange.orders[1001], "orderId": 7, "clientOrderId": "web_7"}
    rig.exchange.orders[7] = row
    rig.exchange._say(row, "NEW")
    rig.stream()
    named: dict[str, Any] = {"client_order_id": "web_7", "symbol": SYMBOL}
    assert told(rig, rig.ask(wire.Cancel, **named)).error.code == "rights.denied"  # type: ignore[union-attr]
    request = rig.ask(wire.Cancel, PERSON, **named)
    assert dict(rig.wire[0].params)["orderId"] == "7"
    rig.perform()
    assert told(rig, request).ok and row["status"] == "CANCELED"


# -- cancel_all


def test_cancel_all_takes_the_askers_orders_and_waits_for_each() -> None:
    rig = placed(Rig(), 3)
    rig.brains.by_name["other"] = Brain("other", 2)
    rig.place(9, brain="other", caller=PERSON)
    rig.perform()
    row = {**rig.exchange.orders[1001], "orderId": 7, "clientOrderId": "web_7"}
    rig.exchange.orders[7] = row
    rig.exchange._say(row, "NEW")
    rig.stream()
    request = rig.ask(wire.CancelAll)
    assert len(rig.wire) == 3
    rig.perform()
    rig.perform()
    assert rig.answer(request) is None
    rig.perform()
    assert told(rig, request).result == {"cancelled": 3, "pending": []}
    assert {order["clientOrderId"] for order in rig.exchange.open()} == {
        "web_7", next(o["clientOrderId"] for o in rig.exchange.open() if o["clientOrderId"] != "web_7"),
    }  # fmt: skip
    assert len(rig.exchange.open()) == 2


def test_cancel_all_everyone_is_an_administrators_and_never_takes_foreign_orders() -> None:
    rig = placed(Rig(), 2)
    row = {**rig.exchange.orders[1001], "orderId": 7, "clientOrderId": "web_7"}
    rig.exchange.orders[7] = row
    rig.exchange._say(row, "NEW")
    rig.stream()
    denied = told(rig, rig.ask(wire.CancelAll, everyone=True))
    assert denied.error is not None and denied.error.code == "rights.denied"
    request = rig.ask(wire.CancelAll, PERSON, everyone=True)
    rig.advance(100, serve=True)
    assert told(rig, request).ok
    assert [order["clientOrderId"] for order in rig.exchange.open()] == ["web_7"]


def test_cancel_all_with_nothing_to_do_is_done() -> None:
    rig = Rig()
    assert told(rig, rig.ask(wire.CancelAll)).result == {"cancelled": 0, "pending": []}


def test_cancel_all_says_what_is_still_open_after_two_seconds() -> None:
    rig = placed(Rig(), 2)
    request = rig.ask(wire.CancelAll)
    rig.perform()
    rig.advance(1_900)
    answer = told(rig, request)
    assert answer.outcome == "unknown" and answer.result["cancelled"] == 1 and len(answer.result["pending"]) == 1


@pytest.mark.parametrize("state", ["queued", "sent", "unknown"])
def test_cancel_all_reaches_what_does_not_rest_yet(state: str) -> None:
    rig = Rig(replace(SETTINGS, recv_window_ms=5_000))
    rig.lanes.shut = state == "queued"
    rig.place(deadline_ms=60_000)
    if state == "unknown":
        rig.perform(lose_reply=True)
        rig.exchange.stream.clear()
    request = rig.ask(wire.CancelAll)
    rig.open_lanes()
    rig.advance(1_500, serve=True)
    assert told(rig, request).ok
    assert rig.exchange.open() == []
