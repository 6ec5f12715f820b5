"""`brainstem status`: is the gateway well, what does it hold, who trades through it."""

from __future__ import annotations

import argparse
from typing import Any

from ipc.wire import Status
from scripts.asking import config_of, connect, show
from scripts.exits import DONE, FAILED


def run(args: argparse.Namespace) -> int:
    """Exit 0 when ready, 1 when not."""
    with connect(config_of(args), args.account) as client:
        found = client.result(Status(id=0))
    show(args, found, text)
    return DONE if found.get("ready") else FAILED


def text(found: dict[str, Any]) -> str:
    """The `gateway` slice for people."""
    ready = "ready" if found.get("ready") else "NOT READY"
    lines = [
        f"gateway {found.get('account', '?')}: {ready}, environment {found.get('environment', '?')}, "
        f"pid {found.get('pid', '?')}, epoch {found.get('epoch', '?')}",
        f"risk {found.get('risk', '?')} {found.get('risk_reason') or ''}".rstrip()
        + f", unknown orders {found.get('unknown', '?')}, clock offset {found.get('clock_offset_ms')} ms",
    ]
    if (found.get("counters") or {}).get("store_up") == 0:
        lines.append("Redis is NOT reached: brains see nothing; look at redis.url")
    for key in ("streams", "budgets", "brains", "latency_us"):
        held = found.get(key) or {}
        lines += [f"{key}:"] if held else []
        lines += [f"  {name:<14} {_pairs(value)}" for name, value in sorted(held.items())]
    return "\n".join(lines)


def _pairs(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    return "  ".join(f"{key} {item}" for key, item in value.items() if item is not None)
