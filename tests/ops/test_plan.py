"""From configuration to processes: order, addresses, and that no key leaves the gateway's environment."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from ipc.config import ConfigError, load
from scripts.plan import Plan, make_plan
from scripts.reserved_port import ReservedPort

SECRET = "value-of-a-secret"


def plan(folder: Path, environ: dict[str, str] | None = None, **document: Any) -> Plan:
    path = folder / "config.json"
    base = {"state_dir": str(folder / "state"), "run_dir": str(folder)}
    brains = [{"strategy": "macd", "symbols": ["BTCUSDT"]}, {"strategy": "obi", "symbols": ["ETHUSDT", "SOLUSDT"]}]
    path.write_text(json.dumps({**base, "brains": brains, **document}), encoding="utf-8")
    given = environ or {}
    return make_plan(load(path, given), given, python="python")


def test_a_simulated_set_up_runs_all_of_it_in_order(run_dir: Path) -> None:
    found = plan(run_dir)
    assert found.names == ["redis", "simex", "gateway", "macd-BTCUSDT", "obi-ETHUSDT"]
    assert found.symbols == ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    assert found.redis_url == f"unix://{run_dir}/redis.sock"


def test_what_is_configured_is_not_started(run_dir: Path) -> None:
    found = plan(
        run_dir, redis={"url": "redis://h:1/0"}, simex={"rest": "http://h:2", "ws": "ws://h:2"}, accounts={"main": {}}
    )
    assert found.names == ["gateway", "macd-BTCUSDT", "obi-ETHUSDT"]
    assert found.redis_url == "redis://h:1/0"


def test_paper_is_simex_as_a_relay_unless_one_is_there_already(run_dir: Path) -> None:
    found = plan(run_dir, environment="paper")
    (simex,) = [spec for spec in found.specs if spec.name == "simex"]
    assert simex.command({})[-1] == "--relay"
    (simulated,) = [spec for spec in plan(run_dir).specs if spec.name == "simex"]
    assert "--relay" not in simulated.command({})
    elsewhere = {"upstream_rest": "http://h:3", "upstream_ws": "ws://h:3"}
    (simex,) = [spec for spec in plan(run_dir, environment="paper", simex=elsewhere).specs if spec.name == "simex"]
    assert simex.command({})[-5:] == ["--upstream-rest", "http://h:3", "--upstream-ws", "ws://h:3", "--relay"]
    (simulated,) = [spec for spec in plan(run_dir, simex=elsewhere).specs if spec.name == "simex"]
    assert "--upstream-rest" not in simulated.command({})
    there = plan(run_dir, environment="paper", simex={"rest": "http://h:2", "ws": "ws://h:2"})
    assert "simex" not in there.names


def test_no_simulator_on_a_real_exchange(run_dir: Path) -> None:
    assert plan(run_dir, environment="testnet").names == ["redis", "gateway", "macd-BTCUSDT", "obi-ETHUSDT"]


def test_the_exchange_keeps_its_state_beside_the_gateways_and_a_recording_begins_anew(run_dir: Path) -> None:
    for environment in ("simex", "paper"):
        found = plan(run_dir, environment=environment)
        (simex,) = [spec for spec in found.specs if spec.name == "simex"]
        words = simex.command({})
        assert words[words.index("--state") + 1] == str(found.state_dir / f"{environment}-exchange.json")
    recorded = plan(run_dir, simex={"replay": "session.gz"})
    (simex,) = [spec for spec in recorded.specs if spec.name == "simex"]
    assert "--state" not in simex.command({})


def test_the_gateway_knows_where_simex_will_be_and_a_restarted_one_is_there_again(run_dir: Path) -> None:
    found = plan(run_dir, simex={"seed": 5})
    specs = {spec.name: spec for spec in found.specs}
    assert found.port is not None
    for _ in range(2):
        command = specs["simex"].command({})
        assert command[command.index("--port") + 1] == str(found.port.number)
        assert command[command.index("--seed") + 1] == "5"
    environ = specs["gateway"].env({})
    assert environ["BRAINSTEM_SIMEX__REST"] == f"http://127.0.0.1:{found.port.number}"
    assert environ["BRAINSTEM_SIMEX__WS"] == f"ws://127.0.0.1:{found.port.number}"


def test_a_reserved_port_is_nobody_else_s_and_its_server_s_as_often_as_it_comes() -> None:
    port = ReservedPort()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port.number))
    for _ in range(2):
        with socket.create_server(("127.0.0.1", port.number)) as server:
            assert server.getsockname()[1] == port.number
    port.close()


def test_a_port_that_is_served_already_is_refused_by_its_path(run_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(ConfigError, match=r"simex\.port"):
        plan(run_dir, simex={"port": server.getsockname()[1]})


@pytest.mark.parametrize("name", ["BRAINSTEM_ACCOUNTS__MAIN__API_SECRET", "BRAINSTEM_ACCOUNTS__MAIN__API_KEY"])
def test_only_the_gateway_gets_keys(run_dir: Path, name: str) -> None:
    environ = {"BRAINSTEM_ENVIRONMENT": "simex", name: SECRET, "CREDENTIALS_DIRECTORY": str(run_dir), "PATH": "/bin"}
    for spec in plan(run_dir, environ).specs:
        held = spec.env({})
        assert (SECRET in held.values()) is (spec.name == "gateway"), spec.name
        assert ("CREDENTIALS_DIRECTORY" in held) is (spec.name in ("gateway", "redis"))
        assert held["PATH"] == "/bin"


def test_every_process_is_told_the_same_places(run_dir: Path) -> None:
    found = plan(run_dir)
    for spec in found.specs[1:]:
        environ = spec.env({})
        assert environ["BRAINSTEM_STATE_DIR"] == str(found.state_dir)
        assert environ["BRAINSTEM_RUN_DIR"] == str(found.run_dir)
        assert environ["BRAINSTEM_REDIS__URL"] == found.redis_url


def test_a_gateway_for_each_account(run_dir: Path) -> None:
    found = plan(run_dir, accounts={"main": {}, "second": {}})
    assert found.names[2:4] == ["gateway-main", "gateway-second"]
    assert found.sockets == {"main": run_dir / "main.sock", "second": run_dir / "second.sock"}
