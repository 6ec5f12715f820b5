"""`./scripts/demo`: the whole of Brainstem on a simulated exchange, with a live view, ended cleanly.

The view comes up at once and fills in as processes become ready. At Ctrl-C, after `--seconds`, or when a recording
ends: entries are stopped, everything is cancelled and closed, the processes end in order, and what is left (nothing)
is checked on the exchange's side and in the process table.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from scripts.exits import DONE, FAILED, USAGE


class _Asked:
    """Counts the signals that ask for the end. In place before anything heavy is imported: no Ctrl-C is lost."""

    def __init__(self) -> None:
        self.times = 0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._count)

    def _count(self, _number: int, _frame: FrameType | None) -> None:
        self.times += 1


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 ended clean, 1 something failed or was left, 2 wrong usage."""
    args = _parser().parse_args(argv)
    asked = _Asked()
    from ipc.faults import ConfigError

    try:
        return _run(args, asked)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return USAGE


def _run(args: argparse.Namespace, asked: _Asked) -> int:
    """Raises ConfigError, with nothing started and nothing left."""
    from ipc import config as configuration
    from ipc.faults import ConfigError
    from scripts import demo_setup
    from scripts.demo_run import Demo
    from scripts.demo_summary import summary
    from scripts.plan import make_plan

    symbols = demo_setup.symbols_for(args.symbols, args.replay)
    seed = args.seed if args.seed is not None else demo_setup.new_seed()
    environ = demo_setup.clean_environ(os.environ)
    folder = demo_setup.fresh_folder()
    try:
        path = demo_setup.write_config(folder, symbols, seed=seed, replay=args.replay, speed=args.speed)
        plan = make_plan(configuration.load(path, environ), environ)
    except ConfigError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    demo = Demo(plan, folder, seed, lambda: asked.times, seconds=args.seconds, replays=args.replay is not None)
    outcome = demo.run()
    lines = [summary(demo.model, outcome, _repeat(args, seed, symbols))]
    if outcome.well and not args.keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        lines.append(f"  logs       {plan.log_dir}")
    _print(lines)
    return DONE if outcome.well else FAILED


def _print(lines: Sequence[str]) -> None:
    with contextlib.suppress(OSError):  # the terminal, or the pipe's reader, may have gone
        print("\n".join(lines))
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # what it still holds must not be tried again at exit: that would change the exit code
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Brainstem on a simulated exchange: needs no key, no Redis, no root. Ctrl-C ends it.",
    )
    parser.add_argument("--seed", type=_seed, metavar="N", help="the market's seed (random, and printed, otherwise)")
    parser.add_argument("--seconds", type=_seconds, metavar="N", help="end by itself after so long")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="a recorded session instead of the seeded market")
    parser.add_argument(
        "--speed", type=_speed, metavar="X", help="how much faster than recorded (with --replay), or max"
    )
    parser.add_argument("--symbols", metavar="A,B", help="default: BTCUSDT,ETHUSDT, or what the recording holds")
    parser.add_argument("--keep", action="store_true", help="keep journal and logs")
    return parser


def _seed(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no seed: a whole number from 0, at most 18 digits")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: a number of seconds above 0")
    return value


def _speed(text: str) -> str:
    if text != "max" and not (re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) and 0 < float(text) <= 10_000):
        raise argparse.ArgumentTypeError(f"{text!r} is no speed: a number above 0 and at most 10000, or max")
    return text


def _repeat(args: argparse.Namespace, seed: int, symbols: Sequence[str]) -> str:
    words = ["./scripts/demo", "--seed", str(seed)]
    words += ["--replay", str(args.replay)] if args.replay else []
    words += ["--speed", args.speed] if args.speed else []
    words += ["--symbols", ",".join(symbols)] if args.symbols else []
    return shlex.join(words)


if __name__ == "__main__":
    sys.exit(main())
