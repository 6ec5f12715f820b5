"""`brainstem risk state|pause|resume`: stop entries of the account or of one brain, and allow them again."""

from __future__ import annotations

import argparse
from typing import Any

from ipc.wire import Risk
from scripts.asking import config_of, connect, show
from scripts.exits import DONE


def run(args: argparse.Namespace) -> int:
    with connect(config_of(args), args.account) as client:
        found = client.result(Risk(id=0, action=args.action, brain=args.brain, reason=args.reason or ""))
    show(args, found, text)
    return DONE


def text(found: Any) -> str:
    if not isinstance(found, dict):
        return str(found)
    return "\n".join(f"{name}: {value}" for name, value in found.items())
