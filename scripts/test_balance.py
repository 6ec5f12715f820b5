"""`test-balance`: what the gateway says the account holds: balances and positions."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from ipc.wire import AccountQuery, PositionQuery
from scripts.asking import config_of, connect, guarded, parser, show
from scripts.exits import DONE
from scripts.flatten import legs_of, rows_of


def main(argv: Sequence[str] | None = None) -> int:
    """Console script. Exit codes: 0 done, 1 refused, 2 usage or config, 3 nobody there."""
    made = parser("test-balance", "Print the balances and positions of the account, as the gateway holds them.")
    args = made.parse_args(argv)
    return guarded(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    with connect(config_of(args), args.account) as client:
        account = client.result(AccountQuery(id=0))
        legs = legs_of(client.result(PositionQuery(id=0)))
    show(args, {"account": account, "positions": legs}, text)
    return DONE


def text(found: dict[str, Any]) -> str:
    lines = [
        f"{row['asset']:<6} wallet {row['wallet']}  available {row.get('available') or '-'}"
        for row in rows_of(found["account"], "balances")
    ]
    held = [leg for leg in found["positions"] if Decimal(leg["qty"]) != 0]
    lines += [f"{leg['symbol']} {leg.get('leg', 'BOTH')} {leg['qty']} at {leg.get('entry', '?')}" for leg in held]
    return "\n".join(lines or ["no balance known"]) + ("" if held else "\nno position")


if __name__ == "__main__":
    sys.exit(main())
