"""A relay without sockets: followed books exact or not live, weight spared, answers kept no longer than true."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simex.market.ladder import Level
from simex.server.relay.budget import MINUTE_MS, Budget
from simex.server.relay.cache import CLOSED_MS, Answer, Cache, keep_ms
from simex.server.relay.feed import relayed
from simex.server.relay.followed import MAX_LEVELS, FollowedBook, Update
from simex.server.streams import MARKET, PUBLIC

NOW = 1_795_132_800_000


@dataclass
class Truth:
    """A book somewhere else and the stream that tells of it: ids jump, only `pu` chains."""

    rng: Random
    bids: dict[int, int] = field(default_factory=dict)
    asks: dict[int, int] = field(default_factory=dict)
    last_id: int = 1000
    sent_id: int = 1000
    past: dict[int, tuple[list[Level], list[Level]]] = field(default_factory=dict)

    def event(self) -> Update:
        first = self.last_id + self.rng.randint(1, 5)
        changes: tuple[list[Level], list[Level]] = ([], [])
        for side, changed, prices in ((self.bids, changes[0], (80, 100)), (self.asks, changes[1], (101, 120))):
            for _ in range(self.rng.randint(0, 3)):
                price, lots = self.rng.randint(*prices), self.rng.choice((0, 0, 1, 5, 9))
                changed.append((price, lots))
                if lots:
                    side[price] = lots
                else:
                    side.pop(price, None)
        self.last_id = first + self.rng.randint(0, 4)
        previous, self.sent_id = self.sent_id, self.last_id
        self.past[self.last_id] = self.levels()
        return Update(first, self.last_id, previous, *changes)

    def levels(self) -> tuple[list[Level], list[Level]]:
        return sorted(self.bids.items(), reverse=True), sorted(self.asks.items())


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    steps=st.lists(st.sampled_from(["event", "event", "event", "loss", "snap", "late", "cut"]), max_size=60),
)
def test_a_followed_book_is_exact_at_its_id_or_not_live(seed: int, steps: list[str]) -> None:
    truth, book = Truth(Random(seed)), FollowedBook()
    told: tuple[dict[int, int], dict[int, int]] = ({}, {})  # what the matching has been told
    truth.event()
    old = (truth.last_id, truth.levels())

    def tell(changes: tuple[list[Level], list[Level]] | None) -> None:
        for side, levels in zip(told, changes or ([], []), strict=True):
            for price, lots in levels:
                side[price] = lots
                if not lots:
                    del side[price]

    for step in steps:
        if step == "event":
            tell(book.update(truth.event()))
        elif step == "loss":
            truth.event()
        elif step == "cut":
            book.lost()
        elif book.wants_snapshot:
            at, levels = (truth.last_id, truth.levels()) if step == "snap" else old
            tell(book.snapshot(at, *levels))
            old = (truth.last_id, truth.levels())
        if book.live:
            assert book.top(1000) == truth.past[book.last_id]
            assert (sorted(told[0].items(), reverse=True), sorted(told[1].items())) == truth.past[book.last_id]
    book.lost()
    tell(book.update(truth.event()))
    assert book.wants_snapshot
    tell(book.snapshot(truth.last_id, *truth.levels()))
    assert book.live
    tell(book.update(truth.event()))
    assert book.live
    assert book.top(1000) == truth.levels()


def test_levels_of_a_followed_book_are_bounded_and_the_far_ones_go() -> None:
    book = FollowedBook()
    book.update(Update(1, 1, 0, [], []))
    book.snapshot(1, [(10_000, 1)], [(10_001, 1)])
    asks = [(10_002 + number, 1) for number in range(MAX_LEVELS + 50)]
    changes = book.update(Update(2, 2, 1, [], asks))
    assert changes is not None
    assert len(book.asks) == MAX_LEVELS
    assert changes[1][len(asks) :] == [(price, 0) for price, _ in asks[MAX_LEVELS - 1 :]]
    assert book.best() == ((10_000, 1), (10_001, 1))


def test_weight_is_spent_up_to_four_fifths_of_the_limit_and_anew_each_minute() -> None:
    budget = Budget(100)
    at = NOW - NOW % MINUTE_MS + 1000
    budget.spend(at, 60)
    assert budget.wait_ms(at, 20) == 0
    assert budget.wait_ms(at, 21) == MINUTE_MS - 1000
    assert budget.wait_ms(at + MINUTE_MS - 1000, 80) == 0
    budget.answered(at, 200, {"X-MBX-USED-WEIGHT-1M": "75"}, b"")
    assert budget.wait_ms(at, 6) > 0, "others on this address have used some too"
    assert budget.wait_ms(at, 5) == 0


@pytest.mark.parametrize(
    ("status", "headers", "body", "pause_ms"),
    [
        (429, {"Retry-After": "7"}, b"", 7_000),
        (429, {}, b"", 10_000),
        (418, {}, f"IP banned until {NOW + 33_000}.".encode(), 33_000),
        (418, {}, b"<html>", 120_000),
    ],
)
def test_a_refusal_is_followed_by_the_silence_it_asks_for(
    status: int, headers: dict[str, str], body: bytes, pause_ms: int
) -> None:
    budget = Budget()
    budget.answered(NOW, status, headers, body)
    assert budget.wait_ms(NOW + pause_ms - 1, 1) == 1
    assert budget.wait_ms(NOW + pause_ms, 1) == 0


def test_an_answer_is_kept_for_its_time_and_a_refusal_never() -> None:
    cache, key = Cache(), ("/fapi/v1/ticker/price", "")
    cache.put(NOW, key, Answer(200, b"x", "t"), 1000)
    found = cache.get(NOW + 999, key)
    assert found is not None
    assert found.body == b"x"
    assert cache.get(NOW + 1000, key) is None
    cache.put(NOW, key, Answer(400, b"x", "t"), 1000)
    assert cache.get(NOW, key) is None


def test_the_cache_is_bounded_in_bytes_and_the_longest_unused_goes() -> None:
    cache = Cache(max_bytes=10)
    for name in "abc":
        cache.put(NOW, (name, ""), Answer(200, b"1234", "t"), 1000)
        cache.get(NOW, ("b", ""))
    assert [name for name in "abc" if cache.get(NOW, (name, ""))] == ["b", "c"]
    cache.put(NOW, ("d", ""), Answer(200, b"x" * 11, "t"), 1000)
    assert cache.get(NOW, ("d", "")) is None
    cache.clear()
    assert cache.get(NOW, ("b", "")) is None


@pytest.mark.parametrize(
    ("path", "params", "expected"),
    [
        ("/fapi/v1/depth", {"symbol": "BTCUSDT"}, 0),
        ("/fapi/v1/klines", {"interval": "1m", "endTime": str(NOW - 180_001)}, CLOSED_MS),
        ("/fapi/v1/klines", {"interval": "1m", "endTime": str(NOW - 180_000)}, 1000),
        ("/fapi/v1/klines", {"interval": "1d", "endTime": str(NOW - 180_001)}, 1000),  # that day is not over
        ("/fapi/v1/klines", {"interval": "1m"}, 1000),
        ("/fapi/v1/aggTrades", {"endTime": str(NOW - 120_001)}, CLOSED_MS),
        ("/fapi/v1/aggTrades", {}, 200),
    ],
)
def test_what_can_still_change_is_not_kept_for_long(path: str, params: dict[str, str], expected: int) -> None:
    assert keep_ms(path, params, NOW) == expected


def test_a_known_stream_is_relayed_on_its_route_only_and_an_unknown_one_where_it_was_asked_for() -> None:
    assert relayed("btcusdt@depth@100ms", MARKET) is None
    assert relayed("btcusdt@aggTrade", PUBLIC) is None
    for route in (PUBLIC, MARKET):
        stream = relayed("btcusdt@somethingNew", route)
        assert stream is not None
        assert stream.route == route
    assert relayed("x" * 121, PUBLIC) is None
    assert relayed("a\nb", PUBLIC) is None
