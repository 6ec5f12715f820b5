"""Whether the silence of a depth stream is a quiet market (law 5). Pure.

No message applied for `depth_silence_ms` (no first one within `first_message_ms`) leads to a small snapshot. If that
agrees, the market is quiet. If it is ahead and differs, and the stream has not caught up after `compare_grace_ms`,
messages were lost: resync, and the connection is suspect. Where REST gives no answer either, the book is not served
after `unproven_ms`: it may well be exact, but nobody can say so. The next message, or an agreement, ends that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.core.depth_record import Comparison, DepthRecord, Suspicion
from gateway.core.inputs import Now
from gateway.core.market_data import Level, Snapshot
from gateway.core.market_settings import MarketSettings
from gateway.core.sequencer import Phase

_MS = 1_000_000
CONNECTION_FIRST, CONNECTION_EVERY = 3, 60
_DELIVERING = (Phase.LIVE, Phase.BRIDGING)


@dataclass(frozen=True, slots=True)
class Doubt:
    """The book is not the exchange's any more. `ids_restarted`: the exchange counts its updates anew."""

    suspicion: Suspicion
    reason: str
    detail: str
    ids_restarted: bool


class SilenceWatch:
    """Keeps `moved_ns`, `compare*`, `doubt*` and `strikes` of the records it is asked about; asks nobody itself."""

    def __init__(self, settings: MarketSettings) -> None:
        self._settings = settings

    def wants_comparison(self, now: Now, record: DepthRecord) -> bool:
        """Silent beyond its deadline, and no comparison is on its way."""
        if record.keeper.seq.phase not in _DELIVERING:
            return False
        asked = record.compare_serial is not None
        if asked and now.boot_ns - record.compare_ns < self._settings.snapshot_lost_ms * _MS:
            return False
        silent = now.boot_ns - record.moved_ns >= self._deadline_ms(record) * _MS
        if silent and record.doubt_ns is None:
            record.doubt_ns = now.boot_ns
        return silent

    def turned(self, now: Now, record: DepthRecord) -> bool:
        """Whether its last proof became too old, or there is a new one: `record.doubted` says which."""
        since_ns = record.doubt_ns
        late = since_ns is not None and now.boot_ns - since_ns > self._settings.unproven_ms * _MS
        doubted = late and record.keeper.live
        if doubted == record.doubted:
            return False
        record.doubted = doubted
        return True

    def _deadline_ms(self, record: DepthRecord) -> int:
        return self._settings.depth_silence_ms if record.seen else self._settings.first_message_ms

    def unproven(self, record: DepthRecord) -> None:
        """No proof either way: the next deadline is a tenth away, so a failing REST is asked again soon."""
        record.moved_ns += self._deadline_ms(record) * _MS // 10

    def compare(self, now: Now, record: DepthRecord, snapshot: Snapshot) -> None:
        """The small snapshot is here: agreement is proof of a quiet market; the rest is for `judge`, when it is due."""
        due_ns = now.boot_ns + self._settings.compare_grace_ms * _MS
        record.compare = Comparison(snapshot.last_id, snapshot.bids, snapshot.asks, due_ns)
        if _agrees(record, record.compare):
            record.compare = None
            record.moved_ns = now.boot_ns
            record.doubt_ns = None
            record.strikes = 0

    def judge(self, now: Now, record: DepthRecord, comparison: Comparison) -> Doubt | None:
        """The stream had time to catch up with the comparison. None: nothing is held against it (yet)."""
        record.compare = None
        keeper = record.keeper
        if keeper.seq.phase not in _DELIVERING or _agrees(record, comparison):
            record.moved_ns = now.boot_ns
            record.doubt_ns = None
            return None
        silent_ms = (now.boot_ns - record.moved_ns) // _MS
        if silent_ms < self._settings.compare_grace_ms:
            return None  # a message came while the comparison waited: the stream delivers
        behind = comparison.snapshot_id < keeper.seq.at
        if behind:
            # an old answer from a cache, or the exchange's ids started over: believed when seen twice
            record.strikes += 1
            record.moved_ns = now.boot_ns - self._deadline_ms(record) * _MS // 2
            if record.strikes < 2:
                return None
        suspicion = Suspicion(record.symbol, record.stream, silent_ms, self._deadline_ms(record), not record.seen)
        moved = f"the exchange moved from {keeper.seq.at} to {comparison.snapshot_id}"
        record.moved_ns = now.boot_ns
        record.strikes = 0
        reason = "ids_restarted" if behind else "silent"
        return Doubt(suspicion, reason, f"no message for {silent_ms} ms while {moved}", behind)

    def alone(self, now: Now, record: DepthRecord, all_of_them: Iterable[DepthRecord]) -> bool:
        """Whether the fault is this stream's and not the connection's: another live book was proven in time. A mute
        stream is asked for again; where that has not helped twice, and then every `CONNECTION_EVERY` times, a new
        connection is tried, though it costs the others their books for a moment."""
        record.mutes += 1
        if record.mutes % CONNECTION_EVERY == CONNECTION_FIRST:
            return False
        since_ns = now.boot_ns - self._settings.first_message_ms * _MS
        return any(one.live and one.seen and one.moved_ns >= since_ns for one in all_of_them if one is not record)


def _agrees(record: DepthRecord, comparison: Comparison) -> bool:
    book = record.keeper.book
    if comparison.snapshot_id == record.keeper.seq.at:
        return True
    return _same(book.bids.top(len(comparison.bids)), comparison.bids) and _same(
        book.asks.top(len(comparison.asks)), comparison.asks
    )


def _same(ours: list[Level], theirs: list[Level]) -> bool:
    """Equal by value: the two sources may write one number differently."""
    return [(float(p), float(q)) for p, q in ours] == [(float(p), float(q)) for p, q in _numbers(theirs)]


def _numbers(levels: list[Level]) -> list[Level]:
    """Levels of a small snapshot never enter a book: what is no number there equals nothing of ours."""
    try:
        for price, size in levels:
            float(price), float(size)
    except ValueError:
        return [("0", "0")]
    return levels
