"""The demo and `up`, whole: real processes, a real market, a clean end. And what they leave behind: nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path

import pytest

from ipc.faults import ConfigError
from scripts import brainstem, demo_setup
from tests.waiting import alive, wait_until

REPO = Path(__file__).parents[2]


def environ(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BRAINSTEM_")}
    return {**kept, "TMPDIR": str(folder)}


def demo(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "scripts.demo", *words],
        cwd=folder,
        env=environ(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_it_trades_and_ends_clean_at_ctrl_c(run_dir: Path) -> None:
    process = demo(run_dir, "--seed", "7")
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if re.search(r"fills [1-9]", line):
            break
        assert len(lines) < 60, "".join(lines)
    (folder,) = run_dir.glob("brainstem-demo-*")
    assert demo_setup.processes_of(folder, but=process.pid)  # the check below can see them
    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()
    assert process.wait(60) == 0, rest
    process.stdout.close()
    assert "no position, no order, no process" in rest
    assert "./scripts/demo --seed 7" in rest
    _the_brains_figures_add_up(rest)
    assert demo_setup.processes_of(folder, but=0) == []
    assert not folder.exists()


def _the_brains_figures_add_up(text: str) -> None:
    """Every fill, the last closes too, stands in some brain's ledger, and together they are the wallet's change."""
    (wallet,) = re.findall(r"^  profit +(\S+) USDT \(wallet", text, re.MULTILINE)
    (sent, fills) = re.findall(r"^  orders +(\d+) sent, (\d+) fills", text, re.MULTILINE)[0]
    rows = re.findall(r"^    (?:macd|obi)-\S+ +([+-]\S+) .* (\d+)$", text, re.MULTILINE)
    assert len(rows) == 2, text
    assert (sum(int(count) for _, count in rows), sent) == (int(fills), fills), text  # each order is filled at once
    assert abs(sum(Decimal(net) for net, _ in rows) - Decimal(wallet)) <= Decimal("0.0001") * len(rows), text
    assert "of no brain" not in text


def test_ctrl_c_before_anything_is_up_ends_clean_too(run_dir: Path) -> None:
    process = demo(run_dir)
    assert process.stdout is not None
    first = process.stdout.readline()  # the view comes before the processes
    assert "starting" in first
    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()
    assert process.wait(60) == 0, rest
    process.stdout.close()
    assert list(run_dir.glob("brainstem-demo-*")) == []


def test_kill_9_of_the_demo_leaves_no_process(run_dir: Path) -> None:
    process = demo(run_dir)
    assert process.stdout is not None
    for line in process.stdout:
        if "ready |" in line:
            break
    (folder,) = run_dir.glob("brainstem-demo-*")
    process.kill()
    process.wait()
    process.stdout.close()
    wait_until(lambda: demo_setup.processes_of(folder, but=0) == [], 10, "every process ends with the killed demo")


@pytest.mark.recordings
def test_a_recorded_session_is_replayed_and_its_end_is_a_clean_end(run_dir: Path, data_dir: Path) -> None:
    recording = data_dir / "depth_binance" / "usdm_btcusdt_20230404.gz"
    process = demo(run_dir, "--replay", str(recording), "--speed", "20")
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output
    assert re.search(r"BTCUSDT 28\d+\.\d+/28\d+\.\d+ live", output), output
    assert f"--replay {recording} --speed 20" in output


def test_wrong_usage_starts_nothing(run_dir: Path) -> None:
    for words in (
        ("--symbols", " , "), ("--symbols", "BTC-USD"), ("--replay", "/nowhere/file.gz"), ("--replay", "/"),
        ("--replay", str(REPO / "README.md")), ("--seed", "-1"), ("--seed", "x"), ("--seconds", "nan"),
        ("--seconds", "-1"), ("--seconds", "inf"), ("--speed", "0"), ("--speed", "fast"),
    ):  # fmt: skip
        process = demo(run_dir, *words)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 2, output
        assert words[0] in output
    assert list(run_dir.glob("brainstem-demo-*")) == []


def test_a_temporary_folder_that_will_not_do_is_replaced_or_named(
    tmp_path: Path, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    folder = demo_setup.fresh_folder()  # the sockets would not fit there
    assert folder.parent == Path("/tmp")
    folder.rmdir()
    monkeypatch.setattr(tempfile, "tempdir", str(run_dir))
    folder = demo_setup.fresh_folder()
    assert (folder.parent, folder.stat().st_mode & 0o777) == (run_dir, 0o700)
    monkeypatch.setattr(demo_setup, "ROOM_MB", 10**9)
    with pytest.raises(ConfigError, match=r"TMPDIR: .* MB left, journals and logs need") as caught:
        demo_setup.fresh_folder()
    assert [fault.path for fault in caught.value.faults] == ["TMPDIR", "TMPDIR"]
    assert list(run_dir.iterdir()) == [folder]


def test_a_reader_that_has_seen_enough_ends_it_clean(run_dir: Path) -> None:
    """`./scripts/demo | head`."""
    process = demo(run_dir, "--seed", "7")
    assert process.stdout is not None
    for line in process.stdout:
        if re.search(r"fills [1-9]", line):
            break
    (folder,) = run_dir.glob("brainstem-demo-*")
    process.stdout.close()
    assert process.wait(60) == 0
    assert demo_setup.processes_of(folder, but=0) == []
    assert not folder.exists()


def test_one_brain_a_symbol_and_always_one_that_trades_soon() -> None:
    for symbols in (["A"], ["A", "B"], ["A", "B", "C"]):
        brains = demo_setup.brains_for(symbols)
        assert [brain["symbols"] for brain in brains] == [[symbol] for symbol in symbols]
        assert "obi" in {brain["strategy"] for brain in brains}
    with pytest.raises(ConfigError):
        demo_setup.symbols_for("", None)
    assert demo_setup.symbols_for(" ethusdt,BTCUSDT,ETHUSDT", None) == ("ETHUSDT", "BTCUSDT")


def test_up_detached_serves_the_tools_until_down(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run_dir / "config.json"
    document = {
        "environment": "simex",
        "state_dir": "state",
        "run_dir": str(run_dir),
        "accounts": {"main": {"symbols": ["BTCUSDT", "ETHUSDT"]}},
        "brains": [{"strategy": "obi", "symbols": ["ETHUSDT"]}],
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    command = [sys.executable, "-P", "-m", "scripts.brainstem", "up", "--detach", "--config", str(path)]
    up = subprocess.run(command, env=environ(run_dir), capture_output=True, text=True, timeout=90, check=False)
    assert up.returncode == 0, up.stderr
    try:
        again = subprocess.run(command, env=environ(run_dir), capture_output=True, text=True, timeout=90, check=False)
        assert again.returncode == 2
        assert "already up" in again.stderr
        assert brainstem.main(["status", "--json", "--config", str(path)]) == 0
        pid = json.loads(capsys.readouterr().out)["pid"]
        assert alive(pid)
        _tools(path, capsys)
        _a_brain_by_hand(path)
    finally:
        assert brainstem.main(["down", "--config", str(path)]) == 0
    assert not alive(pid)
    assert demo_setup.processes_of(run_dir, but=os.getpid()) == []
    assert brainstem.main(["down", "--config", str(path)]) == 3


OWN = """
from brain.api import Context, Strategy

