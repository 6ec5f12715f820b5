"""The process: ready line, flags, signals, TLS, files of accounts."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from scripts.simex import main
from tests.simex.running import ROOT, running, signed


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.simex", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_ready_line_says_where_it_listens_and_which_seed_it_has() -> None:
    with running("--seed", "42") as simex:
        assert simex.ready["ready"] is True
        assert simex.rest.startswith("http://127.0.0.1:")
        assert simex.ws == simex.rest.replace("http", "ws")
        assert simex.seed == 42


async def test_the_same_seed_has_the_same_history_and_another_seed_another() -> None:
    async def bars(seed: str) -> list[list[str]]:
        with running("--seed", seed) as simex:
            async with aiohttp.ClientSession() as http:
                end = (int(time.time()) // 60 - 5) * 60_000
                url = f"{simex.rest}/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=20&endTime={end}"
                async with http.get(url) as answer:
                    rows: list[list[Any]] = await answer.json()
        return [[str(value) for value in row[1:6]] for row in rows]

    first = await bars("8")
    assert len(first) == 20
    assert first != await bars("9")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    with running() as simex:
        simex.process.send_signal(number)
        assert simex.process.wait(10) == 0


async def test_open_sockets_are_told_when_it_ends() -> None:
    with running() as simex:
        async with connect(f"{simex.ws}/public/ws/btcusdt@depth", compression=None) as socket:
            await socket.recv()
            simex.process.terminate()
            with pytest.raises(ConnectionClosed) as ended:
                while True:
                    await socket.recv()
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == 1001


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--upstream-rest", "http://h"], "--upstream-rest"), (["--relay", "--replay", "LICENSE"], "--relay"),
        (["--relay", "--upstream-ws", "http://h"], "--upstream-ws"), (["--relay", "--upstream-ca", "no"], "no such"),
        (["--replay", "nowhere.gz"], "nowhere.gz"), (["--speed", "fast"], "--speed"),
        (["--speed", "0"], "--speed"), (["--symbols", ","], "--symbols"), (["--symbols", "A,A"], "--symbols"),
        (["--accounts", "nowhere.json"], "nowhere.json"), (["--faults", "{"], "--faults"),
        (["--port", "70000"], "--port"), (["--ping-every", "0"], "--ping-every"),
        (["--faults", '{"fault": "nope"}'], "nope"), (["--host", "nowhere"], "--host"), (["--cert", "x.pem"], "--key"),
        (["--cert", "x.pem", "--key", "y.pem"], "x.pem"), (["--chaos", "nowhere.json"], "nowhere.json"),
        (["--chaos-plan", "60"], "--chaos-seed"), (["--chaos-seed", "1", "--chaos-level", "mild"], "mild"),
        (["--chaos-seed", "1", "--chaos-families", "x"], "'x'"), (["--connect-limit", "0"], "--connect-limit"),
    ],
)  # fmt: skip
def test_wrong_usage_is_exit_2_with_the_reason(flags: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(flags) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert said.out == ""


def test_a_taken_port_is_exit_1_and_said() -> None:
    with running() as simex:
        ended = run("--port", simex.rest.rpartition(":")[2])
        assert (ended.returncode, ended.stdout) == (1, "")
        assert "cannot start" in ended.stderr


async def test_tls_serves_https_and_wss_to_who_trusts_its_authority() -> None:
    with running("--tls") as simex:
        assert simex.rest.startswith("https://")
        trust = ssl.create_default_context(cafile=simex.ready["ca"])
        async with aiohttp.ClientSession() as http:
            async with http.get(f"{simex.rest}/fapi/v1/ping", ssl=trust) as answer:
                assert await answer.json() == {}
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await http.get(f"{simex.rest}/fapi/v1/ping")
        async with connect(f"{simex.ws}/public/ws/btcusdt@depth", ssl=trust, compression=None) as socket:
            assert json.loads(await socket.recv())["e"] == "depthUpdate"
        authority = simex.ready["ca"]
    with pytest.raises(FileNotFoundError):
        ssl.create_default_context(cafile=authority)


async def test_your_own_certificate_is_shown_and_names_no_authority(tmp_path: Path) -> None:
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    leaf.cert_chain_pems[0].write_to_path(str(chain))
    leaf.private_key_pem.write_to_path(str(key))
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    with running("--cert", str(chain), "--key", str(key)) as simex:
        assert "ca" not in simex.ready
        async with aiohttp.ClientSession() as http, http.get(f"{simex.rest}/fapi/v1/ping", ssl=trust) as answer:
            assert await answer.json() == {}
    ended = run("--cert", str(key), "--key", str(chain))
    assert ended.returncode == 1
    assert "chain.pem" in ended.stderr


@pytest.mark.parametrize(("host", "reached"), [("::1", ["[::1]"]), ("::", ["[::1]", "127.0.0.1"])])
async def test_ipv6_alone_or_both(host: str, reached: list[str]) -> None:
    with running("--host", host) as simex:
        assert simex.rest.startswith(f"http://[{host}]:")
        port = simex.rest.rpartition(":")[2]
        async with aiohttp.ClientSession() as http, asyncio.timeout(20):
            for name in reached:
                async with http.get(f"http://{name}:{port}/fapi/v1/ping") as answer:
                    assert await answer.json() == {}
                async with http.get(f"http://{name}:{port}/admin/state") as answer:
                    assert answer.status == 200
                async with connect(f"ws://{name}:{port}/public/ws/btcusdt@depth", compression=None) as socket:
                    assert json.loads(await socket.recv())["e"] == "depthUpdate"


async def test_accounts_come_from_a_file_and_do_not_see_each_other(tmp_path: Path) -> None:
    file = tmp_path / "accounts.json"
    rows: list[dict[str, Any]] = [
        {"name": "one", "api_key": "key1", "api_secret": "s3cret-one", "balances": {"USDT": "777.5"}},
        {"name": "two", "api_key": "key2", "api_secret": "s3cret-two", "hedge": True},
    ]
    file.write_text(json.dumps(rows))
    log = tmp_path / "log"
    with running("--accounts", str(file), log=log) as simex:
        async with aiohttp.ClientSession() as http:
            balances = []
            for row in rows:
                query = signed("", secret=row["api_secret"])
                headers = {"X-MBX-APIKEY": row["api_key"]}
                async with http.get(f"{simex.rest}/fapi/v3/balance?{query}", headers=headers) as answer:
                    balances.append(next(row["balance"] for row in await answer.json() if row["asset"] == "USDT"))
            async with http.get(f"{simex.rest}/admin/state") as answer:
                state = await answer.text()
    assert [float(balance) for balance in balances] == [777.5, 10_000]
    assert "s3cret" not in state
    assert "s3cret" not in log.read_text()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not JSON"), ("[]", "at least one"), ('[{"name": "a"}]', "api_key"),
        ('[{"name": "a", "api_key": "k", "api_secret": "hidden", "x": 1}]', "unknown field x"),
        ('[{"name": "a", "api_key": "k", "api_secret": "hidden", "balances": {"USDT": "x"}}]', "balances"),
        ('[{"name": "a", "api_key": "k", "api_secret": "hidden", "balances": {"USDT": "1e40"}}]', "between 0 and"),
        ('[{"name": "a", "api_key": "k", "api_secret": "hidden", "balances": {"USDT": "NaN"}}]', "between 0 and"),
        ('[{"name": "a", "api_key": "k", "api_secret": "hidden", "fee_tier": 10}]', "fee_tier must be"),
        ('[{"name": "a", "api_key": "k", "api_secret": "hidden", "taker_rate": "0.02"}]', "taker_rate must lie"),
        ('[{"name": "a", "api_key": "k", "api_secret": "hidden", "fee_burn": 1}]', "fee_burn must be"),
        ('[{"name": "a", "api_key": "k", "api_secret": "hidden", "rights": {"fly": true}}]', "unknown right fly"),
        ('[{"name": "a", "api_key": "k", "api_secret": "hidden", "rights": {"futures": 1}}]', "rights must map"),
        ('[{"name": "a", "api_key": "k", "api_secret": "hidden", "leverage": 0}]', "leverage"),
        ('[{"name":"a","api_key":"k","api_secret":"hidden"},{"name":"b","api_key":"k","api_secret":"hidden"}]', "same"),
    ],
)  # fmt: skip
def test_a_bad_accounts_file_is_refused_by_field_without_its_secrets(
    content: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "accounts.json"
    file.write_text(content)
    assert main(["--accounts", str(file)]) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert "hidden" not in said.err + said.out
