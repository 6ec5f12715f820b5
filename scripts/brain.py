"""`brain --strategy macd --symbol BTCUSDT[,ETHUSDT]`: one strategy process.

Exit codes: 0 stopped in order, 1 it failed, 2 wrong usage or configuration, or a brain of the name runs already.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from brain.app import Plan
    from brain.settings import BrainSpec
    from ipc.config import Config


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(prog="brain", description="Run one strategy against the gateway of an account.")
    out.add_argument(
        "--strategy",
        help="its name (an unknown one lists the valid ones), or a file of your own: mine.py, mine.py:Class",
    )
    out.add_argument("--symbol", help="BTCUSDT, or several: BTCUSDT,ETHUSDT")
    out.add_argument("--name", help="the brain's name (default: STRATEGY-SYMBOL); with only this, what config says")
    out.add_argument(
        "--instance", help="as a service manager names it: a brain of the configuration, or STRATEGY-SYMBOL"
    )
    out.add_argument("--account", help="default: main")
    out.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter; may be repeated")
    out.add_argument("--config", metavar="FILE", help="the configuration (default: ./config.json if there is one)")
    out.add_argument("--params", action="store_true", help="list the strategy's parameters and leave")
    return out


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    from ipc.faults import ConfigError

    try:
        return _run(args)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _run(args: argparse.Namespace) -> int:
    from ipc import config, logs, paths
    from ipc.settings import LogSettings

    conf = config.read_args(args.config, os.environ)
    if args.params:
        return _list_params(_spec(args, conf), conf)
    name, folder = _spec(args, conf).full_name, paths.state_dir(conf, os.environ)
    logs.setup(name, conf.section("log", LogSettings), secrets=conf.secret_values(), folder=folder)
    plan = _plan(args, conf)
    from brain import app

    return app.run(plan)


def _plan(args: argparse.Namespace, conf: Config) -> Plan:
    from brain.app import Plan
    from brain.params import parse_sets, validate
    from brain.settings import BrainSettings
    from brain.strategies import find
    from ipc import paths
    from ipc.faults import ConfigError, Fault

    spec = _spec(args, conf)
    kind = find(spec.strategy, folders=(Path.cwd(), conf.folder))
    given = {**spec.params, **parse_sets(args.set)}
    try:
        strategy = kind(validate(kind.parameters, given))
    except ValueError as error:
        raise ConfigError([Fault("params", str(error), "See brain --params")], "parameters") from None
    return Plan(
        name=spec.full_name,
        account=spec.account,
        strategy=strategy,
        symbols=tuple(spec.symbols),
        redis_url=paths.redis_url(conf, os.environ),
        socket=paths.socket_path(paths.run_dir(conf, os.environ), spec.account),
        state_dir=paths.state_dir(conf, os.environ),
        settings=conf.section("brain", BrainSettings),
    )


def _spec(args: argparse.Namespace, conf: Config) -> BrainSpec:
    """The command line, over the entry of `brains` with the same name if there is one."""
    from brain.settings import BrainSpec, default_name
    from ipc.faults import ConfigError, Fault

    listed = {spec.full_name: spec for spec in conf.section("brains", list[BrainSpec])}
    if args.instance is not None:
        _take_instance(args, listed)
    symbols = [symbol.strip().upper() for symbol in (args.symbol or "").split(",") if symbol.strip()]
    name = args.name or (default_name(args.strategy, symbols) if args.strategy and symbols else None)
    held = listed.get(name) if name is not None else None
    if held is None and not (args.strategy and symbols):
        fix = "Give both, or --name of a brain in the configuration"
        raise ConfigError([Fault("--strategy, --symbol", "both are needed", fix)], "command line")
    base = held.model_dump() if held is not None else {}
    if args.strategy:
        base["strategy"] = args.strategy
    if symbols:
        base["symbols"] = symbols
    if args.account:
        base["account"] = args.account
    base["name"] = name
    try:
        return BrainSpec(**base)
    except ValueError as error:
        raise ConfigError([Fault("--name", str(error), "Use letters, digits, . _ -")], "command line") from None


def _take_instance(args: argparse.Namespace, listed: Container[str]) -> None:
    """`--instance macd-BTCUSDT` as `--name macd-BTCUSDT` where the configuration has such a brain, else as
    `--strategy macd --symbol BTCUSDT`. Raises ConfigError."""
    from ipc.faults import ConfigError, Fault

    if args.strategy or args.symbol or args.name:
        fix = "Leave out --strategy, --symbol and --name, or --instance"
        raise ConfigError([Fault("--instance", "says all of them already", fix)], "command line")
    name, args.instance = _unescaped(args.instance), None
    if name in listed:
        args.name = name
        return
    args.strategy, _dash, args.symbol = name.rpartition("-")
    if not (args.strategy and args.symbol):
        fix = "Write STRATEGY-SYMBOL, like macd-BTCUSDT, or the name of a brain in the configuration"
        raise ConfigError([Fault("--instance", f"{name!r} names neither", fix)], "command line")


def _unescaped(name: str) -> str:
    """systemd writes a byte that a unit's name cannot hold as `\\xNN` (systemd-escape); the rest is as it is."""
    parts = re.split(rb"\\x([0-9a-f]{2})", name.encode("utf-8", "surrogateescape"))
    plain = [bytes.fromhex(part.decode()) if at % 2 else part for at, part in enumerate(parts)]
    return b"".join(plain).decode("utf-8", "replace")


def _list_params(spec: BrainSpec, conf: Config) -> int:
    from brain.params import describe
    from brain.strategies import find

    for info in describe(find(spec.strategy, folders=(Path.cwd(), conf.folder)).parameters):
        bounds = f"{'' if info.low is None else info.low}..{'' if info.high is None else info.high}"
        choices = ", ".join(map(str, info.choices)) if info.choices else bounds
        print(f"{info.name:20} {info.default!s:>8}  {choices:16} {info.help}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
