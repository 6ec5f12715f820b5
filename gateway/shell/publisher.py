"""Slices and events into Redis (design section 2). Never blocks, never on the answer's path; the journal comes first.

Each write is one atomic command: MSET of rendered slices, or, where events go with it, one script that appends them
and sets the slices. The script refuses a second or older append before it changes anything, and then the slices are
not written either. Wake-ups follow in the same packet.

With events go the account slices of their symbols, whatever changed in them, so that `as_of` keeps up.

When: the first change at once; what follows within the window joins the next write. The window is 1 ms up to 20
symbols and widens to 100 ms at 40; an event goes at once, one within 1 ms of it with the next write. All slices are
written anew every 100 ms.
Slices that are written only on change are looked for once a second: should Redis have lost one (FLUSHALL, an eviction,
somebody's DEL), all of them are written with the next full write.

While `IN_FLIGHT` writes are unanswered nothing more is written: changes wait as dirty names, which take no room;
events beyond `PENDING_EVENTS` end the connection, and are read from the journal for the next one.

Nothing reconnects silently: `redis_store` makes connections, brings the stream up to the journal, then calls `begin`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import hiredis

from gateway.shell import alarm
from gateway.shell.journal import Recorded
from gateway.shell.redis_link import Done, RedisLink
from ipc import keys
from ipc.clock import boot_ns
from ipc.events import stream_id

# KEYS[1] the stream, KEYS[2..] slices. ARGV[1] how many events, ARGV[2] the stream's bound, ARGV[3] the id the stream
# must end with ("": any); id and event of each; then a value a slice. Where one append was refused (no memory, a script
# unknown after SCRIPT FLUSH), those sent behind it must be too: an event left out could never be appended later. XADD
# refuses an id that is not above the last: only the first can fail, before any change.
APPEND = b"""
local n = tonumber(ARGV[1])
if ARGV[3] ~= '' then
  local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' and info[i + 1] ~= ARGV[3] then
      return redis.error_reply('REFUSED the stream ends with ' .. info[i + 1] .. ', not with ' .. ARGV[3])
    end
  end
end
for i = 1, n do
  local done = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], ARGV[2 + 2 * i], 'e', ARGV[3 + 2 * i])
  if type(done) == 'table' and done.err then return redis.error_reply('REFUSED ' .. done.err) end
