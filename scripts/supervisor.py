"""Starts processes in order, starts them again after a crash, and takes them all along when it ends.

One caretaker thread owns every child: it makes them (so that the kernel's parent-death signal, which is bound to the
thread, holds as long as the supervisor lives), reads their ready lines, notices their end through a pidfd, and keeps
every timer. Callers ask it through a queue and wait for states. A kill -9 of the whole process ends the children too.

    with Supervisor(specs, log_dir=...) as supervisor:
        supervisor.start()                      # waits until all are ready
        supervisor.kill("gateway"); supervisor.wait_ready("gateway", 10)
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import selectors
import signal as signals
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any

from ipc.children import die_with_parent
from scripts.child_log import ChildLog
from scripts.restart_policy import Again
from scripts.supervised import Child, ProcessFailed, ProcessView, Spec, State

_PROBE_S = 0.01
_HOUSEKEEPING_S = 5.0
_MAX_LINE_BYTES = 65_536
_PIDFD_FALLBACK_S = 0.05
_ASK_TIMEOUT_S = 10.0


class Supervisor:
    """See the module's text. `on_change` is called from the caretaker thread with each new view; keep it short."""

    def __init__(
        self,
        specs: Iterable[Spec],
        log_dir: Path,
        *,
        max_log_bytes: int = 20_000_000,
        on_change: Callable[[ProcessView], None] | None = None,
    ) -> None:
        log_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._children = {
            spec.name: Child(spec, ChildLog(log_dir / f"{spec.name}.log", max_log_bytes)) for spec in specs
        }
        self._on_change = on_change
        # bounded by the threads that ask: each waits for its answer
        self._asked: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_w, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_r, selectors.EVENT_READ, self._drain)
        self._changed = threading.Condition()
        self._closing = self._closed = False
        self._broken: Exception | None = None
        self._housekeeping_s = 0.0
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._thread.start()

    # -- what callers do ---------------------------------------------------------------------------------------

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self.close()

    def launch(self, *names: str) -> None:
        """Start (all, or those named) without waiting: each as soon as what it comes after is ready."""
        self._do(lambda: self._launch(names or tuple(self._children)))

    def start(self, *names: str, timeout_s: float = 30.0) -> None:
        """`launch`, then wait until all of them are ready. Raises ProcessFailed."""
        self.launch(*names)
        self.wait_ready(*names, timeout_s=timeout_s)

    def wait_ready(self, *names: str, timeout_s: float = 30.0) -> None:
        """Raises ProcessFailed for the first that was given up, or that is not ready in time."""
        wanted = names or tuple(self._children)
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                self._check_alive()
                missing = [name for name in wanted if self._children[name].state != "ready"]
                for name in missing:
                    if self._children[name].state in ("failed", "ended"):
                        raise self.failure(name, self._children[name].reason or "has ended")
                if not missing:
                    return
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise self.failure(missing[0], f"was not ready within {timeout_s:g} s")
                self._changed.wait(left_s)

    def wait(self, condition: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Until `condition` (looked at after every change) holds; False when the time is over."""
        with self._changed:
            held = self._changed.wait_for(lambda: self._broken is not None or condition(), timeout_s)
            self._check_alive()
            return held

    def stop(self, *names: str) -> None:
        """Stop (all, or those named) in reverse order, each with SIGTERM and, after its time, SIGKILL; wait for it."""
        for name in reversed([n for n in self._children if not names or n in names]):
            self._do(lambda name=name: self._stop(self._children[name]))  # type: ignore[misc]
            self.wait(lambda name=name: self._children[name].process is None)  # type: ignore[misc]

    def signal(self, name: str, sig: signals.Signals) -> int:
        """Send a signal to the process as it runs now; returns its pid. KeyError where it does not run."""
        pid: int = self._do(lambda: self._signal(name, sig))
        return pid

    def kill(self, name: str) -> int:
        """kill -9; it is started again by the rules. Returns the pid that was killed, once it is gone."""
        pid = self.signal(name, signals.SIGKILL)
        self.wait(lambda: self._pid(name) != pid)
        return pid

    def suspend(self, name: str) -> int:
        return self.signal(name, signals.SIGSTOP)

    def resume(self, name: str) -> int:
        return self.signal(name, signals.SIGCONT)

    def view(self) -> list[ProcessView]:
        with self._changed:
            return [child.view() for child in self._children.values()]

    def of(self, name: str) -> ProcessView:
        with self._changed:
            return self._children[name].view()

    def tail(self, name: str, lines: int = 15) -> str:
        return self._children[name].log.tail(lines)

    def close(self) -> None:
        """Stop everything and end the caretaker. Harmless a second time."""
        if self._closed:
            return
        self._closed = True
        if self._broken is None:
            self.stop()
            self._closing = True
            self._wake()
        self._thread.join()
        self._selector.close()
        os.close(self._wake_r)
        os.close(self._wake_w)

    # -- the caretaker -----------------------------------------------------------------------------------------

    def _do(self, what: Callable[[], Any]) -> Any:
        self._check_alive()
        answer: Future[Any] = Future()
        self._asked.put((what, answer))
        self._wake()
        return answer.result(timeout=_ASK_TIMEOUT_S)

    def _check_alive(self) -> None:
        if self._broken is not None or not self._thread.is_alive():
            raise RuntimeError("the supervisor has ended") from self._broken

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # the pipe is full: it is awake already
            os.write(self._wake_w, b"x")

    def _drain(self) -> None:
        os.read(self._wake_r, 4096)

    def _run(self) -> None:
        try:
            self._loop()
        except Exception as error:  # noqa: BLE001  every caller gets it: a caretaker must not die unnoticed
            self._broken = error
            self._abandon()
        with self._changed:
            self._changed.notify_all()

    def _abandon(self) -> None:
        """Nobody looks after the children any more, so none may go on."""
        for child in self._children.values():
            if child.process is not None:
                child.process.kill()
                child.process.wait()
                if child.process.stdout is not None:
                    child.process.stdout.close()
            if child.pidfd >= 0:
                os.close(child.pidfd)

    def _loop(self) -> None:
        while not (self._closing and self._asked.empty()):
            for key, _ in self._selector.select(self._until_next()):
                key.data()
            while not self._asked.empty():
                what, answer = self._asked.get()
                try:
                    answer.set_result(what())
                except Exception as error:  # noqa: BLE001  it belongs to the caller, who gets it raised
                    answer.set_exception(error)
            self._timers()

    def _until_next(self) -> float:
        now_s = time.monotonic()
        due = [child.due_s for child in self._children.values() if child.state in ("backoff", "stopping")]
        soonest = min([*due, now_s + _HOUSEKEEPING_S]) - now_s
        running = [child for child in self._children.values() if child.process is not None]
        if any(child.state == "starting" and child.spec.probe for child in running):
            soonest = min(soonest, _PROBE_S)
        if any(child.pidfd < 0 for child in running):
            soonest = min(soonest, _PIDFD_FALLBACK_S)
        return max(0.0, soonest)

    def _timers(self) -> None:
        now_s = time.monotonic()
        for child in self._children.values():
            if child.process is not None and child.pidfd < 0:
                self._reap(child)
            if child.state == "starting" and child.spec.probe is not None and child.spec.probe():
                self._is_ready(child, {"ready": True})
            elif child.state == "backoff" and now_s >= child.due_s:
                self._set(child, "waiting")
            elif child.state == "stopping" and now_s >= child.due_s and child.process is not None:
                child.process.kill()
                child.due_s = now_s + 1.0
            if child.state == "waiting" and all(self._children[name].state == "ready" for name in child.spec.after):
                self._spawn(child)
        if now_s >= self._housekeeping_s:
            self._housekeeping_s = now_s + _HOUSEKEEPING_S
            for child in self._children.values():
                child.log.keep_bounded()

    def _launch(self, names: Iterable[str]) -> None:
        for name in names:
            child = self._children[name]
            if child.process is None and child.state != "backoff":
                self._set(child, "waiting")

    def _spawn(self, child: Child) -> None:
        lines = {name: other.ready for name, other in self._children.items()}
        child.buffer, child.was_ready, child.reason = b"", False, ""
        child.started_s = time.monotonic()
        try:
            with child.log.begin() as log:
                process = subprocess.Popen(
                    child.spec.command(lines),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=child.spec.env(lines),
                    start_new_session=True,  # a terminal's Ctrl-C is for us alone; we stop them in order
                    preexec_fn=die_with_parent(),
                )
        except OSError as error:
            child.reason = f"cannot be started ({error})"
            self._set(child, "failed")
            return
        child.process = process
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        self._selector.register(process.stdout, selectors.EVENT_READ, lambda: self._read(child))
        child.pidfd = os.pidfd_open(process.pid) if hasattr(os, "pidfd_open") else -1
        if child.pidfd >= 0:
            self._selector.register(child.pidfd, selectors.EVENT_READ, lambda: self._reap(child))
        self._set(child, "starting")

    def _read(self, child: Child) -> None:
        """Take what the child printed; at the end of its output stop watching."""
        process = child.process
        if process is None or process.stdout is None or process.stdout.closed:
            return
        try:
            data = os.read(process.stdout.fileno(), 65_536)
        except BlockingIOError:
            return
        if not data:
            self._selector.unregister(process.stdout)
            process.stdout.close()
        child.buffer += data
        *lines, child.buffer = child.buffer.split(b"\n")
        if len(child.buffer) > _MAX_LINE_BYTES:
            child.buffer = b""
        for line in lines:
            found = _ready_line(line)
            if found is not None and child.state == "starting":
                self._is_ready(child, found)
            elif line.strip():
                child.log.append(line)

    def _is_ready(self, child: Child, line: dict[str, Any]) -> None:
        child.ready = line
        child.was_ready = True
        child.ready_after_s = time.monotonic() - child.started_s
        self._set(child, "ready")

    def _reap(self, child: Child) -> None:
        process = child.process
        if process is None or process.poll() is None:
            return
        self._read(child)  # what it said last
        if process.stdout is not None and not process.stdout.closed:  # a child of its own may still hold it open
            self._selector.unregister(process.stdout)
            process.stdout.close()
        if child.pidfd >= 0:
            self._selector.unregister(child.pidfd)
            os.close(child.pidfd)
            child.pidfd = -1
        with self._changed:  # nobody may see the process gone and the old state
            child.process, child.code = None, process.returncode
            self._after_exit(child, process.returncode)

    def _after_exit(self, child: Child, code: int) -> None:
        if child.state == "stopping" or code == 0:
            self._set(child, "ended")
            return
        now_s = time.monotonic()
        ran_s = now_s - child.started_s
        verdict = child.spec.policy.after_exit(now_s, ran_s=ran_s, code=code, was_ready=child.was_ready)
        if isinstance(verdict, Again):
            child.restarts += 1
            child.due_s = now_s + verdict.delay_s
            self._set(child, "backoff")
        else:
            child.reason = f"was given up: {verdict.reason}"
            self._set(child, "failed")

    def _stop(self, child: Child) -> None:
        if child.process is None:
            self._set(child, "ended")
            return
        child.due_s = time.monotonic() + child.spec.stop_timeout_s
        self._set(child, "stopping")
        child.process.terminate()
        child.process.send_signal(signals.SIGCONT)  # a suspended one must hear it

    def _signal(self, name: str, sig: signals.Signals) -> int:
        process = self._children[name].process
        if process is None:
            raise KeyError(f"{name} does not run")
        process.send_signal(sig)
        return process.pid

    # -- views -------------------------------------------------------------------------------------------------

    def _set(self, child: Child, state: State) -> None:
        with self._changed:
            child.state = state
            view = child.view()
            self._changed.notify_all()
        if self._on_change is not None:
            self._on_change(view)

    def _pid(self, name: str) -> int | None:
        process = self._children[name].process
        return process.pid if process is not None else None

    def failure(self, name: str, what: str) -> ProcessFailed:
        """What to raise about a process, with the end of its log."""
        child = self._children[name]
        return ProcessFailed(name, what, child.code, child.log.tail(15), child.log.path)


def _ready_line(line: bytes) -> dict[str, Any] | None:
    if not line.startswith(b"{"):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.get("ready") is True else None
