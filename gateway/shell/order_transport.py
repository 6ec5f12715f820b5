"""Orders and cancels to the exchange: warm kept-alive connections, one request in flight on each.

`send` writes at once where a connection is free, so the request leaves within the call. Truth of failures: a request
counts as sent from the moment its bytes are handed to the kernel's side of the loop; `RestFailed(sent=False)` is said
only where that never happened. Nothing is ever sent twice.

Bounds: at most `most` connections (`warm` of them always kept open, idle ones proven by a ping of weight 1 every 20 s,
so that no handshake falls on an order; none while the exchange wants silence); at most 256 requests wait for a free
one, entries 100 ms, all others 2 s by CLOCK_BOOTTIME; what lies beyond fails unsent.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections import deque
from collections.abc import Callable
from urllib.parse import urlsplit

from gateway.core.effects import Send
from gateway.core.inputs import RestFailed, RestReply
from gateway.shell import alarm
from gateway.shell.dial import Dial, Dialler, explain
from gateway.shell.http_lane import Lane
from gateway.venues.adapter import RequestSigner
from ipc.clock import boot_ns

WAITING = 256
ENTRY_WAIT_NS = 100_000_000
OTHER_WAIT_NS = 2_000_000_000
IDLE_PING_S = 20.0
CONNECT_TIMEOUT_S = 5.0
PING_TIMEOUT_S = 5.0
PING_PAUSE_NS = 120_000_000_000  # after a ping was refused: the shortest ban
BACKOFF_S = (0.05, 5.0)


class OrderTransport:
    """`deliver` gets exactly one RestReply or RestFailed for each `send`, on the loop, never inside the call."""

    def __init__(
        self,
        base_url: str,
        signer: RequestSigner,
        deliver: Callable[[RestReply | RestFailed], None],
        ping_path: str,
        *,
        ssl_context: ssl.SSLContext | None = None,
        dial: Dial | None = None,
        warm: int = 2,
        most: int = 8,
        silent: Callable[[], bool] = lambda: False,
    ) -> None:
        """`dial` makes the TCP connection, a proxy's handshake included.

        `silent`: whether the exchange told us to send nothing for now (a ban grows with every request)."""
        parts = urlsplit(base_url)
        self._host = parts.hostname or ""
        self._ssl = (ssl_context or ssl.create_default_context()) if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._ssl else 80)
        self._dial = dial or Dialler(timeout_s=CONNECT_TIMEOUT_S)
        self._signer = signer
        self._deliver = deliver
        self._silent = silent
        self._no_ping_until_ns = 0
        self._warm = warm
        self._most = most
        common = f" HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\nUser-Agent: brainstem\r\nAccept: */*\r\n"
        self._plain_tail = common.encode()
        self._key_tail = f"{common}{': '.join(signer.key_header)}\r\n".encode()
        self._ping = b"GET " + ping_path.encode() + self._plain_tail + b"\r\n"
        self._lanes: dict[Lane, _Flight | None] = {}
        self._free: deque[Lane] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._urgent: deque[tuple[Send, int]] = deque()
        self._entries: deque[tuple[Send, int]] = deque()
        self._failures = 0
        self._closing = False
        self._sweeper: asyncio.TimerHandle | None = None
        self._beat: alarm.Handle | None = None
        self.last_connect_error = ""

    def start(self) -> None:
        """Opens the warm connections in the background."""
        self._refill()
        self._beat = alarm.call_later(IDLE_PING_S / 2, self._keep_warm)

    async def close(self) -> None:
        """What is unanswered is told as failed."""
        self._closing = True
        for timer in (self._sweeper, self._beat):
            if timer is not None:
                timer.cancel()
        for task in list(self._opening):
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for lane in list(self._lanes):
            lane.end("the gateway is stopping")
        for waiting in (self._urgent, self._entries):
            while waiting:
                self._later(RestFailed(waiting.popleft()[0].key, False, "the gateway is stopping"))
        await asyncio.sleep(0)

    def status(self) -> dict[str, int]:
        return {
            "open": len(self._lanes),
            "free": len(self._free),
            "waiting": len(self._urgent) + len(self._entries),
            "connect_failures": self._failures,
        }

    # -- sending -------------------------------------------------------------------------------------------------

    def send(self, send: Send) -> bool:
        """True where the bytes were handed over within this call."""
        if self._too_late(send):
            return False
        lane = self._free_lane()
        if lane is not None:
            self._write(lane, send)
            return True
        waiting = self._entries if send.lane == "entry" else self._urgent
        if self._closing or len(self._urgent) + len(self._entries) >= WAITING:
            reason = "the gateway is stopping" if self._closing else f"{WAITING} requests wait for a connection"
            self._later(RestFailed(send.key, False, reason))
            return False
        waiting.append((send, boot_ns()))
        self._open_another()
        self._arm_sweep()
        return False

    def request_bytes(self, send: Send) -> bytes:
        """The whole request. Signed over exactly the query that is sent; everything goes in the query string."""
        query = self._signer.query(send.params) if send.security == "signed" else self._signer.plain(send.params)
        target = f"{send.method} {send.path}?{query}" if query else f"{send.method} {send.path}"
        tail = self._plain_tail if send.security == "none" else self._key_tail
        end = b"\r\n" if send.method == "GET" else b"Content-Length: 0\r\n\r\n"
        return target.encode("ascii") + tail + end

    def _write(self, lane: Lane, send: Send) -> None:
        try:
            request = self.request_bytes(send)
        except ValueError as error:  # an empty value: nothing left, and the lane stays free
            self._free.append(lane)
            self._later(RestFailed(send.key, False, str(error)))
            return
        loop = asyncio.get_running_loop()
        flight = self._lanes[lane] = _Flight(send, None)
        lane.write(request)  # first of all: what follows may happen while the bytes are on their way
        flight.timer = loop.call_later(send.timeout_ms / 1000, self._timed_out, lane, send.timeout_ms)
        lane.used_boot_ns = boot_ns()

    def _free_lane(self) -> Lane | None:
        while self._free:
            lane = self._free.popleft()
            if lane.open and not lane.busy:
                return lane
        return None

    def _timed_out(self, lane: Lane, timeout_ms: int) -> None:
        lane.end(f"no answer within {timeout_ms} ms")

    # -- the pool ------------------------------------------------------------------------------------------------

    def lane_ready(self, lane: Lane) -> None:
        self._failures = 0
        self._lanes[lane] = None
        lane.used_boot_ns = boot_ns()
        self._serve(lane)

    def lane_answered(self, lane: Lane, status: int, headers: dict[str, str], body: bytes) -> None:
        flight = self._lanes.get(lane)
        self._lanes[lane] = None
        if lane.open:
            self._serve(lane)
        if flight is None:
            return
        flight.stop()
        if flight.send is not None:
            self._deliver(RestReply(flight.send.key, status, headers, body))
        elif status >= 400:  # limits, a ban, a wall before the exchange: not made worse by us
            self._no_ping_until_ns = boot_ns() + PING_PAUSE_NS

    def lane_lost(self, lane: Lane, reason: str) -> None:
        flight = self._lanes.pop(lane, None)
        if not self._closing:
            self._refill()
        if flight is not None:
            flight.stop()
            if flight.send is not None:
                self._later(RestFailed(flight.send.key, True, reason))

    def _serve(self, lane: Lane) -> None:
        """Give a free connection the next request that waits: what is not an entry first."""
        self._drop_late()
        while waiting := self._urgent or self._entries:
            send, _ = waiting.popleft()
            if not self._too_late(send):
                self._write(lane, send)
                return
        self._free.append(lane)

    def _too_late(self, send: Send) -> bool:
        """The process may have been stopped at any instruction since the core let it go."""
        if send.leave_by_boot_ns is None or boot_ns() <= send.leave_by_boot_ns:
            return False
        self._later(RestFailed(send.key, False, "its deadline passed before it could leave"))
        return True

    def _drop_late(self) -> None:
        now_ns = boot_ns()
        for waiting, limit_ns in ((self._urgent, OTHER_WAIT_NS), (self._entries, ENTRY_WAIT_NS)):
            while waiting and now_ns - waiting[0][1] > limit_ns:
                send, _ = waiting.popleft()
                reason = f"no free connection within {limit_ns // 1_000_000} ms {self.last_connect_error}".rstrip()
                self._later(RestFailed(send.key, False, reason))

    def _arm_sweep(self) -> None:
        if self._sweeper is None and (self._urgent or self._entries) and not self._closing:
            self._sweeper = asyncio.get_running_loop().call_later(0.05, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        self._drop_late()
        self._arm_sweep()

    def _refill(self) -> None:
        while len(self._lanes) + len(self._opening) < self._warm:
            self._spawn()

    def _open_another(self) -> None:
        if len(self._lanes) + len(self._opening) < self._most and len(self._opening) < len(self._urgent) + len(
            self._entries
        ):
            self._spawn()

    def _spawn(self) -> None:
        task = asyncio.get_running_loop().create_task(self._open())
        self._opening.add(task)
        task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        if not self._closing:
            self._refill()

    async def _open(self) -> None:
        if self._failures:
            low, high = BACKOFF_S
            await asyncio.sleep(min(high, low * 2 ** min(self._failures, 10)) * random.uniform(0.5, 1.0))
        try:
            await asyncio.wait_for(self._connect(), CONNECT_TIMEOUT_S)
            self.last_connect_error = ""
        except (OSError, TimeoutError) as error:  # ssl errors are OSErrors
            self._failures += 1
            self.last_connect_error = f"({explain(error, self._host)})"

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        name = self._host if self._ssl is not None else None
        made = await self._dial(self._host, self._port)
        await loop.create_connection(lambda: Lane(self), sock=made, ssl=self._ssl, server_hostname=name)

    def _keep_warm(self) -> None:
        """Idle connections are used, so that a dead one is found before an order needs it."""
        limit_ns = boot_ns() - int(IDLE_PING_S * 1e9)
        loop = asyncio.get_running_loop()
        quiet = self._silent() or boot_ns() < self._no_ping_until_ns
        for lane in [] if quiet else [lane for lane in self._free if lane.open and lane.used_boot_ns < limit_ns]:
            self._free.remove(lane)
            if len(self._lanes) > self._warm:
                lane.end("more than are kept warm")
                continue
            self._lanes[lane] = _Flight(None, loop.call_later(PING_TIMEOUT_S, self._timed_out, lane, 5000))
            lane.used_boot_ns = boot_ns()
            lane.write(self._ping)
        self._beat = alarm.call_later(IDLE_PING_S / 2, self._keep_warm)

    def _later(self, failed: RestFailed) -> None:
        asyncio.get_running_loop().call_soon(self._deliver, failed)


class _Flight:
    """What is in flight on a lane; `send` None is our own ping."""

    __slots__ = ("send", "timer")

    def __init__(self, send: Send | None, timer: asyncio.TimerHandle | None) -> None:
        self.send = send
        self.timer = timer  # None until the bytes are handed over

    def stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
