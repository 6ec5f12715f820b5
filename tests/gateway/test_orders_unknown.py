"""Unknown outcomes: never resent, asked for, ended by evidence or by negative proof; what they hold up meanwhile."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from gateway.core.effects import Send
from gateway.core.signals import PrivateDown, PrivateUp, ReadyChanged, ReconcileWanted
from ipc import wire
from ipc.wire import IntentId
from tests.gateway.orders_rig import BRAIN, PERSON, RUN, SETTINGS, SYMBOL, Rig

D = Decimal
BOTH = (SYMBOL, "BOTH")
LOST = [
    (503, b'{"code":-1000,"msg":"Unknown error, please check your request or try again later."}'),
    (408, b'{"code":-1007,"msg":"Timeout waiting for response from backend server."}'),
    (400, b'{"code":-1006,"msg":"An unexpected response was received."}'),
    (502, b"<html>502</html>"),
    (200, b'{"orderId":8886774001,"symb'),
    (200, b"<html>OK</html>"),
    (200, b'{"orderId":1,"symbol":"BTCUSDT","status":"NEW","clientOrderId":"somebody-elses"}'),
]


def ready(rig: Rig) -> Rig:
    """The private stream is up and reconciled, as after any start."""
    rig.do(rig.core.on_signal(rig.now, PrivateUp("start")))
    rig.do(rig.core.on_signal(rig.now, ReadyChanged(True, "start")))
    return rig


def code(rig: Rig, request: int) -> str | None:
    answer = rig.answer(request)
    assert answer is not None, "not answered"
    return answer.error.code if answer.error is not None else None


def long(rig: Rig, qty: str = "0.010") -> None:
    rig.account.qty[BOTH] = rig.exchange.position[BOTH] = D(qty)


def stranger(number: int, at_ms: int) -> dict[str, object]:
    """An order somebody placed by hand; 555 is filled, any other rests."""
    filled = number == 555
    return {
        "orderId": number, "symbol": SYMBOL, "status": "FILLED" if filled else "NEW", "clientOrderId": f"web_{number}",
        "price": "0" if filled else "59000", "origQty": "0.002", "executedQty": "0.002" if filled else "0",
        "timeInForce": "GTC", "type": "MARKET" if filled else "LIMIT", "side": "BUY", "reduceOnly": False,
        "positionSide": "BOTH", "updateTime": at_ms, "time": 0 if filled else at_ms,
    }  # fmt: skip


def posts(rig: Rig) -> list[Send]:
    return [send for send in rig.wire if send.method == "POST"]


@pytest.mark.parametrize("answer", [*LOST, None])
@pytest.mark.parametrize("arrived", [True, False])
def test_an_ambiguous_answer_is_never_resent_and_ends_as_it_truly_did(
    answer: tuple[int, bytes] | None, arrived: bool
) -> None:
    rig = ready(Rig())
    request = rig.place(deadline_ms=60_000)
    send = rig.wire.pop(0)
    if arrived:
        rig.exchange.call(send, rig.ms)
    rig.exchange.stream.clear()
    if answer is None:
        rig.wire.insert(0, send)
        rig.fail(sent=True)
    else:
        rig.reply(send, *answer)
    assert posts(rig) == []
    assert rig.core.unknown_count() == 1
    rig.advance(4_000, serve=True)
    assert posts(rig) == [] and len(rig.exchange.orders) == int(arrived)
    told = rig.answer(request)
    assert told is not None
    subjects = rig.journal.subjects("order.")
    assert subjects[:2] == ["order.sent", "order.unknown"]
    resolved = next(row.event for row in rig.journal.events if row.event.subject == "order.resolved")
    if arrived:
        assert told.outcome == "accepted" and resolved.data["outcome"] == "accepted"
    else:
        assert code(rig, request) == "venue.not_sent" and resolved.data["outcome"] == "rejected"
        assert "not-founds" in resolved.data["proof"]
        assert [s for s in rig.signals if isinstance(s, ReconcileWanted)]
    assert rig.core.unknown_count() == 0


def test_place_is_answered_unknown_within_two_seconds_and_the_end_follows_as_an_event() -> None:
    rig = ready(Rig())
    request = rig.place()
    rig.perform(lose_reply=True)
    rig.exchange.stream.clear()
    rig.wire.clear()
    rig.advance(1_899)
    assert rig.answer(request) is None
    rig.advance(1)
    answer = rig.answer(request)
    assert answer is not None and answer.outcome == "unknown" and answer.error is not None
    assert answer.error.code == "venue.no_answer"


def test_an_order_in_flight_is_answered_unknown_too() -> None:
    rig = ready(Rig(replace(SETTINGS, recv_window_ms=5_000)))
    request = rig.place()
    rig.advance(1_900)
    answer = rig.answer(request)
    assert answer is not None and answer.outcome == "unknown"
    rig.perform()
    again = rig.answer(rig.place(asked_boot_ns=rig.boot_ns - 1_900_000_000))
    assert again is not None and again.outcome == "accepted"


def test_stream_evidence_ends_the_question() -> None:
    rig = ready(Rig())
    request = rig.place()
    rig.perform(lose_reply=True)
    rig.stream()
    answer = rig.answer(request)
    assert answer is not None and answer.outcome == "accepted"
    assert rig.journal.subjects("order.")[-2:] == ["order.accepted", "order.resolved"]
    rig.advance(5_000)
    assert rig.wire == []


def test_questions_follow_the_schedule() -> None:
    settings = replace(SETTINGS, question_ms=(200, 500, 1_000, 2_000, 5_000), question_every_ms=5_000)
    rig = ready(Rig(replace(settings, recv_window_ms=60_000)))
    rig.place()
    began = rig.boot_ns
    rig.perform(lose_request=True)
    asked = []
    while (rig.boot_ns - began) // 1_000_000 < 15_000:
        rig.advance(50)
        if rig.wire:
            asked.append((rig.boot_ns - began) // 1_000_000)
            rig.perform()
    assert asked == [200, 500, 1_000, 2_000, 5_000, 10_000, 15_000]


class Proof:
    """An order that never arrived, and the proof of it step by step."""

    def __init__(self, rig: Rig | None = None, **settings: int) -> None:
        self.rig = rig or ready(Rig(replace(SETTINGS, **settings)))  # type: ignore[arg-type]
        self.rig.place()
        self.send = self.rig.wire.pop(0)
        self.rig.wire.insert(0, self.send)
        self.rig.fail(sent=True)

    def paths(self, ms: float) -> list[str]:
        """What is asked in the next `ms`, each answered."""
        seen = []
        end = self.rig.boot_ns + int(ms * 1_000_000)
        while self.rig.boot_ns < end:
            self.rig.advance(10)
            while self.rig.wire:
                seen.append(self.rig.perform().path.rpartition("/")[2])
        return seen

    def while_queries_lag(self, ms: float) -> None:
        """At most `ms` pass; single queries do not find what lists show."""
        rig = self.rig
        end = rig.boot_ns + int(ms * 1_000_000)
        while rig.boot_ns < end and not self.proven():
            rig.advance(10)
            while rig.wire:
                if rig.wire[0].path == "/fapi/v1/order":
                    rig.reply(rig.wire.pop(0), 400, b'{"code":-2013,"msg":"Order does not exist."}')
                else:
                    rig.perform()

    def proven(self) -> bool:
        return self.rig.core.unknown_count() == 0


def test_no_proof_before_timestamp_window_and_margin_have_passed() -> None:
    """3 not-founds over the span are there early; the request could still arrive, and it does, at the last moment."""
    proof = Proof(recv_window_ms=3_000, proof_span_ms=100, proof_margin_ms=500)
    seen = proof.paths(2_990)
    assert set(seen) == {"order"} and len(seen) >= 3
    proof.rig.exchange.call(proof.send, proof.rig.ms)
    proof.rig.exchange.stream.clear()
    proof.paths(1_000)
    assert proof.proven() and len(proof.rig.core.open_orders()) == 1


def test_no_proof_from_too_few_not_founds_or_too_short_a_span() -> None:
    proof = Proof(recv_window_ms=10, proof_margin_ms=10, proof_span_ms=5_000)
    assert set(proof.paths(4_900)) == {"order"} and not proof.proven()
    proof.paths(1_000)
    assert proof.proven()


def test_no_proof_from_two_not_founds() -> None:
    """Questions go out 50, 150 and 300 ms after the doubt; everything else would suffice with the first."""
    proof = Proof(recv_window_ms=10, proof_margin_ms=10, proof_span_ms=0)
    assert proof.paths(290) == ["order", "order"] and not proof.proven()
    proof.paths(100)
    assert proof.proven()


def test_the_proof_needs_the_list_of_orders_and_the_trades() -> None:
    proof = Proof()
    assert proof.paths(3_000)[-2:] == ["allOrders", "userTrades"]
    assert proof.proven()


def test_no_proof_while_the_private_stream_is_down_or_not_reconciled() -> None:
    proof = Proof()
    rig = proof.rig
    rig.account.live = False
    rig.do(rig.core.on_signal(rig.now, PrivateDown("test")))
    assert set(proof.paths(3_000)) == {"order"} and not proof.proven()
    rig.account.live = True
    rig.do(rig.core.on_signal(rig.now, PrivateUp("back")))
    assert set(proof.paths(3_000)) == {"order"} and not proof.proven(), "what it missed is not known yet"
    rig.do(rig.core.on_signal(rig.now, ReadyChanged(True, "reconciled")))
    proof.paths(1_000)
    assert proof.proven()


def crowd(rig: Rig, count: int, *, trades: bool) -> None:
    """Other people's orders of this account, with smaller numbers than ours, and a trade each."""
    for number in range(1, count + 1):
        rig.exchange.orders[number] = {**stranger(number, rig.ms), "status": "CANCELED", "time": rig.ms}
        if trades:
            rig.exchange.trades.append(
                {"symbol": SYMBOL, "id": number, "orderId": number, "price": "1", "qty": "1", "time": rig.ms}
            )


