"""The transition table and the tally of fills: any order of arrival ends in the same state."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import NamedTuple

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.orders import ACCEPTED, CLOSED, INPUTS, STATES, TABLE, Progress, Trade, advance, mermaid

QTY = Decimal("0.010")
ZERO = Decimal(0)
RANK = {state: rank for rank, state in enumerate(STATES)}
TARGET = {
    "released": "sent", "silence": "unknown", "refused": "rejected", "working": "open", "partial": "partially_filled",
    "full": "filled", "cancelled": "cancelled", "expired": "expired",
}  # fmt: skip


class Said(NamedTuple):
    """One piece of evidence: its input, the cumulative quantity it states, and its trade."""

    input: str
    cumulative: Decimal = ZERO
    trade: Trade | None = None


def test_the_table_is_total_and_every_transition_is_a_join() -> None:
    """Independent of the written table: a state is left only for one that outranks it. So inputs commute."""
    assert set(TABLE) == set(STATES)
    for state in STATES:
        assert set(TABLE[state]) == set(INPUTS)
        for input_ in INPUTS:
            expected = max(state, TARGET[input_], key=RANK.__getitem__)
            assert advance(state, input_) == expected, (state, input_)


def test_the_diagram_shows_every_change_of_the_table_and_no_other() -> None:
    lines = [line.strip() for line in mermaid().splitlines()]
    assert lines[:2] == ["stateDiagram-v2", "[*] --> queued"]
    drawn = set()
    for line in lines[2:]:
        if "[*]" in line:
            continue
        edge, _, inputs = line.partition(": ")
        before, after = edge.split(" --> ")
        drawn |= {(before, input_, after) for input_ in inputs.split(", ")}
    assert drawn == {
        (state, input_, after) for state, row in TABLE.items() for input_, after in row.items() if after != state
    }
    assert {line.split(" ")[0] for line in lines if line.endswith("--> [*]")} == CLOSED


def life(fills: list[int], end: str | None) -> list[Said]:
    """What the exchange says of an order of 10 units: accepted, fills, an end; as reply, stream and query say it."""
    said = [Said("working"), Said("working")]
    total = 0
    for number, units in enumerate(fills):
        total += units
        trade = Trade(100 + number, Decimal(units) / 1000, Decimal(60000 + number))
        said.append(Said("full" if total == 10 else "partial", Decimal(total) / 1000, trade))
    if end is not None and total < 10:
        said.append(Said(end, Decimal(total) / 1000))
        said.append(Said(end, Decimal(total) / 1000))  # the reply and the event, or a later query
    return said


def tell(evidence: list[Said]) -> Progress:
    progress = Progress(qty=QTY, state="sent")
    filled = ZERO
    for said in evidence:
        progress.apply(said.input, said.cumulative, said.trade)
        assert filled <= progress.filled <= QTY, "filled never shrinks nor exceeds"
        filled = progress.filled
    return progress


def outcome(progress: Progress) -> tuple[object, ...]:
    return progress.state, progress.traded, progress.quote, frozenset(progress.trades), progress.reported


def test_every_interleaving_of_a_short_life_ends_the_same() -> None:
    """All orders of arrival of: reply, partial fill, cancel event, cancel reply; and of a full fill in two trades."""
    for evidence in (life([4], "cancelled"), life([4], "expired"), life([4, 6], None), life([], "cancelled")):
        ends = {outcome(tell(list(order))) for order in itertools.permutations(evidence)}
        assert len(ends) == 1, ends


lives = st.lists(st.integers(1, 5), max_size=5).filter(lambda fills: sum(fills) <= 10)


@given(lives, st.sampled_from([None, "cancelled", "expired"]), st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_any_order_with_repeats_and_doubts_ends_the_same(fills: list[int], end: str | None, random: object) -> None:
    """Repeats of anything, and silence or a refusal claimed at any moment, change nothing in the end."""
    evidence = life(fills, end)
    expected = outcome(tell(evidence))
    shuffled = evidence + [random.choice(evidence) for _ in range(4)]  # type: ignore[attr-defined]
    shuffled += [Said("silence"), Said("refused"), Said("released")]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert outcome(tell(shuffled)) == expected


@given(lives, st.sampled_from(["cancelled", "expired"]), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_an_order_is_not_closed_before_its_reported_trades_are_known(
    fills: list[int], end: str, random: object
) -> None:
    """The end comes first, the trades late: until the last of them the order counts as open."""
    evidence = life(fills, end)
    ends = [said for said in evidence if said.input == end or said.input == "full"]
    trades = [said for said in evidence if said.trade is not None]
    random.shuffle(trades)  # type: ignore[attr-defined]
    progress = Progress(qty=QTY, state="sent")
    for said in ends:
        progress.apply(said.input, said.cumulative)
    for index, said in enumerate(trades):
        assert not progress.closed and progress.missing > 0, index
        progress.apply(said.input, said.cumulative, said.trade)
    assert progress.closed == bool(ends)
    assert progress.missing == 0


def test_a_trade_counts_once() -> None:
    progress = Progress(qty=QTY, state="open")
    trade = Trade(7, Decimal("0.004"), Decimal(60000))
    assert progress.apply("partial", Decimal("0.004"), trade).new_trade
    assert not progress.apply("partial", Decimal("0.004"), trade).new_trade
    assert progress.traded == Decimal("0.004")
    assert progress.avg_price == Decimal(60000)
    assert progress.remaining == Decimal("0.006")


def test_more_than_its_quantity_is_told_and_not_shown() -> None:
    progress = Progress(qty=QTY, state="open")
    assert not progress.apply("full", QTY, Trade(1, QTY, Decimal(1))).over
    assert progress.apply("full", QTY, Trade(2, Decimal("0.001"), Decimal(1))).over
    assert progress.filled == QTY and progress.traded == Decimal("0.011")


def test_a_queued_order_that_is_dropped_was_never_accepted() -> None:
    for end in ("cancelled", "expired"):
        progress = Progress(qty=QTY)
        assert progress.apply(end).state == end
        assert end in ACCEPTED  # the word alone proves nothing: callers look at what the exchange said


def test_progress_survives_the_journal() -> None:
    progress = tell(life([4, 3], "cancelled"))
    again = msgspec.json.decode(msgspec.json.encode(progress), type=Progress)
    assert outcome(again) == outcome(progress)
