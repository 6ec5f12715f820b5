"""A simex process for tests: started by its console script, ended by SIGTERM, its exit code checked."""

from __future__ import annotations

import hashlib
import hmac
import json
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
READY_S = 60.0


@dataclass(frozen=True)
class Running:
    """Where a started simex listens."""

    rest: str
    ws: str
    seed: int
    ready: dict[str, Any]
    process: subprocess.Popen[str]


@contextmanager
def running(*flags: str, log: Path | None = None) -> Iterator[Running]:
    """Start `simex --port 0 <flags>`; on leaving it must end by SIGTERM with exit code 0."""
    command = [sys.executable, "-m", "scripts.simex", "--port", "0", *flags]
    with (log or Path("/dev/null")).open("w") as stderr:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True)
        assert process.stdout is not None
        with process.stdout:
            try:
                ready, _, _ = select.select([process.stdout], [], [], READY_S)
                assert ready, f"no ready line within {READY_S} s"
                line = json.loads(process.stdout.readline())
                yield Running(line["rest"], line["ws"], line["seed"], line, process)
            finally:
                process.terminate()
                code = process.wait(10)
    assert code == 0, f"simex ended with exit code {code}"


def signed(query: str, secret: str = "simex", at_ms: int | None = None) -> str:
    """The query with timestamp and signature, as a client of the exchange makes them."""
    stamp = round(time.time() * 1000) if at_ms is None else at_ms
    full = f"{query}&timestamp={stamp}" if query else f"timestamp={stamp}"
    return f"{full}&signature={hmac.new(secret.encode(), full.encode(), hashlib.sha256).hexdigest()}"
