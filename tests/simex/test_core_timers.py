"""The registry of due times: order, moving, clearing, and what handlers set while timers run."""

from __future__ import annotations

import pytest

from simex.core.effects import Effects
from simex.core.timers import Handler, Key, Timers
from tests.simex.core_world import World


class _Log:
    def __init__(self) -> None:
        self.timers = Timers()
        self.rang: list[tuple[str, Key]] = []
        for kind in ("a", "b"):
            self.timers.register(kind, self._rings(kind))

    def _rings(self, kind: str) -> Handler:
        return lambda key, _fx: self.rang.append((kind, key))

    def run(self, now_ms: int) -> list[tuple[str, Key]]:
        self.rang.clear()
        self.timers.run(now_ms, Effects(now_ms, True))
        return list(self.rang)


def test_timers_run_once_earliest_first_and_not_a_millisecond_early() -> None:
    log = _Log()
    log.timers.set("a", ("late",), 20)
    log.timers.set("b", ("early",), 10)
    log.timers.set("a", ("early",), 10)
    assert log.timers.next_due_ms() == 10
    assert log.run(9) == []
    assert log.run(10) == [("b", ("early",)), ("a", ("early",))]
    assert log.timers.next_due_ms() == 20
    assert log.run(1_000) == [("a", ("late",))]
    assert log.timers.next_due_ms() is None
    assert log.run(2_000) == []


def test_a_moved_timer_runs_at_its_new_time_only_and_a_cleared_one_never() -> None:
    log = _Log()
    log.timers.set("a", (1,), 10)
    log.timers.set("a", (1,), 30)
    log.timers.set("a", (2,), 10)
    log.timers.clear("a", (2,))
    assert log.timers.next_due_ms() == 30
    assert (log.timers.due_ms("a", (1,)), log.timers.due_ms("a", (2,))) == (30, None)
    assert log.run(29) == []
    assert log.run(30) == [("a", (1,))]


def test_a_handler_may_clear_what_is_due_and_what_it_sets_for_now_waits_for_the_next_call() -> None:
    log = _Log()

    def again(key: Key, _fx: Effects) -> None:
        log.rang.append(("c", key))
        log.timers.clear("b", ("x",))
        log.timers.set("c", key, 5)

    log.timers.register("c", again)
    log.timers.set("c", (), 5)
    log.timers.set("b", ("x",), 6)
    log.timers.set("b", ("y",), 6)
    assert log.run(10) == [("c", ()), ("b", ("y",))]
    assert log.run(10) == [("c", ())]


def test_what_waits_is_listed_in_the_order_in_which_it_will_run() -> None:
    log = _Log()
    log.timers.set("a", ("s", 2), 20)
    log.timers.set("b", ("s", 1), 10)
    log.timers.set("a", ("s", 1), 10)
    assert list(log.timers.pending()) == [("b", ("s", 1), 10), ("a", ("s", 1), 10), ("a", ("s", 2), 20)]


def test_an_unknown_kind_and_a_second_handler_are_refused() -> None:
    log = _Log()
    with pytest.raises(KeyError, match="'nobody'"):
        log.timers.set("nobody", (), 1)
    with pytest.raises(ValueError, match="'a'"):
        log.timers.register("a", lambda _key, _fx: None)


def test_the_clock_alone_ends_an_order_good_till_a_date_and_says_when_it_will() -> None:
    world = World()
    assert world.exchange.next_due_ms() is None
    till = (world.now_ms + 700_000) // 1000 * 1000
    world.placed(side="BUY", quantity="0.010", price="91000", timeInForce="GTD", goodTillDate=str(till))
    assert world.exchange.next_due_ms() == till
    world.tick(till - 1)
    assert world.executions() == []
    world.tick(till)
    assert world.executions() == [("EXPIRED", "EXPIRED")]
    assert world.exchange.next_due_ms() is None


def test_a_cancelled_order_leaves_no_timer_behind() -> None:
    world = World()
    till = (world.now_ms + 700_000) // 1000 * 1000
    world.placed(
        side="BUY", quantity="0.010", price="91000", timeInForce="GTD", goodTillDate=str(till), newClientOrderId="a"
    )
    world.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="a")
    assert world.exchange.next_due_ms() is None
