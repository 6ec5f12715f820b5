"""What every tool does: read the configuration, reach the gateway, print, and leave with a stable exit code."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from ipc import config as configuration
from ipc.client import Client
from ipc.config import Config
from ipc.errors import IpcError
from ipc.faults import ConfigError, Fault, near
from ipc.paths import run_dir, socket_path
from scripts.exits import ABSENT, FAILED, UNKNOWN

T = TypeVar("T")


def parser(prog: str, description: str) -> argparse.ArgumentParser:
    """With the options all tools share."""
    made = argparse.ArgumentParser(prog=prog, description=description)
    add_common(made)
    return made


def add_common(made: argparse.ArgumentParser, *, gateway: bool = True) -> None:
    made.add_argument("--config", metavar="FILE", help="the configuration (default: ./config.json if there is one)")
    made.add_argument("--json", action="store_true", help="print JSON")
    if gateway:
        made.add_argument("--account", default="main", help="whose gateway to ask (default: main)")


def config_of(args: argparse.Namespace) -> Config:
    """Raises ConfigError."""
    return configuration.read_args(args.config, os.environ)


def socket_of(config: Config, account: str) -> Path:
    return socket_path(run_dir(config, os.environ, create=False), account)


def connect(config: Config, account: str) -> Client:
    """A connection that has said hello as a tool. Raises IpcError `gateway.unreachable`, ConfigError."""
    accounts = list(config.raw("accounts"))
    if accounts and account not in accounts:
        raise ConfigError([Fault("--account", f"{account} is not configured", near(account, accounts))], config.source)
    client = Client.connect(socket_of(config, account))
    client.hello()
    return client


class OutcomeUnknown(Exception):
    """What was asked for may have happened: the gateway took the request and went away, or did not answer in time."""


def acting(act: Callable[[], T]) -> T:
    """A request that changes something, on a connection that stood: no answer is no absence. Raises OutcomeUnknown."""
    try:
        return act()
    except IpcError as error:
        if error.code != "gateway.unreachable":
            raise
        raise OutcomeUnknown(
            f"outcome unknown: {error.message}. See `brainstem status` and `brainstem events`"
        ) from None


def guarded(command: Callable[[], int]) -> int:
    """Run a command; what can go wrong becomes one line on stderr and its exit code."""
    try:
        return command()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except IpcError as error:
        absent = error.code == "gateway.unreachable"
        hint = " `brainstem up --detach` starts what the configuration says" if absent else ""
        print(f"{error.code}: {error.message}{hint}", file=sys.stderr)
        return ABSENT if absent else FAILED
    except OutcomeUnknown as error:
        print(error, file=sys.stderr)
        return UNKNOWN
    except KeyboardInterrupt:
        return FAILED
    except BrokenPipeError:  # its reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def whole_from(least: int) -> Callable[[str], int]:
    """An argparse type: a whole number, not below `least`."""

    def take(text: str) -> int:
        if not text.isascii() or not text.isdigit() or len(text) > 18 or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least}")
        return int(text)

    return take


def amount(text: str) -> Decimal:
    """An argparse type: a positive plain decimal of at most 30 digits."""
    digits = text.replace(".", "", 1)
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 30 and Decimal(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no quantity: a positive decimal like 0.002")
    return Decimal(text)


def seconds(text: str) -> float:
    """An argparse type: a time above 0, at most a day."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: seconds above 0, at most 86400")
    return value


def show(args: argparse.Namespace, value: Any, text: Callable[[Any], str]) -> None:
    print(json.dumps(value, indent=2) if args.json else text(value), flush=True)
