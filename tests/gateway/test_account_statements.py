"""Held statements: settled when our books agree, overtaken ones with them, the rest handed back in time."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core import statements
from gateway.core.account_books import Books
from gateway.core.inputs import Now
from gateway.core.statements import WAIT_NS, Statements
from gateway.core.venue_orders import AccountUpdate, OrderSnapshot, VenueBalance, VenueFill, VenuePosition

BTC, ETH = "BTCUSDT", "ETHUSDT"
MS = 1_000_000


def at(ms: int) -> Now:
    return Now(ms * MS, ms * MS)


def books() -> Books:
    held = Books()
    held.wallet_known = True
    held.adopt_wallet(VenueBalance("USDT", Decimal(1000), Decimal(1000)))
    return held


def update(wallet: str, *legs: tuple[str, str, str], reason: str = "order", ms: int = 0) -> AccountUpdate:
    rows = tuple(VenuePosition(symbol, "BOTH", Decimal(qty), Decimal(entry)) for symbol, qty, entry in legs)
    return AccountUpdate(reason, ms, ms, (VenueBalance("USDT", Decimal(wallet), Decimal(wallet)),), rows)


def buy(held: Books, qty: str, fee: str, symbol: str = BTC, trade_id: int = 1) -> None:
    order = OrderSnapshot(
        "c", 1, symbol, "BUY", "BOTH", "open", Decimal(99), Decimal(0), None, False, "entry", "b1", None, 1, None, 0
    )
    fill = VenueFill(trade_id, Decimal(qty), Decimal(100), Decimal(fee), "USDT", Decimal(0), False, 1)
    held.fill(order, fill, "USDT", order.brain)


def no_tick(symbol: str) -> Decimal:
    return Decimal(0)


def test_a_statement_waits_for_its_fill_and_is_settled_by_it() -> None:
    held = books()
    waiting = Statements(held, no_tick)
    waiting.hold(at(0), update("999.9", (BTC, "1", "100")))
    assert waiting.settle() is None
    buy(held, "1", "0.1")
    settled = waiting.settle()
    assert settled is not None
    assert settled.balances[0].wallet == Decimal("999.9")
    assert len(waiting) == 0


def test_statements_of_two_fills_that_come_before_both_are_settled_one_by_one() -> None:
    held = books()
    waiting = Statements(held, no_tick)
    waiting.hold(at(0), update("999.9", (BTC, "1", "100"), ms=1))
    waiting.hold(at(0), update("999.7", (BTC, "3", "100"), ms=2))
    buy(held, "1", "0.1")
    assert waiting.settle() == update("999.9", (BTC, "1", "100"), ms=1)
    assert len(waiting) == 1
    buy(held, "2", "0.2", trade_id=2)
    assert waiting.settle() == update("999.7", (BTC, "3", "100"), ms=2)
    assert len(waiting) == 0


def test_an_overtaken_statement_goes_with_the_one_that_agrees() -> None:
    """Both fills came before either statement was looked at."""
    held = books()
    waiting = Statements(held, no_tick)
    buy(held, "1", "0.1")
    buy(held, "2", "0.2", trade_id=2)
    waiting.hold(at(0), update("999.9", (BTC, "1", "100"), ms=1))
    assert waiting.settle() is None
    waiting.hold(at(0), update("999.7", (BTC, "3", "100"), ms=2))
    assert waiting.settle() == update("999.7", (BTC, "3", "100"), ms=2)
    assert len(waiting) == 0


def test_a_statement_of_another_leg_is_not_settled_by_the_way() -> None:
    """ETH's fill is missing though the wallet agrees (it cost nothing): it must not be forgotten."""
    held = books()
    waiting = Statements(held, no_tick)
    waiting.hold(at(0), update("1000", (ETH, "1", "100"), ms=1))
    waiting.hold(at(0), update("1000", (BTC, "1", "100"), ms=2))
    buy(held, "1", "0")
    assert waiting.settle() == update("1000", (BTC, "1", "100"), ms=2)
    assert len(waiting) == 1
    assert waiting.overdue(at(1_000)) == [update("1000", (ETH, "1", "100"), ms=1)]


def test_the_bound_is_three_units_of_the_last_digit_but_one_and_both_sides_hold() -> None:
    for wallet, agrees in (("999.90000003", True), ("999.89999997", True), ("999.90000004", False)):
        held = books()
        waiting = Statements(held, no_tick)
        buy(held, "1", "0.1")
        waiting.hold(at(0), update(wallet, (BTC, "1", "100")))
        assert (waiting.settle() is not None) == agrees, wallet


def test_entries_agree_within_a_tick_or_a_hundred_thousandth() -> None:
    for entry, tick, agrees in (("100.001", "0", True), ("100.0011", "0", False), ("100.01", "0.01", True)):
        held = books()
        waiting = Statements(held, lambda symbol, tick=tick: Decimal(tick))  # type: ignore[misc]
        buy(held, "1", "0.1")
        waiting.hold(at(0), update("999.9", (BTC, "1", entry)))
        assert (waiting.settle() is not None) == agrees, (entry, tick)


def test_time_and_number_are_bounded() -> None:
    held = books()
    waiting = Statements(held, no_tick)
    waiting.hold(at(5), update("1"))
    assert waiting.next_deadline_boot_ns() == at(5).boot_ns + WAIT_NS
    assert waiting.overdue(at(1_004)) == []
    assert waiting.overdue(at(1_005)) == [update("1")]
    for number in range(statements.CAP + 3):
        waiting.hold(at(10), update("1", ms=number))
    assert [item.event_ms for item in waiting.overdue(at(11))] == [0, 1, 2]
    assert len(waiting) == statements.CAP


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from((BTC, ETH)), st.integers(1, 5)), min_size=1, max_size=20), st.randoms())
def test_any_interleaving_that_keeps_both_orders_settles_everything(rows: list[tuple[str, int]], rng: object) -> None:
    """Fills in order, statements in order, shuffled into each other: nothing is left and nothing is overdue."""
    assert hasattr(rng, "random")
    held, truth = books(), books()
    waiting = Statements(held, no_tick)
    fills, told = list(enumerate(rows)), []
    for number, (symbol, qty) in fills:
        buy(truth, str(qty), f"0.0{qty}", symbol, number + 1)
        leg = truth.leg(symbol, "BOTH")
        told.append(update(str(truth.wallets["USDT"].wallet), (symbol, str(leg.qty), str(leg.entry)), ms=number + 1))
    while fills or told:
        if fills and (not told or rng.random() < 0.5):
            number, (symbol, qty) = fills.pop(0)
            buy(held, str(qty), f"0.0{qty}", symbol, number + 1)
        else:
            waiting.hold(at(0), told.pop(0))
        settled = waiting.settle()
        if settled is not None:
            assert settled.balances[0].wallet == held.wallets["USDT"].wallet
    assert len(waiting) == 0


def test_the_bound_grows_with_the_fills_since_the_figures_last_agreed() -> None:
    """Each fill's numbers are rounded by the exchange; a statement of three fills may be off three times as much."""
    for fills, off, agrees in ((3, "0.00000009", True), (3, "0.00000010", False), (1, "0.00000009", False)):
        held = books()
        for number in range(fills):
            buy(held, "1", "0.1", trade_id=number + 1)
        ours = held.wallets["USDT"].wallet
        assert held.wallet_agrees("USDT", ours + Decimal(off)) == agrees, (fills, off)
        held.adopt_wallet(VenueBalance("USDT", ours, ours))
        assert not held.wallet_agrees("USDT", ours + Decimal("0.00000009")), "the count begins anew"
