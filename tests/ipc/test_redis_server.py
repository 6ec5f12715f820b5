"""The private Redis: real, on its own socket only, and gone when its parent is, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import redis

from ipc.faults import ConfigError
from ipc.redis_server import PrivateRedis, RedisUnavailable, start_private
from tests.waiting import alive, wait_until

_PARENT = """
import sys, time
from pathlib import Path
from ipc.redis_server import start_private
server = start_private(Path(sys.argv[1]))
print(server.pid, flush=True)
sys.stdin.read()
"""

_PARENT_WITH_SHORT_LIVED_THREAD = """
import ctypes, sys
from pathlib import Path
import ipc.redis_server as r
r.die_with_parent = lambda: (lambda: None)   # what a kernel without parent-death signals does
server = r.start_private(Path(sys.argv[1]))
print(server.pid, flush=True)
sys.stdin.read()
"""


def test_it_serves_on_its_socket_without_tcp_or_disk(run_dir: Path) -> None:
    server = start_private(run_dir)
    try:
        client = redis.Redis.from_url(server.url)
        assert client.set("a", "1") is True
        settings = {name: client.config_get(name)[name] for name in ("port", "save", "appendonly", "maxmemory-policy")}
        assert settings == {"port": "0", "save": "", "appendonly": "no", "maxmemory-policy": "noeviction"}
        assert (run_dir / "redis.sock").stat().st_mode & 0o777 == 0o700
        client.close()
    finally:
        server.stop()
    assert not alive(server.pid)
    assert not (run_dir / "redis.sock").exists()
    server.stop()  # a second time is harmless


@pytest.mark.parametrize("parent", [_PARENT, _PARENT_WITH_SHORT_LIVED_THREAD], ids=["kernel", "pipe guard alone"])
def test_kill_9_of_the_parent_ends_it(run_dir: Path, parent: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", parent, str(run_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    pid = int(process.stdout.readline())
    assert alive(pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: not alive(pid), 5, "the server ends with its killed parent")
    process.stdout.close()
    process.stdin.close()


def test_a_second_server_on_the_same_socket_is_refused_and_the_first_lives_on(run_dir: Path) -> None:
    first = start_private(run_dir)
    try:
        with pytest.raises(RedisUnavailable, match="already answers"):
            start_private(run_dir)
        assert redis_ping(first)
    finally:
        first.stop()


def test_the_socket_file_a_killed_server_left_is_replaced(run_dir: Path) -> None:
    first = start_private(run_dir)
    os.kill(first.pid, signal.SIGKILL)
    first.process.wait()
    first.guard.release()
    assert (run_dir / "redis.sock").exists()
    second = start_private(run_dir)
    assert redis_ping(second)
    second.stop()


def test_a_server_that_does_not_come_up_shows_the_end_of_its_log(run_dir: Path) -> None:
    program = run_dir / "broken-server"
    program.write_text("#!/bin/sh\necho cannot do it >&2\nexit 7\n", encoding="utf-8")
    program.chmod(0o700)
    with pytest.raises(RedisUnavailable, match=r"ended with code 7[\s\S]*cannot do it"):
        start_private(run_dir, program=program)


def test_a_stopped_server_ends_too(run_dir: Path) -> None:
    server = start_private(run_dir)
    os.kill(server.pid, signal.SIGSTOP)
    server.stop()
    assert not alive(server.pid)


def test_no_setting_of_ours_is_in_its_environment(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a stand-in that writes its environment down: a real server overwrites its own for its process title."""
    monkeypatch.setenv("BRAINSTEM_ACCOUNTS__MAIN__API_SECRET", "hidden-value")
    monkeypatch.setenv("SEEN", "seen-value")
    program = run_dir / "stand-in"
    program.write_text(f"#!/bin/sh\nenv > {run_dir}/environ\n", encoding="utf-8")
    program.chmod(0o700)
    with pytest.raises(RedisUnavailable):
        start_private(run_dir, program=program)
    environ = (run_dir / "environ").read_text(encoding="utf-8")
    assert "seen-value" in environ
    assert "hidden-value" not in environ


def test_a_path_too_long_for_a_socket_is_refused_before_anything_starts(run_dir: Path) -> None:
    deep = run_dir / ("x" * 100)
    deep.mkdir()
    with pytest.raises(ConfigError, match="at most 107"):
        start_private(deep)
    assert list(deep.iterdir()) == []


def test_the_fixture_is_a_server_of_this_test_process(redis_url: str) -> None:
    assert threading.current_thread() is threading.main_thread()
    client = redis.Redis.from_url(redis_url)
    assert client.dbsize() == 0
    client.close()


def redis_ping(server: PrivateRedis) -> bool:
    client = redis.Redis.from_url(server.url)
    try:
        return bool(client.ping())
    finally:
        client.close()
