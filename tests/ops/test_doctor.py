"""`brainstem doctor` against a real exchange, Redis and gateway: what it finds and what it leaves alone."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ipc.redis_server import start_private
from scripts import brainstem, doctor, doctor_machine, doctor_venue
from scripts.doctor_finding import Finding, fail, note, ok, warn
from tests.data import ROOT
from tests.gateway.rig import Rig
from tests.simex.running import Running, running

pytestmark = pytest.mark.timeout(180)

GOOD = {"withdrawals": False, "ip_restricted": True}
ACCOUNTS = {
    "good": GOOD,
    "withdraws": GOOD | {"withdrawals": True},
    "anywhere": GOOD | {"ip_restricted": False},
    "moves": GOOD | {"universal_transfer": True},
    "reads": GOOD | {"futures": False},
}
SECRET = "secret-of-the-doctors-test-"


@pytest.fixture(scope="module")
def simex(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("doctor")
    rows = [
        {"name": name, "api_key": f"key-of-{name}", "api_secret": SECRET + name, "rights": rights, "leverage": 20}
        for name, rights in ACCOUNTS.items()
    ]
    rows.append({"name": "simex", "api_key": "simex", "api_secret": "simex", "rights": GOOD, "leverage": 5})
    (folder / "accounts.json").write_text(json.dumps(rows))
    with running("--seed", "3", "--accounts", str(folder / "accounts.json"), log=folder / "log") as started:
        yield started


class Doctor:
    """`examine(...)` runs the command; `findings` are those of the last run, `code` its exit code."""

    def __init__(self, simex: Running, folder: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        self.simex = simex
        self.folder = folder
        self.url = url
        self.findings: list[dict[str, str]] = []
        self.code = -1
        self.out = ""
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def key_of(self, name: str) -> None:
        self._monkeypatch.setenv("BRAINSTEM_ACCOUNTS__MAIN__API_KEY", f"key-of-{name}")
        self._monkeypatch.setenv("BRAINSTEM_ACCOUNTS__MAIN__API_SECRET", SECRET + name)

    def config(self, **sections: Any) -> Path:
        document: dict[str, Any] = {
            "simex": {"rest": self.simex.rest, "ws": self.simex.ws},
            "accounts": {"main": {"symbols": ["BTCUSDT"]}},
            "redis": {"url": self.url},
            "state_dir": str(self.folder / "state"),
            "run_dir": str(self.folder),
            **sections,
        }
        path = self.folder / "config.json"
        path.write_text(json.dumps(document))
        return path

    def examine(self, *words: str, config: Path | None = None) -> Doctor:
        path = config or self.config()
        self.code = brainstem.main(["doctor", "--json", "--config", str(path), *words])
        captured = self._capsys.readouterr()
        self.out = captured.out + captured.err
        told = json.loads(captured.out)
        self.findings = told["findings"]
        assert told["ok"] == (not self.of("fail"))
        assert sum(told["counts"].values()) == len(self.findings)
        return self

    def of(self, severity: str, check: str = "") -> list[str]:
        return [f"{one['check']}: {one['what']}" for one in self.findings
                if one["severity"] == severity and check in ("", one["check"])]  # fmt: skip


@pytest.fixture
def examined(
    simex: Running, run_dir: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Doctor:
    return Doctor(simex, run_dir, redis_url, monkeypatch, capsys)


def test_a_running_set_up_is_well_and_is_not_disturbed(examined: Doctor, tmp_path: Path) -> None:
    with Rig(examined.simex, examined.url, tmp_path, examined.folder) as rig:
        brain = rig.brain()
        rig.book_live()
        before = rig.slice("gateway")
        assert examined.examine(config=rig.config).code == 0
        assert examined.of("fail") == [] and examined.of("ok", "gateway")
        checks = {one["check"] for one in examined.findings if one["severity"] == "ok"}
        assert checks >= {
            "config", "versions", "disk", "open files", "files", "sockets", "redis", "gateway", "clock", "filters",
            "key", "settings", "balance", "route public", "route market", "route private",
        }  # fmt: skip
        assert brain.place("BUY", "0.002")["outcome"] == "accepted"
        after = rig.slice("gateway")
        assert (after["epoch"], after["ready"]) == (before["epoch"], True)
        assert [row["failures"] for row in after["streams"].values()] == [0, 0, 0], "no stream was lost to it"


def test_without_a_gateway_the_exchange_is_looked_at_all_the_same(examined: Doctor) -> None:
    examined.examine()
    assert examined.code == 0
    assert examined.of("note", "gateway") == ["gateway: none runs for account main"]
    assert examined.of("ok", "route private") and examined.of("ok", "key")


@pytest.mark.parametrize(
    ("name", "severity", "what", "code"),
    [
        ("withdraws", "warn", "may WITHDRAW", 0),
        ("anywhere", "note", "works from every address", 0),
        ("moves", "warn", "may transfer funds", 0),
        ("reads", "fail", "may not trade futures", 1),
    ],
)
def test_each_right_of_a_key_has_its_finding(examined: Doctor, name: str, severity: str, what: str, code: int) -> None:
    examined.key_of(name)
    assert examined.examine().code == code
    (said,) = examined.of(severity, "key")
    assert what in said and not examined.of("ok", "key")
    (step,) = [one["next"] for one in examined.findings if one["check"] == "key"]
    assert step


def test_a_key_the_exchange_does_not_know_is_a_fail_that_names_the_account(examined: Doctor) -> None:
    examined.key_of("nobody")
    assert examined.examine().code == 1
    found = [one for one in examined.findings if one["severity"] == "fail"]
    assert {(one["check"], one["where"]) for one in found} == {("key", "accounts.main")}


def test_no_secret_is_ever_printed(examined: Doctor, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("good", "nobody"):
        examined.key_of(name)
        url = examined.url.replace("unix://", "unix://default:password-of-the-test@")
        path = examined.config(redis={"url": url})
        said = examined.examine(config=path).out
        brainstem.main(["doctor", "--config", str(path)])
        text = capsys.readouterr()
        said += text.out + text.err
        assert "route public" in said
        assert not [secret for secret in (f"key-of-{name}", SECRET, "password-of-the-test") if secret in said]
        assert "listenKey=***" in said or name == "nobody"


@pytest.mark.parametrize(("family", "wrong"), [("public", "market"), ("market", "public")])
def test_a_wrong_route_is_named_within_its_deadline(examined: Doctor, family: str, wrong: str) -> None:
    base = f"{examined.simex.ws}/{wrong}"
    quick = {"market": {"first_message_ms": 1500}}
    assert examined.examine(config=examined.config(venue={family: base}, gateway=quick)).code == 1
    (found,) = [one for one in examined.findings if one["severity"] == "fail"]
    assert (found["check"], found["where"]) == (f"route {family}", base)
    assert "sent none of it within 1.5 s" in found["what"] and f"venue.{family}" in found["next"]


def test_an_exchange_that_is_not_there_is_exit_3(examined: Doctor) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    nowhere = {"rest": f"http://{host}", "ws": f"ws://{host}"}
    assert examined.examine(config=examined.config(simex=nowhere)).code == 3
    assert {one["check"] for one in examined.findings if one["severity"] == "fail"} == {
        "clock", "route public", "route market", "route private",
    }  # fmt: skip


def test_an_exchange_that_says_nothing_costs_no_more_than_the_time_limit(examined: Doctor) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=50) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        mute = {"rest": f"http://{host}", "ws": f"ws://{host}"}
        assert examined.examine("--timeout", "1", config=examined.config(simex=mute)).code == 1
    assert examined.of("fail") == ["exchange: not all was answered within 1 s"]


def test_symbols_and_sizes_are_compared_with_the_filters(examined: Doctor) -> None:
    brains = [{"strategy": "obi", "symbols": ["BTCUSDT"], "params": {"notional": "49"}},
              {"strategy": "macd", "symbols": ["ETHUSDT"], "params": {"notional": "49"}}]  # fmt: skip
    path = examined.config(accounts={"main": {"symbols": ["NOPEUSDT"]}}, brains=brains)
    assert examined.examine(config=path).code == 1
    assert set(examined.of("fail")) == {
        "filters: the exchange has no NOPEUSDT",
        "filters: notional 49 is below the exchange's least order of 50",
    }
    assert examined.of("ok", "route public"), "listened to a symbol that is there"
    assert [one["where"] for one in examined.findings if "below" in one["what"]] == ["brains: obi-BTCUSDT"]


def test_leverage_and_mode_are_compared_with_the_configuration(examined: Doctor) -> None:
    examined.key_of("good")
    account: dict[str, Any] = {"symbols": ["BTCUSDT"], "leverage": 5, "position_mode": "hedge"}
    assert examined.examine(config=examined.config(accounts={"main": account})).code == 0
    assert examined.of("warn", "settings") == [
        "settings: position mode is one_way, the configuration wants hedge",
        "settings: BTCUSDT: leverage is 20, the configuration wants 5",
    ]
    account = {"symbols": ["BTCUSDT"], "leverage": None}
    assert examined.examine(config=examined.config(accounts={"main": account})).code == 1
    assert examined.of("fail") == ["settings: BTCUSDT: leverage 20 is above max_leverage 10: entries are refused"]
    account = {"symbols": ["BTCUSDT"], "leverage": 20, "position_mode": "one_way"}
    examined.examine(config=examined.config(accounts={"main": account}))
    assert examined.of("ok", "settings")


def test_what_the_configuration_lacks_is_exit_2_with_every_fault(examined: Doctor) -> None:
    assert examined.examine(config=examined.config(log={"level": "loud"}, redis={"url": "x"})).code == 2
    assert {one["where"] for one in examined.findings} == {"log.level", "redis.url"}
    assert examined.examine(config=examined.folder / "none.json").code == 2


def test_a_redis_that_evicts_is_a_fail(examined: Doctor, tmp_path: Path) -> None:
    server = start_private(examined.folder, name="other")
    try:
        import redis

        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
            client.set("bs:main:events", "x")
        path = examined.config(redis={"url": server.url})
        assert examined.examine(config=path).code == 1
        assert examined.of("fail") == [
            "redis: evicts by allkeys-lru: slices and events would silently go",
            "redis: the event stream's name is taken by something else",
        ]
        assert "redis: we are the user `default`, who may do everything" in examined.of("warn", "redis")
    finally:
        server.stop()
    assert examined.examine(config=path).code == 3
    assert [one["check"] for one in examined.findings if one["severity"] == "fail"] == ["redis"]
    assert examined.examine(config=examined.config(redis={"url": None})).code == 0
    assert examined.of("note", "redis") == ["redis: is not running: `brainstem up` starts a private one"]


def test_a_socket_nobody_listens_on_is_told_from_none(examined: Doctor) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(examined.folder / "main.sock"))
    assert examined.examine().code == 3
    (found,) = examined.of("fail")
    assert found.startswith("gateway: does not answer")


@pytest.mark.parametrize(
    ("offset_s", "severity"), [(0.0, "ok"), (0.3, "ok"), (-0.7, "warn"), (0.7, "warn"), (61.0, "fail")]
)
def test_the_clock_on_both_sides_of_its_bounds(
    examined: Doctor, offset_s: float, severity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This machine's clock is off; what is signed is stamped with the exchange's time all the same."""

    class Shifted:
        @staticmethod
        def time() -> float:
            return time.time() + offset_s

    monkeypatch.setattr(doctor_venue, "time", Shifted)
    examined.examine()
    assert len(examined.of(severity, "clock")) == 1
    assert examined.of("ok", "settings")


