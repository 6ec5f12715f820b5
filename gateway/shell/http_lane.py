"""One kept-alive HTTP/1.1 connection: one request in flight, its answer parsed without copies. No retries, no queue."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

import httptools

MAX_BODY_BYTES = 1 << 20
MAX_HEADER_BYTES = 64 << 10


class LaneOwner(Protocol):
    """The pool. Called on the loop."""

    def lane_ready(self, lane: Lane) -> None: ...

    def lane_answered(self, lane: Lane, status: int, headers: dict[str, str], body: bytes) -> None: ...

    def lane_lost(self, lane: Lane, reason: str) -> None: ...


class Lane(asyncio.Protocol):
    """`write` puts one request on the wire; then `lane_answered` or `lane_lost` follows, once. `busy` between them."""

    def __init__(self, owner: LaneOwner) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._status = 0
        self._headers: dict[str, str] = {}
        self._header_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._complete = False
        self._keep = False
        self.busy = False
        self.used_boot_ns = 0

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def write(self, request: bytes) -> None:
        """From here on the request counts as sent. Only where `open` and not `busy`."""
        assert self._transport is not None
        assert not self.busy
        self.busy = True
        self._transport.write(request)

    def end(self, reason: str) -> None:
        """Give the connection up; `lane_lost` is told at once."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
            self._owner.lane_lost(self, reason)

    # -- asyncio.Protocol ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._owner.lane_ready(self)

    def data_received(self, data: bytes) -> None:
        if not self.busy:
            self.end("the exchange sent bytes nobody had asked for")
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.end(f"not HTTP: {type(error).__name__}")
            return
        if self._body_bytes > MAX_BODY_BYTES or self._header_bytes > MAX_HEADER_BYTES:
            self.end(f"an answer over {MAX_BODY_BYTES} bytes (headers {MAX_HEADER_BYTES})")
        elif self._complete:
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._transport = None
            self._owner.lane_lost(self, f"connection lost: {exc}" if exc else "closed by the exchange")

    def _finish(self) -> None:
        status, headers, body = self._status, self._headers, b"".join(self._body)
        self._headers, self._body = {}, []
        self._header_bytes = self._body_bytes = 0
        self._complete = False
        self.busy = False
        if not self._keep and self._transport is not None:
            transport, self._transport = self._transport, None
            transport.close()
            self._owner.lane_answered(self, status, headers, body)
            self._owner.lane_lost(self, "the exchange closes after this answer")
        else:
            self._owner.lane_answered(self, status, headers, body)

    # -- httptools -----------------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if self._header_bytes <= MAX_HEADER_BYTES:
            self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._body_bytes <= MAX_BODY_BYTES:
            self._body.append(data)

    def on_message_complete(self) -> None:
        self._complete = True
        self._keep = self._parser.should_keep_alive()  # only known here
