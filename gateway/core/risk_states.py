"""Risk states of the account and of each brain: `running`, `reduce_only`, `cancel_only`, `halted` (design law 3).

Journalled before confirmed; they survive restarts; only a person leaves `halted`, and nothing but a person or a
journalled decision ever changes one.
"""

from __future__ import annotations

import msgspec

from gateway.core.effects import Write
from gateway.core.inputs import Now
from gateway.core.order_desk import Desk
from gateway.core.parts import Out
from gateway.core.ports import Caller
from gateway.core.rows import KvRow
from ipc.errors import IpcError
from ipc.wire import Risk
from rules.risk import RISK_STATES, is_stricter, strictest

ACCOUNT = "account"
RUNNING = "running"


class Held(msgspec.Struct, frozen=True):
    """One scope's state as `KvRow` `risk:<scope>` holds it."""

    state: str = RUNNING
    reason: str = ""
    author: str = ""
    at_ns: int = 0


_decoder: msgspec.json.Decoder[Held] = msgspec.json.Decoder(Held)
_FREE = Held()


class RiskStates:
    """Scopes are `account` and `brain:<name>`; what binds a brain is the stricter of both."""

    __slots__ = ("_desk", "_held", "_stops")

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._held: dict[str, Held] = {}
        self._stops: dict[str, str] = {}

    def restore(self, kv: dict[str, bytes]) -> None:
        for key, value in kv.items():
            if key.startswith("risk:") and value:
                held = _decoder.decode(value)
                if held.state not in RISK_STATES:
                    raise ValueError(f"the journal holds an unknown risk state {held.state!r} under {key}")
                self._held[key[5:]] = held

    def of(self, scope: str) -> Held:
        return self._held.get(scope, _FREE)

    def binding(self, brain: str) -> str:
        if not self._held:
            return RUNNING
        return strictest(self.of(ACCOUNT).state, self.of(f"brain:{brain}").state)

    def shown(self, brain: str | None) -> tuple[str, str]:
        """(state, reason) of what binds this brain, or of the account."""
        account = self.of(ACCOUNT)
        own = self.of(f"brain:{brain}") if brain is not None else _FREE
        binding = own if is_stricter(own.state, account.state) else account
        return binding.state, binding.reason

    # -- passing reasons that stop entries without being a state (a store that is gone, a stop that began)

    def stop_entries(self, cause: str, why: str) -> None:
        self._stops[cause] = why

    def let_entries(self, cause: str) -> None:
        self._stops.pop(cause, None)

    def entries_stopped(self) -> str | None:
        return next(iter(self._stops.values()), None)

    # -- changing

    def change(self, now: Now, scope: str, state: str, author: str, reason: str) -> Out:
        """Journal and announce; the caller cancels resting entries where the state became stricter."""
        was = self.of(scope)
        if was.state == state and was.reason == reason:
            return []
        self._held[scope] = held = Held(state, reason, author, now.wall_ns)
        brain = scope[6:] if scope.startswith("brain:") else None
        data = {"scope": scope, "state": state, "was": was.state, "author": author, "reason": reason}
        event = self._desk.log.add(now, "risk.state", data, source=author, brain=brain)
        return [Write(KvRow(f"risk:{scope}", msgspec.json.encode(held))), event]

    def wanted(self, caller: Caller, request: Risk) -> tuple[str, str] | None:
        """(scope, state) that a request asks for; None where it only reads. Raises IpcError."""
        if request.action == "kill":
            raise IpcError("op.not_supported", "risk kill is not served yet; pause, then flatten")
        if request.action == "state":
            return None
        scope = ACCOUNT if request.brain is None else f"brain:{request.brain}"
        if request.action == "pause":
            if not caller.admin and request.brain != caller.brain:
                raise IpcError("rights.denied", "a brain may pause itself only; name it, or ask as an administrator")
            state = strictest("reduce_only", self.of(scope).state)
            return scope, state
        if not caller.admin:
            raise IpcError("rights.denied", "only a person (an administrator) resumes")
        if caller.brain is not None and self.of(scope).state == "halted":
            raise IpcError("rights.denied", "only a person leaves halted: ask on a connection that is no brain's")
        return scope, RUNNING

    def report(self) -> dict[str, dict[str, str]]:
        """Every scope that is not plainly running, and the account."""
        scopes = {ACCOUNT: self.of(ACCOUNT), **self._held}
        return {
            scope: {"state": held.state, "reason": held.reason, "author": held.author}
            for scope, held in scopes.items()
            if scope == ACCOUNT or held.state != RUNNING
        }
