"""The exchange's socket, with a watch: stamps when an order's last byte arrives, and answers it itself.

    python -m bench.relay UPSTREAM        prints {"ready": true, "rest": ...}

Everything but `POST /fapi/v1/order` goes on to UPSTREAM (a simex); order limits in exchangeInfo are lifted so that a
tight loop measures the way and not the limits. `GET /bench/stamps` hands over {client order id: CLOCK_BOOTTIME ns}
and forgets them. An order is answered as accepted and expired at once, so nothing piles up.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any
from urllib.parse import parse_qs

import httptools
import httpx
import uvloop

LIFTED = 1_000_000
_HOP_HEADERS = ("x-mbx-used-weight-1m", "x-mbx-apikey", "content-type")


class Relay:
    def __init__(self, upstream: str) -> None:
        self.upstream = httpx.AsyncClient(base_url=upstream, timeout=20)
        self.stamps: dict[str, int] = {}
        self.next_id = 1

    def order(self, query: str, at_ns: int) -> bytes:
        params = {name: values[0] for name, values in parse_qs(query).items()}
        client_id = params.get("newClientOrderId", "")
        self.stamps[client_id] = at_ns
        self.next_id += 1
        reply = {
            "orderId": self.next_id, "symbol": params.get("symbol"), "status": "EXPIRED", "clientOrderId": client_id,
            "price": params.get("price", "0"), "origQty": params.get("quantity", "0"), "executedQty": "0.000",
            "cumQty": "0.000", "timeInForce": params.get("timeInForce", "GTC"), "type": params.get("type"),
            "reduceOnly": False, "closePosition": False, "side": params.get("side"), "positionSide": "BOTH",
            "stopPrice": "0.00", "workingType": "CONTRACT_PRICE", "priceProtect": False, "origType": "LIMIT",
            "priceMatch": "NONE", "selfTradePreventionMode": "EXPIRE_MAKER", "goodTillDate": 0,
            "updateTime": time.time_ns() // 1_000_000,
        }  # fmt: skip
        return response(200, json.dumps(reply).encode())

    async def other(self, method: str, target: str, headers: dict[str, str], body: bytes) -> bytes:
        if target == "/bench/stamps":
            found, self.stamps = self.stamps, {}
            return response(200, json.dumps(found).encode())
        wanted = {name: value for name, value in headers.items() if name in _HOP_HEADERS}
        reply = await self.upstream.request(method, target, headers=wanted, content=body)
        content = lifted(reply.content) if target.startswith("/fapi/v1/exchangeInfo") else reply.content
        return response(reply.status_code, content)


def lifted(body: bytes) -> bytes:
    info: dict[str, Any] = json.loads(body)
    for limit in info["rateLimits"]:
        limit["limit"] = LIFTED
    return json.dumps(info).encode()


def response(status: int, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Connection(asyncio.Protocol):
    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._transport: asyncio.Transport | None = None
        self._at_ns = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._fresh()

    def _fresh(self) -> None:
        self._parser: Any = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's own class

    def data_received(self, data: bytes) -> None:
        self._at_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode().lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        method, target = self._parser.get_method().decode(), self._url.decode()
        body, headers, at_ns = self._body, self._headers, self._at_ns
        self._url, self._headers, self._body = b"", {}, b""
        path, _, query = target.partition("?")
        if method == "POST" and path == "/fapi/v1/order":
            self._write(self._relay.order(f"{query}&{body.decode()}".strip("&"), at_ns))
            return
        task = asyncio.get_running_loop().create_task(self._forward(method, target, headers, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, method: str, target: str, headers: dict[str, str], body: bytes) -> None:
        self._write(await self._relay.other(method, target, headers, body))

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None


async def serve(upstream: str) -> None:
    relay = Relay(upstream)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(relay), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(json.dumps({"ready": True, "rest": f"http://127.0.0.1:{port}"}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
