"""Streams that missed a deadline: the event, the log line, what is shown of them until they speak."""

from __future__ import annotations

from typing import Any

from gateway.core.inputs import Now
from gateway.core.market_context import MarketContext
from gateway.core.parts import Out

MAX_MUTE = 100  # remembered by name, to be shown; further ones are events only
HINT = (
    "accepted but silent: no message since the subscription. This stream belongs to the route /{family}; on another "
    "route, or under a name that does not exist, the exchange accepts it and stays mute. Check the {family} address in "
    "the configuration (venue.{family})"
)


class SilentStreams:
    """`mute` maps a stream whose first message is still missing to its family."""

    def __init__(self, context: MarketContext) -> None:
        self._context = context
        self.mute: dict[str, str] = {}

    def tell(self, now: Now, stream: str, silent_ms: int, deadline_ms: int, family: str, *, first: bool) -> Out:
        """The event for a stream that missed its deadline; a first message that never came names the route."""
        data: dict[str, Any] = {"stream": stream, "silent_ms": silent_ms, "deadline_ms": deadline_ms}
        if first:
            data |= {"route": family, "hint": HINT.format(family=family)}
            if len(self.mute) < MAX_MUTE:
                self.mute[stream] = family
        event = self._context.events.add(now, "stream.silent", data)
        fields = {name: value for name, value in data.items() if name != "stream"}
        return [event, *self._context.notices.say(now, "warning", "stream.silent", stream, **fields)]

    def spoke(self, stream: str) -> None:
        if self.mute:
            self.mute.pop(stream, None)
