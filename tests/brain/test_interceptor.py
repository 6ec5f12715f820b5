"""Take profit and stop loss, both sides of each limit, at the price that would really be hit; closing until flat."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain.api import Context, ExitRules
from brain.closing import CloseOrder, Closing, Dust, ended, may_exit, next_close
from brain.interceptor import Prices, triggered
from brain.records import Record
from ipc import wire
from rules.instrument import Instrument
from tests.brain.world import Quiet, Telling, World

D = Decimal
RULES = ExitRules(D("0.05"), D("0.02"), D(20))
S = 1_000_000_000


@pytest.mark.parametrize(
    ("qty", "price", "what"),
    [
        ("1", "104.99", ""), ("1", "105", "take_profit"), ("1", "105.01", "take_profit"),
        ("1", "98.01", ""), ("1", "98", "stop_loss"), ("1", "97.99", "stop_loss"),
        ("-1", "95.01", ""), ("-1", "95", "take_profit"), ("-1", "94.99", "take_profit"),
        ("-1", "101.99", ""), ("-1", "102", "stop_loss"), ("-1", "102.01", "stop_loss"),
        ("0", "1", ""),
    ],
)  # fmt: skip
def test_both_sides_of_each_limit(qty: str, price: str, what: str) -> None:
    assert triggered(D(qty), D(100), D(price), RULES) == what


@given(st.decimals(1, 10**6, places=2), st.decimals(1, 10**6, places=2), st.sampled_from([D(1), D(-1)]))
def test_a_long_and_its_mirror_image_trigger_alike(entry: Decimal, price: Decimal, qty: Decimal) -> None:
    mirrored = 2 * entry - price
    assert triggered(qty, entry, price, RULES) == triggered(-qty, entry, mirrored, RULES)


def test_without_a_limit_nothing_triggers() -> None:
    assert triggered(D(1), D(100), D(10**9), ExitRules(None, D("0.02"))) == ""
    assert triggered(D(1), D(100), D("0.01"), ExitRules(D("0.05"), None)) == ""


def test_a_long_hits_the_bid_a_short_the_ask_and_without_a_book_the_mark() -> None:
    prices = Prices((D(99), D(101)), D(100))
    assert (prices.hit(D(1)), prices.hit(D(-1))) == (D(99), D(101))
    assert Prices(None, D(100)).hit(D(1)) == D(100)
    assert Prices(None, None).hit(D(1)) is None


# -- closing until flat ------------------------------------------------------------------------------------------

INSTRUMENT = Instrument(
    symbol="BTCUSDT", status="TRADING", base="BTC", quote="USDT", margin_asset="USDT", tick=D("0.1"), step=D("0.001"),
    market_step=D("0.001"), min_price=D("0.1"), max_price=D(10**6), min_qty=D("0.001"), max_qty=D(1000),
    market_min_qty=D("0.001"), market_max_qty=D(120), min_notional=D(50), multiplier_up=D("1.05"),
    multiplier_down=D("0.95"),
)  # fmt: skip
CLOSING = Closing(tag="t", since_ms=0, slippage_bps=D(20))
BOOK = Prices((D("60000.0"), D("60000.1")), D("60000.0"))


def an_exit(asked_ns: int = 0, *, type_: wire.OrderType = "LIMIT", state: str = "sent", filled: str = "0") -> Record:
    place = wire.Place(
        id=0, intent=wire.IntentId("b", "r1", 1), symbol="BTCUSDT", side="SELL", type=type_, qty="0.01",
        tif="IOC" if type_ == "LIMIT" else None, reduce_only=True, asked_boot_ns=asked_ns,
    )  # fmt: skip
    return Record(place=place, role="exit", boot="b", asked_ms=0, state=state, filled_qty=filled)


@pytest.mark.parametrize(
    ("qty", "order"),
    [
        ("0.0105", CloseOrder("SELL", D("0.010"), D("59880.0"))),  # 20 bps below the bid
        ("-0.01", CloseOrder("BUY", D("0.010"), D("60120.1"))),  # 60120.1002 over the ask, cut to the tick
    ],
)
def test_first_a_marketable_limit_with_bounded_slippage(qty: str, order: CloseOrder) -> None:
    assert next_close(CLOSING, D(qty), BOOK, INSTRUMENT, [], S) == order


def test_without_a_live_book_it_goes_as_market() -> None:
    assert next_close(CLOSING, D(1), Prices(None, D(60000)), INSTRUMENT, [], S) == CloseOrder("SELL", D("1.000"), None)


def test_what_the_limit_left_goes_as_market_at_once() -> None:
    after = ended(CLOSING, an_exit(state="expired", filled="0.004"), S)
    assert next_close(after, D("0.006"), BOOK, INSTRUMENT, [], S) == CloseOrder("SELL", D("0.006"), None)


def test_more_than_one_order_may_carry_goes_in_parts() -> None:
    after = ended(CLOSING, an_exit(state="expired"), S)
    assert next_close(after, D(500), BOOK, INSTRUMENT, [], S) == CloseOrder("SELL", D("120.000"), None)


def test_less_than_a_step_is_dust() -> None:
    assert next_close(CLOSING, D("0.0004"), BOOK, INSTRUMENT, [], S) == Dust(D("0.0004"))


def test_refusals_back_off_to_at_most_a_second() -> None:
    closing, waits = CLOSING, []
    for _ in range(12):
        closing = ended(closing, an_exit(state="rejected"), S)
        waits.append((closing.not_before_boot_ns - S) // 1_000_000)
    assert waits[:6] == [50, 100, 200, 400, 800, 1000] and set(waits[6:]) == {1000}
    assert next_close(closing, D(1), BOOK, INSTRUMENT, [], 2 * S - 1) is None
    assert next_close(closing, D(1), BOOK, INSTRUMENT, [], 2 * S) is not None


def test_a_market_close_that_took_nothing_backs_off_too() -> None:
    after = ended(CLOSING, an_exit(type_="MARKET", state="expired"), S)
    assert after.not_before_boot_ns > S


def test_a_back_off_of_another_boots_clock_is_ignored() -> None:
    closing = ended(CLOSING, an_exit(state="rejected"), 10**6 * S)
    assert next_close(closing, D(1), BOOK, INSTRUMENT, [], S) is not None


@pytest.mark.parametrize(("waited_ns", "may"), [(2 * S - 1, False), (2 * S, True)])
def test_no_second_exit_within_two_seconds_while_one_is_unknown(waited_ns: int, may: bool) -> None:
    exits = [an_exit(S, state="unknown")]
    assert may_exit(exits, S + waited_ns) is may
    assert (next_close(CLOSING, D(1), BOOK, INSTRUMENT, exits, S + waited_ns) is not None) is may


def test_after_a_second_unknown_exit_no_third() -> None:
    assert not may_exit([an_exit(0), an_exit(0)], 100 * S)


# -- in the runner -----------------------------------------------------------------------------------------------


class Guarded(Telling):
    """Enters 0.01 once, long or short; TP 5 %, SL 2 %."""

    side = "BUY"

    def exit_rules(self) -> ExitRules:
        return RULES

    def on_slice(self, ctx: Context, symbol: str) -> None:
        self.context = ctx
        if not ctx.state.get("entered"):
            ctx.state["entered"] = True
            ctx.place(self.side, D("0.01"), tag="in")


class GuardedShort(Guarded):
    side = "SELL"


def entered(kind: type[Guarded] = Guarded) -> World:
    world = World(kind)
    world.turns(4)
    assert abs(world.gateway.symbols["BTCUSDT"].qty) == D("0.01")
    return world


@pytest.mark.parametrize(
    ("kind", "bid", "ask", "tag"),
    [
        (Guarded, "63000.1", "70000", ""),  # entry 60000.1: only the bid counts for a long
        (Guarded, "63000.2", "70000", "interceptor.take_profit"),
        (Guarded, "58800.1", "70000", ""),
        (Guarded, "58800.0", "70000", "interceptor.stop_loss"),
        (GuardedShort, "50000", "57000.1", ""),  # entry 60000.0: only the ask counts for a short
        (GuardedShort, "50000", "57000.0", "interceptor.take_profit"),
        (GuardedShort, "50000", "61199.9", ""),
        (GuardedShort, "50000", "61200.0", "interceptor.stop_loss"),
    ],
)
def test_it_closes_at_its_limits_and_not_a_tick_before(kind: type[Guarded], bid: str, ask: str, tag: str) -> None:
    world = entered(kind)
    world.gateway.move("BTCUSDT", bid, ask)
    world.turns(6)
    closes = [place for place in world.placed() if place.tag != "in"]
    assert [place.tag for place in closes] == ([tag] if tag else [])
    if tag:
        assert (closes[0].type, closes[0].tif, closes[0].reduce_only) == ("LIMIT", "IOC", True)
        assert world.gateway.symbols["BTCUSDT"].qty == 0
        assert world.runner.desk.closings == {}


def test_while_the_book_is_not_live_the_mark_counts_and_the_close_is_market() -> None:
    world = entered()
    symbol = world.gateway.symbols["BTCUSDT"]
    world.gateway.move("BTCUSDT", "1.0", "1.1")
    symbol.book_state, symbol.mark = "resync", "60000"
    world.turns(3)
    assert len(world.placed()) == 1
    symbol.mark = "58000"
    world.turns(3)
    assert [(place.type, place.tag) for place in world.placed()][1:] == [("MARKET", "interceptor.stop_loss")]


def test_it_acts_before_any_hook_of_the_same_cut() -> None:
    class Late(Guarded):
        def on_slice(self, ctx: Context, symbol: str) -> None:
            super().on_slice(ctx, symbol)
            if ctx.closing():
                refused = ctx.buy(D("0.01"), tag="late")
                self.told.append(("late", refused.reason))

    world = World(Late)
    world.turns(4)
    world.gateway.move("BTCUSDT", "58000.0", "58000.1")
    world.turn()
    strategy = world.runner.hooks._strategy
    assert isinstance(strategy, Late) and ("late", "closing") in strategy.told


def test_a_half_filled_limit_is_followed_by_a_market_order_for_the_rest() -> None:
    world = entered()
    world.gateway.plan = ["half", "fill"]
    world.gateway.move("BTCUSDT", "58000.0", "58000.1")
    world.turns(6)
    assert [(place.type, place.qty) for place in world.placed()][1:] == [("LIMIT", "0.010"), ("MARKET", "0.005")]
    assert world.gateway.symbols["BTCUSDT"].qty == 0


def test_an_unknown_close_is_not_repeated_within_two_seconds_then_once() -> None:
    world = entered()
    world.gateway.plan = ["unknown", "unknown"]
    world.gateway.move("BTCUSDT", "58000.0", "58000.1")
    world.turns(10, ms=100)
    assert len(world.placed()) == 2
    world.turns(30, ms=100)
    assert len(world.placed()) == 3
    world.turns(60, ms=100)
    assert len(world.placed()) == 3, "no third while two are unknown"
    for key in list(world.gateway.orders)[1:]:
        world.gateway.resolve(key, "rejected")
    world.turns(6, ms=100)
    assert world.gateway.symbols["BTCUSDT"].qty == 0


def test_a_closing_begun_before_a_crash_goes_on_after_it_though_the_price_came_back() -> None:
    world = entered()
    world.gateway.plan = ["none", "reject:venue.rejected"]
    world.gateway.move("BTCUSDT", "58000.0", "58000.1")
    world.turns(4)
    world.gateway.move("BTCUSDT", "60000.0", "60000.1")
    world.crash()
    world.turns(30, ms=50)
    assert world.gateway.symbols["BTCUSDT"].qty == 0


def test_a_resting_exit_does_not_hold_a_stop_back_and_is_cancelled() -> None:
    class Resting(Guarded):
        def on_fill(self, ctx: Context, fill: object) -> None:
            if not ctx.state.get("rested"):
                ctx.state["rested"] = True
                ctx.sell(D("0.01"), D(70000), reduce_only=True, tag="rest")

    world = World(Resting)
    world.turns(6)
    assert [place.tag for place in world.placed()] == ["in", "rest"]
    world.gateway.move("BTCUSDT", "58000.0", "58000.1")
    world.turn()
    world.deliver()
    assert world.placed()[-1].tag == "interceptor.stop_loss", "in the very step that cancels"
    world.turns(6)
    states = {order.place.tag: order.state for order in world.gateway.orders.values()}
    assert states == {"in": "filled", "rest": "cancelled", "interceptor.stop_loss": "filled"}


def test_a_strategy_without_limits_is_left_alone() -> None:
    class Bare(Quiet):
        def on_slice(self, ctx: Context, symbol: str) -> None:
            if not ctx.state.get("entered"):
                ctx.state["entered"] = True
                ctx.buy(D("0.01"))

    world = World(Bare)
    world.turns(4)
    world.gateway.move("BTCUSDT", "1.0", "1.1")
    world.turns(4)
    assert len(world.placed()) == 1


def test_in_hedge_mode_closing_goes_on_until_both_legs_are_flat() -> None:
    """The net of the legs may be nothing while both are open: that is not flat."""

    class Closing(Quiet):
        def on_slice(self, ctx: Context, symbol: str) -> None:
            if not ctx.state.get("begun"):
                ctx.state["begun"] = True
                assert not ctx.close().done

    world = World(Closing)
    held = world.gateway.symbols["BTCUSDT"]
    held.legs = {"LONG": D("0.004"), "SHORT": D("-0.004")}
    held.entry = D(60000)
    world.turns(10, ms=100)
    assert held.legs == {"LONG": 0, "SHORT": 0}
    assert [(place.side, place.leg, place.qty) for place in world.placed()] == [
        ("SELL", "LONG", "0.004"), ("BUY", "SHORT", "0.004"),
    ]  # fmt: skip
    assert world.runner.desk.closings == {}
