"""A simex and a gateway for benchmarks, as real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from ipc.config import load
from scripts.plan import Plan, make_plan
from scripts.supervisor import Supervisor


class Simex:
    """A seeded market on its own ports. Attributes: `rest`, `ws`, `process`."""

    def __init__(self, symbols: list[str]) -> None:
        command = [sys.executable, "-m", "scripts.simex", "--port", "0", "--seed", "1", "--symbols", ",".join(symbols)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        line: dict[str, Any] = json.loads(self.process.stdout.readline())
        self.rest, self.ws = str(line["rest"]), str(line["ws"])

    def __enter__(self) -> Simex:
        return self

    def __exit__(self, _k: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self.process.terminate()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


def start_stack(folder: Path, symbols: list[str], rest: str, ws: str, **account: Any) -> tuple[Plan, Supervisor]:
    """Private Redis and a gateway that is ready; close the supervisor when done."""
    document = {
        "environment": "simex",
        "state_dir": str(folder / "state"),
        "run_dir": str(folder / "run"),
        "simex": {"rest": rest, "ws": ws},
        "accounts": {"main": {"symbols": symbols, **account}},
    }
    path = folder / "config.json"
    path.write_text(json.dumps(document))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("BRAINSTEM_")}
    plan = make_plan(load(path, environ), environ)
    supervisor = Supervisor(plan.specs, plan.log_dir)
    try:
        supervisor.start(timeout_s=60)
    except BaseException:
        supervisor.close()
        raise
    return plan, supervisor
