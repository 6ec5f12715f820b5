"""Stream commands on open connections: in pieces, paced, and known until they are answered. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.effects import SendFrame
from gateway.core.inputs import Now
from gateway.core.link_lines import Line
from gateway.core.market_settings import LinkSettings
from gateway.core.market_venue import MarketVenue
from gateway.core.parts import Out

MAX_UNANSWERED = 1_000  # of a connection that answers none: the oldest count as answered


class Commands:
    def __init__(self, settings: LinkSettings, venue: MarketVenue) -> None:
        self._settings = settings
        self._venue = venue
        self._number = 0

    def subscribe(self, line: Line, streams: Sequence[str]) -> None:
        size = self._settings.streams_per_command
        for start in range(0, len(streams), size):
            command = tuple(streams[start : start + size])
            if command not in line.commands:
                line.commands.append(command)

    def flush(self, now: Now, line: Line) -> Out:
        """One command at a time: the exchange closes a connection that sends more than ten messages a second."""
        if line.opened_ns is None or not line.commands or now.boot_ns < line.command_ns:
            return []
        line.command_ns = now.boot_ns + 1_000_000_000 // self._settings.commands_per_second
        self._number += 1
        line.unanswered[self._number] = None
        if len(line.unanswered) > MAX_UNANSWERED:
            del line.unanswered[next(iter(line.unanswered))]
        return [SendFrame(line.conn, self._venue.subscribe(self._number, line.commands.popleft()))]

    @staticmethod
    def answered(line: Line, number: int | None) -> None:
        """A command of ours came back, whatever it says."""
        if number is not None:
            line.unanswered.pop(number, None)
