"""place: from the line to the exchange and back; who may, what is refused, what is retried, what is a close."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from gateway.core.effects import Answer, Send
from gateway.core.inputs import RestFailed
from gateway.core.ports import Caller
from gateway.core.rows import FORGOTTEN_KV
from gateway.core.signals import CatalogDoubt, ClockSuspect, Filled, Holdback, ReconcileWanted
from ipc import wire
from ipc.wire import IntentId
from rules.risk import Limits
from tests.gateway.orders_rig import (
    BRAIN,
    MS,
    PERSON,
    RUN,
    SETTINGS,
    START_BOOT_NS,
    SYMBOL,
    TRADER,
    Brain,
    Rig,
    instrument,
)

D = Decimal
BOTH = (SYMBOL, "BOTH")


def code(rig: Rig, request: int) -> str | None:
    answer = rig.answer(request)
    assert answer is not None, "not answered"
    return answer.error.code if answer.error is not None else None


def params(send: Send) -> dict[str, str]:
    return dict(send.params)


def long(rig: Rig, qty: str = "0.010") -> None:
    rig.account.qty[BOTH] = rig.exchange.position[BOTH] = D(qty)


# -- the plain way


def test_a_limit_order_is_journalled_sent_accepted_filled() -> None:
    rig = Rig()
    request = rig.place(price="59000.07", qty="0.0029")
    assert rig.answer(request) is None
    (send,) = rig.wire
    cid = params(send)["newClientOrderId"]
    assert [name for name, _ in send.params] == [
        "symbol", "side", "type", "timeInForce", "quantity", "price", "newClientOrderId", "newOrderRespType",
        "recvWindow", "timestamp",
    ]  # fmt: skip
    assert params(send)["price"] == "59000.0", "a BUY is rounded down, never worse than asked"
    assert params(send)["quantity"] == "0.002"
    assert params(send)["timestamp"] == str(rig.ms)
    assert rig.journal.orders[cid].open
    assert rig.journal.subjects() == ["order.sent"]
    rig.perform()
    answer = rig.answer(request)
    assert answer is not None and answer.ok and answer.outcome == "accepted"
    assert answer.order is not None and answer.order.state == "open" and answer.order.order_id == 1001
    assert answer.as_of == 2
    assert rig.journal.subjects() == ["order.sent", "order.accepted"]
    rig.exchange.fill(1001, D("0.001"), rig.ms)
    rig.exchange.fill(1001, D("0.001"), rig.ms)
    rig.stream()
    assert rig.journal.subjects() == ["order.sent", "order.accepted", "order.filled", "order.filled"]
    last = rig.journal.events[-1].event
    assert last.data == {
        "client_order_id": cid, "side": "BUY", "qty": "0.002", "filled_qty": "0.002", "state": "filled",
        "role": "entry", "price": "59000.0", "avg_price": "59000", "trade_id": 2, "last_qty": "0.001",
        "last_price": "59000.0", "fee": "0.01", "fee_asset": "USDT", "realised": "0", "maker": False,
    }  # fmt: skip
    assert last.ids is not None and last.ids.intent == f"{BRAIN}/{RUN}/1" and last.ids.trade_id == 2
    assert rig.account.qty[BOTH] == D("0.002")
    assert rig.core.open_orders() == ()


def test_sell_is_rounded_up_and_post_only_is_gtx() -> None:
    rig = Rig()
    rig.place(side="SELL", price="61000.01", post_only=True)
    assert params(rig.wire[0])["price"] == "61000.1" and params(rig.wire[0])["timeInForce"] == "GTX"


def test_a_market_order_takes_no_price_and_no_tif() -> None:
    rig = Rig()
    rig.place(type="MARKET")
    sent = params(rig.wire[0])
    assert "price" not in sent and "timeInForce" not in sent and sent["type"] == "MARKET"


def test_the_stream_may_be_faster_than_the_reply() -> None:
    rig = Rig()
    request = rig.place(tif="IOC", price="60000.1")
    status, body = rig.exchange.call(rig.wire[0], rig.ms)
    rig.stream()
    answer = rig.answer(request)
    assert answer is not None and answer.outcome == "accepted"
    before = list(rig.journal.events)
    rig.reply(rig.wire.pop(0), status, body)
    assert rig.journal.events == before, "the late acknowledgement says nothing new"
    assert [row.data["state"] for row in (e.event for e in before) if row.subject == "order.filled"] == ["filled"]


def test_fills_said_twice_count_once() -> None:
    rig = Rig()
    rig.place()
    rig.perform()
    rig.exchange.fill(1001, D("0.001"), rig.ms)
    again = list(rig.exchange.stream)
    rig.stream()
    rig.exchange.stream = again
    rig.stream()
    assert len([signal for signal in rig.signals if isinstance(signal, Filled)]) == 1
    assert rig.account.qty[BOTH] == D("0.001")


# -- who, and under which name


def test_a_brain_places_under_its_own_name_only() -> None:
    rig = Rig()
    rig.brains.by_name["other"] = Brain("other", 2)
    assert code(rig, rig.place(brain="other")) == "rights.denied"
    assert code(rig, rig.place(brain="nobody", caller=PERSON)) == "rights.denied"
    assert rig.wire == [] and rig.journal.intents == {}
    rig.place(brain="other", caller=PERSON)
    assert len(rig.wire) == 1, "an administrator may"


def test_a_repeat_gets_what_became_of_the_first() -> None:
    rig = Rig()
    first = rig.place(1, asked_boot_ns=START_BOOT_NS)
    second = rig.place(1, asked_boot_ns=START_BOOT_NS)
    assert len(rig.wire) == 1
    rig.perform()
    third = rig.place(1, asked_boot_ns=START_BOOT_NS)
    answers = [rig.answer(request) for request in (first, second, third)]
    assert all(answer is not None and answer.outcome == "accepted" for answer in answers)
    assert {answer.order.order_id for answer in answers if answer and answer.order} == {1001}
    assert rig.wire == []


def test_other_content_under_the_name_is_a_conflict_and_nothing_is_sent() -> None:
    rig = Rig()
    rig.place(1, asked_boot_ns=START_BOOT_NS)
    for change in (
        {"qty": "0.003"},
        {"price": "59001.0"},
        {"side": "SELL"},
        {"tag": "x"},
        {"asked_boot_ns": START_BOOT_NS - 1},
    ):
        request = rig.place(1, **{"asked_boot_ns": START_BOOT_NS, **change})  # type: ignore[arg-type]
        assert code(rig, request) == "intent.conflict"
    assert len(rig.wire) == 1
    assert rig.journal.subjects("intent.") == ["intent.conflict"] * 5


def test_a_run_that_is_not_the_registered_one_is_old() -> None:
    rig = Rig()
    assert code(rig, rig.place(run="r1795132799999")) == "intent.old_run"
    assert rig.journal.subjects() == ["intent.refused"] and rig.journal.intents == {}


def test_forgotten_intents_are_never_placed_again() -> None:
    """The table is bounded; what fell out of it is refused by its number, not sent as new."""
    rig = Rig(replace(SETTINGS, intents_kept=3))
    for seq in range(1, 7):
        rig.place(seq, asked_boot_ns=START_BOOT_NS, type="MARKET", qty="0.001")
        rig.perform()
        rig.stream()
    assert code(rig, rig.place(2, asked_boot_ns=START_BOOT_NS, type="MARKET", qty="0.001")) == "intent.old_run"
    answer = rig.answer(rig.place(6, asked_boot_ns=START_BOOT_NS, type="MARKET", qty="0.001"))
    assert answer is not None and answer.outcome == "accepted"
    assert len(rig.exchange.orders) == 6


def test_what_the_journal_pruned_is_never_placed_again_after_a_restart() -> None:
    rig = Rig()
    for seq in range(1, 4):
        rig.place(seq, asked_boot_ns=START_BOOT_NS, type="MARKET", qty="0.001")
        rig.perform()
        rig.stream()
    for name in [name for name in rig.journal.intents if name[2] < 3]:
        del rig.journal.intents[name], rig.journal.outcomes[name]
    rig.journal.kv[FORGOTTEN_KV + BRAIN] = f"{RUN} 2".encode()
    rig.restart()
    for seq in (1, 2):
        again = rig.place(seq, asked_boot_ns=START_BOOT_NS, type="MARKET", qty="0.001")
        assert code(rig, again) == "intent.old_run"
    assert code(rig, rig.place(3, asked_boot_ns=START_BOOT_NS, type="MARKET", qty="0.002")) == "intent.conflict"
    assert len(rig.exchange.orders) == 3


# -- refusals before anything leaves


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({"price": None}, "wire.bad_request"), ({"post_only": True, "tif": "IOC"}, "wire.bad_request"),
        ({"type": "MARKET", "tif": "IOC"}, "wire.bad_request"), ({"symbol": "NOPEUSDT"}, "symbol.unknown"),
        ({"qty": "0.0009"}, "filter.qty"), ({"qty": "0.0004", "type": "MARKET"}, "filter.qty"),
        ({"qty": "0"}, "filter.qty"), ({"qty": "1000000"}, "filter.qty"), ({"price": "100.0"}, "filter.price"),
        ({"side": "SELL", "price": "56999.9"}, "filter.price"), ({"price": "63000.1"}, "filter.price"),
        ({"qty": "0.001", "price": "49999.9"}, "filter.min_notional"),
        ({"price": "61200.1"}, "risk.price_band"), ({"side": "SELL", "price": "58799.9"}, "risk.price_band"),
        ({"qty": "0.334"}, "risk.max_notional"), ({"leg": "LONG"}, "risk.settings"),
        ({"reduce_only": True}, "risk.not_a_close"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_reason_and_recorded(fields: dict[str, Any], refused: str) -> None:
    rig = Rig()
    request = rig.place(**fields)
    assert code(rig, request) == refused
    assert rig.wire == [] and rig.journal.orders == {}
    assert rig.journal.subjects() == ["risk.refused" if refused.startswith("risk.") else "intent.refused"]
    if refused != "wire.bad_request":
        assert rig.journal.outcomes[BRAIN, RUN, 1].final


@pytest.mark.parametrize("fields", [{"price": "61200.0"}, {"side": "SELL", "price": "58800.0"}, {"qty": "0.333"}])
def test_the_other_side_of_each_limit_passes(fields: dict[str, Any]) -> None:
    rig = Rig()
    rig.place(**fields)
    assert len(rig.wire) == 1


def test_entries_need_a_live_book_a_fresh_mark_readiness_lease_and_settings() -> None:
    def refused(change: Any) -> str | None:
        rig = Rig()
        change(rig)
        assert rig.wire == []
        return code(rig, rig.place())

    assert refused(lambda rig: rig.market.bests.clear()) == "risk.stale"
    assert refused(lambda rig: rig.market.marks.clear()) == "risk.stale"
    assert refused(lambda rig: setattr(rig.account, "is_ready", False)) == "risk.not_ready"
    assert refused(lambda rig: setattr(rig.account, "refused", "leverage differs")) == "risk.settings"
    assert refused(lambda rig: setattr(rig.brains.by_name[BRAIN], "alive", False)) == "risk.lease"
    assert refused(lambda rig: rig.core.block_entries("disk", "the disk is nearly full")) == "risk.not_ready"
    assert (
        refused(lambda rig: rig.market.instruments.update(BTCUSDT=instrument(status="BREAK"))) == "symbol.not_trading"
    )


def test_closes_need_none_of_these() -> None:
    rig = Rig()
    long(rig)
    rig.market.bests.clear()
    rig.market.marks.clear()
    rig.account.is_ready = False
    rig.account.refused = "leverage differs"
    rig.brains.by_name[BRAIN].alive = False
    rig.core.block_entries("disk", "the disk is nearly full")
    rig.place(side="SELL", price="60500.0", qty="0.001")
    sent = params(rig.wire[0])
    assert (sent["type"], sent["reduceOnly"], sent["quantity"]) == ("MARKET", "true", "0.001")


def test_a_post_only_close_stays_passive_without_a_live_book() -> None:
    rig = Rig()
    long(rig)
    rig.market.bests.clear()
    rig.place(side="SELL", price="61000.0", qty="0.001", post_only=True, reduce_only=True)
    assert params(rig.wire[0])["timeInForce"] == "GTX"


def test_position_limit_counts_open_and_unknown_entries_as_filled() -> None:
    """3 x 15,000 fit under 50,000; the fourth does not, whatever became of the others."""
    rig = Rig()
    for seq in (1, 2, 3):
        rig.place(seq, qty="0.250")
    rig.perform()
    rig.perform(lose_reply=True)
    assert code(rig, rig.place(4, qty="0.250")) == "risk.max_position"
    rig.place(5, qty="0.083")
    assert len(rig.wire) >= 2


def test_the_exchanges_limit_of_open_orders() -> None:
    rig = Rig()
    rig.market.instruments[SYMBOL] = instrument(max_orders=2)
    rig.place(1)
    rig.place(2)
    assert code(rig, rig.place(3)) == "filter.max_orders"


def test_the_rate_refuses_what_could_not_leave_by_its_deadline() -> None:
    rig = Rig(replace(SETTINGS, limits=Limits(max_position_notional=None, orders_per_s=25, orders_burst=30)))
    rig.market.instruments[SYMBOL] = instrument(max_orders=None)
    refused = sum(rig.answer(request) is not None for request in [rig.place(seq, qty="0.001") for seq in range(1, 101)])
    assert refused == 100 - 55, "a burst of 30 and one second's 25"


# -- what is a close


def test_an_order_that_shrinks_without_crossing_is_a_close_and_bounded() -> None:
    rig = Rig()
    long(rig)
    rig.place(1, side="SELL", price="60500.0", qty="0.006")
    rig.place(2, side="SELL", price="60500.0", qty="0.005")
    first, second = params(rig.wire[0]), params(rig.wire[1])
    assert first["reduceOnly"] == "true"
    assert "reduceOnly" not in second, "with 0.006 claimed it would cross zero: an entry"


def test_a_reduce_only_close_is_never_more_than_the_position() -> None:
    rig = Rig()
    long(rig, "0.004")
    rig.place(side="SELL", type="MARKET", qty="0.010", reduce_only=True)
    assert params(rig.wire[0])["quantity"] == "0.004"


def test_closes_are_exempt_from_the_minimum_notional() -> None:
    rig = Rig()
    rig.market.instruments[SYMBOL] = instrument(min_notional=D(100_000))
    long(rig)
    rig.place(1, side="SELL", type="MARKET", qty="0.001", reduce_only=True)
    assert len(rig.wire) == 1
    assert code(rig, rig.place(2, side="BUY", qty="0.001")) == "filter.min_notional"


def test_before_the_first_reconciliation_a_close_only_in_the_bounded_form() -> None:
    rig = Rig()
    long(rig)
    rig.account.is_ready = rig.account.has_baseline = False
    rig.place(1, side="SELL", type="MARKET", qty="0.020", reduce_only=True)
    assert params(rig.wire[0])["reduceOnly"] == "true" and params(rig.wire[0])["quantity"] == "0.020"
    assert code(rig, rig.place(2, side="SELL", type="MARKET", qty="0.001")) == "risk.not_ready"


def test_hedge_mode_sends_the_leg_and_never_reduce_only() -> None:
    rig = Rig(hedge=True)
    rig.account.qty[SYMBOL, "LONG"] = rig.exchange.position[SYMBOL, "LONG"] = D("0.010")
    rig.place(1, side="BUY", qty="0.002", leg="LONG")
    rig.place(2, side="SELL", type="MARKET", qty="0.020", leg="LONG", reduce_only=True)
    entry, close = params(rig.wire[0]), params(rig.wire[1])
    assert entry["positionSide"] == close["positionSide"] == "LONG"
    assert "reduceOnly" not in entry and "reduceOnly" not in close
    assert close["quantity"] == "0.010"
    assert code(rig, rig.place(3, side="SELL", type="MARKET", leg="BOTH")) == "risk.settings"
    assert code(rig, rig.place(4, side="BUY", type="MARKET", leg="SHORT")) == "risk.not_a_close"
    assert code(rig, rig.place(5, side="BUY", type="MARKET", leg="LONG", reduce_only=True)) == "risk.not_a_close"


# -- deadlines


@pytest.mark.parametrize(("late_ms", "sent"), [(1000, True), (1001, False)])
def test_an_entry_leaves_by_its_deadline_or_not_at_all(late_ms: int, sent: bool) -> None:
    rig = Rig()
    request = rig.place(asked_boot_ns=rig.boot_ns - late_ms * MS)
    assert bool(rig.wire) is sent
    if not sent:
        assert code(rig, request) == "intent.expired"
        assert rig.journal.events[-1].event.data == {"deadline_ms": 1000, "late_ms": 1}


@pytest.mark.parametrize(("ahead_ms", "sent"), [(100, True), (101, False)])
def test_a_time_from_the_future_was_taken_in_another_boot_and_has_passed(ahead_ms: int, sent: bool) -> None:
    """An outbox that is sent again after a reboot, word for word: nothing old leaves as new; a close still does."""
    rig = Rig()
    long(rig)
    later = rig.boot_ns + ahead_ms * MS
    rig.place(1, asked_boot_ns=later)
    assert bool(rig.wire) is sent
    rig.wire.clear()
    rig.place(2, asked_boot_ns=later, side="SELL", type="MARKET", reduce_only=True)
    assert len(rig.wire) == 1


def test_a_close_has_no_deadline_unless_it_names_one() -> None:
    rig = Rig()
    long(rig)
    old = rig.boot_ns - 60_000 * MS
    rig.place(1, side="SELL", type="MARKET", qty="0.001", asked_boot_ns=old)
    rig.place(2, side="SELL", type="MARKET", qty="0.001", reduce_only=True, asked_boot_ns=old)
    assert len(rig.wire) == 2
    assert code(rig, rig.place(3, side="SELL", type="MARKET", qty="0.001", asked_boot_ns=old, deadline_ms=500)) == (
        "intent.expired"
    )


def test_a_queued_entry_expires_when_its_slot_comes_too_late() -> None:
    rig = Rig()
    rig.lanes.shut = True
    request = rig.place()
    assert rig.wire == [] and rig.journal.orders == {}
    rig.advance(1001)
    rig.open_lanes()
    assert rig.wire == [] and code(rig, request) == "intent.expired"
    assert rig.core.drained(), "nothing of it is left behind"


def test_a_queued_order_gets_its_timestamp_when_it_leaves() -> None:
    rig = Rig()
    rig.lanes.shut = True
    rig.place()
    rig.advance(900)
    rig.open_lanes()
    assert params(rig.wire[0])["timestamp"] == str(rig.ms)


def test_a_queued_entry_does_not_leave_against_a_state_that_came_meanwhile() -> None:
    rig = Rig()
    rig.lanes.shut = True
    request = rig.place()
    rig.advance(10)
    rig.account.is_ready = False
    rig.open_lanes()
    assert rig.wire == [] and code(rig, request) == "risk.not_ready"


# -- replies


def test_a_refusal_is_final_and_told_with_the_exchanges_words() -> None:
    rig = Rig()
    request = rig.place()
    rig.reply(rig.wire.pop(0), 400, b'{"code":-2019,"msg":"Margin is insufficient."}')
    answer = rig.answer(request)
    assert answer is not None and answer.error is not None and answer.order is not None
    assert (answer.outcome, answer.error.code, answer.order.state) == ("rejected", "venue.rejected", "rejected")
    assert answer.error.detail == {"venue_code": -2019, "venue_text": "Margin is insufficient."}
    assert rig.journal.subjects() == ["order.sent", "order.rejected"]
    assert [signal.symbol for signal in rig.signals if isinstance(signal, ReconcileWanted)] == [SYMBOL]


def test_a_filter_refusal_asks_for_the_filters_again() -> None:
    rig = Rig()
    rig.place()
    rig.reply(rig.wire.pop(0), 400, b'{"code":-1111,"msg":"Precision is over the maximum defined for this asset."}')
    assert [type(signal) for signal in rig.signals] == [CatalogDoubt]


@pytest.mark.parametrize("body", [b'{"code":-2015,"msg":"Invalid API-key."}', b'{"code":-2014,"msg":"Bad key."}'])
def test_refused_keys_stop_entries_until_a_person_resumes(body: bytes) -> None:
    rig = Rig()
    rig.place(1)
    rig.reply(rig.wire.pop(0), 401, body)
    assert rig.core.risk_state(None)[0] == "reduce_only"
    assert code(rig, rig.place(2)) == "risk.reduce_only"
    assert rig.journal.subjects("risk.")[0] == "risk.state"
    rig.ask(wire.Risk, PERSON, action="resume")
    rig.place(3)
    assert len(rig.wire) == 1


def test_a_wrong_position_mode_stops_entries_until_the_next_reconciliation() -> None:
    from gateway.core.signals import ReadyChanged

    rig = Rig()
    rig.place(1)
    rig.reply(rig.wire.pop(0), 400, b'{"code":-4061,"msg":"Order\'s position side does not match user\'s setting."}')
    assert code(rig, rig.place(2)) == "risk.not_ready"
    rig.do(rig.core.on_signal(rig.now, ReadyChanged(True, "read again")))
    rig.place(3)
    assert len(rig.wire) == 1


@pytest.mark.parametrize(
    "fault",
    [(503, b"Service Unavailable."), (503, b'{"code":-1008,"msg":"throttled"}'), (429, b'{"code":-1015,"msg":""}')],
)
def test_what_certainly_did_not_arrive_is_the_next_attempt(fault: tuple[int, bytes]) -> None:
    rig = Rig()
    request = rig.place(deadline_ms=10_000)
    seen = []
    for wait_ms in (200, 400, 800, 800):
        send = rig.wire.pop(0)
        seen.append(params(send)["newClientOrderId"])
        rig.reply(send, *fault)
        rig.advance(wait_ms - 1)
        assert rig.wire == []
        rig.advance(1)
    seen.append(params(rig.wire[0])["newClientOrderId"])
    rig.reply(rig.wire.pop(0), *fault)
    rig.advance(5_000)
    assert rig.wire == [], "five attempts, no more"
    assert len(set(seen)) == 5
    # the request was answered `unknown` after 2 s; what became of it is an event and the answer to a repeat
    answer = rig.answer(request)
    assert answer is not None and answer.outcome == "unknown"
    assert rig.journal.subjects("order.")[-1] == "order.rejected"
    assert rig.journal.outcomes[BRAIN, RUN, 1].final


def test_retries_never_go_past_the_deadline() -> None:
    rig = Rig()
    request = rig.place()
    rig.fail(sent=False)
    rig.advance(200)
    rig.fail(sent=False)
    rig.advance(400)
    rig.fail(sent=False)
    assert code(rig, request) == "venue.not_sent", "800 ms more would be past 1000"
    assert rig.wire == []


def test_at_most_one_attempt_is_accepted_and_the_intent_is_its() -> None:
    rig = Rig()
    request = rig.place()
    rig.fail(sent=False)
    rig.advance(200)
    rig.perform()
    answer = rig.answer(request)
    assert answer is not None and answer.order is not None and answer.order.attempt == 2
    assert len(rig.exchange.orders) == 1


def test_a_wrong_clock_is_measured_and_tried_once_more() -> None:
    rig = Rig()
    request = rig.place(deadline_ms=5_000)
    late = b'{"code":-1021,"msg":"Timestamp for this request is outside of the recvWindow."}'
    rig.reply(rig.wire.pop(0), 400, late)
    assert [type(signal) for signal in rig.signals] == [ClockSuspect]
    rig.advance(200)
    rig.reply(rig.wire.pop(0), 400, late)
    rig.advance(3_000)
    assert rig.wire == [] and code(rig, request) == "venue.rejected"


def test_a_close_is_tried_until_it_gets_through_and_decided_anew() -> None:
    rig = Rig()
    long(rig, "0.010")
    rig.place(side="SELL", type="MARKET", qty="0.010", reduce_only=True)
    for _ in range(12):
        rig.fail(sent=False)
        rig.advance(1000)
        assert len(rig.wire) == 1
    rig.account.qty[BOTH] = D("0.003")
    rig.fail(sent=False)
    rig.advance(1000)
    assert params(rig.wire[0])["quantity"] == "0.003"


def test_a_close_tried_again_never_grows_into_an_entry() -> None:
    """Asked without reduce_only, it was a close when it was decided; meanwhile most of the position is gone."""
    for left, sent in (("0.003", "0.003"), ("0", None)):
        rig = Rig()
        long(rig, "0.010")
        request = rig.place(side="SELL", type="MARKET", qty="0.010")
        rig.fail(sent=False)
        rig.account.qty[BOTH] = D(left)
        rig.advance(200)
        if sent is None:
            assert rig.wire == [] and code(rig, request) == "risk.not_a_close"
        else:
            assert (params(rig.wire[0])["quantity"], params(rig.wire[0])["reduceOnly"]) == (sent, "true")


def test_too_many_askers_of_one_intent_are_bounded_and_each_answered() -> None:
    rig = Rig()
    requests = [rig.place(1, asked_boot_ns=START_BOOT_NS) for _ in range(105)]
    told = [rig.answer(request) for request in requests]
    assert [answer is not None and answer.outcome for answer in told[:5]] == ["unknown"] * 5
    rig.perform()
    assert all(rig.answer(request) is not None for request in requests)


def test_a_full_lane_is_a_retry_not_an_order() -> None:
    rig = Rig()
    rig.lanes.shut = True
    rig.place(deadline_ms=5_000)
    ticket = rig.lanes.waiting.pop()
    rig.do(rig.core.on_reply(rig.now, RestFailed(ticket.key, False, "the queue is full")))
    rig.lanes.shut = False
    rig.advance(200)
    assert len(rig.wire) == 1 and rig.journal.subjects() == ["order.sent"]


def test_the_internal_error_is_asked_for_once_before_the_next_attempt() -> None:
    rig = Rig()
    rig.place()
    body = b'{"code":-1001,"msg":"Internal error; unable to process your request. Please try again."}'
    first = rig.wire.pop(0)
    rig.reply(first, 503, body)
    assert (rig.wire[0].method, params(rig.wire[0])["origClientOrderId"]) == ("GET", params(first)["newClientOrderId"])
    rig.perform()
    rig.advance(200)
    assert rig.wire[0].method == "POST"
    rig.perform()
    assert len(rig.exchange.orders) == 1


def test_a_duplicate_id_means_it_exists() -> None:
    rig = Rig()
    request = rig.place()
    rig.exchange.call(rig.wire[0], rig.ms)
    rig.perform()  # the exchange has it: -4116
    assert rig.wire[0].method == "GET"
    rig.perform()
    answer = rig.answer(request)
    assert answer is not None and answer.outcome == "accepted"


# -- holding back


def test_a_holdback_delays_entries_at_most_two_seconds_and_never_closes() -> None:
    rig = Rig()
    long(rig)
    rig.do(rig.core.on_signal(rig.now, Holdback(SYMBOL, True)))
    rig.place(1, deadline_ms=10_000)
    rig.place(2, side="SELL", type="MARKET", qty="0.001", reduce_only=True)
    assert [params(send)["side"] for send in rig.wire] == ["SELL"]
    rig.advance(1_999)
    assert len(rig.wire) == 1
    rig.advance(1)
    assert len(rig.wire) == 2


def test_a_holdback_that_ends_lets_entries_go_at_once() -> None:
    rig = Rig()
    rig.do(rig.core.on_signal(rig.now, Holdback(SYMBOL, True)))
    rig.place(1)
    rig.advance(300)
    rig.do(rig.core.on_signal(rig.now, Holdback(SYMBOL, False)))
    assert len(rig.wire) == 1


def test_a_held_entry_still_has_its_deadline() -> None:
    rig = Rig()
    rig.do(rig.core.on_signal(rig.now, Holdback(SYMBOL, True)))
    request = rig.place(1)
    rig.advance(1_001)
    assert code(rig, request) == "intent.expired"


# -- lists


def test_orders_are_listed_in_pages() -> None:
    rig = Rig()
    for seq in range(1, 6):
        rig.place(seq)
        rig.perform()
    seen: list[str] = []
    token = None
    while True:
        answer = rig.answer(rig.ask(wire.OrdersQuery, limit=2, next=token))
        assert answer is not None and answer.ok
        seen += [row["client_order_id"] for row in answer.result]
        token = answer.next
        if token is None:
            break
    assert len(seen) == len(set(seen)) == 5
    assert code(rig, rig.ask(wire.OrdersQuery, next="nonsense")) == "page.bad_token"


def test_an_order_is_found_by_intent_and_by_id() -> None:
    rig = Rig()
    rig.place(1)
    by_intent = rig.answer(rig.ask(wire.OrderQuery, PERSON, intent=IntentId(BRAIN, RUN, 1)))
    assert by_intent is not None and by_intent.order is not None and by_intent.order.state == "sent"
    by_id = rig.answer(rig.ask(wire.OrderQuery, client_order_id=by_intent.order.client_order_id))
    assert by_id is not None and by_id.order == by_intent.order
    assert code(rig, rig.ask(wire.OrderQuery, intent=IntentId(BRAIN, RUN, 9))) == "order.not_found"
    assert code(rig, rig.ask(wire.OrderQuery)) == "wire.bad_request"


def test_caller_without_hello_reads_but_does_not_place() -> None:
    rig = Rig()
    tool = Caller(3, 1000, None, False)
    assert code(rig, rig.place(caller=tool)) == "rights.denied"
    assert code(rig, rig.ask(wire.CancelAll, tool)) == "rights.hello_first"
    assert code(rig, rig.ask(wire.Flatten, tool)) == "rights.denied"
    answer = rig.answer(rig.ask(wire.OrdersQuery, tool))
    assert answer is not None and answer.ok
    assert rig.answer(rig.ask(wire.OrdersQuery, TRADER)) is not None


def test_a_page_of_orders_fits_a_line() -> None:
    from ipc.framing import MAX_LINE_BYTES

    rig = Rig(replace(SETTINGS, limits=Limits(max_position_notional=None, orders_per_s=1000, orders_burst=1000)))
    rig.market.instruments[SYMBOL] = instrument(max_orders=None)
    for seq in range(1, 301):
        rig.place(seq)
    request = rig._ids + 1
    out = rig.core.handle(rig.now, TRADER, wire.OrdersQuery(id=request, limit=1000))
    (answer,) = out
    assert isinstance(answer, Answer) and len(answer.line) <= MAX_LINE_BYTES
    assert b'"next":"' in answer.line


def test_the_gateways_own_name_is_nobodys() -> None:
    rig = Rig()
    rig.brains.by_name["gateway"] = Brain("gateway", 3)
    assert code(rig, rig.place(brain="gateway", caller=PERSON)) == "rights.denied"


def test_before_the_mode_is_known_a_leg_says_it() -> None:
    rig = Rig()
    rig.account.is_ready = rig.account.has_baseline = False
    rig.place(1, side="SELL", type="MARKET", leg="LONG", reduce_only=True)
    sent = params(rig.wire[0])
    assert sent["positionSide"] == "LONG" and "reduceOnly" not in sent


def test_an_order_told_rejected_that_proves_alive_is_told_and_reconciled() -> None:
    rig = Rig()
    rig.place(1)
    send = rig.wire.pop(0)
    rig.exchange.call(send, rig.ms)
    rig.reply(send, 400, b'{"code":-2019,"msg":"Margin is insufficient."}')
    rig.signals.clear()
    rig.stream()
    assert rig.core.open_orders()[0].state == "open"
    assert rig.journal.subjects("order.") == ["order.sent", "order.rejected", "order.accepted"]
    again = rig.answer(rig.place(1, asked_boot_ns=START_BOOT_NS))
    assert again is not None and again.outcome == "accepted"
    assert any(isinstance(signal, ReconcileWanted) for signal in rig.signals)


def test_an_attempt_that_waits_does_not_leave_when_the_one_before_it_proves_alive() -> None:
    """The exchange said it failed, and yet it came through: the next attempt is in its lane already."""
    rig = Rig()
    asked = rig.place(1, deadline_ms=5_000)
    first = rig.wire.pop(0)
    rig.exchange.call(first, rig.ms)
    rig.reply(first, 503, b"Service Unavailable.")
    rig.lanes.shut = True
    rig.advance(200)
    assert len(rig.lanes.waiting) == 1
    rig.stream()
    rig.open_lanes()
    assert rig.wire == [] and len(rig.exchange.orders) == 1
    answer = rig.answer(asked)
    assert answer is not None and answer.outcome == "accepted"
    assert answer.order is not None and answer.order.attempt == 1
    assert [order.attempt for order in rig.core.open_orders()] == [1]


def test_a_second_attempt_that_lives_beside_the_first_is_cancelled_and_told() -> None:
    rig = Rig()
    asked = rig.place(1, deadline_ms=5_000)
    first = rig.wire.pop(0)
    rig.exchange.call(first, rig.ms)
    rig.reply(first, 503, b"Service Unavailable.")
    rig.advance(200)
    second = rig.wire.pop(0)
    rig.exchange.call(second, rig.ms)
    rig.stream()  # both of them
    assert [report.event for report in rig.reports if report.level == "error"] == [
        "two attempts of one intent are alive"
    ]
    assert any(isinstance(signal, ReconcileWanted) for signal in rig.signals)
    assert [dict(send.params)["origClientOrderId"] for send in rig.wire] == [dict(second.params)["newClientOrderId"]]
    rig.advance(1_000, serve=True)
    assert [order["clientOrderId"] for order in rig.exchange.open()] == [dict(first.params)["newClientOrderId"]]
    again = rig.answer(rig.place(1, deadline_ms=5_000, asked_boot_ns=START_BOOT_NS))
    assert again is not None and again.order is not None and again.order.attempt == 1
    answer = rig.answer(asked)
    assert answer is not None and answer.outcome == "accepted"


def answered(rig: Rig) -> list[int | None]:
    return [answer.id for _, answer in rig.answers]


def test_answers_that_name_one_intent_keep_their_order() -> None:
    """place, order, cancel of one intent on one connection; other intents do not wait for them."""
    name = IntentId(BRAIN, RUN, 1)
    for body in (None, b'{"code":-2019,"msg":"Margin is insufficient."}'):
        rig = Rig()
        place = rig.place(1)
        read = rig.ask(wire.OrderQuery, intent=name)
        cancel = rig.ask(wire.Cancel, intent=name)
        other = rig.place(2, qty="0")
        assert answered(rig) == [other]
        order = rig.wire.pop(0)
        if body is None:
            rig.wire.append(order)
            rig.perform()  # the cancel overtook it
        else:
            rig.reply(order, 400, body)
        rig.advance(1_000, serve=True)
        assert answered(rig) == [other, place, read, cancel]


def test_a_read_behind_a_place_waits_no_longer_than_the_place() -> None:
    rig = Rig()
    place = rig.place(1)
    read = rig.ask(wire.OrderQuery, intent=IntentId(BRAIN, RUN, 1))
    rig.advance(1_900)
    assert answered(rig) == [place, read]


def test_an_order_carries_its_deadline_to_the_socket_and_expires_where_that_held_it_back() -> None:
    rig = Rig()
    asked = rig.place(1, deadline_ms=300)
    assert rig.wire[0].leave_by_boot_ns == rig.boot_ns + 300 * MS
    rig.boot_ns += 301 * MS
    rig.fail(sent=False)
    assert code(rig, asked) == "intent.expired"
    assert rig.journal.subjects("intent.") == ["intent.expired"]
    rig.account.qty[SYMBOL, "BOTH"] = D("0.002")
    rig.place(2, side="SELL", type="MARKET", reduce_only=True)
    assert rig.wire[-1].leave_by_boot_ns is None, "a close has none"
