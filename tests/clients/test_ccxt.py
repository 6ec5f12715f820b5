"""ccxt, unmodified, in its own environment, is the judge of simex: what works there must work here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.environment import client_python

JUDGE = Path(__file__).with_name("ccxt_judge.py")


@pytest.fixture
def simex(seed: int) -> Iterator[dict[str, str]]:
    command = [sys.executable, "-m", "scripts.simex", "--port", "0", "--seed", str(seed)]
    process = subprocess.Popen([*command, "--symbols", "BTCUSDT,ETHUSDT"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    ready: dict[str, str] = json.loads(process.stdout.readline())
    yield ready
    process.terminate()
    assert process.wait(10) == 0
    process.stdout.close()


@pytest.mark.timeout(300)  # the first run installs the client
def test_ccxt_trades_and_watches(simex: dict[str, str]) -> None:
    python = client_python("ccxt")
    done = subprocess.run(
        [str(python), str(JUDGE), simex["rest"], simex["ws"]], capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout)
    assert seen["markets"] == ["BTCUSDT", "ETHUSDT"]
    assert (seen["tick"], seen["step"]) == (0.1, 0.001)
    assert seen["fetched"]["bids"] == seen["fetched"]["asks"] == 20
    assert not seen["crossed"]
    nonces = [nonce for nonce, _, _ in seen["watched"]]
    assert nonces == sorted(nonces)
    assert len(set(nonces)) > 1, "the watched book stood still"
    assert all(bid < ask for _, bid, ask in seen["watched"])
    placed = seen["placed"]
    assert (placed["status"], placed["amount"]) == ("open", 0.002)
    assert seen["read"] == {
        "id": placed["id"],
        "status": "open",
        "price": placed["price"],
        "amount": 0.002,
        "filled": 0.0,
    }
    assert seen["open"] == [placed["id"]]
    assert (seen["cancelled"], seen["after"]) == ("canceled", "canceled")
    assert seen["again"] == "OrderNotFound"  # -2011, mapped by the client as for the real exchange
    assert seen["band"] == "BadRequest", "-4024 (PERCENT_PRICE), as this client maps it"
