"""What `brainstem doctor` looks at on this machine: versions, time zone, disk, files, folders and who may read them."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import sqlite3
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from ipc.config import Config
from ipc.paths import run_dir, state_dir
from scripts.doctor_finding import Finding, fail, note, ok, warn

DISK_FAIL_BYTES, DISK_WARN_BYTES = 200 << 20, 2 << 30
FILES_FAIL, FILES_WARN = 512, 1024
OLDEST_PYTHON = (3, 11)
OLDEST_SQLITE = (3, 35)
_PINNED = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", re.MULTILINE)
_LOCK = Path(__file__).resolve().parent.parent / "requirements.lock"


def findings(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    yield from versions()
    yield time_zone()
    state, run = state_dir(config, environ, create=False), run_dir(config, environ, create=False)
    yield disk(state)
    yield open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    yield from private_folder("state_dir", state)
    yield from journals(state)
    yield from run_folder(run)
    yield from config_file(config)
    yield from credentials(environ)


def versions(lock: Path = _LOCK) -> Iterator[Finding]:
    python = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.system()}"
    if sys.version_info < OLDEST_PYTHON or sqlite3.sqlite_version_info < OLDEST_SQLITE:
        yield fail("versions", f"{python} is too old", sys.executable, "Use Python 3.11 with SQLite 3.35, or later")
    else:
        yield ok("versions", f"{python} {platform.release()}", sys.executable)
    if not lock.is_file():
        yield note("versions", "no lock beside this program to compare the installed packages with", str(lock))
        return
    locked: dict[str, set[str]] = {}  # a lock for every platform holds several versions of some packages
    for name, wanted in _PINNED.findall(lock.read_text(encoding="utf-8")):
        locked.setdefault(name, set()).add(wanted)
    other = [
        f"{name} {found} (lock: {' or '.join(sorted(wanted))})"
        for name, wanted in locked.items()
        if (found := _installed(name)) is not None and found not in wanted
    ]
    if other:
        step = "Run scripts/demo or scripts/test once: they bring .venv up to date"
        yield warn("versions", f"packages are not those of the lock: {', '.join(other[:5])}", str(lock), step)
    else:
        yield ok("versions", "installed packages are those of the lock", str(lock))


def _installed(name: str) -> str | None:
    """None where it is not here: a lock for every platform names what this one does not need."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def time_zone() -> Finding:
    hours = -(time.altzone if time.daylight and time.localtime().tm_isdst else time.timezone) / 3600
    if hours == 0:
        return ok("time zone", "this machine shows UTC, as journal, events and day limits do")
    return note(
        "time zone", f"this machine shows UTC{hours:+g}; journal, events and day limits are UTC", time.tzname[0]
    )


def disk(folder: Path) -> Finding:
    """Room where journal and checkpoints grow."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    text, step = f"{free / (1 << 30):.1f} GB free for journal and checkpoints", "Make room, or set state_dir elsewhere"
    if free < DISK_FAIL_BYTES:
        return fail("disk", text, str(folder), step)
    return warn("disk", text, str(folder), step) if free < DISK_WARN_BYTES else ok("disk", text, str(folder))


def open_files(limit: int) -> Finding:
    shown = "no limit of" if limit == resource.RLIM_INFINITY else f"{limit}"
    text, where = f"{shown} open files a process", "RLIMIT_NOFILE"
    step = "Raise it: `ulimit -n 8192`, or LimitNOFILE= of the unit"
    if limit != resource.RLIM_INFINITY and limit < FILES_FAIL:
        return fail("open files", text, where, step)
    if limit != resource.RLIM_INFINITY and limit < FILES_WARN:
        return warn("open files", text, where, step)
    return ok("open files", text, where)


def private_folder(setting: str, folder: Path) -> Iterator[Finding]:
    """Journals hold every order and position: nobody else's business."""
    try:
        held = folder.stat()
    except FileNotFoundError:
        yield note("files", "is not there yet; the first start makes it", f"{setting} {folder}")
        return
    except PermissionError:
        yield note("files", "is another user's: not checkable as this one", f"{setting} {folder}")
        return
    if held.st_mode & 0o077:
        yield warn("files", f"others may look into it ({_mode(held)})", f"{setting} {folder}", f"chmod 700 {folder}")
    elif held.st_uid not in (os.getuid(), 0):
        yield note("files", f"belongs to user {held.st_uid}: its files are not checkable as this one", str(folder))
    elif held.st_uid == os.getuid() and not os.access(folder, os.W_OK | os.X_OK):
        yield fail("files", "cannot be written", f"{setting} {folder}", f"chmod 700 {folder}")
    else:
        yield ok("files", "is this user's alone", f"{setting} {folder}")


def journals(folder: Path) -> Iterator[Finding]:
    try:
        open_ones = [path for path in sorted(folder.glob("*.journal*")) if path.stat().st_mode & 0o077]
    except OSError:
        return  # said by `private_folder`
    for path in open_ones:
        yield warn("files", f"others may read the journal ({_mode(path.stat())})", str(path), f"chmod 600 {path}")


def run_folder(folder: Path) -> Iterator[Finding]:
    """Whoever may write here may put a socket of his own in the gateway's place."""
    try:
        held = folder.stat()
    except FileNotFoundError:
        yield note("sockets", "is not there yet; the first start makes it", f"run_dir {folder}")
        return
    except PermissionError:
        yield fail("sockets", "cannot be entered", f"run_dir {folder}", "Join its group, or ask as the gateway's user")
        return
    if held.st_mode & 0o002:
        yield fail("sockets", f"anybody may replace its sockets ({_mode(held)})", str(folder), f"chmod o-w {folder}")
    else:
        yield ok("sockets", f"folder is well ({_mode(held)})", f"run_dir {folder}")


def config_file(config: Config) -> Iterator[Finding]:
    if config.path is None:
        yield note("files", "no config.json: built-in defaults are in force", "", "Name one with --config")
        return
    held = config.path.stat()
    if held.st_mode & 0o002:
        step = f"chmod o-w {config.path}"
        yield fail("files", f"anybody may change the configuration ({_mode(held)})", str(config.path), step)
    elif config.secret_values() and config.warnings and held.st_mode & 0o077:
        step = f"chmod 600 {config.path}, or better: give keys by environment or credential"
        yield warn("files", f"holds keys and others may read it ({_mode(held)})", str(config.path), step)


def credentials(environ: Mapping[str, str]) -> Iterator[Finding]:
    folder = environ.get("CREDENTIALS_DIRECTORY")
    for path in sorted(Path(folder).glob("brainstem_*")) if folder else ():
        if path.stat().st_mode & 0o037:
            yield warn("files", f"others may read a credential ({_mode(path.stat())})", str(path), f"chmod 400 {path}")


def _mode(held: os.stat_result) -> str:
    return f"mode {stat.S_IMODE(held.st_mode):04o}"
