"""`brainstem events`: the journal's events, filtered by subject, from any sequence, and on as they happen."""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from datetime import UTC, datetime
from typing import Any

from ipc.client import Client
from ipc.wire import EventsQuery, Status
from scripts.asking import config_of, connect
from scripts.exits import DONE
from scripts.flatten import rows_of

PAGE = 500
_POLL_S = 0.25


def run(args: argparse.Namespace) -> int:
    """Without `--after`: the last `--last` ones. `--follow` goes on until Ctrl-C, its ordinary end."""
    with connect(config_of(args), args.account) as client, contextlib.suppress(KeyboardInterrupt):
        after = args.after if args.after is not None else max(0, _newest(client) - args.last)
        while True:
            after, count = _page(client, after, args)
            if count == PAGE:
                continue
            if not args.follow:
                break
            time.sleep(_POLL_S)
    return DONE


def _newest(client: Client) -> int:
    return client.ask(Status(id=0)).as_of or 0


def _page(client: Client, after: int, args: argparse.Namespace) -> tuple[int, int]:
    subjects = args.filter or []
    events = rows_of(client.result(EventsQuery(id=0, after=after, limit=PAGE, subjects=subjects)), "events")
    for event in events:
        print(json.dumps(event) if args.json else line(event), flush=True)
        after = max(after, int(event["seq"]))
    return after, len(events)


def line(event: dict[str, Any]) -> str:
    """One event for people."""
    at = datetime.fromtimestamp(event["at_ns"] / 1e9, tz=UTC).strftime("%H:%M:%S.%f")[:-3]
    where = " ".join(str(event[key]) for key in ("symbol", "brain") if event.get(key))
    data = " ".join(f"{key}={value}" for key, value in (event.get("data") or {}).items())
    intent = (event.get("ids") or {}).get("intent")
    return f"{event['seq']:>8} {at} {event['subject']:<20} {where} {data}{f' [{intent}]' if intent else ''}".rstrip()
