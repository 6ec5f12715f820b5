"""A small real process for supervisor tests: `dummy.py FOLDER NAME [--ready-after S] [--exit CODE] [--ignore-term]`.

It writes its pid into FOLDER/NAME.pid, appends `start`, `ready`, `term` to FOLDER/log, and says ready on stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=Path)
parser.add_argument("name")
parser.add_argument("--ready-after", type=float, default=0.0)
parser.add_argument("--exit", type=int)
parser.add_argument("--say", default="")
parser.add_argument("--ignore-term", action="store_true")
parser.add_argument("--never-ready", action="store_true")
args = parser.parse_args()


def note(word: str) -> None:
    with (args.folder / "log").open("a", encoding="utf-8") as file:
        file.write(f"{args.name} {word}\n")


def on_term(_number: int, _frame: object) -> None:
    note("term")
    if not args.ignore_term:
        sys.exit(0)


signal.signal(signal.SIGTERM, on_term)
(args.folder / f"{args.name}.pid").write_text(str(os.getpid()), encoding="ascii")
note("start")
print("not a ready line", flush=True)
if args.say:
    print(args.say, file=sys.stderr, flush=True)
if args.exit is not None:
    sys.exit(args.exit)
signal.sigtimedwait([], args.ready_after)
if not args.never_ready:
    note("ready")
    print(json.dumps({"ready": True, "name": args.name, "pid": os.getpid()}), flush=True)
while True:
    signal.pause()
