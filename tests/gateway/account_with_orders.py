"""The real order core under the account harness: what the model order core promises, kept by the real one."""

from __future__ import annotations

from typing import cast

from gateway.core.effects import Effect, Send, Write
from gateway.core.governor import Governor
from gateway.core.inputs import Now, RestReply
from gateway.core.order_settings import OrderSettings
from gateway.core.orders import OrderCore
from gateway.core.rows import FillRow
from gateway.core.signals import (
    Filled,
    Holdback,
    OrdersRead,
    PrivateDown,
    PrivateUp,
    ReadyChanged,
    ReconcileWanted,
    RestrictBrain,
    Signal,
)
from gateway.core.venue_orders import OrderSnapshot, VenueOrder
from gateway.venues.binance import limits, order_requests
from ipc.wire import OrderView
from tests.gateway.account_model import Harness, ModelExchange, ModelOrders, empty


class RealOrders(ModelOrders):
    """Same face as the model; inside, the real core. Its own requests go to the exchange through the harness."""

    def __init__(self) -> None:
        super().__init__()
        self.core: OrderCore | None = None
        self.harness: Harness | None = None

    def _core(self) -> OrderCore:
        assert self.core is not None
        return self.core

    def _now(self) -> Now:
        assert self.harness is not None
        return self.harness.now()

    def on_venue_order(self, order: VenueOrder) -> list[Signal]:
        return self.sort(self._core().on_venue_order(self._now(), order))

    def sort(self, out: list[Effect | Signal]) -> list[Signal]:
        """Signals for the account part; rows and events are kept by the harness, requests sent."""
        signals: list[Signal] = []
        for item in out:
            if isinstance(item, Filled | ReconcileWanted):
                signals.append(item)
            elif isinstance(item, Write):
                if isinstance(item.row, FillRow):
                    self.fills.append(item.row)
                assert self.harness is not None
                self.harness._take([item])
            elif isinstance(item, Send):
                real, more = self._core().on_granted(self._now(), item)
                signals += self.sort(more)
                if real is not None and self.harness is not None:
                    self.harness.sends.append(real)
        return signals

    def open_orders(self, symbol: str | None = None) -> tuple[OrderSnapshot, ...]:
        return self._core().open_orders(symbol)

    def open_views(self, symbol: str) -> tuple[OrderView, ...]:
        return self._core().open_views(symbol)

    def in_flight(self, symbol: str) -> bool:
        return self._core().in_flight(symbol)

    def unknown_count(self) -> int:
        return self._core().unknown_count()

    def find(self, client_order_id: str) -> OrderSnapshot | None:
        return self._core().find(client_order_id)

    def risk_state(self, brain: str | None) -> tuple[str, str]:
        return self._core().risk_state(brain)


class RealHarness(Harness):
    """Routes signals both ways, as the root does."""

    def __init__(self, exchange: ModelExchange) -> None:
        orders = RealOrders()
        super().__init__(exchange, orders=orders)
        self.real = orders
        orders.harness = self
        orders.core = OrderCore(
            account_name="main",
            settings=OrderSettings(),
            venue=order_requests,
            market=self.market,
            account=self.account,
            brains=self.brains,
            log=self.log,
            lanes=Governor(limits),
            tag="abcd",
            now=self.now(),
            boot="boot",
        )
        self.route(orders.core.start(self.now(), empty()))

    def route(self, out: list[Effect | Signal]) -> None:
        for signal in self.real.sort(out):
            self._take(self.account.on_signal(self.now(), signal))

    def _take(self, out: list[Effect | Signal]) -> None:
        for item in out:
            if isinstance(item, OrdersRead):
                self.route(self.real._core().on_signal(self.now(), item))
                continue
            super()._take([item])
            if isinstance(item, ReadyChanged | Holdback | RestrictBrain):
                self.route(self.real._core().on_signal(self.now(), item))

    def deliver(self, order: VenueOrder) -> None:
        self.route(cast("list[Effect | Signal]", self.real.on_venue_order(order)))

    def up(self, cause: str = "start") -> None:
        super().up(cause)
        self.route(self.real._core().on_signal(self.now(), PrivateUp(cause)))

    def down(self, reason: str = "closed") -> None:
        super().down(reason)
        self.route(self.real._core().on_signal(self.now(), PrivateDown(reason)))

    def reply(self, send: Send, status: int, body: bytes) -> None:
        if send.key[0] != "orders":
            super().reply(send, status, body)
            return
        self.route(self.real._core().on_reply(self.now(), RestReply(send.key, status, {}, body)))

    def tick(self) -> None:
        self.route(self.real._core().on_tick(self.now()))
        super().tick()
