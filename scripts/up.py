"""`brainstem up`: a foreground supervisor that runs what the configuration says; `--detach` leaves it running."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from types import FrameType

from ipc import redis_server
from ipc.config import Config
from ipc.faults import ConfigError, Fault
from scripts import config_check
from scripts.exits import DONE, FAILED, USAGE
from scripts.plan import Plan, make_plan
from scripts.supervised import ProcessFailed, ProcessView
from scripts.supervisor import Supervisor
from scripts.uplock import AlreadyUp, UpLock

SUPERVISOR_LOG = "supervisor.log"


def run(config: Config, environ: Mapping[str, str]) -> int:
    """Until SIGINT or SIGTERM, or until something essential is given up. One JSON line on stdout when all is ready;
    what happens is told on stderr."""
    for warning in config.warnings:
        _say(f"warning: {warning}")
    refuse_faults(config)
    plan = make_plan(config, environ)
    try:
        lock = UpLock.take(plan.state_dir)
    except AlreadyUp as error:
        _say(str(error))
        return USAGE
    with lock:
        refuse_foreign_redis(plan)
        return _supervise(plan)


def refuse_faults(config: Config) -> None:
    """What `brainstem config check` finds is found before anything starts. Raises ConfigError with all of it."""
    found = list(config_check.faults(config))
    if found:
        raise ConfigError(found, config.source)


def refuse_foreign_redis(plan: Plan) -> None:
    """Another set-up's private Redis on our socket would mix two worlds. Raises ConfigError."""
    if plan.private_redis is not None and redis_server.answers(plan.private_redis):
        what = f"another private Redis already answers on {plan.private_redis}"
        raise ConfigError([Fault("run_dir", what, "Stop what runs there, or set another run_dir (or redis.url)")])


def _supervise(plan: Plan) -> int:
    asked = threading.Event()

    def stop(number: int, _frame: FrameType | None) -> None:
        asked.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    essential = {spec.name for spec in plan.specs if spec.essential}
    supervisor = Supervisor(
        plan.specs, plan.log_dir, max_log_bytes=plan.settings.max_log_bytes, on_change=lambda view: _tell(view)
    )
    code = DONE
    with supervisor:
        supervisor.launch()
        try:
            if _until_ready(supervisor, plan, asked):
                line = {"ready": True, "processes": {view.name: view.pid for view in supervisor.view()}}
                print(json.dumps(line), flush=True)
                _watch(supervisor, essential, asked)
        except ProcessFailed as error:
            _say(str(error))
            code = error.code if error.code == USAGE else FAILED
        _say("stopping")
    _say("everything has stopped")
    return code


def _until_ready(supervisor: Supervisor, plan: Plan, asked: threading.Event) -> bool:
    """False when a stop was asked for first. A gateway may wait for its exchange longer than any time-out here."""
    waited_s, step_s = 0.0, 0.2
    while not asked.is_set():
        try:
            supervisor.wait_ready(timeout_s=step_s)
        except ProcessFailed as error:
            if supervisor.of(error.name).state in ("failed", "ended"):
                raise
        else:
            return True
        waited_s += step_s
        if waited_s >= plan.settings.ready_timeout_s:
            waited_s = 0.0
            late = [view.name for view in supervisor.view() if view.state != "ready"]
            _say(f"still not ready: {', '.join(late)}; see {plan.log_dir}")
    return False


def _watch(supervisor: Supervisor, essential: set[str], asked: threading.Event) -> None:
    """Raises ProcessFailed when an essential process is gone for good."""
    while not asked.wait(0.2):
        for view in supervisor.view():
            if view.name in essential and view.state in ("failed", "ended"):
                raise supervisor.failure(view.name, view.reason or "has ended")


def _tell(view: ProcessView) -> None:
    if view.state == "ready":
        _say(f"{view.name} is ready (pid {view.pid}, {view.ready_after_s:.1f} s)")
    elif view.state == "backoff":
        _say(f"{view.name} ended with code {view.code}; starting it again (restart {view.restarts})")
    elif view.state == "failed":
        _say(f"{view.name} {view.reason}")


def _say(text: str) -> None:
    # a terminal or pipe that is gone must not stop the supervision
    with contextlib.suppress(BrokenPipeError):
        print(f"brainstem: {text}", file=sys.stderr, flush=True)


def detach(config: Config, environ: Mapping[str, str]) -> int:
    """Start `up` in a session of its own and return once all is ready, with its exit code if it is not."""
    refuse_faults(config)
    plan = make_plan(config, environ)
    plan.log_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    log_path = plan.log_dir / SUPERVISOR_LOG
    with log_path.open("ab") as log:
        start = log.tell()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "scripts.brainstem", "up", "--config", str(config.path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=dict(environ),
            start_new_session=True,
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    process.stdout.close()
    if line:
        print(f"up (pid {process.pid}); `brainstem down` ends it, its log is {log_path}")
        return DONE
    code = process.wait()
    with log_path.open("rb") as log_again:
        log_again.seek(start)
        sys.stderr.write(log_again.read().decode("utf-8", "replace"))
    return code or FAILED


def main(config: Config, *, detached: bool) -> int:
    return detach(config, os.environ) if detached else run(config, os.environ)
