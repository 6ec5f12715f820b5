"""The view and the summary: what is shown, what is not called live, and that nothing strange breaks it."""

from __future__ import annotations

import io
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis
from rich.console import Console

from ipc import clock, events, keys
from ipc.events import Event
from ipc.redis_server import start_private
from ipc.slices import Head, encode
from scripts.demo_summary import Outcome, summary
from scripts.view_model import FILLS_SHOWN, Model, ProcessLine, SymbolModel, Tally, net_profit, spread
from scripts.view_reader import Reader
from scripts.view_render import NARROW, TALL, WIDE, Room, plain_line, render, room_of
from tests.ops.pictures import BOOT_NS, fill, gateway, ledger, model, symbol


def drawn(picture: Model, width: int = 200, height: int = 60) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(render(picture, room_of(width, height)))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_everything_a_person_looks_for_is_there() -> None:
    text = drawn(model())
    for word in (
        "seed 7", "gateway ready", "10001.25 USDT", "BTCUSDT", "61687.4", "61687.5", "0.02 bp", "61687.45", "0.0100 %",
        "0.010", "61600.00", "+0.87", "20 ms", "macd-BTCUSDT", "histogram -1.2", "(3 s ago)", "2:05", "+2.10",
        "61900.0", "exit", "frame to slice", "310 us", "1900 us", "12000", "14:13:19",
    ):  # fmt: skip
        assert word in text, word


def test_a_small_terminal_loses_columns_and_rows_but_no_value_is_cut() -> None:
    text = drawn(model(), 80, 24)
    for word in (
        "61687.4",
        "61687.5",
        "61687.45",
        "0.010",
        "+0.87",
        "20 ms",
        "macd-BTCUSDT",
        "histogram",
        "2:05",
        "+2.10",
    ):
        assert word in text, word
    assert "…" not in "".join(text.splitlines()[4:6])  # the prices
    assert len(text.splitlines()) <= 24
    assert (room_of(WIDE, TALL), room_of(WIDE - 1, TALL - 1)) == (Room(), Room(wide=False, tall=False))
    assert [room_of(width, TALL).narrow for width in (NARROW - 1, NARROW)] == [True, False]


def test_an_empty_picture_can_be_drawn_and_says_what_is_awaited() -> None:
    empty = Model(
        model().now, "main", {"BTCUSDT": SymbolModel()}, (), Tally(), processes=[ProcessLine("simex", "starting")]
    )
    assert "not heard of yet" in drawn(empty)
    assert "starting: simex starting" in plain_line(empty)
    assert not empty.is_live


@pytest.mark.parametrize(("age_ms", "live"), [(0, True), (1000, True), (1001, False), (-1, False)])
def test_a_book_is_live_up_to_one_second_of_age(age_ms: int, live: bool) -> None:
    held = symbol(pub_boot_ns=BOOT_NS - age_ms * 1_000_000)
    assert model(symbols={"BTCUSDT": held}).freshness(held.book)[1] is live


@pytest.mark.parametrize(
    "change",
    [
        {"gateway": gateway(ready=False)},
        {"gateway": gateway(epoch="e2")},
        {"gateway": None},
        {"symbols": {"BTCUSDT": symbol(state="resync")}},
        {"symbols": {"BTCUSDT": symbol(), "ETHUSDT": SymbolModel()}},
        {"ledgers": []},
        {"ledgers": [ledger(alive=False)]},
    ],
)
def test_all_live_needs_gateway_every_book_and_every_brain(change: dict[str, Any]) -> None:
    assert model().is_live
    assert not model(**change).is_live


def test_profit_is_net_of_fees_and_funding() -> None:
    assert net_profit(ledger()) == Decimal("1.50") + Decimal("0.87") - Decimal("0.02") - Decimal("0.25")
    assert net_profit(ledger(unrealised=None, fees={})) == Decimal("1.48")


