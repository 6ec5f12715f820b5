"""Queue position, crossing, times in force, self-trade prevention, reduce-only ranking, replayed depth."""

from __future__ import annotations

from typing import Any

import pytest

from simex.core.api import Consumed, PublicLevels, PublicTrade
from tests.simex.core_world import ORDER, World, spec

BID, ASK = 912_499, 912_501


def fresh(*, own_visible: bool = True, **settings: Any) -> World:
    """Bids 91249.9 and 91249.8 of 5.000 each, asks 91250.1 of 1.000 and 91250.2 of 5.000."""
    world = World(spec("main", **settings), spec("other"), own_visible=own_visible)
    world.levels([(BID, 5000), (BID - 1, 5000)], [(ASK, 1000), (ASK + 1, 5000)])
    world.mark("91250")
    return world


@pytest.fixture
def world() -> World:
    return fresh()


def buy(world: World, lots: int, price: str, account: str = "", **more: str) -> str:
    world.placed(account, side="BUY", quantity=f"{lots / 1000:.3f}", price=price, **more)
    return str(more.get("newClientOrderId", ""))


def sell(world: World, lots: int, price: str, account: str = "", **more: str) -> None:
    world.placed(account, side="SELL", quantity=f"{lots / 1000:.3f}", price=price, **more)


# -- resting orders and the outside world -----------------------------------------------------------------------


def test_a_print_fills_a_resting_order_only_after_the_queue_that_stood_before_it(world: World) -> None:
    buy(world, 10, "91249.9", newClientOrderId="q")
    world.print(BID, 4999, True)
    assert world.executions() == []
    world.print(BID, 4, True)
    assert world.queried("q")["executedQty"] == "0.003"
    world.print(BID, 100, True)
    assert world.queried("q")["status"] == "FILLED"


def test_cancellations_ahead_shorten_the_queue_and_growth_behind_does_not_lengthen_it(world: World) -> None:
    buy(world, 10, "91249.9", newClientOrderId="q")
    world.levels([(BID, 3000)], [])
    world.levels([(BID, 9000)], [])
    world.print(BID, 3001, True)
    assert world.queried("q")["executedQty"] == "0.001"


def test_a_print_through_an_order_fills_it_at_its_own_price_without_queue(world: World) -> None:
    buy(world, 10, "91249.9", newClientOrderId="q")
    world.print(BID - 1, 12, True)
    fill, rest = world.trades()
    assert fill == PublicTrade("BTCUSDT", fill.trade_id, BID, 10, True, fill.time_ms, maker_is_own=True)
    assert rest == PublicTrade("BTCUSDT", fill.trade_id + 1, BID - 1, 2, True, fill.time_ms)
    row = world.queried("q")
    assert (row["status"], row["avgPrice"], row["cumQuote"]) == ("FILLED", "91249.90000", "912.49900")


def test_a_print_on_the_other_side_leaves_a_resting_order_alone(world: World) -> None:
    buy(world, 10, "91250.0", newClientOrderId="q")
    world.print(BID - 1, 100, False)
    assert world.queried("q")["executedQty"] == "0.000"


def test_an_external_level_that_crosses_a_resting_order_fills_it_as_maker(world: World) -> None:
    buy(world, 10, "91250.0", newClientOrderId="q")
    outs = world.levels([], [(ASK, 0), (912_500, 4)])
    assert world.consumed() == [Consumed("BTCUSDT", "SELL", 912_500, 4)]
    assert outs[-1] == PublicLevels("BTCUSDT", [(912_500, 6)], [(912_500, 0), (ASK, 0)])
    (update,) = world.events("ORDER_TRADE_UPDATE")
    assert (update["o"]["m"], update["o"]["l"], update["o"]["L"], update["o"]["n"]) == (
        True,
        "0.004",
        "91250",
        "0.07300000",
    )


