"""Flatten: cancel what rests, close by MARKET in the form the exchange bounds by the leg, again until flat.

One job a symbol; it survives restarts (`KvRow` `flatten:<symbol>`). Its closes are the gateway's own intents, kept
like any. While a job works, entries of its symbol are refused. The end of a lease starts one after its grace.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from gateway.core import answers
from gateway.core.canceller import Canceller
from gateway.core.effects import Answer, Report, Write
from gateway.core.inputs import Now
from gateway.core.intents import Intent, Waiter
from gateway.core.order_checks import GATEWAY_BRAIN, Checker
from gateway.core.order_desk import Desk
from gateway.core.parts import Out
from gateway.core.placing import Placing, own_place
from gateway.core.ports import Caller
from gateway.core.rows import KvRow
from gateway.core.signals import BrainLost, ReconcileWanted
from gateway.core.timers import MS
from gateway.core.venue_orders import VenuePosition
from ipc.errors import IpcError
from ipc.wire import Flatten
from rules.instrument import round_qty


class _Lost(msgspec.Struct, frozen=True):
    """A lease that ended, as `KvRow` `lost:<brain>` holds it."""

    symbols: tuple[str, ...]
    flatten_after_ms: int


_lost_decoder: msgspec.json.Decoder[_Lost] = msgspec.json.Decoder(_Lost)


class Job:
    __slots__ = ("intents", "reason", "reconcile_asked", "symbol", "wait_ms")

    def __init__(self, symbol: str, reason: str, wait_ms: int) -> None:
        self.symbol = symbol
        self.reason = reason
        self.wait_ms = wait_ms
        self.intents: list[Intent] = []
        self.reconcile_asked = False


class Group:
    """One request that waits until all of its symbols are flat."""

    __slots__ = ("pending", "symbols", "waiter")

    def __init__(self, waiter: Waiter, symbols: Iterable[str]) -> None:
        self.waiter = waiter
        self.symbols = tuple(symbols)
        self.pending = set(self.symbols)


class Flattener:
    def __init__(self, desk: Desk, checker: Checker, placing: Placing, canceller: Canceller, *, run: str) -> None:
        self._desk = desk
        self._checker = checker
        self._placing = placing
        self._canceller = canceller
        self._run = run
        self._seq = 0
        self._jobs: dict[str, Job] = {}
        self._groups: list[Group] = []
        self._lost: dict[str, tuple[str, ...]] = {}
        self._due: dict[str, int] = {}  # when to flatten for each: any other timer does not count

    # -- a request

    def flatten(self, now: Now, caller: Caller, request: Flatten, state: str) -> Out:
        """A brain flattens its own symbols, while its state lets it; a person anything, in every state."""
        symbols = self._symbols(caller, request)
        if caller.brain is not None and state in ("cancel_only", "halted"):
            raise IpcError(f"risk.{state}", f"state {state}: only a person may flatten now")
        waiter = Waiter(caller.client, request.id, now.boot_ns + self._desk.settings.answer_within_ms * MS)
        reason = request.reason or ("asked by a person" if caller.brain is None else f"asked by {caller.brain}")
        out: Out = []
        group = Group(waiter, symbols)
        self._groups.append(group)
        self._desk.timers.add(waiter.until_boot_ns, "flatten_answer")
        for symbol in symbols:
            out += self.start(now, symbol, reason)
        return out + self._finished()

    def _symbols(self, caller: Caller, request: Flatten) -> tuple[str, ...]:
        if caller.brain is None:
            if not caller.admin:
                raise IpcError("rights.denied", "flatten needs a hello that names a brain, or an administrator")
            return (self._served(request.symbol),) if request.symbol is not None else self.everything()
        info = self._desk.brains.get(caller.brain)
        own = info.symbols if info is not None else ()
        if request.symbol is None:
            return own
        if request.symbol not in own and not caller.admin:
            raise IpcError("rights.denied", f"{caller.brain} flattens its own symbols only: {', '.join(own)}")
        return (request.symbol,)

    def _served(self, symbol: str) -> str:
        """A job for a symbol nobody tells us of would never end. Raises IpcError."""
        if symbol not in self.everything():
            raise IpcError("symbol.unknown", f"{symbol} is not served here and has no order of ours")
        return symbol

    def everything(self) -> tuple[str, ...]:
        """Every symbol we serve or have an order on."""
        symbols = dict.fromkeys(self._desk.market.symbols())
        symbols.update(dict.fromkeys(order.symbol for order in self._desk.live_orders()))
        return tuple(symbols)

    # -- jobs

    def start(self, now: Now, symbol: str, reason: str) -> Out:
        if symbol in self._jobs:
            return []
        job = self._jobs[symbol] = Job(symbol, reason, self._desk.settings.flatten_first_ms)
        self._checker.flattening.add(symbol)
        out: Out = [Write(KvRow(f"flatten:{symbol}", reason.encode()))]
        swept, _ = self._canceller.sweep(now, brain=None, symbol=symbol, entries_only=False, own=False)
        return out + swept + self._step(now, job)

    def on_timer(self, now: Now, symbol: str) -> Out:
        job = self._jobs.get(symbol)
        if job is None:
            return []
        return self._step(now, job) + self._finished()

    def _step(self, now: Now, job: Job) -> Out:
        """Look at the real position; close what is there unless a close is under way; look again."""
        desk = self._desk
        job.intents = [intent for intent in job.intents if intent.outcome is None or not _ended(intent)]
        out: Out = []
        legs = [leg for leg in desk.account.legs(job.symbol) if leg.qty != 0 and not self._dust(leg)]
        resting = [order for order in desk.live_orders(job.symbol) if order.brain is not None]
        # in a gap of the private stream, and at a start, our figures are the last ones heard: they prove nothing
        if desk.account.ready() and not legs and not resting and not job.intents:
            return self._done(job)
        if desk.market.instrument(job.symbol) is None or not desk.market.clock_known():
            return self._later(now, job)  # at a start: the exchange's filters and clock come first
        if not desk.account.baseline():
            if not job.reconcile_asked:
                job.reconcile_asked = True
                out.append(ReconcileWanted(f"flatten {job.symbol}: positions are not known yet", job.symbol))
            return out + self._later(now, job)
        for leg in legs:
            if self._may_send(job, leg):
                out += self._close(now, job, leg)
        for order in resting:
            if order.brain != GATEWAY_BRAIN and not order.cancel:
                out += self._canceller.start(now, order)
        return out + self._later(now, job)

    def _later(self, now: Now, job: Job) -> Out:
        self._desk.timers.add(now.boot_ns + job.wait_ms * MS, "flatten", job.symbol)
        job.wait_ms = min(job.wait_ms * 2, self._desk.settings.flatten_max_ms)
        return []

    def _dust(self, leg: VenuePosition) -> bool:
        """Less than the exchange's smallest MARKET order: nobody can close it."""
        instrument = self._desk.market.instrument(leg.symbol)
        return instrument is not None and round_qty(instrument, abs(leg.qty), market=True) == 0

    def _may_send(self, job: Job, leg: VenuePosition) -> bool:
        """No close of ours under way on the leg; beside an unknown one, one more at once (the exchange bounds both)."""
        waiting = [intent for intent in job.intents if intent.place.leg == leg.leg]
        orders = [intent.order for intent in waiting]
        if any(order is None or order.state != "unknown" for order in orders):
            return False
        return len(orders) <= 1

    def _close(self, now: Now, job: Job, leg: VenuePosition) -> Out:
        self._seq += 1
        side = "SELL" if leg.qty > 0 else "BUY"
        place = own_place(self._run, self._seq, job.symbol, side, abs(leg.qty), leg.leg, "flatten")
        intent, out = self._placing.own(now, place)
        if intent.outcome is None:
            job.intents.append(intent)
        return out

    def _done(self, job: Job) -> Out:
        del self._jobs[job.symbol]
        self._checker.flattening.discard(job.symbol)
        for group in self._groups:
            group.pending.discard(job.symbol)
        return [
            Write(KvRow(f"flatten:{job.symbol}", b"")),
            Report("info", "flat", {"symbol": job.symbol, "reason": job.reason}),
        ]

    # -- answers

    def _finished(self) -> Out:
        done = [group for group in self._groups if not group.pending]
        if not done:
            return []
        self._groups = [group for group in self._groups if group.pending]
        return [
            answers.done(
                group.waiter.client, group.waiter.request_id, self._desk.log.last,
                result={"flat": True, "symbols": dict.fromkeys(group.symbols, "flat")},
            )
            for group in done
        ]  # fmt: skip

    def on_answer_due(self, now: Now) -> Out:
        due = [group for group in self._groups if group.waiter.until_boot_ns <= now.boot_ns]
        self._groups = [group for group in self._groups if group.waiter.until_boot_ns > now.boot_ns]
        return [self._not_yet(group) for group in due]

    def _not_yet(self, group: Group) -> Answer:
        symbols = {symbol: "closing" if symbol in group.pending else "flat" for symbol in group.symbols}
        message = f"{', '.join(sorted(group.pending))} not flat yet; it goes on until flat"
        result = {"flat": False, "symbols": symbols}
        return answers.not_done_yet(group.waiter.client, group.waiter.request_id, self._desk.log.last, message, result)

    @property
    def busy(self) -> bool:
        return bool(self._jobs)

    # -- the end of a lease

    def on_lost(self, now: Now, lost: BrainLost) -> Out:
        """Resting entries go at once; exits stay; what it holds is closed after the grace unless it comes back."""
        out, _ = self._canceller.sweep(now, brain=lost.brain, symbol=None, entries_only=True)
        if lost.flatten_after_ms is None or lost.brain in self._lost:
            return out
        held = _Lost(lost.symbols, lost.flatten_after_ms)
        out.append(Write(KvRow(f"lost:{lost.brain}", msgspec.json.encode(held))))
        self._wait_for(now, lost.brain, held)
        return out

    def _wait_for(self, now: Now, brain: str, held: _Lost) -> None:
        self._lost[brain] = held.symbols
        self._wait_until(brain, now.boot_ns + held.flatten_after_ms * MS)

    def _wait_until(self, brain: str, due_boot_ns: int) -> None:
        self._due[brain] = due_boot_ns
        self._desk.timers.add(due_boot_ns, "lost", (brain, due_boot_ns))

    def hear_lost(self, until_boot_ns: int) -> None:
        for brain in self._lost:
            if self._due[brain] < until_boot_ns:
                self._wait_until(brain, until_boot_ns)

    def on_back(self, brain: str) -> Out:
        if self._lost.pop(brain, None) is None:
            return []
        return [Write(KvRow(f"lost:{brain}", b""))]

    def on_lost_due(self, now: Now, due: tuple[str, int]) -> Out:
        brain, due_boot_ns = due
        if brain not in self._lost or self._due[brain] != due_boot_ns:
            return []
        symbols = self._lost.pop(brain)
        out: Out = [Write(KvRow(f"lost:{brain}", b""))]
        for symbol in symbols:
            out += self.start(now, symbol, f"the lease of {brain} ended")
        return out

    # -- restart

    def restore(self, now: Now, kv: dict[str, bytes]) -> Out:
        out: Out = []
        for key, value in kv.items():
            kind, _, name = key.partition(":")
            if kind == "flatten" and value:
                out += self.start(now, name, value.decode("utf-8", "replace"))
            elif kind == "lost" and value:
                self._wait_for(now, name, _lost_decoder.decode(value))
        return out


def _ended(intent: Intent) -> bool:
    return intent.order is None or intent.order.closed
