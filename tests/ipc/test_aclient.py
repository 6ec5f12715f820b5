"""The asyncio client: many askers on one connection, the same errors as the blocking one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipc import aclient, wire
from ipc.aclient import AsyncClient
from ipc.errors import IpcError
from tests.ipc.gateway_double import Double, echo
from tests.waiting import wait_until


@pytest.fixture
def double(run_dir: Path) -> Iterator[Double]:
    with Double(run_dir / "main.sock") as each:
        yield each


async def test_many_tasks_ask_at_once_and_each_gets_its_own(double: Double) -> None:
    held: list[wire.Request] = []

    def backwards(request: wire.Request) -> bytes:
        held.append(request)
        return b"".join(echo(each) for each in reversed(held)) if len(held) == 20 else b""

    double.reply = backwards
    client = await AsyncClient.connect(double.path)
    kinds = [wire.Ping, wire.Status] * 10
    got = await asyncio.gather(*(client.result(kind(id=0)) for kind in kinds))
    assert got == ["ping", "status"] * 10
    await client.close()


async def test_no_socket_is_unreachable(run_dir: Path) -> None:
    with pytest.raises(IpcError, match=r"gateway\.unreachable"):
        await AsyncClient.connect(run_dir / "nobody.sock")


async def test_silence_is_unreachable_in_time_and_the_late_answer_is_only_counted(double: Double) -> None:
    double.reply = lambda _request: b""
    client = await AsyncClient.connect(double.path, timeout_s=0.05)
    with pytest.raises(IpcError, match="outcome is unknown"):
        await client.ask(wire.Ping(id=0))
    double.reply = echo
    double.say(wire.encode(wire.Answer(id=1, ok=True)))
    assert await client.result(wire.Status(id=0), timeout_s=2) == "status"
    assert client.late == 1
    await client.close()


async def test_everybody_who_waits_learns_of_the_end(double: Double) -> None:
    double.reply = lambda _request: b""
    client = await AsyncClient.connect(double.path)
    asking = [asyncio.create_task(client.ask(wire.Ping(id=0))) for _ in range(3)]
    await asyncio.to_thread(wait_until, lambda: len(double.requests) == 3, 2, "three requests")
    double.hang_up()
    got = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(each) for each in got] == [IpcError] * 3
    with pytest.raises(IpcError, match="closed the connection"):
        await client.ask(wire.Ping(id=0))
    await client.close()


async def test_rubbish_ends_the_connection(double: Double) -> None:
    double.reply = lambda _request: b"<html>\n"
    client = await AsyncClient.connect(double.path)
    with pytest.raises(IpcError, match="no answer"):
        await client.ask(wire.Ping(id=0))
    assert not client.alive
    await client.close()


async def test_at_the_bound_nothing_leaves(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aclient, "MAX_IN_FLIGHT", 0)
    client = await AsyncClient.connect(double.path)
    with pytest.raises(IpcError, match=r"wire\.busy"):
        await client.ask(wire.Ping(id=0))
    await client.close()


async def test_place_and_cancel_name_the_intent(double: Double) -> None:
    client = await AsyncClient.connect(double.path)
    intent = wire.IntentId("b", "r1", 1)
    place = wire.Place(id=0, intent=intent, symbol="BTCUSDT", side="BUY", type="MARKET", qty="1")
    await client.place(place)
    await client.cancel(intent)
    assert [getattr(request, "intent", None) for request in double.requests] == [intent, intent]
    await client.close()
