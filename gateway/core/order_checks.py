"""From an intent to the order that would leave, or the reason why none does. Each check is Approved or Refused.

Pure and without memory but the rate bucket: the same question is asked again when an intent had to wait (a held one, a
retry, a close decided anew from the real position, a restart).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, NamedTuple

from gateway.core.inputs import Now
from gateway.core.intents import Intent
from gateway.core.order_desk import Desk
from gateway.core.risk_states import RiskStates
from ipc.wire import Place
from rules import risk
from rules.instrument import Instrument, check_filters, round_price, round_qty, text
from rules.risk import Refused

ENTRY_CHECKS = (
    "state", "ready", "settings", "lease", "exits", "fresh", "filters", "notional", "position", "band", "rate",
)  # fmt: skip
CLOSE_CHECKS = ("state", "exits", "leg", "filters")
GATEWAY_BRAIN = "gateway"


class Shape(NamedTuple):
    """The order that would leave. `reduce_only` is what goes on the wire in one-way mode."""

    role: Literal["entry", "close"]
    side: Literal["BUY", "SELL"]
    type: str
    tif: str | None
    qty: Decimal
    price: Decimal | None
    leg: Literal["BOTH", "LONG", "SHORT"]
    reduce_only: bool
    post_only: bool
    hedge: bool
    checks: tuple[str, ...]


def faulty(place: Place) -> str | None:
    """What no market could accept, whatever its state: the sentence for `wire.bad_request`."""
    if place.type == "LIMIT":
        if place.price is None:
            return "a LIMIT order needs a price"
        if place.post_only and place.tif not in (None, "GTX"):
            return f"post_only is time in force GTX, not {place.tif}"
    elif place.price is not None or place.tif is not None or place.post_only:
        return "a MARKET order takes neither price, tif nor post_only"
    return None


class Checker:
    """Asks every question of design sections 4.1 and 5.3 in order."""

    __slots__ = ("_bucket", "_desk", "_risk", "flattening")

    def __init__(self, desk: Desk, risk_states: RiskStates) -> None:
        self._desk = desk
        self._risk = risk_states
        limits = desk.settings.limits
        self._bucket = risk.RateBucket(limits.orders_per_s, limits.orders_burst)
        self.flattening: set[str] = set()  # symbols with a flatten at work

    def decide(self, now: Now, intent: Intent, *, again: bool = False) -> Shape | Refused:
        """`again`: it was approved before and only waited; its rate token is taken already."""
        place, desk = intent.place, self._desk
        instrument = desk.market.instrument(place.symbol)
        if instrument is None:
            return Refused("symbol.unknown", f"{place.symbol} is not served here or not listed by the exchange")
        held = desk.account.leg_qty(place.symbol, place.leg)
        # what left as a close once stays one: tried again, it must not grow into an entry
        closing = place.reduce_only or (intent.order is not None and intent.order.role == "close")
        role = self._role(place, held, closing)
        if isinstance(role, Refused):
            return role
        state = self._risk.binding(place.intent.brain)
        if state != "running":
            refused = risk.check_state(state, role, privileged=self._privileged(intent, place))
            if refused is not None:
                return refused
        if role == "close":
            return self._close(now, intent, instrument, held)
        return self._entry(now, intent, instrument, held, again)

    @staticmethod
    def _privileged(intent: Intent, place: Place) -> bool:
        return intent.own or (place.reduce_only and place.tag.startswith(risk.INTERCEPTOR_TAG))

    # -- what is a close

    def _role(self, place: Place, held: Decimal, closing: bool) -> Literal["entry", "close"] | Refused:
        """A close shrinks the asking brain's own position without crossing zero; what crosses is an entry."""
        account = self._desk.account
        if account.hedge() or (place.leg != "BOTH" and not account.baseline()):
            return self._hedge_role(place, held, closing)
        if place.leg != "BOTH":
            return Refused("risk.settings", f"leg {place.leg} needs hedge mode; the account is in one-way mode")
        if closing and not account.baseline():
            return "close"  # bounded by the exchange; our own figure of the position is not proven yet
        shrinks = held != 0 and (place.side == "SELL") == (held > 0)
        if closing:
            if shrinks:
                return "close"
            return Refused("risk.not_a_close", f"{place.side} would not reduce the position of {text(held)}")
        if not shrinks or not account.baseline():
            return "entry"
        free = risk.closable(held, place.side, "BOTH", self._desk.standing(place.symbol))
        return "close" if Decimal(place.qty) <= free else "entry"

    def _hedge_role(self, place: Place, held: Decimal, closing: bool) -> Literal["entry", "close"] | Refused:
        if place.leg == "BOTH":
            return Refused("risk.settings", "leg BOTH needs one-way mode; the account is in hedge mode")
        closes = (place.side == "SELL") == (place.leg == "LONG")
        if not closes and closing:
            return Refused("risk.not_a_close", f"{place.side} does not reduce the {place.leg} leg")
        if closes and self._desk.account.baseline() and held == 0:
            return Refused("risk.not_a_close", f"there is no {place.leg} leg to reduce")
        return "close" if closes else "entry"

    # -- closes

    def _close(self, now: Now, intent: Intent, instrument: Instrument, held: Decimal) -> Shape | Refused:
        place = intent.place
        refused = self._second_exit(now, intent)
        if refused is not None:
            return refused
        resting = place.post_only or place.tif == "GTX"
        live = self._desk.market.best(place.symbol, now) is not None
        market = place.type == "MARKET" or (not live and not resting)
        qty = Decimal(place.qty)
        if self._desk.account.baseline():  # decided from the real position: never more than there is
            qty = min(qty, abs(held))
        qty = round_qty(instrument, qty, market=market)
        if market and 0 < instrument.market_max_qty < qty:
            qty = instrument.market_max_qty
        price = None if market or place.price is None else round_price(instrument, Decimal(place.price), place.side)
        fault = check_filters(instrument, side=place.side, qty=qty, price=price, mark=None, reduce_only=True)
        if fault is not None:
            return Refused(fault.code, fault.message)
        return self._shape(place, "close", market, qty, price)

    def _second_exit(self, now: Now, intent: Intent) -> Refused | None:
        """While an exit is unknown no second one leaves for 2 s; then one more, if the exchange bounds both."""
        place = intent.place
        brain = place.intent.brain
        exits = [
            order
            for order in self._desk.live.get(place.symbol, {}).values()
            if order.role == "close" and order.leg == place.leg and order.brain in (brain, GATEWAY_BRAIN)
        ]
        unknown = [order for order in exits if order.state == "unknown"]
        if not unknown:
            return None
        detail = {"client_order_id": unknown[0].cid}
        if any(not order.bounded for order in unknown):
            message = "a plain exit has an unknown outcome; no other may leave until it is resolved"
            return Refused("risk.exit_unknown", message, detail)
        if len(unknown) > 1 or any(order.state in ("queued", "sent") for order in exits):
            return Refused("risk.exit_unknown", "an exit is unknown and one more is already on its way", detail)
        age_ms = min((now.boot_ns - (order.doubt_boot_ns or now.boot_ns)) // 1_000_000 for order in unknown)
        if not (intent.own or intent.person) and age_ms < self._desk.settings.second_exit_after_ms:
            wait_ms = self._desk.settings.second_exit_after_ms - age_ms
            message = f"an exit has an unknown outcome; a second one may leave in {wait_ms} ms"
            return Refused("risk.exit_unknown", message, {**detail, "wait_ms": wait_ms})
        return None

    # -- entries

    def _entry(self, now: Now, intent: Intent, instrument: Instrument, held: Decimal, again: bool) -> Shape | Refused:
        place = intent.place
        refused = self._may_enter(place, instrument)
        if refused is not None:
            return refused
        views = self._desk.market
        best, mark = views.best(place.symbol, now), views.mark(place.symbol, now)
        if best is None or mark is None:
            what = "book is not live" if best is None else "mark price is not fresh"
            return Refused("risk.stale", f"the {what} for {place.symbol}; entries wait for it")
        market = place.type == "MARKET"
        qty = round_qty(instrument, Decimal(place.qty), market=market)
        price = None if place.price is None else round_price(instrument, Decimal(place.price), place.side)
        fault = check_filters(instrument, side=place.side, qty=qty, price=price, mark=mark, reduce_only=False)
        if fault is not None:
            return Refused(fault.code, fault.message)
        paid = price if price is not None else best[1] if place.side == "BUY" else best[0]
        refused = self._limits(place, qty, price, mark, paid, held)
        if refused is None and not again:
            patience_ns = self._patience_ns(now, intent)
            refused = risk.check_rate(self._bucket, self._desk.settings.limits, now.boot_ns, patience_ns)
        return refused if refused is not None else self._shape(place, "entry", market, qty, price)

    def _may_enter(self, place: Place, instrument: Instrument) -> Refused | None:
        account, brain = self._desk.account, self._desk.brains.get(place.intent.brain)
        if not instrument.trading:
            return Refused("symbol.not_trading", f"{place.symbol} is {instrument.status}, not TRADING")
        stopped = self._risk.entries_stopped()
        if stopped is not None:
            return Refused("risk.not_ready", stopped)
        if not account.ready():
            return Refused("risk.not_ready", "the first reconciliation (or one after a reconnect) is not done; wait")
        if place.symbol in self.flattening:
            return Refused("risk.reduce_only", f"{place.symbol} is being flattened")
        why = account.entries_refused(place.symbol)
        if why is not None:
            return Refused("risk.settings", why)
        if brain is None or not brain.alive:
            return Refused("risk.lease", "the lease is over; any request renews it, then ask again")
        unknown = self._desk.unknown_exits(place.intent.brain)
        if unknown:
            message = "an exit of this brain has an unknown outcome; entries wait until it is resolved"
            return Refused("risk.exit_unknown", message, {"client_order_id": unknown[0].cid})
        limit = instrument.max_orders
        if limit is not None and len(self._desk.live.get(place.symbol, ())) >= limit:
            return Refused("filter.max_orders", f"{limit} orders are open on {place.symbol}; no more are taken")
        return None

    def _limits(
        self, place: Place, qty: Decimal, price: Decimal | None, mark: Decimal, paid: Decimal, held: Decimal
    ) -> Refused | None:
        limits = self._desk.settings.limits
        worst = risk.worst_position(held, place.side, place.leg, self._desk.standing(place.symbol), qty)
        return (
            risk.check_order_notional(limits, qty, max(paid, mark))
            or risk.check_position_notional(limits, worst, mark)
            or (risk.check_price_band(limits, place.side, price, mark) if price is not None else None)
        )

    @staticmethod
    def _patience_ns(now: Now, intent: Intent) -> int:
        return max(0, intent.deadline_boot_ns - now.boot_ns) if intent.deadline_boot_ns is not None else 0

    def _shape(
        self, place: Place, role: Literal["entry", "close"], market: bool, qty: Decimal, price: Decimal | None
    ) -> Shape:
        hedge = place.leg != "BOTH"  # before the first reconciliation the mode may not be known; the leg says it
        post_only = (place.post_only or place.tif == "GTX") and not market
        tif = None if market else "GTX" if post_only else place.tif or "GTC"
        return Shape(
            role, place.side, "MARKET" if market else "LIMIT", tif, qty, price, place.leg,
            role == "close" and not hedge, post_only, hedge, CLOSE_CHECKS if role == "close" else ENTRY_CHECKS,
        )  # fmt: skip
