"""Numbers events: contiguous sequences from what the journal held at start (row number = sequence)."""

from __future__ import annotations

from typing import Any

from gateway.core.effects import Write
from gateway.core.inputs import Now
from gateway.core.rows import EventRow
from ipc.events import VOCABULARY, Event, Ids


class EventLog:
    """One for the whole core. `last` is the newest sequence given: what answers carry as `as_of`.

    Every `Write` it returns must be among the effects of the step that asked for it, in order.
    """

    __slots__ = ("last",)

    def __init__(self, next_seq: int) -> None:
        if next_seq < 1:
            raise ValueError(f"event sequences start at 1, not {next_seq}")
        self.last = next_seq - 1  # read for every answer: a plain attribute

    def skip_to(self, next_seq: int) -> None:
        """Numbering continues above a stream that is ahead of the journal; never backwards."""
        self.last = max(self.last, next_seq - 1)

    def add(
        self,
        now: Now,
        subject: str,
        data: dict[str, Any],
        *,
        source: str = "gateway",
        symbol: str | None = None,
        brain: str | None = None,
        event_ms: int | None = None,
        ids: Ids | None = None,
    ) -> Write:
        if subject not in VOCABULARY:
            raise ValueError(f"{subject!r} is not in ipc.events.VOCABULARY")
        self.last += 1
        event = Event(
            seq=self.last,
            at_ns=now.wall_ns,
            subject=subject,
            source=source,
            symbol=symbol,
            brain=brain,
            event_ms=event_ms,
            ids=ids,
            data=data,
        )
        return Write(EventRow(event))
