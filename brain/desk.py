"""The order desk: turns a strategy's calls into intents, keeps the brain's own live orders. Pure.

What a hook orders is staged; it becomes an intent with a number only for as long as the hook does not fail
(`savepoint`, `rollback`). Nothing here sends: the runner commits first.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple, cast

import msgspec

from brain.closing import CloseOrder, Closing, Dust, bounded_price, ended, may_exit, next_close
from brain.inputs import Now
from brain.market import Market
from brain.records import Key, Record, Role
from ipc import wire
from rules.instrument import Instrument, check_filters, round_price, round_qty, text

ENTRY_DEADLINE_MS = 1000
MAX_LIVE = 64


class Handle:
    """An own order as a strategy sees it; its values are the newest known. Two handles of one order are equal."""

    __slots__ = ("record",)

    def __init__(self, record: Record) -> None:
        self.record = record

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and other.record.key == self.record.key and other.record.key[1] > 0

    def __hash__(self) -> int:
        return hash(self.record.key)

    def __repr__(self) -> str:
        place = self.record.place
        price = place.price or "MARKET"
        return f"Handle({self.intent} {place.side} {place.qty} {place.symbol} @ {price}: {self.state} {self.reason})"

    @property
    def intent(self) -> str:
        """`brain/run/seq`; seq 0 was refused before it became an intent."""
        name = self.record.place.intent
        return f"{name.brain}/{name.run}/{name.seq}"

    @property
    def symbol(self) -> str:
        return self.record.symbol

    @property
    def side(self) -> str:
        return self.record.place.side

    @property
    def qty(self) -> Decimal:
        return Decimal(self.record.place.qty)

    @property
    def price(self) -> Decimal | None:
        return Decimal(self.record.place.price) if self.record.place.price is not None else None

    @property
    def filled_qty(self) -> Decimal:
        return Decimal(self.record.filled_qty)

    @property
    def avg_price(self) -> Decimal | None:
        return Decimal(self.record.avg_price) if self.record.avg_price is not None else None

    @property
    def state(self) -> str:
        """One of `rules.orders.STATES`."""
        return self.record.state

    @property
    def reason(self) -> str:
        """Why it was refused or ended: a code of `ipc.errors` or the exchange's words."""
        return self.record.reason

    @property
    def tag(self) -> str:
        return self.record.place.tag

    @property
    def is_exit(self) -> bool:
        return self.record.role == "exit"

    @property
    def done(self) -> bool:
        return self.record.closed


class _Savepoint(NamedTuple):
    staged: int
    cancels: frozenset[Key]
    next_seq: int
    closings: dict[str, Closing]


