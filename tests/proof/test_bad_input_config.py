"""Bad configuration through the real processes: each fault is named by its path with a next step, exit code 2, no
traceback, nothing started, and no secret shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SECRET = "k3y-that-must-not-show"
GOOD: dict[str, Any] = {
    "environment": "simex",
    "simex": {"rest": "http://127.0.0.1:1", "ws": "ws://127.0.0.1:1"},
    "accounts": {"main": {"symbols": ["BTCUSDT"]}},
}


def changed(**sections: Any) -> str:
    return json.dumps({**GOOD, **sections})


def account(**fields: Any) -> str:
    return changed(accounts={"main": {**GOOD["accounts"]["main"], **fields}})


# what is wrong: the text of the file, the path that must be named
FILES: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "(file)"),
    "cut short": (changed()[:-5], "(file)"),
    "an array": (f"[{changed()}]", "(file)"),
    "HTML": ("<html></html>", "(file)"),
    "NaN": (changed().replace('"simex"', "NaN", 1), "(file)"),
    "a key twice": (changed()[:-1] + ', "environment": "mainnet"}', "environment"),
    "not UTF-8": (b"\xff\xfe" + changed().encode(), "(file)"),
    "unknown section": (changed(gatewya={}), "gatewya"),
    "unknown environment": (changed(environment="mainet"), "environment"),
    "environment of a wrong type": (changed(environment=5), "environment"),
    "mainnet without its confirmation": (changed(environment="mainnet"), "mainnet_confirmed"),
    "mainnet key in the file": (
        changed(environment="mainnet", mainnet_confirmed=True,
                accounts={"main": {"api_key": SECRET, "api_secret": SECRET}}),
        "accounts.main.api_key",
    ),
    "no keys for the test network": (changed(environment="testnet"), "accounts.main.api_key"),
    "accounts is a list": (changed(accounts=[]), "accounts"),
    "an account is a text": (changed(accounts={"main": "BTCUSDT"}), "accounts.main"),
    "unknown key of an account": (account(symbol=["BTCUSDT"]), "accounts.main.symbol"),
    "symbols is a text": (account(symbols="BTCUSDT"), "accounts.main.symbols"),
    "unknown interval": (account(intervals=["7m"]), "accounts.main.intervals"),
    "leverage 0": (account(leverage=0), "accounts.main.leverage"),
    "leverage 126": (account(leverage=126), "accounts.main.leverage"),
    "unknown position mode": (account(position_mode="sideways"), "accounts.main.position_mode"),
    "leverage of one symbol": (account(per_symbol={"BTCUSDT": {"leverage": -3}}), "per_symbol.BTCUSDT.leverage"),
    "negative limit": (account(limits={"max_order_notional": "-1"}), "limits.max_order_notional"),
    "limit NaN": (account(limits={"max_order_notional": "NaN"}), "limits.max_order_notional"),
    "limit infinite": (account(limits={"max_position_notional": "Infinity"}), "limits.max_position_notional"),
    "band above 1": (account(limits={"price_band": "1.01"}), "limits.price_band"),
    "rate 0": (account(limits={"orders_per_s": 0}), "limits.orders_per_s"),
    "rights of nobody": (account(rights=[{"trade": True}]), "accounts.main.rights"),
    "lease too short": (changed(gateway={"lease_ms": 199}), "gateway.lease_ms"),
    "lease too long": (changed(gateway={"lease_ms": 60_001}), "gateway.lease_ms"),
    "flatten_after of a wrong word": (changed(gateway={"flatten_after_ms": "never"}), "gateway.flatten_after_ms"),
    "unknown durability": (changed(gateway={"durability": "maybe"}), "gateway.durability"),
    "negative top": (changed(gateway={"market": {"top": -1}}), "market.top"),
    "top is a text": (changed(gateway={"market": {"top": "many"}}), "gateway.market.top"),
    "unknown market setting": (changed(gateway={"market": {"tops": 5}}), "gateway.market.tops"),
    "negative window": (changed(gateway={"orders": {"recv_window_ms": -1}}), "orders.recv_window_ms"),
    "unknown link setting": (changed(gateway={"links": {"retry": 1}}), "gateway.links.retry"),
    "more warm connections than there are": (
        changed(gateway={"warm_connections": 8, "order_connections": 2}), "warm_connections",
    ),
    "simex half": (changed(simex={"rest": "http://127.0.0.1:1"}), "simex"),
    "redis is no URL": (changed(redis={"url": "nonsense"}), "redis.url"),
    "unknown log level": (changed(log={"level": "chatty"}), "log.level"),
    "run_dir too long for a socket": (changed(run_dir="/tmp/" + "x" * 120), "run_dir"),
    "state_dir of a wrong type": (changed(state_dir=5), "state_dir"),
}  # fmt: skip


def run(module: str, folder: Path, *flags: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BRAINSTEM_")}
    private = {"XDG_RUNTIME_DIR": str(folder), "XDG_STATE_HOME": str(folder)}
    command = [sys.executable, "-m", f"scripts.{module}", *flags]
    return subprocess.run(
        command, env={**clean, **private, **environ}, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def judge(done: subprocess.CompletedProcess[str], named: str) -> None:
    assert (done.returncode, done.stdout) == (2, ""), done
    assert named in done.stderr, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert SECRET not in done.stderr


@pytest.mark.parametrize("what", FILES)
def test_a_gateway_names_the_fault_by_its_path_and_ends_with_2(what: str, tmp_path: Path) -> None:
    content, named = FILES[what]
    path = tmp_path / "config.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    judge(run("gateway", tmp_path, "--config", str(path)), named)
    assert not list(tmp_path.glob("**/*.sqlite")), "no journal was made for a configuration that cannot be used"


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(changed(gateway={"lease_ms": 1, "market": {"top": "x"}}, accounts={"main": {"leverage": 0}}))
    done = run("gateway", tmp_path, "--config", str(path))
    judge(done, "gateway.lease_ms")
    assert "gateway.market.top" in done.stderr
    assert "accounts.main.leverage" in done.stderr


def test_a_file_that_is_not_there_an_account_that_is_not_there_a_variable_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    judge(run("gateway", tmp_path, "--config", str(path)), "(file)")
    path.write_text(changed())
    judge(run("gateway", tmp_path, "--config", str(path), "--account", "mian"), "accounts.mian")
    wrong = {"BRAINSTEM_GATEWAY__LEASE_MS": "soon"}
    judge(run("gateway", tmp_path, "--config", str(path), **wrong), "gateway.lease_ms")
    judge(run("gateway", tmp_path, "--config", str(path), BRAINSTEM_GATWAY__LEASE_MS="5"), "gatway")


# what is wrong with the brain's part: sections, flags, the path that must be named
BRAINS: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "unknown strategy": ({}, ("--strategy", "obo", "--symbol", "BTCUSDT"), "obi"),
    "unknown parameter": (
        {"redis": {"url": "unix:///nowhere"}},
        ("--strategy", "macd", "--symbol", "BTCUSDT", "--set", "fats=8"),
        "fats",
    ),
    "parameter out of range": (
        {"redis": {"url": "unix:///nowhere"}},
        ("--strategy", "macd", "--symbol", "BTCUSDT", "--set", "fast=-8"),
        "fast",
    ),
    "slice age too small": (
        {"brain": {"slice_age_ms": 1}, "redis": {"url": "unix:///nowhere"}},
        ("--strategy", "obi", "--symbol", "BTCUSDT"),
        "brain.slice_age_ms",
    ),
    "unknown setting": (
        {"brain": {"polls": 1}, "redis": {"url": "unix:///nowhere"}},
        ("--strategy", "obi", "--symbol", "BTCUSDT"),
        "brain.polls",
    ),
}


@pytest.mark.parametrize("what", BRAINS)
def test_a_brain_does_the_same(what: str, tmp_path: Path) -> None:
    sections, flags, named = BRAINS[what]
    path = tmp_path / "config.json"
    path.write_text(changed(**sections))
    judge(run("brain", tmp_path, "--config", str(path), *flags), named)


def test_config_check_finds_the_faults_of_every_process(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    brains = [
        {"strategy": "macd", "symbols": ["BTCUSDT"], "params": {"fast": 0}},
        {"strategy": "obo", "symbols": ["X"]},
    ]
    path.write_text(changed(gateway={"lease_ms": 1}, brain={"poll_ms": 0}, brains=brains, redis={"url": "nonsense"}))
    done = run("brainstem", tmp_path, "config", "check", "--config", str(path))
    assert done.returncode == 2, done
    told = done.stdout + done.stderr
    for named in ("gateway.lease_ms", "brain.poll_ms", "brains[0].params.fast", "brains[1].strategy", "redis.url"):
        assert named in told, (named, told)
    assert "Traceback" not in told
    path.write_text(changed())
    assert run("brainstem", tmp_path, "config", "check", "--config", str(path)).returncode == 0
