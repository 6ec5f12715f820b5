"""The faults that are switched on: which message, request or socket each one meets, when it begins and ends.

A fault is a JSON object with `fault` (its kind, see `simex.server.chaos.kinds`) and fields of that kind; these work for
all: `count` (how often it strikes), `for_s` (how long it lives). With neither it stays until cleared. Message faults
choose by `nth` (every n-th matching one; without `count` the first such, then spent) or `share` (0...1, at random).

Times are the machine's, in ms: what happens to a network happens in real seconds, and a fault of the exchange's clock
does not move its own end. The log adds what the exchange's clock said. Pure but for the dice, which are seeded.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from random import Random
from typing import Any

from simex.server.chaos.kinds import COMMON, INSTANT, check
from simex.server.chaos.variants import BAN_MS

MAX_FAULTS = 100
MAX_LOG = 10_000
_GLOBS = ("stream", "path")
_SELECTORS = ("symbol", "route", "stream", "account", "event", "path", "method")


@dataclass(slots=True)
class Fault:
    """One switched-on fault: `left` strikes remain (None: no limit), it ends at `until_ms` (None: never)."""

    number: int
    kind: str
    family: str
    fields: dict[str, Any]
    begin_ms: int
    left: int | None
    until_ms: int | None
    seen: int = 0
    struck: int = 0

    def listing(self) -> dict[str, Any]:
        """As GET /admin/faults shows it."""
        return {
            "id": self.number, "fault": self.kind, **self.fields, "begin_ms": self.begin_ms, "left": self.left,
            "until_ms": self.until_ms, "seen": self.seen, "struck": self.struck,
        }  # fmt: skip

    def selects(self, where: Mapping[str, str]) -> bool:
        """Whether every selector of the fault agrees; what a message does not have is no reason to refuse it."""
        fields = self.fields
        for name in _SELECTORS:
            wanted = fields.get(name)
            if wanted is None or name not in where or where[name] == wanted:
                continue
            if name not in _GLOBS or "*" not in wanted or not fnmatchcase(where[name], wanted):
                return False
        return True


@dataclass(frozen=True, slots=True)
class RequestFault:
    """What becomes of a request: `how` is the kind without `reply_`; `when` before, during or after it took effect."""

    how: str
    when: str
    fields: Mapping[str, Any]
    ban_until_ms: int
    """End of the fault, or two minutes on: what a 418 says."""


class FaultLog:
    """Begins and ends, numbered from 1 and bounded; the oldest go."""

    def __init__(self, exchange_ms: Callable[[], int] | None = None) -> None:
        self._exchange_ms = exchange_ms
        self._rows: deque[dict[str, Any]] = deque(maxlen=MAX_LOG)
        self.seq = 0

    def note(self, what: str, now_ms: int, fault: Fault, **more: Any) -> None:
        """One row: `what` is begin or end."""
        self.seq += 1
        self._rows.append(
            {"seq": self.seq, "what": what, "time_ms": now_ms,
             "exchange_ms": self._exchange_ms() if self._exchange_ms else now_ms, "id": fault.number,
             "fault": fault.kind, "family": fault.family, "fields": fault.fields, **more}
        )  # fmt: skip

    def since(self, seq: int) -> list[dict[str, Any]]:
        """The rows after a number."""
        return [row for row in self._rows if row["seq"] > seq]


def _nothing(_fault: Fault) -> None:
    """Most faults need nobody to undo them."""


@dataclass
class Faults:
    """The faults switched on now, at most `MAX_FAULTS`. `on_end` hears of each one that ends."""

    rng: Random
    on_end: Callable[[Fault], None] = _nothing
    exchange_ms: Callable[[], int] | None = None
    _active: list[Fault] = field(default_factory=list)
    _number: int = 0

    def __post_init__(self) -> None:
        self.log = FaultLog(self.exchange_ms)

    @property
    def idle(self) -> bool:
        """Nothing is switched on: the quick way for every message."""
        return not self._active

    def add(self, now_ms: int, spec: Mapping[str, Any]) -> Fault:
        """Switch one on. ValueError says what is wrong with the specification."""
        kind = check(spec)
        self.expire(now_ms)
        if len(self._active) >= MAX_FAULTS:
            raise ValueError(f"{MAX_FAULTS} faults are switched on already: clear some first")
        fields = {name: value for name, value in spec.items() if name not in COMMON and name != "fault"}
        count = spec.get("count", 1 if "nth" in spec else None)
        until = now_ms + int(spec["for_s"] * 1000) if "for_s" in spec and kind.acts != INSTANT else None
        self._number += 1
        fault = Fault(self._number, spec["fault"], kind.family, fields, now_ms, count, until)
        self._active.append(fault)
        return fault

    def clear(self, number: int | None = None, now_ms: int | None = None) -> int:
        """Switch one off, or all; returns how many that were."""
        over = [fault for fault in self._active if number in (None, fault.number)]
        for fault in over:
            self.end(now_ms if now_ms is not None else fault.begin_ms, fault, "cleared")
        return len(over)

    def withdraw(self, fault: Fault) -> None:
        """Take back one that could not begin: it never was."""
        self._active = [item for item in self._active if item is not fault]

    def end(self, now_ms: int, fault: Fault, why: str) -> None:
        """One fault is over: it leaves the list, what it did is undone, the log says so."""
        self._active = [item for item in self._active if item is not fault]
        self.on_end(fault)
        self.log.note("end", now_ms, fault, why=why, struck=fault.struck)

    def listing(self, now_ms: int) -> list[dict[str, Any]]:
        """All that are still in force."""
        self.expire(now_ms)
        return [fault.listing() for fault in self._active]

    def active(self, now_ms: int, kind: str, where: Mapping[str, str]) -> list[Fault]:
        """The faults of one kind that select something."""
        return [fault for fault in self._matching(now_ms, kind) if fault.kind == kind and fault.selects(where)]

    def strike(self, now_ms: int, kind: str, where: Mapping[str, str]) -> Fault | None:
        """The first fault of one kind that selects and strikes."""
        return next((fault for fault in self.active(now_ms, kind, where) if self._strikes(now_ms, fault)), None)

    def message_action(self, now_ms: int, prefix: str, where: Mapping[str, str]) -> tuple[str, Mapping[str, Any]]:
        """What to do with the next message: "pass", or a fault's kind without its prefix; its fields."""
        for fault in self._matching(now_ms, prefix):
            if fault.selects(where) and self._strikes(now_ms, fault):
                return fault.kind.removeprefix(prefix), fault.fields
        return "pass", {}

    def depth_action(self, now_ms: int, symbol: str) -> tuple[str, Mapping[str, Any]]:
        """What to do with the next depth message of a symbol."""
        return self.message_action(now_ms, "depth_", {"symbol": symbol})

    def request_fault(self, now_ms: int, method: str, path: str) -> RequestFault | None:
        """The failure that this request meets, if any."""
        where = {"method": method, "path": path}
        for fault in self._matching(now_ms, "reply_"):
            if fault.kind != "reply_delay" and fault.selects(where) and self._strikes(now_ms, fault):
                when = fault.fields.get("when", "after")
                until = fault.until_ms or now_ms + BAN_MS
                return RequestFault(fault.kind.removeprefix("reply_"), when, fault.fields, until)
        return None

    def reply_delay_ms(self, now_ms: int, method: str, path: str) -> int:
        """How long the answer is held back."""
        where = {"method": method, "path": path}
        return sum(
            int(fault.fields["delay_ms"])
            for fault in self._matching(now_ms, "reply_delay")
            if fault.selects(where) and self._strikes(now_ms, fault)
        )

    def expire(self, now_ms: int) -> None:
        """End what is past its time."""
        for fault in [item for item in self._active if item.until_ms is not None and now_ms >= item.until_ms]:
            self.end(now_ms, fault, "time")

    def _matching(self, now_ms: int, prefix: str) -> list[Fault]:
        if not self._active:
            return []
        self.expire(now_ms)
        return [fault for fault in self._active if fault.kind.startswith(prefix)]

    def _strikes(self, now_ms: int, fault: Fault) -> bool:
        fault.seen += 1
        nth, share = fault.fields.get("nth"), fault.fields.get("share")
        if nth is not None and fault.seen % nth:
            return False
        if share is not None and self.rng.random() >= share:
            return False
        fault.struck += 1
        if fault.left is not None:
            fault.left -= 1
            if fault.left <= 0:
                self.end(now_ms, fault, "spent")
        return True
