"""The door into the runner: every input and every effect, two closed lists. Pure.

`step(now, input) -> effects`. The shell performs effects in their order: a `Commit` stands before whatever it covers,
so nothing is sent before it would survive a crash.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from brain.records import Key
from ipc import wire
from ipc.cut import Cut


class Now(NamedTuple):
    """Clocks at one step. Delays use `boot_ns`; what people and exchanges read uses `wall_ns`."""

    wall_ns: int
    boot_ns: int

    @property
    def wall_ms(self) -> int:
        return self.wall_ns // 1_000_000


Purpose = Literal["hello", "place", "cancel", "order", "orders", "ping", "note"]


class Errand(NamedTuple):
    """What a request was for; comes back with its answer. `key` names the intent where there is one."""

    purpose: Purpose
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class Connected:
    """The socket to the gateway is open; nothing was said on it yet."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    reason: str


@dataclass(frozen=True, slots=True)
class Answered:
    errand: Errand
    answer: wire.Answer


@dataclass(frozen=True, slots=True)
class CutRead:
    cut: Cut


@dataclass(frozen=True, slots=True)
class Stop:
    """SIGTERM or SIGINT, or the end of a backtest."""

    reason: str


Input = Connected | Disconnected | Answered | CutRead | Stop


@dataclass(frozen=True, slots=True)
class Commit:
    """One transaction. `meta` and `state` replace what is there; None leaves it."""

    meta: bytes | None
    state: bytes | None
    put: tuple[tuple[str, int, bytes], ...] = ()
    gone: tuple[Key, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """Send a request; its answer comes back as `Answered` with the same errand."""

    errand: Errand
    request: wire.Request


@dataclass(frozen=True, slots=True)
class Hangup:
    """Close the connection and make a new one."""

    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    level: Literal["debug", "info", "warning", "error"]
    event: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ready:
    """The first decision may be made: print the ready line."""


@dataclass(frozen=True, slots=True)
class Exit:
    code: int
    reason: str


Effect = Commit | Ask | Hangup | Report | Ready | Exit
