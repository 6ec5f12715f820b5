"""Redis gone, hanging, full, cut off, emptied and restarted under a whole system that trades: brains stop deciding,
answers and protection go on, everything heals by itself, and the event stream is the journal's again, each event once.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from gateway.shell.publisher import MAX_STREAM
from ipc import clock
from ipc.cut import CutReader
from ipc.events import decode
from ipc.feed import Feed
from ipc.wire import Risk, Status
from tests.gateway.rig import Brain
from tests.proof.stack import ACCOUNT, Stack
from tests.proof.test_kill import judge_intents
from tests.waiting import pause_here

TRADERS = {"by-slice": "BTCUSDT", "by-clock": "ETHUSDT"}
CLOSED, FLATTENED = "BNBUSDT", "SOLUSDT"
STREAM = f"bs:{ACCOUNT}:events"
REFUSED_WITHIN_NS = 1_500_000_000
HEALED_S = 40.0
REDIS_TIMEOUT_S = 10.0


def brains(folder: Path) -> list[dict[str, Any]]:
    slices = {"rate_per_s": 3, "seed": 5, "heard": str(folder / "by-slice.heard")}
    ticks = {"heard": str(folder / "by-clock.heard")}
    listening = str(Path(__file__).parent / "campaign" / "listening.py")
    ticking = str(Path(__file__).with_name("ticking_listener.py"))
    return [
        {"name": "by-slice", "strategy": listening, "symbols": [TRADERS["by-slice"]], "params": slices},
        {"name": "by-clock", "strategy": ticking, "symbols": [TRADERS["by-clock"]], "params": ticks},
    ]


@pytest.mark.timeout(400)
def test_redis_fails_in_every_way_and_all_heals_by_itself(tmp_path: Path, run_dir: Path, seed: int) -> None:
    limits = {"max_position_notional": None, "orders_per_s": 1000, "orders_burst": 1000}
    accounts = {ACCOUNT: {"symbols": [*TRADERS.values(), CLOSED, FLATTENED], "limits": limits}}
    gateway = {"lease_ms": 15_000}  # shorter than the longest fault; the test's own hands may be slow
    quick = {"seed": seed % 2**32}
    with Stack(tmp_path, run_dir, brains(tmp_path), accounts=accounts, gateway=gateway, simex=quick) as stack:
        stack.wait(stack.gateway_ready, 20, "gateway ready")
        faults = list(FAULTS)
        random.Random(seed).shuffle(faults)
        print(f"seed {seed}: {[fault.name for fault in faults]}")
        with Proof(stack) as proof:
            for fault in faults:
                proof.strike(fault)
        for name in TRADERS:
            stack.ask(Risk(id=1, action="pause", brain=name, reason="end of the proof"))
        stack.wait(lambda: all(one.final for one in stack.intents()), 40, "every intent ended")
        stack.wait(lambda: fills_told(stack, tmp_path), 30, "every fill told to its hook")
        judge_end(stack)


# -- faults ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """`begin` strikes, `end` takes it away; `lasts_s` 0: over as soon as it has begun. `first` says where the stream
    begins afterwards, of what it held before."""

    name: str
    begin: Callable[[Stack], object]
    end: Callable[[Stack], object] = lambda _stack: None
    lasts_s: float = 0.0
    first: str = "as before"  # or: the journal's first, any


@contextmanager
def reading(stack: Stack) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(stack.plan.redis_url, socket_timeout=REDIS_TIMEOUT_S)
    try:
        yield client
    finally:
        client.close()


def cut_off(stack: Stack) -> None:
    """Every connection but the one that asks: readers of brains too."""
    with reading(stack) as client:
        client.client_kill_filter(_type="normal", skipme=True)


def cut_off_again_and_again(stack: Stack) -> None:
    """Also while the stream is being brought up."""
    with reading(stack) as client:
        for _ in range(200):
            client.client_kill_filter(_type="normal", skipme=True)


def empty(stack: Stack) -> None:
    with reading(stack) as client:
        client.flushall()


def fill(stack: Stack) -> None:
    with reading(stack) as client:
        client.config_set("maxmemory", "1")


def make_room(stack: Stack) -> None:
    with reading(stack) as client:
        client.config_set("maxmemory", str(256 << 20))


def slow_down(stack: Stack) -> None:
    """Every second moment Redis stands still: what is written and asked meanwhile is there at once afterwards."""
    for _ in range(6):
        suspend(stack)
        pause_here(0.2)
        resume(stack)
        pause_here(0.1)


def suspend(stack: Stack) -> None:
    stack.supervisor.suspend("redis")


def resume(stack: Stack) -> None:
    stack.supervisor.resume("redis")


def stop(stack: Stack) -> None:
    stack.supervisor.stop("redis")


def launch(stack: Stack) -> None:
    stack.supervisor.launch("redis")


FAULTS = (
    Fault("connections cut", cut_off),
    Fault("connections cut again and again", cut_off_again_and_again),
    Fault("emptied", empty, first="any"),
    Fault("slow", slow_down),
    Fault("killed", lambda stack: stack.supervisor.kill("redis"), first="the journal's first"),
    Fault("gone for 3 s", stop, launch, 3, first="the journal's first"),
    Fault("full for 3 s", fill, make_room, 3),
    Fault("hanging for 3 s", suspend, resume, 3),
    Fault("hanging for 20 s", suspend, resume, 20),
)


# -- proof -----------------------------------------------------------------------------------------------------------


class Proof:
    """Two hands beside the brains: one holds a resting exit, closes and cancels; one flattens."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.closer = Brain(stack.socket, name="closer", symbols=(CLOSED,))
        self.flattener = Brain(stack.socket, name="flattener", symbols=(FLATTENED,))

    def __enter__(self) -> Proof:
        self.trade_until(clock.boot_ns())
        self.buy(self.closer, CLOSED, "5")
        self.exit = self.rest(self.closer, "SELL", 1.04, reduce_only=True)
        self.pids = self.running()
        with reading(self.stack) as client:
            self.slices = set(client.keys(f"bs:{ACCOUNT}:*"))
        return self

    def __exit__(self, *_: object) -> None:
        self.closer.close()
        self.flattener.close()

    def strike(self, fault: Fault) -> None:
        self.buy(self.flattener, FLATTENED, "1")
        entry = self.rest(self.closer, "BUY", 0.96)
        first_before = self.first_id()
        began_ns = clock.boot_ns()
        fault.begin(self.stack)
        struck_ns = clock.boot_ns()
        refused_ns = struck_ns + REFUSED_WITHIN_NS
        if fault.lasts_s:
            self.until(lambda: clock.boot_ns() > refused_ns, f"{fault.name}: the time to refuse")
            deciding = [brain for brain, symbol in TRADERS.items() if fresh(self.stack, brain, symbol)]
            assert deciding == [], f"{fault.name}: what {deciding} read is not refused"
        self.protect(entry)
        if fault.lasts_s:
            self.until(lambda: not self.store_up(), f"{fault.name}: the gateway says that Redis is gone")
            self.until(lambda: clock.boot_ns() > began_ns + fault.lasts_s * 1e9, f"{fault.name}: its time")
        ended_ns = clock.boot_ns()
        fault.end(self.stack)
        if fault.lasts_s:
            late = [at - struck_ns for at in self.decided_ns() if refused_ns < at < ended_ns]
            assert late == [], f"{fault.name}: brains decided {late} ns after Redis failed"
        self.healed(fault, ended_ns, first_before)

    # -- what the hands do -------------------------------------------------------------------------------------

    def buy(self, hand: Brain, symbol: str, qty: str) -> None:
        def bought() -> bool:
            answer = hand.place("BUY", qty, symbol=symbol, asked_boot_ns=clock.boot_ns())
            return answer.get("outcome") == "accepted"

        self.until(bought, f"{symbol} is bought")
        self.until(lambda: self.stack.exchange_position(symbol) > 0, f"{symbol} is held")

    def rest(self, hand: Brain, side: str, factor: float, **more: Any) -> str:
        """Far from the market; its client order id at the exchange."""
        book = hand.result("book", symbol=CLOSED, limit=5)
        price = f"{float(book['bids'][0][0]) * factor:.1f}"
        taken: list[str] = []

        def rests() -> bool:
            answer = hand.place(side, "0.1", price, symbol=CLOSED, asked_boot_ns=clock.boot_ns(), **more)
            taken.extend([answer["order"]["client_order_id"]] if answer.get("outcome") == "accepted" else [])
            return bool(taken)

        self.until(rests, f"an order rests in {CLOSED}")
        return taken[0]

    def protect(self, entry: str) -> None:
        """Answered while Redis fails, and done at the exchange: nothing of it waits for Redis."""
        less = self.stack.exchange_position(CLOSED) - Decimal("0.02")
        answers = [
            self.closer.place("SELL", "0.02", symbol=CLOSED, reduce_only=True, asked_boot_ns=clock.boot_ns()),
            self.closer.ask("cancel", client_order_id=entry, symbol=CLOSED),
            self.flattener.ask("flatten", symbol=FLATTENED),
        ]
        # the exchange may be slower than the 2 s in which everything is answered; what it does is looked at below
        assert [one for one in answers if one["outcome"] not in ("accepted", "unknown")] == []
        self.until(lambda: self.stack.exchange_position(CLOSED) <= less, "less is held at the exchange")
        self.until(lambda: self.stack.exchange_position(FLATTENED) == 0, "flat at the exchange")
        self.until(lambda: self.at_exchange(entry) == "CANCELED", "cancelled at the exchange")
        assert self.at_exchange(self.exit) != "CANCELED", "the resting exit stays"

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Waits with both hands alive: each look is a ping that the gateway must answer."""

        def looked() -> bool:
            assert self.closer.ask("ping")["ok"]
            assert self.flattener.ask("ping")["ok"]
            return bool(condition())

        self.stack.wait(looked, HEALED_S, what)

    # -- what is seen ------------------------------------------------------------------------------------------

    def running(self) -> dict[str, int | None]:
        return {name: self.stack.supervisor.of(name).pid for name in ("gateway", *TRADERS)}

    def at_exchange(self, client_order_id: str) -> str:
        (found,) = [one["status"] for one in self.stack.truth()["orders"] if one["clientOrderId"] == client_order_id]
        return str(found)

    def store_up(self) -> bool:
        return bool(self.stack.ask(Status(id=1))["result"]["counters"]["store_up"])

    def decided_ns(self) -> list[int]:
        """When the brains decided each of their intents (CLOCK_BOOTTIME)."""
        rows = [one.request for one in self.stack.intents()]
        return [int(row["asked_boot_ns"]) for row in rows if row["intent"]["brain"] in TRADERS]

    def trade_until(self, since_ns: int) -> None:
        """Both brains decide anew after `since_ns`, and their orders are taken."""

        def trades(brain: str) -> bool:
            return any(
                one.outcome == "accepted" and int(one.request["asked_boot_ns"]) > since_ns
                for one in self.stack.intents()
                if one.request["intent"]["brain"] == brain
            )

        for brain in TRADERS:
            self.until(partial(trades, brain), f"{brain} trades")

    def first_id(self) -> int:
        with reading(self.stack) as client:
            return stream_ids(client)[0]

    def healed(self, fault: Fault, ended_ns: int, first_before: int) -> None:
        self.stack.supervisor.wait_ready(timeout_s=HEALED_S)
        self.until(self.store_up, f"after {fault.name}: the gateway has Redis again")
        self.trade_until(ended_ns)
        for brain, symbol in TRADERS.items():
            self.until(partial(fresh, self.stack, brain, symbol), f"after {fault.name}: {symbol} is fresh")
        with reading(self.stack) as client:
            self.until(
                lambda: self.slices <= set(client.keys(f"bs:{ACCOUNT}:*")), f"after {fault.name}: every slice is back"
            )
            first, last = self.judge_stream(client, fault)
        assert self.running() == self.pids, "nothing but Redis was started anew"
        if last >= MAX_STREAM:  # a very slow machine: the oldest have gone
            return
        if fault.first == "as before":
            assert first == first_before, f"{fault.name}: the stream began with {first_before}, now with {first}"
        elif fault.first == "the journal's first":
            assert first == 1, f"{fault.name}: the journal's events are not all in the stream: from {first} on"

    def judge_stream(self, client: redis.Redis, fault: Fault) -> tuple[int, int]:
        """From its first id on, the stream is the journal's events, word for word; its first and last id."""
        with self.stack.journal() as database:
            ((last,),) = database.execute("SELECT max(seq) FROM events")
        self.until(lambda: stream_ids(client)[-1] >= last, f"after {fault.name}: the stream reaches the journal")
        told = [(seq_of(key), fields[b"e"]) for key, fields in xrange(client)]
        first, last = told[0][0], told[-1][0]
        assert [seq for seq, _ in told] == list(range(first, last + 1)), f"after {fault.name}: a hole or a double"
        with self.stack.journal() as database:
            query = "SELECT seq, event FROM events WHERE seq BETWEEN ? AND ? ORDER BY seq"
            kept = [(seq, bytes(as_bytes(event))) for seq, event in database.execute(query, (first, last))]
        other = [(shown, held) for shown, held in zip(told, kept, strict=False) if shown != held]
        assert told == kept, f"after {fault.name}: {other[:3]}"
        assert [decode(raw).seq for _, raw in told] == [seq for seq, _ in told]
        return first, last


