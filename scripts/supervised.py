"""What the supervisor is told about a process, knows of it, and shows of it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from scripts.child_log import ChildLog
from scripts.restart_policy import RestartPolicy

State = Literal["idle", "waiting", "starting", "ready", "backoff", "stopping", "ended", "failed"]


@dataclass(frozen=True)
class Spec:
    """How one process is started and known to be ready.

    `command` and `env` may be functions of the ready lines so far (by name), so that an address found out at start
    reaches those that come after it. Ready is a JSON line with `"ready": true` on stdout, or `probe` returning True.
    `essential`: giving it up ends the whole. `after`: names that must be ready first. Processes are stopped in the
    reverse order of the list.
    """

    name: str
    command: Callable[[Mapping[str, dict[str, Any]]], list[str]]
    env: Callable[[Mapping[str, dict[str, Any]]], dict[str, str]]
    after: tuple[str, ...] = ()
    probe: Callable[[], bool] | None = None
    essential: bool = True
    stop_timeout_s: float = 10.0
    policy: RestartPolicy = field(default_factory=RestartPolicy)


class ProcessFailed(Exception):
    """A process was given up or was not ready in time. `code` is its exit code, `tail` the end of its log."""

    def __init__(self, name: str, what: str, code: int | None, tail: str, log: Path) -> None:
        super().__init__(f"{name} {what}; its log {log} ends:\n{tail}")
        self.name = name
        self.code = code
        self.tail = tail


class Child:
    """One process's state; only the caretaker thread writes it."""

    def __init__(self, spec: Spec, log: ChildLog) -> None:
        self.spec = spec
        self.log = log
        self.state: State = "idle"
        self.process: subprocess.Popen[bytes] | None = None
        self.pidfd = -1
        self.buffer = b""
        self.ready: dict[str, Any] = {}
        self.was_ready = False
        self.started_s = 0.0
        self.ready_after_s = 0.0
        self.due_s = 0.0  # of the next start while in backoff, of the SIGKILL while stopping
        self.restarts = 0
        self.code: int | None = None
        self.reason = ""

    def view(self) -> ProcessView:
        return ProcessView(
            name=self.spec.name,
            state=self.state,
            pid=self.process.pid if self.process is not None else None,
            restarts=self.restarts,
            code=self.code,
            ready=self.ready,
            ready_after_s=self.ready_after_s,
            reason=self.reason,
        )


@dataclass(frozen=True)
class ProcessView:
    """What one process is doing, for people and tests. `code` is its last exit code."""

    name: str
    state: State
    pid: int | None
    restarts: int
    code: int | None
    ready: Mapping[str, Any]
    ready_after_s: float
    reason: str
