"""The supervisor with small real processes: order, ready lines, crashes, limits, and its own violent end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.restart_policy import RestartPolicy
from scripts.supervised import ProcessFailed, ProcessView, Spec
from scripts.supervisor import Supervisor
from tests.waiting import alive, wait_until

DUMMY = Path(__file__).with_name("dummy.py")


def spec(folder: Path, name: str, *words: str, **more: Any) -> Spec:
    command = [sys.executable, "-S", str(DUMMY), str(folder), name, *words]
    more.setdefault("policy", RestartPolicy(first_backoff_s=0.01, max_backoff_s=0.05, max_restarts=3))
    return Spec(name=name, command=lambda _: command, env=lambda _: dict(os.environ), **more)


def notes(folder: Path) -> list[str]:
    path = folder / "log"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def make(folder: Path) -> Iterator[Any]:
    made: list[Supervisor] = []

    def maker(*specs: Spec, **more: Any) -> Supervisor:
        made.append(Supervisor(specs, folder / "logs", **more))
        return made[-1]

    yield maker
    for supervisor in made:
        supervisor.close()


def test_starts_in_order_and_stops_in_the_reverse(make: Any, folder: Path) -> None:
    supervisor = make(spec(folder, "a", "--ready-after", "0.1"), spec(folder, "b", after=("a",)))
    supervisor.start(timeout_s=10)
    supervisor.stop()
    assert notes(folder) == ["a start", "a ready", "b start", "b ready", "b term", "a term"]
    assert [view.state for view in supervisor.view()] == ["ended", "ended"]


def test_those_that_wait_for_nothing_start_at_once(make: Any, folder: Path) -> None:
    supervisor = make(spec(folder, "slow", "--ready-after", "1"), spec(folder, "quick"))
    supervisor.launch()
    supervisor.wait_ready("quick", timeout_s=10)
    assert supervisor.of("slow").state == "starting"
    supervisor.wait_ready(timeout_s=10)


def test_a_ready_line_is_kept_and_reaches_those_that_come_after(make: Any, folder: Path) -> None:
    seen: list[dict[str, Any]] = []
    base = spec(folder, "b", after=("a",))

    def command(ready: Any) -> list[str]:
        seen.append(dict(ready["a"]))
        return base.command(ready)

    supervisor = make(spec(folder, "a"), Spec(name="b", command=command, env=base.env, after=("a",)))
    supervisor.start(timeout_s=10)
    assert seen == [{"ready": True, "name": "a", "pid": supervisor.of("a").pid}]
    assert "not a ready line" in supervisor.tail("a")


def test_a_killed_process_comes_back_by_itself(make: Any, folder: Path) -> None:
    supervisor = make(spec(folder, "a"))
    supervisor.start(timeout_s=10)
    pid = supervisor.kill("a")
    assert not alive(pid)
    supervisor.wait_ready("a", timeout_s=10)
    view = supervisor.of("a")
    assert (view.restarts, view.code, view.pid != pid) == (1, -9, True)


def test_after_a_kill_nobody_sees_the_dead_process_as_ready(make: Any, folder: Path) -> None:
    supervisor = make(spec(folder, "a", policy=RestartPolicy(first_backoff_s=0.0, max_restarts=1000)))
    supervisor.start(timeout_s=10)
    for _ in range(15):
        pid = supervisor.kill("a")
        supervisor.wait_ready("a", timeout_s=10)
        now = supervisor.of("a").pid
        assert now is not None
        assert now != pid
        assert alive(now)


def test_only_the_killed_one_is_started_again(make: Any, folder: Path) -> None:
    supervisor = make(spec(folder, "a"), spec(folder, "b", after=("a",)))
    supervisor.start(timeout_s=10)
    pid = supervisor.of("b").pid
    supervisor.kill("a")
    supervisor.wait_ready(timeout_s=10)
    assert supervisor.of("b").pid == pid


def test_what_cannot_stay_up_is_given_up_with_the_end_of_its_log(make: Any, folder: Path) -> None:
    supervisor = make(spec(folder, "a", "--exit", "7", "--say", "the disk is gone"))
    with pytest.raises(ProcessFailed, match="the disk is gone") as error:
        supervisor.start(timeout_s=20)
    assert error.value.code == 7
    assert notes(folder) == ["a start"] * 4  # once, and three restarts
    assert supervisor.of("a").state == "failed"


def test_wrong_usage_is_given_up_at_once(make: Any, folder: Path) -> None:
    supervisor = make(spec(folder, "a", "--exit", "2"))
    with pytest.raises(ProcessFailed, match="exit 2"):
        supervisor.start(timeout_s=20)
    assert notes(folder) == ["a start"]


def test_a_clean_exit_is_an_end_and_no_crash(make: Any, folder: Path) -> None:
    supervisor = make(spec(folder, "a", "--exit", "0"))
    supervisor.launch()
    assert supervisor.wait(lambda: supervisor.of("a").state == "ended", 10)
    assert supervisor.of("a").restarts == 0


def test_a_program_that_is_not_there_is_named(make: Any, folder: Path) -> None:
    supervisor = make(Spec(name="a", command=lambda _: ["/nowhere/program"], env=lambda _: {}))
    with pytest.raises(ProcessFailed, match="/nowhere/program"):
        supervisor.start(timeout_s=10)


def test_not_ready_in_time_says_which_and_leaves_it_running(make: Any, folder: Path) -> None:
    supervisor = make(spec(folder, "a", "--never-ready"))
    with pytest.raises(ProcessFailed, match=r"a was not ready within 0\.3 s"):
        supervisor.start(timeout_s=0.3)
    assert supervisor.of("a").state == "starting"


def test_a_probe_stands_for_a_ready_line(make: Any, folder: Path) -> None:
    flag = folder / "flag"
    supervisor = make(spec(folder, "a", "--never-ready", probe=flag.exists))
    supervisor.launch()
    wait_until(lambda: notes(folder) == ["a start"], 10, "a runs")
    assert supervisor.of("a").state == "starting"
    flag.touch()
    supervisor.wait_ready("a", timeout_s=5)


@pytest.mark.parametrize("suspended", [False, True])
def test_stopping_never_hangs(make: Any, folder: Path, suspended: bool) -> None:
    words = () if suspended else ("--ignore-term",)
    supervisor = make(spec(folder, "a", *words, stop_timeout_s=0.3))
    supervisor.start(timeout_s=10)
    pid = supervisor.of("a").pid
    if suspended:
        supervisor.suspend("a")
        wait_until(lambda: _state(pid) == "T", 5, "suspended")
    supervisor.stop()
    assert not alive(pid)
    assert notes(folder)[-1] == "a term"


def test_suspend_and_resume(make: Any, folder: Path) -> None:
    supervisor = make(spec(folder, "a"))
    supervisor.start(timeout_s=10)
    pid = supervisor.suspend("a")
    wait_until(lambda: _state(pid) == "T", 5, "suspended")
    supervisor.resume("a")
    wait_until(lambda: _state(pid) == "S", 5, "running again")


def test_one_process_can_be_stopped_and_started_by_name(make: Any, folder: Path) -> None:
    supervisor = make(spec(folder, "a"), spec(folder, "b"))
    supervisor.start(timeout_s=10)
    supervisor.stop("b")
    assert (supervisor.of("a").state, supervisor.of("b").state) == ("ready", "ended")
    with pytest.raises(KeyError):
        supervisor.signal("b", signal.SIGTERM)
    supervisor.start("b", timeout_s=10)
    assert supervisor.of("b").state == "ready"


def test_every_change_is_told_in_order(make: Any, folder: Path) -> None:
    told: list[ProcessView] = []
    supervisor = make(spec(folder, "a"), on_change=told.append)
    supervisor.start(timeout_s=10)
    supervisor.kill("a")
    supervisor.wait_ready("a", timeout_s=10)
    supervisor.close()
    states = [view.state for view in told]
    once = ["waiting", "starting", "ready"]
    assert states == [*once, "backoff", *once, "stopping", "ended"]


def test_a_log_is_kept_below_its_bound(make: Any, folder: Path) -> None:
    from scripts.child_log import ChildLog

    log = ChildLog(folder / "x.log", 100)
    log.append(b"a" * 99)
    log.keep_bounded()
    assert log.path.stat().st_size == 100  # the newline; at the bound nothing happens
    with log.open() as child:
        log.append(b"b")
        log.keep_bounded()
        child.write(b"goes on\n")  # through the descriptor a child would hold
    assert log.path.read_text() == "goes on\n"
    assert (folder / "x.log.1").read_text() == "a" * 99 + "\nb\n"
    assert log.tail(5) == "goes on"


def test_the_end_of_a_log_is_the_newest_run_s(folder: Path) -> None:
    """What an older run said last would be taken for the reason of this one's end."""
    from scripts.child_log import ChildLog

    log = ChildLog(folder / "x.log", 1000)
    with log.begin() as child:
        child.write(b"the first run's end\n")
    with log.begin() as child:
        assert log.tail(5) == "(nothing was logged)"
        child.write(b"the second's\n")
    assert log.tail(5) == "the second's"
    assert log.path.read_text() == "the first run's end\nthe second's\n"


