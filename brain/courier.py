"""What must reach the gateway: what is due, what is on its way, what to ask again. Pure.

No answer within `ANSWER_NS` is an unknown outcome: the same request goes again under the same name. What was decided
is asked for until the gateway has shown that it holds it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from brain.inputs import Ask, Errand, Now
from brain.records import ASK_AGAIN, Key, Record
from ipc import wire

ANSWER_NS = 2_500_000_000
HELLO_NS = 5_000_000_000
_AGAIN_NS = 250_000_000  # after a refusal that says nothing about the order
_UNKNOWN_NS = 5_000_000_000  # the gateway resolves it and says so by an event; asking is the second way to know
_CANCEL_NS = 1_000_000_000
_SHOW_NS = 250_000_000
MAX_NOTES = 100
MAX_SHOWN = 30
MAX_SHOWN_CHARS = 120


class Courier:
    """`linked` after a hello was answered on this connection. `flying` maps an errand to when it was sent."""

    def __init__(self, ping_ns: int) -> None:
        self.connected = False
        self.linked = False
        self.flying: dict[Errand, int] = {}
        self.notes: deque[wire.Note] = deque(maxlen=MAX_NOTES)
        self.notes_dropped = 0
        self._ping_ns = ping_ns
        self._last_ping_ns = 0
        self._shown: dict[str, Any] | None = None
        self._not_before: dict[Errand, int] = {}
        self._notes_sent = 0
        self._lost_keys: set[Key] = set()

    def connection(self, up: bool) -> None:
        self.connected = up
        self.linked = False
        self.flying.clear()
        self._not_before.clear()
        self._last_ping_ns = 0

    def greet(self, request: wire.Hello, now: Now) -> Ask:
        self.linked = False
        return self._ask(Errand("hello"), request, now)

    def hello_overdue(self, now: Now) -> bool:
        sent_ns = self.flying.get(Errand("hello"))
        return sent_ns is not None and now.boot_ns - sent_ns > HELLO_NS

    def may_show(self, now: Now) -> bool:
        """Is it worth making up what to show?"""
        return self.linked and now.boot_ns - self._last_ping_ns >= _SHOW_NS

    def note(self, note: wire.Note) -> None:
        if len(self.notes) == MAX_NOTES:
            self.notes_dropped += 1
        self.notes.append(note)

    def landed(self, errand: Errand, answer: wire.Answer, now: Now) -> bool:
        """An answer came. True if it says nothing about its order and the same must be asked again soon."""
        self.flying.pop(errand, None)
        code = answer.error.code if answer.error is not None else ""
        if code in ASK_AGAIN:
            self._not_before[errand] = now.boot_ns + _AGAIN_NS
            if code == "rights.hello_first":
                self.linked = False
            return True
        # the answer is held until a cut includes it; meanwhile its order is not asked for again
        self._not_before[errand] = now.boot_ns + ANSWER_NS
        return False

    def settled(self, errand: Errand) -> None:
        """Its answer was acted on."""
        self._not_before.pop(errand, None)

    def wait_unknown(self, key: Key, now: Now) -> None:
        self._not_before[Errand("place", key)] = now.boot_ns + _UNKNOWN_NS

    def wait_cancel(self, key: Key, now: Now) -> None:
        """It was refused, or is not done yet: asked again, but not at once."""
        self._not_before[Errand("cancel", key)] = now.boot_ns + _CANCEL_NS

    def take_lost(self) -> set[Key]:
        """Orders that got no answer in time since this was last asked; they were sent again."""
        if not self._lost_keys:
            return self._lost_keys
        lost, self._lost_keys = self._lost_keys, set()
        return lost

    def busy(self) -> bool:
        """Is an order or cancel on its way?"""
        return any(errand.purpose in ("place", "cancel", "order") for errand in self.flying)

    def due(self, live: Iterable[Record], show: dict[str, Any], boot: str, now: Now) -> list[Ask]:
        """Requests to send now, in the order of decision; nothing before the hello was answered."""
        if not self.linked:
            return []
        out: list[Ask] = []
        for record in live:
            if not record.closed:
                self._order(record, boot, now, out)
        while self.notes:
            self._notes_sent += 1
            out.append(self._ask(Errand("note", ("", self._notes_sent)), self.notes.popleft(), now))
        if self.may_show(now):
            self._ping(show, now, out)
        self._forget_lost(now)
        return out

    def _lost(self, record: Record, now: Now) -> bool:
        """Was it sent so long ago that its outcome is unknown? Then it may be sent again."""
        sent_ns = self.flying.get(Errand("place", record.key))
        return sent_ns is not None and now.boot_ns - sent_ns > ANSWER_NS

    def _order(self, record: Record, boot: str, now: Now, out: list[Ask]) -> None:
        errand = Errand("place", record.key)
        if not record.delivered or record.state == "unknown":
            if record.boot != boot and record.role == "entry":
                # its deadline was counted on a clock that is gone: ask what became of it, never for it
                query = wire.OrderQuery(id=0, intent=record.place.intent)
                self._again(Errand("order", record.key), query, ANSWER_NS, now, out)
            else:
                if self._lost(record, now):
                    self._lost_keys.add(record.key)
                self._again(errand, record.place, ANSWER_NS, now, out)
        if record.cancel_asked and not record.cancel_done:
            cancel = wire.Cancel(id=0, intent=record.place.intent, symbol=record.symbol)
            self._again(Errand("cancel", record.key), cancel, _CANCEL_NS, now, out)

    def _again(self, errand: Errand, request: wire.Request, patience_ns: int, now: Now, out: list[Ask]) -> None:
        sent_ns = self.flying.get(errand)
        if sent_ns is not None and now.boot_ns - sent_ns <= patience_ns:
            return
        if now.boot_ns < self._not_before.get(errand, 0):
            return
        self._not_before.pop(errand, None)
        out.append(self._ask(errand, request, now))

    def _ping(self, show: dict[str, Any], now: Now, out: list[Ask]) -> None:
        since_ns = now.boot_ns - self._last_ping_ns
        changed = show != self._shown and since_ns >= _SHOW_NS
        if since_ns >= self._ping_ns or changed:
            self._last_ping_ns = now.boot_ns
            self._shown = dict(show)
            out.append(self._ask(Errand("ping"), wire.Ping(id=0, show=_short(show)), now))

    def _forget_lost(self, now: Now) -> None:
        """Pings and notes nobody answered: they are not asked again. Delays that are over."""
        if len(self._not_before) > MAX_NOTES:
            self._not_before = {errand: at for errand, at in self._not_before.items() if at > now.boot_ns}
        for errand, sent_ns in list(self.flying.items()):
            if errand.purpose in ("ping", "note", "orders") and now.boot_ns - sent_ns > ANSWER_NS:
                del self.flying[errand]

    def _ask(self, errand: Errand, request: wire.Request, now: Now) -> Ask:
        self.flying[errand] = now.boot_ns
        return Ask(errand, request)


def _short(show: dict[str, Any]) -> dict[str, Any]:
    """Within what a ping may carry: a strategy's long text is cut, not refused."""
    rows = list(show.items())[:MAX_SHOWN]
    return {str(name)[:40]: value[:MAX_SHOWN_CHARS] if isinstance(value, str) else value for name, value in rows}
