"""`brainstem`: every command but the processes themselves. Heavy imports stay inside the command that needs them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from scripts.asking import add_common, config_of, guarded, seconds, whole_from


def main(argv: Sequence[str] | None = None) -> int:
    """Console script. Exit codes: 0 done, 1 failed, 2 usage or config or already running, 3 nobody there, 4 unknown."""
    args = parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = args.command
    return guarded(lambda: command(args))


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="brainstem", description="Run, watch and steer Brainstem.")
    commands = made.add_subparsers(required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="run what the configuration says, in the foreground")
    add_common(up, gateway=False)
    up.add_argument("--detach", action="store_true", help="return once all is ready and leave it running")
    up.set_defaults(command=_up)

    down = commands.add_parser("down", help="end what `up` started and wait until all of it is gone")
    add_common(down, gateway=False)
    down.set_defaults(command=_down)

    top = commands.add_parser("top", help="the live view: books, positions, orders, fills, brains, latencies")
    add_common(top)
    top.add_argument("--once", action="store_true", help="print one picture and leave")
    top.set_defaults(command=_top)

    status = commands.add_parser("status", help="health of a gateway; exit 0 when it is ready")
    add_common(status)
    status.set_defaults(command=_status)

    doctor = commands.add_parser("doctor", help="look at everything a set-up needs; each finding with its next step")
    add_common(doctor)
    doctor.add_argument(
        "--timeout", type=seconds, default=30.0, metavar="S", help="how long to wait for the exchange (default 30)"
    )
    doctor.set_defaults(command=_doctor)

    flatten = commands.add_parser("flatten", help="cancel what rests, close what is held, wait until flat")
    add_common(flatten)
    flatten.add_argument("--symbol", help="only this one (default: all)")
    flatten.add_argument("--reason", help="goes into the journal")
    flatten.add_argument("--timeout", type=seconds, default=30.0, metavar="S", help="how long to wait (default 30)")
    flatten.set_defaults(command=_flatten)

    risk = commands.add_parser("risk", help="read the risk state, stop entries, allow them again")
    risk.add_argument("action", choices=("state", "pause", "resume"))
    add_common(risk)
    risk.add_argument("--brain", help="only this brain (default: the account)")
    risk.add_argument("--reason", help="goes into the journal")
    risk.set_defaults(command=_risk)

    events = commands.add_parser("events", help="what happened: fills, orders, gaps, refusals ...")
    add_common(events)
    events.add_argument("--after", type=whole_from(0), metavar="SEQ", help="from this sequence on")
    events.add_argument(
        "--last", type=whole_from(1), default=50, metavar="N", help="without --after: the last N (default 50)"
    )
    events.add_argument("--filter", action="append", metavar="SUBJECT", help="order.filled, order.*; may be repeated")
    events.add_argument("--follow", action="store_true", help="go on until Ctrl-C")
    events.set_defaults(command=_events)

    config = commands.add_parser("config", help="look at the configuration")
    actions = config.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser("check", help="validate every section; every fault by its path")
    add_common(check, gateway=False)
    check.add_argument("--show", action="store_true", help="print what is in force, secrets hidden")
    check.set_defaults(command=_config_check)
    return made


def _up(args: argparse.Namespace) -> int:
    from scripts import up

    return up.main(config_of(args), detached=args.detach)


def _down(args: argparse.Namespace) -> int:
    import os

    from scripts import down

    return down.run(config_of(args), os.environ)


def _top(args: argparse.Namespace) -> int:
    from scripts import top

    return top.run(args)


def _status(args: argparse.Namespace) -> int:
    from scripts import status

    return status.run(args)


def _doctor(args: argparse.Namespace) -> int:
    from scripts import doctor

    return doctor.run(args)


def _flatten(args: argparse.Namespace) -> int:
    from scripts import flatten

    return flatten.run(args)


def _risk(args: argparse.Namespace) -> int:
    from scripts import risk

    return risk.run(args)


def _events(args: argparse.Namespace) -> int:
    from scripts import events

    return events.run(args)


def _config_check(args: argparse.Namespace) -> int:
    from scripts import config_check

    return config_check.run(args)


if __name__ == "__main__":
    sys.exit(main())
