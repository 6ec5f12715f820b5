"""A model exchange and a model order core around the real account part: for tests of reconciliation.

The model speaks wire forms (user frames, REST bodies) and holds the truth: orders, trades, positions, wallet. Nothing
here imports the code under test's accounting; positions are kept as cost and quantity by its own arithmetic.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal

from gateway.core.account import AccountCore
from gateway.core.account_settings import AccountWish
from gateway.core.effects import Dirty, Effect, Report, Send, Write
from gateway.core.eventlog import EventLog
from gateway.core.heads import Heads
from gateway.core.inputs import Frame, Now, RestFailed, RestReply
from gateway.core.rows import EventRow, FillRow, KvRow, Restored
from gateway.core.signals import (
    ClockSuspect,
    Filled,
    Holdback,
    KeyDoubt,
    OrdersRead,
    PrivateDown,
    PrivateUp,
    ReadyChanged,
    ReconcileWanted,
    RestrictBrain,
    Signal,
)
from gateway.core.venue_orders import OrderSnapshot, VenueOrder
from gateway.venues.binance import account as venue
from ipc.events import Event
from ipc.wire import OrderView
from rules.instrument import Instrument

MS = 1_000_000
START_MS = 1_795_132_800_000
FEE = Decimal("0.0005")
OURS = "bs-"
THE_GATEWAY_S = "bs-gateway-"


def d(value: str | int) -> Decimal:
    return Decimal(value)


def instrument(symbol: str) -> Instrument:
    one = d(1)
    return Instrument(
        symbol,
        "TRADING",
        symbol[:3],
        "USDT",
        "USDT",
        tick=d("0.01"),
        step=d("0.001"),
        market_step=d("0.001"),
        min_price=d("0.01"),
        max_price=d(0),
        min_qty=d("0.001"),
        max_qty=d(0),
        market_min_qty=d("0.001"),
        market_max_qty=d(0),
        min_notional=one,
        multiplier_up=d(0),
        multiplier_down=d(0),
    )


@dataclass
class ModelOrder:
    symbol: str
    number: int
    client_id: str
    side: Literal["BUY", "SELL"]
    qty: Decimal
    price: Decimal
    leg: Literal["BOTH", "LONG", "SHORT"] = "BOTH"
    filled: Decimal = Decimal(0)
    status: str = "NEW"
    updated_ms: int = 0

    def row(self) -> dict[str, Any]:
        return {
            "orderId": self.number,
            "symbol": self.symbol,
            "status": self.status,
            "clientOrderId": self.client_id,
            "price": str(self.price),
            "avgPrice": "0",
            "origQty": str(self.qty),
            "executedQty": str(self.filled),
            "timeInForce": "GTC",
            "type": "LIMIT",
            "reduceOnly": False,
            "side": self.side,
            "positionSide": self.leg,
            "time": self.updated_ms,
            "updateTime": self.updated_ms,
        }


@dataclass
class ModelExchange:
    """`frames` is what the private stream has yet to deliver; `now_ms` is its clock, set by the harness."""

    symbols: tuple[str, ...]
    now_ms: int = START_MS
    wallet: Decimal = field(default_factory=lambda: d("10000"))
    orders: dict[int, ModelOrder] = field(default_factory=dict)
    trades: list[dict[str, Any]] = field(default_factory=list)
    positions: dict[tuple[str, str], tuple[Decimal, Decimal]] = field(default_factory=dict)  # qty, entry
    position_ms: dict[tuple[str, str], int] = field(default_factory=dict)
    frames: list[bytes] = field(default_factory=list)
    leverage: dict[str, int] = field(default_factory=dict)
    margin: dict[str, str] = field(default_factory=dict)
    hedge: bool = False
    next_id: int = 1000
    calls: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    broken: Callable[[Send], tuple[int, Any] | None] = lambda send: None

    def _id(self) -> int:
        self.next_id += 1
        return self.next_id

    # -- what happens there

    def place(
        self,
        symbol: str,
        side: Literal["BUY", "SELL"],
        qty: Decimal,
        price: Decimal,
        client_id: str,
        *,
        told: bool = True,
        leg: Literal["BOTH", "LONG", "SHORT"] = "BOTH",
    ) -> ModelOrder:
        order = ModelOrder(symbol, self._id(), client_id, side, qty, price, leg, updated_ms=self.now_ms)
        self.orders[order.number] = order
        if told:
            self._order_frame(order, "NEW", None)
        return order

    def cancel(self, order: ModelOrder, *, told: bool = True) -> None:
        order.status, order.updated_ms = "CANCELED", self.now_ms
        if told:
            self._order_frame(order, "CANCELED", None)

    def fill(self, order: ModelOrder, qty: Decimal, *, told: bool = True) -> None:
        order.filled += qty
        order.status = "FILLED" if order.filled == order.qty else "PARTIALLY_FILLED"
        order.updated_ms = self.now_ms
        key = (order.symbol, order.leg)
        had, entry = self.positions.get(key, (d(0), d(0)))
        change = qty if order.side == "BUY" else -qty
        realised = d(0)
        if had * change < 0:
            closed = min(abs(had), abs(change))
            realised = (order.price - entry) * closed * (1 if had > 0 else -1)
        new = had + change
        if new == 0:
            entry = d(0)
        elif had == 0 or had * new < 0:
            entry = order.price
        elif had * change > 0:
            entry = (had * entry + change * order.price) / new
        self.positions[key] = (new, entry)
        self.position_ms[key] = self.now_ms
        fee = qty * order.price * FEE
        self.wallet += realised - fee
        trade = {
            "symbol": order.symbol,
            "id": self._id(),
            "orderId": order.number,
            "side": order.side,
            "price": str(order.price),
            "qty": str(qty),
            "realizedPnl": str(realised),
            "commission": str(fee),
            "commissionAsset": "USDT",
            "time": self.now_ms,
            "positionSide": order.leg,
            "buyer": order.side == "BUY",
            "maker": True,
        }
        self.trades.append(trade)
        if told:
            self._account_frame("ORDER", "0", [key])
            self._order_frame(order, "TRADE", trade)

    def transfer(self, amount: Decimal, reason: str = "DEPOSIT", symbol: str | None = None) -> None:
        self.wallet += amount
        self._account_frame(reason, str(amount), [], symbol)

    def move_position(self, symbol: str, qty: Decimal, entry: Decimal) -> None:
        """Changed elsewhere: no order, no trade, no word on the stream."""
        self.positions[symbol, "BOTH"] = (qty, entry if qty else d(0))
        self.position_ms[symbol, "BOTH"] = self.now_ms

    def _account_frame(self, reason: str, change: str, keys: list[tuple[str, str]], symbol: str | None = None) -> None:
        rows = [
            {
                "s": s,
                "pa": str(self.positions[s, leg][0]),
                "ep": str(self.positions[s, leg][1]),
                "ps": leg,
                "mt": "cross",
            }
            for s, leg in keys
        ]
        body: dict[str, Any] = {
            "B": [{"a": "USDT", "wb": str(self.wallet), "cw": str(self.wallet), "bc": change}],
            "P": rows,
            "m": reason,
        }
        if symbol:
            body["S"] = symbol
        self._push({"e": "ACCOUNT_UPDATE", "T": self.now_ms, "E": self.now_ms, "a": body})

    def _order_frame(self, order: ModelOrder, execution: str, trade: dict[str, Any] | None) -> None:
        body = {
            "s": order.symbol,
            "c": order.client_id,
            "S": order.side,
            "o": "LIMIT",
            "f": "GTC",
            "q": str(order.qty),
            "p": str(order.price),
            "x": execution,
            "X": order.status,
            "i": order.number,
            "z": str(order.filled),
            "T": self.now_ms,
            "ps": order.leg,
            "R": False,
            "er": "0",
        }
        if trade is not None:
            body |= {
                "l": trade["qty"],
                "L": trade["price"],
                "n": trade["commission"],
                "N": "USDT",
                "t": trade["id"],
                "rp": trade["realizedPnl"],
                "m": True,
            }
        self._push({"e": "ORDER_TRADE_UPDATE", "T": self.now_ms, "E": self.now_ms, "o": body})

    def _push(self, event: dict[str, Any]) -> None:
        self.frames.append(json.dumps(event).encode())

    # -- REST

    def answer(self, send: Send) -> tuple[int, bytes]:
        params = dict(send.params)
        self.calls.append((send.method, send.path, params))
        fault = self.broken(send)
        if fault is not None:
            return fault[0], fault[1] if isinstance(fault[1], bytes) else json.dumps(fault[1]).encode()
        status, body = self._serve(send.method, send.path, params)
        return status, json.dumps(body).encode()

    def _serve(self, method: str, path: str, params: dict[str, str]) -> tuple[int, Any]:
        symbol = params.get("symbol")
        if method == "POST":
            return self._set(path, params)
        if path == "/fapi/v1/accountConfig":
            return 200, {"dualSidePosition": self.hedge}
        if path == "/fapi/v1/symbolConfig":
            return 200, [
                {"symbol": s, "leverage": self.leverage.get(s, 5), "marginType": self.margin.get(s, "CROSSED")}
                for s in self.symbols
            ]
        if path == "/fapi/v1/commissionRate":
            return 200, {"symbol": symbol, "makerCommissionRate": "0.0002", "takerCommissionRate": "0.0005"}
        if path == "/fapi/v3/balance":
            wallet = str(self.wallet)
            return 200, [{"asset": "USDT", "balance": wallet, "crossWalletBalance": wallet, "availableBalance": wallet}]
        if path == "/fapi/v3/positionRisk":
            return 200, [
                {
                    "symbol": s,
                    "positionSide": leg,
                    "positionAmt": str(qty),
                    "entryPrice": str(entry),
                    "updateTime": self.position_ms[s, leg],
                }
                for (s, leg), (qty, entry) in self.positions.items()
                if qty and symbol in (None, s)
            ]
        if path == "/fapi/v1/openOrders":
            rows = [order.row() for order in self.orders.values() if order.status in ("NEW", "PARTIALLY_FILLED")]
            return 200, [row for row in rows if symbol in (None, row["symbol"])]
        if path == "/fapi/v1/userTrades":
            rows = [trade for trade in self.trades if trade["symbol"] == symbol]
            if "fromId" in params:
                return 200, [trade for trade in rows if trade["id"] >= int(params["fromId"])][: int(params["limit"])]
            return 200, rows[-int(params["limit"]) :]
        if path == "/fapi/v1/order":
            for order in self.orders.values():
                if str(order.number) == params.get("orderId") or order.client_id == params.get("origClientOrderId"):
                    return 200, order.row()
            return 400, {"code": -2013, "msg": "Order does not exist."}
        raise AssertionError(f"the model does not serve {path}")

    def _set(self, path: str, params: dict[str, str]) -> tuple[int, Any]:
        if path == "/fapi/v1/leverage":
            self.leverage[params["symbol"]] = int(params["leverage"])
            return 200, {"leverage": int(params["leverage"]), "symbol": params["symbol"], "maxNotionalValue": "1"}
        if path == "/fapi/v1/marginType":
            if self.margin.get(params["symbol"], "CROSSED") == params["marginType"]:
                return 400, {"code": -4046, "msg": "No need to change margin type."}
            self.margin[params["symbol"]] = params["marginType"]
            return 200, {"code": 200, "msg": "success"}
        if path == "/fapi/v1/positionSide/dual":
            self.hedge = params["dualSidePosition"] == "true"
            return 200, {"code": 200, "msg": "success"}
        raise AssertionError(f"the model does not set {path}")


class ModelOrders:
    """The order core's part of the bargain: fills told once, orders by client id, foreign ones shown."""

    def __init__(self) -> None:
        self.held: dict[str, OrderSnapshot] = {}
        self.trades: set[tuple[str, int]] = set()
        self.flying: set[str] = set()  # symbols with something in flight
        self.fills: list[FillRow] = []

    def on_venue_order(self, order: VenueOrder) -> list[Signal]:
        was = self.held.get(order.client_order_id)
        filled = was.filled_qty if was else Decimal(0)
        out: list[Signal] = []
        new = order.fill is not None and (order.symbol, order.fill.trade_id) not in self.trades
        if order.fill is not None and new:
            filled += order.fill.qty
        closed = was is not None and was.state in ("filled", "cancelled", "expired")
        state = {
            "NEW": "open",
            "PARTIALLY_FILLED": "partially_filled",
            "FILLED": "filled",
            "CANCELED": "cancelled",
            "EXPIRED": "expired",
        }[order.status]
        if was is not None and (closed or (was.state == "partially_filled" and state == "open")):
            state = was.state
        snapshot = OrderSnapshot(
            client_order_id=order.client_order_id,
            order_id=order.order_id,
            symbol=order.symbol,
            side=order.side,
            leg=order.leg,
            state=state,
            qty=order.qty,
            filled_qty=filled,
            price=order.price,
            reduce_only=order.reduce_only,
            role="entry",
            brain=_brain_of(order.client_order_id),
            intent=None,
            attempt=1,
            sent_boot_ns=was.sent_boot_ns if was else None,
            updated_ms=order.updated_ms,
        )
        self.held[order.client_order_id] = snapshot
        if order.fill is not None and new:
            self.trades.add((order.symbol, order.fill.trade_id))
            self.fills.append(
                FillRow(order.symbol, order.fill.trade_id, order.client_order_id, order.fill.at_ms, b"{}")
            )
            out.append(Filled(snapshot, order.fill))
        return out

    def fly(self, symbol: str, client_id: str, boot_ns: int, state: str = "sent") -> None:
        """One of ours left and nobody has answered yet."""
        self.held[client_id] = OrderSnapshot(
            client_id, None, symbol, "BUY", "BOTH", state, d(1), d(0), d(1), False, "entry", "b1", None, 1, boot_ns, 0
        )

    def forget(self, client_id: str) -> None:
        self.held[client_id] = replace(self.held[client_id], state="expired")

    def open_orders(self, symbol: str | None = None) -> tuple[OrderSnapshot, ...]:
        return tuple(
            order
            for order in self.held.values()
            if order.state in ("sent", "unknown", "open", "partially_filled") and symbol in (None, order.symbol)
        )

    def open_views(self, symbol: str) -> tuple[OrderView, ...]:
        return tuple(
            OrderView(
                client_order_id=order.client_order_id,
                symbol=symbol,
                side=order.side,
                type="LIMIT",
                state=order.state,
                qty=str(order.qty),
            )
            for order in self.open_orders(symbol)
        )

    def in_flight(self, symbol: str) -> bool:
        return symbol in self.flying or any(order.state in ("sent", "unknown") for order in self.open_orders(symbol))

    def unknown_count(self) -> int:
        return sum(1 for order in self.held.values() if order.state == "unknown")

    def find(self, client_order_id: str) -> OrderSnapshot | None:
        return self.held.get(client_order_id)

    def risk_state(self, brain: str | None) -> tuple[str, str]:
        return "running", ""