@pytest.mark.parametrize("trades", [False, True])
def test_lists_are_read_to_their_last_page(trades: bool) -> None:
    """Neither 2,500 other orders nor their trades hide that ours is not there."""
    proof = Proof()
    crowd(proof.rig, 2_500, trades=trades)
    seen = proof.paths(3_000)
    assert proof.proven()
    assert seen.count("allOrders") == 3 and seen.count("userTrades") == (3 if trades else 1)


def test_an_order_on_the_last_page_is_found() -> None:
    proof = Proof()
    rig = proof.rig
    crowd(rig, 999, trades=False)
    rig.exchange.call(proof.send, rig.ms)
    rig.exchange.stream.clear()
    proof.while_queries_lag(3_000)
    assert proof.proven() and len(rig.core.open_orders()) == 1


def test_an_order_found_in_the_list_is_not_absent() -> None:
    """Single queries lag behind; the list has it."""
    proof = Proof()
    rig = proof.rig
    rig.exchange.call(proof.send, rig.ms)
    rig.exchange.stream.clear()
    proof.while_queries_lag(3_000)
    assert proof.proven() and len(rig.core.open_orders()) == 1


def test_a_trade_of_an_order_nobody_knows_stops_the_proof_until_it_is_known() -> None:
    proof = Proof()
    rig = proof.rig
    rig.exchange.trades.append(
        {"symbol": SYMBOL, "id": 77, "orderId": 555, "price": "60000", "qty": "0.002", "time": rig.ms}
    )
    assert not proof.proven()
    seen = proof.paths(3_000)
    assert not proof.proven() and seen.count("userTrades") > 1
    rig.exchange.orders[555] = stranger(555, rig.ms)
    proof.paths(2_000)
    assert proof.proven()
    assert rig.journal.subjects("order.foreign") == ["order.foreign"]