def test_a_visible_order_is_added_to_its_level_and_taken_off_again(world: World) -> None:
    buy(world, 10, "91249.9", newClientOrderId="q")
    assert world.shown() == [PublicLevels("BTCUSDT", [(BID, 5010)], [])]
    world.levels([(BID, 4000)], [])
    assert world.shown() == [PublicLevels("BTCUSDT", [(BID, 4010)], [])]
    world.call("DELETE", ORDER, symbol="BTCUSDT", origClientOrderId="q")
    assert world.shown() == [PublicLevels("BTCUSDT", [(BID, 4000)], [])]


# -- taking -----------------------------------------------------------------------------------------------------


def test_a_market_order_sweeps_levels_best_first_and_says_what_it_consumed(world: World) -> None:
    world.placed(side="BUY", type="MARKET", quantity="1.200", newClientOrderId="m")
    assert world.consumed() == [Consumed("BTCUSDT", "SELL", ASK, 1000), Consumed("BTCUSDT", "SELL", ASK + 1, 200)]
    assert world.shown() == [PublicLevels("BTCUSDT", [], [(ASK, 0), (ASK + 1, 4800)])]
    assert world.executions() == [("NEW", "NEW"), ("TRADE", "PARTIALLY_FILLED"), ("TRADE", "FILLED")]
    assert world.queried("m")["avgPrice"] == "91250.11667"


def test_taker_meets_own_orders_of_another_account_in_time_between_external_quantity(world: World) -> None:
    sell(world, 5, "91250.1", "other", newClientOrderId="first")
    world.levels([], [(ASK, 1500)])
    sell(world, 5, "91250.1", "other", newClientOrderId="second")
    world.placed(side="BUY", type="MARKET", quantity="1.004")
    assert world.queried("first", "other")["executedQty"] == "0.004"
    assert world.queried("second", "other")["executedQty"] == "0.000"
    world.placed(side="BUY", type="MARKET", quantity="0.502")
    assert world.queried("first", "other")["status"] == "FILLED"
    assert world.queried("second", "other")["executedQty"] == "0.001"


def test_a_marketable_limit_order_takes_what_it_can_and_rests_with_the_remainder(world: World) -> None:
    buy(world, 1200, "91250.1", newClientOrderId="g")
    assert world.executions() == [("NEW", "NEW"), ("TRADE", "PARTIALLY_FILLED")]
    assert world.shown() == [PublicLevels("BTCUSDT", [(ASK, 200)], [(ASK, 0)])]
    assert [row["clientOrderId"] for row in world.open_orders()] == ["g"]


def test_ioc_expires_with_its_remainder_and_reason_two(world: World) -> None:
    buy(world, 1200, "91250.1", timeInForce="IOC", newClientOrderId="i")
    assert world.executions() == [("NEW", "NEW"), ("TRADE", "PARTIALLY_FILLED"), ("EXPIRED", "EXPIRED")]
    last = world.events("ORDER_TRADE_UPDATE")[-1]["o"]
    assert (last["z"], last["er"], last["b"], last["l"], last["t"]) == ("1.000", "2", "0", "0", 0)
    assert world.queried("i")["status"] == "EXPIRED"


def test_a_market_order_into_an_empty_book_expires_with_reason_nine(world: World) -> None:
    world.levels([], [(ASK, 0), (ASK + 1, 0)])
    body = world.placed(side="BUY", type="MARKET", quantity="0.010", newOrderRespType="RESULT")
    assert (body["status"], body["executedQty"]) == ("EXPIRED", "0.000")
    assert world.events("ORDER_TRADE_UPDATE")[-1]["o"]["er"] == "9"


def test_a_market_order_sweeps_no_further_than_the_take_bound(world: World) -> None:
    far = 958_126  # a tick above mark + 5 %
    world.levels([], [(ASK + 1, 0), (far, 9000)])
    body = world.placed(side="BUY", type="MARKET", quantity="1.100", newOrderRespType="RESULT")
    assert (body["status"], body["executedQty"]) == ("EXPIRED", "1.000")