class Own(Strategy):
    name = "own"

    def on_slice(self, ctx: Context, symbol: str) -> None:
        print(f"a slice of {symbol}", flush=True)
"""


def _a_brain_by_hand(path: Path) -> None:
    """One's own file, beside what `up` runs: gateway and private Redis are found by the configuration alone."""
    own = path.with_name("own.py")
    own.write_text(OWN, encoding="utf-8")
    words = ["--config", str(path), "--strategy", str(own), "--symbol", "BTCUSDT"]
    brain = subprocess.Popen(
        [sys.executable, "-P", "-m", "scripts.brain", *words],
        env=environ(path.parent),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert brain.stdout is not None
    lines = []
    for line in brain.stdout:
        lines.append(line)
        if line == "a slice of BTCUSDT\n":
            break
    brain.send_signal(signal.SIGTERM)
    rest = brain.stdout.read()
    brain.stdout.close()
    assert brain.wait(20) == 0, rest
    assert lines[-1:] == ["a slice of BTCUSDT\n"], "".join(lines)


def _tools(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from scripts import test_balance, test_order

    common = ["--config", str(path), "--json"]
    capsys.readouterr()
    assert test_order.main(["--symbol", "BTCUSDT", *common]) == 0
    placed = json.loads(capsys.readouterr().out)
    assert (placed["place"]["outcome"], placed["place"]["state"]) == ("accepted", "open")
    assert placed["cancel"]["state"] == "cancelled"
    assert test_order.main(["--symbol", "ETHUSDT", *common]) == 0  # beside the brain that trades it
    assert json.loads(capsys.readouterr().out)["cancel"]["state"] == "cancelled"
    assert test_balance.main(common) == 0
    assert json.loads(capsys.readouterr().out)["account"]["balances"][0]["asset"]
    assert brainstem.main(["risk", "pause", "--reason", "a test", *common]) == 0
    assert brainstem.main(["risk", "pause", "--brain", "obi-ETHUSD", *common]) == 2  # a wrong name pauses nobody
    assert "Did you mean obi-ETHUSDT?" in capsys.readouterr().err
    assert brainstem.main(["flatten", "--symbol", "NOPE", *common]) == 1
    assert "symbol.unknown" in capsys.readouterr().err
    assert brainstem.main(["flatten", *common]) == 0
    assert brainstem.main(["risk", "resume", *common]) == 0
    capsys.readouterr()
    assert brainstem.main(["events", "--after", "0", "--filter", "risk.state", *common]) == 0
    states = [json.loads(line)["data"]["state"] for line in capsys.readouterr().out.splitlines()]
    assert states[:2] == ["reduce_only", "running"]
    assert brainstem.main(["top", "--once", *common]) == 0
    assert json.loads(capsys.readouterr().out)["gateway"]["ready"] is True
