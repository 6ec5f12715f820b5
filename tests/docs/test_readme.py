"""What the README tells a newcomer to type is typed here, against real processes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from brain.strategies import find

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def test_the_two_commands_are_there_and_can_be_run() -> None:
    first, _ = blocks("sh")
    commands = first.split()
    assert commands == ["./scripts/demo", "./scripts/test"]
    assert all(os.access(ROOT / command, os.X_OK) for command in commands)


def test_the_strategy_loads(tmp_path: Path) -> None:
    (example,) = blocks("python")
    (tmp_path / "dip.py").write_text(example, encoding="utf-8")
    assert find("dip.py", folders=(tmp_path,)).name == "dip"


@pytest.mark.timeout(180)
def test_the_commands_of_ones_own_set_up_all_succeed(tmp_path: Path, run_dir: Path) -> None:
    """In a folder of its own with the shipped config.json; `set -e`: the first that fails ends it."""
    shutil.copy(ROOT / "config.json", tmp_path)
    script = "set -e\n" + "".join(
        line for line in blocks("sh")[1].splitlines(True) if not line.startswith("export PATH")
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("BRAINSTEM_")}
    environ |= {
        "PATH": f"{Path(sys.executable).parent}:{environ['PATH']}",
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_RUNTIME_DIR": str(run_dir),
    }
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=150, check=False
    )
    try:
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    finally:
        subprocess.run(["brainstem", "down"], cwd=tmp_path, env=environ, capture_output=True, check=False)
    assert "gateway main: ready" in done.stdout
    assert "route market   btcusdt@markPrice" in done.stdout and "0 fail" in done.stdout, (
        "the doctor finds what `up` runs"
    )
    assert "place   accepted" in done.stdout
    assert "cancel  accepted" in done.stdout
    assert "flat: no position and no open order" in done.stdout


def test_every_link_leads_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").rglob("*.md"))]
    dead = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
        if not target.startswith(("http", "M-name")) and not (page.parent / target).exists()
    ]
    assert dead == []
