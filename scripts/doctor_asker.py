"""REST calls of `brainstem doctor`, over the gateway's own shell: signed, dialled and bounded as the gateway's are."""

from __future__ import annotations

import asyncio
import ssl

from gateway.core.effects import Send
from gateway.core.inputs import Key, RestFailed, RestReply
from gateway.shell.dial import Dial
from gateway.shell.rest import Rest
from gateway.venues.adapter import RequestSigner


class Unreachable(Exception):
    """No answer came; the text says why, never with a secret."""


class Asker:
    """`ask` from several tasks at once; every Send needs a key of its own (`key`)."""

    def __init__(
        self, base_url: str, signer: RequestSigner, *, ssl_context: ssl.SSLContext | None, dial: Dial | None
    ) -> None:
        self.base_url = base_url
        self._rest = Rest(base_url, signer, self._deliver, ssl_context=ssl_context, dial=dial)
        self._waiting: dict[Key, asyncio.Future[RestReply | RestFailed]] = {}
        self._serial = 0

    def key(self) -> Key:
        self._serial += 1
        return ("doctor", self._serial)

    async def ask(self, send: Send) -> RestReply:
        """Raises Unreachable."""
        future: asyncio.Future[RestReply | RestFailed] = asyncio.get_running_loop().create_future()
        self._waiting[send.key] = future
        self._rest.send(send)
        reply = await future
        if isinstance(reply, RestFailed):
            raise Unreachable(reply.reason)
        return reply

    async def close(self) -> None:
        await self._rest.close()

    def _deliver(self, reply: RestReply | RestFailed) -> None:
        future = self._waiting.pop(reply.key, None)
        if future is not None and not future.done():
            future.set_result(reply)
