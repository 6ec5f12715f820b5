"""A process that writes and says what it has acknowledged, killed at a drawn moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from tests.data import ROOT
from tests.waiting import pause_here


def acknowledged_before_kill(code: str, path: Path, *more: str, rng: random.Random) -> int:
    """Runs `code` (a line with a rising number for each acknowledged step) and kills it: the last whole number told."""
    command = [sys.executable, "-c", code, str(path), *more]
    writer = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline()  # it writes
    pause_here(rng.random() * 0.05)  # the moment of the kill is the random input here
    os.kill(writer.pid, signal.SIGKILL)
    lines = [line for line in writer.stdout.read().split("\n") if line]
    writer.wait()
    writer.stdout.close()
    return int(lines[-2]) if len(lines) > 1 else 0  # the last line itself may be cut
