"""`brainstem down`: end the supervisor of this configuration and wait until all of it is gone."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from ipc.config import Config
from ipc.paths import state_dir
from scripts.exits import ABSENT, DONE, FAILED
from scripts.uplock import holder

TIMEOUT_S = 60.0
_POLL_S = 0.05


def run(config: Config, environ: Mapping[str, str], *, timeout_s: float = TIMEOUT_S) -> int:
    folder = state_dir(config, environ, create=False).resolve()
    pid = holder(folder)
    if pid is None:
        print(f"nothing is up for {folder}", file=sys.stderr)
        return ABSENT
    pids = {pid, *children(pid)}
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    while left := [number for number in pids if _alive(number)]:
        if time.monotonic() > deadline:
            print(f"still running after {timeout_s:g} s: {', '.join(map(str, left))}", file=sys.stderr)
            return FAILED
        time.sleep(_POLL_S)
    print("down: every process has ended")
    return DONE


def children(pid: int) -> list[int]:
    """Process ids of a process's children."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(word) for word in path.read_text(encoding="ascii").split()]
    return found


def _alive(pid: int) -> bool:
    """A zombie has ended: where nobody reaps it, it stays, and does nothing."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")
