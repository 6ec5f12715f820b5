"""Connections to the exchange: made, proven, watched, replaced. One family each: public, market, private.

"Connected" proves nothing (law 5): a market or public connection is up with its first data frame, which has a deadline;
after that every frame or pong is a sign of life. Where none comes, a ping is sent, and what does not answer is given
up. Reconnects back off with jitter and share a budget against storms. Before the exchange's 24 hours are over a
replacement is opened, and the old connection closed a moment after the new one delivered.

Every connection has a name of its own ("public", then "public#2", ...), so a late end of an old one is known as such.
The listener (the market core) is told when a family comes up or goes down, within the same step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from gateway.core.clock_offset import ClockOffset
from gateway.core.effects import Connect, Disconnect, Probe, SendFrame
from gateway.core.inputs import Conn, Now, RestFailed, RestReply, StreamAlive, StreamClosed, StreamOpened
from gateway.core.link_lines import Family, Line, shown
from gateway.core.link_watch import look
from gateway.core.listen_key import KeyGuardian, KeyNews
from gateway.core.market_context import MarketContext
from gateway.core.market_settings import LinkSettings
from gateway.core.market_venue import Endpoints, MarketVenue
from gateway.core.parts import Out
from gateway.core.signals import ClockSuspect, KeyDoubt, PrivateDown, PrivateUp, Signal

_MS = 1_000_000
OVERLAP_NS = 1_000 * _MS
Listener = Callable[[Now, str, bool, str], Out]


class Links:
    """REST keys start with "links". `private` False leaves the user stream out (market data alone)."""

    def __init__(
        self,
        settings: LinkSettings,
        endpoints: Endpoints,
        context: MarketContext,
        venue: MarketVenue,
        *,
        private: bool = True,
    ) -> None:
        self._settings = settings
        self._endpoints = endpoints
        self._context = context
        self._venue = venue
        self._families = {name: Family(name) for name in ("public", "market", "private")}
        self._by_conn: dict[Conn, tuple[Family, Line]] = {}
        self._attempts: deque[int] = deque()
        self._command_id = 0
        self._listener: Listener = lambda now, family, up, reason: []
        self._with_private = private
        self._key = KeyGuardian(settings, context, venue)
        self.clock = ClockOffset(venue, every_ms=settings.clock_every_ms, samples=settings.clock_samples)

    def listen(self, listener: Listener) -> None:
        """`listener(now, family, up, reason)` is called when "public" or "market" comes up (open) or goes down."""
        self._listener = listener

    def start(self, now: Now) -> Out:
        out = self.clock.measure(now)
        if self._with_private:
            out += self._key.create(now)
        return out

    def want(self, now: Now, family: str, streams: Iterable[str]) -> Out:
        """Add streams to a family. At `streams_max` a connection takes no more: the rest is refused with a report."""
        held = self._families[family]
        new = [name for name in streams if name not in held.streams]
        room = max(0, self._settings.streams_max - len(held.streams))
        out: Out = []
        if len(new) > room:
            out += self._context.notices.say(now, "error", "stream.too_many", family, refused=new[room : room + 5])
            new = new[:room]
        held.streams.extend(new)
        if not held.streams:
            return out
        if held.active is None:
            if held.retry_ns is None:
                out += self._connect(now, held)
            return out
        for line in (held.active, held.coming):
            if line is not None:  # a replacement must not take over without them
                self._subscribe(line, new)
                out += self._flush(now, line)
        return out

    # -- connecting -----------------------------------------------------------------------------------------------

    def _connect(self, now: Now, family: Family) -> Out:
        wait_ns = self._budget_ns(now)
        if wait_ns > 0:
            family.retry_ns = now.boot_ns + wait_ns
            return list(self._context.notices.say(now, "warning", "stream.budget", family.name, wait_ms=wait_ns // _MS))
        line, url = self._line(now, family)
        if line is None:
            return []
        self._attempts.append(now.boot_ns)
        family.retry_ns = None
        family.active = line
        self._by_conn[line.conn] = (family, line)
        return [Connect(line.conn, url)]

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
        self._subscribe(line, family.streams[len(first) :])
        return line, self._venue.stream_url(base, first)

    def _new_line(self, now: Now, family: Family, form: str) -> Line:
        family.number += 1
        name = family.name if family.number == 1 else f"{family.name}#{family.number}"
        return Line(name, form, now.boot_ns)

    def _budget_ns(self, now: Now) -> int:
        """0 if another attempt is within the budget, else how long until one is."""
        window_ns = 60_000 * _MS
        while self._attempts and now.boot_ns - self._attempts[0] >= window_ns:
            self._attempts.popleft()
        if len(self._attempts) < self._settings.attempts_per_minute:
            return 0
        return self._attempts[0] + window_ns - now.boot_ns

    def _retry(self, now: Now, family: Family, *, at_once: bool = False) -> int:
        settings = self._settings
        family.failures += 1
        wait_ns = 0
        if not at_once:
            wait_ns = self._context.backoff_ns(family.failures, settings.backoff_first_ms, settings.backoff_max_ms)
        family.retry_ns = now.boot_ns + wait_ns
        return wait_ns // _MS

    # -- stream commands ------------------------------------------------------------------------------------------

    def _subscribe(self, line: Line, streams: list[str]) -> None:
        size = self._settings.streams_per_command
        for start in range(0, len(streams), size):
            line.commands.append(tuple(streams[start : start + size]))

    def _flush(self, now: Now, line: Line) -> Out:
        """One command at a time: the exchange closes a connection that sends more than ten messages a second."""
        if line.opened_ns is None or not line.commands or now.boot_ns < line.command_ns:
            return []
        line.command_ns = now.boot_ns + 1_000 * _MS // self._settings.commands_per_second
        self._command_id += 1
        return [SendFrame(line.conn, self._venue.subscribe(self._command_id, line.commands.popleft()))]

    def resubscribe(self, now: Now, family: str, stream: str) -> Out:
        """A single stream is mute while others speak: ask for it again."""
        line = self._families[family].active
        if line is None or (stream,) in line.commands:
            return []
        line.commands.append((stream,))
        return self._flush(now, line)

    # -- what the shell reports -----------------------------------------------------------------------------------

    def carries(self, conn: Conn) -> bool:
        """Whether frames of this connection count: it was not given up. Around a hand-over two do, for a moment."""
        return conn in self._by_conn

    def on_stream(self, now: Now, event: StreamOpened | StreamClosed | StreamAlive) -> Out:
        found = self._by_conn.get(event.conn)
        if found is None:
            return []  # the late end of a connection that was given up
        family, line = found
        line.life_ns = now.boot_ns
        if isinstance(event, StreamAlive):
            line.probed_ns = None
            return []
        if isinstance(event, StreamClosed):
            return self._closed(now, family, line, event.reason)
        line.opened_ns = now.boot_ns
        if family.next_age_ns == 0 or line is family.active:
            family.next_age_ns = now.boot_ns + self._lifetime_ns()
        out = self._flush(now, line)
        if family.name == "private":
            swapped = line is family.coming
            if swapped:
                self._swap(now, family, line)
            out.append(self._up_event(now, family, line))
            out.append(PrivateUp("replaced before its 24 hours" if swapped else "connected"))
        elif line is family.active:
            out += self._listener(now, family.name, True, "")
        return out

    def saw_frame(self, now: Now, conn: Conn, family: str | None = None) -> Out:
        """Called for every frame; `family` names what a *data* frame carried ("user", ...). None: a sign of life only
        (an acknowledgement proves nothing). The market core calls it for its own connections."""
        found = self._by_conn.get(conn)
        if found is None:
            return []
        line = found[1]
        line.life_ns = now.boot_ns
        if line.data_ns is not None or family is None:
            return []
        return self._first_data(now, found[0], line)

    def _first_data(self, now: Now, family: Family, line: Line) -> Out:
        line.data_ns = now.boot_ns
        if line is family.coming:
            self._swap(now, family, line)
        return [] if family.name == "private" else [self._up_event(now, family, line)]

    def _swap(self, now: Now, family: Family, line: Line) -> None:
        family.going, family.going_ns = family.active, now.boot_ns + OVERLAP_NS
        family.active, family.coming = line, None
        family.next_age_ns = now.boot_ns + self._lifetime_ns()

    def _lifetime_ns(self) -> int:
        jitter_ms = self._context.draw() * self._settings.max_age_jitter_ms
        return int((self._settings.max_age_ms + jitter_ms) * _MS)

    def _up_event(self, now: Now, family: Family, line: Line) -> Any:
        return self._context.events.add(now, "stream.up", {"connection": family.name, "url_form": line.form})

    def _closed(self, now: Now, family: Family, line: Line, reason: str) -> Out:
        del self._by_conn[line.conn]
        if line is family.coming:
            family.coming = None
            family.next_age_ns = now.boot_ns + 60_000 * _MS
            return []
        if line is family.going:
            family.going = None
            return []
        if line.opened_ns is None:
            family.form += 1  # refused before it opened: the other way of writing the URL may be the right one
        return self._down(now, family, reason)

    def _give_up(self, now: Now, family: Family, line: Line, reason: str, *, at_once: bool = False) -> Out:
        """Close a connection from our side and forget it; its end will be reported for an unknown name."""
        del self._by_conn[line.conn]
        out: Out = [Disconnect(line.conn, reason)]
        if line is family.coming:
            family.coming = None
            family.next_age_ns = now.boot_ns + 60_000 * _MS
        elif line is family.going:
            family.going = None
        else:
            out += self._down(now, family, reason, at_once=at_once)
        return out

    def _down(self, now: Now, family: Family, reason: str, *, at_once: bool = False) -> Out:
        family.active = None
        coming, opened = family.coming, False
        retry_ms = 0
        if coming is not None:  # the replacement is on its way or already there: it takes over now
            family.coming, family.active = None, coming
            family.retry_ns = None
            opened = coming.opened_ns is not None
        else:
            retry_ms = self._retry(now, family, at_once=at_once)
        if opened:  # never a private one: that takes over when it opens
            lost = self._listener(now, family.name, False, reason)
            return lost + self._listener(now, family.name, True, "")
        data = {"connection": family.name, "reason": reason[:200], "retry_ms": retry_ms}
        out: Out = [self._context.events.add(now, "stream.down", data)]
        if family.name == "private":
            out.append(PrivateDown(reason))
        else:
            out += self._listener(now, family.name, False, reason)
        return out

    # -- doubts ---------------------------------------------------------------------------------------------------

    def suspect(self, now: Now, family: str, reason: str) -> Out:
        """Data was lost or is missing on this family: replace its connection."""
        held = self._families[family]
        line = held.active
        if line is None or line.opened_ns is None:
            return []
        return self._give_up(now, held, line, reason)

    def silent(self, now: Now, stream: str, silent_ms: int, deadline_ms: int, family: str, *, first: bool) -> Out:
        """The event for a stream that missed its deadline; a first message that never came names the route."""
        data: dict[str, Any] = {"stream": stream, "silent_ms": silent_ms, "deadline_ms": deadline_ms}
        if first:
            data["hint"] = (
                f"no message since the subscription. This stream belongs to the route /{family}: on another route, or "
                f"under a name that does not exist, the exchange accepts the subscription and stays mute. Check the "
                f"{family} address in the configuration"
            )
        self._context.notices.count("stream.silent")
        return [self._context.events.add(now, "stream.silent", data)]

    def on_signal(self, now: Now, signal: Signal) -> Out:
        """ClockSuspect: measure now. KeyDoubt: a new key and connection, in the other URL form."""
        if isinstance(signal, ClockSuspect):
            return self.clock.measure(now)
        if isinstance(signal, KeyDoubt) and self._with_private:
            self._families["private"].form += 1
            return self._key.lost(now, signal.reason)
        return []

    def on_rest(self, now: Now, reply: RestReply | RestFailed) -> Out:
        """Keys ("links", "time" | "key", ...)."""
        if reply.key[1] == "time":
            out = self.clock.on_rest(now, reply)
            if self.clock.fault is not None:
                out += self._context.notices.say(now, "warning", "clock.no_answer", "clock", detail=self.clock.fault)
                self.clock.fault = None
            return out
        return self._key_news(now, self._key.on_rest(now, reply))

    def _key_news(self, now: Now, news: KeyNews) -> Out:
        out = news.out
        if news.fresh is None:
            return out
        family = self._families["private"]
        for line in family.lines():
            out += self._give_up(now, family, line, "a new listenKey", at_once=True)
        return out + self._connect(now, family)

    # -- time -----------------------------------------------------------------------------------------------------

    def on_tick(self, now: Now) -> Out:
        out = self.clock.on_tick(now)
        if self._with_private:
            out += self._key.on_tick(now)
        for family in self._families.values():
            out += self._watch(now, family)
        return out

    def _watch(self, now: Now, family: Family) -> Out:
        if family.active is None:
            if self._wanted(family) and family.retry_ns is not None and now.boot_ns >= family.retry_ns:
                return self._connect(now, family)
            return []
        out: Out = []
        for line in family.lines():
            out += self._watch_line(now, family, line)
        line = family.active
        if line is None or line.opened_ns is None:
            return out
        if family.failures and now.boot_ns - line.opened_ns >= self._settings.stable_after_ms * _MS:
            family.failures = 0
        if family.coming is None and now.boot_ns >= family.next_age_ns and self._budget_ns(now) == 0:
            coming, url = self._line(now, family)
            if coming is not None:
                self._attempts.append(now.boot_ns)
                family.coming = coming
                self._by_conn[coming.conn] = (family, coming)
                out.append(Connect(coming.conn, url))
        return out

    def _wanted(self, family: Family) -> bool:
        """Whether a connection could be made now: there are streams, or the private one's key."""
        return bool(family.streams) or (family.name == "private" and self._key.key is not None)

    def _watch_line(self, now: Now, family: Family, line: Line) -> Out:
        out: Out = []
        for found in look(now, family, line, self._settings):
            if found.what == "send":
                out += self._flush(now, line)
            elif found.what == "mute":
                deadline_ms = self._settings.first_frame_ms
                out += self.silent(now, found.about, found.silent_ms, deadline_ms, family.name, first=True)
            elif found.what == "ask":
                out.append(Probe(line.conn))
            else:
                out += self._give_up(now, family, line, found.about)
        return out

    def next_deadline_boot_ns(self) -> int | None:
        """Retries, key and clock; the rest is kept by the regular tick (100 ms)."""
        dues = [family.retry_ns for family in self._families.values() if family.active is None and self._wanted(family)]
        dues += [self._key.next_deadline_boot_ns(), self.clock.next_deadline_boot_ns()]
        known = [due for due in dues if due is not None]
        return min(known) if known else None

    def shutdown(self, now: Now) -> Out:
        """Close every connection and make no more."""
        out: Out = []
        for family in self._families.values():
            for line in family.lines():
                out.append(Disconnect(line.conn, "the gateway stops"))
                del self._by_conn[line.conn]
            family.active = family.coming = family.going = None
            family.retry_ns = None
            family.streams.clear()
        self._with_private = False
        return out

    def status(self, now: Now) -> dict[str, dict[str, Any]]:
        """For the gateway slice: state, age of the last sign of life, URL form, streams, failures."""
        return {family.name: shown(now, family) for family in self._families.values()}