@pytest.mark.parametrize("bad", [(503, b""), (200, b"<html>"), (429, b"")])
def test_unreadable_answers_to_questions_prove_nothing(bad: tuple[int, bytes]) -> None:
    proof = Proof()
    rig = proof.rig
    end = rig.boot_ns + 3_000_000_000
    while rig.boot_ns < end:
        rig.advance(10)
        while rig.wire:
            rig.reply(rig.wire.pop(0), *bad)
    assert not proof.proven()
    proof.paths(3_000)
    assert proof.proven()


# -- what an unknown exit holds up


def unknown_exit(rig: Rig) -> None:
    long(rig)
    rig.place(1, side="SELL", type="MARKET", qty="0.010", reduce_only=True)
    rig.perform(lose_request=True)
    rig.wire.clear()


def test_while_an_exit_is_unknown_its_brain_may_not_enter() -> None:
    rig = ready(Rig())
    unknown_exit(rig)
    assert code(rig, rig.place(2)) == "risk.exit_unknown"


def test_no_second_exit_for_two_seconds_then_one_more() -> None:
    rig = ready(Rig(replace(SETTINGS, recv_window_ms=60_000)))
    unknown_exit(rig)
    assert code(rig, rig.place(2, side="SELL", type="MARKET", qty="0.010", reduce_only=True)) == "risk.exit_unknown"
    rig.advance(1_999)
    assert code(rig, rig.place(3, side="SELL", type="MARKET", qty="0.010", reduce_only=True)) == "risk.exit_unknown"
    rig.advance(1)
    rig.wire.clear()
    rig.place(4, side="SELL", type="MARKET", qty="0.010", reduce_only=True)
    assert len(posts(rig)) == 1
    rig.perform(lose_request=True)
    rig.advance(3_000)
    assert code(rig, rig.place(5, side="SELL", type="MARKET", qty="0.010", reduce_only=True)) == "risk.exit_unknown"


