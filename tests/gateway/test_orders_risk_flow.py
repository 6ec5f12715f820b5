"""Risk states, flatten, the end of a lease, restart and shutdown."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import msgspec
import pytest

from gateway.core.edge import FIRST_NS, FORGET_NS, MAX_NS, EdgePause
from gateway.core.effects import Send
from gateway.core.ports import Caller
from gateway.core.signals import BrainBack, BrainLost, PrivateUp, ReadyChanged, ReconcileWanted, RestrictBrain
from ipc import wire
from ipc.wire import Answer, IntentId
from tests.gateway.orders_rig import BRAIN, PERSON, RUN, SETTINGS, SYMBOL, Rig

D = Decimal
BOTH = (SYMBOL, "BOTH")


def told(rig: Rig, request: int) -> Answer:
    answer = rig.answer(request)
    assert answer is not None, "not answered"
    return answer


def code(rig: Rig, request: int) -> str | None:
    error = told(rig, request).error
    return error.code if error is not None else None


def long(rig: Rig, qty: str = "0.010", leg: str = "BOTH") -> None:
    rig.account.qty[SYMBOL, leg] = rig.exchange.position[SYMBOL, leg] = D(qty)


def ready(rig: Rig) -> Rig:
    rig.do(rig.core.on_signal(rig.now, PrivateUp("start")))
    rig.do(rig.core.on_signal(rig.now, ReadyChanged(True, "start")))
    return rig


def params(send: Send) -> dict[str, str]:
    return dict(send.params)


def with_entry_and_exit() -> Rig:
    """A long position, an entry that rests and an exit that rests."""
    rig = ready(Rig())
    long(rig)
    rig.place(1)
    rig.place(2, side="SELL", price="61000.0", qty="0.005", reduce_only=True)
    rig.perform()
    rig.perform()
    rig.stream()
    return rig


# -- states


def test_a_pause_is_journalled_told_and_cancels_resting_entries_but_not_exits() -> None:
    rig = with_entry_and_exit()
    request = rig.ask(wire.Risk, PERSON, action="pause", reason="lunch")
    assert told(rig, request).result["account"] == {"state": "reduce_only", "reason": "lunch", "author": "person:0"}
    event = next(row.event for row in rig.journal.events if row.event.subject == "risk.state")
    assert event.data == {
        "scope": "account", "state": "reduce_only", "was": "running", "author": "person:0", "reason": "lunch",
    }  # fmt: skip
    assert msgspec.json.decode(rig.journal.kv["risk:account"])["state"] == "reduce_only"
    assert [params(send)["origClientOrderId"] for send in rig.wire] == [rig.exchange.orders[1001]["clientOrderId"]]
    assert code(rig, rig.place(3)) == "risk.reduce_only"
    rig.place(4, side="SELL", type="MARKET", qty="0.001", reduce_only=True)
    assert rig.wire[-1].method == "POST", "closes pass"


def test_states_survive_restarts_and_only_a_person_resumes() -> None:
    rig = ready(Rig())
    rig.ask(wire.Risk, PERSON, action="pause")
    rig.restart()
    assert code(rig, rig.place(1)) == "risk.reduce_only"
    assert code(rig, rig.ask(wire.Risk, action="resume")) == "rights.denied"
    rig.ask(wire.Risk, PERSON, action="resume")
    rig.place(2)
    assert len(rig.wire) == 1


def test_a_brain_pauses_itself_only() -> None:
    rig = ready(Rig())
    assert code(rig, rig.ask(wire.Risk, action="pause")) == "rights.denied"
    assert told(rig, rig.ask(wire.Risk, action="pause", brain=BRAIN)).ok
    assert rig.core.risk_state(BRAIN)[0] == "reduce_only" and rig.core.risk_state(None)[0] == "running"


def test_kill_is_not_served_and_state_reads() -> None:
    rig = Rig()
    assert code(rig, rig.ask(wire.Risk, PERSON, action="kill")) == "op.not_supported"
    assert told(rig, rig.ask(wire.Risk)).result == {"account": {"state": "running", "reason": "", "author": ""}}


@pytest.mark.parametrize("state", ["cancel_only", "halted"])
def test_the_strict_states_and_what_passes_them(state: str) -> None:
    rig = ready(Rig())
    long(rig)
    rig.place(1)
    rig.perform()
    rig.stream()
    rig.do(rig.core.set_risk(rig.now, "account", state, "person:0", "test"))
    assert [send.method for send in rig.wire] == ["DELETE"], "entering a stricter state cancels resting entries"
    assert code(rig, rig.place(2, side="SELL", type="MARKET", qty="0.001", reduce_only=True)) == f"risk.{state}"
    cancel = rig.ask(wire.Cancel, intent=IntentId(BRAIN, RUN, 1))
    if state == "halted":
        assert code(rig, cancel) == "risk.halted"
    assert code(rig, rig.ask(wire.Flatten)) == f"risk.{state}"
    rig.place(3, side="SELL", type="MARKET", qty="0.001", reduce_only=True, tag="interceptor:sl")
    assert [send.method for send in rig.wire if send.method == "POST"] == ["POST"], "the quick line passes"
    request = rig.ask(wire.Flatten, PERSON, symbol=SYMBOL)
    rig.advance(1_800, serve=True)
    assert told(rig, request).ok and rig.exchange.position[BOTH] == 0


def test_an_unexplained_difference_restricts_its_brain() -> None:
    rig = ready(Rig())
    rig.do(rig.core.on_signal(rig.now, RestrictBrain(BRAIN, "reduce_only", "position differs")))
    assert code(rig, rig.place(1)) == "risk.reduce_only"
    assert rig.core.risk_state(BRAIN) == ("reduce_only", "position differs")


# -- flatten


def test_flatten_cancels_closes_and_is_answered_when_flat() -> None:
    rig = ready(Rig())
    long(rig)
    rig.place(1)
    rig.perform()
    rig.stream()
    request = rig.ask(wire.Flatten, reason="enough")
    close = next(send for send in rig.wire if send.method == "POST")
    assert params(close)["type"] == "MARKET" and params(close)["reduceOnly"] == "true" and close.lane == "close"
    assert close.repeatable
    assert {send.method for send in rig.wire} == {"POST", "DELETE"}
    assert rig.answer(request) is None
    rig.advance(1_000, serve=True)
    answer = told(rig, request)
    assert answer.ok and answer.result == {"flat": True, "symbols": {SYMBOL: "flat"}}
    assert rig.exchange.position[BOTH] == 0 and rig.exchange.open() == []
    own = [row for row in rig.journal.intents.values() if row.brain == "gateway"]
    assert [row.brain_no for row in own] == [0]
    assert rig.journal.kv[f"flatten:{SYMBOL}"] == b""


def test_entries_are_refused_while_a_symbol_is_flattened() -> None:
    rig = ready(Rig())
    long(rig)
    rig.ask(wire.Flatten)
    assert code(rig, rig.place(1)) == "risk.reduce_only"
    rig.advance(1_000, serve=True)
    rig.place(2)
    assert len(rig.wire) == 1


def test_flatten_goes_on_until_flat_through_failures_and_answers_progress() -> None:
    rig = ready(Rig())
    long(rig)
    request = rig.ask(wire.Flatten)
    for _ in range(30):
        rig.advance(100)
        while rig.wire:
            send = rig.wire.pop(0)
            if send.method == "POST":
                rig.reply(send, 400, b'{"code":-2022,"msg":"ReduceOnly Order is rejected."}')
            else:
                rig.wire.insert(0, send)
                rig.perform()
    answer = told(rig, request)
    assert answer.outcome == "unknown" and answer.result == {"flat": False, "symbols": {SYMBOL: "closing"}}
    assert 4 <= len(rig.journal.subjects("order.sent")) <= 8, "with a back-off, not a flood"
    rig.advance(2_000, serve=True)
    assert rig.exchange.position[BOTH] == 0


def test_beside_an_unknown_close_one_more_goes_at_once_and_no_third() -> None:
    rig = ready(Rig(replace(SETTINGS, recv_window_ms=60_000)))
    long(rig)
    rig.ask(wire.Flatten)
    rig.perform(lose_request=True)
    rig.wire.clear()
    rig.advance(1_500)
    assert len([send for send in rig.wire if send.method == "POST"]) == 1
    first = next(send for send in rig.wire if send.method == "POST")
    rig.wire = [first]
    rig.perform(lose_request=True)
    rig.wire.clear()
    rig.advance(1_500)
    assert [send for send in rig.wire if send.method == "POST"] == []


def test_flatten_closes_each_leg_in_hedge_mode() -> None:
    rig = ready(Rig(hedge=True))
    long(rig, "0.010", "LONG")
    long(rig, "-0.004", "SHORT")
    request = rig.ask(wire.Flatten, PERSON)
    sent = sorted((params(send)["side"], params(send)["positionSide"], params(send)["quantity"]) for send in rig.wire)
    assert sent == [("BUY", "SHORT", "0.004"), ("SELL", "LONG", "0.010")]
    assert all("reduceOnly" not in params(send) for send in rig.wire)
    rig.advance(1_500, serve=True)
    assert told(rig, request).ok


def test_flatten_waits_for_positions_it_does_not_know() -> None:
    rig = Rig()
    rig.account.has_baseline = rig.account.is_ready = False
    rig.ask(wire.Flatten, PERSON, symbol=SYMBOL)
    rig.advance(1_000)
    assert rig.wire == [] and [type(s) for s in rig.signals] == [ReconcileWanted]
    long(rig)
    rig.account.has_baseline = True
    rig.advance(1_000, serve=True)
    assert rig.exchange.position[BOTH] == 0


def test_a_large_position_is_closed_in_pieces_the_exchange_takes() -> None:
    from tests.gateway.orders_rig import instrument

    rig = ready(Rig())
    rig.market.instruments[SYMBOL] = instrument(market_max_qty=D("0.004"))
    long(rig)
    request = rig.ask(wire.Flatten)
    rig.advance(1_899, serve=True)
    assert told(rig, request).ok
    assert [trade["qty"] for trade in rig.exchange.trades] == ["0.004", "0.004", "0.002"]


def test_dust_below_the_smallest_order_does_not_keep_a_flatten_alive() -> None:
    rig = ready(Rig())
    long(rig, "0.0004")
    assert told(rig, rig.ask(wire.Flatten)).ok


def test_a_brain_flattens_its_own_symbols_only() -> None:
    rig = ready(Rig())
    assert code(rig, rig.ask(wire.Flatten, symbol="ETHUSDT")) == "rights.denied"
    other = Caller(4, 1000, "nobody", False)
    assert told(rig, rig.ask(wire.Flatten, other)).result == {"flat": True, "symbols": {}}


def test_a_symbol_that_is_not_served_is_refused_and_leaves_no_job_that_never_ends() -> None:
    rig = ready(Rig())
    person = Caller(4, 1000, None, True)
    assert code(rig, rig.ask(wire.Flatten, person, symbol="NOPE")) == "symbol.unknown"
    assert not [key for key in rig.journal.kv if key.startswith("flatten:")]
    assert told(rig, rig.ask(wire.Flatten, person, symbol=SYMBOL)).ok


def test_a_flatten_survives_a_restart() -> None:
    rig = ready(Rig())
    long(rig)
    rig.ask(wire.Flatten)
    rig.wire.clear()
    rig.restart()
    ready(rig)
    rig.advance(5_000, serve=True)
    assert rig.exchange.position[BOTH] == 0
    assert rig.journal.kv[f"flatten:{SYMBOL}"] == b""


# -- the end of a lease


LOST = BrainLost(BRAIN, RUN, (SYMBOL,), 10_000)


def test_the_end_of_a_lease_cancels_entries_at_once_and_flattens_after_its_grace() -> None:
    rig = with_entry_and_exit()
    rig.do(rig.core.on_signal(rig.now, LOST))
    assert [params(send)["origClientOrderId"] for send in rig.wire] == [rig.exchange.orders[1001]["clientOrderId"]]
    rig.perform()
    rig.advance(9_999, serve=True)
    assert rig.exchange.position[BOTH] == D("0.010") and len(rig.exchange.open()) == 1, "exits stay"
    rig.advance(3_000, serve=True)
    assert rig.exchange.position[BOTH] == 0 and rig.exchange.open() == []


def test_a_brain_that_comes_back_keeps_its_position() -> None:
    rig = ready(Rig())
    long(rig)
    rig.do(rig.core.on_signal(rig.now, LOST))
    rig.advance(5_000)
    rig.do(rig.core.on_signal(rig.now, BrainBack(BRAIN, RUN)))
    rig.advance(9_000, serve=True)
    assert rig.exchange.position[BOTH] == D("0.010")
    rig.do(rig.core.on_signal(rig.now, LOST))
    rig.advance(5_000, serve=True)
    rig.do(rig.core.on_signal(rig.now, BrainBack(BRAIN, RUN)))
    rig.do(rig.core.on_signal(rig.now, LOST))
    rig.advance(9_999, serve=True)
    assert rig.exchange.position[BOTH] == D("0.010"), "the grace begins anew"
    rig.advance(3_000, serve=True)
    assert rig.exchange.position[BOTH] == 0


def test_keep_means_keep() -> None:
    rig = ready(Rig())
    long(rig)
    rig.do(rig.core.on_signal(rig.now, BrainLost(BRAIN, RUN, (SYMBOL,), None)))
    rig.advance(60_000, serve=True)
    assert rig.exchange.position[BOTH] == D("0.010")


def test_a_grace_that_was_running_goes_on_after_a_restart() -> None:
    rig = ready(Rig())
    long(rig)
    rig.do(rig.core.on_signal(rig.now, LOST))
    rig.restart()
    ready(rig)
    rig.advance(13_000, serve=True)
    assert rig.exchange.position[BOTH] == 0


# -- restart


def test_a_queued_intent_goes_on_after_a_restart_or_expires() -> None:
    for downtime_ms, sent in ((100, True), (1_001, False)):
        rig = ready(Rig())
        rig.lanes.shut = True
        rig.place()
        rig.lanes.shut = False
        rig.restart(downtime_ms)
        ready(rig)
        rig.advance(100)
        assert bool(rig.wire) is sent, downtime_ms
        if not sent:
            assert rig.journal.subjects("intent.") == ["intent.expired"]


def test_a_queued_close_has_no_deadline_after_a_restart_either() -> None:
    rig = ready(Rig())
    long(rig)
    rig.lanes.shut = True
    rig.place(side="SELL", type="MARKET", qty="0.001")
    rig.lanes.shut = False
    rig.restart(60_000)
    ready(rig)
    rig.advance(100)
    assert len(rig.wire) == 1


def test_deadlines_of_another_boot_have_passed() -> None:
    rig = ready(Rig())
    rig.lanes.shut = True
    rig.place(deadline_ms=600_000)
    rig.lanes.shut = False
    name = next(iter(rig.journal.intents))
    rig.journal.intents[name] = msgspec.structs.replace(rig.journal.intents[name], boot="another-boot")
    rig.restart(1)
    ready(rig)
    rig.advance(100)
    assert rig.wire == [] and rig.journal.subjects("intent.") == ["intent.expired"]


def test_a_sent_order_is_a_question_after_a_restart() -> None:
    rig = ready(Rig())
    rig.place()
    rig.exchange.call(rig.wire[0], rig.ms)
    rig.exchange.stream.clear()
    rig.restart()
    assert rig.journal.subjects("order.") == ["order.sent", "order.unknown"]
    ready(rig)
    repeat = rig.place(asked_boot_ns=rig.boot_ns - 50_000_000)
    rig.advance(1_000, serve=True)
    assert told(rig, repeat).outcome == "accepted" and len(rig.exchange.orders) == 1


def test_answers_of_repeats_survive_a_restart() -> None:
    rig = ready(Rig())
    began = rig.boot_ns
    rig.place(1)
    rig.perform()
    rig.place(2)
    rig.reply(rig.wire.pop(0), 400, b'{"code":-2019,"msg":"Margin is insufficient."}')
    rig.place(3, qty="100")
    rig.restart()
    first, second = (rig.place(seq, asked_boot_ns=began) for seq in (1, 2))
    third = rig.place(3, asked_boot_ns=began, qty="100")
    assert told(rig, first).outcome == "accepted"
    assert code(rig, second) == "venue.rejected" and code(rig, third) == "risk.max_notional"
    assert rig.wire == []


def test_fills_known_before_a_restart_are_not_counted_again() -> None:
    rig = ready(Rig())
    rig.place()
    rig.perform()
    rig.exchange.fill(1001, D("0.001"), rig.ms)
    said = list(rig.exchange.stream)
    rig.stream()
    rig.restart()
    rig.exchange.stream = said
    rig.stream()
    assert rig.account.qty[BOTH] == D("0.001") and rig.journal.subjects("order.filled") == ["order.filled"]


def test_own_runs_and_ids_differ_after_a_restart() -> None:
    rig = ready(Rig())
    long(rig)
    rig.ask(wire.Flatten)
    rig.perform()
    rig.exchange.stream.clear()
    rig.restart()
    ready(rig)
    rig.advance(5_000, serve=True)
    ids = [order["clientOrderId"] for order in rig.exchange.orders.values()]
    assert len(ids) == len(set(ids)) and rig.exchange.position[BOTH] == 0


# -- stopping


def test_shutdown_cancels_entries_leaves_exits_and_drains() -> None:
    rig = with_entry_and_exit()
    rig.place(3, price="58000.0")
    rig.do(rig.core.shutdown(rig.now))
    assert not rig.core.drained()
    assert code(rig, rig.place(4)) == "gateway.stopping"
    rig.advance(1_000, serve=True)
    assert rig.core.drained()
    assert [order["side"] for order in rig.exchange.open()] == ["SELL"]
    assert rig.exchange.position[BOTH] == D("0.010")


def test_shutdown_flattens_where_the_setting_says_so() -> None:
    rig = ready(Rig(replace(SETTINGS, flatten_on_stop=True)))
    long(rig)
    rig.do(rig.core.shutdown(rig.now))
    assert not rig.core.drained()
    rig.advance(2_000, serve=True)
    assert rig.core.drained() and rig.exchange.position[BOTH] == 0


def test_shutdown_drops_what_is_queued_and_answers_it() -> None:
    rig = ready(Rig())
    rig.lanes.shut = True
    request = rig.place(1)
    rig.do(rig.core.shutdown(rig.now))
    assert code(rig, request) == "intent.cancelled" and rig.core.drained()


def test_with_the_journal_failing_nothing_new_is_taken_and_what_was_leaving_is_asked_for() -> None:
    rig = ready(Rig())
    request = rig.place(1)
    rig.wire.clear()  # it never left: its transaction failed
    rig.do(rig.core.on_journal_failed(rig.now, "disk full"))
    assert rig.core.unknown_count() == 1
    assert code(rig, rig.place(2)) == "gateway.journal"
    rig.advance(5_000, serve=True)
    assert code(rig, request) == "venue.not_sent"


def test_a_pause_does_not_drop_a_close_that_is_being_tried_again() -> None:
    rig = ready(Rig())
    long(rig)
    rig.place(1, side="SELL", type="MARKET", qty="0.010", reduce_only=True)
    rig.fail(sent=False)
    rig.place(2, deadline_ms=60_000)
    rig.fail(sent=False)
    rig.ask(wire.Risk, PERSON, action="pause")
    rig.advance(1_000, serve=True)
    assert rig.exchange.position[BOTH] == 0
    assert rig.journal.subjects("intent.") == ["intent.cancelled"], "the waiting entry only"


def test_a_pause_never_loosens_a_stricter_state() -> None:
    rig = ready(Rig())
    rig.do(rig.core.set_risk(rig.now, "account", "halted", "person:0", "test"))
    rig.ask(wire.Risk, PERSON, action="pause")
    assert rig.core.risk_state(None)[0] == "halted"


def test_a_difference_never_loosens_what_a_person_set() -> None:
    rig = ready(Rig())
    rig.do(rig.core.set_risk(rig.now, f"brain:{BRAIN}", "halted", "person:0", "test"))
    rig.do(rig.core.on_signal(rig.now, RestrictBrain(BRAIN, "reduce_only", "position differs")))
    assert rig.core.risk_state(BRAIN) == ("halted", "test")


def test_a_flatten_taken_up_again_does_not_cancel_its_own_close() -> None:
    rig = ready(Rig())
    long(rig)
    rig.exchange.fill_takers = False
    rig.ask(wire.Flatten)
    rig.exchange.call(rig.wire[0], rig.ms)
    rig.restart()
    ready(rig)
    rig.advance(2_000)
    assert "DELETE" not in {send.method for send in rig.wire}


def test_refused_keys_are_told_once_however_often_they_are_refused() -> None:
    rig = ready(Rig())
    rig.place(1)
    rig.place(2)
    rig.perform()
    rig.reply(rig.wire.pop(0), 401, b'{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}')
    for _ in range(5):
        for send in [send for send in rig.wire if send.method == "DELETE"]:
            rig.wire.remove(send)
            rig.reply(send, 401, b'{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}')
        rig.advance(5_000)
    assert rig.journal.subjects("risk.state") == ["risk.state"]
    rig.advance(5_000, serve=True)
    assert rig.exchange.open() == [], "the cancel of what rested went on"


def test_no_brain_leaves_halted_nor_cancels_there_whatever_its_user_may() -> None:
    """Where brains and people are one user, the connection tells them apart."""
    rig = ready(Rig())
    rig.place(1)
    rig.perform()
    rig.do(rig.core.set_risk(rig.now, "account", "halted", "person:0", "test"))
    mighty = Caller(1, 0, BRAIN, True)
    assert code(rig, rig.ask(wire.Risk, mighty, action="resume")) == "rights.denied"
    assert code(rig, rig.ask(wire.Cancel, mighty, intent=IntentId(BRAIN, RUN, 1))) == "risk.halted"
    assert told(rig, rig.ask(wire.Risk, PERSON, action="resume")).ok
    assert rig.core.risk_state(None)[0] == "running"


def test_nothing_is_called_flat_while_the_account_is_not_proven() -> None:
    """In a gap of the private stream our figure of the position is the last one heard, not what is there."""
    rig = ready(Rig())
    rig.account.is_ready = False
    request = rig.ask(wire.Flatten, PERSON, symbol=SYMBOL)
    rig.advance(2_100, serve=True)
    assert told(rig, request).outcome == "unknown"
    assert told(rig, request).result == {"flat": False, "symbols": {SYMBOL: "closing"}}
    long(rig)
    rig.account.is_ready = True  # the reading after the gap found it
    rig.advance(3_000, serve=True)
    assert rig.exchange.position[BOTH] == 0 and rig.journal.kv[f"flatten:{SYMBOL}"] == b""


def test_a_symbol_the_exchange_lacks_keeps_no_flatten_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = ready(Rig())
    monkeypatch.setattr(rig.market, "symbols", lambda: (SYMBOL, "GONEUSDT"))  # configured, and `down`
    request = rig.ask(wire.Flatten, PERSON)
    assert told(rig, request).result == {"flat": True, "symbols": {SYMBOL: "flat", "GONEUSDT": "flat"}}


# -- the exchange's edge

FORBIDDEN = b"<html>403 Forbidden</html>"


def test_a_403_lets_entries_wait_and_go_on_by_themselves_while_closes_pass() -> None:
    rig = ready(Rig())
    long(rig)
    rig.place(1)
    rig.reply(rig.wire.pop(0), 403, FORBIDDEN)
    assert rig.core.risk_state(None)[0] == "running", "nobody has to resume"
    refused = told(rig, rig.place(2)).error
    assert refused is not None
    assert "HTTP 403" in refused.message
    close = rig.place(3, side="SELL", type="MARKET", qty="0.001", reduce_only=True)
    rig.perform()
    assert told(rig, close).outcome == "accepted", "a close shows whether it is over"
    rig.advance(FIRST_NS / 1e6 - 1)
    assert code(rig, rig.place(4)) is not None
    rig.advance(1)
    entry = rig.place(5)
    while rig.wire:
        rig.perform()
    assert told(rig, entry).outcome == "accepted"


def test_pauses_of_403s_that_follow_each_other_double_up_to_a_bound_and_are_forgotten() -> None:
    pause, now_ns, waits = EdgePause(), 10**15, []
    for _ in range(7):
        until_ns = pause.strike(now_ns)
        assert until_ns is not None
        assert pause.strike(until_ns - 1) is None, "those during a pause count once"
        assert (pause.over(until_ns - 1), pause.over(until_ns)) == (False, True)
        waits.append(until_ns - now_ns)
        now_ns = until_ns
    assert waits == [FIRST_NS, *(min(FIRST_NS << n, MAX_NS) for n in range(1, 7))]
    assert waits[-1] == MAX_NS
    assert pause.strike(now_ns + FORGET_NS - 1) == now_ns + FORGET_NS - 1 + MAX_NS
    later_ns = now_ns + FORGET_NS - 1 + MAX_NS + FORGET_NS
    assert pause.strike(later_ns) == later_ns + FIRST_NS
