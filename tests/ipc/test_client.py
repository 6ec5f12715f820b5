"""The blocking client over a real socket: answers find their request, silence is told from refusal, nothing grows."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipc import client as client_module
from ipc import wire
from ipc.client import Client, result_of
from ipc.errors import IpcError
from tests.ipc.gateway_double import Double, echo
from tests.waiting import wait_until

PLACE = wire.Place(
    id=0, intent=wire.IntentId("b", "r1", 1), symbol="BTCUSDT", side="BUY", type="MARKET", qty="0.002", asked_boot_ns=7
)


@pytest.fixture
def double(run_dir: Path) -> Iterator[Double]:
    with Double(run_dir / "main.sock") as each:
        yield each


def silent(_request: wire.Request) -> bytes:
    return b""


def collected(client: Client, count: int) -> list[wire.Answer]:
    got: list[wire.Answer] = []

    def enough() -> bool:
        got.extend(client.collect())
        return len(got) >= count

    wait_until(enough, 5, f"{count} answers")
    return got


def test_each_question_gets_its_own_answer(double: Double) -> None:
    with Client.connect(double.path) as client:
        assert [client.result(kind(id=99)) for kind in (wire.Ping, wire.Status, wire.AccountQuery)] == [
            "ping",
            "status",
            "account",
        ]
        assert [request.id for request in double.requests] == [1, 2, 3]


def test_a_place_is_sent_word_for_word_but_for_its_id(double: Double) -> None:
    with Client.connect(double.path) as client:
        client.place(PLACE)
        client.place(PLACE)
    assert [msgspec.structs.replace(request, id=0) for request in double.requests] == [PLACE, PLACE]


def test_hello_gives_the_gateways_words(double: Double) -> None:
    double.reply = lambda request: wire.encode(wire.Answer(id=request.id, ok=True, result={"epoch": "e1"}))
    with Client.connect(double.path) as client:
        assert client.hello(brain="b", run="r1", symbols=["BTCUSDT"], intervals=["5m"]) == {"epoch": "e1"}
    assert double.requests == [wire.Hello(id=1, brain="b", run="r1", symbols=["BTCUSDT"], intervals=["5m"])]


def test_a_refusal_is_raised_under_its_own_code(double: Double) -> None:
    body = wire.ErrorBody(code="rights.denied", message="no", retryable=False, detail={"uid": 7})
    double.reply = lambda request: wire.encode(wire.Answer(id=request.id, ok=False, error=body))
    with Client.connect(double.path) as client, pytest.raises(IpcError) as caught:
        client.result(wire.Status(id=0))
    assert (caught.value.code, caught.value.retryable, caught.value.detail) == ("rights.denied", False, {"uid": 7})


def test_a_code_of_a_newer_gateway_is_kept_in_the_detail() -> None:
    body = wire.ErrorBody(code="moon.eclipse", message="dark", retryable=True)
    with pytest.raises(IpcError) as caught:
        result_of(wire.Answer(id=1, ok=False, error=body))
    assert (caught.value.code, caught.value.detail) == ("op.internal", {"code": "moon.eclipse"})


def test_no_socket_names_the_path_and_the_next_step(run_dir: Path) -> None:
    with pytest.raises(IpcError, match=r"gateway\.unreachable.*nobody\.sock.*Is it running"):
        Client.connect(run_dir / "nobody.sock")


@pytest.mark.parametrize("timeout_s", [0.05, 0.2])
def test_silence_is_unreachable_in_time_and_the_connection_lives_on(double: Double, timeout_s: float) -> None:
    double.reply = silent
    with Client.connect(double.path, timeout_s=30) as client:
        before_s = time.monotonic()
        with pytest.raises(IpcError, match="outcome is unknown"):
            client.ask(PLACE, timeout_s=timeout_s)
        assert timeout_s <= time.monotonic() - before_s < 10
        double.reply = echo
        assert client.result(wire.Status(id=0)) == "status"


def test_an_answer_after_its_time_out_is_counted_and_never_given_to_another(double: Double) -> None:
    double.reply = silent
    with Client.connect(double.path, timeout_s=0.05) as client:
        with pytest.raises(IpcError):
            client.ask(wire.Ping(id=0))
        double.reply = echo
        double.say(wire.encode(wire.Answer(id=1, ok=True, result="late")))
        assert client.result(wire.Status(id=0), timeout_s=1) == "status"
        assert (client.late, client.in_flight) == (1, 0)


def test_the_end_of_the_connection_is_told_at_once(double: Double) -> None:
    double.reply = silent
    with Client.connect(double.path, timeout_s=30) as client:
        client.send(wire.Ping(id=0))
        wait_until(lambda: double.requests, 10, "the ping")
        threading.Timer(0.05, double.hang_up).start()
        before_s = time.monotonic()
        with pytest.raises(IpcError, match="closed the connection"):
            client.ask(wire.Status(id=0))
        assert time.monotonic() - before_s < 10
        with pytest.raises(IpcError):
            client.send(wire.Ping(id=0))
        double.reply = echo
        client.reconnect()
        assert client.result(wire.Status(id=0)) == "status"


def test_pipelined_answers_come_by_id_in_any_order(double: Double) -> None:
    held: list[wire.Request] = []

    def backwards(request: wire.Request) -> bytes:
        held.append(request)
        return b"".join(echo(each) for each in reversed(held)) if len(held) == 3 else b""

    double.reply = backwards
    with Client.connect(double.path) as client:
        ids = [client.send(kind(id=0)) for kind in (wire.Ping, wire.Status, wire.AccountQuery)]
        got = collected(client, 3)
        assert [(answer.id, answer.result) for answer in got] == [
            (ids[2], "account"),
            (ids[1], "status"),
            (ids[0], "ping"),
        ]
        assert client.in_flight == 0


def test_collect_never_waits(double: Double) -> None:
    with Client.connect(double.path, timeout_s=30) as client:
        before_s = time.monotonic()
        assert client.collect() == []
        assert time.monotonic() - before_s < 10


def test_waiting_for_one_answer_keeps_the_others_for_collect(double: Double) -> None:
    with Client.connect(double.path) as client:
        first = client.send(wire.Ping(id=0))
        assert client.result(wire.Status(id=0)) == "status"
        assert [answer.id for answer in client.collect()] == [first]


def test_at_the_bound_of_unanswered_requests_nothing_leaves(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_IN_FLIGHT", 3)
    double.reply = silent
    with Client.connect(double.path) as client:
        for _ in range(3):
            client.send(wire.Ping(id=0))
        with pytest.raises(IpcError, match=r"wire\.busy"):
            client.send(wire.Ping(id=0))
        wait_until(lambda: len(double.requests) == 3, 2, "the three that left")
        assert client.in_flight == 3


def test_a_gateway_that_reads_nothing_costs_bounded_memory_and_no_half_line(
    double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "MAX_UNSENT_BYTES", 300_000)
    monkeypatch.setattr(client_module, "MAX_IN_FLIGHT", 10_000)
    double.reading.clear()
    sent = 0
    with Client.connect(double.path) as client:
        wait_until(lambda: double.clients, 2, "the connection")
        with pytest.raises(IpcError, match=r"wire\.busy"):
            for _ in range(10_000):
                client.send(wire.Note(id=0, subject="brain.signal", data={"x": "y" * 900}))
                sent += 1
        assert 0 < client.unsent <= 300_000
        double.reading.set()
        got = 0
        deadline_s = time.monotonic() + 10
        while got < sent and time.monotonic() < deadline_s:
            got += len(client.collect())
        assert got == sent == len(double.requests)


@pytest.mark.parametrize("line", [b"<html>\n", b"[1]\n", b'{"id": "x", "ok": true}\n', b"x" * 70_000 + b"\n"])
def test_what_is_no_answer_ends_the_connection_with_a_reason(double: Double, line: bytes) -> None:
    double.reply = lambda _request: line
    with Client.connect(double.path) as client:
        with pytest.raises(IpcError, match="it sent"):
            client.ask(wire.Ping(id=0))
        assert not client.alive


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 3000), min_size=1, max_size=8), st.integers(1, 5))
def test_answers_arrive_whole_however_they_are_cut(double: Double, sizes: list[int], pieces: int) -> None:
    double.reply = silent
    with Client.connect(double.path) as client:
        ids = [client.send(wire.Ping(id=0)) for _ in sizes]
        wait_until(lambda: len(double.requests) >= len(ids), 2, "the requests")
        double.requests.clear()
        answers = [wire.Answer(id=i, ok=True, result="x" * size) for i, size in zip(ids, sizes, strict=True)]
        data = b"".join(map(wire.encode, answers))
        step = max(1, len(data) // pieces)
        got: list[wire.Answer] = []
        for at in range(0, len(data), step):
            double.say(data[at : at + step])
            got += client.collect()
        assert got + collected(client, len(sizes) - len(got)) == answers
