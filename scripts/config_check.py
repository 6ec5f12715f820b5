"""`brainstem config check`: every section of the configuration, strategy parameters included, every fault by path."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ipc.config import Config
from ipc.faults import ConfigError, Fault
from ipc.paths import run_dir, socket_path
from ipc.settings import LogSettings, RedisSettings, SimexSettings, SupervisorSettings
from scripts.asking import config_of, show
from scripts.exits import DONE, USAGE


def run(args: argparse.Namespace) -> int:
    """Exit 0 when all is well, 2 with every fault otherwise."""
    config = config_of(args)
    found = list(faults(config))
    for warning in config.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if args.show and not found:
        show(argparse.Namespace(json=True), config.redacted(), str)
        return DONE
    value = {"source": config.source, "ok": not found, "faults": [fault._asdict() for fault in found]}
    show(args, value, lambda _: _text(config, found))
    return USAGE if found else DONE


def faults(config: Config) -> Iterator[Fault]:
    """Each check on its own, so that one section's faults never hide another's."""
    checks: list[Callable[[], Any]] = [
        lambda: config.section("redis", RedisSettings),
        lambda: config.section("log", LogSettings),
        lambda: config.section("simex", SimexSettings),
        lambda: config.section("supervisor", SupervisorSettings),
        lambda: _gateway(config),
        lambda: _brain(config),
        lambda: _brains(config),
        lambda: _plan(config),
        lambda: [socket_path(run_dir(config, os.environ, create=False), name) for name in config.raw("accounts")],
    ]
    seen: set[Fault] = set()
    for check in checks:
        try:
            check()
        except ConfigError as error:
            for fault in error.faults:
                if fault not in seen:
                    seen.add(fault)
                    yield fault


def _gateway(config: Config) -> None:
    from gateway import settings

    settings.check(config)


def _plan(config: Config) -> None:
    from scripts.plan import check

    check(config)


def _brain(config: Config) -> None:
    from brain.settings import BrainSettings

    config.section("brain", BrainSettings)


def _brains(config: Config) -> None:
    """Each entry on its own: a fault in the shape of one hides neither its strategy's faults nor another's."""
    from brain.settings import BrainSpec

    found: list[Fault] = []
    try:
        config.section("brains", list[BrainSpec])
    except ConfigError as error:
        found += error.faults
    held = config.raw("brains")
    for index, entry in enumerate(held if isinstance(held, list) else ()):
        try:
            _strategy(config, f"brains[{index}]", entry if isinstance(entry, dict) else {})
        except ConfigError as error:
            found += error.faults
    if found:
        raise ConfigError(found, config.source)


def _strategy(config: Config, path: str, entry: dict[str, Any]) -> None:
    """The strategy an entry names, and its parameters, where both have a shape that can be judged."""
    from brain.params import validate
    from brain.strategies import find

    strategy, params = entry.get("strategy"), entry.get("params", {})
    if isinstance(strategy, str) and strategy and isinstance(params, dict):
        kind = find(strategy, f"{path}.strategy", (Path.cwd(), config.folder))
        validate(kind.parameters, params, f"{path}.params")


def _text(config: Config, found: list[Fault]) -> str:
    if not found:
        return f"{config.source}: ok (environment {config.environment})"
    return "\n".join([f"{config.source}: {len(found)} fault(s)", *(f"  {fault}" for fault in found)])
