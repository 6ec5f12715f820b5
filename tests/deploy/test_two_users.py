"""The deployed system on one machine: gateway, brain and Redis as three users, running the installed units' text.

A brain that was taken over finds no secret of the gateway's, has no network, and cannot write Redis; the gateway and
the brains need no more of Redis than the ACL gives; the service manager hears what the units rely on.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.deploy.stage import STRANGERS, Stage, Started, impossible
from tests.simex.running import Running, running
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(240)

KEY, SECRET = "key-of-the-deployed-test-account", "secret-of-the-deployed-test-account"
ADMIN = "user admin on >admin-of-the-test ~* &* +@all\n"
RANDOM = {"rate_per_s": 4, "kinds": "enter,market,rest,cancel,close", "notional": 300}


class Deployed:
    """Everything runs. `gateway` and `brain` are the processes."""

    def __init__(self, stage: Stage, simex: Running) -> None:
        self.stage = stage
        self.simex = simex
        self.redis = stage.start("brainstem-redis.service")
        self.admin = redis.Redis.from_url(stage.redis_url("gateway").replace(_login(stage), "admin:admin-of-the-test@"))
        wait_until(self._answers, 20, "redis answers")
        self.gateway = stage.start("brainstem-gateway@.service", "main")
        self.brain = stage.start("brainstem-brain@.service", "random-BTCUSDT")

    @property
    def socket(self) -> Path:
        return self.stage.folder / "run/brainstem/main.sock"

    def _answers(self) -> bool:
        try:
            return bool(self.admin.ping())
        except redis.ConnectionError:
            return False


def _login(stage: Stage) -> str:
    return stage.redis_url("gateway").removeprefix("unix://").partition("@")[0] + "@"


@pytest.fixture(scope="module")
def deployed() -> Iterator[Deployed]:
    if reason := impossible():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="bs-dep-", dir="/tmp"))
    accounts = folder / "accounts.json"
    accounts.write_text(json.dumps([{"name": "a", "api_key": KEY, "api_secret": SECRET}]))
    accounts.chmod(0o600)
    try:
        with running("--seed", "5", "--accounts", str(accounts)) as simex, Stage(folder) as stage:
            config: dict[str, Any] = {
                "environment": "simex",
                "simex": {"rest": simex.rest, "ws": simex.ws},
                "accounts": {"main": {"symbols": ["BTCUSDT"], "rights": [{"uid": 61_102, "trade": True}]}},
                "gateway": {"links": {"private_probe_after_ms": 500, "probe_answer_ms": 500}},
                "brains": [{"strategy": "random", "symbols": ["BTCUSDT"], "params": RANDOM}],
            }
            stage.install(config, {"gateway/main.api_key": KEY, "gateway/main.api_secret": SECRET}, ADMIN)
            (folder / "etc/brainstem/config.json").chmod(0o640)
            made = Deployed(stage, simex)
            yield made
            made.admin.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def slices(deployed: Deployed, name: str) -> dict[str, Any]:
    raw: Any = deployed.admin.get(f"bs:main:{name}")
    return dict(json.loads(raw)) if raw else {}


def fills(deployed: Deployed) -> int:
    return int(slices(deployed, "BTCUSDT:ledger:random-BTCUSDT").get("fills", 0))


def fed_again(deployed: Deployed, one: Started) -> None:
    count = one.heard().count("WATCHDOG=1")
    deployed.stage.wait(lambda: one.heard().count("WATCHDOG=1") > count + 1, 20, f"{one.unit.name} is fed again")


def test_the_units_as_installed_trade(deployed: Deployed) -> None:
    deployed.gateway.wait_heard("READY=1")
    deployed.brain.wait_heard("READY=1")
    deployed.stage.wait(lambda: fills(deployed) >= 3, 60, "fills of the brain")
    heard = deployed.gateway.heard()
    before_ready = heard[: heard.index("READY=1")]
    assert "WATCHDOG=1" not in before_ready
    for one in (deployed.gateway, deployed.brain):
        fed_again(deployed, one)
    assert any(line.startswith("STATUS=") for line in deployed.brain.heard())


LOOK = """
import json, os, socket, sys
from pathlib import Path