def as_bytes(event: str | bytes) -> bytes:
    return event.encode() if isinstance(event, str) else event


def xrange(client: redis.Redis) -> list[tuple[bytes, dict[bytes, bytes]]]:
    found: Any = client.xrange(STREAM)
    return list(found)


def stream_ids(client: redis.Redis) -> list[int]:
    """The first and the last; 0 where there is none (yet)."""
    first: Any = client.xrange(STREAM, count=1)
    last: Any = client.xrevrange(STREAM, count=1)
    return [seq_of(first[0][0]) if first else 0, seq_of(last[0][0]) if last else 0]


def seq_of(key: bytes) -> int:
    return int(key.partition(b"-")[0])


def fresh(stack: Stack, brain: str, symbol: str) -> bool:
    """By the very reader brains decide by."""
    boot = clock.boot_id()
    reader = CutReader(ACCOUNT, [symbol], [], brain)
    feed = Feed(stack.plan.redis_url, reader, lambda _after, _limit: [], lambda: clock.reader_now(boot))
    try:
        return not feed.read(None).refused
    finally:
        feed.close()


# -- the end ---------------------------------------------------------------------------------------------------------


def fills_told(stack: Stack, folder: Path) -> bool:
    """Each brain's hook was told each of its fills once, in order."""
    with stack.journal() as database:
        query = "SELECT seq, event FROM events WHERE subject = 'order.filled' ORDER BY seq"
        found = [(seq, json.loads(event)) for seq, event in database.execute(query)]
    level = True
    for name in TRADERS:
        path = folder / f"{name}.heard"
        heard = [json.loads(line)["seq"] for line in path.read_text().splitlines()]
        assert heard == sorted(set(heard)), f"{name}: a fill told twice or out of order"
        level = level and heard == [seq for seq, event in found if event.get("brain") == name]
    return level


def judge_end(stack: Stack) -> None:
    asked, truth = stack.at_rest()
    at_exchange = Counter(order["clientOrderId"] for order in truth["orders"])
    assert judge_intents(asked, at_exchange) == []
    assert [name for name, count in at_exchange.items() if count > 1] == []
    with stack.journal() as database:
        (lost,) = database.execute("SELECT count(*) FROM events WHERE subject = 'brain.lost'").fetchone()
    assert lost == 0, "a brain that cannot read Redis keeps its lease"
    for symbol in (*TRADERS.values(), CLOSED, FLATTENED):
        stack.wait(lambda s=symbol: stack.position(s) == stack.exchange_position(s), 20, f"{symbol} agrees")
