"""Blocking client of the gateway's Unix domain socket: for brains and tools. One connection, one thread.

Two ways to ask, which may be mixed:

- `ask`, `place`, `cancel`, `result` wait for their answer, at most `timeout_s`;
- `send` returns the request's id at once and `collect` hands over whatever answers have come, in any order. So a
  decision loop never waits for an order in flight. Time-outs are then the caller's own: an answer that comes late is
  still handed over.

Connecting is explicit (`connect`, `reconnect`): what was unanswered when a connection ended is unknown, and only the
caller knows what to ask again under the same name. Bounds: `MAX_IN_FLIGHT` unanswered requests, `MAX_UNSENT_BYTES`
not yet taken by the socket; beyond either the request is refused with `wire.busy` and nothing of it leaves.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections import deque
from pathlib import Path
from typing import Any

import msgspec

from ipc import wire
from ipc.errors import CODES, IpcError
from ipc.framing import LineSplitter, TooLong

TIMEOUT_S = 2.5  # a gateway answers place and cancel within 2 s, with `unknown` if need be
MAX_IN_FLIGHT = 1024
MAX_UNSENT_BYTES = 1 << 20
_RECV_BYTES = 65_536
_with_id = msgspec.structs.replace
_SEND_FLAGS = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)  # joined once: the enum's `|` costs more than the call


def unreachable(path: Path, why: str) -> IpcError:
    return IpcError("gateway.unreachable", f"no answer from the gateway at {path}: {why}. Is it running?")


def result_of(answer: wire.Answer) -> Any:
    """The `result` of an answer. Raises IpcError under the answer's own code where it is a refusal."""
    if answer.ok:
        return answer.result
    body = answer.error
    if body is None:
        raise IpcError("op.internal", "the gateway answered a refusal without an error; see its log")
    if body.code not in CODES:
        detail = {**body.detail, "code": body.code}
        raise IpcError("op.internal", f"{body.code} (unknown here): {body.message}", detail=detail)
    raise IpcError(body.code, body.message, retryable=body.retryable, detail=body.detail)


