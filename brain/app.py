"""The composition root of a brain: what is made, and the one loop that runs it.

wait (wake channel, gateway's answers, at most one poll interval)
-> answers into the runner -> one read of the feed into the runner -> its effects, in their order
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from brain.api import Strategy
from brain.inputs import Ask, Commit, CutRead, Effect, Exit, Hangup, Input, Now, Ready, Report, Stop
from brain.runner import Runner
from brain.settings import BrainSettings
from brain.shell.checkpoint import CheckpointError, CheckpointFile
from brain.shell.link import Link
from brain.shell.lock import AlreadyRunning, NameLock
from ipc import clock
from ipc.cut import CutReader
from ipc.feed import Feed
from ipc.notify import Notifier

log = structlog.get_logger()

_SAY_AGAIN_NS = 10_000_000_000
_STATUS_NS = 60_000_000_000
_STOP_WITHIN_S = 10.0


@dataclass(frozen=True)
class Plan:
    """Everything a brain needs to know to run."""

    name: str
    account: str
    strategy: Strategy
    symbols: Sequence[str]
    redis_url: str
    socket: Path
    state_dir: Path
    settings: BrainSettings


class App:
    """One brain process."""

    def __init__(self, plan: Plan, notifier: Notifier | None = None) -> None:
        """Raises AlreadyRunning or CheckpointError."""
        self.plan = plan
        self._notifier = notifier or Notifier()
        self._beat_ns = 0
        folder = plan.state_dir / "brains" / plan.account
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = NameLock(folder / f"{plan.name}.lock")
        self._file = CheckpointFile(folder / f"{plan.name}.checkpoint")
        boot = clock.boot_id()
        checkpoint = self._file.load(plan.strategy.name, clock.wall_ns() // 1_000_000)
        settings = plan.settings
        self.runner = Runner(
            plan.strategy,
            checkpoint,
            name=plan.name,
            symbols=plan.symbols,
            boot=boot,
            ping_ns=settings.ping_ms * 1_000_000,
        )
        reader = CutReader(
            plan.account,
            plan.symbols,
            self.runner.hooks.intervals,
            plan.name,
            max_age_ns=settings.slice_age_ms * 1_000_000,
            lease_ns=settings.gateway_lease_ms * 1_000_000,
        )
        self.link = Link(plan.socket)
        self.feed = Feed(plan.redis_url, reader, self.link.history, lambda: clock.reader_now(boot))
        self._stop = ""
        self._exit: Exit | None = None
        self._said: tuple[str, int] = ("", 0)
        self._status_ns = clock.boot_ns()
        self._decided = 0

    def run(self) -> int:
        """Until it is told to stop; the exit code."""
        if self.runner.hooks.intervals:
            # seconds on a busy machine: not within the first decision, while the lease runs
            importlib.import_module("pandas")
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked_to_stop)
        poll_s = self.plan.settings.poll_ms / 1000
        told_to_stop = False
        self._notifier.ready()  # from here on it decides, or says what it waits for
        while self._exit is None:
            self._beat()
            busy = self._turn()
            if self._stop and not told_to_stop:
                told_to_stop = True
                self._notifier.stopping(_STOP_WITHIN_S)
                self._step(Stop(self._stop))
            if not busy:
                self._file.idle()
                self._say_fold_error()
            self._say_what_is_missing()
            if self._exit is None:
                self.feed.wait(poll_s, self.link.filenos())
        self.link.close()
        self.feed.close()
        self._file.close()
        self._lock.release()
        log.info("brain_stopped", code=self._exit.code, reason=self._exit.reason)
        return self._exit.code

    def _turn(self) -> bool:
        """Everything that came, in order; True if a commit was made."""
        before = self._decided
        for given in self.link.inputs():
            self._step(given)
        if self._exit is None:
            self._step(CutRead(self.feed.read(self.runner.after, self.runner.need_as_of)))
        return self._decided != before

    def _step(self, given: Input) -> None:
        now = Now(clock.wall_ns(), clock.boot_ns())
        for effect in self.runner.step(now, given):
            self._perform(effect)
            if self._exit is not None:
                return

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, Ask):
            self.link.send(effect)
        elif isinstance(effect, Commit):
            self._decided += 1
            try:
                self._file.commit(effect)
            except OSError as error:
                # nothing of this step may leave; a restart decides it again
                self._exit = Exit(1, f"the checkpoint cannot be written: {error}")
        elif isinstance(effect, Report):
            getattr(log, effect.level)(effect.event, **effect.fields)
        elif isinstance(effect, Hangup):
            self.link.hang_up(effect.reason)
        elif isinstance(effect, Ready):
            self._print_ready()
        else:
            self._exit = effect

    def _print_ready(self) -> None:
        line = {
            "ready": True,
            "brain": self.plan.name,
            "strategy": self.plan.strategy.name,
            "symbols": list(self.plan.symbols),
            "account": self.plan.account,
            "run": self.runner.desk.run,
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    def _asked_to_stop(self, number: int, _frame: Any) -> None:
        self._stop = signal.Signals(number).name

    def _say_fold_error(self) -> None:
        if self._file.fold_error:
            log.warning("the checkpoint could not begin anew; it grows meanwhile", error=self._file.fold_error)
            self._file.fold_error = ""

    def _beat(self) -> None:
        """A sign of life for the service manager: only from here, so that a hook that never returns is noticed."""
        now_ns = clock.boot_ns()
        if not self._notifier.enabled or now_ns - self._beat_ns < self._notifier.beat_s * 1e9:
            return
        self._beat_ns = now_ns
        missing = self._missing()
        shown = self.runner.hooks.context.shown
        said = shown.get("warm_up") or shown.get("decision") or "started"
        self._notifier.status(f"waiting for {missing}" if missing else str(said))
        self._notifier.alive()

    def _missing(self) -> str:
        if self.feed.problem:
            return f"redis ({self.feed.problem})"
        return f"the gateway ({self.link.problem})" if self.link.problem else ""

    def _say_what_is_missing(self) -> None:
        now_ns, missing = clock.boot_ns(), self._missing()
        what, since_ns = self._said
        if missing and (not what or now_ns - since_ns > _SAY_AGAIN_NS):
            log.info("waiting", for_=missing)
            self._said = (missing, now_ns)
        elif not missing:
            self._said = ("", 0)
        if now_ns - self._status_ns > _STATUS_NS:
            self._status_ns = now_ns
            log.info("status", **self.runner.hooks.context.shown)


def run(plan: Plan) -> int:
    """Exit code: 0 stopped in order, 1 it failed, 2 wrong usage or already running."""
    try:
        app = App(plan, Notifier.of(os.environ, os.getpid()))
    except (AlreadyRunning, CheckpointError) as error:
        sys.stderr.write(f"brain {plan.name}: {error}\n")
        return 2
    if app.runner.hooks.intervals:
        # its bars come as frames, and that import takes a second: now, while the others start, not at the first bar
        import pandas  # noqa: F401
    log.info("brain_starting", brain=plan.name, run=app.runner.desk.run, socket=str(plan.socket))
    return app.run()
