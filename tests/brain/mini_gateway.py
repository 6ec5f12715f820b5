"""A small gateway for tests: speaks `ipc.wire`, keeps a journal, writes slices. Its exchange is a bid and an ask.

`MiniGateway` is pure of sockets and clocks, so property tests can drive it step by step; `Served` puts it on a real
Unix socket and a real Redis. What a place does next is scripted with `plan`: a list of words, one taken per new intent
(`fill`, `half`, `none`, `rest`, `reject:<code>`, `unknown`); when it is empty, orders fill. As the gateway does, a
close of more than the position is sent for no more than there is.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import redis

from ipc import events as ev
from ipc import keys, slices, wire
from ipc.framing import LineSplitter, TooLong
from ipc.slices import BarRow, Now

FIVE_MIN_MS = 300_000


@dataclass
class Order:
    place: wire.Place
    client_order_id: str
    state: str = "open"
    filled: Decimal = Decimal(0)
    answer: wire.Answer | None = None
    reason: str | None = None
    role: str = "entry"
    qty: str = ""  # as sent

    def __post_init__(self) -> None:
        self.qty = self.qty or self.place.qty


@dataclass
class Symbol:
    bid: str = "60000.0"
    ask: str = "60000.1"
    bid_qty: str = "5"
    ask_qty: str = "5"
    u: int = 1
    book_state: slices.State = "live"
    mark: str = "60000.0"
    qty: Decimal = Decimal(0)
    entry: Decimal = Decimal(0)
    realised: Decimal = Decimal(0)
    fills: int = 0
    bars: list[BarRow] = field(default_factory=list)
    open_bar: BarRow | None = None
    bars_lag: bool = False
    legs: dict[str, Decimal] = field(default_factory=dict)  # hedge mode where there are any

    @property
    def mode(self) -> str:
        return "hedge" if self.legs else "one_way"


class MiniGateway:
    """`seen_lines` counts requests by operation. `calls` holds every place received: (intent, content)."""

    def __init__(self, brain: str, symbols: tuple[str, ...] = ("BTCUSDT",), epoch: str = "e1", boot: str = "b") -> None:
        self.brain = brain
        self.account = "main"
        self.epoch = epoch
        self.boot = boot
        self.now = Now(1_000_000_000, 1_700_000_000_000_000_000, boot)
        self.symbols = {symbol: Symbol() for symbol in symbols}
        self.events: list[ev.Event] = []
        self.orders: dict[tuple[str, int], Order] = {}
        self.used: dict[tuple[str, int], bytes] = {}
        self.calls: list[tuple[tuple[str, int], bytes]] = []
        self.plan: list[str] = []
        self.last_run: str | None = None
        self.show: dict[str, Any] | None = None
        self.notes: list[wire.Note] = []
        self.seen_ops: dict[str, int] = {}
        self.refuse_hello: str = ""
        self.refuse_cancel: str = ""
        self.seq = 0

    # -- requests ---------------------------------------------------------------------------------------------

    def handle(self, request: wire.Request) -> wire.Answer:
        op = str(request.__struct_config__.tag)
        self.seen_ops[op] = self.seen_ops.get(op, 0) + 1
        answer = self._dispatch(request)
        return msgspec.structs.replace(answer, id=request.id, as_of=len(self.events))

    def _dispatch(self, request: wire.Request) -> wire.Answer:
        if isinstance(request, wire.Hello):
            return self._hello(request)
        if isinstance(request, wire.Place):
            return self._place(request)
        if isinstance(request, wire.Cancel):
            return self._cancel(request)
        if isinstance(request, wire.Ping):
            self.show = request.show
            return wire.Answer(id=0, ok=True)
        if isinstance(request, wire.Note):
            self.notes.append(request)
            return wire.Answer(id=0, ok=True)
        if isinstance(request, wire.OrderQuery) and request.intent is not None:
            order = self.orders.get((request.intent.run, request.intent.seq))
            return refusal("order.not_found") if order is None else wire.Answer(id=0, ok=True, order=view(order))
        if isinstance(request, wire.OrdersQuery):
            rows = [
                msgspec.to_builtins(view(o)) for o in self.orders.values() if o.state in ("open", "partially_filled")
            ]
            return wire.Answer(id=0, ok=True, result={"orders": rows})
        if isinstance(request, wire.EventsQuery):
            found = [msgspec.to_builtins(e) for e in self.events if e.seq > request.after
                     and (not request.subjects or any(ev.matches(p, e.subject) for p in request.subjects))]  # fmt: skip
            return wire.Answer(id=0, ok=True, result={"events": found[: request.limit]})
        return refusal("op.not_supported")

    def _hello(self, hello: wire.Hello) -> wire.Answer:
        if self.refuse_hello:
            return refusal(self.refuse_hello)
        if hello.run is not None:
            if self.last_run is not None and int(hello.run[1:]) < int(self.last_run[1:]):
                return refusal("brain.run_used", detail={"newest": self.last_run})
            self.last_run = hello.run
        last = max((seq for run, seq in self.used if run == hello.run), default=0)
        return wire.Answer(
            id=0, ok=True,
            result={"account": "main", "epoch": self.epoch, "environment": "simex", "brain_no": 1, "last_seq": last,
                    "as_of": len(self.events), "lease_ms": 3000, "admin": True},
        )  # fmt: skip

    def _place(self, place: wire.Place) -> wire.Answer:
        key = (place.intent.run, place.intent.seq)
        content = msgspec.json.encode(msgspec.structs.replace(place, id=0))
        self.calls.append((key, content))
        if key in self.used:
            order = self.orders[key]
            if self.used[key] != content:
                return refusal("intent.conflict", outcome="rejected")
            return self._outcome(order)
        self.used[key] = content
        order = Order(place, f"bs-{place.intent.run}-{place.intent.seq}")
        held = self.symbols[place.symbol].qty if place.symbol in self.symbols else Decimal(0)
        if place.symbol in self.symbols and self.symbols[place.symbol].legs:
            held = self.symbols[place.symbol].legs[place.leg]
        signed = Decimal(place.qty) if place.side == "BUY" else -Decimal(place.qty)
        shrinks = held != 0 and (held > 0) != (signed > 0) and abs(signed) <= abs(held)
        order.role = "close" if place.reduce_only or shrinks else "entry"
        if order.role == "close" and 0 < abs(held) < Decimal(place.qty):
            order.qty = str(abs(held))
        self.orders[key] = order
        word = self.plan.pop(0) if self.plan else "fill"
        if word.startswith("reject:"):
            order.state, order.reason = "rejected", word.partition(":")[2]
            self.event("risk.refused", place.symbol, order, code=order.reason, message="scripted", detail={})
        elif word == "unknown":
            order.state = "unknown"
            self.event("order.unknown", place.symbol, order)
        else:
            self.event("order.accepted", place.symbol, order, order_id=1)
            if word != "rest":
                self._match(order, word)
        return self._outcome(order)

    def _outcome(self, order: Order) -> wire.Answer:
        if order.state == "rejected":
            return refusal(order.reason or "venue.rejected", outcome="rejected")
        if order.state == "unknown":
            return refusal("venue.no_answer", outcome="unknown", order=view(order))
        return wire.Answer(id=0, ok=True, outcome="accepted", order=view(order))

    def _match(self, order: Order, word: str) -> None:
        place, symbol = order.place, self.symbols[order.place.symbol]
        best = Decimal(symbol.ask if place.side == "BUY" else symbol.bid)
        price = Decimal(place.price) if place.price is not None else None
        crosses = price is None or (best <= price if place.side == "BUY" else best >= price)
        if crosses and word != "none":
            qty = Decimal(order.qty) if word == "fill" else Decimal(order.qty) / 2
            self.fill(order, qty, best)
        if order.state not in ("filled", "expired") and (place.type == "MARKET" or place.tif == "IOC"):
            order.state = "expired"
            self.event("order.expired", place.symbol, order)

    def resolve(self, key: tuple[str, int], word: str) -> None:
        """An unknown order's fate becomes known."""
        order = self.orders[key]
        if word == "rejected":
            order.state = "rejected"
            self.event("order.resolved", order.place.symbol, order, outcome="rejected", proof="test")
        else:
            order.state = "open"
            self._match(order, "fill")

    def _cancel(self, request: wire.Cancel) -> wire.Answer:
        key = (request.intent.run, request.intent.seq) if request.intent is not None else ("", 0)
        order = self.orders.get(key)
        if self.refuse_cancel:
            return refusal(self.refuse_cancel, outcome="rejected")
        if order is None:
            return refusal("order.not_found", outcome="rejected")
        if order.state in ("open", "partially_filled"):
            order.state = "cancelled"
            self.event("order.cancelled", order.place.symbol, order)
        return wire.Answer(id=0, ok=True, outcome="accepted", order=view(order))

    # -- the exchange -----------------------------------------------------------------------------------------

    def fill(self, order: Order, qty: Decimal, price: Decimal) -> None:
        symbol = self.symbols[order.place.symbol]
        signed = qty if order.place.side == "BUY" else -qty
        before = symbol.legs[order.place.leg] if symbol.legs else symbol.qty
        if order.place.reduce_only and (before == 0 or (before > 0) == (signed > 0)):
            order.state = "expired"  # accepted, but there is nothing left to close: the exchange ends it
            self.event("order.expired", order.place.symbol, order)
            return
        if before == 0 or (before > 0) == (signed > 0):
            symbol.entry = (abs(before) * symbol.entry + qty * price) / (abs(before) + qty)
        else:
            closed = min(abs(before), qty)
            symbol.realised += closed * (price - symbol.entry) * (1 if before > 0 else -1)
        symbol.qty += signed
        if symbol.legs:
            symbol.legs[order.place.leg] += signed
        if symbol.qty == 0:
            symbol.entry = Decimal(0)
        symbol.fills += 1
        order.filled += qty
        order.state = "filled" if order.filled >= Decimal(order.qty) else "partially_filled"
        self.event(
            "order.filled", order.place.symbol, order, trade_id=len(self.events) + 1000, last_qty=str(qty),
            last_price=str(price), fee="0.01", fee_asset="USDT", realised="0", maker=False,
        )  # fmt: skip

    def event(self, subject: str, symbol: str | None, order: Order | None = None, **data: Any) -> ev.Event:
        ids = None
        if order is not None:
            place = order.place
            common = {
                "client_order_id": order.client_order_id, "side": place.side, "qty": order.qty,
                "filled_qty": str(order.filled), "state": order.state, "role": order.role,
                "price": place.price,
            }  # fmt: skip
            data = {**common, **data}
            intent = place.intent
            ids = ev.Ids(
                intent=f"{intent.brain}/{intent.run}/{intent.seq}", client_order_id=order.client_order_id,
                trade_id=data.get("trade_id"),
            )  # fmt: skip
        made = ev.Event(
            seq=len(self.events) + 1, at_ns=self.now.wall_ns, subject=subject, source="gateway", symbol=symbol,
            ids=ids, data=data,
        )  # fmt: skip
        self.events.append(made)
        return made

    def move(self, symbol: str, bid: str, ask: str, *, bid_qty: str = "5", ask_qty: str = "5") -> None:
        held = self.symbols[symbol]
        held.bid, held.ask, held.bid_qty, held.ask_qty, held.mark = bid, ask, bid_qty, ask_qty, bid
        held.u += 1

    def close_bar(self, symbol: str, close: str) -> None:
        """The next 5 m bar closes at `close`."""
        held = self.symbols[symbol]
        open_ms = held.bars[-1].open_ms + FIVE_MIN_MS if held.bars else 1_699_999_800_000
        held.bars.append(BarRow(open_ms, close, close, close, close, "1", "1", 1))
        held.open_bar = BarRow(open_ms + FIVE_MIN_MS, close, close, close, close, "0", "0", 0)
        self.event(
            "bar.closed", symbol, interval="5m", open_ms=open_ms, o=close, h=close, l=close, c=close, v="1", by="t"
        )

    # -- slices -----------------------------------------------------------------------------------------------

    def tick(self, ms: int) -> None:
        self.now = Now(self.now.boot_ns + ms * 1_000_000, self.now.wall_ns + ms * 1_000_000, self.boot)

    def _head(self, symbol: str | None, *, as_of: bool = False, state: slices.State = "live") -> dict[str, Any]:
        return {
            "epoch": self.epoch, "seq": self.seq, "state": state, "account": "main", "venue": "mini",
            "symbol": symbol, "pub_ns": self.now.wall_ns, "pub_boot_ns": self.now.boot_ns, "boot": self.boot,
            "as_of": len(self.events) if as_of else None,
        }  # fmt: skip

    def values(self) -> dict[str, bytes]:
        """Every slice, by key."""
        self.seq += 1
        out: dict[str, bytes] = {}
        gateway = slices.GatewaySlice(
            **self._head(None), environment="simex", pid=1, ready=True, risk="running", risk_reason="",
            position_mode="one_way", clock_offset_ms=0.0, unknown=0, streams={}, budgets={}, brains={},
            latency_us={}, counters={},
        )  # fmt: skip
        out[keys.gateway("main")] = slices.encode(gateway)
        for name, held in self.symbols.items():
            out |= self._symbol_values(name, held)
        return out

    def _symbol_values(self, name: str, held: Symbol) -> dict[str, bytes]:
        bid, ask = Decimal(held.bid), Decimal(held.ask)
        levels = range(20)
        book = slices.BookSlice(
            **self._head(name, state=held.book_state), u=held.u,
            bids=[[str(bid - i * Decimal("0.1")), held.bid_qty] for i in levels],
            asks=[[str(ask + i * Decimal("0.1")), held.ask_qty] for i in levels],
        )  # fmt: skip
        instrument = slices.InstrumentSlice(
            **self._head(name), status="TRADING", base="BTC", quote="USDT", margin_asset="USDT", tick="0.1",
            step="0.001", market_step="0.001", min_qty="0.001", max_qty="1000", market_min_qty="0.001",
            market_max_qty="120", min_price="0.1", max_price="4529764", min_notional="50", multiplier_up="1.05",
            multiplier_down="0.95", position_mode=held.mode,
        )  # fmt: skip
        ledger = slices.LedgerSlice(
            **self._head(name, as_of=True), brain=self.brain, run=self.last_run, alive=True, lease_ms=3000,
            risk="running", qty=str(held.qty), entry=str(held.entry), realised=str(held.realised), unrealised=None,
            fees={}, funding="0", orders=0, fills=held.fills,
        )  # fmt: skip
        legs = [
            slices.PositionLeg(leg=leg, qty=str(qty), entry=str(held.entry))
            for leg, qty in (held.legs or {"BOTH": held.qty}).items()
        ]
        rows = held.bars[:-1] if held.bars_lag else held.bars
        last_ms = held.bars[-1].open_ms if held.bars else None
        return {
            keys.book("main", name): slices.encode(book),
            keys.mark("main", name): slices.encode(slices.MarkSlice(**self._head(name), mark=held.mark)),
            keys.instrument("main", name): slices.encode(instrument),
            keys.position("main", name): slices.encode(slices.PositionSlice(**self._head(name, as_of=True), legs=legs)),
            keys.orders("main", name): slices.encode(slices.OrdersSlice(**self._head(name, as_of=True), orders=[])),
            keys.ledger("main", name, self.brain): slices.encode(ledger),
            keys.bar("main", name, "5m"): slices.encode(
                slices.BarSlice(**self._head(name), interval="5m", bar=held.open_bar, closed_open_ms=last_ms)
            ),
            keys.bars("main", name, "5m"): slices.encode(
                slices.BarsSlice(**self._head(name), interval="5m", rows=rows[-600:])
            ),
        }


