"""REST over httpx against a raw server: what was sent, what certainly was not, and bounds."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator

import pytest

from gateway.core.effects import Send
from gateway.core.inputs import RestFailed, RestReply
from gateway.shell import rest as rest_module
from gateway.shell.rest import Rest
from gateway.venues.binance.sign import Signer
from tests.gateway.http_rig import (
    Exchange,
    Told,
    cut_at_once,
    cut_in_the_body,
    http,
    silence,
    too_much,
)
from tests.waiting import pause


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
async def rest(exchange: Exchange, told: Told) -> AsyncIterator[Rest]:
    rest = Rest(f"http://127.0.0.1:{exchange.port}", Signer("the-key", "the-secret"), told)
    yield rest
    await rest.close()


def call(number: int = 1, *, security: str = "signed", timeout_ms: int = 2000) -> Send:
    params = (("symbol", "A/B C"), ("list", '["x"]'), ("timestamp", "1"))
    return Send(("market", "x", number), "GET", "/fapi/v1/x", params, security, timeout_ms=timeout_ms)  # type: ignore[arg-type]


@pytest.mark.parametrize(("security", "key", "signed"), [("none", 0, 0), ("key", 1, 0), ("signed", 1, 1)])
async def test_the_query_leaves_as_it_was_signed(
    exchange: Exchange, rest: Rest, told: Told, security: str, key: int, signed: int
) -> None:
    rest.send(call(security=security))
    (reply,) = await told.wait(1)
    assert isinstance(reply, RestReply)
    assert (reply.status, reply.body, reply.headers["x-mbx-order-count-10s"]) == (200, b'{"orderId":1}', "3")
    request = exchange.requests[0].decode()
    query = request.split(" ")[1].partition("?")[2]
    plain, _, signature = query.partition("&signature=")
    assert plain == "symbol=A%2FB%20C&list=%5B%22x%22%5D&timestamp=1"
    assert signature == (hmac.new(b"the-secret", plain.encode(), hashlib.sha256).hexdigest() if signed else "")
    assert request.lower().count("x-mbx-apikey: the-key") == key


@pytest.mark.parametrize("script", [cut_at_once, cut_in_the_body, silence, too_much])
async def test_what_left_and_was_not_answered_counts_as_sent(
    exchange: Exchange, rest: Rest, told: Told, script: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest_module, "MAX_BODY_BYTES", 1 << 20)
    exchange.script = script  # type: ignore[assignment]
    rest.send(call(timeout_ms=400))
    (failed,) = await told.wait(1)
    assert isinstance(failed, RestFailed)
    assert failed.sent
    assert "the-secret" not in failed.reason
    assert "signature" not in failed.reason


async def test_with_nobody_there_it_certainly_was_not_sent(told: Told) -> None:
    rest = Rest("http://127.0.0.1:1", Signer("k", "s"), told)
    rest.send(call())
    rest.send(Send(("market", "y"), "GET", "/x", (("a", ""),)))
    failed = await told.wait(2)
    assert sorted((item.key[1], item.sent) for item in failed if isinstance(item, RestFailed)) == [
        ("x", False),
        ("y", False),
    ]
    await rest.close()


async def test_calls_at_once_are_bounded_and_the_ones_beyond_the_queue_fail_unsent(
    exchange: Exchange, rest: Rest, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest_module, "WAITING", 20)
    running = most = 0

    async def slow(_request: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await pause(0.01)
        running -= 1
        writer.write(http(b"{}"))

    exchange.script = slow
    for number in range(30):
        rest.send(call(number))
    results = await told.wait(30)
    unsent = [item.key[2] for item in results if isinstance(item, RestFailed)]
    assert unsent == [28, 29]
    assert most == rest_module.CONCURRENT


async def test_a_fault_of_the_library_is_an_answer_too(rest: Rest, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slip(*_args: object, **_more: object) -> None:
        raise RuntimeError("a slip in https://x/fapi?signature=abc")

    monkeypatch.setattr(rest._client, "send", slip)
    rest.send(call())
    assert await told.wait(1) == [RestFailed(("market", "x", 1), True, "RuntimeError: a slip in https://x/fapi")]
