"""A whole world in one thread: a runner, its checkpoint, the mini gateway, and a line between them that loses things.

Nothing happens by itself: tests say when time passes, when a request or an answer arrives, and after which effect the
brain's process dies.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from decimal import Decimal

from brain.api import Context, Fill, Handle, Params, Strategy
from brain.checkpoint import Checkpoint, Meta, decode_meta, decode_state, encode_meta, run_name
from brain.inputs import (
    Answered,
    Ask,
    Commit,
    Connected,
    CutRead,
    Disconnected,
    Effect,
    Errand,
    Exit,
    Hangup,
    Input,
    Now,
)
from brain.records import decode
from brain.runner import Runner
from ipc import wire
from ipc.cut import CutReader
from tests.brain.mini_gateway import MiniGateway


class Died(Exception):
    """The brain's process is gone."""


class Store:
    """The checkpoint file, in memory."""

    def __init__(self) -> None:
        self.meta: bytes | None = None
        self.state: bytes = b"{}"
        self.rows: dict[tuple[str, int], bytes] = {}

    def load(self, strategy: str, now_ms: int) -> Checkpoint:
        if self.meta is None:
            meta = Meta(strategy=strategy, run=run_name(now_ms))
            self.meta = encode_meta(meta)
            return Checkpoint(meta=meta, fresh=True)
        records = [decode(self.rows[key]) for key in sorted(self.rows)]
        return Checkpoint(meta=decode_meta(self.meta), state=decode_state(self.state), records=records)

    def commit(self, commit: Commit) -> None:
        self.meta = commit.meta or self.meta
        self.state = commit.state or self.state
        for run, seq, raw in commit.put:
            self.rows[run, seq] = raw
        for key in commit.gone:
            self.rows.pop(key, None)

    def copy(self) -> Store:
        twin = Store()
        twin.meta, twin.state, twin.rows = self.meta, self.state, dict(self.rows)
        return twin


class World:
    """`die_after` n: the process dies after n more effects were performed."""

    def __init__(self, make: Callable[[], Strategy], gateway: MiniGateway | None = None, boot: str = "b") -> None:
        self.gateway = gateway or MiniGateway("t-BTCUSDT", boot=boot)
        self.make = make
        self.store = Store()
        self.boot = boot
        self.die_after: int | None = None
        self.effects: list[Effect] = []
        self.outward: deque[Ask] = deque()
        self.inward: deque[tuple[Errand, wire.Answer]] = deque()
        self.connected = False
        self.store_up = True
        self.start()

    @property
    def now(self) -> Now:
        return Now(self.gateway.now.wall_ns, self.gateway.now.boot_ns)

    def start(self) -> None:
        strategy = self.make()
        self.runner = Runner(
            strategy, self.store.load(strategy.name, self.now.wall_ms), name=self.gateway.brain,
            symbols=tuple(self.gateway.symbols), boot=self.boot,
        )  # fmt: skip
        self.reader = CutReader("main", tuple(self.gateway.symbols), self.runner.hooks.intervals, self.gateway.brain)
        self.connected = False

    def crash(self, deliver: bool = True) -> None:
        """The process dies. What it had handed to its socket may still arrive; answers go nowhere."""
        if deliver:
            while self.outward:
                self.gateway.handle(self.outward.popleft().request)
        self.outward.clear()
        self.inward.clear()
        self.die_after = None
        self.start()

    def step(self, given: Input) -> list[Effect]:
        effects = self.runner.step(self.now, given)
        for effect in effects:
            if self.die_after is not None:
                if self.die_after <= 0:
                    raise Died
                self.die_after -= 1
            self.effects.append(effect)
            if isinstance(effect, Commit):
                self.store.commit(effect)
            elif isinstance(effect, Ask):
                self.outward.append(effect)
            elif isinstance(effect, Hangup):
                self.cut_line(effect.reason)
            elif isinstance(effect, Exit):
                break
        return effects

    def connect(self) -> None:
        if not self.connected:
            self.connected = True
            self.step(Connected())

    def cut_line(self, reason: str = "cut", deliver: bool = False) -> None:
        if deliver:
            self.deliver()
        self.outward.clear()
        self.inward.clear()
        if self.connected:
            self.connected = False
            self.step(Disconnected(reason))

    def deliver(self, count: int = 1_000) -> None:
        """Requests reach the gateway."""
        while self.outward and count:
            ask = self.outward.popleft()
            self.inward.append((ask.errand, self.gateway.handle(ask.request)))
            count -= 1

    def answer(self, count: int = 1_000) -> None:
        """Answers reach the brain."""
        while self.inward and count:
            self.step(Answered(*self.inward.popleft()))
            count -= 1

    def read(self, limit: int = 500) -> list[Effect]:
        """One read of the feed, as `ipc.feed` would make it from a healthy Redis."""
        after = self.runner.after
        values = self.gateway.values()
        raw = [values.get(key) for key in self.reader.keys]
        found = [event for event in self.gateway.events if after is not None and event.seq > after][:limit]
        self.reader.note_events(found)
        for symbol, interval in self.reader.stale_bars(raw):
            self.reader.hold_bars(symbol, interval, values.get(f"bs:main:{symbol}:bars:{interval}"))
        last = found[-1].seq if found else after
        need = self.runner.need_as_of
        cut = self.reader.build(self.gateway.now, raw, events=found, last_seq=last, need_as_of=need)
        return self.step(CutRead(cut))

    def turn(self, ms: int = 5) -> None:
        """One healthy round: time passes, everything arrives."""
        self.gateway.tick(ms)
        self.connect()
        self.deliver()
        self.answer()
        self.read()

    def turns(self, count: int, ms: int = 5) -> None:
        for _ in range(count):
            self.turn(ms)

    def placed(self) -> list[wire.Place]:
        """Every intent the gateway has accepted as new, in order."""
        return [order.place for order in self.gateway.orders.values()]


class NoParams(Params):
    pass


class Quiet(Strategy):
    """Does nothing; tests call what they want on `ctx`."""

    name = "quiet"
    parameters = NoParams

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params or NoParams())


class Counting(Quiet):
    """Enters once for each new book, numbered in its state, and answers each fill of an entry by one exit."""

    name = "counting"

    def on_slice(self, ctx: Context, symbol: str) -> None:
        book = ctx.book(symbol)
        if book is None or book.u == ctx.state.get("u"):
            return
        number = ctx.state.get("entries", 0) + 1
        if ctx.buy(Decimal("0.002"), slippage_bps=Decimal(5), tag=f"enter:{number}").done:
            return  # refused here, while an exit is unknown: no intent was made
        ctx.state["u"] = book.u
        ctx.state["entries"] = number

    def on_fill(self, ctx: Context, fill: Fill) -> None:
        ctx.state.setdefault("fills", []).append(fill.seq)
        if not fill.handle.is_exit:
            ctx.sell(fill.qty, reduce_only=True, tag=f"counter:{fill.seq}")


class Telling(Quiet):
    """Remembers what it was told."""

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        self.told: list[tuple[str, str]] = []
        self.bars: list[tuple[int, bool]] = []
        self.context: Context | None = None

    def on_start(self, ctx: Context) -> None:
        self.context = ctx

    def on_order(self, ctx: Context, handle: Handle) -> None:
        self.told.append((handle.state, handle.reason))