def refusal(code: str, detail: dict[str, Any] | None = None, **more: Any) -> wire.Answer:
    body = wire.ErrorBody(code=code, message="scripted", retryable=False, detail=detail or {})
    return wire.Answer(id=0, ok=False, error=body, **more)


def view(order: Order) -> wire.OrderView:
    place = order.place
    return wire.OrderView(
        client_order_id=order.client_order_id, symbol=place.symbol, side=place.side, type=place.type, state=order.state,
        qty=order.qty, filled_qty=str(order.filled), price=place.price, tif=place.tif, reduce_only=place.reduce_only,
        intent=place.intent, tag=place.tag, role=order.role, reason=order.reason,
    )  # fmt: skip


class Served:
    """The mini gateway on a real socket and a real Redis, in threads of its own. Use as a context manager.

    `frozen` stops everything as SIGSTOP would: no answer, no slice. `mute` swallows answers of these operations.
    """

    def __init__(self, core: MiniGateway, path: Path, redis_url: str, clock: Callable[[], Now]) -> None:
        self.core = core
        self.lock = threading.RLock()
        self.frozen = threading.Event()
        self.mute: set[str] = set()
        self._path = path
        self._clock = clock
        self._redis = redis.Redis.from_url(redis_url)
        self._published = 0
        self._stop = threading.Event()
        self._clients: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._server: socket.socket | None = None

    def __enter__(self) -> Served:
        self.listen()
        self._start(self._publish_all)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self.frozen.clear()
        self.hang_up()
        for thread in self._threads:
            thread.join(5)
        self._redis.close()

    def listen(self) -> None:
        self._path.unlink(missing_ok=True)
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(self._path))
        server.listen(16)
        server.settimeout(0.05)
        self._server = server
        self._start(self._accept, server)

    def hang_up(self) -> None:
        """The gateway dies: its socket and every connection go."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self._path.unlink(missing_ok=True)
        for client in self._clients:
            client.close()
        self._clients.clear()

    def restart(self, epoch: str) -> None:
        self.hang_up()
        with self.lock:
            self.core.epoch = epoch
        self.listen()

    def publish(self) -> None:
        with self.lock:
            self.core.now = self._clock()
            pipe = self._redis.pipeline(transaction=True)
            for event in self.core.events[self._published :]:
                pipe.xadd(keys.events("main"), {"e": ev.encode(event)}, id=ev.stream_id(event.seq))
            pipe.mset(self.core.values())
            for symbol in self.core.symbols:
                pipe.publish(keys.wake("main", symbol), b"1")
            try:
                pipe.execute()
            except redis.RedisError:
                return
            self._published = len(self.core.events)

    def redis_lost_all(self) -> None:
        """The stream is gone, as after a restart of Redis; it is not appended to again."""
        with self.lock:
            self._redis.delete(keys.events("main"))

    def _start(self, what: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=what, args=args, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _publish_all(self) -> None:
        while not self._stop.wait(0.02):
            if not self.frozen.is_set():
                self.publish()

    def _accept(self, server: socket.socket) -> None:
        while not self._stop.is_set():
            try:
                client, _ = server.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self._clients.append(client)
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        splitter = LineSplitter()
        while not self._stop.is_set():
            try:
                data = client.recv(65_536)
            except OSError:
                return
            if not data:
                return
            for line in splitter.feed(data):
                self._answer(client, line)

    def _answer(self, client: socket.socket, line: bytes | TooLong) -> None:
        while self.frozen.is_set() and not self._stop.is_set():
            time.sleep(0)
            self._stop.wait(0.005)
        if isinstance(line, TooLong):
            return
        request = wire.decode_request(line)
        with self.lock:
            self.core.now = self._clock()
            answer = self.core.handle(request)
        self.publish()
        if str(request.__struct_config__.tag) in self.mute:
            return
        try:
            client.sendall(wire.encode(answer))
        except OSError:
            return