end
if #KEYS > 1 then
  local set = {}
  for i = 2, #KEYS do
    set[#set + 1] = KEYS[i]
    set[#set + 1] = ARGV[2 + 2 * n + i]
  end
  redis.call('MSET', unpack(set))
end
return n
"""

FULL_EVERY_NS = 100_000_000
LOOK_EVERY_NS = 1_000_000_000
IN_FLIGHT = 4
PENDING_EVENTS = 2000
EVENTS_PER_SCRIPT = 200
MAX_STREAM = 10_000
MAX_KEYS = 3000  # of one script: Lua's unpack holds some 8000 values


def _pack(*words: Any) -> bytes:
    packed: bytes = hiredis.pack_command(words)
    return packed


_MARKER = _pack("ECHO", b"")

Render = Callable[[str], bytes | None]


def window_ns(symbols: int) -> int:
    """How long market slices coalesce: 1 ms up to 20 symbols, then 5 ms more a symbol, at most 100 ms."""
    return 1_000_000 if symbols <= 20 else min(100_000_000, 1_000_000 + (symbols - 20) * 5_000_000)


class Publisher:
    """`dirty` and `event` collect; `flush` (called once at the end of each step) writes what is due.

    `begin_write` raises the sequence of slice heads; `render` gives a slice's bytes; `all_keys` what exists.
    `refused` ends the connection; `observe` gets the latency of both hops when Redis has confirmed.
    """

    def __init__(
        self,
        account: str,
        *,
        begin_write: Callable[[], object],
        render: Render,
        all_keys: Callable[[], Sequence[str]],
        refused: Callable[[str], None],
        observe: Callable[[str, float], None],
    ) -> None:
        self._account = account
        self._stream = keys.events(account)
        self._prefix = f"bs:{account}:"
        self._begin_write = begin_write
        self._render = render
        self._all_keys = all_keys
        self._refused = refused
        self._observe = observe
        self._link: RedisLink | None = None
        self._sha = b""
        self._dirty: dict[str, int] = {}
        self._events: list[Recorded] = []
        self._first_event_boot_ns = 0
        self._last_write_ns = 0
        self._last_append_ns = 0
        self._unanswered = 0
        self._packet: list[tuple[bytes, Done | None]] = []
        self._last_full_ns = 0
        self._last_look_ns = 0
        self._kept: set[str] = set()  # written only on change: what Redis must have
        self._missing = False
        self._window_ns = window_ns(0)
        self._timer: alarm.Handle | None = None
        self._timer_at_ns = 0
        self.writes = 0
        self.skipped = 0

    @property
    def up(self) -> bool:
        return self._link is not None

    @property
    def full_boot_ns(self) -> int | None:
        """When all slices were last written on this connection (0: not yet); None without one."""
        return None if self._link is None else self._last_full_ns

    def set_symbols(self, count: int) -> None:
        self._window_ns = window_ns(count)

    def begin(self, link: RedisLink, sha: bytes) -> None:
        """The stream is level with the journal on this connection: go on from here, all slices first."""
        self._link = link
        self._sha = sha
        self._last_full_ns = 0
        self.flush()

    def stop(self) -> None:
        """The connection is gone. Events from here on are read from the journal by whoever brings the next one."""
        self._link = None
        self._unanswered = 0
        self._events.clear()
        self._dirty.clear()
        self._kept.clear()
        self._missing = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- collecting ----------------------------------------------------------------------------------------------

    def dirty(self, names: Sequence[str], cause_boot_ns: int) -> None:
        """`cause_boot_ns` is when what changed them was received: the start of the hop `frame_to_slice`."""
        if self._link is None:
            return
        for name in names:
            self._dirty.setdefault(name, cause_boot_ns)

    def event(self, recorded: Sequence[Recorded], cause_boot_ns: int) -> None:
        if self._link is None or not recorded:
            return
        if len(self._events) + len(recorded) > PENDING_EVENTS:
            self._refused("more events than are held; they follow from the journal")
            return
        if not self._events:
            self._first_event_boot_ns = cause_boot_ns
        self._events += recorded

    # -- writing -------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what is due now, or set the timer for when it will be."""
        if self._link is None or (self._timer is not None and not self._dirty and not self._events):
            return
        now_ns = boot_ns()
        due_ns = self._due_ns()
        if now_ns < due_ns:
            self._arm(due_ns, now_ns)
            return
        if self._unanswered >= IN_FLIGHT:
            self.skipped += 1
            self._arm(now_ns + 1_000_000, now_ns)
            return
        full = now_ns - self._last_full_ns >= FULL_EVERY_NS
        self._write(now_ns, full)
        self._arm(self._due_ns(), now_ns)

    def drain(self) -> bool:
        """At the end: write everything left; True while something is unanswered."""
        if self._link is None:
            return False
        if self._events or self._dirty:
            self._write(boot_ns(), full=True)
        return self._link.waiting > 0

    def _due_ns(self) -> int:
        due_ns = self._last_full_ns + FULL_EVERY_NS
        if self._events:
            due_ns = min(due_ns, self._last_append_ns + 1_000_000)
        elif self._dirty:
            due_ns = min(due_ns, self._last_write_ns + self._window_ns)
        return due_ns

    def _arm(self, due_ns: int, now_ns: int) -> None:
        if self._timer is not None:
            if self._timer_at_ns <= due_ns:
                return
            self._timer.cancel()
        self._timer_at_ns = due_ns
        # below 1 ms the loop's timer returns at once, again and again
        self._timer = alarm.call_later(max(0.001, (due_ns - now_ns) / 1e9), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.flush()

    def _write(self, now_ns: int, full: bool) -> None:
        assert self._link is not None
        self._begin_write()
        causes, self._dirty = self._dirty, {}
        names = list(causes)
        if self._events and not full:
            names += [name for name in self._account_slices(self._events) if name not in causes]
        everything = full and (self._missing or self._last_full_ns == 0)
        if full:
            names += [name for name in self._all_keys() if name not in causes and (everything or not _on_change(name))]
            self._last_full_ns = now_ns
        self._last_write_ns = now_ns
        if self._events:
            self._last_append_ns = now_ns
        values = [(name, value) for name in names if (value := self._render(name)) is not None]
        if causes or everything:
            self._kept.update(name for name, _ in values if _on_change(name))
        events, self._events = self._events, []
        self._send(values, events)
        if full:
            self._look(now_ns, everything)
        self._wake(values, events)
        self.writes += 1
        if causes or events:
            since_ns = min(causes.values(), default=0)
            self._confirm(since_ns, self._first_event_boot_ns if events else 0)
        packet, self._packet = self._packet, []
        if packet:
            self._link.write_all(packet)

    def _look(self, now_ns: int, everything: bool) -> None:
        """Behind a full write, once a second: does Redis have every slice that is written only on change?"""
        if everything:
            self._missing = False
        elif self._kept and now_ns - self._last_look_ns >= LOOK_EVERY_NS:
            self._last_look_ns = now_ns
            link, wanted = self._link, len(self._kept)

            def counted(reply: object) -> None:
                if self._link is link and isinstance(reply, int) and reply < wanted:
                    self._missing = True

            self._packet.append((_pack("EXISTS", *self._kept), counted))

    def _account_slices(self, events: Sequence[Recorded]) -> list[str]:
        """Slices that must include these events at once: a brain decides nothing before its symbol's account slices
        have reached the last event of its symbol. An event of no symbol concerns them all."""
        symbols = {event.symbol for event in events}
        start = len(self._prefix)
        return [
            name
            for name in self._all_keys()
            if _of_account(name, start) and (None in symbols or name[start:].partition(":")[0] in symbols)
        ]

    def _send(self, values: list[tuple[str, bytes]], events: list[Recorded]) -> None:
        if not events:
            if values:
                flat: list[Any] = ["MSET"]
                for pair in values:
                    flat += pair
                self._add(_pack(*flat))
            return
        while len(events) > EVENTS_PER_SCRIPT:
            self._append(events[:EVENTS_PER_SCRIPT], [])
            events = events[EVENTS_PER_SCRIPT:]
        self._append(events, values[:MAX_KEYS])
        if len(values) > MAX_KEYS:
            self._send(values[MAX_KEYS:], [])

    def _append(self, events: Sequence[Recorded], values: Sequence[tuple[str, bytes]]) -> None:
        self._add(append_command(self._sha, self._stream, events, values, events[0].seq - 1))

    def _add(self, packed: bytes) -> None:
        self._unanswered += 1
        self._packet.append((packed, self._answered))

    def _wake(self, values: Sequence[tuple[str, bytes]], events: Sequence[Recorded]) -> None:
        symbols = {event.symbol for event in events if event.symbol}
        start = len(self._prefix)
        for name, _ in values:
            symbol, colon, _rest = name[start:].partition(":")
            if colon:
                symbols.add(symbol)
        for symbol in symbols:
            self._packet.append((_pack("PUBLISH", keys.wake(self._account, symbol), b"1"), None))

    def _confirm(self, frame_boot_ns: int, event_boot_ns: int) -> None:
        """A cheap marker behind the write: when its reply comes, Redis has what went before."""

        def done(reply: object) -> None:
            if isinstance(reply, Exception):
                return
            now_ns = boot_ns()
            if frame_boot_ns:
                self._observe("frame_to_slice", (now_ns - frame_boot_ns) / 1000)
            if event_boot_ns:
                self._observe("event_to_stream", (now_ns - event_boot_ns) / 1000)

        self._packet.append((_MARKER, done))

    def _answered(self, reply: object) -> None:
        self._unanswered = max(0, self._unanswered - 1)  # answers of a connection that ended come late
        if isinstance(reply, hiredis.ReplyError):
            self._refused(str(reply))


def append_command(
    sha: bytes, stream: str, events: Sequence[Recorded], values: Sequence[tuple[str, bytes]], after: int | None
) -> bytes:
    """EVALSHA of `APPEND` for these events and slices. `after`: the sequence the stream must end with; None: any."""
    args: list[Any] = ["EVALSHA", sha, 1 + len(values), stream]
    args += [name for name, _ in values]
    args += [len(events), MAX_STREAM, stream_id(after) if after else ""]
    for event in events:
        args += (stream_id(event.seq), event.raw)
    args += [value for _, value in values]
    return _pack(*args)


def _of_account(name: str, start: int) -> bool:
    """Position, orders and ledgers of a symbol: slices that carry `as_of`. The wallet's is nobody's condition."""
    kind = name[start:].partition(":")[2]
    return kind in ("position", "orders") or kind.startswith("ledger:")


def _on_change(name: str) -> bool:
    """Slices that are written only when they change (and on a new connection)."""
    return ":bars:" in name or name.endswith(":instrument")
