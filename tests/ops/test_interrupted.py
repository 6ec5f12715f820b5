"""Ctrl-C in the first moment of a command, while it imports: it ends by the signal and says nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
SCRIPTS = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
# every command imports argparse before anything of its own: this one stands in its place
STANDS_IN = """
import os, signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it from the start
os.kill(os.getpid(), signal.SIGINT)
time.sleep(60)
"""


def started(name: str, folder: Path, argparse: str) -> subprocess.CompletedProcess[str]:
    """What becomes of a console script whose `argparse` is that text."""
    (folder / "argparse.py").write_text(argparse, encoding="utf-8")
    module, _, function = SCRIPTS[name].partition(":")
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), str(REPO)))}
    wrapper = f"import sys\nfrom {module} import {function}\nsys.exit({function}())"
    command = [sys.executable, "-c", wrapper]
    return subprocess.run(command, capture_output=True, text=True, env=environ, cwd=folder, check=False, timeout=60)


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_interrupt_while_a_command_is_imported_ends_it_in_silence(name: str, tmp_path: Path) -> None:
    done = started(name, tmp_path, STANDS_IN)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_any_other_fault_is_still_told(tmp_path: Path) -> None:
    done = started("brainstem", tmp_path, 'raise RuntimeError("planted")')
    assert done.returncode == 1
    assert "RuntimeError: planted" in done.stderr
