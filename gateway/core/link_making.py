"""How connections are made: their names and addresses, their pauses and turns, within one budget. Pure."""

from __future__ import annotations

from gateway.core.effects import Connect
from gateway.core.inputs import Conn, Now
from gateway.core.link_budget import ConnectionBudget
from gateway.core.link_commands import Commands
from gateway.core.link_lines import Family, Line
from gateway.core.listen_key import KeyGuardian
from gateway.core.market_context import MarketContext
from gateway.core.market_settings import LinkSettings
from gateway.core.market_venue import Endpoints, MarketVenue
from gateway.core.parts import Out

_MS = 1_000_000
STOOD_FAILURES_MAX = 3  # with the first pause of 250 ms: about a second at most


class LinkMaker:
    """`families` and `by_conn` (what there is) are shared with `Links`, which ends what is made here."""

    def __init__(
        self,
        settings: LinkSettings,
        endpoints: Endpoints,
        context: MarketContext,
        venue: MarketVenue,
        commands: Commands,
        key: KeyGuardian,
    ) -> None:
        self._settings = settings
        self._endpoints = endpoints
        self._context = context
        self._venue = venue
        self._commands = commands
        self._key = key
        self.families = {name: Family(name) for name in ("public", "market", "private")}
        self.by_conn: dict[Conn, tuple[Family, Line]] = {}
        self.budget = ConnectionBudget(settings.attempts_per_minute)

    # -- one connection

    def connect(self, now: Now, family: Family) -> Out:
        """The family's connection; at the budget, later."""
        wait_ns = self.budget.wait_ns(now, family.name)
        if wait_ns > 0:
            family.retry_ns = now.boot_ns + wait_ns
            return list(self._context.notices.say(now, "warning", "stream.budget", family.name, wait_ms=wait_ns // _MS))
        line, out = self._make(now, family)
        if line is not None:
            family.retry_ns = None
            family.active = line
        return out

    def replace(self, now: Now, family: Family) -> Out:
        """Another one beside an old one. They go one after the other, and the budget comes first."""
        alone = all(one.coming is None and one.going is None for one in self.families.values())
        if not alone or self.budget.wait_ns(now, family.name) > 0:
            return []
        family.coming, out = self._make(now, family)
        return out

    def _make(self, now: Now, family: Family) -> tuple[Line | None, Out]:
        line, url = self._line(now, family)
        if line is None:
            return None, []
        self.budget.take(now)
        self.by_conn[line.conn] = (family, line)
        return line, [Connect(line.conn, url)]

    def _line(self, now: Now, family: Family) -> tuple[Line | None, str]:
        if family.name == "private":
            key = self._key.key
            if key is None:
                return None, ""
            forms = self._endpoints.private
            form = forms[family.form % len(forms)]
            return self._new_line(now, family, form.form), self._venue.private_url(form, key)
        base = self._endpoints.public if family.name == "public" else self._endpoints.market
        first = family.streams[: self._settings.streams_in_url]
        line = self._new_line(now, family, "stream")
        self._commands.subscribe(line, family.streams[len(first) :])
        return line, self._venue.stream_url(base, first)

    def _new_line(self, now: Now, family: Family, form: str) -> Line:
        family.number += 1
        name = family.name if family.number == 1 else f"{family.name}#{family.number}"
        return Line(name, form, now.boot_ns)

    # -- when

    def wanted(self, family: Family) -> bool:
        """Whether a connection could be made now: there are streams, or the private one's key."""
        return bool(family.streams) or (family.name == "private" and self._key.key is not None)

    def retry(self, now: Now, family: Family, *, stood: bool, at_once: bool = False) -> int:
        """After a connection ended, or could not be made: when the next is made. In ms.

        The end of one that `stood` says little of the next one: its pause grows to `STOOD_FAILURES_MAX` only. What
        ends as soon as it stands, again and again, is held back by the budget.
        """
        settings = self._settings
        family.failures = min(family.failures + 1, STOOD_FAILURES_MAX) if stood else family.failures + 1
        wait_ns = 0
        if not at_once:
            wait_ns = self._context.backoff_ns(family.failures, settings.backoff_first_ms, settings.backoff_max_ms)
        family.retry_ns = now.boot_ns + wait_ns
        return wait_ns // _MS

    def retry_due(self, now: Now, family: Family) -> Out:
        due = family.retry_ns is not None and now.boot_ns >= family.retry_ns
        return self.connect(now, family) if due and self.wanted(family) and not self.dark() else []

    def dark(self) -> bool:
        """No connection is open: whatever is wrong is wrong with all of them."""
        return all(line.opened_ns is None for _, line in self.by_conn.values())

    def feel(self, now: Now) -> Out:
        """In the dark they take turns, whatever their own pauses."""
        waiting = [one for one in self._waiting() if one.retry_ns is not None]
        if not waiting or not self.dark() or not self.budget.in_the_dark(now, self._context):
            return []
        return self.connect(now, min(waiting, key=lambda one: one.retry_ns or 0))

    def light(self, now: Now) -> None:
        """One opens again: the others need not wait out their pauses."""
        self.budget.light()
        for family in self.families.values():
            if family.retry_ns is not None:
                family.retry_ns = min(family.retry_ns, now.boot_ns)

    def next_retry_ns(self) -> int | None:
        """In the dark the regular tick (100 ms) keeps the time."""
        if self.dark():
            return None
        return min((one.retry_ns for one in self._waiting() if one.retry_ns is not None), default=None)

    def _waiting(self) -> list[Family]:
        return [one for one in self.families.values() if one.active is None and self.wanted(one)]
