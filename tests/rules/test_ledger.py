"""A brain's books: sums of fills, fees by asset, funding; nothing else moves them."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from rules import ledger
from rules.ledger import EMPTY

money = st.decimals("-100", "100", places=8)
rows = st.lists(st.tuples(money, money, st.sampled_from(("USDT", "BNB"))), max_size=30)


@given(rows)
def test_a_ledger_is_the_sum_of_its_fills_in_any_order(fills: list[tuple[Decimal, Decimal, str]]) -> None:
    forward = backward = EMPTY
    for realised, fee, asset in fills:
        forward = ledger.book_fill(forward, realised, fee, asset)
    for realised, fee, asset in reversed(fills):
        backward = ledger.book_fill(backward, realised, fee, asset)
    assert forward.fills == len(fills)
    assert forward.realised == sum((r for r, _, _ in fills), Decimal(0)) == backward.realised
    for name in ("USDT", "BNB"):
        total = sum((fee for _, fee, asset in fills if asset == name), Decimal(0))
        assert forward.fee(name) == total == backward.fee(name)


def test_a_fee_nobody_stated_is_none() -> None:
    book = ledger.book_fill(EMPTY, Decimal(1), None, None)
    assert (book.fees, book.fills, book.realised) == ((), 1, Decimal(1))


def test_funding_is_kept_apart_from_profit() -> None:
    book = ledger.book_funding(ledger.book_funding(EMPTY, Decimal("-0.5")), Decimal("0.2"))
    assert (book.funding, book.realised, book.fills) == (Decimal("-0.3"), Decimal(0), 0)
