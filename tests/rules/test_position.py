"""Position accounting against an independent model: a list of lots in exact fractions, average cost."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules import position
from rules.position import FLAT, Leg

Side = Literal["BUY", "SELL"]
qtys = st.decimals("0.001", "1000", places=3)
prices = st.decimals("0.01", "100000", places=2)
fills = st.lists(st.tuples(st.sampled_from(("BUY", "SELL")), qtys, prices), min_size=1, max_size=40)


class Lots:
    """Every open lot with its own price; a close takes the same part of every lot (that is average cost)."""

    def __init__(self) -> None:
        self.lots: list[tuple[Fraction, Fraction]] = []  # signed quantity, price
        self.realised = Fraction(0)

    @property
    def qty(self) -> Fraction:
        return sum((qty for qty, _ in self.lots), Fraction(0))

    @property
    def entry(self) -> Fraction:
        return sum((qty * price for qty, price in self.lots), Fraction(0)) / self.qty if self.lots else Fraction(0)

    def fill(self, side: Side, qty: Decimal, price: Decimal) -> None:
        left = Fraction(qty) * (1 if side == "BUY" else -1)
        held = self.qty
        if held * left < 0:
            part = min(Fraction(1), -left / held)
            self.realised += sum((Fraction(price) - at) * lot * part for lot, at in self.lots)
            self.lots = [(lot * (1 - part), at) for lot, at in self.lots] if part < 1 else []
            left += held * part
        if left:
            self.lots.append((left, Fraction(price)))


def close(ours: Decimal, model: Fraction, scale: Fraction) -> bool:
    return abs(Fraction(ours) - model) <= scale / 10**20


@given(fills)
def test_any_sequence_of_fills_equals_the_list_of_lots(rows: list[tuple[Side, Decimal, Decimal]]) -> None:
    leg, model = FLAT, Lots()
    turnover = Fraction(1)
    for side, qty, price in rows:
        leg = position.fill(leg, side, qty, price)
        model.fill(side, qty, price)
        turnover += Fraction(qty) * Fraction(price)
        assert Fraction(leg.qty) == model.qty
        assert close(leg.entry, model.entry, turnover)
        assert close(leg.realised, model.realised, turnover)
        assert (leg.entry == 0) == leg.flat


@given(fills, prices)
def test_realised_and_unrealised_together_are_what_the_money_says(
    rows: list[tuple[Side, Decimal, Decimal]], mark: Decimal
) -> None:
    """Cash paid and received, plus what the rest is worth: whatever the order of the fills."""
    leg = FLAT
    cash = Fraction(0)
    turnover = Fraction(1)
    for side, qty, price in rows:
        leg = position.fill(leg, side, qty, price)
        cash -= Fraction(position.signed(side, qty)) * Fraction(price)
        turnover += Fraction(qty) * (Fraction(price) + Fraction(mark))
    worth = cash + Fraction(leg.qty) * Fraction(mark)
    assert close(leg.realised + position.unrealised(leg, mark), worth, turnover)


def test_crossing_zero_closes_everything_and_opens_the_rest_at_the_fill_price() -> None:
    leg = position.fill(Leg(Decimal("0.04"), Decimal("403.99")), "SELL", Decimal("0.08"), Decimal(404))
    assert leg == Leg(Decimal("-0.04"), Decimal(404), Decimal("0.0004"))


def test_closing_exactly_leaves_nothing_but_what_was_realised() -> None:
    leg = position.fill(Leg(Decimal(-2), Decimal(100)), "BUY", Decimal(2), Decimal(90))
    assert leg == Leg(Decimal(0), Decimal(0), Decimal(20))


def test_reducing_keeps_the_entry_and_adding_averages_it() -> None:
    leg = position.fill(Leg(Decimal(4), Decimal(100)), "SELL", Decimal(1), Decimal(110))
    assert (leg.qty, leg.entry, leg.realised) == (Decimal(3), Decimal(100), Decimal(10))
    leg = position.fill(leg, "BUY", Decimal(1), Decimal(140))
    assert (leg.qty, leg.entry, leg.realised) == (Decimal(4), Decimal(110), Decimal(10))


@pytest.mark.parametrize(("qty", "price"), [("0", "1"), ("-1", "1"), ("1", "0"), ("1", "-5")])
def test_rubbish_is_refused_not_booked(qty: str, price: str) -> None:
    with pytest.raises(ValueError, match="fill needs"):
        position.fill(FLAT, "BUY", Decimal(qty), Decimal(price))


def test_hedge_legs_as_one_position_earn_what_the_legs_earn() -> None:
    legs = [Leg(Decimal(3), Decimal(100), Decimal(5)), Leg(Decimal(-1), Decimal(130), Decimal(7))]
    whole = position.net(legs)
    assert (whole.qty, whole.entry, whole.realised) == (Decimal(2), Decimal(85), Decimal(12))
    mark = Decimal(120)
    assert position.unrealised(whole, mark) == sum(position.unrealised(leg, mark) for leg in legs)


def test_a_hedge_leg_on_the_wrong_side_is_seen() -> None:
    assert position.crosses("LONG", Leg(Decimal(-1), Decimal(1)))
    assert position.crosses("SHORT", Leg(Decimal(1), Decimal(1)))
    assert not position.crosses("BOTH", Leg(Decimal(-1), Decimal(1)))
    assert not position.crosses("LONG", FLAT)


def test_adopting_keeps_what_we_realised() -> None:
    assert position.adopt(Leg(Decimal(1), Decimal(2), Decimal(3)), Decimal(5), Decimal(6)) == Leg(
        Decimal(5), Decimal(6), Decimal(3)
    )
    assert position.adopt(Leg(Decimal(1), Decimal(2), Decimal(3)), Decimal(0), Decimal(6)).entry == 0