class Desk:
    """`live`: orders that are not closed, by (run, seq). `staged`: decided in this step, not committed yet."""

    def __init__(self, brain: str, boot: str, market: Market) -> None:
        self.brain = brain
        self.boot = boot
        self.run = ""
        self.next_seq = 1
        self.live: dict[Key, Record] = {}
        self.staged: list[Record] = []
        self.cancels: set[Key] = set()
        self.closings: dict[str, Closing] = {}
        self.dust: list[tuple[str, Decimal]] = []
        self._market = market
        self._now = Now(0, 0)
        self._cause: wire.Cause | None = None

    def begin(self, now: Now, cause: wire.Cause | None) -> None:
        """A step begins: its clocks, and what its intents are decided on."""
        self._now = now
        self._cause = cause

    def savepoint(self) -> _Savepoint:
        return _Savepoint(len(self.staged), frozenset(self.cancels), self.next_seq, dict(self.closings))

    def rollback(self, point: _Savepoint) -> None:
        for record in self.staged[point.staged :]:
            record.state, record.reason = "rejected", "undone: the hook failed"
        del self.staged[point.staged :]
        self.cancels = set(point.cancels)
        self.next_seq = point.next_seq
        self.closings = dict(point.closings)

    def alive(self) -> Iterator[Record]:
        yield from (record for record in self.live.values() if not record.closed)
        yield from self.staged

    # -- a strategy's calls -----------------------------------------------------------------------------------

    def place(
        self,
        symbol: str,
        side: str,
        qty: Decimal,
        price: Decimal | None,
        *,
        slippage_bps: Decimal | None = None,
        tif: wire.Tif | None = None,
        post_only: bool = False,
        reduce_only: bool = False,
        tag: str = "",
        leg: wire.Leg | None = None,
        deadline_ms: int | None = None,
    ) -> Handle:
        """See `brain.api.Context.place`."""
        checked_side = _side(side)
        _check(symbol, qty, price, slippage_bps, tif, tag, self._market)
        limit = price
        instrument = self._market.instrument(symbol)
        if instrument is None:
            return self._refused(symbol, checked_side, qty, price, reduce_only, tag, "risk.stale")
        if slippage_bps is not None:
            best = self._market.best(symbol)
            if best is None:
                return self._refused(symbol, checked_side, qty, price, reduce_only, tag, "risk.stale")
            limit = bounded_price(instrument, best, checked_side, slippage_bps)
            tif = "IOC"
        elif limit is not None:
            limit = round_price(instrument, limit, checked_side)
            tif = tif or ("GTX" if post_only else "GTC")
        amount = round_qty(instrument, qty, market=limit is None)
        why = self._why_refused(symbol, reduce_only) or self._filter_fault(
            instrument, symbol, checked_side, amount, limit, reduce_only
        )
        if why:
            return self._refused(symbol, checked_side, amount, limit, reduce_only, tag, why)
        role: Role = "exit" if reduce_only else "entry"
        return self._stage(symbol, checked_side, amount, limit, tif, role, tag, leg, post_only, deadline_ms)

    def close(self, symbol: str, tag: str, slippage_bps: Decimal) -> Handle:
        self._market.symbol(symbol)
        qty = self._market.open_qty(symbol)
        if not qty:
            why = "risk.stale" if qty is None else "risk.not_a_close"
            return self._refused(symbol, "SELL", Decimal(0), None, True, tag, why)
        self.start_closing(symbol, tag, slippage_bps)
        self.work_closing(symbol)
        newest = [record for record in self.alive() if record.symbol == symbol and record.role == "exit"]
        if not newest:
            return self._refused(symbol, "SELL", Decimal(0), None, True, tag, "risk.exit_unknown")
        return Handle(newest[-1])

    def cancel(self, record: Record) -> None:
        if not record.closed and record.key[1] > 0:
            self.cancels.add(record.key)

    def qty_for(self, symbol: str, notional: Decimal) -> Decimal | None:
        instrument = self._market.instrument(symbol)
        best = self._market.best(symbol)
        price = self._market.mark(symbol) or ((best[0] + best[1]) / 2 if best is not None else None)
        if instrument is None or price is None:
            return None
        return round_qty(instrument, notional / price)

    # -- closing until flat -----------------------------------------------------------------------------------

    def start_closing(self, symbol: str, tag: str, slippage_bps: Decimal) -> None:
        """Latched until flat; a second reason changes nothing."""
        if symbol not in self.closings:
            self.closings[symbol] = Closing(tag=tag[:64], since_ms=self._now.wall_ms, slippage_bps=slippage_bps)

    def work_closing(self, symbol: str) -> None:
        """One look at a symbol that is being closed, decided from the real position."""
        closing = self.closings.get(symbol)
        qty = self._market.open_qty(symbol)
        instrument = self._market.instrument(symbol)
        if closing is None or qty is None or instrument is None:
            return
        if qty == 0:
            del self.closings[symbol]
            return
        mine = [record for record in self.alive() if record.symbol == symbol]
        for record in mine:
            if record.resting:
                self.cancel(record)
        exits = [record for record in mine if record.role == "exit" and not record.resting]
        order = next_close(closing, qty, self._market.prices(symbol), instrument, exits, self._now.boot_ns)
        if isinstance(order, Dust):
            self.dust.append((symbol, order.qty))
            del self.closings[symbol]
        elif order is not None:
            self._send_close(symbol, closing, order)

    def note_ended(self, record: Record) -> None:
        """An order came to its end; if a closing waited for it, it goes on."""
        closing = self.closings.get(record.symbol)
        if closing is not None and closing.last == record.key:
            self.closings[record.symbol] = ended(closing, record, self._now.boot_ns)

    def reissue(self, record: Record) -> Handle:
        """The same exit under a fresh name, because the old one was used up: a close is never held back."""
        place = record.place
        again = msgspec.structs.replace(
            place, intent=self._name(), asked_boot_ns=self._now.boot_ns, cause=self._cause, reduce_only=True
        )
        handle = self._add(again, "exit")
        closing = self.closings.get(record.symbol)
        if closing is not None and closing.last == record.key:
            self.closings[record.symbol] = msgspec.structs.replace(closing, last=handle.record.key)
        return handle

    def _send_close(self, symbol: str, closing: Closing, order: CloseOrder) -> None:
        tif: wire.Tif | None = "IOC" if order.price is not None else None
        handle = self._stage(symbol, order.side, order.qty, order.price, tif, "exit", closing.tag, None, False, None)
        self.closings[symbol] = msgspec.structs.replace(closing, last=handle.record.key)

    # -- inside -----------------------------------------------------------------------------------------------

    def _why_refused(self, symbol: str, reduce_only: bool) -> str:
        alive = list(self.alive())
        if len(alive) >= MAX_LIVE and not reduce_only:
            return "risk.order_rate"
        unknown = [record for record in alive if record.role == "exit" and record.state == "unknown"]
        if reduce_only:
            here = [record for record in unknown if record.symbol == symbol]
            return "" if may_exit(here, self._now.boot_ns) else "risk.exit_unknown"
        if symbol in self.closings:
            return "closing"
        return "risk.exit_unknown" if unknown else ""

    def _filter_fault(
        self,
        instrument: Instrument,
        symbol: str,
        side: wire.Side,
        qty: Decimal,
        price: Decimal | None,
        reduce_only: bool,
    ) -> str:
        mark = self._market.mark(symbol)
        fault = check_filters(instrument, side=side, qty=qty, price=price, mark=mark, reduce_only=reduce_only)
        return fault.code if fault is not None else ""

    def _stage(
        self,
        symbol: str,
        side: wire.Side,
        qty: Decimal,
        price: Decimal | None,
        tif: wire.Tif | None,
        role: Role,
        tag: str,
        leg: wire.Leg | None,
        post_only: bool,
        deadline_ms: int | None,
    ) -> Handle:
        exit_ = role == "exit"
        place = wire.Place(
            id=0, intent=self._name(), symbol=symbol, side=side,
            type="MARKET" if price is None else "LIMIT", qty=text(qty), price=None if price is None else text(price),
            tif=tif, leg=leg or self._leg(symbol, side, exit_), reduce_only=exit_, post_only=post_only, tag=tag,
            cause=self._cause, asked_boot_ns=self._now.boot_ns,
            deadline_ms=deadline_ms if deadline_ms is not None else (None if exit_ else ENTRY_DEADLINE_MS),
        )  # fmt: skip
        return self._add(place, role)

    def _add(self, place: wire.Place, role: Role) -> Handle:
        record = Record(place=place, role=role, boot=self.boot, asked_ms=self._now.wall_ms)
        self.staged.append(record)
        return Handle(record)

    def _name(self) -> wire.IntentId:
        name = wire.IntentId(self.brain, self.run, self.next_seq)
        self.next_seq += 1
        return name

    def _leg(self, symbol: str, side: wire.Side, exit_: bool) -> wire.Leg:
        if not self._market.hedged(symbol):
            return "BOTH"
        return "LONG" if (side == "BUY") != exit_ else "SHORT"

    def _refused(
        self,
        symbol: str,
        side: wire.Side,
        qty: Decimal,
        price: Decimal | None,
        reduce_only: bool,
        tag: str,
        why: str,
    ) -> Handle:
        place = wire.Place(
            id=0, intent=wire.IntentId(self.brain, self.run, 0), symbol=symbol, side=side,
            type="MARKET" if price is None else "LIMIT", qty=text(qty), price=None if price is None else text(price),
            reduce_only=reduce_only, tag=tag,
        )  # fmt: skip
        role: Role = "exit" if reduce_only else "entry"
        return Handle(
            Record(place=place, role=role, boot=self.boot, asked_ms=self._now.wall_ms, state="rejected", reason=why)
        )


def _side(side: str) -> wire.Side:
    if side not in ("BUY", "SELL"):
        raise ValueError(f"side is {side!r}; it must be BUY or SELL")
    return cast(wire.Side, side)


def _check(
    symbol: str,
    qty: Decimal,
    price: Decimal | None,
    slippage_bps: Decimal | None,
    tif: str | None,
    tag: str,
    market: Market,
) -> None:
    market.symbol(symbol)  # KeyError names an unknown one
    for name, value in (("qty", qty), ("price", price), ("slippage_bps", slippage_bps)):
        if value is None:
            continue
        if not isinstance(value, Decimal):
            raise TypeError(f"{name} is {value!r}; it must be a Decimal (money is never a float)")
        if not value.is_finite() or value < 0:
            raise ValueError(f"{name} is {value}; it must be finite and not negative")
    if price is not None and slippage_bps is not None:
        raise ValueError("price and slippage_bps exclude each other")
    if tif is not None and tif not in ("GTC", "IOC", "FOK", "GTX"):
        raise ValueError(f"tif is {tif!r}; it must be GTC, IOC, FOK or GTX")
    if len(tag) > 64:
        raise ValueError(f"tag has {len(tag)} characters, at most 64 are possible")
