"""The installed units, run without systemd: the same files, users, folders, credentials and notify sockets.

`Stage` installs into a folder (`deploy/install.sh` with DESTDIR), then starts what a unit says, as that unit's user.
Its paths below /etc, /run and /var are moved into the folder; everything else is the installed text.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from ipc.redis_server import server_program
from tests.data import ROOT
from tests.waiting import alive, wait_until

# no user of this machine: nothing but these processes runs as them
UIDS = {"brainstem-gateway": 61_101, "brainstem-brain": 61_102, "brainstem-redis": 61_103, "stranger": 61_104}
GROUP = 61_100
STRANGERS = 61_105
_MOVED = re.compile(r"/etc/brainstem|/run/brainstem|/run/credentials|/var/lib/brainstem")
_CONFINE = Path(__file__).with_name("confine.py")


def impossible() -> str:
    """Why other users cannot be played here, or nothing."""
    if os.getuid() != 0:
        return "needs root: gateway and brain run as two other users"
    for number in (*UIDS.values(), GROUP, STRANGERS):
        for look in (pwd.getpwuid, grp.getgrgid):
            with suppress(KeyError):
                look(number)
                return f"the user or group id {number} of these tests is taken on this machine"
    if subprocess.run(["unshare", "-m", "-n", "true"], capture_output=True, check=False).returncode != 0:
        return "this kernel or container gives no namespaces to root"
    return ""


class Unit:
    """One installed unit, read. `text(key)` is the last value of a key, `all(key)` every one."""

    def __init__(self, path: Path, instance: str) -> None:
        self.name = path.name.replace("@.", f"@{instance}.") if instance else path.name
        self._lines = [
            line.partition("=")[::2]
            for line in path.read_text(encoding="utf-8").replace("%i", instance).splitlines()
            if "=" in line and not line.startswith("#")
        ]

    def all(self, key: str) -> list[str]:
        return [value for name, value in self._lines if name == key]

    def text(self, key: str, default: str = "") -> str:
        return (self.all(key) or [default])[-1]


class Started:
    """A process of a unit and what it told its manager. `heard` grows; `log` is its stderr and stdout so far."""

    def __init__(self, unit: Unit, process: subprocess.Popen[bytes], manager: socket.socket, log: Path) -> None:
        self.unit = unit
        self.process = process
        self._manager = manager
        self._log = log
        self._heard: list[str] = []

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def heard(self) -> list[str]:
        with suppress(BlockingIOError):
            while True:
                self._heard += self._manager.recv(4096).decode().splitlines()
        return self._heard

    def wait_heard(self, line: str, timeout_s: float = 60) -> None:
        def told() -> bool:
            return line in self.heard() or self.process.poll() is not None

        wait_until(told, timeout_s, f"{self.unit.name} says {line}")
        assert line in self.heard(), f"ended with {self.process.returncode}: {self.log[-3000:]}"

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
        return self.process.wait(30)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._manager.close()


class Stage:
    """`folder` is short (sockets) and open to others down to itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.chmod(0o755)
        self.started: dict[str, Started] = {}
        self.running: list[Started] = []

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for one in reversed(self.running):
            if kind is not None:
                print(f"--- {one.unit.name}\n{one.log[-3000:]}")
            one.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Stage:
        return self

    # -- installing --------------------------------------------------------------------------------------------

    def install(self, config: dict[str, Any], credentials: dict[str, str], more_acl: str = "") -> None:
        """As docs/deploy.md says: install, put the keys there, write config.json."""
        subprocess.run(
            [ROOT / "deploy" / "install.sh", "--prefix", ROOT, "--redis", server_program()],
            env={**os.environ, "DESTDIR": str(self.folder)}, check=True, capture_output=True,
        )  # fmt: skip
        keys = self.folder / "etc/brainstem/credentials"
        for name, text in credentials.items():
            (keys / name).write_text(text)
            (keys / name).chmod(0o600)
        (self.folder / "etc/brainstem/config.json").write_text(json.dumps(config))
        acl = keys / "redis.acl"
        acl.write_text(acl.read_text() + more_acl)
        for path in (self.folder / "etc").rglob("*"):
            if path.is_file():
                path.write_text(self._moved(path.read_text()))
        self._folders()

    def _folders(self) -> None:
        """What systemd-tmpfiles makes of the installed file."""
        for line in (self.folder / "etc/tmpfiles.d/brainstem.conf").read_text().splitlines():
            if line and not line.startswith("#"):
                kind, name, mode, user, group, _age = line.split()
                if kind == "d":
                    Path(name).mkdir(parents=True, exist_ok=True)
                Path(name).chmod(int(mode, 8))
                os.chown(name, UIDS.get(user, 0), GROUP if group == "brainstem" else 0)
        for path in (self.folder / "run", self.folder / "var", self.folder / "etc", self.folder / "notify"):
            path.mkdir(exist_ok=True)
            path.chmod(0o755)

    def _moved(self, text: str) -> str:
        return _MOVED.sub(lambda found: f"{self.folder}{found[0]}", text)

    def redis_url(self, side: str) -> str:
        return (self.folder / f"etc/brainstem/credentials/{side}/redis_url").read_text()

    # -- running -----------------------------------------------------------------------------------------------

    def start(self, unit_name: str, instance: str = "") -> Started:
        unit = Unit(self.folder / "etc/systemd/system" / unit_name, instance)
        uid = UIDS[unit.text("User")]
        environ = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
        environ |= dict(item.split("=", 1) for item in unit.all("Environment"))
        if unit.text("StateDirectory"):
            environ["STATE_DIRECTORY"] = str(self._owned(f"var/lib/{unit.text('StateDirectory')}", uid, 0o700))
        if unit.text("RuntimeDirectory"):
            mode = int(unit.text("RuntimeDirectoryMode", "0755"), 8)
            environ["RUNTIME_DIRECTORY"] = str(self._owned(f"run/{unit.text('RuntimeDirectory')}", uid, mode))
        environ["CREDENTIALS_DIRECTORY"] = str(self._credentials(unit, uid))
        address = self.folder / "notify" / f"{len(self.running)}"
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        manager.bind(os.fspath(address))
        manager.setblocking(False)
        address.chmod(0o777)
        environ["NOTIFY_SOCKET"] = str(address)
        if unit.text("WatchdogSec"):
            environ["WATCHDOG_USEC"] = str(int(unit.text("WatchdogSec")) * 1_000_000)
        log = self.folder / f"{len(self.running)}.log"
        process = self.confined(unit.text("ExecStart").split(), unit, environ, log)
        self.running.append(Started(unit, process, manager, log))
        self.started[unit.name] = self.running[-1]
        return self.running[-1]

    def confined(self, argv: list[str], unit: Unit, environ: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
        told = self._told(argv, environ, UIDS[unit.text("User")], GROUP) | {
            "umask": int(unit.text("UMask", "0022"), 8),
            "no_network": unit.text("PrivateNetwork") == "yes",
            "deny_write_execute": unit.text("MemoryDenyWriteExecute") == "yes",
        }
        with log.open("wb") as sink:
            return subprocess.Popen(
                [sys.executable, _CONFINE, json.dumps(told)], stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env={}
            )

    def as_user(self, name: str, code: str, *, no_network: bool = False, gid: int = GROUP) -> Any:
        """What a Python program of that user prints, as JSON."""
        argv = [sys.executable, "-I", "-c", code]
        told = self._told(argv, {"PATH": "/usr/bin:/bin"}, UIDS[name], gid) | {"no_network": no_network}
        done = subprocess.run(
            [sys.executable, _CONFINE, json.dumps(told)], env={}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def _told(self, argv: list[str], environ: dict[str, str], uid: int, gid: int) -> dict[str, Any]:
        ways = sorted({str(Path(path).resolve()) for path in (sys.base_prefix, sys.prefix, ROOT)}, key=len)
        outer = [way for way in ways if not any(Path(other) in Path(way).parents for other in ways)]
        return {
            "argv": argv, "env": environ, "uid": uid, "gid": gid, "umask": 0o077, "no_network": False,
            "deny_write_execute": False, "ways": outer, "folder": str(self.folder / "ways"),
        }  # fmt: skip

    def _owned(self, name: str, uid: int, mode: int) -> Path:
        path = self.folder / name
        path.mkdir(parents=True, exist_ok=True)
        for parent in (self.folder / "var", self.folder / "var/lib"):
            if parent.exists():
                parent.chmod(0o755)
        path.chmod(mode)
        os.chown(path, uid, GROUP)
        return path

    def _credentials(self, unit: Unit, uid: int) -> Path:
        folder = self._owned(f"run/credentials/{unit.name}", uid, 0o500)
        folder.parent.chmod(0o755)
        for item in unit.all("LoadCredential"):
            name, _, source = item.partition(":")
            held = folder / name
            held.unlink(missing_ok=True)
            shutil.copyfile(source, held)
            held.chmod(0o400)
            os.chown(held, uid, GROUP)
        return folder

    def wait(self, condition: Callable[[], object], timeout_s: float, what: str) -> None:
        def well() -> object:
            for one in self.running:
                assert alive(one.process.pid), f"{one.unit.name} ended: {one.log[-3000:]}"
            return condition()

        wait_until(well, timeout_s, what, poll_s=0.05)