def attempt(path):
    try:
        with open(path, "rb") as file:
            return file.read(1_000_000).decode("latin-1")
    except OSError as error:
        return error.errno

def walk(top):
    try:
        names = sorted(os.listdir(top))
    except OSError as error:
        yield top, error.errno
        return
    for name in names:
        path = os.path.join(top, name)
        if os.path.islink(path) or os.path.basename(path) in ("ways", "notify"):
            continue
        if os.path.isdir(path):
            yield from walk(path)
        else:
            yield path, attempt(path)

seen = dict(walk(FOLDER))
for pid in PIDS:
    for name in ("environ", "mem", "maps", "auxv", "stack", "io"):
        seen[f"/proc/{pid}/{name}"] = attempt(f"/proc/{pid}/{name}")
    for name in ("fd", "cwd", "root", "map_files"):
        try:
            seen[f"/proc/{pid}/{name}"] = str(os.listdir(f"/proc/{pid}/{name}"))
        except OSError as error:
            seen[f"/proc/{pid}/{name}"] = error.errno
print(json.dumps(seen))
"""


def test_a_brain_reads_nothing_of_the_gateways(deployed: Deployed) -> None:
    folder, pid = deployed.stage.folder, deployed.gateway.process.pid
    code = LOOK.replace("FOLDER", repr(str(folder))).replace("PIDS", repr([pid]))
    seen = deployed.stage.as_user("brainstem-brain", code, no_network=True)
    denied = {path for path, found in seen.items() if found in (1, 13)}
    wanted = {
        f"{folder}/etc/brainstem/credentials",
        f"{folder}/var/lib/brainstem-gateway",
        f"{folder}/run/credentials/brainstem-gateway@main.service",
        *(f"/proc/{pid}/{name}" for name in ("environ", "mem", "maps", "auxv", "fd", "cwd", "root", "map_files")),
    }
    assert wanted - denied == set()
    secrets = (KEY, SECRET, _login(deployed.stage).partition(":")[2].rstrip("@"))
    leaks = {path for path, found in seen.items() for secret in secrets if isinstance(found, str) and secret in found}
    assert leaks == set()
    read = {path for path, found in seen.items() if isinstance(found, str)}
    assert f"{folder}/etc/brainstem/config.json" in read, "the test looked, and could have found"
    assert any("/var/lib/brainstem-brain/" in path for path in read)


def test_no_secret_is_in_redis_the_logs_or_a_brains_environment(deployed: Deployed) -> None:
    deployed.stage.wait(lambda: fills(deployed) >= 3, 60, "there is something to find")
    held = b""
    for key in deployed.admin.scan_iter("*"):
        raw: Any = deployed.admin.xrange(key) if key.endswith(b":events") else deployed.admin.get(key)
        held += repr(raw).encode()
    assert b"BTCUSDT" in held
    environ = Path(f"/proc/{deployed.brain.process.pid}/environ").read_bytes()
    assert b"CREDENTIALS_DIRECTORY" in environ
    texts = (held, environ, deployed.gateway.log.encode(), deployed.brain.log.encode(), deployed.redis.log.encode())
    for secret in (KEY, SECRET, _login(deployed.stage).partition(":")[2].rstrip("@")):
        assert not [text for text in texts if secret.encode() in text]


def test_a_brain_has_no_network_and_a_stranger_no_socket(deployed: Deployed) -> None:
    host, _, port = deployed.simex.rest.removeprefix("http://").partition(":")
    code = """
import json, socket
out = {}
for name, family, address in (("tcp", socket.AF_INET, (HOST, PORT)), ("unix", socket.AF_UNIX, SOCKET)):
    with socket.socket(family) as one:
        try:
            one.connect(address)
            out[name] = 0
        except OSError as error:
            out[name] = error.errno
