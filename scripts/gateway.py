"""`gateway --config config.json [--account main] [--symbols BTCUSDT,ETHUSDT]`: the I/O process of one account.

One JSON line on stdout when ready; logs on stderr. Exit codes: 0 stopped in order, 1 it failed, 2 wrong usage or
configuration, or a gateway of the account runs already.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(prog="gateway", description="Serve one account: market data, orders, slices, events.")
    out.add_argument("--config", type=Path, help="path of config.json")
    out.add_argument("--account", default="main", help="which of the configured accounts (default: main)")
    out.add_argument("--symbols", default="", help="by comma; replaces the configured ones (brains add theirs)")
    return out


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    for number in (signal.SIGTERM, signal.SIGINT):  # until the loop takes them over nothing needs an orderly end
        signal.signal(number, _leave)
    from gateway import app
    from ipc import config
    from ipc.faults import ConfigError

    symbols = tuple(name.strip().upper() for name in args.symbols.split(",") if name.strip())
    try:
        held = config.read_args(None if args.config is None else str(args.config), os.environ)
        return app.run(held, args.account, symbols, os.environ)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _leave(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
