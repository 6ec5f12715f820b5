"""Depth chains and snapshots: a client that follows the documented rule always ends with the exact book."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from simex.market.public_book import PublicBook, UpdateIds
from simex.market.replay_book import ReplayBook
from simex.market.scale import Scale
from simex.server import frames
from tests.simex.book_client import BookClient

SCALE = Scale.of(Decimal("0.1"), Decimal("0.001"), 2, 3)
LEVELS = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 5)), max_size=4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("apply"), LEVELS, LEVELS),
        st.tuples(st.just("flush"), st.sampled_from(["fast", "slow"]), st.none()),
        st.tuples(st.just("snapshot"), st.none(), st.none()),
    ),
    max_size=60,
)


def new_book() -> PublicBook:
    return PublicBook(UpdateIds(1000, Random(7)), 0)


def event_of(book: PublicBook, chain: str) -> dict[str, Any] | None:
    """The next event of a chain as a client would decode it."""
    import json

    diff = book.flush(chain)
    return None if diff is None else json.loads(frames.depth("BTCUSDT", SCALE, 5, diff))


def shown(book: PublicBook) -> tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]:
    """The book as decimals."""
    sides = book.bids.top(1000), book.asks.top(1000)
    bids, asks = ({Decimal(SCALE.price(p)): Decimal(SCALE.qty(q)) for p, q in side} for side in sides)
    return bids, asks


@settings(max_examples=300, deadline=None)
@given(before=LEVELS, steps=STEPS)
def test_any_interleaving_of_updates_flushes_and_snapshots_bridges_and_chains(
    before: list[tuple[int, int]], steps: list[tuple[str, Any, Any]]
) -> None:
    book = new_book()
    book.apply(1, before, [])
    clients = {"fast": BookClient(), "slow": BookClient()}
    for chain in clients:
        book.open_chain(chain)
    for what, one, other in [("snapshot", None, None), *steps, ("flush", "fast", None), ("flush", "slow", None)]:
        if what == "apply":
            book.apply(2, one, [(price + 100, lots) for price, lots in other])
        elif what == "flush":
            event = event_of(book, one)
            if event is not None:
                clients[one].event(event)
        else:
            last_id, bids, asks = book.snapshot(3, 1000)
            rows = [[[SCALE.price(price), SCALE.qty(lots)] for price, lots in side] for side in (bids, asks)]
            for client in clients.values():
                client.snapshot({"lastUpdateId": last_id, "bids": rows[0], "asks": rows[1]})
    for client in clients.values():
        assert (client.bids, client.asks) == shown(book)
        assert client.u == book.last_id


def test_ids_jump_and_a_chain_knows_only_its_own_past() -> None:
    book = new_book()
    book.open_chain("fast")
    book.open_chain("slow")
    book.apply(1, [(10, 1)], [])
    first = book.flush("fast")
    book.apply(2, [(10, 2)], [])
    second, slow = book.flush("fast"), book.flush("slow")
    assert first is not None
    assert second is not None
    assert slow is not None
    assert second.previous_id == first.last_id
    assert second.first_id > first.last_id + 1, "ids of other symbols lie between"
    assert slow.previous_id == first.previous_id
    assert (slow.first_id, slow.last_id) == (first.first_id, second.last_id)
    assert slow.bids == [(10, 2)]
    assert book.flush("fast") is None


def test_a_replay_book_takes_waiting_diffs_from_the_snapshot_on() -> None:
    book = ReplayBook(has_snapshot=True)
    assert book.diff(5, 1, [(9, 9)], []) is False
    assert book.diff(8, 2, [(10, 3)], [(12, 1)]) is False
    book.snapshot(8, 2, [(10, 1), (9, 1)], [(11, 1)])
    assert book.top(5) == ([(10, 3), (9, 1)], [(11, 1), (12, 1)])
    assert book.diff(7, 3, [(10, 0)], []) is False
    assert book.diff(9, 4, [(10, 0)], []) is True
    assert book.best() == ((9, 1), (11, 1))
    assert book.last_id == 9
