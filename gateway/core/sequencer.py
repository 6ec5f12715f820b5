"""Continuity of one symbol's depth stream: which message may be applied to which book (reference section 2.3).

A pure table over (phase, where the message stands), apart from the book. Positions are update ids: in BRIDGING that
of the snapshot, in LIVE that of the last applied message.

While not LIVE, messages are buffered as one unbroken chain: a break inside the buffer throws away what lies before it
(no snapshot could join the two). At `max_buffered` messages, or `max_levels` levels in them (one message of a wild
market has thousands), the oldest are dropped: a snapshot older than what is left is then too old, and another is
fetched. Nothing at or behind `floor` (the position last served on this connection) is
buffered, and no snapshot from before it is accepted: never an older book over a newer one.

A message far ahead of the stream would make all later ones look old, and no snapshot could ever join it. So `STRAYS`
messages that chain among themselves behind it are believed against it, unless the position moved on meanwhile.

Around a planned hand-over (`overlap`) two connections deliver the same stream, perhaps cut into messages at other ids.
Levels are absolute, so a message that begins at or before our position and ends behind it joins exactly: then every
one of these counts, whichever connection brought it, and what lies behind is a repetition and never a stray.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import Enum, auto

from gateway.core.market_data import Diff

STRAYS = 3


class Phase(Enum):
    DOWN = auto()  # no connection behind it, or no such symbol
    COLLECTING = auto()  # buffering; a snapshot is wanted
    BRIDGING = auto()  # a snapshot is held; the message that joins it to the stream is awaited
    LIVE = auto()


class Place(Enum):
    BEHIND = auto()  # all of it is already in what we hold
    JOINS = auto()  # exactly the next one
    BEYOND = auto()  # something between it and us is missing


class Step(Enum):
    IGNORE = auto()
    BUFFER = auto()
    DROP = auto()
    APPLY = auto()
    REFETCH = auto()  # the snapshot is too old for the stream
    GAP = auto()


RULES: dict[tuple[Phase, Place], tuple[Step, Phase]] = {
    (Phase.DOWN, Place.BEHIND): (Step.IGNORE, Phase.DOWN),
    (Phase.DOWN, Place.JOINS): (Step.IGNORE, Phase.DOWN),
    (Phase.DOWN, Place.BEYOND): (Step.IGNORE, Phase.DOWN),
    (Phase.COLLECTING, Place.BEHIND): (Step.DROP, Phase.COLLECTING),
    (Phase.COLLECTING, Place.JOINS): (Step.BUFFER, Phase.COLLECTING),
    (Phase.COLLECTING, Place.BEYOND): (Step.BUFFER, Phase.COLLECTING),
    (Phase.BRIDGING, Place.BEHIND): (Step.DROP, Phase.BRIDGING),
    (Phase.BRIDGING, Place.JOINS): (Step.APPLY, Phase.LIVE),
    (Phase.BRIDGING, Place.BEYOND): (Step.REFETCH, Phase.COLLECTING),
    (Phase.LIVE, Place.BEHIND): (Step.DROP, Phase.LIVE),
    (Phase.LIVE, Place.JOINS): (Step.APPLY, Phase.LIVE),
    (Phase.LIVE, Place.BEYOND): (Step.GAP, Phase.COLLECTING),
}


class Buffer(deque[Diff]):
    """Messages, oldest first; at either bound the oldest go, but never the newest."""

    def __init__(self, max_messages: int, max_levels: int) -> None:
        super().__init__()
        self._max_messages = max_messages
        self._max_levels = max_levels
        self.levels = 0

    def append(self, diff: Diff) -> None:
        super().append(diff)
        self.levels += len(diff.bids) + len(diff.asks)
        while len(self) > 1 and (len(self) > self._max_messages or self.levels > self._max_levels):
            oldest = self.popleft()
            self.levels -= len(oldest.bids) + len(oldest.asks)

    def extend(self, diffs: Iterable[Diff]) -> None:
        for diff in diffs:
            self.append(diff)

    def clear(self) -> None:
        super().clear()
        self.levels = 0


class Sequencer:
    """`phase`, `at` (position) and the buffer. The caller applies to the book what `take` and `join` tell it to."""

    __slots__ = (
        "_stray_at", "_stray_id", "_strays", "at", "buffer", "floor", "leaving", "overlap", "phase", "snapshot_id",
    )  # fmt: skip

    def __init__(self, max_buffered: int = 4_000, max_levels: int = 200_000) -> None:
        self.phase = Phase.DOWN
        self.at = 0
        self.floor = 0
        self.snapshot_id = 0
        self.buffer = Buffer(max_buffered, max_levels)
        self.overlap = False
        self.leaving = False
        self._strays = 0
        self._stray_id = 0
        self._stray_at = 0

    def place(self, diff: Diff) -> Place:
        """Where a message stands, by the futures rule of the phase."""
        if self.phase is Phase.LIVE:
            return self._behind_or_beyond(diff, self.at)
        if self.phase is Phase.BRIDGING:
            if diff.last_id < self.at:  # strictly: a message ending exactly at the snapshot is the bridge
                return Place.BEHIND
            return Place.JOINS if diff.first_id <= self.at or diff.prev_id <= self.at else Place.BEYOND
        last = self.buffer[-1] if self.buffer else None
        if last is None:
            return Place.BEHIND if diff.last_id <= self.floor else Place.BEYOND
        return self._behind_or_beyond(diff, last.last_id)

    def _behind_or_beyond(self, diff: Diff, at: int) -> Place:
        if diff.prev_id == at:
            return Place.JOINS
        if diff.last_id <= at:
            return Place.BEHIND
        return Place.JOINS if self.overlap and diff.prev_id < at else Place.BEYOND

    def take(self, diff: Diff) -> Step:
        """Judge one message, move to the next phase and keep the message where that phase will need it."""
        place = self.place(diff)
        if not self.overlap and (self.phase is Phase.LIVE or (self.phase is Phase.COLLECTING and self.buffer)):
            place = self._doubted(diff, place)
        step, phase = RULES[self.phase, place]
        if step is Step.APPLY:
            self.at = diff.last_id
            if self.leaving:
                self.overlap = self.leaving = False
        elif step is Step.BUFFER:
            if place is Place.BEYOND:
                self.buffer.clear()
            self.buffer.append(diff)
        elif step is Step.REFETCH or step is Step.GAP:
            if step is Step.GAP:
                self.floor = self.at if diff.last_id > self.at else diff.prev_id
            self.buffer.clear()
            self.buffer.append(diff)
        self.phase = phase
        return step

    def _doubted(self, diff: Diff, place: Place) -> Place:
        """The place of a message: behind what we hold, unless it is the last of `STRAYS`."""
        if place is not Place.BEHIND:
            self._strays = 0
            return place
        at = self.at if self.phase is Phase.LIVE else self.buffer[-1].last_id
        chained = diff.prev_id == self._stray_id and at == self._stray_at
        self._strays = self._strays + 1 if chained else 1
        self._stray_id, self._stray_at = diff.last_id, at
        if self._strays < STRAYS:
            return place
        self._strays = 0
        return Place.BEYOND

    def overlapping(self, on: bool) -> None:
        """Two connections deliver the stream, or one again: then one more message may begin before our position, for
        the one that is left may be cut into messages at other ids than the one that is gone."""
        self.leaving = self.overlap and not on
        self.overlap = self.overlap or on

    def connect(self) -> None:
        """A (new) connection: positions of the old one bind nothing."""
        self.collect(floor=0)
        self.buffer.clear()

    def collect(self, floor: int) -> None:
        """Start over from a new snapshot, keeping what is buffered."""
        self.floor = floor
        self.at = 0
        self.phase = Phase.COLLECTING

    def disconnect(self) -> None:
        self.phase = Phase.DOWN
        self.buffer.clear()
        self.at = 0

    def accepts_snapshot(self, snapshot_id: int) -> bool:
        return self.phase is Phase.COLLECTING and snapshot_id >= self.floor

    def hold_snapshot(self, snapshot_id: int) -> None:
        """The snapshot is in the book; the buffer is now replayed message by message through `take`."""
        self.at = snapshot_id
        self.snapshot_id = snapshot_id
        self.phase = Phase.BRIDGING