class ModelMarket:
    def __init__(self, exchange: ModelExchange, bias_ms: int = 20) -> None:
        self._exchange = exchange
        self._bias_ms = bias_ms
        self.marks: dict[str, Decimal] = {}

    def symbols(self) -> tuple[str, ...]:
        return self._exchange.symbols

    def instrument(self, symbol: str) -> Instrument | None:
        return instrument(symbol)

    def best(self, symbol: str, now: Now) -> tuple[Decimal, Decimal] | None:
        return None

    def mark(self, symbol: str, now: Now) -> Decimal | None:
        return self.marks.get(symbol)

    def server_ms(self, now: Now) -> int:
        return now.wall_ms - self._bias_ms

    def clock_known(self) -> bool:
        return True


def _brain_of(client_order_id: str) -> str | None:
    if client_order_id.startswith(THE_GATEWAY_S):
        return "gateway"
    return "b1" if client_order_id.startswith(OURS) else None


@dataclass
class ModelBrain:
    name: str
    symbols: tuple[str, ...]
    number: int = 1
    run: str | None = "r1"
    alive: bool = True
    show: dict[str, Any] | None = None
    show_ms: int | None = None


class ModelBrains:
    def __init__(self, brains: list[ModelBrain]) -> None:
        self._brains = {brain.name: brain for brain in brains}

    def get(self, name: str) -> ModelBrain | None:
        return self._brains.get(name)

    def by_symbol(self, symbol: str) -> ModelBrain | None:
        return next((brain for brain in self._brains.values() if symbol in brain.symbols), None)

    def all(self) -> tuple[ModelBrain, ...]:
        return tuple(self._brains.values())


