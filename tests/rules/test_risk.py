"""Risk checks: both sides of every limit."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules import risk
from rules.risk import Limits, RateBucket, Standing

D = Decimal
LIMITS = Limits(max_order_notional=D(1000), max_position_notional=D(3000), price_band=D("0.02"))


@pytest.mark.parametrize(
    ("state", "role", "privileged", "code"),
    [
        ("running", "entry", False, None), ("running", "close", False, None),
        ("reduce_only", "entry", False, "risk.reduce_only"), ("reduce_only", "close", False, None),
        ("cancel_only", "entry", False, "risk.cancel_only"), ("cancel_only", "close", False, "risk.cancel_only"),
        ("cancel_only", "close", True, None), ("cancel_only", "entry", True, "risk.cancel_only"),
        ("halted", "close", False, "risk.halted"), ("halted", "close", True, None),
        ("halted", "entry", True, "risk.halted"),
    ],
)  # fmt: skip
def test_states_bind_by_role(state: str, role: risk.Role, privileged: bool, code: str | None) -> None:
    refused = risk.check_state(state, role, privileged=privileged)
    assert (refused.code if refused else None) == code


def test_the_strictest_state_binds() -> None:
    assert risk.strictest("running", "cancel_only", "reduce_only") == "cancel_only"
    assert risk.is_stricter("halted", "cancel_only") and not risk.is_stricter("running", "running")


@pytest.mark.parametrize(("qty", "allowed"), [("10", True), ("10.001", False)])
def test_order_notional_at_its_limit(qty: str, allowed: bool) -> None:
    assert (risk.check_order_notional(LIMITS, D(qty), D(100)) is None) is allowed


@pytest.mark.parametrize(("qty", "allowed"), [("30", True), ("30.001", False)])
def test_position_notional_at_its_limit(qty: str, allowed: bool) -> None:
    assert (risk.check_position_notional(LIMITS, D(qty), D(100)) is None) is allowed


@pytest.mark.parametrize(
    ("side", "price", "allowed"),
    [("BUY", "102", True), ("BUY", "102.1", False), ("BUY", "1", True), ("SELL", "98", True), ("SELL", "97.9", False),
     ("SELL", "500", True)],
)  # fmt: skip
def test_the_price_band_has_one_side(side: risk.Side, price: str, allowed: bool) -> None:
    assert (risk.check_price_band(LIMITS, side, D(price), D(100)) is None) is allowed


def test_no_limit_is_no_limit() -> None:
    free = Limits(max_order_notional=None, max_position_notional=None, price_band=None)
    assert risk.check_order_notional(free, D(10**9), D(10**9)) is None
    assert risk.check_position_notional(free, D(10**9), D(10**9)) is None
    assert risk.check_price_band(free, "BUY", D(10**9), D(1)) is None


def entry(side: risk.Side, remaining: str, leg: risk.Leg = "BOTH") -> Standing:
    return Standing(side, leg, False, D(remaining))


def close(side: risk.Side, remaining: str, leg: risk.Leg = "BOTH") -> Standing:
    return Standing(side, leg, True, D(remaining))


def test_worst_position_counts_entries_as_filled_and_exits_as_not() -> None:
    standing = [entry("BUY", "2"), close("SELL", "5"), entry("SELL", "4"), entry("BUY", "9", "LONG")]
    assert risk.worst_position(D(5), "BUY", "BOTH", standing, D(1)) == 8
    assert risk.worst_position(D(5), "SELL", "BOTH", standing, D(1)) == 0, "5 long less 4 and 1 is still not short"
    assert risk.worst_position(D(-5), "SELL", "BOTH", standing, D(1)) == 10
    assert risk.worst_position(D(-3), "BUY", "BOTH", standing, D(2)) == 1, "what crosses zero counts beyond it"


def test_closable_is_the_position_less_what_other_exits_claim() -> None:
    assert risk.closable(D(5), "SELL", "BOTH", []) == 5
    assert risk.closable(D(5), "SELL", "BOTH", [close("SELL", "2"), entry("SELL", "1")]) == 3
    assert risk.closable(D(5), "SELL", "BOTH", [close("SELL", "7")]) == 0
    assert risk.closable(D(5), "BUY", "BOTH", []) == 0
    assert risk.closable(D(-5), "BUY", "BOTH", [close("BUY", "1")]) == 4
    assert risk.closable(D(0), "BUY", "BOTH", []) == 0


S = 1_000_000_000


def test_a_burst_then_the_rate() -> None:
    bucket = RateBucket(25, 30)
    assert [bucket.take(S) for _ in range(30)] == [0] * 30
    assert bucket.take(S) == 40_000_000
    assert bucket.take(S + 39_999_999) == 1
    assert bucket.take(S + 40_000_000) == 0


def test_patience_lends_what_can_leave_by_the_deadline() -> None:
    bucket = RateBucket(25, 30)
    granted = sum(bucket.take(S, patience_ns=S) == 0 for _ in range(100))
    assert granted == 30 + 25


@given(st.lists(st.integers(0, 200_000_000), min_size=1, max_size=200))
def test_no_second_ever_sees_more_than_burst_and_rate(gaps: list[int]) -> None:
    bucket, at, grants = RateBucket(25, 30), S, []
    for gap in gaps:
        at += gap
        if bucket.take(at) == 0:
            grants.append(at)
    for first in grants:
        assert sum(first <= grant < first + S for grant in grants) <= 30 + 25


def test_the_refusal_says_how_long_to_wait() -> None:
    bucket = RateBucket(1, 1)
    limits = Limits(orders_per_s=1, orders_burst=1)
    assert risk.check_rate(bucket, limits, S) is None
    refused = risk.check_rate(bucket, limits, S + 1)
    assert refused is not None and refused.detail == {"wait_ms": 1000}
