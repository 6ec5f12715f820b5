"""Other people's clients live in environments of their own, made from their hashed locks, once."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def client_python(name: str) -> Path:
    """The interpreter of `.venv-<name>`, holding exactly `tests/clients/<name>.lock`; made when missing or outdated."""
    lock = Path(__file__).with_name(f"{name}.lock")
    venv = ROOT / f".venv-{name}"
    python = venv / "bin" / "python"
    stamp = venv / ".stamp"
    want = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()
    with (ROOT / f".venv-{name}.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # two test workers: the second waits and finds it made
        if not (stamp.exists() and stamp.read_text() == want):
            shutil.rmtree(venv, ignore_errors=True)
            _make(venv, python, lock)
            stamp.write_text(want)
    return python


def _make(venv: Path, python: Path, lock: Path) -> None:
    uv = shutil.which("uv") or next((str(p) for p in [ROOT / ".venv-uv/bin/uv"] if p.exists()), None)
    if uv:
        env = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
        _run([uv, "venv", "-q", "-p", sys.executable, str(venv)], env)
        _run([uv, "pip", "install", "-q", "--require-hashes", "-r", str(lock), "-p", str(python)], env)
    else:
        _run([sys.executable, "-m", "venv", str(venv)], None)
        _run([str(python), "-m", "pip", "install", "-q", "--require-hashes", "-r", str(lock)], None)


def _run(command: list[str], env: dict[str, str] | None) -> None:
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[:3]} failed with {done.returncode}: {done.stderr[-2000:]}")