def test_a_fault_of_the_caretaker_reaches_its_callers(make: Any, folder: Path) -> None:
    def broken() -> bool:
        raise RuntimeError("probe is broken")

    supervisor = make(spec(folder, "a", probe=broken))
    supervisor.launch()
    with pytest.raises(RuntimeError, match="has ended"):
        supervisor.wait_ready("a", timeout_s=10)
    supervisor.close()
    assert not alive(int((folder / "a.pid").read_text()) if (folder / "a.pid").exists() else -1)


_SUPERVISOR = """
import os, sys
from pathlib import Path
from scripts.supervised import Spec
from scripts.supervisor import Supervisor
folder, dummy = Path(sys.argv[1]), sys.argv[2]
def spec(name):
    command = [sys.executable, "-S", dummy, str(folder), name]
    return Spec(name=name, command=lambda _: command, env=lambda _: dict(os.environ))
supervisor = Supervisor([spec("a"), spec("b")], folder / "logs")
supervisor.start(timeout_s=10)
print("up", flush=True)
sys.stdin.read()
"""


def test_kill_9_of_the_supervisor_ends_every_child(folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _SUPERVISOR, str(folder), str(DUMMY)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "up\n"
    pids = [int((folder / f"{name}.pid").read_text()) for name in ("a", "b")]
    assert all(map(alive, pids))
    process.kill()
    process.wait()
    wait_until(lambda: not any(map(alive, pids)), 5, "the children end with their killed supervisor")
    assert "term" not in " ".join(notes(folder))
    process.stdout.close()
    process.stdin.close()


def _state(pid: int | None) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
