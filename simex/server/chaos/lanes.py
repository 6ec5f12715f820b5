"""The way of every pushed message through the faults that may meet it: missing, twice, late, out of order, spoilt."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from simex.server.faults import Faults

Send = Callable[[bytes], None]
Later = Callable[[int, Callable[[], None]], None]
MAX_HELD = 10_000
"""Account events held back for one account; at the bound they leave at once."""


@dataclass(slots=True)
class _Hold:
    """Events of one account that wait for a reply; `waiting` replies have not left yet."""

    waiting: int = 0
    queue: list[Callable[[], None]] = field(default_factory=list)


class Lanes:
    """One lane per stream and per account: what is held back in one does not touch another.

    `now` is the clock of the faults; `later` calls back after some milliseconds.
    """

    def __init__(self, faults: Faults, now: Callable[[], int], later: Later) -> None:
        self._faults = faults
        self._now = now
        self._later = later
        self._held: dict[tuple[str, str], bytes] = {}
        self._holds: dict[str, _Hold] = {}

    @property
    def calm(self) -> bool:
        """No fault is on and nothing is held back: the quick way for every message."""
        return self._faults.idle and not self._held

    def depth(self, name: str, symbol: str, data: bytes, send: Send) -> None:
        """One diff-depth event of a stream."""
        if self._passes("depth", name):
            send(data)
        else:
            self._through("depth", name, {"symbol": symbol}, data, send)

    def stream(self, name: str, where: Mapping[str, str], data: bytes, send: Send) -> None:
        """One message of any public stream; `where` names route, stream and symbol."""
        if self._passes("stream", name):
            send(data)
        else:
            self._through("stream", name, where, data, send)

    def user(self, account: str, event: str, data: bytes, send: Send) -> None:
        """One event of an account, after those that wait for a reply."""
        hold = self._holds.get(account)
        if hold is not None and len(hold.queue) < MAX_HELD:
            hold.queue.append(lambda: self._user(account, event, data, send))
            return
        self._user(account, event, data, send)

    def hold(self, account: str) -> Callable[[], None]:
        """Keep an account's events back until the returned callable is called; they then leave in their order."""
        hold = self._holds.setdefault(account, _Hold())
        hold.waiting += 1

        def release() -> None:
            hold.waiting -= 1
            if hold.waiting == 0:
                self._holds.pop(account, None)
                for action in hold.queue:
                    action()

        return release

    def forget(self, name: str) -> None:
        """A stream has no listener any more: what it held back is dropped."""
        self._held.pop(("depth", name), None)
        self._held.pop(("stream", name), None)

    def _user(self, account: str, event: str, data: bytes, send: Send) -> None:
        if self._passes("user", account):
            send(data)
            return
        where = {"account": account, "event": event}
        if self._faults.strike(self._now(), "listen_key_mute", where) is None:
            self._through("user", account, where, data, send)

    def _passes(self, lane: str, name: str) -> bool:
        return self._faults.idle and (lane, name) not in self._held

    def _through(self, lane: str, name: str, where: Mapping[str, str], data: bytes, send: Send) -> None:
        action, fields = self._faults.message_action(self._now(), f"{lane}_", where)
        if action == "drop":
            return
        if action == "delay":
            self._later(fields["delay_ms"], lambda: send(data))
            return
        if action == "cut":
            data = data[: len(data) // 2]
        elif action == "set":
            data = _spoilt(data, fields)
        held = self._held.pop((lane, name), None)
        if action == "reorder" and held is None:
            self._held[lane, name] = data
            return
        send(data)
        if action == "duplicate":
            send(data)
        if held is not None:
            send(held)


def _spoilt(data: bytes, fields: Mapping[str, Any]) -> bytes:
    """The message with one field set, or without it; an array's first object is the one that is spoilt."""
    event = orjson.loads(data)
    row = event[0] if isinstance(event, list) and event else event
    if isinstance(row, dict):
        row.pop(fields["field"], None)
        if "value" in fields:
            row[fields["field"]] = fields["value"]
    return orjson.dumps(event)
