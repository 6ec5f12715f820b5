"""A rig for the order path: settable views, a journal in memory, a small model exchange, and a root that routes.

Time moves only by `rig.advance`. What leaves is put into `rig.wire` and performed by `rig.perform`, so that a test
decides what arrives, what is answered, and in which order.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import msgspec

from gateway.core.effects import Answer, Report, Send, Write
from gateway.core.eventlog import EventLog
from gateway.core.inputs import Key, Now, RestFailed, RestReply
from gateway.core.order_settings import OrderSettings
from gateway.core.orders import OrderCore
from gateway.core.parts import Out
from gateway.core.ports import Caller, SymbolSettings
from gateway.core.rows import BrainRow, EventRow, FillRow, IntentRow, KvRow, OrderRow, OutcomeRow, Restored
from gateway.core.signals import Filled, Signal
from gateway.core.venue_orders import VenueFill, VenueOrder, VenuePosition
from gateway.venues.binance import order_requests
from ipc import wire
from ipc.wire import IntentId
from rules.instrument import Instrument

SYMBOL = "BTCUSDT"
BRAIN = "macd"
RUN = "r1795132800000"
START_BOOT_NS = 1_000_000_000_000
START_WALL_NS = 1_795_132_800_000_000_000
MS = 1_000_000
SETTINGS = OrderSettings(
    recv_window_ms=400, proof_margin_ms=100, proof_span_ms=600, question_ms=(50, 150, 300, 600), question_every_ms=300
)


def instrument(symbol: str = SYMBOL, **changes: Any) -> Instrument:
    made = Instrument(
        symbol=symbol, status="TRADING", base="BTC", quote="USDT", margin_asset="USDT", tick=Decimal("0.10"),
        step=Decimal("0.001"), market_step=Decimal("0.001"), min_price=Decimal("261.10"), max_price=Decimal(809484),
        min_qty=Decimal("0.001"), max_qty=Decimal(1000), market_min_qty=Decimal("0.001"), market_max_qty=Decimal(120),
        min_notional=Decimal(50), multiplier_up=Decimal("1.0500"), multiplier_down=Decimal("0.9500"), max_orders=200,
    )  # fmt: skip
    return replace(made, **changes)


@dataclass
class Market:
    instruments: dict[str, Instrument] = field(default_factory=lambda: {SYMBOL: instrument()})
    bests: dict[str, tuple[Decimal, Decimal]] = field(
        default_factory=lambda: {SYMBOL: (Decimal(60000), Decimal("60000.1"))}
    )
    marks: dict[str, Decimal] = field(default_factory=lambda: {SYMBOL: Decimal(60000)})
    known: bool = True

    def symbols(self) -> tuple[str, ...]:
        return tuple(self.instruments)

    def instrument(self, symbol: str) -> Instrument | None:
        return self.instruments.get(symbol)

    def best(self, symbol: str, now: Now) -> tuple[Decimal, Decimal] | None:
        return self.bests.get(symbol)

    def mark(self, symbol: str, now: Now) -> Decimal | None:
        return self.marks.get(symbol)

    def server_ms(self, now: Now) -> int:
        return now.wall_ms

    def clock_known(self) -> bool:
        return self.known


@dataclass
class Account:
    """Positions by fills, as the account core keeps them."""

    is_ready: bool = True
    has_baseline: bool = True
    live: bool = True
    in_hedge: bool = False
    qty: dict[tuple[str, str], Decimal] = field(default_factory=dict)
    refused: str | None = None

    def ready(self) -> bool:
        return self.is_ready

    def baseline(self) -> bool:
        return self.has_baseline

    def private_live(self) -> bool:
        return self.live

    def hedge(self) -> bool:
        return self.in_hedge

    def legs(self, symbol: str) -> tuple[VenuePosition, ...]:
        return tuple(
            VenuePosition(symbol, leg, qty, Decimal(60000))  # type: ignore[arg-type]
            for (name, leg), qty in self.qty.items()
            if name == symbol
        )

    def leg_qty(self, symbol: str, leg: str) -> Decimal:
        return self.qty.get((symbol, leg), Decimal(0))

    def settings(self, symbol: str) -> SymbolSettings:
        return SymbolSettings(5, "CROSSED", "one_way", None, None, self.refused)

    def entries_refused(self, symbol: str) -> str | None:
        return self.refused

    def filled(self, signal: Filled) -> None:
        key = (signal.order.symbol, signal.order.leg)
        change = signal.fill.qty if signal.order.side == "BUY" else -signal.fill.qty
        self.qty[key] = self.qty.get(key, Decimal(0)) + change


@dataclass
class Brain:
    name: str = BRAIN
    number: int = 1
    run: str | None = RUN
    symbols: tuple[str, ...] = (SYMBOL,)
    alive: bool = True
    show: dict[str, Any] | None = None
    show_ms: int | None = None


@dataclass
class Brains:
    by_name: dict[str, Brain] = field(default_factory=lambda: {BRAIN: Brain()})

    def get(self, name: str) -> Brain | None:
        return self.by_name.get(name)

    def by_symbol(self, symbol: str) -> Brain | None:
        return next((brain for brain in self.by_name.values() if symbol in brain.symbols), None)

    def all(self) -> tuple[Brain, ...]:
        return tuple(self.by_name.values())


@dataclass
class Held:
    """The rate governor with a gate: shut, tickets wait until it is opened."""

    shut: bool = False
    waiting: list[Send] = field(default_factory=list)

    def remove(self, key: Key) -> bool:
        before = len(self.waiting)
        self.waiting = [send for send in self.waiting if send.key != key]
        return len(self.waiting) < before


def _number(order: dict[str, Any]) -> int:
    number: int = order["orderId"]
    return number


class Exchange:
    """As much of USDⓈ-M as an order needs: accepts, rests or fills, cancels, lists; refuses what is late."""

    def __init__(self, *, hedge: bool = False) -> None:
        self.orders: dict[int, dict[str, Any]] = {}
        self.trades: list[dict[str, Any]] = []
        self.stream: list[VenueOrder] = []
        self.position: dict[tuple[str, str], Decimal] = {}
        self.hedge = hedge
        self.price = Decimal(60000)
        self.fill_takers = True
        self._next_order = 1000
        self._next_trade = 1

    # -- requests

    def call(self, send: Send, at_ms: int) -> tuple[int, bytes]:
        params = dict(send.params)
        stamp, window = int(params["timestamp"]), int(params["recvWindow"])
        if at_ms - stamp > window or stamp - at_ms > 1000:
            return 400, b'{"code":-1021,"msg":"Timestamp for this request is outside of the recvWindow."}'
        match send.method, send.path:
            case "POST", "/fapi/v1/order":
                return self._place(params, at_ms)
            case "DELETE", "/fapi/v1/order":
                return self._cancel(params, at_ms)
            case "GET", "/fapi/v1/order":
                found = self._find(params)
                if found is None:
                    return 400, b'{"code":-2013,"msg":"Order does not exist."}'
                return 200, json.dumps(self._row(found)).encode()
            case "GET", "/fapi/v1/allOrders":
                since, first = int(params.get("startTime", 0)), int(params.get("orderId", 0))
                mine = sorted((o for o in self.orders.values() if o["symbol"] == params["symbol"]), key=_number)
                rows = [self._row(o) for o in mine if o["time"] >= since and o["orderId"] >= first]
                return 200, json.dumps(rows[: int(params["limit"])]).encode()
            case "GET", "/fapi/v1/userTrades":
                rows = [t for t in self.trades if t["symbol"] == params["symbol"]]
                if "orderId" in params:
                    rows = [t for t in rows if t["orderId"] == int(params["orderId"])]
                rows = [t for t in rows if t["id"] >= int(params.get("fromId", 0))]
                return 200, json.dumps(rows[: int(params["limit"])]).encode()
        return 404, b"<html>not found</html>"

    def _find(self, params: dict[str, str]) -> dict[str, Any] | None:
        if "orderId" in params:
            return self.orders.get(int(params["orderId"]))
        found = [o for o in self.orders.values() if o["clientOrderId"] == params["origClientOrderId"]]
        return found[-1] if found else None

    def _place(self, params: dict[str, str], at_ms: int) -> tuple[int, bytes]:
        cid = params["newClientOrderId"]
        if any(o["clientOrderId"] == cid and o["status"] in ("NEW", "PARTIALLY_FILLED") for o in self.orders.values()):
            return 400, b'{"code":-4116,"msg":"ClientOrderId is duplicated."}'
        leg = params.get("positionSide", "BOTH")
        held = self.position.get((params["symbol"], leg), Decimal(0))
        qty = Decimal(params["quantity"])
        reducing = params.get("reduceOnly") == "true" or (
            leg != "BOTH" and (params["side"] == "SELL") == (leg == "LONG")
        )
        if reducing:
            if held == 0 or (params["side"] == "SELL") != (held > 0):
                return 400, b'{"code":-2022,"msg":"ReduceOnly Order is rejected."}'
            qty = min(qty, abs(held))
        self._next_order += 1
        order = {
            "orderId": self._next_order, "symbol": params["symbol"], "status": "NEW", "clientOrderId": cid,
            "price": params.get("price", "0.00"), "origQty": str(qty), "executedQty": "0.000", "cumQty": "0.000",
            "timeInForce": params.get("timeInForce", "GTC"), "type": params["type"], "side": params["side"],
            "reduceOnly": params.get("reduceOnly") == "true", "positionSide": leg, "updateTime": at_ms, "time": at_ms,
        }  # fmt: skip
        self.orders[self._next_order] = order
        reply = json.dumps(order).encode()
        self._say(order, "NEW")
        if self.fill_takers and (params["type"] == "MARKET" or params.get("timeInForce") in ("IOC", "FOK")):
            self.fill(self._next_order, qty, at_ms)
        return 200, reply

    def _cancel(self, params: dict[str, str], at_ms: int) -> tuple[int, bytes]:
        order = self._find(params)
        if order is None or order["status"] not in ("NEW", "PARTIALLY_FILLED"):
            return 400, b'{"code":-2011,"msg":"Unknown order sent."}'
        order["status"], order["updateTime"] = "CANCELED", at_ms
        self._say(order, "CANCELED")
        return 200, json.dumps(self._row(order)).encode()

    # -- the market

    def fill(self, order_id: int, qty: Decimal, at_ms: int) -> VenueFill:
        order = self.orders[order_id]
        done = Decimal(order["executedQty"]) + qty
        order["executedQty"] = str(done)
        order["status"] = "FILLED" if done >= Decimal(order["origQty"]) else "PARTIALLY_FILLED"
        order["updateTime"] = at_ms
        price = Decimal(order["price"]) or self.price
        fill = VenueFill(self._next_trade, qty, price, Decimal("0.01"), "USDT", Decimal(0), False, at_ms)
        self._next_trade += 1
        self.trades.append(
            {
                "symbol": order["symbol"], "id": fill.trade_id, "orderId": order_id, "price": str(price),
                "qty": str(qty), "side": order["side"], "positionSide": order["positionSide"], "realizedPnl": "0",
                "commission": "0.01", "commissionAsset": "USDT", "maker": False, "time": at_ms,
            }
        )  # fmt: skip
        key = (order["symbol"], order["positionSide"])
        change = qty if order["side"] == "BUY" else -qty
        self.position[key] = self.position.get(key, Decimal(0)) + change
        self._say(order, "TRADE", fill)
        return fill

    def expire(self, order_id: int, at_ms: int) -> None:
        self.orders[order_id].update(status="EXPIRED", updateTime=at_ms)
        self._say(self.orders[order_id], "EXPIRED")

    def _row(self, order: dict[str, Any]) -> dict[str, Any]:
        return {**order, "avgPrice": "0"}

    def _say(self, order: dict[str, Any], execution: str, fill: VenueFill | None = None) -> None:
        said = order_requests.parse_order(json.dumps(order).encode(), "stream")
        self.stream.append(replace(said, execution=execution, fill=fill))

    def open(self) -> list[dict[str, Any]]:
        return [o for o in self.orders.values() if o["status"] in ("NEW", "PARTIALLY_FILLED")]


class Journal:
    """What was committed: upserts by key, as SQLite would keep them."""

    def __init__(self) -> None:
        self.events: list[EventRow] = []
        self.intents: dict[tuple[str, str, int], IntentRow] = {}
        self.orders: dict[str, OrderRow] = {}
        self.outcomes: dict[tuple[str, str, int], OutcomeRow] = {}
        self.fills: dict[tuple[str, int], FillRow] = {}
        self.kv: dict[str, bytes] = {}

    def write(self, effect: Write) -> None:
        row = effect.row
        match row:
            case EventRow():
                assert row.event.seq == len(self.events) + 1, "events are contiguous"
                self.events.append(row)
            case IntentRow():
                assert (row.brain, row.run, row.seq) not in self.intents, "an intent is written once"
                self.intents[row.brain, row.run, row.seq] = row
            case OrderRow():
                self.orders[row.client_order_id] = row
            case OutcomeRow():
                self.outcomes[row.brain, row.run, row.seq] = row
            case FillRow():
                assert (row.symbol, row.trade_id) not in self.fills, "a trade is written once"
                self.fills[row.symbol, row.trade_id] = row
            case KvRow():
                self.kv[row.key] = row.value
            case _:
                raise AssertionError(row)

    def restored(self) -> Restored:
        return Restored(
            len(self.events) + 1, tuple(self.intents.values()), tuple(self.orders.values()),
            tuple(self.outcomes.values()), tuple(self.fills.values()), (BrainRow(BRAIN, 1, RUN, 0),), dict(self.kv),
        )  # fmt: skip

    def subjects(self, *prefixes: str) -> list[str]:
        return [row.event.subject for row in self.events if not prefixes or row.event.subject.startswith(prefixes)]


class Rig:
    def __init__(self, settings: OrderSettings = SETTINGS, *, hedge: bool = False) -> None:
        self.settings = settings
        self.market = Market()
        self.account = Account(in_hedge=hedge)
        self.brains = Brains()
        self.lanes = Held()
        self.exchange = Exchange(hedge=hedge)
        self.journal = Journal()
        self.boot_ns = START_BOOT_NS
        self.wire: list[Send] = []
        self.answers: list[tuple[int, wire.Answer]] = []
        self.signals: list[Signal] = []
        self.reports: list[Report] = []
        self.before_tick: Callable[[], None] = lambda: None
        self._ids = 0
        self.asked_before = 0  # requests of earlier lives of the process: nobody waits for their answers any more
        self.core = self._core()

    def _core(self) -> OrderCore:
        return OrderCore(
            account_name="main", settings=self.settings, venue=order_requests, market=self.market,
            account=self.account, brains=self.brains, log=EventLog(len(self.journal.events) + 1), lanes=self.lanes,
            tag="Ab1z", now=self.now, boot="boot-1",
        )  # fmt: skip

    @property
    def now(self) -> Now:
        return Now(START_WALL_NS + self.boot_ns - START_BOOT_NS, self.boot_ns)

    @property
    def ms(self) -> int:
        return self.now.wall_ms

    # -- the root

    def do(self, out: Out) -> None:
        """One step: route signals, ask the governor, commit, perform. First in, first out: events stay in order."""
        pending = list(out)
        performed: list[Any] = []
        while pending:
            effect = pending.pop(0)
            if isinstance(effect, Send):
                if self.lanes.shut:
                    self.lanes.waiting.append(effect)
                else:
                    send, more = self.core.on_granted(self.now, effect)
                    if send is not None:
                        performed.append(send)
                    pending += more
            elif isinstance(effect, Filled):
                self.signals.append(effect)
                self.account.filled(effect)
            elif isinstance(effect, Write):
                self.journal.write(effect)
            elif isinstance(effect, Answer):
                performed.append(effect)
            elif isinstance(effect, Report):
                self.reports.append(effect)
            elif isinstance(effect, Signal):
                self.signals.append(effect)
        for effect in performed:
            if isinstance(effect, Send):
                self.wire.append(effect)
            else:
                self.answers.append((effect.client, msgspec.json.decode(effect.line, type=wire.Answer)))

    def open_lanes(self) -> None:
        self.lanes.shut = False
        waiting, self.lanes.waiting = self.lanes.waiting, []
        self.do(list(waiting))

    # -- asking

    def place(
        self, seq: int = 1, *, side: str = "BUY", type: str = "LIMIT", qty: str = "0.002",
        price: str | None = "59000.0", caller: Caller | None = None, run: str = RUN, brain: str = BRAIN,
        symbol: str = SYMBOL, **more: Any,
    ) -> int:  # fmt: skip
        self._ids += 1
        if type == "MARKET":
            price = None
        asked = more.pop("asked_boot_ns", self.boot_ns)
        what: dict[str, Any] = {"side": side, "type": type, "qty": qty, "price": price, "asked_boot_ns": asked, **more}
        request = wire.Place(id=self._ids, intent=IntentId(brain, run, seq), symbol=symbol, **what)
        self.do(self.core.handle(self.now, caller or TRADER, request))
        return self._ids

    def ask(self, kind: type[Any], caller: Caller | None = None, **fields: Any) -> int:
        self._ids += 1
        self.do(self.core.handle(self.now, caller or TRADER, kind(id=self._ids, **fields)))
        return self._ids

    def unanswered_or_answered_twice(self) -> list[int]:
        """Request ids of this life that did not get exactly one answer."""
        counts = Counter(answer.id for _, answer in self.answers)
        return [number for number in range(self.asked_before + 1, self._ids + 1) if counts[number] != 1]

    def answer(self, request_id: int) -> wire.Answer | None:
        found = [answer for _, answer in self.answers if answer.id == request_id]
        assert len(found) <= 1, "one answer to one request"
        return found[0] if found else None

    # -- the exchange

    def perform(self, *, lose_reply: bool = False, lose_request: bool = False) -> Send:
        """The oldest request on the wire reaches the exchange, and its answer comes back (or one of them is lost)."""
        send = self.wire.pop(0)
        if lose_request:
            self.do(self.core.on_reply(self.now, RestFailed(send.key, True, "connection reset")))
            return send
        status, body = self.exchange.call(send, self.ms)
        if lose_reply:
            self.do(self.core.on_reply(self.now, RestFailed(send.key, True, "connection reset")))
        else:
            self.reply(send, status, body)
        return send

    def reply(self, send: Send, status: int, body: bytes) -> None:
        self.do(self.core.on_reply(self.now, RestReply(send.key, status, {}, body)))

    def fail(self, *, sent: bool) -> Send:
        send = self.wire.pop(0)
        self.do(self.core.on_reply(self.now, RestFailed(send.key, sent, "no route to host")))
        return send

    def stream(self) -> None:
        """Everything the exchange has to say on the private stream arrives."""
        waiting, self.exchange.stream = self.exchange.stream, []
        for order in waiting:
            self.do(self.core.on_venue_order(self.now, order))

    def advance(self, ms: float, *, serve: bool = False) -> None:
        """Time passes, with a tick at every deadline; with `serve`, requests are answered and the stream delivered."""
        end = self.boot_ns + int(ms * MS)
        while True:
            if serve:
                while self.wire:
                    self.perform()
                self.stream()
            due = self.core.next_deadline_boot_ns()
            if due is None or due > end:
                break
            self.boot_ns = max(self.boot_ns, due)
            self.before_tick()
            self.do(self.core.on_tick(self.now))
        self.boot_ns = end
        self.do(self.core.on_tick(self.now))

    def restart(self, downtime_ms: int = 50) -> None:
        """Kill -9: memory is gone, the journal is not; requests on their way got no answer."""
        self.wire.clear()
        self.lanes.waiting.clear()
        self.answers.clear()
        self.asked_before = self._ids
        self.boot_ns += downtime_ms * MS
        self.core = self._core()
        self.do(self.core.start(self.now, self.journal.restored()))


TRADER = Caller(1, 1000, BRAIN, False)
PERSON = Caller(9, 0, None, True)
