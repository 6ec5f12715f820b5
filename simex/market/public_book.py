"""The book that everybody sees, and the chains of update ids of its depth streams.

On USDⓈ-M one id counter serves all symbols, so ids jump between the events of one symbol, and only `pu` chains: each
stream speed has a chain of its own. A snapshot takes an id of its own too, which lies inside the range of the next
event of every open stream: a client always finds the event with `U <= lastUpdateId <= u`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from simex.market.ladder import Ladder, Level


class UpdateIds:
    """The exchange-wide counter. It jumps by seeded small steps: the updates of markets nobody watches here."""

    def __init__(self, start: int, rng: Random) -> None:
        self._last = start
        self._rng = rng

    def next(self) -> int:
        """A new id, larger than all before."""
        self._last += self._rng.randint(1, 40)
        return self._last


@dataclass(frozen=True, slots=True)
class Diff:
    """One diff-depth event: ids, engine time, and the absolute levels that changed, best first."""

    first_id: int
    last_id: int
    previous_id: int
    time_ms: int
    bids: list[Level]
    asks: list[Level]


@dataclass(slots=True)
class _Chain:
    """What one depth stream has yet to tell."""

    previous_id: int
    first_id: int | None = None
    bids: dict[int, int] = field(default_factory=dict)
    asks: dict[int, int] = field(default_factory=dict)


def _unwatched(_book: "PublicBook") -> None:
    """Nobody records what the book tells."""


class PublicBook:
    """All visible levels of one symbol with the id and engine time of its last change.

    `watch` is called whenever the book has told somebody its state: an event of a stream, a snapshot.
    """

    def __init__(self, ids: UpdateIds, now_ms: int) -> None:
        self._ids = ids
        self.bids = Ladder(+1)
        self.asks = Ladder(-1)
        self.last_id = ids.next()
        self.time_ms = now_ms
        self._chains: dict[str, _Chain] = {}
        self.watch: Callable[[PublicBook], None] = _unwatched

    def apply(self, now_ms: int, bids: list[Level], asks: list[Level]) -> None:
        """Absolute levels changed, under one new id."""
        for price, lots in bids:
            self.bids.set(price, lots)
        for price, lots in asks:
            self.asks.set(price, lots)
        self._advance(now_ms)
        for chain in self._chains.values():
            chain.bids.update(bids)
            chain.asks.update(asks)

    def snapshot(self, now_ms: int, limit: int) -> tuple[int, list[Level], list[Level]]:
        """`lastUpdateId` and the best `limit` levels a side. Takes an id, so that the next event spans it."""
        self._advance(now_ms)
        self.watch(self)
        return self.last_id, self.bids.top(limit), self.asks.top(limit)

    def top(self, count: int) -> tuple[list[Level], list[Level]]:
        """The best `count` levels a side."""
        return self.bids.top(count), self.asks.top(count)

    def best(self) -> tuple[Level, Level]:
        """Best bid and ask as (ticks, lots); (0, 0) for an empty side."""
        return (self.bids.at(0) if len(self.bids) else (0, 0)), (self.asks.at(0) if len(self.asks) else (0, 0))

    def open_chain(self, name: str) -> None:
        """Start a depth stream: its first event follows the book as it is now."""
        self._chains.setdefault(name, _Chain(self.last_id))

    def close_chain(self, name: str) -> None:
        """Nobody listens to this stream any more."""
        self._chains.pop(name, None)

    def flush(self, name: str) -> Diff | None:
        """The next event of an open stream, or None if nothing has happened. KeyError if it is not open."""
        chain = self._chains[name]
        if chain.first_id is None:
            return None
        diff = Diff(
            chain.first_id, self.last_id, chain.previous_id, self.time_ms,
            sorted(chain.bids.items(), reverse=True), sorted(chain.asks.items()),
        )  # fmt: skip
        self._chains[name] = _Chain(self.last_id)
        self.watch(self)
        return diff

    def _advance(self, now_ms: int) -> None:
        self.last_id = self._ids.next()
        self.time_ms = now_ms
        for chain in self._chains.values():
            if chain.first_id is None:
                chain.first_id = self.last_id
