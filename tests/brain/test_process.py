"""Whole brain processes over a real socket and a real Redis: orders, restarts, order of start, signals."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from decimal import Decimal

import pytest

from tests.brain.conftest import BrainProcess
from tests.brain.mini_gateway import MiniGateway, Served
from tests.waiting import wait_until

Start = Callable[..., BrainProcess]
Serve = Callable[[MiniGateway], Served]

OBI = ("--strategy", "obi", "--symbol", "BTCUSDT", "--set", "hold_ms=200", "--set", "cooldown_ms=100")
MACD = ("--strategy", "macd", "--symbol", "BTCUSDT")


def lean(served: Served, bid_qty: str, ask_qty: str) -> bool:
    """A newer book that leans to one side; False, so that it can stand in a condition."""
    with served.lock:
        symbol = served.core.symbols["BTCUSDT"]
        served.core.move("BTCUSDT", symbol.bid, symbol.ask, bid_qty=bid_qty, ask_qty=ask_qty)
    return False


def test_obi_buys_the_thick_side_and_leaves_flat(brain: Start, serve: Serve) -> None:
    served = serve(MiniGateway("obi-BTCUSDT"))
    process = brain(*OBI)
    ready = process.ready()
    assert (ready["ready"], ready["brain"], ready["strategy"]) == (True, "obi-BTCUSDT", "obi")

    def bought_and_sold() -> bool:
        lean(served, "40", "1")
        return [p.place.side for p in served.core.orders.values()][:2] == ["BUY", "SELL"]

    wait_until(bought_and_sold, 10, "a round trip")
    first, second = list(served.core.orders.values())[:2]
    assert (first.place.type, first.place.tif, first.place.deadline_ms) == ("LIMIT", "IOC", 1000)
    assert first.place.qty == "0.008" and first.place.price == "60018.1"  # 500 at the mark; 3 bps over the ask, down
    assert (second.place.reduce_only, second.place.qty, second.place.deadline_ms) == (True, "0.008", None)
    wait_until(lambda: served.core.symbols["BTCUSDT"].qty == 0, 5, "flat")
    wait_until(lambda: "obi" in str((served.core.show or {}).get("strategy")), 5, "what it shows")
    process.process.send_signal(signal.SIGTERM)
    assert process.end() == 0, process.log


def test_spread_goes_with_a_breakout_and_leaves_flat(brain: Start, serve: Serve) -> None:
    served = serve(MiniGateway("spread-BTCUSDT"))
    process = brain("--strategy", "spread", "--symbol", "BTCUSDT", "--set", "window_s=1", "--set", "hold_ms=200")
    assert process.ready()["strategy"] == "spread"
    wait_until(lambda: (served.core.show or {}).get("warm_up") == "", 20, "the usual spread is known")

    def breaks_out() -> bool:
        with served.lock:
            # wider each time: however late a newer book is seen, it is above what was usual
            ask = Decimal(served.core.symbols["BTCUSDT"].ask) + 3
            served.core.move("BTCUSDT", "60000.0", str(ask))
        return [p.place.side for p in served.core.orders.values()][:2] == ["BUY", "SELL"]

    wait_until(breaks_out, 20, "a round trip", poll_s=0.05)
    first, second = list(served.core.orders.values())[:2]
    assert (first.place.tag, first.place.type, first.place.tif) == ("spread-up", "LIMIT", "IOC")
    assert (second.place.tag, second.place.reduce_only) == ("spread-exit", True)
    wait_until(lambda: served.core.symbols["BTCUSDT"].qty == 0, 5, "flat")
    process.process.send_signal(signal.SIGTERM)
    assert process.end() == 0, process.log


def test_macd_decides_on_a_closed_bar_after_warming_up(brain: Start, serve: Serve) -> None:
    core = MiniGateway("macd-BTCUSDT")
    served = serve(core)
    with served.lock:
        start_ms = (served._clock().wall_ns // 300_000_000_000) * 300_000
        for _ in range(300):
            core.close_bar("BTCUSDT", "60000")
        first_ms = start_ms - 300 * 300_000
        shift = first_ms - core.symbols["BTCUSDT"].bars[0].open_ms
        core.symbols["BTCUSDT"].bars = [
            type(bar)(bar.open_ms + shift, *(getattr(bar, name) for name in "ohlcvqn"))
            for bar in core.symbols["BTCUSDT"].bars
        ]
    process = brain(*MACD, "--set", "notional=600")
    process.ready()
    wait_until(lambda: (core.show or {}).get("next_bar_ms"), 10, "the time of the next bar is shown")
    assert (core.show or {})["next_bar_ms"] == start_ms + 300_000
    assert (core.show or {})["warm_up"] == ""
    with served.lock:
        core.close_bar("BTCUSDT", "60300")
    wait_until(lambda: core.orders, 10, "an entry on the crossing")
    order = next(iter(core.orders.values()))
    assert (order.place.side, order.place.tag, order.place.tif) == ("BUY", "cross-long", "IOC")
    wait_until(lambda: len(core.notes) >= 2, 5, "its notes")
    assert [note.subject for note in core.notes][:2] == ["brain.params", "brain.signal"]


def test_brain_first_then_gateway(brain: Start, serve: Serve) -> None:
    process = brain(*OBI)
    wait_until(lambda: "waiting" in process.log, 15, "it says what it waits for")
    assert "gateway" in process.log
    served = serve(MiniGateway("obi-BTCUSDT"))
    process.ready()
    wait_until(lambda: lean(served, "40", "1") or served.core.orders, 10, "an order")


def test_a_second_brain_of_the_name_is_refused_with_2(brain: Start, serve: Serve) -> None:
    serve(MiniGateway("obi-BTCUSDT"))
    first = brain(*OBI)
    first.ready()
    second = brain(*OBI)
    assert second.end(20) == 2
    assert "running already" in second.log and str(first.process.pid) in second.log


def test_killed_and_started_again_it_carries_on_in_the_same_run(brain: Start, serve: Serve) -> None:
    served = serve(MiniGateway("obi-BTCUSDT"))
    first = brain(*OBI)
    run = first.ready()["run"]
    wait_until(lambda: lean(served, "40", "1") or served.core.orders, 10, "an order")
    first.kill()
    before = len(served.core.orders)
    second = brain(*OBI)
    assert second.ready()["run"] == run
    wait_until(lambda: lean(served, "40", "1") or len(served.core.orders) > before + 1, 10, "orders after the restart")
    seqs = [seq for _, seq in served.core.orders]
    assert seqs == list(range(1, len(seqs) + 1))


def test_it_survives_a_restart_of_the_gateway(brain: Start, serve: Serve) -> None:
    served = serve(MiniGateway("obi-BTCUSDT"))
    process = brain(*OBI)
    process.ready()
    hellos = served.core.seen_ops["hello"]
    served.restart("e2")
    wait_until(lambda: served.core.seen_ops["hello"] > hellos, 10, "hello to the new epoch")
    wait_until(lambda: lean(served, "40", "1") or served.core.orders, 10, "an order in the new epoch")


def test_a_frozen_gateway_stops_decisions_within_a_second_and_a_half(brain: Start, serve: Serve) -> None:
    served = serve(MiniGateway("obi-BTCUSDT"))
    process = brain(*OBI)
    process.ready()
    served.frozen.set()
    wait_until(
        lambda: "gateway's slice is old" in process.log, 1.5 + 0.6, "it refuses (and said so half a second later)"
    )
    assert process.process.poll() is None
    served.frozen.clear()
    wait_until(lambda: lean(served, "40", "1") or served.core.orders, 10, "an order after the thaw")


def test_unknown_names_list_what_there_is(brain: Start) -> None:
    process = brain("--strategy", "mcad", "--symbol", "BTCUSDT")
    assert process.end(20) == 2
    assert "macd, obi, random, spread" in process.log and "Did you mean macd?" in process.log
    process = brain("--strategy", "macd", "--symbol", "BTCUSDT", "--set", "fats=8", "--set", "slow=90")
    assert process.end(20) == 2
    assert "params.fats" in process.log and "fast" in process.log and "params.slow" in process.log


@pytest.mark.parametrize("kills", [8])
def test_killed_at_random_moments_every_fill_has_exactly_one_counter_order(
    brain: Start, serve: Serve, seed: int, kills: int
) -> None:
    dice = random.Random(seed)
    served = serve(MiniGateway("random-BTCUSDT"))
    core = served.core
    arguments = ("--strategy", "random", "--symbol", "BTCUSDT", "--set", "counter=true", "--set", "rate_per_s=30",
                 "--set", "kinds=enter,market", "--set", f"seed={seed}")  # fmt: skip
    for _ in range(kills):
        process = brain(*arguments)
        goal = len(core.orders) + dice.randint(1, 12)
        wait_until(lambda goal=goal: len(core.orders) >= goal, 20, "some orders")  # type: ignore[misc]
        process.kill()
    brain(*arguments, "--set", "kinds=cancel").ready()

    def entry_fills() -> list[str]:
        with served.lock:
            return [f"counter:{event.seq}" for event in core.events
                    if event.subject == "order.filled" and event.data["role"] == "entry"]  # fmt: skip

    def counters() -> list[str]:
        with served.lock:
            return [order.place.tag for order in core.orders.values() if order.place.tag.startswith("counter")]

    wait_until(lambda: sorted(counters()) == sorted(entry_fills()), 10, "one counter order for each fill")
    with served.lock:
        tags = [order.place.tag for order in core.orders.values()]
        assert len(tags) == len(set(tags)) and len(tags) >= kills
        contents: dict[tuple[str, int], set[bytes]] = {}
        for key, content in core.calls:
            contents.setdefault(key, set()).add(content)
        assert all(len(each) == 1 for each in contents.values())


def test_an_instance_is_a_brain_of_the_configuration_or_strategy_and_symbol(brain: Start, serve: Serve) -> None:
    served = serve(MiniGateway("obi-BTCUSDT"))
    process = brain("--instance", "obi-BTCUSDT", "--set", "hold_ms=200")
    ready = process.ready()
    assert (ready["brain"], ready["strategy"], ready["symbols"]) == ("obi-BTCUSDT", "obi", ["BTCUSDT"])
    wait_until(lambda: lean(served, "40", "1") or served.core.orders, 10, "an order")
