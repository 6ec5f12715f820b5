"""Connections on the socket: who they are, which brain they speak for, its lease. Pure.

A lease is the brain's silence measured by our clock: renewed by every request of the brain, held while one of them is
being answered, and never run down by a stall of this process: after one every lease begins anew, and a brain that was
lost before has one lease to be heard (`heard_by_boot_ns`), for what it wrote meanwhile still waits in the socket.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.core import lines, rights
from gateway.core.brains import Brain, Brains
from gateway.core.effects import Answer, Dirty, Report, Write
from gateway.core.eventlog import EventLog
from gateway.core.inputs import ClientClosed, ClientLine, ClientOpened, Now
from gateway.core.parts import Out
from gateway.core.ports import Caller
from gateway.core.rows import Restored
from gateway.core.signals import BrainBack, BrainLost
from ipc import keys, wire
from ipc.errors import IpcError

NS_PER_MS = 1_000_000
STALL_NS = 1_000_000_000  # the shell ticks at least every 100 ms: a longer gap was our own
LOOK_EVERY_NS = 20_000_000
SHOW_BYTES = 4096
NOTE_BYTES = 4096
BARE_PING_BYTES = 40
_BARE_PING = re.compile(rb'\{"op":"ping","id":(0|[1-9][0-9]{0,14})\}').fullmatch
NOTES_PER_S = 50.0
NOTES_BURST = 200.0

# what no flood may shut out; bounded by four times the ordinary limit
_URGENT = (wire.Cancel, wire.CancelAll, wire.Flatten, wire.Risk, wire.Status, wire.Protect)


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """`flatten_after_ms` None: keep what a lost brain holds. `max_unanswered` is per connection."""

    account: str
    environment: str
    lease_ms: int = 3000
    flatten_after_ms: int | None = 10_000
    max_unanswered: int = 64


@dataclass(slots=True)
class Session:
    client: int
    uid: int
    pid: int
    brain: Brain | None = None
    caller: Caller | None = None  # made once, like what it may trade: both change only with a hello
    tradable: tuple[str, ...] | None = ()
    pending: int = 0
    notes: float = NOTES_BURST
    notes_boot_ns: int = 0


class Sessions:
    """`request_of` turns a line into a checked request and its caller, or answers the fault itself (returns None).

    The root serves what this part does not, and tells it of every answer (`answered`).
    """

    def __init__(
        self,
        settings: SessionSettings,
        restored: Restored,
        grants: rights.Rights,
        log: EventLog,
        epoch: str,
    ) -> None:
        self._settings = settings
        self._rights = grants
        self._log = log
        self._epoch = epoch
        self._lease_ns = settings.lease_ms * NS_PER_MS
        self._sessions: dict[int, Session] = {}
        self._looked_boot_ns = 0
        self.heard_by_boot_ns = 0
        self.brains = Brains(restored)
        self._pong_tail = f',"result":{{"epoch":"{epoch}"}}}}\n'.encode()

    def start(self, now: Now) -> Out:
        """Brains that lived when the last gateway ended have one lease to come back; a pending flatten goes on."""
        self._looked_boot_ns = now.boot_ns
        out: Out = []
        for brain in self.brains.all():
            if brain.standing == "alive":
                brain.lease_until_boot_ns = now.boot_ns + self._lease_ns
            elif brain.standing == "lost":
                out.append(self._lost_signal(now, brain))
        return out

    # -- connections ---------------------------------------------------------------------------------------------

    def opened(self, now: Now, item: ClientOpened) -> Out:
        self._sessions[item.client] = Session(item.client, item.uid, item.pid, notes_boot_ns=now.boot_ns)
        return []

    def closed(self, now: Now, item: ClientClosed) -> Out:
        session = self._sessions.pop(item.client, None)
        if session is None or session.brain is None:
            return []
        brain = session.brain
        if brain.client != item.client:
            return []
        brain.client = None
        reason = "its process is gone" if item.process_gone else "its connection ended"
        data = {"run": brain.run, "reason": reason}
        return [self._log.add(now, "brain.stopped", data, brain=brain.name, source=f"brain:{brain.name}")]

    def connections(self) -> int:
        return len(self._sessions)

    # -- requests ------------------------------------------------------------------------------------------------

    def request_of(self, now: Now, item: ClientLine, out: Out) -> tuple[Caller, wire.Request] | None:
        """Counts the line as unanswered, renews the lease, checks form and rights. Faults are answered into `out`."""
        session = self._sessions.get(item.client)
        if session is None:
            return None
        session.pending += 1
        brain = session.brain
        if brain is not None:
            if brain.standing == "alive":
                brain.lease_until_boot_ns = now.boot_ns + self._lease_ns
            else:
                out += self._back(now, brain)
        try:
            request = lines.request_of(item.line)
            if session.pending > self._settings.max_unanswered:
                self._check_busy(session, request)
            caller = session.caller or self._caller_of(session)
            kind = type(request)
            if kind is wire.Place:
                rights.check_place(request, caller.brain, session.tradable)  # type: ignore[arg-type]
            elif kind is not wire.Ping:
                rights.check(request, brain=caller.brain, admin=caller.admin)
        except IpcError as error:
            out.append(Answer(item.client, lines.error_line(lines.id_of(item.line), error)))
            return None
        return caller, request

    def _tradable(self, session: Session) -> tuple[str, ...] | None:
        """What the session's brain may trade; None: anything served (an administrator's tool that claims no symbol)."""
        brain = session.brain
        if brain is None:
            return ()
        return None if not brain.symbols and self._rights.may_admin(session.uid) else brain.symbols

    def _caller_of(self, session: Session) -> Caller:
        brain = session.brain
        admin = brain is None and self._rights.may_admin(session.uid)
        name = brain.name if brain is not None else None
        session.caller = caller = Caller(session.client, session.uid, name, admin)
        session.tradable = self._tradable(session)
        return caller

    def answered(self, now: Now, client: int) -> None:
        session = self._sessions.get(client)
        if session is None:
            return
        if session.pending > 0:
            session.pending -= 1
        if session.brain is not None and session.brain.alive:
            session.brain.lease_until_boot_ns = now.boot_ns + self._lease_ns

    def _check_busy(self, session: Session, request: wire.Request) -> None:
        urgent = isinstance(request, _URGENT) or (type(request) is wire.Place and request.reduce_only)
        most = self._settings.max_unanswered * (4 if urgent else 1)
        if session.pending > most:
            raise IpcError("wire.busy", f"{most} requests on this connection are unanswered; wait for answers")

    def pong(self, now: Now, item: ClientLine) -> Answer | None:
        """The commonest line, a bare ping as our clients write it, without the long way; None: it takes that."""
        line = item.line
        if type(line) is not bytes or len(line) > BARE_PING_BYTES or (found := _BARE_PING(line)) is None:
            return None
        session = self._sessions.get(item.client)
        if session is None or session.pending >= self._settings.max_unanswered:
            return None
        brain = session.brain
        if brain is not None:
            if brain.standing != "alive":
                return None
            brain.lease_until_boot_ns = now.boot_ns + self._lease_ns
        return Answer(item.client, b'{"id":%b,"ok":true,"as_of":%d%b' % (found[1], self._log.last, self._pong_tail))

    def ping(self, now: Now, caller: Caller, request: wire.Ping) -> Out:
        line = b'{"id":%d,"ok":true,"as_of":%d%s' % (request.id, self._log.last, self._pong_tail)
        if request.show is None:
            return [Answer(caller.client, line)]
        out: Out = []
        if caller.brain is not None:
            brain = self.brains.get(caller.brain)
            if brain is not None:
                _check_size("show", request.show, SHOW_BYTES)
                brain.show = request.show
                brain.show_ms = now.wall_ms
                out.append(Dirty(self._ledger_keys(brain)))
        return [*out, Answer(caller.client, line)]

    def note(self, now: Now, caller: Caller, request: wire.Note) -> Out:
        """A brain's own event: bounded in size and in rate (50 a second, bursts of 200)."""
        session = self._sessions[caller.client]
        _check_size("data", request.data, NOTE_BYTES)
        passed_s = (now.boot_ns - session.notes_boot_ns) / 1e9
        session.notes = min(NOTES_BURST, session.notes + passed_s * NOTES_PER_S)
        session.notes_boot_ns = now.boot_ns
        if session.notes < 1.0:
            raise IpcError("wire.busy", f"more than {NOTES_PER_S:.0f} notes a second; this one was not recorded")
        session.notes -= 1.0
        name = caller.brain
        source = f"brain:{name}"
        write = self._log.add(now, request.subject, request.data, source=source, symbol=request.symbol, brain=name)
        answer = wire.Answer(id=request.id, ok=True, as_of=self._log.last, result={"seq": self._log.last})
        return [write, Answer(caller.client, wire.encode(answer))]

    # -- hello ---------------------------------------------------------------------------------------------------

    def hello(self, now: Now, caller: Caller, request: wire.Hello) -> Out:
        """Raises IpcError; then nothing was registered."""
        session = self._sessions[caller.client]
        if request.v != wire.VERSION:
            text = f"this gateway speaks version {wire.VERSION}, not {request.v}"
            raise IpcError("wire.version", text, detail={"v": wire.VERSION})
        self._rights.check_hello(caller.uid, request)
        out: Out = []
        if request.brain is not None:
            out += self._register(now, session, request)
        elif session.brain is not None:
            raise IpcError("wire.bad_request", f"this connection already speaks for {session.brain.name!r}")
        brain = session.brain
        result = {
            "account": self._settings.account,
            "environment": self._settings.environment,
            "epoch": self._epoch,
            "v": wire.VERSION,
            "brain_no": brain.number if brain else None,
            "last_seq": brain.last_seq if brain else None,
            "as_of": self._log.last,
            "lease_ms": self._settings.lease_ms,
            "admin": session.brain is None and self._rights.may_admin(session.uid),
        }
        answer = wire.Answer(id=request.id, ok=True, as_of=self._log.last, result=result)
        return [*out, Answer(caller.client, wire.encode(answer))]

    def _register(self, now: Now, session: Session, request: wire.Hello) -> Out:
        name, run = request.brain, request.run
        if name is None or run is None:
            raise IpcError("wire.bad_request", "a brain's hello names its `run`")
        if not request.symbols and not self._rights.may_admin(session.uid):
            text = "a brain's hello names at least one of `symbols`; only an administrator's tool may claim none"
            raise IpcError("wire.bad_request", text)
        for symbol in request.symbols:
            if not symbol.replace("_", "").isalnum() or symbol != symbol.upper():
                raise IpcError("wire.bad_request", f"{symbol!r} is no symbol: upper-case letters, digits and _ only")
        if session.brain is not None and session.brain.name != name:
            raise IpcError("wire.bad_request", f"this connection already speaks for {session.brain.name!r}")
        held = self.brains.get(name)
        if held is not None and held.client is not None and held.client != session.client:
            raise IpcError(
                "brain.name_taken", f"brain {name!r} is connected (pid {held.pid}); stop it or choose another name"
            )
        if held is not None and held.run is not None and int(run[1:]) < int(held.run[1:]):
            raise IpcError(
                "brain.run_used",
                f"run {run} of {name!r} is older than {held.run}; begin a new run",
                detail={"newest": held.run},
            )
        self.brains.check_symbols(name, request.symbols)
        return self._take(now, session, self.brains.registered(name), request)

    def _take(self, now: Now, session: Session, brain: Brain, request: wire.Hello) -> Out:
        if brain.run != request.run:
            brain.run = request.run
            brain.last_seq = 0
        brain.symbols = tuple(dict.fromkeys(request.symbols))
        brain.strategy = request.strategy
        brain.standing = "alive"
        brain.settles_boot_ns = None
        brain.client = session.client
        brain.pid = session.pid
        brain.lease_until_boot_ns = now.boot_ns + self._lease_ns
        session.brain = brain
        session.caller = None
        data = {"run": brain.run, "strategy": brain.strategy, "symbols": list(brain.symbols), "pid": brain.pid}
        return [
            Write(brain.row()),
            Write(brain.standing_row()),
            self._log.add(now, "brain.started", data, brain=brain.name, source=f"brain:{brain.name}"),
            BrainBack(brain.name, brain.run),
            Dirty((*self._ledger_keys(brain), keys.gateway(self._settings.account))),
        ]

    # -- leases --------------------------------------------------------------------------------------------------

    def _back(self, now: Now, brain: Brain) -> Out:
        """A brain whose lease had ended asks again."""
        brain.lease_until_boot_ns = now.boot_ns + self._lease_ns
        try:
            self.brains.check_symbols(brain.name, brain.symbols)
        except IpcError:
            return []  # another brain took the symbol meanwhile: this one stays lost, its entries are refused
        brain.standing = "alive"
        brain.settles_boot_ns = None
        return [Write(brain.standing_row()), BrainBack(brain.name, brain.run), Dirty(self._ledger_keys(brain))]

    def on_tick(self, now: Now) -> Out:
        passed_ns = now.boot_ns - self._looked_boot_ns
        if passed_ns < LOOK_EVERY_NS:
            return []
        self._looked_boot_ns = now.boot_ns
        out: Out = []
        if passed_ns > STALL_NS:
            out += self._forgive(now, passed_ns)
        busy = {id(session.brain) for session in self._sessions.values() if session.pending and session.brain}
        for brain in self.brains.all():
            if brain.standing == "alive" and now.boot_ns > brain.lease_until_boot_ns and id(brain) not in busy:
                out += self._lose(now, brain)
            elif brain.settles_boot_ns is not None and now.boot_ns >= brain.settles_boot_ns:
                brain.settles_boot_ns = None
                brain.standing = "settled"
                out.append(Write(brain.standing_row()))
        return out

    def _forgive(self, now: Now, stalled_ns: int) -> Out:
        self.heard_by_boot_ns = now.boot_ns + self._lease_ns
        for brain in self.brains.all():
            if brain.standing == "alive":
                brain.lease_until_boot_ns = max(brain.lease_until_boot_ns, self.heard_by_boot_ns)
            elif brain.settles_boot_ns is not None:
                brain.settles_boot_ns = max(brain.settles_boot_ns, self.heard_by_boot_ns)
        return [Report("warning", "stalled", {"ms": stalled_ns // NS_PER_MS, "leases": "begin anew"})]

    def _lose(self, now: Now, brain: Brain) -> Out:
        brain.standing = "lost"
        after_ms = self._settings.flatten_after_ms
        action = "entries cancelled, position kept" if after_ms is None else f"entries cancelled, flat in {after_ms} ms"
        data = {"run": brain.run, "lease_ms": self._settings.lease_ms, "action": action}
        event = self._log.add(now, "brain.lost", data, brain=brain.name)
        signal = self._lost_signal(now, brain)
        return [event, signal, Write(brain.standing_row()), Dirty(self._ledger_keys(brain))]

    def _lost_signal(self, now: Now, brain: Brain) -> BrainLost:
        after_ms = self._settings.flatten_after_ms
        brain.settles_boot_ns = now.boot_ns + (after_ms or 0) * NS_PER_MS
        return BrainLost(brain.name, brain.run, brain.symbols, after_ms)

    def status(self, now: Now) -> dict[str, dict[str, Any]]:
        """For the gateway slice: every brain that is not settled."""
        return {
            brain.name: {
                "run": brain.run,
                "strategy": brain.strategy,
                "symbols": list(brain.symbols),
                "alive": brain.alive,
                "connected": brain.client is not None,
                "pid": brain.pid,
                "lease_left_ms": max(0, brain.lease_until_boot_ns - now.boot_ns) // NS_PER_MS,
            }
            for brain in self.brains.all()
            if brain.standing != "settled"
        }

    def _ledger_keys(self, brain: Brain) -> tuple[str, ...]:
        return tuple(keys.ledger(self._settings.account, symbol, brain.name) for symbol in brain.symbols)


def _check_size(what: str, value: dict[str, Any], most: int) -> None:
    size = len(msgspec.json.encode(value))
    if size > most:
        raise IpcError("wire.bad_request", f"`{what}` has {size} bytes, at most {most}", detail={"path": f"$.{what}"})
