"""Where the far-away order lies: always on the tick and the step, never nearer than 5 %, never below a minimum."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc.slices import InstrumentSlice
from ipc.wire import Side
from scripts.test_order import far_away
from tests.ops.pictures import head


def instrument(tick: str, step: str, min_qty: str, min_notional: str) -> InstrumentSlice:
    fields: dict[str, Any] = {
        "status": "TRADING", "base": "B", "quote": "USDT", "margin_asset": "USDT", "tick": tick, "step": step,
        "market_step": step, "min_qty": min_qty, "max_qty": "1000", "market_min_qty": min_qty,
        "market_max_qty": "100", "min_price": tick, "max_price": "9999999", "min_notional": min_notional,
        "multiplier_up": "1.05", "multiplier_down": "0.95",
    }  # fmt: skip
    return InstrumentSlice(**head(symbol="X"), **fields)


def test_a_buy_lies_below_and_a_sell_above() -> None:
    btc = instrument("0.10", "0.001", "0.001", "50")
    assert far_away("BUY", Decimal("61687.40"), btc, None) == (Decimal("58603.00"), Decimal("0.001"))
    assert far_away("SELL", Decimal("61687.50"), btc, None) == (Decimal("64771.90"), Decimal("0.001"))


@given(
    side=st.sampled_from(["BUY", "SELL"]),
    cents=st.integers(100, 10_000_000),
    tick=st.sampled_from(["0.01", "0.05", "0.10"]),
    step=st.sampled_from(["0.001", "0.1", "1"]),
    min_notional=st.sampled_from(["5", "20", "50"]),
)
def test_on_the_grid_far_enough_and_large_enough(
    side: Side, cents: int, tick: str, step: str, min_notional: str
) -> None:
    best = Decimal(cents) / 100
    found = far_away(side, best, instrument(tick, step, step, min_notional), None)
    assert found.price % Decimal(tick) == 0
    assert found.qty % Decimal(step) == 0
    assert found.qty >= Decimal(step)
    assert found.price * found.qty >= Decimal(min_notional)
    away = (best - found.price if side == "BUY" else found.price - best) / best
    assert Decimal("0.05") <= away <= Decimal("0.05") + Decimal(tick) / best
    if found.qty > Decimal(step):  # and no larger than it must be
        assert found.price * (found.qty - Decimal(step)) < Decimal(min_notional)


def test_a_quantity_asked_for_is_taken_or_refused_by_name() -> None:
    btc = instrument("0.10", "0.001", "0.001", "50")
    assert far_away("BUY", Decimal(60_000), btc, Decimal("0.002")).qty == Decimal("0.002")
    for qty in ("0.0005", "0.0015"):
        with pytest.raises(ValueError, match=r"takes 0\.001 or more, in steps of 0\.001"):
            far_away("BUY", Decimal(60_000), btc, Decimal(qty))
