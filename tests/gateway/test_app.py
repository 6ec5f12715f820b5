"""The gateway process end to end: simex over real sockets, Redis, the Unix socket; kills, stops, bad input."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ipc.clock import boot_id, boot_ns, wall_ns
from ipc.events import seq_of
from ipc.framing import MAX_LINE_BYTES
from ipc.redis_server import start_private
from ipc.slices import BookSlice, GatewaySlice, Head, Now, OrdersSlice, PositionSlice, decode, judge
from tests.gateway.rig import Rig, far_below
from tests.simex.running import Running, running
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def simex(tmp_path: Path) -> Iterator[Running]:
    with running("--seed", "7", log=tmp_path / "simex.log") as started:
        yield started


@pytest.fixture
def rig(simex: Running, redis_url: str, tmp_path: Path, run_dir: Path) -> Iterator[Rig]:
    with Rig(simex, redis_url, tmp_path, run_dir) as rig:
        yield rig


def stream(rig: Rig) -> list[dict[str, Any]]:
    assert rig.redis is not None
    rows: Any = rig.redis.xrange("bs:main:events")
    events = [json.loads(fields[b"e"]) for _, fields in rows]
    assert [event["seq"] for event in events] == [seq_of(key) for key, _ in rows]
    return events


def test_the_whole_way_from_hello_to_fill_and_flat(rig: Rig) -> None:
    assert set(rig.ready) == {"ready", "account", "epoch", "socket"}
    assert (rig.ready["account"], rig.ready["socket"]) == ("main", str(rig.socket))
    brain = rig.brain()
    assert brain.told["epoch"] == rig.ready["epoch"]
    book = rig.book_live()
    assert rig.redis is not None
    names: dict[str, type[Head]] = {
        "gateway": GatewaySlice,
        "BTCUSDT:book": BookSlice,
        "BTCUSDT:position": PositionSlice,
    }
    for name, kind in names.items():
        raw: Any = rig.redis.get(f"bs:main:{name}")
        verdict = judge(
            decode(kind, raw), Now(boot_ns(), wall_ns(), boot_id()), epoch=rig.ready["epoch"], max_age_ns=10**9
        )
        assert verdict.ok, (name, verdict)

    placed = brain.place("BUY", "0.002", far_below(book))
    assert (placed["outcome"], placed["order"]["state"]) == ("accepted", "open")
    client_id = placed["order"]["client_order_id"]
    assert [order["clientOrderId"] for order in rig.truth()["open_orders"]] == [client_id]
    wait_until(lambda: rig.slice("BTCUSDT:orders").get("as_of", 0) >= placed["as_of"], 5, "the orders slice is current")
    raw = rig.redis.get("bs:main:BTCUSDT:orders")
    assert [order.client_order_id for order in decode(OrdersSlice, raw).orders] == [client_id]
    cancelled = brain.ask("cancel", intent=brain.intent(brain.seq))
    assert (cancelled["outcome"], cancelled["order"]["state"]) == ("accepted", "cancelled")
    assert rig.truth()["open_orders"] == []

    bought = brain.place("BUY", "0.002")
    assert bought["outcome"] == "accepted"
    wait_until(lambda: rig.slice("BTCUSDT:position")["legs"][0]["qty"] == "0.002", 5, "the position is shown")
    position = rig.slice("BTCUSDT:position")
    filled = [event for event in stream(rig) if event["subject"] == "order.filled"]
    assert [event["ids"]["intent"] for event in filled] == [f"tester/{brain.run}/2"]
    assert position["as_of"] >= filled[-1]["seq"]
    (truth,) = rig.truth()["positions"]
    assert Decimal(position["legs"][0]["entry"]) == Decimal(
        truth["entry_price"] if "entry_price" in truth else truth["entry"]
    )

    flat = brain.ask("flatten", symbol="BTCUSDT")
    assert flat["outcome"] == "accepted"
    wait_until(lambda: rig.slice("BTCUSDT:position")["legs"][0]["qty"] == "0", 5, "flat")
    assert all(Decimal(row["amount"]) == 0 for row in rig.truth()["positions"])

    events = stream(rig)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    told = brain.result("events", limit=1000)
    assert told[: len(events)] == events
    assert rig.stop() == 0
    assert not rig.socket.exists()


def test_what_is_not_served_yet_says_so_and_reads_answer(rig: Rig) -> None:
    brain = rig.brain()
    rig.book_live()
    for op in ("amend", "batch", "protect", "params"):
        assert brain.ask(op)["error"]["code"] == "op.not_supported"
    assert brain.ask("position", symbol="NOSUCH")["error"]["code"] == "symbol.unknown"
    assert brain.ask("book", symbol="NOSUCH")["error"]["code"] == "symbol.unknown"
    assert brain.ask("order", client_order_id="nobody")["error"]["code"] == "order.not_found"
    assert brain.result("status")["ready"] is True
    assert {row["symbol"] for row in brain.result("position")} == {"BTCUSDT", "ETHUSDT"}
    assert brain.result("account")["balances"][0]["asset"] == "USDT"
    assert brain.result("orders") is not None
    wait_until(lambda: brain.ask("bars", symbol="BTCUSDT", interval="5m")["ok"], 10, "bars are read")
    for limit in (1000, 500, 7):
        line = brain.ask("bars", symbol="BTCUSDT", interval="5m", limit=limit)
        assert line["ok"]
        assert len(json.dumps(line)) < 2 * MAX_LINE_BYTES
    note = brain.ask("note", subject="brain.signal", symbol="BTCUSDT", data={"why": "cross"})
    assert brain.result("events", subjects=["brain.*"])[-1]["seq"] == note["result"]["seq"]
    tool = rig.line()
    assert tool.ask("place", intent=brain.intent(), symbol="BTCUSDT", side="BUY", type="MARKET", qty="1")["error"][
        "code"
    ] == "rights.hello_first"  # fmt: skip
    page = tool.ask("events", limit=2)
    assert page["next"] == "2"
    assert tool.result("events", after=int(page["next"]), limit=1)[0]["seq"] == 3


def test_bad_input_gets_named_errors_and_process_and_connection_live_on(rig: Rig) -> None:
    line = rig.line()
    line.send(b'{"id":1,"op"')
    line.send(b':"ping"}\n')
    assert line.read()["id"] == 1
    for data, code in (
        (b"x" * (1 << 20), "wire.too_long"),
        (b"[" * MAX_LINE_BYTES, "wire.bad_json"),
        (b'{"id":2,"op":"fly"}', "op.unknown"),
        (b'{"id":3,"op":"place","intent":{"brain":"a","run":"r1","seq":1},"symbol":"B","side":"BUY","type":"MARKET",'
         b'"qty":"NaN"}', "wire.bad_request"),
        (b"<html></html>", "wire.bad_json"),
        (b"\xff\xfe\x00", "wire.bad_json"),
    ):  # fmt: skip
        line.send(data + b"\n")
        assert line.read()["error"]["code"] == code
    brain = rig.brain()
    rig.book_live()
    request = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "qty": "0.002", "price": "50000.0", "tif": "GTC"}
    for change, codes in (
        ({"qty": "0"}, ("filter.qty",)),
        ({"qty": "0.0001"}, ("filter.qty",)),
        ({"qty": "100000"}, ("filter.qty", "risk.max_notional")),
        ({"price": "1"}, ("filter.price", "filter.min_notional")),
        ({"symbol": "ETHUSDT"}, ("rights.denied",)),
    ):
        answer = brain.ask("place", intent=brain.intent(), **{**request, **change})
        assert answer["error"]["code"] in codes
    half = rig.line()
    half.send(b'{"id":1,"op":"pi')
    half.close()
    assert line.result("status")["pid"] == rig.process.pid  # type: ignore[union-attr]
    assert rig.truth()["orders"] == []


def test_a_second_gateway_ends_with_code_2_and_the_first_does_not_notice(rig: Rig) -> None:
    brain = rig.brain()
    second = rig.spawn()
    out, _ = second.communicate(timeout=60)
    assert (second.returncode, out) == (2, b"")
    assert "another gateway" in rig.log.read_text()
    assert brain.result("status")["pid"] == rig.process.pid  # type: ignore[union-attr]


def test_sigterm_cancels_resting_entries_keeps_the_position_and_leaves_in_order(rig: Rig) -> None:
    brain = rig.brain()
    book = rig.book_live()
    assert brain.place("BUY", "0.002")["ok"]
    assert brain.place("BUY", "0.002", far_below(book))["ok"]
    wait_until(lambda: rig.truth()["positions"], 5, "bought")
    assert rig.stop() == 0
    truth = rig.truth()
    assert truth["open_orders"] == []
    assert [Decimal(row["amount"]) for row in truth["positions"]] == [Decimal("0.002")]
    subjects = [event["subject"] for event in stream(rig)]
    assert subjects.index("gateway.stopping") < subjects.index("order.cancelled")


def test_kill_9_and_a_new_start_know_every_intent_and_double_nothing(rig: Rig) -> None:
    brain = rig.brain()
    book = rig.book_live()
    price = far_below(book)
    first = brain.place("BUY", "0.002", price)
    assert first["ok"]
    before = stream(rig)
    rig.kill()
    brain.close()
    rig.start()
    again = rig.brain(run=brain.run)
    assert (again.told["last_seq"], again.told["brain_no"]) == (1, 1)
    assert again.told["epoch"] != brain.told["epoch"]
    repeat = again.place("BUY", "0.002", price, seq=1)
    assert (repeat["outcome"], repeat["order"]["client_order_id"]) == ("accepted", first["order"]["client_order_id"])
    conflict = again.place("BUY", "0.003", price, seq=1)
    assert conflict["error"]["code"] == "intent.conflict"
    assert [order["clientOrderId"] for order in rig.truth()["orders"]] == [first["order"]["client_order_id"]]
    assert again.ask("cancel", intent=again.intent(1))["order"]["state"] == "cancelled"
    wait_until(lambda: stream(rig)[-1]["seq"] >= again.told["as_of"], 5, "the stream went on")
    after = stream(rig)
    assert [event["seq"] for event in after] == list(range(1, len(after) + 1))
    assert after[: len(before)] == before


def test_a_stopped_gateway_lets_nothing_leave_past_its_deadline(rig: Rig) -> None:
    brain = rig.brain()
    rig.book_live()
    bought = brain.place("BUY", "0.004")
    assert bought["ok"]
    wait_until(lambda: rig.slice("BTCUSDT:position")["legs"][0]["qty"] == "0.004", 5, "bought")
    assert rig.process is not None
    os.kill(rig.process.pid, signal.SIGSTOP)
    asked_ns = boot_ns()
    entry = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "qty": "0.002"}
    close = {**entry, "side": "SELL", "reduce_only": True}
    for number, fields in ((50, entry), (51, close)):
        request = {"id": number, "op": "place", "intent": brain.intent(), "asked_boot_ns": asked_ns, **fields}
        brain.send(json.dumps(request).encode() + b"\n")
    wait_until(lambda: boot_ns() > asked_ns + 1_300_000_000, 5, "past the entry's deadline of 1 s")
    os.kill(rig.process.pid, signal.SIGCONT)
    answers = {answer["id"]: answer for answer in (brain.read(), brain.read())}
    assert answers[50]["error"]["code"] == "intent.expired"
    assert answers[51]["outcome"] == "accepted"
    wait_until(lambda: rig.slice("BTCUSDT:position")["legs"][0]["qty"] == "0.002", 5, "the close went through")
    assert len(rig.truth()["orders"]) == 2
    assert rig.slice("gateway")["brains"]["tester"]["alive"]


def test_without_redis_orders_go_on_and_it_comes_back_complete(simex: Running, tmp_path: Path, run_dir: Path) -> None:
    folder = run_dir / "r"
    folder.mkdir()
    server = start_private(folder)
    with Rig(simex, server.url, tmp_path, run_dir) as rig:
        brain = rig.brain()
        book = rig.book_live()
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: brain.result("status")["counters"]["store_up"] == 0, 10, "the gateway saw it")
        started = time.monotonic()
        assert brain.place("BUY", "0.002", far_below(book))["outcome"] == "accepted"
        assert brain.ask("cancel", intent=brain.intent(brain.seq))["outcome"] == "accepted"
        assert time.monotonic() - started < 5
        again = start_private(folder)
        try:
            wait_until(lambda: brain.result("status")["counters"]["store_up"] == 1, 10, "it is back")
            wait_until(lambda: stream(rig)[-1]["seq"] >= brain.ask("ping")["as_of"], 5, "level with the journal")
            events = stream(rig)
            assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
            assert {"order.accepted", "order.cancelled"} <= {event["subject"] for event in events}
        finally:
            rig.stop()
            again.stop()
            server.stop()


def test_the_end_of_a_lease_cancels_entries_and_later_closes_the_position(
    simex: Running, redis_url: str, tmp_path: Path, run_dir: Path
) -> None:
    settings = {"gateway": {"lease_ms": 600, "flatten_after_ms": 1500}}
    with Rig(simex, redis_url, tmp_path, run_dir, **settings) as rig:
        brain = rig.brain()
        book = rig.book_live()
        brain.ask("ping", show={"mood": "fine"})
        assert brain.place("BUY", "0.002")["ok"]
        assert brain.place("BUY", "0.002", far_below(book))["ok"]
        wait_until(lambda: rig.slice("BTCUSDT:ledger:tester").get("show") == {"mood": "fine"}, 5, "show is shown")
        wait_until(lambda: not rig.truth()["open_orders"], 10, "entries are cancelled")
        assert [Decimal(row["amount"]) for row in rig.truth()["positions"]] == [Decimal("0.002")]
        wait_until(lambda: all(Decimal(row["amount"]) == 0 for row in rig.truth()["positions"]), 10, "flat")
        subjects = [event["subject"] for event in stream(rig)]
        assert "brain.lost" in subjects
        brain.close()


@pytest.mark.parametrize(
    ("fault", "final"),
    [
        ({"fault": "reply_lost", "when": "after"}, "open"),
        ({"fault": "reply_lost", "when": "before"}, "rejected"),
        ({"fault": "reply_error", "when": "after", "variant": "503_unknown"}, "open"),
        ({"fault": "reply_error", "when": "before", "variant": "502_html"}, "rejected"),
    ],
)
def test_no_answer_of_the_exchange_leaves_an_order_unknown_for_ever_or_sends_it_twice(
    simex: Running, redis_url: str, tmp_path: Path, run_dir: Path, fault: dict[str, Any], final: str
) -> None:
    with Rig(simex, redis_url, tmp_path, run_dir, gateway={"orders": {"recv_window_ms": 500}}) as rig:
        brain = rig.brain()
        price = far_below(rig.book_live())
        rig.fault(**fault, path="/fapi/v1/order", method="POST", count=1)
        started = time.monotonic()
        placed = brain.place("BUY", "0.002", price)
        assert time.monotonic() - started < 5  # 2 s are the gateway's, the rest is a slow machine's
        assert placed["outcome"] in ("accepted", "unknown")

        def settled() -> bool:
            answer: dict[str, Any] = brain.ask("order", intent=brain.intent(brain.seq))
            return bool(answer["order"]["state"] == final)

        wait_until(settled, 20, f"it is {final}", poll_s=0.1)
        repeat = brain.place("BUY", "0.002", price, seq=brain.seq)
        assert repeat["outcome"] == ("accepted" if final == "open" else "rejected")
        assert len(rig.truth()["orders"]) == (1 if final == "open" else 0)


def test_a_lost_private_stream_stops_entries_until_a_reconciliation_and_needs_no_hands(rig: Rig) -> None:
    brain = rig.brain()
    price = far_below(rig.book_live())
    assert brain.place("BUY", "0.002", price)["ok"]
    for fault in ({"fault": "close", "route": "private"}, {"fault": "listen_key_expire"}):
        before = brain.ask("ping")["as_of"]
        rig.fault(**fault)

        def reconciled(since: int = before) -> bool:
            events = brain.result("events", after=since, limit=1000, subjects=["gateway.*"])
            return [event["subject"] for event in events][-2:] == ["gateway.not_ready", "gateway.ready"]

        wait_until(reconciled, 20, f"ready again after {fault}", poll_s=0.1)
    differences = brain.result("events", limit=1000, subjects=["reconcile.difference"])
    assert differences == []
    assert brain.ask("cancel", intent=brain.intent(1))["order"]["state"] == "cancelled"


def test_over_tls_with_the_authority_it_is_told(redis_url: str, tmp_path: Path, run_dir: Path) -> None:
    with running("--seed", "7", "--tls", log=tmp_path / "simex.log") as simex:
        assert simex.rest.startswith("https:")
        venue = {"venue": {"ca_file": simex.ready["ca"]}}
        with Rig(simex, redis_url, tmp_path, run_dir, **venue) as rig:
            brain = rig.brain()
            assert brain.place("BUY", "0.002", far_below(rig.book_live()))["ok"]
            assert brain.ask("cancel_all")["result"]["cancelled"] == 1
            assert rig.stop() == 0