def test_a_market_order_is_refused_when_the_best_price_is_outside_the_band(world: World) -> None:
    text = "The counterparty's best price does not meet the PERCENT_PRICE filter limit."
    world.levels([], [(ASK, 0), (ASK + 1, 0), (958_126, 9000)])
    reply = world.order(side="BUY", type="MARKET", quantity="0.010")
    assert (reply.status, reply.body) == (400, {"code": -4131, "msg": text})
    world.levels([], [(958_125, 9000)])
    assert world.order(side="BUY", type="MARKET", quantity="0.010").status == 200


def test_fill_or_kill_fills_whole_or_leaves_no_trace(world: World) -> None:
    body = world.placed(side="BUY", quantity="1.000", price="91250.1", timeInForce="FOK", newOrderRespType="RESULT")
    assert (body["status"], body["executedQty"], body["cumQty"]) == ("FILLED", "1.000", "1.000")
    reply = world.order(side="BUY", quantity="1.000", price="91250.1", timeInForce="FOK", newClientOrderId="k")
    assert isinstance(reply.body, dict)
    assert (reply.body["code"], world.last) == (-5021, [])
    assert world.call("GET", ORDER, symbol="BTCUSDT", origClientOrderId="k").body == {
        "code": -2013,
        "msg": "Order does not exist.",
    }


def test_an_acknowledgement_says_new_and_unfilled_even_when_it_is_filled_already(world: World) -> None:
    body = world.placed(side="BUY", type="MARKET", quantity="0.010")
    assert (body["status"], body["executedQty"], body["cumQty"]) == ("NEW", "0.000", "0.000")
    assert world.executions()[-1] == ("TRADE", "FILLED")


def test_a_good_till_date_order_expires_at_its_second(world: World) -> None:
    till = (world.now_ms + 700_000) // 1000 * 1000
    buy(world, 10, "91000", timeInForce="GTD", goodTillDate=str(till), newClientOrderId="d")
    world.now_ms = till - 2
    world.levels([(BID, 4000)], [])
    assert world.queried("d")["status"] == "NEW"
    world.now_ms = till
    world.mark("91250")
    assert world.executions() == [("EXPIRED", "EXPIRED")]
    assert world.queried("d")["status"] == "EXPIRED"


def test_several_good_till_dates_end_each_at_its_own_second(world: World) -> None:
    first = (world.now_ms + 700_000) // 1000 * 1000
    for name, till in (("late", first + 5000), ("early", first), ("middle", first + 2000)):
        buy(world, 10, "91000", timeInForce="GTD", goodTillDate=str(till), newClientOrderId=name)
    ended = []
    for at in (first - 1, first, first + 2000, first + 5000):
        world.now_ms = at
        world.mark("91250")
        ended.append([event["o"]["c"] for event in world.events("ORDER_TRADE_UPDATE")])
    assert ended == [[], ["early"], ["middle"], ["late"]]


@pytest.mark.parametrize(
    ("match", "price"), [("QUEUE", "91249.90"), ("OPPONENT", "91250.10"), ("OPPONENT_5", "91250.50")]
)
def test_a_price_match_takes_its_price_from_the_visible_book(world: World, match: str, price: str) -> None:
    world.levels([], [(ASK + n, 1000) for n in range(5)])
    body = world.placed(side="BUY", quantity="0.010", priceMatch=match)
    assert (body["price"], body["priceMatch"]) == (price, match)


# -- self-trade prevention --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "maker", "taker"),
    [
        ("EXPIRE_MAKER", "EXPIRED_IN_MATCH", "FILLED"),
        ("EXPIRE_TAKER", "NEW", "EXPIRED_IN_MATCH"),
        ("EXPIRE_BOTH", "EXPIRED_IN_MATCH", "EXPIRED_IN_MATCH"),
        ("NONE", "FILLED", "FILLED"),
    ],
)
def test_the_incoming_orders_mode_decides_who_expires(world: World, mode: str, maker: str, taker: str) -> None:
    sell(world, 10, "91250.0", newClientOrderId="maker", selfTradePreventionMode="EXPIRE_TAKER")
    buy(world, 10, "91250.1", newClientOrderId="taker", selfTradePreventionMode=mode)
    assert (world.queried("maker")["status"], world.queried("taker")["status"]) == (maker, taker)
    reasons = {e["o"]["er"] for e in world.events("ORDER_TRADE_UPDATE") if e["o"]["X"] == "EXPIRED_IN_MATCH"}
    assert reasons <= {"1"}
    assert (maker == "NEW") == any(row["clientOrderId"] == "maker" for row in world.open_orders())


