"""May anything be decided on this cut? Refusing is the default. Pure."""

from __future__ import annotations

from brain.inputs import Effect, Now, Ready, Report
from ipc.cut import Cut

_FIRST_REPORT_NS = 500_000_000  # a cut that is refused for one poll is nothing to talk about
_NEXT_REPORT_NS = 10_000_000_000


def refusal(cut: Cut, epoch: str | None, need_as_of: int, seen: int, answered: int) -> str:
    """Why not, empty if it may: every account slice must be fresh and of the gateway that answered hello; the events
    up to the last answer (`answered`) must have been read (`seen`), and the slices must include the last of them that
    concerns this brain's symbols (`need_as_of`). What another symbol's event changes is in no slice of ours."""
    if cut.refused:
        return cut.refused
    if seen < answered:
        return f"the events up to {answered} (read up to {seen})"
    if cut.epoch != epoch:
        return f"slices of gateway epoch {epoch} (there are those of {cut.epoch})"
    for symbol, each in cut.symbols.items():
        why = each.account_refusal()
        if why:
            return f"{symbol}: {why}"
        for head in (each.ledger.slice, each.position.slice, each.orders.slice):
            if head is not None and (head.as_of or 0) < need_as_of:
                return f"{symbol}: slices that include event {need_as_of}"
    return ""


class Waiting:
    """What a brain waits for, said when it lasts. `reason` is empty while it decides; `ready` once it ever did."""

    def __init__(self) -> None:
        self.reason = "the gateway"
        self.ready = False
        self._since_ns: int | None = None
        self._said_ns: int | None = None

    def note(self, why: str, now: Now, out: list[Effect]) -> None:
        self.reason = why
        if why:
            self._say(why, now, out)
            return
        if not self.ready:
            self.ready = True
            out.append(Ready())
        if self._said_ns is not None:
            out.append(Report("info", "deciding"))
        self._since_ns = self._said_ns = None

    def _say(self, why: str, now: Now, out: list[Effect]) -> None:
        if self._since_ns is None:
            self._since_ns = now.boot_ns
        first = self._said_ns is None and now.boot_ns - self._since_ns >= _FIRST_REPORT_NS
        again = self._said_ns is not None and now.boot_ns - self._said_ns >= _NEXT_REPORT_NS
        if first or again:
            self._said_ns = now.boot_ns
            out.append(Report("info", "waiting", {"for": why}))
