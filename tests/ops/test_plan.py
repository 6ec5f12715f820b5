"""From configuration to processes: order, addresses, and that no key leaves the gateway's environment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ipc.config import load
from scripts.plan import Plan, make_plan

SECRET = "value-of-a-secret"


def plan(folder: Path, environ: dict[str, str] | None = None, **document: Any) -> Plan:
    path = folder / "config.json"
    base = {"state_dir": str(folder / "state"), "run_dir": str(folder)}
    brains = [{"strategy": "macd", "symbols": ["BTCUSDT"]}, {"strategy": "obi", "symbols": ["ETHUSDT", "SOLUSDT"]}]
    path.write_text(json.dumps({**base, "brains": brains, **document}), encoding="utf-8")
    given = environ or {}
    return make_plan(load(path, given), given, python="python")


READY = {"simex": {"ready": True, "rest": "http://127.0.0.1:9001", "ws": "ws://127.0.0.1:9001"}}


def test_a_simulated_set_up_runs_all_of_it_in_order(run_dir: Path) -> None:
    found = plan(run_dir)
    assert found.names == ["redis", "simex", "gateway", "macd-BTCUSDT", "obi-ETHUSDT"]
    assert found.symbols == ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    assert found.redis_url == f"unix://{run_dir}/redis.sock"
    assert [spec.after for spec in found.specs] == [(), (), ("simex",), (), ()]


def test_what_is_configured_is_not_started(run_dir: Path) -> None:
    found = plan(
        run_dir, redis={"url": "redis://h:1/0"}, simex={"rest": "http://h:2", "ws": "ws://h:2"}, accounts={"main": {}}
    )
    assert found.names == ["gateway", "macd-BTCUSDT", "obi-ETHUSDT"]
    assert found.redis_url == "redis://h:1/0"


def test_no_simulator_on_a_real_exchange(run_dir: Path) -> None:
    assert plan(run_dir, environment="testnet").names == ["redis", "gateway", "macd-BTCUSDT", "obi-ETHUSDT"]


def test_the_gateway_learns_the_address_and_simex_keeps_its_port(run_dir: Path) -> None:
    specs = {spec.name: spec for spec in plan(run_dir, simex={"seed": 5}).specs}
    first, again = specs["simex"].command({}), specs["simex"].command(READY)
    assert first[first.index("--port") + 1] == "0"
    assert again[again.index("--port") + 1] == "9001"
    assert again[again.index("--seed") + 1] == "5"
    environ = specs["gateway"].env(READY)
    assert (environ["BRAINSTEM_SIMEX__REST"], environ["BRAINSTEM_SIMEX__WS"]) == (
        "http://127.0.0.1:9001",
        "ws://127.0.0.1:9001",
    )


@pytest.mark.parametrize("name", ["BRAINSTEM_ACCOUNTS__MAIN__API_SECRET", "BRAINSTEM_ACCOUNTS__MAIN__API_KEY"])
def test_only_the_gateway_gets_keys(run_dir: Path, name: str) -> None:
    environ = {"BRAINSTEM_ENVIRONMENT": "simex", name: SECRET, "CREDENTIALS_DIRECTORY": str(run_dir), "PATH": "/bin"}
    for spec in plan(run_dir, environ).specs:
        held = spec.env(READY)
        assert (SECRET in held.values()) is (spec.name == "gateway"), spec.name
        assert ("CREDENTIALS_DIRECTORY" in held) is (spec.name in ("gateway", "redis"))
        assert held["PATH"] == "/bin"


def test_every_process_is_told_the_same_places(run_dir: Path) -> None:
    found = plan(run_dir)
    for spec in found.specs[1:]:
        environ = spec.env(READY)
        assert environ["BRAINSTEM_STATE_DIR"] == str(found.state_dir)
        assert environ["BRAINSTEM_RUN_DIR"] == str(found.run_dir)
        assert environ["BRAINSTEM_REDIS__URL"] == found.redis_url


def test_a_gateway_for_each_account(run_dir: Path) -> None:
    found = plan(run_dir, accounts={"main": {}, "second": {}})
    assert found.names[2:4] == ["gateway-main", "gateway-second"]
    assert found.sockets == {"main": run_dir / "main.sock", "second": run_dir / "second.sock"}