# -- reduce-only ------------------------------------------------------------------------------------------------


def test_a_reduce_only_order_never_takes_more_than_the_position_and_its_rest_expires(world: World) -> None:
    world.placed(side="BUY", type="MARKET", quantity="0.010")
    body = world.placed(side="SELL", type="MARKET", quantity="0.030", reduceOnly="true", newOrderRespType="RESULT")
    assert (body["status"], body["executedQty"]) == ("EXPIRED", "0.010")
    assert world.events("ORDER_TRADE_UPDATE")[-1]["o"]["er"] == "4"
    assert world.position()["positionAmt"] == "0.000"


def test_a_market_close_knocks_out_the_resting_reduce_only_order_before_its_own_new(world: World) -> None:
    world.placed(side="BUY", type="MARKET", quantity="0.010")
    sell(world, 10, "92000", reduceOnly="true", newClientOrderId="tp")
    world.placed(side="SELL", type="MARKET", quantity="0.010", reduceOnly="true", newClientOrderId="close")
    seen = [(e["o"]["c"], e["o"]["x"], e["o"]["er"]) for e in world.events("ORDER_TRADE_UPDATE")]
    assert seen == [("tp", "EXPIRED", "4"), ("close", "NEW", "0"), ("close", "TRADE", "0")]


def test_a_plain_order_that_closes_the_position_expires_reduce_only_orders_after_its_fill(world: World) -> None:
    world.placed(side="BUY", type="MARKET", quantity="0.010")
    sell(world, 10, "92000", reduceOnly="true", newClientOrderId="tp")
    world.placed(side="SELL", type="MARKET", quantity="0.010", newClientOrderId="close")
    seen = [(e["o"]["c"], e["o"]["x"]) for e in world.events("ORDER_TRADE_UPDATE")]
    assert seen == [("close", "NEW"), ("close", "TRADE"), ("tp", "EXPIRED")]


def test_a_reduce_only_order_behind_claims_that_cover_the_position_is_refused_and_a_better_one_displaces(
    world: World,
) -> None:
    world.placed(side="BUY", type="MARKET", quantity="0.010")
    sell(world, 10, "92000", reduceOnly="true", newClientOrderId="near")
    worse = world.order(side="SELL", quantity="0.005", price="93000", reduceOnly="true")
    assert worse.body == {"code": -2022, "msg": "ReduceOnly Order is rejected."}
    sell(world, 10, "91500", reduceOnly="true", newClientOrderId="nearer")
    assert [row["clientOrderId"] for row in world.open_orders()] == ["nearer"]


def test_two_reduce_only_orders_may_share_the_position(world: World) -> None:
    world.placed(side="BUY", type="MARKET", quantity="0.010")
    sell(world, 4, "92000", reduceOnly="true", newClientOrderId="near")
    sell(world, 6, "93000", reduceOnly="true", newClientOrderId="far")
    assert len(world.open_orders()) == 2


@pytest.mark.parametrize(
    ("tif", "mode", "expected"),
    [
        ("IOC", "EXPIRE_TAKER", ("EXPIRED_IN_MATCH", "3", "0.005")),
        ("IOC", "EXPIRE_BOTH", ("EXPIRED_IN_MATCH", "3", "0.005")),
        ("IOC", "EXPIRE_MAKER", ("EXPIRED", "2", "0.005")),
        ("IOC", "NONE", ("FILLED", "0", "0.010")),
        ("GTC", "EXPIRE_TAKER", ("EXPIRED_IN_MATCH", "1", "0.005")),
        ("GTC", "EXPIRE_MAKER", ("PARTIALLY_FILLED", "0", "0.005")),
        ("FOK", "EXPIRE_TAKER", ("FILLED", "0", "0.010")),
    ],
)
def test_what_was_filled_before_an_own_order_was_met_stays_and_the_rest_ends_by_the_mode(
    tif: str, mode: str, expected: tuple[str, str, str]
) -> None:
    world = World()
    world.levels([(912_499, 5000)], [(912_501, 5)])
    world.mark("91250")
    sell(world, 5, "91250.2", newClientOrderId="mine")
    buy(world, 10, "91250.2", timeInForce=tif, selfTradePreventionMode=mode, newClientOrderId="t")
    update = next(e["o"] for e in reversed(world.events("ORDER_TRADE_UPDATE")) if e["o"]["c"] == "t")
    assert (update["X"], update["er"], update["z"]) == expected
    assert update["V"] == mode


