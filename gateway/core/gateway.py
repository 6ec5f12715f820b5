"""The one door into the core: `Gateway.step(now, input) -> effects`.

The root routes inputs to parts, delivers the signals they give each other within the same step, passes every request
to the exchange through the rate governor, and answers what belongs to no part. It holds no market, order or account
state of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from gateway.core import lines
from gateway.core.assembly import Parts, RootSettings
from gateway.core.effects import Answer, Dirty, Disconnect, Effect, Exit, ReadEvents, Ready, Report, Send, Write
from gateway.core.health import Health
from gateway.core.inputs import (
    ClientClosed,
    ClientLine,
    ClientOpened,
    Frame,
    Input,
    JournalBack,
    JournalFailed,
    Key,
    Now,
    RestFailed,
    RestReply,
    Shutdown,
    StoreState,
    StreamAlive,
    StreamClosed,
    StreamOpened,
    Tick,
)
from gateway.core.operations import Operations
from gateway.core.orders import OrderRequest
from gateway.core.parts import Out
from gateway.core.rows import IntentRow, KvRow, Restored
from gateway.core.signals import (
    BrainBack,
    BrainLost,
    CatalogDoubt,
    ClockSuspect,
    Filled,
    Holdback,
    KeyDoubt,
    LimitsRead,
    OrdersRead,
    PrivateDown,
    PrivateUp,
    ReadyChanged,
    ReconcileWanted,
    RestrictBrain,
    UserFrames,
)
from ipc import keys, wire
from ipc.errors import IpcError

MAX_HOPS = 20_000  # of one step: more is two parts that answer each other for ever
ORDERS = "orders"
ONE_WISH_NS = 1_500_000_000  # a terminal's SIGINT and the supervisor's SIGTERM are one wish to stop

_ORDER_OPS = frozenset(
    {wire.Place, wire.Cancel, wire.CancelAll, wire.Flatten, wire.OrderQuery, wire.OrdersQuery, wire.Risk}
)


@dataclass(frozen=True, slots=True)
class _Passed:
    """A request the governor let go: it does not pass it again."""

    send: Effect


class Gateway:
    """`start` once, then `step` for every input in one order. `render` and `keys` serve the publisher."""

    def __init__(self, settings: RootSettings, parts: Parts, restored: Restored, tag: str) -> None:
        self._settings = settings
        self._parts = parts
        self._restored = restored
        self._tag = tag
        self._log = parts.log
        self._answered = parts.sessions.answered
        self._pong = parts.sessions.pong
        self._saw_intent = parts.sessions.brains.saw_intent
        self._governor = parts.governor
        self._gateway_key = keys.gateway(settings.account)
        self.health = Health(settings, parts)
        self._operations = Operations(parts, self.health)
        self._was_ready = False
        self._stopping: str | None = None
        self._stop_at_boot_ns = 0
        self._exited = False
        market, account, orders, links = parts.market, parts.account, parts.orders, parts.links
        self._listeners: dict[type, tuple[Callable[[Now, Any], Out], ...]] = {
            PrivateUp: (account.on_signal, orders.on_signal),
            PrivateDown: (account.on_signal, orders.on_signal),
            Filled: (account.on_signal,),
            ReadyChanged: (orders.on_signal, self._on_ready),
            ReconcileWanted: (account.on_signal,),
            Holdback: (orders.on_signal,),
            BrainLost: (orders.on_signal,),
            BrainBack: (orders.on_signal,),
            RestrictBrain: (orders.on_signal,),
            OrdersRead: (orders.on_signal,),
            ClockSuspect: (links.on_signal,),
            KeyDoubt: (links.on_signal,),
            CatalogDoubt: (market.on_signal,),
            LimitsRead: (self._on_limits,),
            UserFrames: (self._on_user_frames,),
        }
        self._routes: dict[type, Callable[[Now, Any], Out]] = {
            Tick: self._on_tick,
            Frame: self._on_frame,
            ClientLine: self._on_line,
            RestReply: self._on_rest,
            RestFailed: self._on_rest,
            StreamOpened: self._on_stream,
            StreamClosed: self._on_stream,
            StreamAlive: self._on_stream,
            ClientOpened: parts.sessions.opened,
            ClientClosed: parts.sessions.closed,
            StoreState: self._on_store,
            JournalFailed: self._on_journal_failed,
            JournalBack: self._on_journal_back,
            Shutdown: self._on_shutdown,
        }
        self._replies: dict[str, Callable[[Now, RestReply | RestFailed], Out]] = {
            "market": market.on_rest,
            "links": links.on_rest,
            ORDERS: orders.on_reply,
            "account": account.on_rest,
        }

    # -- life ----------------------------------------------------------------------------------------------------

    def start(self, now: Now) -> list[Effect]:
        parts, settings = self._parts, self._settings
        data = {
            "epoch": parts.heads.epoch,
            "version": settings.version,
            "environment": settings.environment,
            "pid": settings.pid,
        }
        out: Out = [Write(KvRow("install", self._tag.encode())), self._log.add(now, "gateway.started", data)]
        out += parts.account.start(now, self._restored)
        out += parts.orders.start(now, self._restored)
        out += parts.sessions.start(now)
        out += parts.links.start(now)
        out += parts.market.start(now)
        out += parts.market.subscribe(now, settings.symbols, settings.intervals)
        for brain in parts.sessions.brains.all():
            if brain.standing != "settled":  # its position is followed, though it may not have said hello yet
                out += parts.market.subscribe(now, brain.symbols, ())
                out += parts.account.add_symbols(now, brain.symbols)
        return self._settle(now, out)

    def step(self, now: Now, item: Input) -> list[Effect]:
        if type(item) is ClientLine and (pong := self._pong(now, item)) is not None:
            return [pong]
        first = self._routes[type(item)](now, item)
        if len(first) == 1 and type(first[0]) is Answer:  # a ping, a query: nothing to deliver
            self._answered(now, first[0].client)
            return first  # type: ignore[return-value]
        return self._settle(now, first)

    def next_deadline_boot_ns(self) -> int | None:
        parts = self._parts
        dues = (
            parts.market.next_deadline_boot_ns(),
            parts.links.next_deadline_boot_ns(),
            parts.orders.next_deadline_boot_ns(),
            parts.account.next_deadline_boot_ns(),
            parts.governor.next_deadline_boot_ns(),
        )
        return min((due for due in dues if due is not None), default=None)

    # -- one step ------------------------------------------------------------------------------------------------

    def _settle(self, now: Now, first: Out) -> list[Effect]:
        """Signals delivered where they stand, requests through the governor; what is left are effects, in order."""
        effects: list[Effect] = []
        queue: deque[Any] = deque(first)
        hops = 0
        while queue:
            item = queue.popleft()
            kind = type(item)
            if kind is Write or kind is Dirty:  # most of them, and the end of their way
                effects.append(item)
                if kind is Write and type(item.row) is IntentRow:
                    self._saw_intent(item.row)
                continue
            hops += 1
            if hops > MAX_HOPS:
                raise RuntimeError(f"more than {MAX_HOPS} effects and signals in one step; the last is {kind.__name__}")
            if kind is _Passed:
                effects.append(item.send)
                continue
            if kind is Send:
                more = self._granted(now, self._governor.admit(now, item), effects)
                if self._governor.refused:
                    more += self._turned_away(now)
            elif (listeners := self._listeners.get(kind)) is not None:
                more = [effect for listener in listeners for effect in listener(now, item)]
            else:
                if kind is Answer or kind is ReadEvents:
                    self._answered(now, item.client)
                effects.append(item)
                continue
            queue.extendleft(reversed(more))
        return effects

    def _granted(self, now: Now, sends: list[Send], effects: list[Effect]) -> Out:
        """What may leave now. An order's ticket becomes the real request here, journalled with what it changes."""
        more: Out = []
        for send in sends:
            if send.key[0] == ORDERS:
                real, out = self._parts.orders.on_granted(now, send)
                more += out
                if real is not None:
                    effects.append(real)
            else:
                effects.append(send)
        return more

    def _turned_away(self, now: Now) -> Out:
        out: Out = []
        for send in self._parts.governor.take_refused():
            out += self._reply(now, RestFailed(send.key, False, f"the queue of lane {send.lane} is full"))
        return out

    # -- inputs --------------------------------------------------------------------------------------------------

    def _on_tick(self, now: Now, _tick: Tick) -> Out:
        parts = self._parts
        out = parts.sessions.on_tick(now)
        parts.orders.hear_lost(parts.sessions.heard_by_boot_ns)  # before any timer that fell into a stall of ours
        out += parts.orders.on_tick(now)
        out += parts.account.on_tick(now)
        out += parts.links.on_tick(now)
        out += parts.market.on_tick(now)
        out += self._release(now)
        if self._stopping is not None and not self._exited:
            out += self._try_exit(now)
        return out

    def _release(self, now: Now) -> Out:
        """What waited in the governor and may leave now: as effects that do not pass it again."""
        effects: list[Effect] = []
        more = self._granted(now, self._parts.governor.release(now), effects)
        return [*more, *(_Passed(effect) for effect in effects)] if effects else more  # type: ignore[list-item]

    def _on_frame(self, now: Now, frame: Frame) -> Out:
        if not frame.conn.startswith("private"):
            return self._parts.market.on_frame(now, frame)
        out = self._parts.links.saw_frame(now, frame.conn, "user")
        for one in self._parts.links.user_frames(now, frame):
            out += self._on_user_frame(now, one)
        return out

    def _on_user_frame(self, now: Now, frame: Frame) -> Out:
        orders, out = self._parts.account.on_frame(now, frame)
        for order in orders:
            out += self._parts.orders.on_venue_order(now, order)
        return out

    def _on_user_frames(self, now: Now, signal: UserFrames) -> Out:
        return [effect for frame in signal.frames for effect in self._on_user_frame(now, frame)]

    def _on_stream(self, now: Now, item: StreamOpened | StreamClosed | StreamAlive) -> Out:
        out = self._parts.links.on_stream(now, item)
        if type(item) is not StreamAlive:
            out.append(Dirty((self._gateway_key,)))
        return out

    def _on_rest(self, now: Now, reply: RestReply | RestFailed) -> Out:
        out: Out = []
        if type(reply) is RestReply:
            governor = self._parts.governor
            governor.on_headers(now, reply.headers)
            silent = governor.on_limit(now, reply.status, reply.headers, reply.body)
            if silent is not None:
                fields = {"what": silent, "status": reply.status, "request": _name(reply.key)}
                out.append(Report("warning", "the exchange limits us", fields))
        out += self._reply(now, reply)
        return out + self._release(now)

    def _reply(self, now: Now, reply: RestReply | RestFailed) -> Out:
        return self._replies[str(reply.key[0])](now, reply)

    def _on_store(self, now: Now, item: StoreState) -> Out:
        """Orders and answers go on without Redis: nothing of them waits for it."""
        self.health.store_up = item.up
        out: Out = []
        if item.stream_seq is not None:
            data = {"stream_seq": item.stream_seq, "journal_seq": self._log.last}
            self._log.skip_to(item.stream_seq + 1)
            out.append(self._log.add(now, "journal.gap", data))
        level = "info" if item.up else "warning"
        what = "Redis is connected" if item.up else "Redis is gone; orders go on"
        return [*out, Report(level, what, {"reason": item.reason}), Dirty((self._gateway_key,))]  # type: ignore[arg-type]

    def _on_journal_failed(self, now: Now, item: JournalFailed) -> Out:
        return self._parts.orders.on_journal_failed(now, item.reason)

    def _on_journal_back(self, now: Now, item: JournalBack) -> Out:
        """What was held back is written. A new start reads it all and reconciles: simpler to prove than going on."""
        return [Exit(1, "the journal takes rows again; starting anew from it")]

    # -- signals for the root ------------------------------------------------------------------------------------

    def _on_ready(self, now: Now, signal: ReadyChanged) -> Out:
        out: Out = [Dirty((self._gateway_key,))]
        if signal.ready and not self._was_ready:
            self._was_ready = True
            out.append(Ready())
        return out

    def _on_limits(self, now: Now, signal: LimitsRead) -> Out:
        self._parts.governor.set_limits(signal.limits)
        return self._release(now)

    # -- stopping ------------------------------------------------------------------------------------------------

    def _on_shutdown(self, now: Now, item: Shutdown) -> Out:
        if self._stopping is not None:
            asked_ns = self._stop_at_boot_ns - self._settings.stop_within_ms * 1_000_000
            if now.boot_ns - asked_ns < ONE_WISH_NS:
                return []
            return [Exit(1, f"asked twice to stop ({item.reason})")]
        self._stopping = item.reason
        self.health.stopping = True
        self._stop_at_boot_ns = now.boot_ns + self._settings.stop_within_ms * 1_000_000
        out: Out = [self._log.add(now, "gateway.stopping", {"reason": item.reason})]
        return out + self._parts.orders.shutdown(now)

    def _try_exit(self, now: Now) -> Out:
        drained = self._parts.orders.drained()
        if not drained and now.boot_ns < self._stop_at_boot_ns:
            return []
        self._exited = True
        if drained:
            return [*self._parts.links.shutdown(now), Exit(0, str(self._stopping))]
        text = f"{self._stopping}; not everything was settled within {self._settings.stop_within_ms} ms"
        return [*self._parts.links.shutdown(now), Exit(1, text)]

    # -- the socket ----------------------------------------------------------------------------------------------

    def _on_line(self, now: Now, item: ClientLine) -> Out:
        out: Out = []
        found = self._parts.sessions.request_of(now, item, out)
        if found is None:
            return out
        caller, request = found
        if type(request) in _ORDER_OPS:
            return out + self._parts.orders.handle(now, caller, cast(OrderRequest, request))
        try:
            return out + self._operations.serve(now, caller, request)
        except IpcError as error:
            return [*out, Answer(caller.client, lines.error_line(request.id, error, as_of=self._log.last))]

    # -- slices --------------------------------------------------------------------------------------------------

    def begin_write(self) -> int:
        """Before the slices of one atomic write are rendered: they share its sequence."""
        return self._parts.heads.next_write()

    def keys(self) -> tuple[str, ...]:
        return (*self._parts.market.keys(), *self._parts.account.keys(), self._gateway_key)

    def symbols(self) -> tuple[str, ...]:
        return self._parts.market.symbols()

    def silent(self, now: Now) -> bool:
        """Whether the exchange wants nothing from us for now, the shell's own pings included."""
        return self._parts.governor.silent(now)

    def render(self, now: Now, key: str) -> bytes | None:
        """None where there is nothing to show yet."""
        if key == self._gateway_key:
            return msgspec.json.encode(self.health.slice(now))
        raw = self._parts.market.render(now, key)
        return raw if raw is not None else self._parts.account.render(now, key)

    def doubt_connection(self, now: Now, conn: str, reason: str) -> list[Effect]:
        """A fault of ours while a frame of this connection was handled: what it fed is rebuilt from nothing."""
        return self._settle(now, [Disconnect(conn, reason)])


def _name(key: Key) -> str:
    return "/".join(str(part) for part in key[:3])
