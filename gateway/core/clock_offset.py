"""The exchange's clock as seen from here, by CLOCK_BOOTTIME (a step of the wall clock does not move it).

A round asks for the time several times, one after the other; the sample with the smallest round trip counts, taken at
the middle of its way. What is handed out is biased into the past by half that round trip and a little more: a
timestamp may lie behind the exchange's clock by the whole receive window, ahead of it by almost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.inputs import Now, RestFailed, RestReply
from gateway.core.market_data import BadReply
from gateway.core.market_venue import MarketVenue
from gateway.core.parts import Out

_MS = 1_000_000
MARGIN_NS = 2 * _MS
ANSWER_LOST_NS = 15_000 * _MS


@dataclass(frozen=True, slots=True)
class Sample:
    """`offset_ns`: exchange time less CLOCK_BOOTTIME, good to half of `round_trip_ns`."""

    offset_ns: int
    round_trip_ns: int


class ClockOffset:
    """Keys ("links", "time", serial). `fault` is the last answer that could not be used, for the owner's log."""

    def __init__(self, venue: MarketVenue, *, every_ms: int = 300_000, samples: int = 5) -> None:
        self._venue = venue
        self._every_ns = every_ms * _MS
        self._samples = samples
        self._best: Sample | None = None
        self._round: list[Sample] = []
        self._left = 0
        self._asked_ns: int | None = None
        self._serial = 0
        self._due_ns: int | None = None
        self.fault: str | None = None

    @property
    def known(self) -> bool:
        return self._best is not None

    @property
    def round_trip_ms(self) -> float | None:
        return None if self._best is None else self._best.round_trip_ns / 1e6

    def offset_ms(self, now: Now) -> float | None:
        """How far the exchange's clock is ahead of this machine's wall clock."""
        if self._best is None:
            return None
        return (now.boot_ns + self._best.offset_ns - now.wall_ns) / 1e6

    def server_ms(self, now: Now) -> int:
        """Never ahead of the exchange; the wall clock until a first answer came (see `known`)."""
        if self._best is None:
            return now.wall_ms
        bias_ns = self._best.round_trip_ns // 2 + MARGIN_NS
        return (now.boot_ns + self._best.offset_ns - bias_ns) // _MS

    def measure(self, now: Now) -> Out:
        """Start a round now (start of the process, every few minutes, after a timestamp was refused)."""
        self._left = self._samples
        self._round = []
        self._due_ns = now.boot_ns + self._every_ns
        return self._ask(now)

    def on_tick(self, now: Now) -> Out:
        if self._asked_ns is not None and now.boot_ns - self._asked_ns > ANSWER_LOST_NS:
            self.fault = "no answer to a time request"
            self._asked_ns = None
            self._finish(now)
        if self._due_ns is not None and self._asked_ns is None and now.boot_ns >= self._due_ns:
            return self.measure(now)
        return []

    def on_rest(self, now: Now, reply: RestReply | RestFailed) -> Out:
        if reply.key[2] != self._serial or self._asked_ns is None:
            return []
        asked_ns, self._asked_ns = self._asked_ns, None
        try:
            if isinstance(reply, RestFailed):
                raise BadReply(f"server time: no answer ({reply.reason[:300]})")
            server_ns = self._venue.parse_time(reply.status, reply.body) * _MS
        except BadReply as bad:
            self.fault = str(bad)
            self._left = 0
        else:
            middle_ns = (asked_ns + now.boot_ns) // 2
            self._round.append(Sample(server_ns - middle_ns, now.boot_ns - asked_ns))
            self._left -= 1
        if self._left > 0:
            return self._ask(now)
        self._finish(now)
        return []

    def _finish(self, now: Now) -> None:
        self._left = 0
        if self._round:
            self._best = min(self._round, key=lambda sample: sample.round_trip_ns)
        else:  # keep what was known, ask again soon
            self._due_ns = now.boot_ns + min(self._every_ns, 5_000 * _MS)

    def _ask(self, now: Now) -> Out:
        self._serial += 1
        self._asked_ns = now.boot_ns
        return [self._venue.server_time(("links", "time", self._serial))]

    def next_deadline_boot_ns(self) -> int | None:
        return self._due_ns if self._asked_ns is None else None
