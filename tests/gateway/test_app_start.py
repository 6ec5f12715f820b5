"""The gateway process before it serves: what stops it is named with a code, and a wish to stop is never a fault."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import pause_here, wait_until

NOWHERE = {"rest": "http://127.0.0.1:9", "ws": "ws://127.0.0.1:9"}


def start(tmp_path: Path, run_dir: Path, **more: Any) -> subprocess.Popen[str]:
    """A gateway without exchange and without Redis."""
    config = tmp_path / "config.json"
    document = {"environment": "simex", "simex": NOWHERE, "run_dir": str(run_dir), "state_dir": str(tmp_path / "state")}
    document["accounts"] = {"main": {"symbols": ["BTCUSDT"]}}
    document["redis"] = {"url": f"unix://{tmp_path}/nobody.sock"}
    config.write_text(json.dumps(document | more), encoding="utf-8")
    environ = {key: value for key, value in os.environ.items() if not key.startswith("BRAINSTEM_")}
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.gateway", "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    )


def test_an_authority_that_cannot_be_read_is_a_fault_of_the_configuration(tmp_path: Path, run_dir: Path) -> None:
    process = start(tmp_path, run_dir, venue={"ca_file": "nope.pem"})
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "venue.ca_file" in err
    assert "Traceback" not in err
    assert out == ""
    assert not list(run_dir.glob("*.sock"))


def test_a_state_folder_that_cannot_be_used_is_named_without_a_traceback(tmp_path: Path, run_dir: Path) -> None:
    state = tmp_path / "state"
    (state / "main.journal.sqlite.lock").mkdir(parents=True)
    process = start(tmp_path, run_dir)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    (line,) = [json.loads(text) for text in err.splitlines()]
    assert line["event"] == "cannot start"
    assert "main.journal.sqlite.lock" in line["reason"]


def catches(pid: int, number: signal.Signals) -> bool:
    """Has the process taken the signal over? Until then it ends by it, and nobody can help that."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


@pytest.mark.parametrize("after_s", [0.0, 0.3, 0.6, 0.9, 2.4])
def test_sigterm_at_any_moment_of_the_start_ends_with_0_and_leaves_no_socket(
    tmp_path: Path, run_dir: Path, after_s: float
) -> None:
    process = start(tmp_path, run_dir)
    wait_until(lambda: catches(process.pid, signal.SIGTERM), 60, "SIGTERM is taken over", 0.002)
    pause_here(after_s)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert not list(run_dir.glob("*.sock"))
