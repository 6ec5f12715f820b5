"""What `deploy/install.sh` puts in place, judged by systemd's own tools, by shellcheck, and by the guide's commands."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipc import config
from ipc.redis_server import server_program
from scripts import brainstem
from tests.data import ROOT
from tests.deploy.programs import program

SERVICES = ("brainstem-gateway@main", "brainstem-brain@macd-BTCUSDT", "brainstem-doctor@main", "brainstem-redis")
WORST = 1.5
GUIDE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
INSTALL = ROOT / "deploy" / "install.sh"


def install(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [INSTALL, "--prefix", ROOT, "--redis", server_program(), *words],
        env={**os.environ, "DESTDIR": str(root)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("installed")
    done = install(root)
    assert done.returncode == 0, done.stderr
    yield root
    shutil.rmtree(root, ignore_errors=True)


def units(root: Path) -> Path:
    return root / "etc/systemd/system"


def unit_path(root: Path, name: str) -> Path:
    """As a unit manager names an instance: the file is the template's."""
    return units(root) / f"{name}.service"


def test_systemd_has_nothing_to_say_about_the_units(installed: Path) -> None:
    analyze = program("systemd-analyze", "systemd")
    names = [*(str(unit_path(installed, name)) for name in SERVICES), str(units(installed) / "brainstem.target")]
    done = subprocess.run([analyze, "verify", *names], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", SERVICES)
def test_no_unit_is_more_exposed_than_allowed(installed: Path, name: str) -> None:
    analyze = program("systemd-analyze", "systemd")
    done = subprocess.run(
        [analyze, "security", "--offline=yes", "--no-pager", f"--threshold={int(WORST * 10)}",
         str(unit_path(installed, name))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = re.search(r"Overall exposure level for .*: ([0-9.]+)", done.stdout)
    assert said is not None, done.stderr
    assert float(said[1]) <= WORST and done.returncode == 0, done.stdout


def value(root: Path, name: str, key: str) -> list[str]:
    template = re.sub(r"@.*", "@", name) if "@" in name else name
    text = (units(root) / f"{template}.service").read_text(encoding="utf-8")
    return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


def test_brains_have_no_network_and_no_credential_but_their_own(installed: Path) -> None:
    name = "brainstem-brain@x-Y"
    assert value(installed, name, "PrivateNetwork") == ["yes"]
    assert value(installed, name, "RestrictAddressFamilies") == ["AF_UNIX"]
    assert value(installed, name, "IPAddressDeny") == ["any"]
    assert [text.partition(":")[2] for text in value(installed, name, "LoadCredential")] == [
        "/etc/brainstem/credentials/brain/redis_url"
    ]
    users = {value(installed, name, "User")[0] for name in SERVICES}
    assert users == {"brainstem-gateway", "brainstem-brain", "brainstem-redis"}


def test_a_watchdog_never_restarts_often_enough_to_reach_the_start_limit(installed: Path) -> None:
    for name in SERVICES[:2]:
        (watchdog_s,), (window_s,), (burst,) = (
            value(installed, name, key) for key in ("WatchdogSec", "StartLimitIntervalSec", "StartLimitBurst")
        )
        assert int(burst) * int(watchdog_s) > int(window_s)
        assert value(installed, name, "Type") == ["notify"]
        assert value(installed, name, "RestartPreventExitStatus") == ["2"]


def test_credentials_have_the_names_the_configuration_reads(installed: Path, tmp_path: Path) -> None:
    """What LoadCredential puts there is what `ipc.config` finds there."""
    for item in value(installed, "brainstem-gateway@main", "LoadCredential"):
        (tmp_path / item.partition(":")[0].replace("%i", "main")).write_text(f"redis://{len(item)}\n")
    held = config.load(installed / "etc/brainstem/config.json", {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert held.keys("main").api_key.get_secret_value().startswith("redis://")
    assert held.raw("redis")["url"].startswith("redis://")


def test_users_and_folders_are_made_as_the_units_expect(installed: Path, tmp_path: Path) -> None:
    sysusers, tmpfiles = program("systemd-sysusers", "systemd"), program("systemd-tmpfiles", "systemd")
    if os.getuid() != 0:
        pytest.skip("needs root: folders of other users are made")
    root = tmp_path / "root"
    shutil.copytree(installed, root)
    for command in ([sysusers, f"--root={root}"], [tmpfiles, f"--root={root}", "--create"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    rows = [line.split(":") for line in (root / "etc/passwd").read_text().splitlines()]
    (group,) = [line.split(":") for line in (root / "etc/group").read_text().splitlines()]
    assert {row[0] for row in rows} == {value(installed, name, "User")[0] for name in SERVICES}
    assert all(row[3] == group[2] and row[6].endswith("nologin") for row in rows)
    uid = {row[0]: int(row[2]) for row in rows}
    held = (root / "run/brainstem").stat()
    assert (held.st_uid, held.st_gid, held.st_mode & 0o777) == (uid["brainstem-gateway"], int(group[2]), 0o750)
    keys = (root / "etc/brainstem/credentials/gateway").stat()
    assert (keys.st_uid, keys.st_mode & 0o777) == (0, 0o700)
    assert (root / "etc/brainstem/config.json").stat().st_mode & 0o777 == 0o640


def tree(root: Path) -> dict[str, tuple[int, str]]:
    return {
        str(path.relative_to(root)): (path.stat().st_mode, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(root.rglob("*")) if path.is_file()
    }  # fmt: skip


def test_installing_again_changes_nothing_of_ones_own(tmp_path: Path) -> None:
    assert install(tmp_path).returncode == 0
    first = tree(tmp_path)
    again = install(tmp_path)
    assert again.stdout.splitlines() == ["install: done; docs/deploy.md has the next steps: keys, config.json, start"]
    assert tree(tmp_path) == first
    own = tmp_path / "etc/brainstem/config.json"
    own.write_text("{}")
    unit = units(tmp_path) / "brainstem-gateway@.service"
    unit.write_text("an older one")
    assert install(tmp_path).returncode == 0
    after = tree(tmp_path)
    assert own.read_text() == "{}"
    assert after.keys() == first.keys() and {name for name in after if after[name] != first[name]} == {
        "etc/brainstem/config.json"
    }


def test_passwords_are_private_new_each_time_and_hashed_in_the_acl(installed: Path, tmp_path: Path) -> None:
    assert install(tmp_path).returncode == 0
    keys = [root / "etc/brainstem/credentials" for root in (installed, tmp_path)]
    urls = [(folder / side / "redis_url").read_text() for folder in keys for side in ("gateway", "brain")]
    passwords = [
        re.fullmatch(r"unix://(gateway|brain):([0-9a-f]{48})@/run/brainstem-redis/redis\.sock", u) for u in urls
    ]
    assert len({found[2] for found in passwords if found}) == 4
    acl = (keys[0] / "redis.acl").read_text()
    for found in passwords[:2]:
        assert found is not None and found[2] not in acl
        assert f"user {found[1]} on #{hashlib.sha256(found[2].encode()).hexdigest()} " in acl
    private = [path for path in keys[0].rglob("*") if path.is_file()]
    assert len(private) == 3 and all(path.stat().st_mode & 0o077 == 0 for path in private)


@pytest.mark.parametrize(
    "words", [["--nonsense"], ["--prefix"], ["--prefix", "relative"], ["--prefix", "/with space"], ["--prefix", "/a'b"]]
)
def test_wrong_usage_is_exit_2_and_touches_nothing(tmp_path: Path, words: list[str]) -> None:
    done = subprocess.run(
        [INSTALL, *words], env={**os.environ, "DESTDIR": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and done.stderr.startswith("install: ")
    assert list(tmp_path.iterdir()) == []


def test_a_place_the_units_cannot_see_is_refused_on_this_machine(tmp_path: Path) -> None:
    environ = {name: text for name, text in os.environ.items() if name != "DESTDIR"}
    done = subprocess.run(
        [INSTALL, "--prefix", str(tmp_path)], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "needs root" in done.stderr or "has no environment yet" in done.stderr or "needs systemd" in done.stderr


def test_scripts_are_clean_by_shellcheck() -> None:
    shellcheck = program("shellcheck", "shellcheck")
    done = subprocess.run([shellcheck, INSTALL], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_example_configuration_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    path = ROOT / "deploy" / "config.json"
    assert brainstem.main(["config", "check", "--config", str(path)]) == 0, capsys.readouterr()
    told = json.loads(path.read_text())
    assert told["environment"] == "testnet", "never mainnet by example"


# -- the guide -----------------------------------------------------------------------------------------------------


def commands() -> list[str]:
    return [line for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.S) for line in block.splitlines()]


def test_the_guide_names_units_that_exist(installed: Path) -> None:
    there = {path.name for path in units(installed).iterdir()}
    words = [word for line in commands() if line.startswith("systemctl") for word in shlex.split(line)[2:]]
    named = {word for word in words if word.startswith("brainstem") and "*" not in word}
    for name in named:
        full = name if name.endswith(".target") else f"{name}.service"
        assert re.sub(r"@[^.]*", "@", full) in there, name
    assert len(named) >= 4


def test_the_guides_commands_for_keys_make_what_the_units_load(installed: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(installed, root)
    lines = [line for line in commands() if "/dev/stdin" in line]
    assert len(lines) == 2
    for line in lines:
        moved = line.replace("/etc/brainstem", f"{root}/etc/brainstem")
        subprocess.run(["bash", "-c", moved], input="the-key\n", text=True, check=True)
    loaded = {
        item.partition(":")[2].replace("%i", "main")
        for item in value(installed, "brainstem-gateway@main", "LoadCredential")
    }
    for path in loaded:
        held = root / path.lstrip("/")
        assert held.stat().st_mode & 0o777 == 0o600, "each file the unit loads is there, and private"


def test_the_guides_first_commands_stand_as_they_are_in_the_checkout() -> None:
    (first,) = [line for line in dict.fromkeys(commands()) if "brainstem_bootstrap" in line]
    script = re.sub(r"^BRAINSTEM_PYTHON=\S+ ", "", first).replace(
        "brainstem_bootstrap", "type -t brainstem_bootstrap;:"
    )
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "function\n"), done.stderr
    assert os.access(ROOT / "deploy/install.sh", os.X_OK)


def test_the_guides_tools_parse() -> None:
    """Every `brainstem ...` line of the guide is one the command line knows."""
    lines = [line for line in commands() if "/bin/brainstem " in line]
    assert len(lines) >= 3
    for line in lines:
        words = line.partition("/bin/brainstem ")[2].split()
        brainstem.parser().parse_args(words)
