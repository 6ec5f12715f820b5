"""The order transport against a raw server that answers, cuts, stalls and lies at every point."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ssl
from collections.abc import AsyncIterator

import msgspec
import pytest
import trustme

from gateway.core.effects import Send
from gateway.core.inputs import RestFailed, RestReply
from gateway.shell import order_transport
from gateway.shell.order_transport import OrderTransport
from gateway.venues.binance.sign import Signer
from ipc.clock import boot_ns
from tests.gateway.http_rig import (
    ORDER,
    PING,
    Exchange,
    Script,
    Told,
    cut_at_once,
    cut_in_the_body,
    cut_in_the_head,
    http,
    no_http,
    silence,
    too_much,
)
from tests.waiting import eventually, pause, stays

PARAMS = (("symbol", "BTCUSDT"), ("side", "BUY"), ("newClientOrderId", "a/b:c"), ("timestamp", "1"))


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    exchange = Exchange()
    await exchange.start()
    yield exchange
    await exchange.stop()


@pytest.fixture
async def told() -> Told:
    return Told()


@pytest.fixture
async def transport(exchange: Exchange, told: Told) -> AsyncIterator[OrderTransport]:
    transport = OrderTransport(f"http://127.0.0.1:{exchange.port}", Signer("the-key", "the-secret"), told, PING, most=3)
    transport.start()
    await warm(transport)
    yield transport
    await transport.close()


async def warm(transport: OrderTransport, count: int = 2) -> None:
    await eventually(lambda: transport.status()["free"] >= count, f"{count} connections are free")


def order(number: int = 1, *, lane: str = "entry", timeout_ms: int = 2000, method: str = "POST") -> Send:
    return Send(
        ("orders", "place", str(number)), method, "/fapi/v1/order", PARAMS, "signed",  # type: ignore[arg-type]
        order_path=True, orders=1, lane=lane, timeout_ms=timeout_ms,  # type: ignore[arg-type]
    )  # fmt: skip


async def test_nothing_leaves_past_its_deadline_not_even_after_waiting_for_a_connection(
    exchange: Exchange, transport: OrderTransport, told: Told
) -> None:
    late = msgspec.structs.replace(order(1, lane="close"), leave_by_boot_ns=boot_ns() - 1)
    assert not transport.send(late)
    exchange.script = silence
    for number in (2, 3, 4):
        busy = order(number, lane="close", timeout_ms=150)
        transport.send(msgspec.structs.replace(busy, leave_by_boot_ns=boot_ns() + 10**9))
    waiting = msgspec.structs.replace(order(5, lane="close"), leave_by_boot_ns=boot_ns() + 50_000_000)
    assert not transport.send(waiting)
    answers = {reply.key[2]: reply for reply in await told.wait(5)}
    for name in ("1", "5"):
        reply = answers[name]
        assert isinstance(reply, RestFailed) and not reply.sent and "deadline" in reply.reason
    exchange.script = exchange.answer
    await eventually(lambda: transport.status()["free"] >= 1, "a connection is free again")
    assert transport.send(order(6))
    assert isinstance((await told.wait(6))[-1], RestReply)


async def test_the_request_is_signed_over_exactly_the_bytes_that_leave(
    exchange: Exchange, transport: OrderTransport, told: Told
) -> None:
    assert transport.send(order())
    (reply,) = await told.wait(1)
    assert isinstance(reply, RestReply)
    assert (reply.key, reply.status, reply.body) == (("orders", "place", "1"), 200, ORDER)
    assert reply.headers["x-mbx-order-count-10s"] == "3"
    head, *headers = exchange.requests[0].decode().split("\r\n")
    method, target, version = head.split(" ")
    query, _, signature = target.partition("?")[2].rpartition("&signature=")
    assert (method, version) == ("POST", "HTTP/1.1")
    assert query == "symbol=BTCUSDT&side=BUY&newClientOrderId=a%2Fb%3Ac&timestamp=1"
    assert signature == hmac.new(b"the-secret", query.encode(), hashlib.sha256).hexdigest()
    assert f"Host: 127.0.0.1:{exchange.port}" in headers
    assert "X-MBX-APIKEY: the-key" in headers
    assert "Content-Length: 0" in headers


async def test_orders_use_warm_connections_and_answers_find_their_requests(
    exchange: Exchange, transport: OrderTransport, told: Told
) -> None:
    async def echo_number(request: bytes, writer: asyncio.StreamWriter) -> None:
        await pause(0.02 if len(exchange.requests) % 2 else 0.0)  # so that answers overtake each other
        writer.write(http(request[request.index(b"timestamp=") :][:11]))

    exchange.script = echo_number
    assert exchange.connections == 2
    for number in range(6):
        assert transport.send(order(number)) == (number < 2)
    replies = await told.wait(6)
    assert sorted(reply.key[2] for reply in replies) == [str(number) for number in range(6)]
    assert all(isinstance(reply, RestReply) for reply in replies)
    assert exchange.connections == 3  # `most`
    assert len(exchange.requests) == 6


@pytest.mark.parametrize("pieces", [1, 7, 10_000])
async def test_an_answer_in_pieces_is_whole(
    exchange: Exchange, transport: OrderTransport, told: Told, pieces: int
) -> None:
    async def trickle(_request: bytes, writer: asyncio.StreamWriter) -> None:
        data = b'HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n3\r\n1}\n\r\n0\r\n\r\n'
        for start in range(0, len(data), pieces):
            writer.write(data[start : start + pieces])
            await writer.drain()
            await pause(0.0005)

    exchange.script = trickle
    transport.send(order(1))
    transport.send(order(2))
    replies = await told.wait(2)
    got = [(reply.status, reply.body) for reply in replies if isinstance(reply, RestReply)]
    assert got == [(400, b'{"a":1}\n')] * 2


@pytest.mark.parametrize("script", [cut_at_once, cut_in_the_head, cut_in_the_body, no_http, too_much, silence])
async def test_what_was_handed_over_and_not_answered_counts_as_sent_and_is_never_sent_again(
    exchange: Exchange, transport: OrderTransport, told: Told, script: Script
) -> None:
    exchange.script = script
    transport.send(order(1, timeout_ms=300))
    (failed,) = await told.wait(1)
    assert isinstance(failed, RestFailed)
    assert (failed.key[2], failed.sent) == ("1", True)
    assert "the-secret" not in failed.reason
    assert "signature" not in failed.reason
    exchange.script = exchange.answer
    await warm(transport)  # the lost connection is replaced in the background
    transport.send(order(2))
    replies = await told.wait(2)
    assert isinstance(replies[1], RestReply)
    assert len(exchange.requests) == 2


async def test_an_answer_that_closes_is_delivered_and_the_connection_replaced(
    exchange: Exchange, transport: OrderTransport, told: Told
) -> None:
    async def last_word(_request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(http(ORDER, "200 OK", "Connection: close"))

    exchange.script = last_word
    for number in range(4):
        await warm(transport, 1)
        transport.send(order(number))
        await told.wait(number + 1)
    assert all(isinstance(reply, RestReply) for reply in told.all)


async def test_with_nobody_there_entries_fail_unsent_at_once_and_closes_a_little_later(told: Told) -> None:
    transport = OrderTransport("http://127.0.0.1:1", Signer("k", "s"), told, PING)
    transport.start()
    started = asyncio.get_running_loop().time()
    assert not transport.send(order(1))
    assert not transport.send(order(2, lane="close"))
    first = (await told.wait(1))[0]
    entry_s = asyncio.get_running_loop().time() - started
    second = (await told.wait(2))[1]
    close_s = asyncio.get_running_loop().time() - started
    await transport.close()
    for failed, number in ((first, "1"), (second, "2")):
        assert isinstance(failed, RestFailed)
        assert (failed.key[2], failed.sent) == (number, False)
    assert "Connect" in second.reason  # type: ignore[union-attr]
    assert entry_s < 1.9 < close_s


async def test_what_waits_too_long_for_a_connection_is_not_sent_though_one_comes_free(
    exchange: Exchange, transport: OrderTransport, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process was stopped meanwhile: judged by CLOCK_BOOTTIME, not by the loop's timers."""
    release = asyncio.Event()

    async def hold(_request: bytes, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(http(ORDER))

    exchange.script = hold
    for number in range(3):
        transport.send(order(number))
    await eventually(lambda: len(exchange.requests) == 3, "all connections are busy")
    transport.send(order(9))
    transport.send(order(10, lane="close"))
    monkeypatch.setattr(order_transport, "boot_ns", lambda: boot_ns() + 500_000_000)
    release.set()
    replies = {item.key[2]: item for item in await told.wait(5)}
    late = replies["9"]
    assert isinstance(late, RestFailed)
    assert not late.sent
    assert isinstance(replies["10"], RestReply)
    assert len(exchange.requests) == 4


async def test_a_close_overtakes_entries_that_wait(exchange: Exchange, told: Told) -> None:
    transport = OrderTransport(f"http://127.0.0.1:{exchange.port}", Signer("k", "s"), told, PING, warm=1, most=1)
    transport.start()
    await warm(transport, 1)
    for number in range(3):
        transport.send(order(number))
    transport.send(order(7, lane="close"))
    transport.send(order(8, lane="cancel", method="DELETE"))
    replies = await told.wait(5)
    assert [reply.key[2] for reply in replies] == ["0", "7", "8", "1", "2"]
    await transport.close()


async def test_the_queue_is_bounded_and_the_one_beyond_fails_unsent(told: Told) -> None:
    transport = OrderTransport("http://127.0.0.1:1", Signer("k", "s"), told, PING)
    for number in range(order_transport.WAITING + 1):
        transport.send(order(number, lane="close"))
    (failed,) = await told.wait(1)
    assert isinstance(failed, RestFailed)
    assert (failed.key[2], failed.sent) == (str(order_transport.WAITING), False)
    await transport.close()
    rest = (await told.wait(order_transport.WAITING + 1))[1:]
    assert all(isinstance(item, RestFailed) and not item.sent for item in rest)


async def test_an_empty_parameter_never_leaves(exchange: Exchange, transport: OrderTransport, told: Told) -> None:
    transport.send(Send(("orders", "place", "1"), "POST", "/fapi/v1/order", (("symbol", ""),), "signed"))
    (failed,) = await told.wait(1)
    assert failed == RestFailed(("orders", "place", "1"), False, "empty value for symbol: leave the parameter out")
    assert transport.status()["free"] == 2
    assert exchange.requests == []


async def test_tls_verifies_the_exchange(told: Told) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(server_side)
    exchange = Exchange()
    await exchange.start(server_side)
    for trusted, expected in ((authority, RestReply), (stranger, RestFailed)):
        context = ssl.create_default_context()
        trusted.configure_trust(context)
        transport = OrderTransport(
            f"https://localhost:{exchange.port}", Signer("k", "s"), told, PING, ssl_context=context
        )
        transport.start()
        transport.send(order(1, lane="close"))
        assert isinstance((await told.wait(1)).pop(), expected)
        await transport.close()
    assert len(exchange.requests) == 1
    await exchange.stop()


@pytest.mark.parametrize("banned_by", ["the core's word", "the answer to a ping"])
async def test_no_ping_leaves_while_the_exchange_wants_silence(
    exchange: Exchange, told: Told, monkeypatch: pytest.MonkeyPatch, banned_by: str
) -> None:
    monkeypatch.setattr(order_transport, "IDLE_PING_S", 0.05)
    pings, silent = 0, False

    async def ban(_request: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal pings
        pings += 1
        writer.write(http(b'{"code":-1003}', "418 I'm a teapot" if banned_by == "the answer to a ping" else "200 OK"))

    exchange.script = ban
    transport = OrderTransport(
        f"http://127.0.0.1:{exchange.port}", Signer("k", "s"), told, PING, warm=1, silent=lambda: silent
    )
    transport.start()
    await eventually(lambda: pings >= 1, "a ping came")
    silent = banned_by == "the core's word"
    await pause(0.06)
    before = pings
    await stays(lambda: pings == before, "silence", 0.5)
    assert before <= 4
    await transport.close()


async def test_idle_connections_are_proven_so_that_a_dead_one_is_found_before_an_order(
    exchange: Exchange, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_transport, "IDLE_PING_S", 0.05)
    pings = 0

    async def count(request: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal pings
        pings += request.startswith(b"GET /fapi/v1/ping HTTP/1.1\r\n")
        writer.write(http(b"{}"))

    exchange.script = count
    transport = OrderTransport(f"http://127.0.0.1:{exchange.port}", Signer("k", "s"), told, PING)
    transport.start()
    await eventually(lambda: pings >= 4, "pings came")
    assert told.all == []  # our own pings are nobody's answers
    await warm(transport)
    await transport.close()
