"""Connections to the exchange: made, proven, watched, replaced. One family each: public, market, private.

"Connected" proves nothing (law 5): a market or public connection is up with its first data frame, which has a deadline;
after that every frame or pong is a sign of life. Where none comes, a ping is sent, and what does not answer is given
up. Reconnects back off with jitter and share a budget against storms. Before the exchange's 24 hours are over a
replacement is opened beside the old connection, one family at a time; it takes over once it is proven
(`link_handover`), and the old one is closed a moment later.

Every connection has a name of its own ("public", then "public#2", ...), so a late end of an old one is known as such.
The listener (the market core) is told when a family comes up or goes down, within the same step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from gateway.core.clock_offset import ClockOffset
from gateway.core.effects import Disconnect, Probe
from gateway.core.inputs import Conn, Frame, Now, RestFailed, RestReply, StreamAlive, StreamClosed, StreamOpened
from gateway.core.link_commands import Commands
from gateway.core.link_handover import OVERLAP_NS, Handover, begin
from gateway.core.link_lines import Family, Line, shown
from gateway.core.link_making import LinkMaker
from gateway.core.link_silence import SilentStreams
from gateway.core.link_watch import look
from gateway.core.listen_key import KeyGuardian, KeyNews
from gateway.core.market_context import MarketContext
from gateway.core.market_settings import LinkSettings
from gateway.core.market_venue import Endpoints, MarketVenue
from gateway.core.parts import Out
from gateway.core.signals import ClockSuspect, KeyDoubt, PrivateDown, PrivateUp, ReconcileWanted, Signal, UserFrames

_MS = 1_000_000
HANDOVER_AGAIN_NS = 60_000 * _MS
Listener = Callable[[Now, str, bool, str], Out]


class Links:
    """REST keys start with "links". `private` False leaves the user stream out (market data alone).

    `identity` gives what a user frame says without when it was pushed: one event over two connections is one.
    """

    def __init__(
        self,
        settings: LinkSettings,
        endpoints: Endpoints,
        context: MarketContext,
        venue: MarketVenue,
        *,
        private: bool = True,
        identity: Callable[[bytes], bytes] = bytes,
    ) -> None:
        self._settings = settings
        self._context = context
        self._commands = Commands(settings, venue)
        self._key = KeyGuardian(settings, context, venue)
        self._maker = LinkMaker(settings, endpoints, context, venue, self._commands, self._key)
        self._families, self._by_conn = self._maker.families, self._maker.by_conn
        self._listener: Listener = lambda now, family, up, reason: []
        self._on_overlap: Callable[[str, bool], None] = lambda family, on: None
        self._identity = identity
        self._handover: Handover | None = None
        self._silent = SilentStreams(context)
        self.silent = self._silent.tell
        self._with_private = private
        self.clock = ClockOffset(venue, every_ms=settings.clock_every_ms, samples=settings.clock_samples)

    def listen(self, listener: Listener) -> None:
        """`listener(now, family, up, reason)` is called when "public" or "market" comes up (open) or goes down."""
        self._listener = listener

    def listen_to_overlaps(self, listener: Callable[[str, bool], None]) -> None:
        """`listener(family, on)`: from `on` two connections deliver the same streams, until the next call."""
        self._on_overlap = listener

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
                out += self._maker.connect(now, held)
            return out
        for line in (held.active, held.coming):
            if line is not None:  # a replacement must not take over without them
                self._commands.subscribe(line, new)
                out += self._commands.flush(now, line)
        return out

    def answered(self, conn: Conn, command: int | None) -> None:
        """A command came back: what the market core reads on its connections."""
        if (found := self._by_conn.get(conn)) is not None:
            self._commands.answered(found[1], command)

    def resubscribe(self, now: Now, family: str, stream: str) -> Out:
        """A single stream is mute while others speak: ask for it again."""
        line = self._families[family].active
        if line is None:
            return []
        self._commands.subscribe(line, (stream,))
        return self._commands.flush(now, line)

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
        if self._maker.dark():
            self._maker.light(now)
        line.opened_ns = now.boot_ns
        out = self._commands.flush(now, line)
        if line is family.coming:
            self._begin_handover(now, family, line)
            return out
        family.next_age_ns = now.boot_ns + self._lifetime_ns()
        if family.name == "private":
            return [*out, self._up_event(now, family, line), PrivateUp("connected")]
        return [*out, *self._listener(now, family.name, True, "")]

    def saw_frame(self, now: Now, conn: Conn, stream: str | None = None) -> Out:
        """Called for every frame; `stream` names what a *data* frame belongs to ("user" of the private one). None: a
        sign of life only (an acknowledgement proves nothing). The market core calls it for its own connections."""
        found = self._by_conn.get(conn)
        if found is None:
            return []
        family, line = found
        line.life_ns = now.boot_ns
        if stream is None:
            return []
        if self._handover is not None:
            self._handover.saw(now, conn, stream)
        self._silent.spoke(stream)
        if line.data_ns is not None:
            return []
        line.data_ns = now.boot_ns
        return [] if family.name == "private" or line is family.coming else [self._up_event(now, family, line)]

    def user_frames(self, now: Now, frame: Frame) -> list[Frame]:
        """The frames of the private stream that go on now: during a hand-over each event once, in order."""
        if frame.conn not in self._by_conn:  # given up: what it still says was said beside it, or is read by asking
            return []
        if self._handover is None:
            return [frame]
        return self._handover.frames(now, frame, self._identity)

    # -- hand-over ------------------------------------------------------------------------------------------------

    def _begin_handover(self, now: Now, family: Family, line: Line) -> None:
        old = family.active.conn if family.active is not None else ""
        self._handover = begin(now, family.name, old, line.conn, self._settings)
        self._on_overlap(family.name, True)

    def _end_handover(self, family: Family) -> Out:
        """What was held back for the older connection goes on."""
        handover = self._handover
        if handover is None or handover.family != family.name:
            return []
        self._handover = None
        self._on_overlap(family.name, False)
        return _user_frames(handover.end())

    def _move_handover(self, now: Now) -> Out:
        """Let the newer connection take over, or give it up, as soon as that can be said."""
        handover = self._handover
        if handover is None:
            return []
        family = self._families[handover.family]
        out = _user_frames(handover.due(now))
        line = family.coming
        if line is None:
            return out
        verdict = handover.verdict(now, subscribed=not line.commands and not line.unanswered)
        if verdict.what == "take":
            return out + self._take_over(now, family, line)
        if verdict.what == "give_up":
            family.form += family.name == "private"
            return out + self._give_up(now, family, line, verdict.reason)
        return out

    def _take_over(self, now: Now, family: Family, line: Line) -> Out:
        family.going, family.going_ns = family.active, now.boot_ns + OVERLAP_NS
        family.active, family.coming = line, None
        family.next_age_ns = now.boot_ns + self._lifetime_ns()
        line.data_ns = line.data_ns or now.boot_ns  # proven by its silence beside a silent one
        self._context.notices.count("stream.handover")
        out: Out = [self._up_event(now, family, line)]
        if family.name == "private":
            out.append(ReconcileWanted("the private connection was replaced before its 24 hours"))
        return out

    def _lifetime_ns(self) -> int:
        jitter_ms = self._context.draw() * self._settings.max_age_jitter_ms
        return int((self._settings.max_age_ms + jitter_ms) * _MS)

    def _up_event(self, now: Now, family: Family, line: Line) -> Any:
        return self._context.events.add(now, "stream.up", {"connection": family.name, "url_form": line.form})

    def _closed(self, now: Now, family: Family, line: Line, reason: str) -> Out:
        del self._by_conn[line.conn]
        if line is family.coming:
            return self._no_handover(now, family, reason)
        if line is family.going:
            family.going = None
            return self._end_handover(family)
        if line.opened_ns is None:
            family.form += 1  # refused before it opened: the other way of writing the URL may be the right one
        return self._down(now, family, reason)

    def _give_up(self, now: Now, family: Family, line: Line, reason: str, *, at_once: bool = False) -> Out:
        """Close a connection from our side and forget it; its end will be reported for an unknown name."""
        del self._by_conn[line.conn]
        out: Out = [Disconnect(line.conn, reason)]
        if line is family.coming:
            return out + self._no_handover(now, family, reason)
        if line is family.going:
            family.going = None
            return out + self._end_handover(family)
        return out + self._down(now, family, reason, at_once=at_once)

    def _no_handover(self, now: Now, family: Family, reason: str) -> Out:
        """The replacement is gone; the connection it was for goes on, and another is tried later."""
        family.coming = None
        family.next_age_ns = now.boot_ns + HANDOVER_AGAIN_NS
        out: Out = list(self._context.notices.say(now, "warning", "stream.no_handover", family.name, reason=reason))
        return out + self._end_handover(family)

    def _down(self, now: Now, family: Family, reason: str, *, at_once: bool = False) -> Out:
        stood = family.active is not None and family.active.opened_ns is not None
        family.active = None
        family.reason = reason[:200]
        coming = family.coming
        out = self._end_handover(family)
        if coming is not None:  # the replacement is on its way or already there: it takes over now
            family.coming, family.active = None, coming
            family.retry_ns = None
            if coming.opened_ns is not None:
                family.next_age_ns = now.boot_ns + self._lifetime_ns()
                return out + self._down_and_up(now, family, reason)
        retry_ms = 0 if coming is not None else self._maker.retry(now, family, stood=stood, at_once=at_once)
        data = {"connection": family.name, "reason": reason[:200], "retry_ms": retry_ms}
        out.append(self._context.events.add(now, "stream.down", data))
        about = f"{family.name}: {reason.partition(':')[0][:40]}"  # each kind of reason has its own line
        out += self._context.notices.say(now, "warning", "stream.down", about, reason=reason, retry_ms=retry_ms)
        if family.name == "private":
            out.append(PrivateDown(reason))
        else:
            out += self._listener(now, family.name, False, reason)
        return out

    def _down_and_up(self, now: Now, family: Family, reason: str) -> Out:
        """Nothing was proven of the one that takes over: what it carries is begun anew on it."""
        if family.name == "private":
            return [PrivateDown(reason), PrivateUp("the connection beside it goes on")]
        lost = self._listener(now, family.name, False, reason)
        return lost + self._listener(now, family.name, True, "")

    # -- doubts ---------------------------------------------------------------------------------------------------

    def suspect(self, now: Now, family: str, reason: str) -> Out:
        """Data was lost or is missing on this family: replace its connection."""
        held = self._families[family]
        line = held.active
        if line is None or line.opened_ns is None:
            return []
        return self._give_up(now, held, line, reason)

    def on_signal(self, now: Now, signal: Signal) -> Out:
        """ClockSuspect: measure now. KeyDoubt: a new key and connection, in the other URL form."""
        if isinstance(signal, ClockSuspect):
            return self.clock.measure(now)
        if not isinstance(signal, KeyDoubt) or not self._with_private:
            return []
        family = self._families["private"]
        family.form += 1
        line, out = family.active, list[Any]()
        if signal.mute and line is not None and line.opened_ns is not None and line.data_ns is None:
            open_ms = (now.boot_ns - line.opened_ns) // _MS
            out += self.silent(now, "user", open_ms, self._settings.first_frame_ms, "private", first=True)
        return out + self._key.lost(now, signal.reason)

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
        return out + self._maker.connect(now, family)

    # -- time -----------------------------------------------------------------------------------------------------

    def on_tick(self, now: Now) -> Out:
        out = self.clock.on_tick(now)
        if self._with_private:
            out += self._key.on_tick(now)
        for family in self._families.values():
            out += self._watch(now, family)
        return out + self._move_handover(now) + self._maker.feel(now)

    def _watch(self, now: Now, family: Family) -> Out:
        if family.active is None:
            return self._maker.retry_due(now, family)
        out: Out = []
        for line in family.lines():
            out += self._watch_line(now, family, line)
        line = family.active
        if line is None or line.opened_ns is None:
            return out
        if family.failures and now.boot_ns - line.opened_ns >= self._settings.stable_after_ms * _MS:
            family.failures = 0
        return out + (self._maker.replace(now, family) if now.boot_ns >= family.next_age_ns else [])

    def _watch_line(self, now: Now, family: Family, line: Line) -> Out:
        out: Out = []
        for found in look(now, family, line, self._settings):
            if found.what == "send":
                out += self._commands.flush(now, line)
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
        dues = (self._maker.next_retry_ns(), self._key.next_deadline_boot_ns(), self.clock.next_deadline_boot_ns())
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
            out += self._end_handover(family)
        self._with_private = False
        return out

    def status(self, now: Now) -> dict[str, dict[str, Any]]:
        """For the gateway slice: state, age of the last sign of life, URL form, streams, failures, what is wrong."""
        return {family.name: shown(now, family, self._silent.mute) for family in self._families.values()}

    def budget(self, now: Now) -> dict[str, int]:
        """For the gateway slice: connections made in the last minute, and how many may be."""
        return self._maker.budget.shown(now)


def _user_frames(frames: list[Frame]) -> Out:
    return [UserFrames(tuple(frames))] if frames else []
