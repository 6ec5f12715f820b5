"""What `brainstem doctor` asks a running gateway. It says hello as a tool and reads; it changes nothing."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ipc.client import Client
from ipc.config import Config
from ipc.errors import IpcError
from ipc.wire import Status
from scripts.asking import socket_of
from scripts.doctor_finding import Finding, fail, note, ok, warn

TIMEOUT_S = 3.0


def look(config: Config, account: str) -> tuple[dict[str, Any] | None, list[Finding]]:
    """Its status where one runs, and what was found."""
    path = socket_of(config, account)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        step = "`brainstem up --detach` starts what the configuration says"
        return None, [note("gateway", f"none runs for account {account}", str(path), step)]
    except PermissionError:
        return None, [fail("gateway", "its socket cannot be reached", str(path), "Join its group, or ask as its user")]
    found = [] if not mode & 0o007 else [_open_to_all(path, mode)]
    try:
        with Client.connect(path) as client:
            client.hello()
            answer = client.ask(Status(id=0), timeout_s=TIMEOUT_S)
    except IpcError as error:
        if error.code == "gateway.unreachable":
            step = "It was killed and left its socket, or hangs: see its log, then `brainstem up --detach`"
            return None, [*found, fail("gateway", f"does not answer: {error.message}", str(path), step, absent=True)]
        return None, [*found, fail("gateway", f"refuses us: {error.message}", str(path), "See accounts.NAME.rights")]
    status: dict[str, Any] = answer.result if isinstance(answer.result, dict) else {}
    return status, [*found, *_health(status, str(path))]


def _open_to_all(path: Path, mode: int) -> Finding:
    return warn("gateway", f"every user of this machine may ask it (mode {mode:04o})", str(path), f"chmod o-rw {path}")


def _health(status: Mapping[str, Any], where: str) -> Iterator[Finding]:
    told = f"pid {status.get('pid')}, environment {status.get('environment')}"
    if status.get("ready"):
        yield ok("gateway", f"is ready ({told})", where)
    else:
        step = "`brainstem status` and `brainstem events --last 20` say what it waits for"
        yield fail("gateway", f"runs and is NOT ready: entries are refused ({told})", where, step)
    if (status.get("counters") or {}).get("store_up") == 0:
        yield fail("gateway", "does not reach Redis: brains see nothing", "redis.url", "See the findings on redis")
    if status.get("risk") not in (None, "running"):
        what = f"risk state {status.get('risk')}: {status.get('risk_reason') or 'no reason given'}"
        yield warn("gateway", what, where, "`brainstem risk resume` where the reason is over")
    if status.get("unknown"):
        what = f"{status['unknown']} order(s) of unknown outcome, which it is asking about"
        yield warn("gateway", what, where, "`brainstem events --filter order.unknown --last 5`")
    for name, row in sorted((status.get("streams") or {}).items()):
        if row.get("state") == "down" and row.get("streams", 0) + (name == "private"):
            yield fail("gateway", f"its {name} connection is down", where, "`brainstem events --filter 'stream.*'`")
    dead = sorted(name for name, row in (status.get("brains") or {}).items() if not row.get("alive"))
    if dead:
        yield note("gateway", f"brains that were here and are not now: {', '.join(dead)}", where)