class Harness:
    """The root's part of the bargain, with a clock of its own. `run(ms)` lets time pass with prompt REST answers."""

    def __init__(
        self,
        exchange: ModelExchange,
        *,
        wish: AccountWish | None = None,
        restored: Restored | None = None,
        orders: ModelOrders | None = None,
        draw: Callable[[], float] = lambda: 0.5,
    ) -> None:
        self.exchange = exchange
        self.boot_ns = 1_000_000_000_000
        self.orders = orders or ModelOrders()
        self.market = ModelMarket(exchange)
        self.brains = ModelBrains([ModelBrain("b1", exchange.symbols)])
        self.log = EventLog(1)
        self.account = AccountCore(
            account="main",
            symbols=exchange.symbols,
            wish=wish or AccountWish(),
            venue=venue,
            heads=Heads(epoch="e1", account="main", venue="model", boot="boot"),
            events=self.log,
            market=self.market,
            orders=self.orders,
            brains=self.brains,
            lease_ms=3000,
            draw=draw,
        )
        self.events: list[Event] = []
        self.signals: list[Signal] = []
        self.dirty: list[str] = []
        self.reports: list[Report] = []
        self.kv: dict[str, bytes] = {}
        self.sends: list[Send] = []  # at the exchange or on their way
        self._take(self.account.start(self.now(), restored or empty()))

    def now(self) -> Now:
        return Now(self.exchange.now_ms * MS, self.boot_ns)

    def advance(self, ms: int) -> None:
        self.boot_ns += ms * MS
        self.exchange.now_ms += ms

    def _take(self, out: list[Effect | Signal]) -> None:
        for item in out:
            if isinstance(item, Send):
                self.sends.append(item)
            elif isinstance(item, Write):
                if isinstance(item.row, EventRow):
                    self.events.append(item.row.event)
                elif isinstance(item.row, KvRow):
                    self.kv[item.row.key] = item.row.value
            elif isinstance(item, Report):
                self.reports.append(item)
            elif isinstance(item, Dirty):
                self.dirty += item.keys
            elif isinstance(item, OrdersRead):
                for order in item.orders:
                    self.deliver(order)
            elif isinstance(
                item,
                ReadyChanged
                | KeyDoubt
                | Holdback
                | RestrictBrain
                | ReconcileWanted
                | PrivateDown
                | PrivateUp
                | ClockSuspect,
            ):
                self.signals.append(item)
            else:
                raise AssertionError(f"the account part returned {item!r}")

    def deliver(self, order: VenueOrder) -> None:
        for signal in self.orders.on_venue_order(order):
            self._take(self.account.on_signal(self.now(), signal))

    def up(self, cause: str = "start") -> None:
        self._take(self.account.on_signal(self.now(), PrivateUp(cause)))

    def down(self, reason: str = "closed") -> None:
        self.exchange.frames.clear()
        self._take(self.account.on_signal(self.now(), PrivateDown(reason)))

    def want(self, symbol: str | None) -> None:
        self._take(self.account.on_signal(self.now(), ReconcileWanted("test", symbol)))

    def frame(self, data: bytes) -> None:
        now = self.now()
        orders, out = self.account.on_frame(now, Frame("private", data, now.wall_ns, now.boot_ns))
        self._take(out)
        for order in orders:
            self.deliver(order)

    def next_frame(self) -> None:
        if self.exchange.frames:
            self.frame(self.exchange.frames.pop(0))

    def drop_frame(self) -> None:
        self.exchange.frames.pop(0)

    def all_frames(self) -> None:
        while self.exchange.frames:
            self.next_frame()

    def reply(self, send: Send, status: int, body: bytes) -> None:
        self._take(self.account.on_rest(self.now(), RestReply(send.key, status, {}, body)))

    def fail(self, send: Send, reason: str = "no answer") -> None:
        self._take(self.account.on_rest(self.now(), RestFailed(send.key, True, reason)))

    def answer_all(self) -> None:
        while self.sends:
            send = self.sends.pop(0)
            self.reply(send, *self.exchange.answer(send))

    def tick(self) -> None:
        self._take(self.account.on_tick(self.now()))

    def run(self, ms: int, step_ms: int = 50) -> None:
        """Time passes; every request is answered within a step, frames are delivered first."""
        for _ in range(max(1, ms // step_ms)):
            self.all_frames()
            self.tick()
            self.answer_all()
            self.tick()
            self.advance(step_ms)

    def start(self) -> None:
        self.up()
        self.run(2_000)
        assert self.account.ready(), self.reports

    # -- what came of it

    def subjects(self) -> list[str]:
        return [event.subject for event in self.events]

    def differences(self) -> list[tuple[str, str | None]]:
        return [(e.data["kind"], e.symbol) for e in self.events if e.subject == "reconcile.difference"]

    def agrees(self) -> None:
        """The books equal the exchange: every leg, the wallet, every open order."""
        for symbol in self.exchange.symbols:
            for name in ("BOTH", "LONG", "SHORT"):
                qty, entry = self.exchange.positions.get((symbol, name), (d(0), d(0)))
                leg = self.account.books.leg(symbol, name)
                assert leg.qty == qty, f"{symbol} {name}: ours {leg.qty}, theirs {qty}"
                assert abs(leg.entry - entry) < d("0.000001"), f"{symbol} {name}: entry {leg.entry}, theirs {entry}"
        ours = {order.client_order_id for order in self.orders.open_orders() if order.state not in ("sent", "unknown")}
        theirs = {o.client_id for o in self.exchange.orders.values() if o.status in ("NEW", "PARTIALLY_FILLED")}
        assert ours == theirs
        assert abs(self.account.books.wallets["USDT"].wallet - self.exchange.wallet) < d("0.0000001")


def empty() -> Restored:
    return Restored(1, (), (), (), (), (), {})


def restored_from(harness: Harness) -> Restored:
    """What a restart would find in the journal the harness wrote."""
    fills = tuple(harness.orders.fills)
    return Restored(harness.log.last + 1, (), (), (), fills, (), dict(harness.kv))
