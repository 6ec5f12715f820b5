"""`brainstem risk state|pause|resume`: stop entries of the account or of one brain, and allow them again."""

from __future__ import annotations

import argparse
from typing import Any

from ipc.client import Client
from ipc.config import Config
from ipc.faults import ConfigError, Fault, near
from ipc.wire import Risk, Status
from scripts.asking import acting, config_of, connect, show
from scripts.exits import DONE


def run(args: argparse.Namespace) -> int:
    config = config_of(args)
    with connect(config, args.account) as client:
        if args.brain is not None and args.action != "state":
            _must_know(client, config, args.brain)
        wanted = Risk(id=0, action=args.action, brain=args.brain, reason=args.reason or "")
        found = client.result(wanted) if args.action == "state" else acting(lambda: client.result(wanted))
    show(args, found, text)
    return DONE


def _must_know(client: Client, config: Config, name: str) -> None:
    """Who pauses a brain under a wrong name believes that it is paused. Raises ConfigError."""
    from brain.settings import BrainSpec

    configured = [brain.full_name for brain in config.section("brains", list[BrainSpec])]
    known = {*configured, *(client.result(Status(id=0)).get("brains") or {})}
    if name not in known:
        fault = Fault("--brain", f"the gateway knows no brain {name}", near(name, sorted(known)))
        raise ConfigError([fault], config.source)


def text(found: Any) -> str:
    if not isinstance(found, dict):
        return str(found)
    return "\n".join(f"{name}: {_state(value)}" for name, value in found.items())


def _state(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    why = ", ".join(str(part) for part in (value.get("reason"), value.get("author")) if part)
    return f"{value.get('state')}{f' ({why})' if why else ''}"
