"""`brainstem top`: the live view of a running set-up. Reads Redis alone."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable

from ipc.config import Config
from ipc.paths import redis_url
from scripts.asking import config_of
from scripts.exits import ABSENT, DONE
from scripts.view_model import Model
from scripts.view_reader import Reader

PICTURES_A_SECOND = 4
PLAIN_EVERY_S = 2.0


def run(args: argparse.Namespace) -> int:
    """Until Ctrl-C; exit 3 where Redis is not there at the first look."""
    reader = reader_of(config_of(args), args.account)
    title = f"Brainstem {args.account}"
    first = reader.read(title=title)
    if first.problem:
        print(first.problem, file=sys.stderr)
        return ABSENT
    with contextlib.closing(reader):
        if args.once or args.json:
            _print_once(first, as_json=args.json)
            return DONE
        with contextlib.suppress(KeyboardInterrupt):
            watch(lambda: reader.read(title=title, footer="Ctrl-C leaves the view; nothing is stopped"), lambda: False)
    return DONE


def reader_of(config: Config, account: str) -> Reader:
    from brain.settings import BrainSpec
    from scripts.plan import symbols_of

    brains = tuple(brain for brain in config.section("brains", list[BrainSpec]) if brain.account == account)
    pairs = [(brain.full_name, symbol) for brain in brains for symbol in brain.symbols]
    return Reader(redis_url(config, os.environ), account, symbols_of(config, brains), pairs)


def watch(read: Callable[[], Model], over: Callable[[], bool]) -> None:
    """Draw pictures (lines without a terminal) until `over`."""
    from rich.console import Console, RenderableType
    from rich.live import Live

    from scripts.view_render import plain_line, render, room_of

    console = Console()
    if not console.is_terminal:
        printed_s = 0.0
        while not over():
            model = read()
            if time.monotonic() - printed_s >= PLAIN_EVERY_S:
                printed_s = time.monotonic()
                print(plain_line(model), flush=True)
            time.sleep(1 / PICTURES_A_SECOND)
        return

    def picture() -> RenderableType:
        return render(read(), room_of(console.width, console.height))

    with Live(picture(), console=console, screen=True, auto_refresh=False) as live:
        while not over():
            live.update(picture(), refresh=True)
            time.sleep(1 / PICTURES_A_SECOND)


def _print_once(model: Model, *, as_json: bool) -> None:
    if as_json:
        import msgspec

        held = {"gateway": model.gateway, "wallet": model.wallet, "ledgers": model.ledgers}
        rows = {name: [s.book, s.mark, s.position, s.orders] for name, s in model.symbols.items()}
        print(msgspec.json.encode({**held, "symbols": rows}).decode())
        return
    from rich.console import Console

    from scripts.view_render import TALL, render, room_of

    console = Console()
    console.print(render(model, room_of(console.width, TALL)))