def test_a_person_closes_at_once_beside_an_unknown_exit() -> None:
    rig = ready(Rig())
    unknown_exit(rig)
    rig.place(2, caller=PERSON, side="SELL", type="MARKET", qty="0.010", reduce_only=True)
    assert len(posts(rig)) == 1


def test_an_unknown_entry_counts_as_filled_and_does_not_stop_closes() -> None:
    rig = ready(Rig())
    long(rig)
    rig.place(1)
    rig.perform(lose_request=True)
    rig.place(2, side="SELL", type="MARKET", qty="0.010", reduce_only=True)
    assert len(posts(rig)) == 1


# -- fills nobody saw, takers that do not end


def test_reported_fills_are_read_from_the_trades_before_the_order_closes() -> None:
    rig = ready(Rig())
    rig.place(tif="IOC", price="60000.1")
    rig.perform()
    rig.exchange.stream.clear()  # the private stream lost it
    rig.advance(5_000, serve=True)
    assert rig.account.qty[BOTH] == D("0.002")
    answer = rig.answer(rig.ask(wire.OrderQuery, intent=IntentId(BRAIN, RUN, 1)))
    assert answer is not None and answer.order is not None
    assert (answer.order.state, answer.order.filled_qty) == ("filled", "0.002")
    assert set(rig.journal.fills) == {(SYMBOL, 1)}


def test_more_lost_fills_than_a_page_holds_are_all_read() -> None:
    rig = ready(Rig())
    rig.exchange.orders[7] = {**stranger(7, rig.ms), "origQty": "1.200"}
    for _ in range(1_200):
        rig.exchange.fill(7, D("0.001"), rig.ms)
    rig.exchange.stream = [replace(rig.exchange.stream[-1], fill=None)]  # the private stream lost the trades
    rig.advance(3_000, serve=True)
    assert rig.core.open_orders() == () and len(rig.journal.fills) == 1_200
    assert rig.account.qty[BOTH] == D("1.200")


def test_a_taker_that_does_not_end_is_asked_for() -> None:
    rig = ready(Rig())
    rig.exchange.fill_takers = False
    rig.place(tif="IOC", price="60000.1")
    rig.perform()
    rig.exchange.expire(1001, rig.ms)
    rig.exchange.stream.clear()
    rig.advance(999, serve=True)
    assert len(rig.core.open_orders()) == 1
    rig.advance(1, serve=True)
    rig.advance(10, serve=True)
    assert rig.core.open_orders() == ()


def test_after_a_gap_of_the_stream_open_orders_are_asked_for() -> None:
    rig = ready(Rig())
    rig.place()
    rig.perform()
    rig.advance(100)
    rig.do(rig.core.on_signal(rig.now, PrivateDown("test")))
    rig.exchange.fill(1001, D("0.002"), rig.ms)
    rig.exchange.stream.clear()
    rig.advance(100)
    rig.do(rig.core.on_signal(rig.now, PrivateUp("back")))
    rig.do(rig.core.on_signal(rig.now, ReadyChanged(True, "reconciled")))
    rig.advance(2_000, serve=True)
    assert rig.core.open_orders() == () and rig.account.qty[BOTH] == D("0.002")


def test_a_foreign_order_is_shown_told_and_counted_once() -> None:
    rig = ready(Rig())
    rig.exchange.orders[7] = stranger(7, rig.ms)
    rig.exchange._say(rig.exchange.orders[7], "NEW")
    rig.exchange.fill(7, D("0.002"), rig.ms)
    said = list(rig.exchange.stream)
    rig.stream()
    rig.exchange.stream = said
    rig.stream()
    assert rig.journal.subjects() == ["order.foreign", "order.filled"]
    assert rig.account.qty[BOTH] == D("0.002")
    assert rig.core.open_orders() == ()