def test_in_hedge_mode_closing_a_leg_is_reduce_only_by_itself() -> None:
    world = fresh(hedge=True)
    world.placed(side="BUY", type="MARKET", quantity="0.010", positionSide="LONG")
    text = {"code": -2022, "msg": "ReduceOnly Order is rejected."}
    assert world.order(side="SELL", type="MARKET", quantity="0.011", positionSide="LONG").body == text
    assert world.order(side="BUY", type="MARKET", quantity="0.001", positionSide="SHORT").body == text
    world.placed(side="SELL", type="MARKET", quantity="0.020", positionSide="SHORT")
    assert (world.position(side="LONG")["positionAmt"], world.position(side="SHORT")["positionAmt"]) == (
        "0.010",
        "-0.020",
    )
    body = world.placed(side="SELL", type="MARKET", quantity="0.010", positionSide="LONG")
    assert body["reduceOnly"] is True
    assert world.position(side="LONG")["positionAmt"] == "0.000"


# -- replay -----------------------------------------------------------------------------------------------------


def test_in_a_replay_orders_take_recorded_depth_and_leave_it_as_it_was() -> None:
    world = fresh(own_visible=False)
    for _ in range(2):
        body = world.placed(side="BUY", type="MARKET", quantity="1.100", newOrderRespType="RESULT")
        assert body["status"] == "FILLED"
        fills = [(e["o"]["L"], e["o"]["l"]) for e in world.events("ORDER_TRADE_UPDATE") if e["o"]["x"] == "TRADE"]
        assert fills == [("91250.1", "1.000"), ("91250.2", "0.100")]
        world.placed(side="SELL", type="MARKET", quantity="1.100")
    assert world.exchange.book_totals("BTCUSDT")[1] == [(ASK, 1000), (ASK + 1, 5000)]


def test_in_a_replay_one_order_never_takes_a_level_twice() -> None:
    world = fresh(own_visible=False)
    body = world.placed(side="BUY", quantity="1.100", price="91250.1", timeInForce="IOC", newOrderRespType="RESULT")
    assert (body["status"], body["executedQty"]) == ("EXPIRED", "1.000")


def test_in_a_replay_only_new_crossing_quantity_fills_a_resting_order() -> None:
    world = fresh(own_visible=False)
    buy(world, 1200, "91250.1", newClientOrderId="g")
    assert world.queried("g")["executedQty"] == "1.000"
    world.levels([], [(ASK, 900)])
    assert world.queried("g")["executedQty"] == "1.000", "a level that shrinks brings nothing new"
    world.levels([], [(ASK, 950)])
    assert world.queried("g")["executedQty"] == "1.050"
    world.print(ASK, 150, True)
    assert world.queried("g")["status"] == "FILLED"


def test_in_a_replay_own_orders_of_another_account_keep_their_place_in_the_recorded_queue() -> None:
    world = fresh(own_visible=False)
    world.levels([], [(ASK, 400)])
    sell(world, 5, "91250.1", "other")
    world.levels([], [(ASK, 1000)])
    world.placed(side="BUY", type="MARKET", quantity="0.500")
    makers = [e["o"]["l"] for e in world.events("ORDER_TRADE_UPDATE", "other")]
    takers = [e["o"]["l"] for e in world.events("ORDER_TRADE_UPDATE", "main") if e["o"]["x"] == "TRADE"]
    assert (makers, takers) == (["0.005"], ["0.400", "0.005", "0.095"])
