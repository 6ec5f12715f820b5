"""Reads what a brain decides on from Redis: new events and one consistent cut of slices, in one pipelined read.

The loop (design section 2): `wait` on the wake channel with a time-out kept here, then `read`. A lost wake-up costs
one poll interval. The connection never reconnects silently: when it fails everything is refused, and it is made anew
by itself, backing off to `_MAX_BACKOFF_S`.

Events that the bounded stream has dropped come from the journal through `history` (the gateway's `events` operation);
until they are there, everything is refused. Bounds: `MAX_EVENTS` a read, so a long absence is caught up piece by piece.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from ipc import events as ev
from ipc import keys
from ipc.cut import Cut, CutReader
from ipc.errors import IpcError
from ipc.redaction import hide_url_password
from ipc.slices import Now

POLL_S = 0.005
MAX_EVENTS = 500
_READ_TIMEOUT_S = 0.5
_FIRST_BACKOFF_S = 0.02
_MAX_BACKOFF_S = 1.0
_LAG_S = 0.2  # account slices ahead of the stream for so long: the stream lost what the journal has
_HISTORY_RETRY_S = 0.25

History = Callable[[int, int], list[ev.Event]]
"""`history(after, limit)`: events of interest with a sequence above `after`, in order, from the journal. Raises
IpcError."""


class StoreGone(Exception):
    """Redis cannot be read now; the text says why."""


class Feed:
    """`problem` is empty while Redis answers, else says what is wrong. `reconnects` counts new connections."""

    def __init__(
        self, url: str, reader: CutReader, history: History, clock: Callable[[], Now], *, wakeful: bool = True
    ) -> None:
        """`wakeful` False: no wake channel, polling only (tools)."""
        self._store = _Store(url, reader.wake_channels() if wakeful else [])
        self._reader = reader
        self._history = history
        self._clock = clock
        self._stream = keys.events(reader.account)
        self._lag_since_s: float | None = None
        self._history_not_before_s = 0.0
        self._need_as_of = 0

    @property
    def problem(self) -> str:
        return self._store.problem

    @property
    def reconnects(self) -> int:
        return self._store.reconnects

    def wait(self, timeout_s: float = POLL_S, also: Sequence[int] = ()) -> None:
        """Until a wake-up, until one of the file descriptors `also` can be read, or until the time is over."""
        self._store.wait(timeout_s, also)

    def read(self, after: int | None, need_as_of: int = 0) -> Cut:
        """Events after sequence `after` (None: none wanted yet) and the slices. Never raises for what Redis or the
        gateway does: a refused Cut says it."""
        try:
            entries, values = self._store.read(self._stream, after, self._reader.keys)
            fresh, last_seq, refused = self._complete(after, entries)
            self._reader.note_events(fresh)
            self._fetch_bars(values)
        except StoreGone as gone:
            return self._reader.refuse(self._clock(), f"redis: {gone}")
        self._note_need(fresh)
        need = max(need_as_of, self._need_as_of)
        cut = self._reader.build(
            self._clock(), values, events=fresh, last_seq=last_seq, need_as_of=need, refused=refused
        )
        if after is not None and not refused:
            cut = self._behind(after, cut, values)
        return cut

    def close(self) -> None:
        self._store.close()

    # -- inside ------------------------------------------------------------------------------------------------

    def _note_need(self, events: Sequence[ev.Event]) -> None:
        """Account slices must include the last event of their own symbol, or of none. One of another symbol is
        written without them: waiting for it would blind the brain until the next full write."""
        for event in reversed(events):
            if event.symbol is None or event.symbol in self._reader.symbols:
                self._need_as_of = max(self._need_as_of, event.seq)
                return

    def _complete(self, after: int | None, entries: list[Any]) -> tuple[list[ev.Event], int | None, str]:
        """New events without a hole, up to where, and why everything is refused if a hole cannot be filled now."""
        if after is None:
            return [], None, ""
        run = _contiguous(_decoded(entries, after), after)
        if run.hole_until is None:
            return run.events, run.last_seq, ""
        return self._fill(after, run)

    def _fill(self, after: int, run: _Run) -> tuple[list[ev.Event], int | None, str]:
        hole_until = run.hole_until or after
        try:
            found = self._ask_history(after)
        except IpcError as error:
            return [], after, f"events {after + 1} to {hole_until} left the stream and {error}"
        inside = [event for event in found if after < event.seq <= hole_until]
        if len(found) >= MAX_EVENTS and len(inside) == len(found):
            return inside, inside[-1].seq, ""
        return [*inside, *run.events], run.last_seq, ""

    def _ask_history(self, after: int) -> list[ev.Event]:
        now_s = time.monotonic()
        if now_s < self._history_not_before_s:
            raise IpcError("gateway.unreachable", "the gateway did not answer for them a moment ago; asking again soon")
        try:
            return self._history(after, MAX_EVENTS)
        except IpcError:
            self._history_not_before_s = time.monotonic() + _HISTORY_RETRY_S
            raise

    def _behind(self, after: int, cut: Cut, values: list[bytes | None]) -> Cut:
        """Account slices that stay ahead of the stream: Redis lost entries; the journal has them."""
        ahead = max((_as_of(symbol) for symbol in cut.symbols.values()), default=0)
        if ahead <= (cut.last_seq or 0):
            self._lag_since_s = None
            return cut
        now_s = time.monotonic()
        if cut.events or self._lag_since_s is None:
            self._lag_since_s = now_s
        if now_s - self._lag_since_s < _LAG_S:
            return cut
        events, last_seq, refused = self._fill(after, _Run([], ahead, ahead))
        self._lag_since_s = None
        self._reader.note_events(events)
        self._note_need(events)
        return self._reader.build(
            self._clock(), values, events=events, last_seq=last_seq, need_as_of=self._need_as_of, refused=refused
        )

    def _fetch_bars(self, values: list[bytes | None]) -> None:
        wanted = self._reader.stale_bars(values)
        if not wanted:
            return
        names = [keys.bars(self._reader.account, symbol, interval) for symbol, interval in wanted]
        _, found = self._store.read(self._stream, None, names)
        for (symbol, interval), raw in zip(wanted, found, strict=True):
            self._reader.hold_bars(symbol, interval, raw)


class _Run(msgspec.Struct):
    """Events of the stream without a hole among them. `hole_until`: what lies between is missing before them."""

    events: list[ev.Event]
    last_seq: int
    hole_until: int | None = None


def _decoded(entries: list[Any], after: int) -> list[ev.Event]:
    """In order, each once. An entry this version cannot read still has its number: it stands as `unreadable`."""
    out: list[ev.Event] = []
    last = after
    for entry_id, fields in entries:
        seq = ev.seq_of(entry_id)
        if seq <= last:
            continue
        last = seq
        try:
            out.append(ev.decode(fields[1]))
        except msgspec.MsgspecError as error:
            out.append(
                ev.Event(seq=seq, at_ns=0, subject="unreadable", source="gateway", data={"error": str(error)[:200]})
            )
    return out


def _contiguous(found: list[ev.Event], after: int) -> _Run:
    expected = after + 1
    if found and found[0].seq > expected:
        hole_until = found[0].seq - 1
        rest = _contiguous(found, hole_until)
        return _Run(rest.events, rest.last_seq, hole_until)
    out = []
    for event in found:
        if event.seq != expected:
            break
        out.append(event)
        expected += 1
    return _Run(out, expected - 1)


def _as_of(symbol: Any) -> int:
    heads = (symbol.ledger.slice, symbol.position.slice, symbol.orders.slice)
    return max((head.as_of or 0 for head in heads if head is not None), default=0)


class _Store:
    """The two connections: one reads, one listens for wake-ups."""

    def __init__(self, url: str, channels: list[str]) -> None:
        options = parse_url(url)  # type: ignore[no-untyped-call]
        self._make = options.pop("connection_class", redis.connection.Connection)
        self._options = {
            **options,
            "socket_timeout": _READ_TIMEOUT_S,
            "socket_connect_timeout": _READ_TIMEOUT_S,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
        }
        self._shown = hide_url_password(url)
        self._channels = channels
        self._reading: Any = None
        self._waking: Any = None
        self._backoff_s = _FIRST_BACKOFF_S
        self._not_before_s = 0.0
        self.problem = "not connected yet"
        self.reconnects = 0

    def read(self, stream: str, after: int | None, names: Sequence[str]) -> tuple[list[Any], list[bytes | None]]:
        connection = self._connected()
        commands: list[tuple[Any, ...]] = [("MGET", *names)]
        if after is not None:
            # first the events, then the slices: so the slices are never behind the events read with them
            commands.insert(0, ("XRANGE", stream, ev.stream_id(after + 1), "+", "COUNT", MAX_EVENTS))
        try:
            connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            entries = connection.read_response() if after is not None else []
            values = connection.read_response()
        except (redis.RedisError, OSError) as error:
            self._failed(error)
            raise StoreGone(self.problem) from None
        return entries, values

    def wait(self, timeout_s: float, also: Sequence[int]) -> None:
        sock = self._wake_socket()
        watched: list[Any] = list(also) if sock is None else [sock, *also]
        ready = select.select(watched, [], [], timeout_s)[0]
        if sock is not None and sock in ready:
            self._drain(sock)

    def close(self) -> None:
        for connection in (self._reading, self._waking):
            if connection is not None:
                with suppress(redis.RedisError, OSError):
                    connection.disconnect()
        self._reading = self._waking = None

    def _connected(self) -> Any:
        if self._reading is not None:
            return self._reading
        now_s = time.monotonic()
        if now_s < self._not_before_s:
            raise StoreGone(self.problem)
        try:
            reading = self._make(**self._options)
            reading.connect()
            waking = self._listening()
        except (redis.RedisError, OSError) as error:
            self._failed(error)
            raise StoreGone(self.problem) from None
        self._reading, self._waking = reading, waking
        self._backoff_s = _FIRST_BACKOFF_S
        self.problem = ""
        self.reconnects += 1
        return reading

    def _listening(self) -> Any:
        if not self._channels:
            return None
        waking = self._make(**self._options)
        waking.connect()
        waking.send_command("SUBSCRIBE", *self._channels, check_health=False)
        for _ in self._channels:
            waking.read_response()
        return waking

    def _failed(self, error: Exception) -> None:
        self.problem = f"{self._shown}: {error}"
        self.close()
        self._not_before_s = time.monotonic() + self._backoff_s
        self._backoff_s = min(self._backoff_s * 2, _MAX_BACKOFF_S)

    def _wake_socket(self) -> socket.socket | None:
        # redis-py has no public way to its socket; select must also watch the gateway's, so a wait inside it won't do
        sock: socket.socket | None = self._waking._sock if self._waking is not None else None
        return sock

    def _drain(self, sock: socket.socket) -> None:
        """What a wake-up says does not matter, only that it came."""
        try:
            data = sock.recv(65_536)
        except (BlockingIOError, TimeoutError):
            return
        except OSError as error:
            self._failed(error)
            return
        if not data:
            self._failed(ConnectionError("closed the connection"))
