"""`--state`: what an account has outlives the exchange, however it ends; and what is wrong with a file is said."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from simex.core.codec import BadState
from simex.core.exchange import Exchange
from simex.core.instrument import default_instruments
from simex.server import keeping
from simex.server.keeping import Keeper, StateFile
from tests.simex.core_world import spec
from tests.simex.running import ROOT, Running, running, signed
from tests.waiting import pause, pause_here

DEADLINE_S = 20.0


def public(simex: Running, path: str) -> Any:
    with urllib.request.urlopen(f"{simex.rest}{path}", timeout=10) as reply:
        return json.loads(reply.read())


def ask(simex: Running, method: str, path: str, query: str = "") -> Any:
    request = urllib.request.Request(f"{simex.rest}{path}?{signed(query)}", method=method)
    request.add_header("X-MBX-APIKEY", "simex")
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.loads(reply.read())


def trade(simex: Running) -> None:
    """A position, a resting order far away, another leverage, an isolated symbol."""
    ask(simex, "POST", "/fapi/v1/leverage", "symbol=BTCUSDT&leverage=7")
    ask(simex, "POST", "/fapi/v1/marginType", "symbol=ETHUSDT&marginType=ISOLATED")
    ask(simex, "POST", "/fapi/v1/order", "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.010")
    bid = public(simex, "/fapi/v1/ticker/bookTicker?symbol=BTCUSDT")
    price = f"{float(bid['bidPrice']) * 0.97:.1f}"
    query = f"symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.010&price={price}&newClientOrderId=far"
    ask(simex, "POST", "/fapi/v1/order", query)


def possessions(simex: Running) -> dict[str, Any]:
    """What must be the same after a restart (all but what moves with the mark)."""
    risk = ask(simex, "GET", "/fapi/v2/positionRisk", "symbol=BTCUSDT")[0]
    return {
        "position": {key: risk[key] for key in ("positionAmt", "entryPrice", "breakEvenPrice", "leverage")},
        "orders": ask(simex, "GET", "/fapi/v1/openOrders"),
        "all": ask(simex, "GET", "/fapi/v1/allOrders", "symbol=BTCUSDT"),
        "trades": ask(simex, "GET", "/fapi/v1/userTrades", "symbol=BTCUSDT"),
        "income": ask(simex, "GET", "/fapi/v1/income"),
        "wallet": ask(simex, "GET", "/fapi/v3/balance")[0]["balance"],
        "eth": ask(simex, "GET", "/fapi/v1/symbolConfig", "symbol=ETHUSDT"),
    }


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
        pause_here(0.05)


def mark(simex: Running) -> float:
    return float(public(simex, "/fapi/v1/premiumIndex?symbol=BTCUSDT")["markPrice"])


@contextmanager
def killed(file: Path) -> Iterator[Running]:
    """An exchange that ends by SIGKILL."""
    command = [sys.executable, "-m", "scripts.simex", "--port", "0", "--state", str(file)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    with process.stdout:
        try:
            line = json.loads(process.stdout.readline())
            yield Running(line["rest"], line["ws"], line["seed"], line, process)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(10)


def test_what_an_account_has_outlives_a_clean_end_and_a_kill_and_the_market_goes_on_where_it_was(
    tmp_path: Path,
) -> None:
    file = tmp_path / "deep" / "simex.json"
    with running("--state", str(file), "--seed", "5") as simex:
        move = json.dumps({"symbol": "BTCUSDT", "move_bps": -3000}).encode()
        with urllib.request.urlopen(f"{simex.rest}/admin/market", data=move, timeout=10) as reply:
            assert reply.status == 200
        until(lambda: mark(simex) < 75_000, "the mark has followed the market")
        trade(simex)
        before, price = possessions(simex), mark(simex)
    with killed(file) as simex:
        assert possessions(simex) == before
        assert abs(mark(simex) / price - 1) < 0.1, "another seed, the same price"
        ask(simex, "DELETE", "/fapi/v1/order", "symbol=BTCUSDT&origClientOrderId=far")
        query = "symbol=BTCUSDT&side=SELL&type=MARKET&quantity=0.004&newClientOrderId=part"
        sold = ask(simex, "POST", "/fapi/v1/order", query)
        assert sold["orderId"] > max(order["orderId"] for order in before["all"])
        after = possessions(simex)
        assert after["position"]["positionAmt"] == "0.006"
        until(lambda: '"part"' in file.read_text(), "the last order in the file")
    with running("--state", str(file)) as simex:
        assert possessions(simex) == after


@pytest.mark.parametrize(("text", "words"), [("{", "no JSON"), ('{"a": 1}', "not a state"), ("[]", "not a state")])
def test_a_file_that_is_no_state_is_refused_and_left_alone(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "simex.json"
    path.write_text(text)
    with pytest.raises(BadState, match=words):
        StateFile(path).open()
    assert path.read_text() == text


def test_a_state_that_does_not_fit_ends_the_start_with_exit_2_and_its_reason(tmp_path: Path) -> None:
    file = tmp_path / "simex.json"
    file.write_text('{"core": {"version": 7}}')
    command = [sys.executable, "-m", "scripts.simex", "--state", str(file)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "simex: --state: the state has version 7" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_second_exchange_on_the_same_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "simex.json"
    first = StateFile(file)
    assert first.open() is None
    with pytest.raises(BadState, match="in use by another simex"):
        StateFile(file).open()
    first.close()
    second = StateFile(file)
    assert second.open() is None
    second.close()


def test_a_write_that_fails_leaves_the_old_state_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = StateFile(tmp_path / "simex.json")
    file.write({"core": {"n": 1}})

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        file.write({"core": {"n": 2}})
    monkeypatch.undo()
    assert file.open() == {"core": {"n": 1}}
    file.close()


def test_a_full_disk_is_told_of_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    exchange = Exchange(default_instruments(["BTCUSDT"]), [spec("main")])
    file, tries = StateFile(tmp_path / "simex.json"), []
    write = file.write

    def twice_full(state: dict[str, Any]) -> None:
        tries.append(1)
        if len(tries) <= 2:
            raise OSError(28, "No space left on device")
        write(state)

    monkeypatch.setattr(file, "write", twice_full)
    monkeypatch.setattr(keeping, "LOOK_S", 0.01)

    async def keep() -> None:
        keeper = Keeper(file, exchange, lambda: 7)
        keeper.start()
        deadline = asyncio.get_running_loop().time() + DEADLINE_S
        while not file.path.exists():
            assert asyncio.get_running_loop().time() < deadline
            await pause(0.01)
        await keeper.stop()

    asyncio.run(keep())
    assert [record.getMessage().count("No space left") for record in caplog.records] == [1, 1]
    state = file.open()
    file.close()
    assert state is not None
    assert (state["saved_ms"], state["core"]) == (7, json.loads(json.dumps(exchange.dump(levels=False))))


def test_only_what_has_changed_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request that may change an account counts as a change; a look does not."""
    exchange = Exchange(default_instruments(["BTCUSDT"]), [spec("main")])
    counts = [exchange.changes]
    for method, path, params in (
        ("GET", "/fapi/v3/account", {}),
        ("POST", "/fapi/v1/feeBurn", {"feeBurn": "true"}),
        ("POST", "/fapi/v1/positionSide/dual", {"dualSidePosition": "true"}),
    ):
        exchange.call(1, "main", method, path, params)
        counts.append(exchange.changes)
    assert counts[1] == counts[0]
    assert counts[3] > counts[2] > counts[1]