def test_a_one_sided_book_has_no_spread() -> None:
    book = symbol().book
    assert book is not None
    found = spread(book)
    assert found is not None
    assert found[:2] == (Decimal("61687.4"), Decimal("61687.5"))
    from msgspec.structs import replace

    assert spread(replace(book, bids=[])) is None
    assert drawn(model(symbols={"BTCUSDT": SymbolModel(book=replace(book, bids=[], asks=[]))}))


def test_the_tally_counts_each_kind_and_keeps_the_newest_fills() -> None:
    tally = Tally()
    for seq in range(1, 21):
        tally.add(fill(seq))
    assert (tally.fills, tally.last_seq, len(tally.newest)) == (20, 20, FILLS_SHOWN)
    assert [event.seq for event in tally.newest] == list(range(20, 20 - FILLS_SHOWN, -1))


def test_the_exchange_s_answer_is_timed_once_an_order() -> None:
    tally = Tally()

    def say(seq: int, subject: str, name: str, at_us: int) -> None:
        data = {"client_order_id": name}
        tally.add(Event(seq=seq, at_ns=at_us * 1000, subject=subject, source="gateway", data=data))

    assert tally.round_trip_us() is None
    say(1, "order.sent", "a", 100)
    say(2, "order.sent", "b", 200)
    say(3, "order.accepted", "a", 400)
    say(4, "order.filled", "a", 9000)  # the second word about it is no answer
    say(5, "order.rejected", "b", 700)
    say(6, "order.accepted", "unknown", 800)
    assert tally.round_trip_us() == {"p50": 300, "p99": 500, "n": 2}


def test_on_a_narrow_terminal_no_figure_is_cut() -> None:
    text = drawn(model(), width=60, height=15)
    for figure in ("61687.4 ", "61687.5 ", "0.010", "20 ms", "2:05", "+2.10", "macd-BTCUSDT"):
        assert figure in text, text
    symbols, brains = text.index("symbol"), text.index("fill ")
    assert text[symbols:brains].count("…") <= 1, text  # the decision's words alone are cut


def test_a_process_that_does_not_stay_up_says_why() -> None:
    lines = [ProcessLine("redis", "ready", 1, "an old story"), ProcessLine("gateway", "backoff", 3, "no space left")]
    for text in (drawn(model(processes=lines)), plain_line(model(processes=lines))):
        assert "gateway: no space left" in text
        assert "an old story" not in text


def test_the_summary_names_what_was_left() -> None:
    good = Outcome(seed=7, ran_s=30, flat=True, first_fill_after_s=4.2)
    text = summary(model(), good, "./scripts/demo --seed 7")
    assert good.well
    assert "no position, no order, no process" in text
    assert "first fill after 4.2 s" in text
    assert "./scripts/demo --seed 7" in text
    for left in ({"left_orders": ["c9"]}, {"left_positions": ["X 1"]}, {"left_processes": ["5 sh"]}, {"faults": ["f"]}):
        bad = Outcome(seed=7, ran_s=30, flat=True, **left)  # type: ignore[arg-type]
        assert not bad.well
        assert next(iter(left.values()))[0] in summary(model(), bad, "")
    assert not Outcome(seed=7, ran_s=1).well


@pytest.mark.parametrize(("start", "shown"), [("10000.02", False), ("9999.87", True), (None, False)])
def test_profit_is_the_wallet_s_and_what_no_brain_booked_is_named(start: str | None, shown: bool) -> None:
    outcome = Outcome(seed=7, ran_s=1, wallet_start=None if start is None else Decimal(start))
    text = summary(model(), outcome, "")  # the brain's ledger has booked +1.23, the wallet is 10001.25
    assert re.search(r"of no brain +\+0\.1500$", text, re.MULTILINE) is not None if shown else "of no brain" not in text
    assert ("+1.2300 USDT" in text) is (start != "9999.87")
    assert ("+1.3800 USDT" in text) is (start == "9999.87")
    row = next(line for line in text.splitlines() if line.startswith("    macd-BTCUSDT"))
    assert row.split() == ["macd-BTCUSDT", "+1.2300", "1.5000", "0.2500", "-0.0200", "2", "and", "0.001", "BNB", "fees"]


