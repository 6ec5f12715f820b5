"""Every REST call that is not an order: httpx with bounded concurrency, and the truth about what left.

At most `CONCURRENT` calls run and `WAITING` wait; one beyond fails unsent. The query is signed and sent as one text.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import httpx

from gateway.core.effects import Send
from gateway.core.inputs import RestFailed, RestReply
from gateway.shell.dial import Dial, Dialler
from gateway.shell.dial_http import transport
from gateway.venues.adapter import RequestSigner

CONCURRENT = 8
WAITING = 512
MAX_BODY_BYTES = 32 << 20  # exchangeInfo of a whole exchange is some 3 MB

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class Rest:
    """`deliver` gets exactly one RestReply or RestFailed for each `send`, on the loop, never inside the call."""

    def __init__(
        self,
        base_url: str,
        signer: RequestSigner,
        deliver: Callable[[RestReply | RestFailed], None],
        *,
        ssl_context: ssl.SSLContext | None = None,
        dial: Dial | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._signer = signer
        self._deliver = deliver
        limits = httpx.Limits(max_connections=CONCURRENT, max_keepalive_connections=2, keepalive_expiry=30.0)
        context = ssl_context or ssl.create_default_context()
        self._client = httpx.AsyncClient(
            transport=transport(dial or Dialler(), context, limits), trust_env=False,
            headers={"User-Agent": "brainstem"},
        )  # fmt: skip
        self._slots = asyncio.Semaphore(CONCURRENT)
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, send: Send) -> None:
        if len(self._tasks) >= CONCURRENT + WAITING:
            failed = RestFailed(send.key, False, f"{WAITING} calls wait already")
            asyncio.get_running_loop().call_soon(self._deliver, failed)
            return
        task = asyncio.get_running_loop().create_task(self._call(send))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()

    async def _call(self, send: Send) -> None:
        async with self._slots:
            self._deliver(await self._answer(send))

    async def _answer(self, send: Send) -> RestReply | RestFailed:
        try:
            query = self._signer.query(send.params) if send.security == "signed" else self._signer.plain(send.params)
            url = f"{self._base_url}{send.path}?{query}" if query else f"{self._base_url}{send.path}"
            headers = {} if send.security == "none" else dict([self._signer.key_header])
            timeout_s = send.timeout_ms / 1000
            request = self._client.build_request(send.method, url, headers=headers, timeout=timeout_s)
        except (ValueError, httpx.InvalidURL) as error:
            return RestFailed(send.key, False, f"request not built: {error}")
        try:
            return await asyncio.wait_for(self._read(send, request), timeout_s)
        except _NOT_SENT as error:
            return RestFailed(send.key, False, _reason(error))
        except Exception as error:  # noqa: BLE001  whatever the library raises, its owner waits for one answer
            return RestFailed(send.key, True, _reason(error))

    async def _read(self, send: Send, request: httpx.Request) -> RestReply | RestFailed:
        answer = await self._client.send(request, stream=True)
        try:
            pieces: list[bytes] = []
            size = 0
            async for piece in answer.aiter_bytes():
                size += len(piece)
                if size > MAX_BODY_BYTES:
                    return RestFailed(send.key, True, f"an answer over {MAX_BODY_BYTES} bytes")
                pieces.append(piece)
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return RestReply(send.key, answer.status_code, headers, b"".join(pieces))
        finally:
            await answer.aclose()


def _reason(error: Exception) -> str:
    """Never the URL: its query holds the signature."""
    text = str(error).split("?")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
