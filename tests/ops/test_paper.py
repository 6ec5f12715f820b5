"""Paper, whole: `brainstem up` with environment `paper` and no address trades on another exchange's market."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simex.running import running
from tests.waiting import wait_until

REPO = Path(__file__).parents[2]
SYMBOL = "ETHUSDT"


def tool(folder: Path, module: str, *words: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BRAINSTEM_")}
    return subprocess.run(
        [sys.executable, "-P", "-m", f"scripts.{module}", *words, "--config", str(folder / "config.json")],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


@pytest.mark.timeout(400)
def test_paper_trades_on_the_market_of_the_exchange_it_relays(run_dir: Path) -> None:
    with running("--seed", "5") as real:
        document = {
            "environment": "paper",
            "state_dir": str(run_dir / "state"),
            "run_dir": str(run_dir),
            "accounts": {"main": {"symbols": [SYMBOL]}},
            "brains": [],
            "supervisor": {"ready_timeout_s": 120},
            "simex": {"upstream_rest": real.rest, "upstream_ws": real.ws},
        }
        (run_dir / "config.json").write_text(json.dumps(document))
        try:
            started = tool(run_dir, "brainstem", "up", "--detach")
            assert started.returncode == 0, started.stdout + started.stderr

            def is_ready() -> bool:
                status = tool(run_dir, "brainstem", "status")
                return status.returncode == 0 and "gateway main: ready, environment paper" in status.stdout

            wait_until(is_ready, 60, "the gateway is ready", 0.2)
            order = tool(run_dir, "test_order", "--symbol", SYMBOL)
            assert order.returncode == 0, order.stdout + order.stderr
            assert "cancelled" in order.stdout
        finally:
            ended = tool(run_dir, "brainstem", "down")
        assert ended.returncode == 0, ended.stdout + ended.stderr
