"""The brain's line to the gateway: pipelined requests, answers by errand, connecting again by itself."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from brain.inputs import Answered, Ask, Connected, Disconnected, Errand, Input
from ipc import events, wire
from ipc.client import Client, result_of
from ipc.errors import IpcError

_FIRST_BACKOFF_S = 0.05
_MAX_BACKOFF_S = 0.5
_HISTORY_TIMEOUT_S = 0.5
# what a brain lives on; other people's events are no reason to read a long absence through
HISTORY_SUBJECTS = ["order.*", "intent.*", "risk.refused", "bar.mended", "brain.lost"]


class Link:
    """`problem` is empty while connected, else says what is wrong."""

    def __init__(self, path: Path) -> None:
        self._client = Client(path)
        self._errands: dict[int, Errand] = {}
        self._not_before_s = 0.0
        self._backoff_s = _FIRST_BACKOFF_S
        self._up = False
        self.problem = "not connected yet"

    def inputs(self) -> list[Input]:
        """What came since the last call: answers, an end of the connection, a new connection."""
        if not self._up:
            return self._connect()
        try:
            answers = self._client.collect()
        except IpcError as error:
            return [self._down(error.message)]
        return [given for answer in answers if (given := self._answered(answer)) is not None]

    def filenos(self) -> list[int]:
        return [self._client.fileno()] if self._up and self._client.alive else []

    def send(self, ask: Ask) -> None:
        """Hands it to the socket. A connection that ends here is reported by the next `inputs`."""
        if not self._up:
            return
        try:
            self._errands[self._client.send(ask.request)] = ask.errand
        except IpcError as error:
            # the connection is gone, or as good as: nothing was answered for long. What was asked is asked again
            self.hang_up(error.message)

    def hang_up(self, reason: str) -> None:
        self._client.close()
        self.problem = reason

    def history(self, after: int, limit: int) -> list[events.Event]:
        """Events the stream has dropped, from the journal: `limit` of them, or all there are. Raises IpcError.

        A page also ends where a line is full: fewer than asked for mean nothing until no further page is named."""
        found: list[events.Event] = []
        next_: str | None = str(after)
        while next_ is not None and len(found) < limit:
            request = wire.EventsQuery(id=0, after=int(next_), limit=limit - len(found), subjects=HISTORY_SUBJECTS)
            answer = self._client.ask(request, timeout_s=_HISTORY_TIMEOUT_S)
            result = result_of(answer)
            rows = result.get("events", []) if isinstance(result, dict) else result
            found += [msgspec.convert(row, events.Event) for row in rows]
            next_ = answer.next
        return found

    def close(self) -> None:
        self._client.close()

    def _connect(self) -> list[Input]:
        now_s = time.monotonic()
        if now_s < self._not_before_s:
            return []
        try:
            self._client.reconnect()
        except IpcError as error:
            self.problem = error.message
            self._wait(now_s)
            return []
        self._errands.clear()
        self._up = True
        self.problem = ""
        # a gateway that answers hello by hanging up is not asked in a tight loop
        self._wait(now_s)
        return [Connected()]

    def _wait(self, now_s: float) -> None:
        self._not_before_s = now_s + self._backoff_s
        self._backoff_s = min(self._backoff_s * 2, _MAX_BACKOFF_S)

    def _answered(self, answer: wire.Answer) -> Input | None:
        errand = self._errands.pop(answer.id, None) if answer.id is not None else None
        if errand is None:
            return None
        if errand.purpose == "hello" and answer.ok:
            self._backoff_s = _FIRST_BACKOFF_S
        return Answered(errand, answer)

    def _down(self, reason: str) -> Disconnected:
        self._client.close()
        self._up = False
        self.problem = reason
        return Disconnected(reason)