print(json.dumps(out))
"""
    code = code.replace("HOST", repr(host)).replace("PORT", port).replace("SOCKET", repr(str(deployed.socket)))
    assert deployed.stage.as_user("brainstem-brain", code, no_network=True) == {"tcp": 101, "unix": 0}
    assert deployed.stage.as_user("stranger", code, gid=STRANGERS) == {"tcp": 0, "unix": 13}
    peers = Path(f"/proc/{deployed.brain.process.pid}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in peers] == ["lo"], "the running brain's own view"


def test_a_brain_may_trade_and_not_steer(deployed: Deployed) -> None:
    code = """
import json, socket
with socket.socket(socket.AF_UNIX) as one:
    one.settimeout(10)
    one.connect(SOCKET)
    lines = one.makefile("rw")
    out = []
    for request in ({"id": 1, "op": "hello"}, {"id": 2, "op": "risk", "action": "pause", "reason": "x"},
                    {"id": 3, "op": "flatten", "reason": "x"}, {"id": 4, "op": "status"}):
        lines.write(json.dumps(request) + chr(10))
        lines.flush()
        answer = json.loads(lines.readline())
        out.append((answer["ok"], (answer.get("error") or {}).get("code")))
    lines.close()
print(json.dumps(out))
"""
    found = deployed.stage.as_user("brainstem-brain", code.replace("SOCKET", repr(str(deployed.socket))))
    assert found == [[True, None], [False, "rights.denied"], [False, "rights.hello_first"], [True, None]]


BRAIN_MAY = [("ping",), ("mget", "bs:main:gateway"), ("get", "bs:main:gateway"), ("info", "memory"),
             ("xrange", "bs:main:events", "-", "+", "COUNT", "1"), ("xinfo", "stream", "bs:main:events"),
             ("subscribe", "bs:main:BTCUSDT:wake"), ("acl", "whoami")]  # fmt: skip
NOBODY_MAY = [("flushall",), ("flushdb",), ("config", "get", "*"), ("config", "set", "maxmemory", "1"), ("keys", "*"),
              ("acl", "list"), ("acl", "setuser", "x"), ("shutdown", "nosave"), ("client", "list"),
              ("client", "kill", "id", "1"), ("monitor",), ("save",), ("bgsave",), ("replicaof", "no", "one"),
              ("eval", "return 1", "0"), ("script", "flush"), ("module", "list"), ("function", "flush"),
              ("get", "other"), ("mget", "bs:main:gateway", "other"), ("del", "bs:main:gateway"),
              ("expire", "bs:main:gateway", "1"), ("rename", "bs:main:gateway", "bs:x"), ("swapdb", "0", "1"),
              ("xtrim", "bs:main:events", "MAXLEN", "0"), ("xdel", "bs:main:events", "1-0"),
              ("subscribe", "other")]  # fmt: skip
GATEWAY_MAY = [("ping",), ("echo", "x"), ("mset", "bs:t:x", "1"), ("exists", "bs:t:x"),
               ("xadd", "bs:t:events", "1-0", "e", "x"), ("publish", "bs:t:x:wake", "1"),
               ("xinfo", "stream", "bs:main:events"), ("script", "load", "return 1"),
               ("info", "persistence")]  # fmt: skip
GATEWAY_MAY_NOT = [("get", "bs:main:gateway"), ("mset", "other", "1"), ("xadd", "other", "*", "e", "x"),
                   ("publish", "other", "1"), ("subscribe", "bs:main:BTCUSDT:wake"), ("set", "bs:x", "1")]  # fmt: skip
BRAIN_MAY_NOT = [("mset", "bs:main:gateway", "{}"), ("set", "bs:main:gateway", "{}"), ("echo", "x"),
                 ("xadd", "bs:main:events", "*", "e", "x"), ("publish", "bs:main:BTCUSDT:wake", "1"),
                 ("evalsha", "0" * 40, "0"), ("script", "load", "return 1")]  # fmt: skip


def _refused(deployed: Deployed, side: str, words: tuple[str, ...]) -> bool:
    pool = redis.Redis.from_url(deployed.stage.redis_url(side), protocol=2).connection_pool
    connection: Any = pool.make_connection()
    try:
        connection.send_command(*words)
        connection.read_response()
    except redis.exceptions.NoPermissionError:
        return True
    finally:
        connection.disconnect()
    return False


def test_redis_gives_each_side_what_it_needs_and_nothing_else(deployed: Deployed) -> None:
    """While the system runs on it: what it needs is seen in `ACL LOG`, which names every refused command."""
    deployed.stage.wait(lambda: fills(deployed) >= 3, 60, "the system has used it")
    for side, may, may_not in (
        ("brain", BRAIN_MAY, BRAIN_MAY_NOT + NOBODY_MAY),
        ("gateway", GATEWAY_MAY, GATEWAY_MAY_NOT + NOBODY_MAY),
    ):
        assert [words for words in may if _refused(deployed, side, words)] == []
        assert [words for words in may_not if not _refused(deployed, side, words)] == []
    with pytest.raises(redis.exceptions.AuthenticationError):
        redis.Redis.from_url(deployed.stage.redis_url("brain").replace("brain:", "brain:x", 1)).ping()
    bare = deployed.stage.redis_url("brain").partition("@")[2]
    with pytest.raises(redis.exceptions.AuthenticationError):
        redis.Redis.from_url(f"unix://{bare}").ping()
    deployed.admin.acl_log_reset()
    before = fills(deployed)
    deployed.stage.wait(lambda: fills(deployed) >= before + 2, 60, "it goes on trading on this Redis")
    assert deployed.admin.acl_log() == []


def test_the_doctors_unit_finds_the_deployed_system_well(deployed: Deployed) -> None:
    deployed.gateway.wait_heard("READY=1")
    looked = deployed.stage.start("brainstem-doctor@.service", "main")
    code = looked.process.wait(90)
    deployed.stage.running.remove(looked)  # it has ended, as it should
    looked.close()
    assert code == 0, looked.log
    said = [line.split() for line in looked.log.splitlines()]
    assert not [words for words in said if words and words[0] in ("fail", "warn")], looked.log
    assert "we are the user `gateway`" in looked.log and "is ready (pid" in looked.log
    assert len([words for words in said if words[:2] == ["ok", "route"]]) == 3
    assert KEY not in looked.log and SECRET not in looked.log


def test_the_watchdog_is_not_fed_while_the_private_stream_is_gone(deployed: Deployed) -> None:
    """The exchange stands still: after the stream's own deadlines and the grace the manager hears nothing more."""
    deployed.gateway.wait_heard("READY=1")
    deployed.simex.process.send_signal(signal.SIGSTOP)
    try:
        wait_until(
            lambda: any("NOT WELL: the private stream has been gone" in line for line in deployed.gateway.heard()),
            90, "the status says so",
        )  # fmt: skip
        count = deployed.gateway.heard().count("WATCHDOG=1")
        said = len(deployed.gateway.heard())
        wait_until(lambda: len(deployed.gateway.heard()) >= said + 2, 30, "two more looks")
        assert deployed.gateway.heard().count("WATCHDOG=1") == count
    finally:
        deployed.simex.process.send_signal(signal.SIGCONT)
    wait_until(lambda: deployed.gateway.heard().count("WATCHDOG=1") > count, 90, "fed again once it is back")


def settled(deployed: Deployed) -> bool:
    """Nothing is left in doubt from the time the exchange stood still."""
    held = slices(deployed, "gateway")
    return bool(held.get("ready")) and held.get("unknown") == 0


def test_an_orderly_end_is_told(deployed: Deployed) -> None:
    deployed.stage.wait(lambda: settled(deployed), 60, "all outcomes are known")
    for one in (deployed.brain, deployed.gateway):
        one.heard()  # nobody has read its messages for a while: the queue holds few
        assert one.stop() == 0, one.log[-2000:]
        assert one.heard().count("STOPPING=1") == 1
        extend = [line for line in one.heard() if line.startswith("EXTEND_TIMEOUT_USEC=")]
        assert int(extend[-1].partition("=")[2]) >= 10_000_000
    with socket.socket(socket.AF_UNIX) as gone, pytest.raises(OSError):
        gone.connect(str(deployed.socket))