def test_the_summary_of_an_ordinary_run_fits_the_smallest_usual_terminal() -> None:
    tally = Tally()
    for seq in range(1, 20):
        tally.add(fill(seq))
    hop = {"p50": 1534.0, "p99": 15_500.0, "n": 12_345.0}
    hops = {"frame_to_slice": hop, "event_to_stream": hop, "intent_to_socket": hop, "exchange_answer": hop}
    ledgers = [ledger(), ledger(brain="obi-ETHUSDT", fees={"USDT": "121.249824"}, realised="-1045.42", fills=345)]
    outcome = Outcome(
        seed=999_999, ran_s=12_345, view_after_s=10.9, live_after_s=14.9, first_fill_after_s=59.9, flat=True,
        wallet_start=Decimal(12_345), restarts=2,
    )  # fmt: skip
    picture = model(tally=tally, ledgers=[ledger(fees={"USDT": "0.25"}), ledgers[1]], gateway=gateway(latency_us=hops))
    text = summary(picture, outcome, "./scripts/demo --seed 999999")
    assert len(text.splitlines()) <= 23, text  # the 24th is the prompt
    assert max(map(len, text.splitlines())) <= 80, text


class TestReader:
    """Against a real Redis."""

    def put(self, url: str, **slices: Head) -> None:
        client = redis.Redis.from_url(url)
        client.mset({name.replace("__", ":"): encode(held) for name, held in slices.items()})
        client.close()

    def reader(self, url: str) -> Reader:
        return Reader(url, "main", ["BTCUSDT"], [("macd-BTCUSDT", "BTCUSDT")])

    def test_reads_slices_and_each_event_once(self, redis_url: str) -> None:
        held = symbol()
        assert held.book is not None
        self.put(redis_url, bs__main__gateway=gateway(), bs__main__BTCUSDT__book=held.book)
        client = redis.Redis.from_url(redis_url)
        client.set(keys.ledger("main", "BTCUSDT", "macd-BTCUSDT"), encode(ledger()))
        for seq in (1, 2):
            client.xadd(keys.events("main"), {"e": events.encode(fill(seq))}, id=events.stream_id(seq))
        reader = self.reader(redis_url)
        first = reader.read()
        assert (first.gateway, first.symbols["BTCUSDT"].book, first.ledgers) == (gateway(), held.book, [ledger()])
        assert first.now.boot == clock.boot_id()
        client.xadd(keys.events("main"), {"e": events.encode(fill(3))}, id=events.stream_id(3))
        assert reader.read().tally.fills == 3
        client.close()
        reader.close()

    def test_a_slice_it_cannot_read_is_shown_as_absent(self, redis_url: str) -> None:
        client = redis.Redis.from_url(redis_url)
        client.mset({keys.gateway("main"): b"{", keys.book("main", "BTCUSDT"): b'{"v": 99}'})
        client.close()
        reader = self.reader(redis_url)
        picture = reader.read()
        assert (picture.gateway, picture.symbols["BTCUSDT"].book) == (None, None)
        assert drawn(picture)
        reader.close()

    def test_an_event_it_cannot_read_is_passed_over(self, redis_url: str) -> None:
        client = redis.Redis.from_url(redis_url)
        client.xadd("bs:main:events", {"e": b'{"of": "another version"}'}, id="1-0")
        client.xadd("bs:main:events", {"somebody": b"else's"}, id="2-0")
        reader = self.reader(redis_url)
        assert reader.read().problem == ""
        assert reader.tally.last_seq == 2
        reader.close()
        client.close()

    def test_with_redis_gone_the_last_picture_stays_and_the_problem_is_named(self, run_dir: Path) -> None:
        server = start_private(run_dir)
        self.put(server.url, bs__main__gateway=gateway())
        reader = self.reader(server.url)
        assert reader.read().problem == ""
        server.stop()
        picture = reader.read()
        assert picture.gateway == gateway()
        assert "Redis at" in picture.problem
        assert picture.problem in plain_line(picture)
        reader.close()
