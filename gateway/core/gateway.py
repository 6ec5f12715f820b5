"""The one door into the core: `Gateway.step(now, input) -> effects`.

The root routes inputs to parts, delivers the signals they give each other within the same step, passes every request
to the exchange through the rate governor, and answers what belongs to no part. It holds no market, order or account
state of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from gateway.core import lines
from gateway.core.account import AccountCore
from gateway.core.effects import Answer, Dirty, Disconnect, Effect, Exit, ReadEvents, Ready, Report, Send, Write
from gateway.core.eventlog import EventLog
from gateway.core.governor import Governor
from gateway.core.heads import Heads
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
from gateway.core.links import Links
from gateway.core.market import MarketCore
from gateway.core.orders import OrderCore, OrderRequest
from gateway.core.parts import Out
from gateway.core.ports import Caller
from gateway.core.rows import IntentRow, KvRow, Restored
from gateway.core.sessions import Sessions
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
)
from ipc import keys, wire
from ipc.errors import IpcError
from ipc.framing import MAX_LINE_BYTES
from ipc.slices import GatewaySlice

MAX_HOPS = 20_000  # of one step: more is two parts that answer each other for ever
ORDERS = "orders"

_ORDER_OPS = frozenset(
    {wire.Place, wire.Cancel, wire.CancelAll, wire.Flatten, wire.OrderQuery, wire.OrdersQuery, wire.Risk}
)
_NOT_SUPPORTED = (wire.Amend, wire.Batch, wire.Protect, wire.Params)


@dataclass(slots=True)
class Parts:
    """Everything the root drives, made by `gateway.core.build`."""

    heads: Heads
    log: EventLog
    links: Links
    market: MarketCore
    account: AccountCore
    orders: OrderCore
    governor: Governor
    sessions: Sessions


@dataclass(frozen=True, slots=True)
class RootSettings:
    account: str
    environment: str
    version: str
    pid: int
    symbols: tuple[str, ...] = ()
    intervals: tuple[str, ...] = ()
    stop_within_ms: int = 10_000


@dataclass(frozen=True, slots=True)
class _Passed:
    """A request the governor let go: it does not pass it again."""

    send: Effect


@dataclass(slots=True)
class Shown:
    """What the shell measures and the `gateway` slice shows; the shell puts fresh values in once a second."""

    latency_us: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)


class Gateway:
    """`start` once, then `step` for every input in one order. `render` and `keys` serve the publisher."""

    def __init__(self, settings: RootSettings, parts: Parts, restored: Restored, tag: str) -> None:
        self._settings = settings
        self._parts = parts
        self._restored = restored
        self._tag = tag
        self._log = parts.log
        self._gateway_key = keys.gateway(settings.account)
        self._store_up = False
        self._store_reason = "not connected yet"
        self._was_ready = False
        self._stopping: str | None = None
        self._stop_at_boot_ns = 0
        self._exited = False
        self.shown = Shown()
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
        return self._settle(now, self._routes[type(item)](now, item))

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
        if len(first) == 1 and type(first[0]) is Answer:  # a ping, a query: nothing to deliver
            self._parts.sessions.answered(now, first[0].client)
            return [first[0]]
        effects: list[Effect] = []
        queue: deque[Any] = deque(first)
        hops = 0
        while queue:
            item = queue.popleft()
            kind = type(item)
            hops += 1
            if hops > MAX_HOPS:
                raise RuntimeError(f"more than {MAX_HOPS} effects and signals in one step; the last is {kind.__name__}")
            if kind is _Passed:
                effects.append(item.send)
                continue
            if kind is Send:
                more = self._granted(now, self._parts.governor.admit(now, item), effects)
                more += self._turned_away(now)
            elif (listeners := self._listeners.get(kind)) is not None:
                more = [effect for listener in listeners for effect in listener(now, item)]
            else:
                self._note(now, item, kind)
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

    def _note(self, now: Now, item: Effect, kind: type) -> None:
        if kind is Answer or kind is ReadEvents:
            self._parts.sessions.answered(now, item.client)  # type: ignore[union-attr]
        elif kind is Write and type(item.row) is IntentRow:  # type: ignore[union-attr]
            self._parts.sessions.brains.saw_intent(item.row)  # type: ignore[union-attr]

    # -- inputs --------------------------------------------------------------------------------------------------

    def _on_tick(self, now: Now, _tick: Tick) -> Out:
        parts = self._parts
        out = parts.sessions.on_tick(now)
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
        orders, more = self._parts.account.on_frame(now, frame)
        out += more
        for order in orders:
            out += self._parts.orders.on_venue_order(now, order)
        return out

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
        self._store_up, self._store_reason = item.up, item.reason
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
            return [Exit(1, f"asked twice to stop ({item.reason})")]
        self._stopping = item.reason
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
        if type(request) is wire.Ping and request.show is None:
            return out + self._parts.sessions.ping(now, caller, request)
        if type(request) in _ORDER_OPS:
            return out + self._parts.orders.handle(now, caller, cast(OrderRequest, request))
        try:
            return out + self._serve(now, caller, request)
        except IpcError as error:
            return [*out, Answer(caller.client, lines.error_line(request.id, error, as_of=self._log.last))]

    def _serve(self, now: Now, caller: Caller, request: wire.Request) -> Out:
        parts = self._parts
        match request:
            case wire.Ping():
                return parts.sessions.ping(now, caller, request)
            case wire.Hello():
                return self._hello(now, caller, request)
            case wire.Note():
                return parts.sessions.note(now, caller, request)
            case wire.Status():
                return [self._result(caller, request.id, msgspec.to_builtins(self._slice(now)))]
            case wire.PositionQuery():
                self._must_know(request.symbol)
                return [self._result(caller, request.id, parts.account.position_view(now, request.symbol))]
            case wire.AccountQuery():
                return [self._result(caller, request.id, parts.account.account_view(now))]
            case wire.BookQuery():
                return [self._book(caller, request)]
            case wire.BarsQuery():
                return [self._bars(caller, request)]
            case wire.EventsQuery():
                subjects = tuple(request.subjects)
                return [ReadEvents(caller.client, request.id, request.after, request.limit, subjects, self._log.last)]
        if isinstance(request, _NOT_SUPPORTED):
            op = type(request).__struct_config__.tag
            raise IpcError("op.not_supported", f"{op} is part of the contract and is not served yet")
        raise IpcError("op.unknown", f"{type(request).__name__} is no operation of the gateway")

    def _hello(self, now: Now, caller: Caller, request: wire.Hello) -> Out:
        out = self._parts.sessions.hello(now, caller, request)
        if request.brain is not None or request.symbols:
            self._may_subscribe(request)
            out = self._parts.market.subscribe(now, request.symbols, request.intervals) + out
            out = self._parts.account.add_symbols(now, request.symbols) + out
        return out

    def _may_subscribe(self, request: wire.Hello) -> None:
        if request.brain is None:
            raise IpcError("rights.hello_first", "only a brain's hello asks for symbols; leave `symbols` out")

    def _must_know(self, symbol: str | None) -> None:
        if symbol is not None and symbol not in self._parts.market.symbols():
            raise IpcError("symbol.unknown", f"the gateway does not serve {symbol}")

    def _book(self, caller: Caller, request: wire.BookQuery) -> Answer:
        market = self._parts.market
        return self._page(
            caller, request.id, request.limit, lambda limit: market.book_page(request.symbol, limit, request.next)
        )

    def _bars(self, caller: Caller, request: wire.BarsQuery) -> Answer:
        market = self._parts.market

        def read(limit: int) -> tuple[Any, str | None]:
            return market.bars_page(request.symbol, request.interval, limit, request.end_ms, request.next)

        return self._page(caller, request.id, request.limit, read)

    def _page(
        self, caller: Caller, request_id: int, limit: int, read: Callable[[int], tuple[Any, str | None]]
    ) -> Answer:
        """A page that fits a line: fewer rows where the limit asked for would not."""
        while True:
            result, token = read(limit)
            answer = wire.Answer(id=request_id, ok=True, as_of=self._log.last, result=result, next=token)
            line = wire.encode(answer)
            if len(line) <= MAX_LINE_BYTES or limit == 1:
                return Answer(caller.client, line)
            limit //= 2

    def _result(self, caller: Caller, request_id: int, result: Any) -> Answer:
        answer = wire.Answer(id=request_id, ok=True, as_of=self._log.last, result=result)
        return Answer(caller.client, wire.encode(answer))

    # -- slices --------------------------------------------------------------------------------------------------

    def begin_write(self) -> int:
        """Before the slices of one atomic write are rendered: they share its sequence."""
        return self._parts.heads.next_write()

    def keys(self) -> tuple[str, ...]:
        return (*self._parts.market.keys(), *self._parts.account.keys(), self._gateway_key)

    def symbols(self) -> tuple[str, ...]:
        return self._parts.market.symbols()

    def render(self, now: Now, key: str) -> bytes | None:
        """None where there is nothing to show yet."""
        if key == self._gateway_key:
            return msgspec.json.encode(self._slice(now))
        raw = self._parts.market.render(now, key)
        return raw if raw is not None else self._parts.account.render(now, key)

    def _slice(self, now: Now) -> GatewaySlice:
        parts = self._parts
        risk, reason = parts.orders.risk_state(None)
        counters = {
            **parts.market.counters(),
            **parts.account.status(),
            **self.shown.counters,
            "connections": parts.sessions.connections(),
            "store_up": int(self._store_up),
        }
        return GatewaySlice(
            **parts.heads.fields(now, "live", as_of=self._log.last),
            environment=self._settings.environment,
            pid=self._settings.pid,
            ready=parts.account.ready() and self._stopping is None,
            risk=risk,
            risk_reason=reason,
            position_mode=parts.account.position_mode(),
            clock_offset_ms=parts.links.clock.offset_ms(now),
            unknown=parts.orders.unknown_count(),
            streams=parts.links.status(now),
            budgets=parts.governor.budgets(now),
            brains=parts.sessions.status(now),
            latency_us={hop: dict(row) for hop, row in self.shown.latency_us.items()},
            counters=counters,
        )

    def status_line(self, now: Now) -> dict[str, Any]:
        """A few words for the log, once a minute."""
        parts = self._parts
        return {
            "ready": parts.account.ready(),
            "risk": parts.orders.risk_state(None)[0],
            "streams": {name: row["state"] for name, row in parts.links.status(now).items()},
            "brains": [name for name, row in parts.sessions.status(now).items() if row["alive"]],
            "open_orders": len(parts.orders.open_orders()),
            "unknown": parts.orders.unknown_count(),
            "last_event": self._log.last,
            "store": self._store_up,
        }

    def doubt_connection(self, now: Now, conn: str, reason: str) -> list[Effect]:
        """A fault of ours while a frame of this connection was handled: what it fed is rebuilt from nothing."""
        return self._settle(now, [Disconnect(conn, reason)])


def _name(key: Key) -> str:
    return "/".join(str(part) for part in key[:3])