class Client:
    """`alive` is False once the connection ended; then only `reconnect` and `close` do anything.

    `late` counts answers nobody waited for any more.
    """

    def __init__(self, path: Path | str, *, timeout_s: float = TIMEOUT_S) -> None:
        """Does not connect yet; see `connect`."""
        self.path = Path(path)
        self.timeout_s = timeout_s
        self.alive = False
        self.late = 0
        self._sock: socket.socket | None = None
        self._next_id = 1
        self._reset()

    @classmethod
    def connect(cls, path: Path | str, *, timeout_s: float = TIMEOUT_S) -> Client:
        """Raises IpcError `gateway.unreachable`."""
        client = cls(path, timeout_s=timeout_s)
        client.reconnect()
        return client

    def reconnect(self) -> None:
        """A new connection; whatever was unanswered on the old one is forgotten. Raises `gateway.unreachable`."""
        self.close()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # SO_RCVTIMEO rather than settimeout: no poll(2) before every read
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(self.timeout_s))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(self.timeout_s))
        try:
            sock.connect(str(self.path))
        except OSError as error:
            sock.close()
            raise unreachable(self.path, error.strerror or str(error)) from None
        self._sock = sock
        self._reset()
        self.alive = True

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        self.alive = False

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def fileno(self) -> int:
        """For select. Raises `gateway.unreachable` when there is no connection."""
        return self._live().fileno()

    @property
    def in_flight(self) -> int:
        return len(self._waiting)

    @property
    def unsent(self) -> int:
        """Bytes the socket has not taken yet."""
        return len(self._unsent)

    # -- waiting for the answer --------------------------------------------------------------------------------

    def ask(self, request: wire.Request, *, timeout_s: float | None = None) -> wire.Answer:
        """Any request (its `id` is replaced); waits. Raises `gateway.unreachable` where no answer came in time: the
        connection stays usable and the outcome of the request is unknown."""
        wait_s = self.timeout_s if timeout_s is None else timeout_s
        deadline_s = time.monotonic() + wait_s
        request_id = self.send(request)
        if self._unsent:
            self._flush_until(deadline_s)
        first = wait_s >= self.timeout_s
        while True:
            answer = self._answer_to(request_id)
            if answer is not None:
                return answer
            if not first:
                self._wait_readable(request_id, deadline_s)
            self._receive(0)
            first = False
            if time.monotonic() >= deadline_s and not self._holds(request_id):
                self._give_up(request_id)

    def result(self, request: wire.Request, *, timeout_s: float | None = None) -> Any:
        """The answer's result; a refusal is raised as IpcError."""
        return result_of(self.ask(request, timeout_s=timeout_s))

    def hello(
        self,
        *,
        brain: str | None = None,
        run: str | None = None,
        strategy: str | None = None,
        symbols: list[str] | None = None,
        intervals: list[wire.Interval] | None = None,
    ) -> dict[str, Any]:
        """{account, epoch, environment, brain_no, last_seq, as_of, lease_ms, admin}."""
        request = wire.Hello(
            id=0, brain=brain, run=run, strategy=strategy, symbols=symbols or [], intervals=intervals or []
        )
        result: dict[str, Any] = self.result(request)
        return result

    def place(self, place: wire.Place, *, timeout_s: float | None = None) -> wire.Answer:
        """Accepted, rejected or unknown, in `outcome`. IpcError `gateway.unreachable` is unknown too: ask again with
        the same `place`."""
        return self.ask(place, timeout_s=timeout_s)

    def cancel(
        self,
        intent: wire.IntentId | None = None,
        *,
        symbol: str | None = None,
        client_order_id: str | None = None,
        timeout_s: float | None = None,
    ) -> wire.Answer:
        request = wire.Cancel(id=0, intent=intent, symbol=symbol, client_order_id=client_order_id)
        return self.ask(request, timeout_s=timeout_s)

    # -- pipelined ---------------------------------------------------------------------------------------------

    def send(self, request: wire.Request) -> int:
        """Hands the request to the socket without waiting and returns the id its answer will carry.

        Raises `wire.busy` at a bound and `gateway.unreachable` where the connection is gone.
        """
        sock = self._live()
        if len(self._waiting) >= MAX_IN_FLIGHT:
            raise IpcError("wire.busy", f"{MAX_IN_FLIGHT} requests are unanswered; collect answers first")
        request_id = self._next_id
        line = wire.encode(_with_id(request, id=request_id))
        if len(self._unsent) + len(line) > MAX_UNSENT_BYTES:
            raise IpcError("wire.busy", f"the gateway takes no bytes; {len(self._unsent)} wait already")
        self._next_id += 1
        self._waiting.add(request_id)
        if self._unsent:
            self._unsent += line
            self._flush()
        else:
            self._push(sock, line)
        return request_id

    def collect(self) -> list[wire.Answer]:
        """Every answer that has come, without waiting. When the connection has ended, first what came before its end,
        then (at the next call) IpcError `gateway.unreachable`."""
        if self._sock is not None:
            if self._unsent:
                self._flush()
            while self.alive and self._receive(socket.MSG_DONTWAIT) == _RECV_BYTES:
                if len(self._ready) >= MAX_IN_FLIGHT:
                    break
        answers = list(self._ready)
        self._ready.clear()
        if not answers and not self.alive:
            raise unreachable(self.path, self._why)
        return answers

    # -- inside ------------------------------------------------------------------------------------------------

    def _reset(self) -> None:
        self._splitter = LineSplitter()
        self._waiting: set[int] = set()
        self._ready: deque[wire.Answer] = deque()
        self._unsent = bytearray()
        self._why = "not connected"

    def _live(self) -> socket.socket:
        if self._sock is None or not self.alive:
            raise unreachable(self.path, self._why)
        return self._sock

    def _ended(self, why: str) -> None:
        self.alive = False
        self._why = why

    def _push(self, sock: socket.socket, line: bytes) -> None:
        try:
            taken = sock.send(line, _SEND_FLAGS)
        except BlockingIOError:
            taken = 0
        except OSError as error:
            self._ended(f"sending failed ({error.strerror})")
            raise unreachable(self.path, self._why) from None
        if taken < len(line):
            self._unsent += line[taken:]

    def _flush(self) -> None:
        waiting, self._unsent = bytes(self._unsent), bytearray()
        self._push(self._live(), waiting)

    def _flush_until(self, deadline_s: float) -> None:
        while self._unsent:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return  # the answer cannot come either: `ask` gives up on its own clock
            select.select([], [self._live()], [], left_s)
            self._flush()

    def _receive(self, flags: int) -> int:
        """One read; returns its size, 0 when nothing came. An end of the connection is noted, not raised."""
        sock = self._live()
        try:
            data = sock.recv(_RECV_BYTES, flags)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._ended(f"reading failed ({error.strerror})")
            return 0
        if not data:
            self._ended("it closed the connection")
            return 0
        for line in self._splitter.feed(data):
            self._take(line)
        return len(data)

    def _take(self, line: bytes | TooLong) -> None:
        if isinstance(line, TooLong):
            self._ended(f"it sent a line of over {line.seen} bytes")
            return
        try:
            answer = wire.decode_answer(line)
        except msgspec.MsgspecError as error:
            self._ended(f"it sent what is no answer ({error})")
            return
        if answer.id in self._waiting:
            self._waiting.discard(answer.id)
            self._ready.append(answer)
        else:
            self.late += 1

    def _holds(self, request_id: int) -> bool:
        return any(answer.id == request_id for answer in self._ready)

    def _answer_to(self, request_id: int) -> wire.Answer | None:
        """The awaited answer if it is there. Others stay for `collect`."""
        for index, answer in enumerate(self._ready):
            if answer.id == request_id:
                del self._ready[index]
                return answer
        if not self.alive:
            self._waiting.discard(request_id)
            raise unreachable(self.path, self._why)
        return None

    def _wait_readable(self, request_id: int, deadline_s: float) -> None:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0 or not select.select([self._live()], [], [], left_s)[0]:
            self._give_up(request_id)

    def _give_up(self, request_id: int) -> None:
        self._waiting.discard(request_id)
        raise unreachable(self.path, "it did not answer in time; the outcome is unknown")


def _timeval(seconds: float) -> bytes:
    whole = int(seconds)
    return struct.pack("ll", whole, int((seconds - whole) * 1_000_000))
