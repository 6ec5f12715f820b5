"""`brainstem events`: the journal's events, filtered by subject, from any sequence, and on as they happen."""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from ipc.client import Client, result_of
from ipc.events import VOCABULARY
from ipc.faults import ConfigError, Fault, near
from ipc.wire import EventsQuery, Status
from scripts.asking import config_of, connect
from scripts.exits import DONE
from scripts.flatten import rows_of

PAGE = 500
_POLL_S = 0.25
_WIDER = 8  # how much further back the next look for the last N goes


def run(args: argparse.Namespace) -> int:
    """Without `--after`: the last `--last` ones. `--follow` goes on until Ctrl-C, its ordinary end."""
    subjects = checked_subjects(args.filter or ())
    with connect(config_of(args), args.account) as client, contextlib.suppress(KeyboardInterrupt):
        after = args.after
        if after is None:
            after = _newest(client)
            for event in _last(client, subjects, args.last, after):
                _print(event, args)
        while True:
            for event in _pages(client, subjects, after):
                _print(event, args)
                after = int(event["seq"])
            if not args.follow:
                break
            time.sleep(_POLL_S)
    return DONE


def checked_subjects(asked: Sequence[str]) -> list[str]:
    """Raises ConfigError for a subject, or a pattern of them, that no event has."""
    known = {"*", *VOCABULARY, *(f"{subject.partition('.')[0]}.*" for subject in VOCABULARY)}
    wrong = [name for name in asked if name not in known]
    if wrong:
        faults = [Fault("--filter", f"no event has the subject {name}", near(name, VOCABULARY)) for name in wrong]
        raise ConfigError(faults, "events")
    return list(asked)


def _newest(client: Client) -> int:
    return client.ask(Status(id=0)).as_of or 0


def _last(client: Client, subjects: Sequence[str], count: int, newest: int) -> Sequence[dict[str, Any]]:
    """The last `count` up to `newest` that have one of the subjects, however far back they lie."""
    span = count
    while True:
        start = max(0, newest - span)
        kept = deque((event for event in _pages(client, subjects, start) if event["seq"] <= newest), maxlen=count)
        if len(kept) == count or start == 0:
            return kept
        span *= _WIDER


def _pages(client: Client, subjects: Sequence[str], after: int) -> Iterator[dict[str, Any]]:
    """Everything after `after`, page by page."""
    while True:
        answer = client.ask(EventsQuery(id=0, after=after, limit=PAGE, subjects=list(subjects)))
        yield from rows_of(result_of(answer), "events")
        if answer.next is None:  # a page may be short of `limit`: it is bounded by its bytes too
            return
        after = int(answer.next)


def _print(event: dict[str, Any], args: argparse.Namespace) -> None:
    print(json.dumps(event) if args.json else line(event), flush=True)


def line(event: dict[str, Any]) -> str:
    """One event for people."""
    at = datetime.fromtimestamp(event["at_ns"] / 1e9, tz=UTC).strftime("%H:%M:%S.%f")[:-3]
    where = " ".join(str(event[key]) for key in ("symbol", "brain") if event.get(key))
    data = " ".join(f"{key}={value}" for key, value in (event.get("data") or {}).items())
    intent = (event.get("ids") or {}).get("intent")
    return f"{event['seq']:>8} {at} {event['subject']:<20} {where} {data}{f' [{intent}]' if intent else ''}".rstrip()
