"""The book and the sequencer against plain models: nothing wrong is ever served, whatever arrives in whatever order."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core.book import MAX_LEVELS, MAX_TEXTS, NEAR, NEAR_HIGH, BadLevel, Book
from gateway.core.book_keeper import BookKeeper, Change
from gateway.core.market_data import Diff, Level, Snapshot
from gateway.core.sequencer import RULES, Phase, Place, Sequencer, Step

ODD_TEXTS = [
    "",
    "-1",
    "-0.5",
    "nan",
    "NaN",
    "inf",
    "1e5",
    "1_0",
    " 1",
    "1 ",
    "+1",
    "0x1",
    "1.2.3",
    ".5",
    "5.",
    "１",
    "--",
]


def change(first: int, last: int, prev: int, bids: list[Level] | None = None, asks: list[Level] | None = None) -> Diff:
    return Diff(symbol="X", first_id=first, last_id=last, prev_id=prev, event_ms=last, bids=bids or [], asks=asks or [])


def shot(last: int, bids: list[Level] | None = None, asks: list[Level] | None = None) -> Snapshot:
    return Snapshot(last_id=last, bids=bids or [("10.0", "1")], asks=asks or [("11.0", "1")])


def keeper_at(last: int, *, bids: list[Level] | None = None, asks: list[Level] | None = None) -> BookKeeper:
    """A live keeper whose position is `last`."""
    keeper = BookKeeper()
    keeper.connect()
    assert keeper.take_snapshot(shot(last, bids, asks), 0) is Change.NONE
    assert keeper.take(change(last - 5, last, last - 6), 0) is Change.LIVE
    return keeper


class TestBook:
    def test_equal_prices_written_differently_are_one_level_and_the_newest_text_is_served(self) -> None:
        book = Book()
        book.load([("0.2546", "5")], [], limit=1000)
        book.apply([("0.25460", "7.0")], [])
        assert book.top(5) == ([("0.25460", "7.0")], [])

    @pytest.mark.parametrize("zero", ["0", "0.000", "0.00000000", "00"])
    def test_a_quantity_of_zero_removes_by_value(self, zero: str) -> None:
        book = Book()
        book.load([("1.5", "5"), ("1.4", "1")], [], limit=1000)
        book.apply([("1.50", zero)], [])
        assert book.top(5)[0] == [("1.4", "1")]

    def test_removing_a_level_that_is_not_held_changes_nothing(self) -> None:
        book = Book()
        book.load([("1.5", "5")], [("1.6", "1")], limit=1000)
        book.apply([("1.2", "0.000")], [("9", "0")])
        assert book.top(5) == ([("1.5", "5")], [("1.6", "1")])

    @pytest.mark.parametrize("text", [*ODD_TEXTS, "1234567890123456", "0.1234567890123456"])
    def test_a_price_or_quantity_no_exchange_can_mean_is_refused_on_either_side(self, text: str) -> None:
        for bids, asks in (
            ([(text, "1")], []), ([], [(text, "1")]), ([("1", text)], []), ([], [("1", text)])
        ):  # fmt: skip
            with pytest.raises(BadLevel):
                Book().apply(bids, asks)

    def test_a_price_of_zero_is_refused_and_a_quantity_of_zero_is_not(self) -> None:
        with pytest.raises(BadLevel):
            Book().apply([("0.00", "1")], [])
        Book().apply([("0.01", "0.00")], [])

    def test_fifteen_digits_are_told_apart(self) -> None:
        book = Book()
        book.apply([("12345.6789012345", "1"), ("12345.6789012346", "2")], [])
        assert [price for price, _ in book.top(5)[0]] == ["12345.6789012346", "12345.6789012345"]

    def test_at_the_bound_the_farthest_levels_go_and_the_known_range_ends_there(self) -> None:
        book = Book()
        book.apply([], [(str(price), "1") for price in range(1, MAX_TEXTS + 1)])
        assert len(book.asks.top(MAX_TEXTS + 1)) == MAX_TEXTS
        assert book.asks.exact_to(MAX_TEXTS)
        book.apply([], [(str(MAX_TEXTS + 1), "1")])
        kept = MAX_LEVELS * 3 // 4
        assert [price for price, _ in book.asks.top(MAX_TEXTS)] == [str(price) for price in range(1, kept + 1)]
        assert book.asks.exact_to(kept)
        assert not book.asks.exact_to(kept + 1)
        assert book.asks.edge_level() == (str(kept), "1")

    def test_at_the_bound_texts_not_in_use_are_forgotten_and_the_levels_stay(self) -> None:
        book = Book()
        book.load([("5", "1"), ("4", "2")], [("6", "1")], limit=1000)
        for start in range(10, 2 * MAX_TEXTS, 5_000):
            prices = range(start, start + 5_000)
            book.apply([], [(str(price), "1") for price in prices])
            book.apply([], [(f"{price}.0", "0") for price in prices])
        assert book.top(5) == ([("5", "1"), ("4", "2")], [("6", "1")])
        assert book.asks.exact_to(10**6)

    def test_a_cut_snapshot_is_known_to_its_last_level_only(self) -> None:
        book = Book()
        book.load([("3", "1"), ("2", "1")], [("4", "1")], limit=2)
        assert book.bids.exact_to(2)
        assert not book.bids.exact_to(3)
        assert book.asks.exact_to(3), "a side with fewer levels than the limit is complete"
        book.apply([("1", "1")], [])
        assert not book.bids.exact_to(3), "what lies below the snapshot's range is not known"

    def test_pages_follow_one_another_without_hole_or_repeat(self) -> None:
        book = Book()
        book.load([(str(price), "1") for price in range(100, 0, -1)], [], limit=1000)
        seen: list[str] = []
        behind: str | None = None
        while page := book.bids.page(behind, 7):
            seen += [price for price, _ in page]
            behind = page[-1][0]
        assert seen == [str(price) for price in range(100, 0, -1)]

    @given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 4), st.integers(0, 3)), max_size=200), st.data())
    def test_it_equals_a_plain_dict(self, changes: list[tuple[int, int, int]], data: st.DataObject) -> None:
        book, model = Book(), dict[Decimal, Decimal]()
        batch: list[Level] = []
        for price, size, padding in changes:
            text = f"{price / 10:.{1 + padding}f}"
            batch.append((text, f"{size}.{'0' * (padding + 1)}"))
            if size:
                model[Decimal(text)] = Decimal(size)
            else:
                model.pop(Decimal(text), None)
            if data.draw(st.booleans()):
                book.apply([], batch)
                batch = []
        book.apply([], batch)
        shown = [(Decimal(price), Decimal(size)) for price, size in book.top(1000)[1]]
        assert shown == sorted(model.items())

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.tuples(st.integers(0, 3), st.integers(1, NEAR_HIGH)), min_size=1, max_size=12), st.integers(0, 9)
    )
    def test_it_stays_equal_while_levels_cross_the_border_of_what_is_held_sorted(
        self, moves: list[tuple[int, int]], gap: int
    ) -> None:
        """The market walks away from and back into the levels held unsorted, by blocks of any size."""
        book, model = Book(), dict[int, int]()
        start = [(str(price), "1") for price in range(1_000, 1_000 - 3 * NEAR, -1)]
        book.load(start, [], limit=10_000)
        model.update((int(price), 1) for price, _ in start)
        for number, (kind, width) in enumerate(moves):
            best = max(model, default=500)
            if kind == 0:  # the best levels vanish
                changes = [(price, 0) for price in sorted(model, reverse=True)[:width]]
            elif kind == 1:  # better ones appear
                changes = [(best + 1 + gap + step, number + 1) for step in range(width)]
            elif kind == 2:  # levels near the border change
                changes = [(best - NEAR + 4 - step, (number + step) % 2) for step in range(min(width, 8))]
            else:  # far ones do
                changes = [(best - NEAR_HIGH - 2 * step, number % 2) for step in range(width)]
            changes = [(price, size) for price, size in changes if price > 0]
            book.apply([(str(price), str(size)) for price, size in changes], [])
            for price, size in changes:
                if size:
                    model[price] = size
                else:
                    model.pop(price, None)
            shown = [(int(price), int(size)) for price, size in book.top(20)[0]]
            assert shown == sorted(model.items(), reverse=True)[:20]
            assert book.bids.known == len(model)
        everything = [(int(price), int(size)) for price, size in book.top(10_000)[0]]
        assert everything == sorted(model.items(), reverse=True)


class TestBridge:
    """The first message after a snapshot L, at both sides of every limit (reference section 2.3)."""

    @pytest.mark.parametrize(
        ("first", "last", "prev", "expected"),
        [
            (90, 99, 89, Change.NONE),  # u < L: stale
            (90, 100, 89, Change.LIVE),  # u == L is the bridge
            (90, 101, 89, Change.LIVE),
            (100, 105, 99, Change.LIVE),  # U == L
            (101, 105, 100, Change.LIVE),  # the stream began exactly behind L: pu == L
            (101, 105, 99, Change.LIVE),  # pu < L < U: nothing lies between
            (102, 105, 101, Change.REFETCH),  # something between L and it is missing
            (101, 101, 100, Change.LIVE),
            (103, 105, 100, Change.LIVE),  # ids jump: only pu says what lies between
        ],
    )
    def test_first_message(self, first: int, last: int, prev: int, expected: Change) -> None:
        keeper = BookKeeper()
        keeper.connect()
        keeper.take_snapshot(shot(100), 0)
        assert keeper.take(change(first, last, prev), 0) is expected
        assert keeper.live is (expected is Change.LIVE)

    @pytest.mark.parametrize(
        ("first", "last", "prev", "expected"),
        [
            (101, 105, 100, Change.APPLIED),
            (101, 105, 99, Change.BROKE),
            (102, 105, 101, Change.BROKE),
            (95, 100, 94, Change.NONE),  # repeated
            (95, 99, 94, Change.NONE),  # late
        ],
    )
    def test_next_message(self, first: int, last: int, prev: int, expected: Change) -> None:
        keeper = keeper_at(100)
        assert keeper.take(change(first, last, prev), 0) is expected
        assert keeper.live is (expected is not Change.BROKE)

    def test_recorded_case_where_no_message_satisfies_the_spot_rule(self) -> None:
        keeper = BookKeeper()
        keeper.connect()
        keeper.take(change(5123107853791, 5123107856276, 5123107853766), 0)
        assert keeper.take_snapshot(shot(5123107856276), 0) is Change.LIVE

    def test_all_buffered_messages_are_stale_keeps_the_snapshot(self) -> None:
        keeper = BookKeeper()
        keeper.connect()
        keeper.take(change(80, 85, 79), 0)
        assert keeper.take_snapshot(shot(100), 0) is Change.NONE
        assert keeper.seq.phase is Phase.BRIDGING

    def test_a_snapshot_older_than_the_buffer_is_asked_for_again_and_the_buffer_is_kept(self) -> None:
        keeper = BookKeeper()
        keeper.connect()
        keeper.take(change(110, 115, 105), 0)
        keeper.take(change(116, 120, 115), 0)
        assert keeper.take_snapshot(shot(100), 0) is Change.REFETCH
        assert keeper.wants_snapshot
        assert keeper.take_snapshot(shot(112), 0) is Change.LIVE
        assert keeper.seq.at == 120

    def test_a_break_inside_the_buffer_throws_away_what_lies_before_it(self) -> None:
        keeper = BookKeeper()
        keeper.connect()
        keeper.take(change(101, 105, 100), 0)
        keeper.take(change(111, 115, 110), 0)
        assert keeper.take_snapshot(shot(103), 0) is Change.REFETCH, "103 joins only the part before the break"
        assert not keeper.live
        assert keeper.take_snapshot(shot(112), 0) is Change.LIVE

    def test_one_message_far_ahead_of_the_stream_does_not_keep_the_book_down(self) -> None:
        keeper = keeper_at(100)
        assert keeper.take(change(9_000_001, 9_000_005, 9_000_000), 0) is Change.BROKE
        assert keeper.take(change(101, 105, 100), 0) is Change.NONE
        assert keeper.take(change(106, 110, 105), 0) is Change.NONE
        assert keeper.take_snapshot(shot(107), 0) is Change.REFETCH, "two messages are not enough to disbelieve it"
        assert keeper.take(change(111, 115, 110), 0) is Change.NONE
        assert keeper.take_snapshot(shot(113), 0) is Change.LIVE
        assert keeper.take(change(116, 120, 115), 0) is Change.APPLIED

    def test_an_id_far_too_high_in_the_chain_is_noticed_by_what_follows(self) -> None:
        keeper = keeper_at(100)
        assert keeper.take(change(101, 9_000_005, 100), 0) is Change.APPLIED, "nothing tells it from a good one yet"
        assert keeper.take(change(106, 110, 105), 0) is Change.NONE
        assert keeper.take(change(111, 115, 110), 0) is Change.NONE
        assert keeper.take(change(116, 120, 115), 0) is Change.BROKE
        assert keeper.take_snapshot(shot(118), 0) is Change.LIVE
        assert keeper.take(change(121, 125, 120), 0) is Change.APPLIED

    def test_late_messages_that_do_not_chain_leave_the_buffer_alone(self) -> None:
        keeper = BookKeeper()
        keeper.connect()
        keeper.take(change(111, 115, 110), 0)
        for first in (91, 101, 91, 101, 91):
            keeper.take(change(first, first + 4, first - 1), 0)
        assert keeper.take_snapshot(shot(113), 0) is Change.LIVE

    def test_at_the_bound_of_the_buffer_the_oldest_message_is_dropped(self) -> None:
        keeper = BookKeeper(max_buffered=2)
        keeper.connect()
        for at in (100, 110, 120):
            keeper.take(change(at + 1, at + 10, at), 0)
        assert keeper.take_snapshot(shot(105), 0) is Change.REFETCH
        assert keeper.take_snapshot(shot(115), 0) is Change.LIVE
        assert keeper.seq.at == 130

    def test_a_snapshot_from_before_the_gap_is_never_taken(self) -> None:
        keeper = keeper_at(100)
        assert keeper.take(change(120, 125, 119), 0) is Change.BROKE
        assert keeper.take_snapshot(shot(99), 0) is Change.REFETCH
        assert keeper.take_snapshot(shot(121), 0) is Change.LIVE

    def test_a_late_message_after_a_gap_does_not_take_the_book_back_in_time(self) -> None:
        keeper = keeper_at(100)
        keeper.invalidate("bad_frame")
        keeper.take(change(90, 100, 89), 0)
        assert keeper.take_snapshot(shot(95), 0) is Change.REFETCH
        assert not keeper.live

    def test_a_snapshot_nobody_asked_for_does_not_touch_a_live_book(self) -> None:
        keeper = keeper_at(100)
        keeper.take(change(101, 105, 100, bids=[("10.5", "2")]), 0)
        assert keeper.take_snapshot(shot(90), 0) is Change.NONE
        assert keeper.book.top(1)[0] == [("10.5", "2")]

    @pytest.mark.parametrize(("first", "last", "prev"), [(106, 105, 100), (101, 105, 105), (101, 105, 106)])
    def test_ids_that_contradict_themselves_break_the_book(self, first: int, last: int, prev: int) -> None:
        keeper = keeper_at(100)
        assert keeper.take(change(first, last, prev), 0) is Change.BROKE
        assert keeper.broke is not None
        assert keeper.broke.reason == "bad_ids"

    def test_every_phase_and_place_has_a_rule(self) -> None:
        assert set(RULES) == {(phase, place) for phase in Phase for place in Place}

    def test_nothing_is_taken_without_a_connection(self) -> None:
        sequencer = Sequencer()
        assert sequencer.take(change(1, 2, 0)) is Step.IGNORE
        assert not sequencer.accepts_snapshot(10)


class TestSpoiled:
    def test_a_crossed_book_is_thrown_away(self) -> None:
        keeper = keeper_at(100)
        assert keeper.take(change(101, 105, 100, bids=[("11.0", "1")]), 0) is Change.BROKE
        assert keeper.broke is not None
        assert keeper.broke.reason == "crossed"
        assert keeper.top(5) == ([], [])

    @pytest.mark.parametrize("text", ODD_TEXTS)
    def test_a_bad_level_is_thrown_away_with_its_book(self, text: str) -> None:
        keeper = keeper_at(100)
        assert keeper.take(change(101, 105, 100, bids=[(text, "1")]), 0) is Change.BROKE
        assert keeper.broke is not None
        assert keeper.broke.reason == "bad_level"

    @pytest.mark.parametrize("levels", [[("-1", "1")], [("12.0", "1")]])
    def test_a_snapshot_with_a_bad_level_or_crossed_is_not_used(self, levels: list[Level]) -> None:
        keeper = BookKeeper()
        keeper.connect()
        assert keeper.take_snapshot(shot(100, bids=levels), 0) is Change.REFETCH
        assert keeper.wants_snapshot

    def test_best_levels_beyond_the_snapshots_range_are_not_served(self) -> None:
        keeper = BookKeeper(depth=2, limit=2)
        keeper.connect()
        keeper.take_snapshot(shot(100, bids=[("10", "1"), ("9", "1")], asks=[("11", "1")]), 0)
        assert keeper.take(change(101, 105, 100, bids=[("8", "1")]), 0) is Change.LIVE
        assert keeper.take(change(106, 110, 105, bids=[("10", "0")]), 0) is Change.BROKE
        assert keeper.broke is not None
        assert keeper.broke.reason == "range"


class Exchange(RuleBasedStateMachine):
    """A true book at the exchange, its messages in a queue, and a keeper that gets them spoiled in every way."""

    def __init__(self) -> None:
        super().__init__()
        self.truth: dict[str, dict[int, int]] = {"b": {}, "a": {}}
        self.at = 10
        self.states: dict[int, tuple[list[tuple[int, int]], list[tuple[int, int]]]] = {}
        self.queue: list[Diff] = []
        self.sent: list[Diff] = []
        self.keeper = BookKeeper(depth=3, limit=100)
        self.keeper.connect()
        self.highest = 0
        self._note()

    def _note(self) -> None:
        self.states[self.at] = (
            sorted(self.truth["b"].items(), reverse=True),
            sorted(self.truth["a"].items()),
        )

    @rule(
        changes=st.lists(st.tuples(st.sampled_from("ba"), st.integers(1, 20), st.integers(0, 3)), max_size=4),
        width=st.integers(0, 3),
        jump=st.integers(0, 2),
    )
    def move(self, changes: list[tuple[str, int, int]], width: int, jump: int) -> None:
        """The market changes; bids live below 100, asks above."""
        previous = self.at
        first = self.at + 1 + jump
        self.at = first + width
        sides: dict[str, list[Level]] = {"b": [], "a": []}
        for side, offset, size in changes:
            price = 100 - offset if side == "b" else 100 + offset
            sides[side].append((str(price), str(size)))
            if size:
                self.truth[side][price] = size
            else:
                self.truth[side].pop(price, None)
        self.queue.append(change(first, self.at, previous, sides["b"], sides["a"]))
        self._note()

    def _deliver(self, diff: Diff) -> None:
        self.sent.append(diff)
        self.keeper.take(diff, 0)

    @precondition(lambda self: self.queue)
    @rule()
    def deliver(self) -> None:
        self._deliver(self.queue.pop(0))

    @precondition(lambda self: self.queue)
    @rule()
    def lose(self) -> None:
        self.queue.pop(0)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        self.keeper.take(data.draw(st.sampled_from(self.sent[-5:])), 0)

    @precondition(lambda self: len(self.queue) > 1)
    @rule()
    def swap(self) -> None:
        second = self.queue.pop(1)
        self._deliver(second)

    @precondition(lambda self: self.queue)
    @rule()
    def spoil(self) -> None:
        diff = self.queue.pop(0)
        self.keeper.take(change(diff.first_id, diff.last_id, diff.prev_id, [("-1", "1")], diff.asks), 0)

    @rule(back=st.integers(0, 3))
    def snapshot(self, back: int) -> None:
        """A REST answer: of now, or an old one from a cache."""
        at = sorted(self.states)[max(0, len(self.states) - 1 - back)]
        bids, asks = ([(str(price), str(size)) for price, size in side] for side in self.states[at])
        self.keeper.take_snapshot(Snapshot(last_id=at, bids=bids, asks=asks), 0)

    @rule()
    def reconnect(self) -> None:
        self.keeper.disconnect("closed")
        self.queue.clear()
        self.keeper.connect()
        self.highest = 0

    @invariant()
    def what_is_live_is_exact_at_its_own_id_and_never_goes_back(self) -> None:
        if not self.keeper.live:
            assert self.keeper.top(5) == ([], [])
            return
        at = self.keeper.seq.at
        assert at >= self.highest
        self.highest = at
        bids, asks = self.keeper.top(100)
        shown = ([(int(p), int(q)) for p, q in bids], [(int(p), int(q)) for p, q in asks])
        assert shown == self.states[at]


TestExchange = Exchange.TestCase
TestExchange.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
