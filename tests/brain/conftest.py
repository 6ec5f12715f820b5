"""Brains as processes: started as a user starts them, against the mini gateway and a real Redis."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ipc import clock
from tests.brain.mini_gateway import MiniGateway, Served
from tests.data import ROOT
from tests.waiting import wait_until


class BrainProcess:
    """`ready()` waits for the ready line; `log` is everything on stderr so far."""

    def __init__(self, arguments: list[str], environ: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "scripts.brain", *arguments],
            cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.lines: list[dict[str, Any]] = []
        self.log = ""
        self._threads = [threading.Thread(target=self._read_out), threading.Thread(target=self._read_err)]
        for thread in self._threads:
            thread.start()

    def _read_out(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def _read_err(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log += line

    def ready(self, timeout_s: float = 20) -> dict[str, Any]:
        wait_until(lambda: self.lines or self.process.poll() is not None, timeout_s, "the ready line")
        assert self.lines, f"ended with {self.process.returncode}: {self.log}"
        return self.lines[0]

    def end(self, timeout_s: float = 10) -> int:
        code = self.process.wait(timeout_s)
        for thread in self._threads:
            thread.join(timeout_s)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        return code

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.end()


@pytest.fixture
def environ(run_dir: Path, redis_url: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BRAINSTEM_")}
    return clean | {
        "BRAINSTEM_RUN_DIR": str(run_dir),
        "BRAINSTEM_STATE_DIR": str(run_dir / "state"),
        "BRAINSTEM_REDIS__URL": redis_url,
    }


@pytest.fixture
def brain(environ: dict[str, str]) -> Iterator[Callable[..., BrainProcess]]:
    """`brain("--strategy", "obi", ...)` starts one; all are gone afterwards."""
    started: list[BrainProcess] = []

    def start(*arguments: str, **more: str) -> BrainProcess:
        started.append(BrainProcess(list(arguments), environ | more))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def serve(run_dir: Path, redis_url: str) -> Iterator[Callable[[MiniGateway], Served]]:
    boot = clock.boot_id()
    served: list[Served] = []

    def start(core: MiniGateway) -> Served:
        core.boot = boot
        each = Served(core, run_dir / "main.sock", redis_url, lambda: clock.reader_now(boot))
        served.append(each.__enter__())
        return each

    yield start
    for each in served:
        each.__exit__()
