"""The WebSocket API over real sockets: signatures, sessions, methods, envelope, limits, faults."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from yarl import URL

from simex.server.wsapi.messages import BadRequest, read, signed_texts
from simex.server.wsapi.methods import METHODS
from tests.simex.running import Running, running, signed

ED25519 = Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
IDS = count(1)


@pytest.fixture(scope="module")
def simex(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    file = tmp_path_factory.mktemp("wsapi") / "accounts.json"
    keys = {"edkey": ED25519.public_key().public_bytes(*PEM), "rsakey": RSA.public_key().public_bytes(*PEM)}
    pems = {name: pem.decode() for name, pem in keys.items()}
    file.write_text(json.dumps([{"name": "simex", "api_key": "simex", "api_secret": "simex", "public_keys": pems}]))
    with running("--seed", "3", "--weight-limit", "100000", "--accounts", str(file)) as started:
        yield started


@pytest.fixture
async def socket(simex: Running) -> AsyncIterator[ClientConnection]:
    async with connect(f"{simex.ws}/ws-fapi/v1", compression=None) as opened, asyncio.timeout(30):
        yield opened


def text_of(params: dict[str, Any]) -> str:
    return "&".join(f"{name}={params[name]}" for name in sorted(params))


def with_hmac(secret: str = "simex", **params: Any) -> dict[str, Any]:
    full = {"apiKey": "simex", "timestamp": round(time.time() * 1000), **params}
    return full | {"signature": hmac.new(secret.encode(), text_of(full).encode(), hashlib.sha256).hexdigest()}


def with_ed25519(**params: Any) -> dict[str, Any]:
    full = {"apiKey": "edkey", "timestamp": round(time.time() * 1000), **params}
    return full | {"signature": base64.b64encode(ED25519.sign(text_of(full).encode())).decode()}


async def ask(socket: ClientConnection, method: str, params: dict[str, Any] | None = None) -> Any:
    number = next(IDS)
    await socket.send(json.dumps({"id": number, "method": method} | ({} if params is None else {"params": params})))
    answer = json.loads(await socket.recv())
    assert answer["id"] == number
    return answer


ORDER = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.010",
    "price": "88000",
}


async def test_an_order_lives_its_life_and_rest_sees_the_same(socket: ClientConnection, simex: Running) -> None:
    placed = await ask(socket, "order.place", with_hmac(**ORDER, newClientOrderId="ws-1"))
    assert placed["status"] == 200
    assert (placed["result"]["status"], placed["result"]["clientOrderId"]) == ("NEW", "ws-1")
    limits = [(row["rateLimitType"], row["interval"], row["intervalNum"], row["limit"]) for row in placed["rateLimits"]]
    assert limits == [
        ("ORDERS", "SECOND", 10, 300), ("ORDERS", "MINUTE", 1, 1200), ("REQUEST_WEIGHT", "MINUTE", 1, 100000),
    ]  # fmt: skip
    assert placed["rateLimits"][1]["count"] >= 1
    found = await ask(socket, "order.status", with_hmac(symbol="BTCUSDT", origClientOrderId="ws-1"))
    assert found["result"]["orderId"] == placed["result"]["orderId"]
    assert [row["rateLimitType"] for row in found["rateLimits"]] == ["REQUEST_WEIGHT"]
    async with aiohttp.ClientSession() as http:
        query = signed("symbol=BTCUSDT&origClientOrderId=ws-1")
        async with http.get(f"{simex.rest}/fapi/v1/order?{query}", headers={"X-MBX-APIKEY": "simex"}) as answer:
            assert await answer.json() == found["result"]
    cancelled = await ask(socket, "order.cancel", with_hmac(symbol="BTCUSDT", orderId=placed["result"]["orderId"]))
    assert cancelled["result"]["status"] == "CANCELED"
    again = await ask(socket, "order.cancel", with_hmac(symbol="BTCUSDT", origClientOrderId="ws-1"))
    assert (again["status"], again["error"]) == (400, {"code": -2011, "msg": "Unknown order sent."})


@pytest.mark.parametrize(
    ("method", "key"),
    [
        ("account.balance", "asset"), ("v2/account.balance", "asset"), ("account.status", "assets"),
        ("v2/account.status", "assets"), ("account.position", "symbol"),
    ],
)  # fmt: skip
async def test_account_methods_answer_as_their_rest_counterparts(
    method: str, key: str, socket: ClientConnection, simex: Running
) -> None:
    result = (await ask(socket, method, with_hmac()))["result"]
    row = result[0] if isinstance(result, list) else result
    assert key in row
    where = METHODS[method]
    async with aiohttp.ClientSession() as http:
        url = f"{simex.rest}{where.path}?{signed('')}"
        async with http.get(url, headers={"X-MBX-APIKEY": "simex"}) as answer:
            rest = await answer.json()
    assert type(rest) is type(result)
    assert set(rest[0] if isinstance(rest, list) else rest) == set(row)


async def test_market_methods_need_no_key(socket: ClientConnection) -> None:
    depth = await ask(socket, "depth", {"symbol": "BTCUSDT", "limit": 5})
    assert (len(depth["result"]["bids"]), len(depth["result"]["asks"])) == (5, 5)
    assert (await ask(socket, "ticker.price", {"symbol": "BTCUSDT"}))["result"]["symbol"] == "BTCUSDT"
    assert [row["symbol"] for row in (await ask(socket, "ticker.book"))["result"]] == ["BTCUSDT", "ETHUSDT"]
    assert (await ask(socket, "depth", {"symbol": "BTCUSDT", "limit": 7}))["error"]["code"] == -4021


async def test_the_listen_key_is_that_of_rest(socket: ClientConnection, simex: Running) -> None:
    started = await ask(socket, "userDataStream.start", {"apiKey": "simex"})
    key = started["result"]["listenKey"]
    assert (await ask(socket, "userDataStream.ping", {"apiKey": "simex"}))["result"] == {"listenKey": key}
    async with connect(f"{simex.ws}/private/ws?listenKey={key}", compression=None) as private:
        await ask(socket, "order.place", with_hmac(**ORDER, newClientOrderId="ws-heard"))
        assert json.loads(await private.recv())["o"]["c"] == "ws-heard"
        assert (await ask(socket, "userDataStream.stop", {"apiKey": "simex"}))["result"] == {}
        assert json.loads(await private.recv())["e"] == "listenKeyExpired"
    assert (await ask(socket, "userDataStream.ping", {"apiKey": "simex"}))["error"]["code"] == -1125
    await ask(socket, "order.cancel", with_hmac(symbol="BTCUSDT", origClientOrderId="ws-heard"))


async def test_only_ed25519_logs_on_and_then_no_signature_is_needed(socket: ClientConnection) -> None:
    assert (await ask(socket, "session.status"))["result"]["apiKey"] is None
    refused = await ask(socket, "session.logon", with_hmac())
    assert (refused["status"], refused["error"]["code"]) == (400, -4056)
    spoilt = with_ed25519()
    spoilt["timestamp"] += 1
    assert (await ask(socket, "session.logon", spoilt))["error"]["code"] == -1022
    on = (await ask(socket, "session.logon", with_ed25519()))["result"]
    assert on["apiKey"] == "edkey"
    assert on["connectedSince"] <= on["authorizedSince"] <= on["serverTime"]
    bare = {**ORDER, "timestamp": round(time.time() * 1000), "newClientOrderId": "ws-bare"}
    assert (await ask(socket, "order.place", bare))["result"]["status"] == "NEW"
    late = {**ORDER, "timestamp": round(time.time() * 1000) - 60_000}
    assert (await ask(socket, "order.place", late))["error"]["code"] == -1021
    cancel = {"symbol": "BTCUSDT", "origClientOrderId": "ws-bare", "timestamp": round(time.time() * 1000)}
    assert (await ask(socket, "order.cancel", cancel))["result"]["status"] == "CANCELED"
    assert (await ask(socket, "session.status"))["result"]["apiKey"] == "edkey"
    assert (await ask(socket, "session.logout"))["result"]["apiKey"] is None
    after = await ask(socket, "account.status", {"timestamp": round(time.time() * 1000)})
    assert (after["status"], after["error"]["code"]) == (401, -2014)


async def test_each_thing_wrong_has_its_status_and_code(socket: ClientConnection) -> None:
    wrong: list[tuple[dict[str, Any], int, int]] = [
        (with_hmac("other", **ORDER), 400, -1022),
        ({**with_hmac(**ORDER), "apiKey": "stranger"}, 401, -2015),
        ({**with_hmac(**ORDER), "apiKey": "a b"}, 401, -2014),
        (with_hmac(**ORDER, timestamp=1), 400, -1021),
        ({name: value for name, value in with_hmac(**ORDER).items() if name != "signature"}, 400, -1102),
        (with_hmac(**{name: value for name, value in ORDER.items() if name != "quantity"}), 400, -1102),
        ({**ORDER, "price": ""}, 400, -1105), ({**ORDER, "price": [1]}, 400, -1100),
    ]  # fmt: skip
    for params, status, code in wrong:
        answer = await ask(socket, "order.place", params)
        assert (answer["status"], answer["error"]["code"]) == (status, code), params
    assert (await ask(socket, "order.nonsense"))["error"]["code"] == -1020
    await socket.send("{")
    assert json.loads(await socket.recv()) == {
        "id": None, "status": 400, "error": {"code": -1135, "msg": "Invalid JSON Request"},
    }  # fmt: skip
    await socket.send('{"id": "x", "method": 5}')
    answer = json.loads(await socket.recv())
    assert (answer["id"], answer["error"]["code"]) == ("x", -1102)


async def test_keys_of_other_kinds_sign_rest_requests(simex: Running) -> None:
    async with aiohttp.ClientSession() as http:
        for api_key in ("edkey", "rsakey"):
            text = f"timestamp={round(time.time() * 1000)}"
            raw = (
                ED25519.sign(text.encode())
                if api_key == "edkey"
                else RSA.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
            )
            signature = base64.b64encode(raw).decode()
            for end, status in ((signature, 200), (signature[:-4] + "AAAA", 400), ("rubbish!", 400)):
                url = f"{simex.rest}/fapi/v3/balance?{text}&signature={quote(end, safe='')}"
                async with http.get(URL(url, encoded=True), headers={"X-MBX-APIKEY": api_key}) as answer:
                    assert answer.status == status, (api_key, await answer.text())


async def test_the_limits_block_is_left_out_on_wish(simex: Running) -> None:
    url = f"{simex.ws}/ws-fapi/v1?returnRateLimits=false"
    async with connect(url, compression=None) as socket, asyncio.timeout(20):
        assert "rateLimits" not in await ask(socket, "ticker.price", {"symbol": "BTCUSDT"})
        shown = await ask(socket, "ticker.price", {"symbol": "BTCUSDT", "returnRateLimits": True})
        assert shown["rateLimits"][0]["rateLimitType"] == "REQUEST_WEIGHT"


async def test_the_pools_are_those_of_rest_and_the_handshake_costs_weight() -> None:
    with running("--weight-limit", "30") as simex:
        async with (
            asyncio.timeout(20),
            aiohttp.ClientSession() as http,
            connect(f"{simex.ws}/ws-fapi/v1", compression=None) as socket,
        ):
            used = (await ask(socket, "ticker.price", {"symbol": "BTCUSDT"}))["rateLimits"][0]["count"]
            assert used in (5 + 1, 1), "or a new minute has begun"
            async with http.get(f"{simex.rest}/fapi/v1/ping") as answer:
                assert int(answer.headers["X-MBX-USED-WEIGHT-1M"]) in (used + 1, 1)
            while (answered := await ask(socket, "depth", {"symbol": "BTCUSDT", "limit": 1000}))["status"] == 200:
                pass
            assert (answered["status"], answered["error"]["code"]) == (429, -1003)


async def test_orders_are_refused_at_the_limit_of_the_account() -> None:
    with running("--order-limit-1m", "2") as simex:
        async with connect(f"{simex.ws}/ws-fapi/v1", compression=None) as socket, asyncio.timeout(30):
            while (answer := await ask(socket, "order.place", with_hmac(**ORDER)))["status"] == 200:
                assert answer["rateLimits"][1]["count"] <= 2
            assert (answer["status"], answer["error"]["code"]) == (429, -1015)
            assert (await ask(socket, "order.status", with_hmac(symbol="BTCUSDT", orderId=1)))["error"]["code"] == -2013


async def test_too_many_pings_end_the_connection_and_many_requests_do_not(simex: Running) -> None:
    async with connect(f"{simex.ws}/ws-fapi/v1", compression=None, ping_interval=None) as socket, asyncio.timeout(30):
        for _ in range(30):
            await ask(socket, "ticker.price", {"symbol": "BTCUSDT"})
        with pytest.raises(ConnectionClosed):
            while True:
                for _ in range(11):
                    await socket.ping()
                await asyncio.wait_for(socket.recv(), 1)
        assert socket.close_code == 1008


async def test_other_paths_are_not_there(simex: Running) -> None:
    for path in ("/ws-fapi", "/ws-fapi/v2", "/ws-fapi/v1/x"):
        with pytest.raises(InvalidStatus):
            await connect(f"{simex.ws}{path}", compression=None)


async def test_faults_reach_the_api_too(socket: ClientConnection, simex: Running) -> None:
    async with aiohttp.ClientSession() as admin:
        for fault in (
            {"fault": "reply_error", "variant": "503_unknown", "path": "order.place", "method": "WS", "count": 1},
            {"fault": "reply_lost", "when": "after", "path": "order.place", "method": "WS", "count": 1},
        ):
            async with admin.post(f"{simex.rest}/admin/faults", json=fault) as answer:
                assert answer.status == 200
        unknown = await ask(socket, "order.place", with_hmac(**ORDER, newClientOrderId="ws-unknown"))
        assert (unknown["status"], unknown["error"]["code"]) == (503, -1000)
        with pytest.raises(ConnectionClosed):
            await ask(socket, "order.place", with_hmac(**ORDER, newClientOrderId="ws-lost"))
        async with connect(f"{simex.ws}/ws-fapi/v1", compression=None) as fresh:
            for name in ("ws-unknown", "ws-lost"):
                gone = await ask(fresh, "order.cancel", with_hmac(symbol="BTCUSDT", origClientOrderId=name))
                assert gone["status"] == 200, f"{name} was in effect"


async def test_a_revoked_key_ends_the_session_with_a_word_and_is_good_again_later(
    socket: ClientConnection, simex: Running
) -> None:
    assert (await ask(socket, "session.logon", with_ed25519()))["status"] == 200
    async with aiohttp.ClientSession() as admin:
        async with admin.post(f"{simex.rest}/admin/faults", json={"fault": "key_revoked"}) as answer:
            number = (await answer.json())["faults"][0]["id"]
        told = json.loads(await socket.recv())
        assert (told["id"], told["status"], told["error"]["code"]) == (None, 401, -2015)
        assert (await ask(socket, "account.status", with_hmac()))["error"]["code"] == -2015
        async with admin.get(f"{simex.rest}/fapi/v3/balance?{signed('')}", headers={"X-MBX-APIKEY": "simex"}) as answer:
            assert (answer.status, (await answer.json())["code"]) == (401, -2015)
        async with admin.delete(f"{simex.rest}/admin/faults", json={"id": number}) as answer:
            assert await answer.json() == {"cleared": 1}
    assert (await ask(socket, "session.status"))["result"]["apiKey"] is None
    assert (await ask(socket, "account.status", with_hmac()))["status"] == 200


def test_the_published_vector_is_what_is_signed() -> None:
    key = "dbefbc809e3e83c283a984c3a1459732ea7db1360ca80c5c2c8867408d28cc83"
    secret = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
    params = {
        "apiKey": key, "newClientOrderId": "a1-0001", "price": "9000.0", "quantity": "0.010", "recvWindow": 5000,
        "side": "BUY", "symbol": "BTCUSDT", "timeInForce": "GTC", "timestamp": 1591702613943, "type": "LIMIT",
    }  # fmt: skip
    request = read(json.dumps({"id": "1", "method": "order.place", "params": params | {"signature": "x"}}))
    raw, encoded = signed_texts(request.params)
    digest = hmac.new(secret.encode(), raw.encode(), hashlib.sha256).hexdigest()
    assert digest == "4a0630f5eea75d8908f1726f226ff5aac8b58b48539bfa0cac8686aa31b11edf"
    assert raw == encoded, "they differ only for characters that need encoding"


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(ANY_JSON)
def test_whatever_json_is_sent_is_a_request_or_refused(body: Any) -> None:
    for text in (json.dumps(body), json.dumps({"id": body, "method": "depth", "params": body})):
        try:
            request = read(text)
        except BadRequest as error:
            assert error.refusal.status == 400
        else:
            assert all(isinstance(value, str) for value in request.params.values())
            json.dumps(request.id)


def test_numbers_keep_their_digits() -> None:
    request = read(
        '{"id": 12, "method": "m", "params": {"quantity": 0.010, "price": 1e2, "recvWindow": 5000, "x": true}}'
    )
    assert request.params == {"quantity": "0.010", "price": "1e2", "recvWindow": "5000", "x": "true"}
    assert request.id == 12
    for raw in ("9" * 30, "1.5", "[1]", '"\\ud800"'):
        assert read(f'{{"id": {raw}, "method": "m"}}').id is None


def test_a_public_key_file_that_is_none_is_refused(tmp_path: Path) -> None:
    from simex.server.settings import BadSettings, read_accounts

    file = tmp_path / "accounts.json"
    for keys, says in (({"k": "no pem"}, "not a PEM"), ([], "must map"), ({"k": 5}, "must map")):
        file.write_text(json.dumps([{"name": "a", "api_key": "x", "api_secret": "hidden", "public_keys": keys}]))
        with pytest.raises(BadSettings, match=says) as refused:
            read_accounts(file)
        assert "hidden" not in str(refused.value)