# -- the machine ---------------------------------------------------------------------------------------------------


def severities(found: Iterator[Finding]) -> list[str]:
    return [one.severity for one in found]


@pytest.mark.parametrize(("mode", "severity"), [(0o700, "ok"), (0o750, "warn"), (0o704, "warn"), (0o500, "ok")])
def test_a_state_folder_is_its_users_alone(tmp_path: Path, mode: int, severity: str) -> None:
    if mode == 0o500 and os.getuid() != 0:
        severity = "fail"  # root may write anyway
    (folder := tmp_path / "state").mkdir()
    folder.chmod(mode)
    assert severities(doctor_machine.private_folder("state_dir", folder)) == [severity]


def test_a_journal_others_may_read_is_named(tmp_path: Path) -> None:
    for name, mode in (("main.journal.sqlite", 0o600), ("other.journal.sqlite", 0o640), ("x.txt", 0o666)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    (found,) = doctor_machine.journals(tmp_path)
    assert (found.severity, found.where) == ("warn", str(tmp_path / "other.journal.sqlite"))
    assert found.next == f"chmod 600 {tmp_path / 'other.journal.sqlite'}"


@pytest.mark.parametrize(("mode", "severity"), [(0o700, "ok"), (0o750, "ok"), (0o777, "fail"), (0o702, "fail")])
def test_a_run_folder_others_may_write_is_a_fail(tmp_path: Path, mode: int, severity: str) -> None:
    (folder := tmp_path / "run").mkdir()
    folder.chmod(mode)
    assert severities(doctor_machine.run_folder(folder)) == [severity]


@pytest.mark.parametrize(
    ("limit", "severity"), [(511, "fail"), (512, "warn"), (1023, "warn"), (1024, "ok"), (resource.RLIM_INFINITY, "ok")]
)
def test_open_files_on_both_sides_of_their_bounds(limit: int, severity: str) -> None:
    assert doctor_machine.open_files(limit).severity == severity


@pytest.mark.parametrize(
    ("free", "severity"),
    [
        (doctor_machine.DISK_FAIL_BYTES - 1, "fail"), (doctor_machine.DISK_FAIL_BYTES, "warn"),
        (doctor_machine.DISK_WARN_BYTES - 1, "warn"), (doctor_machine.DISK_WARN_BYTES, "ok"),
    ],
)  # fmt: skip
def test_room_on_disk_on_both_sides_of_its_bounds(
    tmp_path: Path, free: int, severity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(free * 2, free, free))
    assert doctor_machine.disk(tmp_path / "not" / "yet" / "there").severity == severity


def test_packages_that_are_not_those_of_the_lock_are_named(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("redis==0.0.1 \\\n    --hash=x\nno-such-package==1.0\n")
    assert [one.severity for one in doctor_machine.versions(lock)] == ["ok", "warn"]
    import redis

    lock.write_text(f"redis==0.0.1 ; python_version < '3'\nredis=={redis.__version__}\n")
    assert [one.severity for one in doctor_machine.versions(lock)] == ["ok", "ok"]
    assert [one.severity for one in doctor_machine.versions(tmp_path / "none")] == ["ok", "note"]


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([ok("a", "x"), note("a", "x"), warn("a", "x", "", "")], 0),
        ([fail("a", "x", "", ""), ok("a", "x")], 1),
        ([fail("a", "x", "", "", absent=True), warn("a", "x", "", "")], 3),
        ([fail("a", "x", "", "", absent=True), fail("b", "x", "", "")], 1),
    ],
)
def test_exit_codes(found: list[Finding], code: int) -> None:
    assert doctor.exit_code(found) == code


def test_people_read_each_next_step_below_its_finding() -> None:
    lines = doctor.text([warn("key", "bad", "here", "do this"), ok("disk", "fine")], {"ok": 1, "warn": 1}).splitlines()
    assert lines == [
        "warn  key            bad  (here)",
        f"{'':20} -> do this",
        "ok    disk           fine",
        "1 ok  1 warn",
    ]


def test_the_command_line_imports_it_only_when_asked_for() -> None:
    code = (
        "import sys; from scripts import brainstem, doctor; print('gateway' in sys.modules or 'redis' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"
