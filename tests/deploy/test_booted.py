"""The installed units under a real systemd, in namespaces of its own: sandbox, credentials, ready, watchdog, stop.

What test_two_users.py imitates is here the real thing: seccomp filters, user and network namespaces, credentials in
memory, the watchdog's kill and the restart after it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ipc.redis_server import server_program
from tests.data import ROOT
from tests.deploy.programs import program
from tests.simex.running import Running, running
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(400)

HERE = Path(__file__).parent
KEY, SECRET = "key-of-the-booted-test-account", "secret-of-the-booted-test-account"
BOOT_S = 60.0


class Machine:
    """A booted one. `fact(name)` is what inside.sh wrote, as text."""

    def __init__(self, folder: Path, simex: Running) -> None:
        self.folder = folder
        self.results = folder / "results"
        self.simex = simex
        words: list[str | Path] = [
            "unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--cgroup", "bash",
            HERE / "boot.sh", folder, ROOT, Path(sys.executable).resolve().name, Path(sys.base_prefix).resolve(),
            sysconfig.get_path("purelib"), server_program(),
        ]  # fmt: skip
        with (folder / "console").open("wb") as console:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=console, stderr=console)

    def has(self, name: str) -> bool:
        return (self.results / name).exists()

    def fact(self, name: str, timeout_s: float = 120) -> str:
        wait_until(lambda: self.has(name) or self.process.poll() is not None, timeout_s, f"{name}\n{self.tail()}", 0.05)
        return (self.results / name).read_text(encoding="utf-8")

    def tail(self) -> str:
        log = self.results / "inside.log"
        return log.read_text(encoding="utf-8", errors="replace")[-2500:] if log.exists() else self.console()

    def console(self) -> str:
        return (self.folder / "console").read_text(encoding="utf-8", errors="replace")[-1500:]

    def truth(self) -> dict[str, Any]:
        (account,) = httpx.get(f"{self.simex.rest}/admin/state", timeout=20).json()["truth"]["accounts"].values()
        return dict(account)

    def trade(self) -> None:
        """Until the brain has traded; inside.sh goes on then."""
        self.fact("started")
        wait_until(lambda: len(self.truth()["fills"]) >= 3, 120, f"fills at the exchange\n{self.tail()}", 0.1)
        (self.results / "traded").touch()

    def close(self) -> None:
        self.process.kill()  # process 1 of the machine dies with it, and all of the machine with that
        self.process.wait()


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    program("systemd-analyze", "systemd")
    if os.getuid() != 0:
        pytest.skip("needs root: a machine with a systemd of its own is booted")
    folder = Path(tempfile.mkdtemp(prefix="bs-boot-", dir="/tmp"))
    (folder / "results").mkdir()
    folder.chmod(0o755)
    accounts = folder / "accounts.json"
    accounts.write_text(json.dumps([{"name": "a", "api_key": KEY, "api_secret": SECRET}]))
    with running("--seed", "5", "--accounts", str(accounts)) as simex:
        config = {
            "environment": "simex",
            "simex": {"rest": simex.rest, "ws": simex.ws},
            "accounts": {"main": {"symbols": ["BTCUSDT"], "rights": [{"user": "brainstem-brain", "trade": True}]}},
            "brains": [{"strategy": "random", "symbols": ["BTCUSDT"],
                        "params": {"rate_per_s": 4, "kinds": "enter,market,close", "notional": 300}}],
        }  # fmt: skip
        for name, text in (("config.json", json.dumps(config)), ("api_key", KEY), ("api_secret", SECRET)):
            (folder / "results" / name).write_text(text)
        shutil.copy(HERE / "inside.sh", folder / "results")
        booted = Machine(folder, simex)
        try:
            if not _boots(booted):
                pytest.skip(f"no systemd can be booted in namespaces here: {booted.console()}")
            booted.trade()
            yield booted
        finally:
            print(booted.tail())
            booted.close()
            shutil.rmtree(folder, ignore_errors=True)


def _boots(machine: Machine) -> bool:
    """This kernel or container may forbid it; that is no fault of the units."""
    try:
        wait_until(lambda: machine.has("booted") or machine.process.poll() is not None, BOOT_S, "the machine is up")
    except AssertionError:
        return False
    return machine.has("booted")


def status(text: str) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def test_the_units_come_up_in_their_sandboxes(machine: Machine) -> None:
    assert machine.fact("states").split() == ["active"] * 4
    for name in ("brain_status", "gateway_status"):
        held = status(machine.fact(name))
        assert (held["NoNewPrivs"], held["Seccomp"], held["CapEff"]) == ("1", "2", "0" * 16)
    uids = {status(machine.fact(name))["Uid"] for name in ("brain_status", "gateway_status")}
    assert len(uids) == 2
    assert [line.split(":")[0].strip() for line in machine.fact("brain_net").splitlines()[2:]] == ["lo"]
    assert machine.fact("brain_text").strip() not in ("", "started")


def test_the_doctors_unit_has_the_keys_and_finds_nothing_wrong(machine: Machine) -> None:
    assert machine.fact("doctor_code").strip() == "0"
    said = machine.fact("doctor")
    assert "0 fail" in said and "ok    settings" in said and "we are the user `gateway`" in said
    assert KEY not in said and SECRET not in said


def test_the_brains_sandbox_shows_nothing_of_the_gateway(machine: Machine) -> None:
    seen = machine.fact("brain_sees")
    assert KEY not in seen and SECRET not in seen and "unix://" not in seen
    refusals = [line for line in seen.splitlines() if "Permission denied" in line or "No such file" in line]
    assert len(refusals) >= 4, seen
    assert int(seen.split()[-1]) <= 4, "of all processes it sees its own alone"


def test_a_gateway_that_stands_still_is_ended_and_started_anew(machine: Machine) -> None:
    assert machine.fact("again").strip() != ""
    log = machine.fact("gateway_log")
    assert log.count('"ready": true') == 2
    assert "Fatal Python error: Aborted" in log, "where it stood is in the log"
    assert KEY not in log and SECRET not in log


def test_stopping_the_target_ends_brains_then_the_gateway_then_redis(machine: Machine) -> None:
    machine.fact("done")
    assert machine.fact("ended").split() == ["success"] * 3, machine.tail()
    stopped = [line for line in machine.fact("stop_log").splitlines() if "systemd[1]: Stopped " in line]
    last = [max(at for at, line in enumerate(stopped) if name in line)  # earlier ones are of the restart
            for name in ("brainstem-brain@", "brainstem-gateway@", "brainstem-redis")]  # fmt: skip
    assert last == sorted(last), stopped
