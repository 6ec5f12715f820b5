"""Amending resting orders: what changes, what it costs, what is refused, what cancels, and its history."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from simex.core.api import Json, Reply
from simex.core.instrument import default_instrument
from tests.simex.core_world import ORDER, START_MS, World, refusal, spec
from tests.simex.test_payloads_wire import wire

DAY_MS = 86_400_000


@pytest.fixture
def world() -> World:
    world = World(spec("main", balances={"USDT": Decimal(5000)}), spec("b"))
    world.levels([(912_499, 5000)], [(912_501, 5000)])
    world.mark("91250")
    return world


def place(world: World, client_id: str, **params: str) -> Json:
    full = {"side": "BUY", "quantity": "0.010", "price": "91240", "newClientOrderId": client_id, **params}
    return world.placed(**full)


def amend(world: World, client_id: str, account: str = "", **params: str) -> Reply:
    full = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.010", "price": "91240", **params}
    return world.call("PUT", ORDER, account, origClientOrderId=client_id, **full)


def code(reply: Reply) -> Any:
    assert isinstance(reply.body, dict)
    return reply.body["code"]


AMEND_REPLY = (
    '{"orderId":8886774001,"symbol":"BTCUSDT","pair":"BTCUSDT","status":"NEW","clientOrderId":"b1-macd-0001",'
    '"modifyId":7,"price":"91240.00","origQty":"0.012","executedQty":"0","cumQty":"0","timeInForce":"GTC",'
    '"type":"LIMIT","reduceOnly":false,"closePosition":false,"side":"BUY","positionSide":"BOTH","stopPrice":"0",'
    '"workingType":"CONTRACT_PRICE","priceProtect":false,"origType":"LIMIT","priceMatch":"NONE",'
    '"selfTradePreventionMode":"EXPIRE_MAKER","goodTillDate":0,"updateTime":1795132800400}'
)
HISTORY_REPLY = (
    '[{"amendmentId":88867740010001,"symbol":"BTCUSDT","pair":"BTCUSDT","orderId":8886774001,'
    '"clientOrderId":"b1-macd-0001","time":1795132800400,"amendment":{"price":{"before":"91250.00",'
    '"after":"91240.00"},"origQty":{"before":"0.010","after":"0.012"},"count":1,"modifyId":7}}]'
)
AMEND_EVENT = (
    '{"e":"ORDER_TRADE_UPDATE","T":1795132800400,"E":1795132800400,"o":{"s":"BTCUSDT","c":"b1-macd-0001","S":"BUY",'
    '"o":"LIMIT","f":"GTC","q":"0.012","p":"91240","ap":"0","sp":"0","x":"AMENDMENT","X":"NEW","i":8886774001,"M":"7",'
    '"l":"0","z":"0","L":"0","n":"0","N":"USDT","T":1795132800400,"t":0,"b":"1094.88","a":"0","m":false,"R":false,'
    '"wt":"CONTRACT_PRICE","ot":"LIMIT","ps":"BOTH","cp":false,"rp":"0","pP":false,"si":0,"ss":0,'
    '"V":"EXPIRE_MAKER","pm":"NONE","gtd":0,"er":"0"}}'
)


def test_an_amendment_is_answered_announced_and_remembered_byte_for_byte() -> None:
    world = World(spec("main", balances={"USDT": Decimal(5000)}))
    world.placed(side="BUY", quantity="0.010", price="91250", newClientOrderId="b1-macd-0001")
    world.now_ms = START_MS + 400
    reply = amend(world, "b1-macd-0001", quantity="0.012", modifyId="7")
    assert (reply.status, wire(reply.body), reply.order_count) == (200, AMEND_REPLY, 1)
    assert [wire(event) for event in world.events()] == [AMEND_EVENT]
    rows = world.get("/fapi/v1/orderAmendment", symbol="BTCUSDT", orderId="8886774001")
    assert wire(rows) == HISTORY_REPLY


def test_without_a_modify_id_none_is_echoed_anywhere(world: World) -> None:
    place(world, "a")
    reply = amend(world, "a", quantity="0.012")
    assert isinstance(reply.body, dict)
    assert list(reply.body) == [key for key in json.loads(AMEND_REPLY) if key != "modifyId"]
    assert "M" not in world.events()[0]["o"]
    (row,) = world.get("/fapi/v1/orderAmendment", symbol="BTCUSDT", origClientOrderId="a")
    assert "modifyId" not in row["amendment"]


@pytest.mark.parametrize("new", [{"quantity": "0.011"}, {"quantity": "0.009"}, {"price": "91239"}])
def test_any_change_loses_the_place_in_the_queue(world: World, new: dict[str, str]) -> None:
    place(world, "first")
    place(world, "second")
    amend(world, "first", **new)
    amend(world, "first", quantity="0.012")
    world.print(912_400, 4, True)
    assert [event["o"]["c"] for event in world.events("ORDER_TRADE_UPDATE")] == ["second"]


def test_the_filled_part_counts_in_the_new_total(world: World) -> None:
    place(world, "a")
    world.print(912_400, 4, True)
    amend(world, "a", quantity="0.005", price="91230")
    (event,) = world.events()
    assert [event["o"][k] for k in ("x", "X", "q", "z", "l", "ap", "b")] == [
        "AMENDMENT", "PARTIALLY_FILLED", "0.005", "0.004", "0", "91240", "91.23",
    ]  # fmt: skip
    world.print(912_300, 9, True)
    assert world.executions() == [("TRADE", "FILLED")]
    assert (world.queried("a")["executedQty"], world.queried("a")["avgPrice"]) == ("0.005", "91238.00000")


@pytest.mark.parametrize(("quantity", "ends"), [("0.005", False), ("0.004", True), ("0.003", True)])
def test_a_total_at_or_below_what_is_filled_cancels(world: World, quantity: str, ends: bool) -> None:
    place(world, "a")
    world.print(912_400, 4, True)
    reply = amend(world, "a", quantity=quantity)
    assert isinstance(reply.body, dict)
    assert reply.status == 200
    expected = ("CANCELED", "CANCELED") if ends else ("AMENDMENT", "PARTIALLY_FILLED")
    assert world.executions() == [expected]
    assert (reply.body["status"], reply.body["executedQty"]) == (expected[1], "0.004")
    assert world.queried("a")["origQty"] == ("0.010" if ends else quantity)


@pytest.mark.parametrize(("price", "ends"), [("91250.0", False), ("91250.1", True)])
def test_a_post_only_order_that_would_take_is_cancelled(world: World, price: str, ends: bool) -> None:
    place(world, "a", timeInForce="GTX")
    amend(world, "a", price=price)
    assert world.executions() == [("CANCELED", "CANCELED") if ends else ("AMENDMENT", "NEW")]
    assert not world.trades()


def test_a_plain_order_amended_through_the_spread_takes_at_once(world: World) -> None:
    place(world, "a")
    amend(world, "a", price="91250.1")
    assert world.executions() == [("AMENDMENT", "NEW"), ("TRADE", "FILLED")]
    assert world.events("ORDER_TRADE_UPDATE")[1]["o"]["m"] is False
    assert world.events("ORDER_TRADE_UPDATE")[0]["o"]["b"] == "0"


def test_the_self_trade_prevention_of_the_placement_holds_for_the_amended_order(world: World) -> None:
    place(world, "mine", side="SELL", price="91250")
    place(world, "a", selfTradePreventionMode="EXPIRE_TAKER")
    amend(world, "a", price="91250", selfTradePreventionMode="EXPIRE_MAKER")
    assert world.executions() == [("AMENDMENT", "NEW"), ("EXPIRED", "EXPIRED_IN_MATCH")]
    assert [row["clientOrderId"] for row in world.open_orders()] == ["mine"]


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ({}, -5027),
        ({"quantity": "0.010", "price": "91240.0"}, -5027),
        ({"price": "91240.05"}, -4014),
        ({"price": "91240.001"}, -1111),
        ({"price": "95812.6"}, -4016),
        ({"quantity": "1001"}, -4005),
        ({"quantity": "0"}, -4003),
        ({"quantity": "0.0001"}, -1111),
        ({"quantity": "1000"}, -2019),
        ({"side": "SELL"}, -1130),
        ({"side": "BOTH"}, -1117),
        ({"price": "91240", "priceMatch": "QUEUE"}, -1106),
        ({"modifyId": "x"}, -1100),
        ({"symbol": "NOPEUSDT"}, -1121),
    ],
)
def test_a_refused_amendment_leaves_the_order_as_it_was(world: World, new: dict[str, str], expected: int) -> None:
    place(world, "a")
    before = world.exchange.truth()
    reply = amend(world, "a", **new)
    assert (reply.status, code(reply)) == (400, expected)
    assert not world.last
    assert world.exchange.truth() == before


@pytest.mark.parametrize("absent", ["side", "quantity", "price"])
def test_mandatory_parameters_are_named(world: World, absent: str) -> None:
    place(world, "a")
    params = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.012", "price": "91240", "origClientOrderId": "a"}
    del params[absent]
    reply = world.call("PUT", ORDER, **params)
    assert isinstance(reply.body, dict)
    assert reply.body == {
        "code": -1102, "msg": f"Mandatory parameter '{absent}' was not sent, was empty/null, or malformed.",
    }  # fmt: skip


def test_an_order_that_is_not_open_does_not_exist_for_an_amendment(world: World) -> None:
    place(world, "a")
    world.call("DELETE", ORDER, symbol="BTCUSDT", origClientOrderId="a")
    assert refusal(amend(world, "a", quantity="0.012")) == (400, {"code": -2013, "msg": "Order does not exist."})
    assert code(amend(world, "never", quantity="0.012")) == -2013
    assert code(amend(world, "a", account="b", quantity="0.012")) == -2013


def test_a_notional_below_the_minimum_is_refused_on_both_sides_of_it() -> None:
    coarse = replace(default_instrument("BTCUSDT"), min_notional=Decimal(500))
    world = World(instruments=[coarse])
    place(world, "a", price="100000")
    assert code(amend(world, "a", quantity="0.004", price="100000")) == -5029
    assert amend(world, "a", quantity="0.005", price="100000").status == 200


def test_an_order_can_be_amended_as_often_as_its_symbol_allows_and_not_once_more() -> None:
    world = World(instruments=[replace(default_instrument("BTCUSDT"), max_amendments=2)])
    place(world, "a", price="91000")
    assert [amend(world, "a", price=f"9100{n}").status for n in (1, 2)] == [200, 200]
    assert code(amend(world, "a", price="91003")) == -5026
    assert amend(world, "a", price="91003").order_count == 0


def test_a_closed_symbol_permits_no_amendment(world: World) -> None:
    place(world, "a")
    world.exchange.replace_instrument(replace(world.exchange.instrument("BTCUSDT"), status="SETTLING"))
    assert code(amend(world, "a", quantity="0.012")) == -5024


def test_only_what_an_amendment_binds_more_must_be_free() -> None:
    world = World(spec("main", balances={"USDT": Decimal(100)}, leverage=1))
    world.levels([(912_499, 5000)], [(912_501, 5000)])
    world.mark("91250")
    place(world, "a", quantity="0.001", price="90000")
    assert amend(world, "a", quantity="0.001", price="91000").status == 200
    assert code(amend(world, "a", quantity="0.002", price="91000")) == -2019
    assert amend(world, "a", quantity="0.001", price="60000").status == 200


def test_a_price_match_moves_the_order_to_the_books_level(world: World) -> None:
    place(world, "a")
    reply = world.call(
        "PUT", ORDER, symbol="BTCUSDT", side="BUY", quantity="0.010", origClientOrderId="a", priceMatch="QUEUE"
    )
    assert isinstance(reply.body, dict)
    assert (reply.body["price"], reply.body["priceMatch"]) == ("91249.90", "QUEUE")
    assert world.events()[0]["o"]["pm"] == "QUEUE"


def test_the_history_is_that_of_one_order_in_order_and_reaches_three_months_back(world: World) -> None:
    place(world, "a", price="91000")
    place(world, "b", price="91000")
    for n in (1, 2, 3):
        amend(world, "a", price=f"9100{n}")
    amend(world, "b", price="91009")
    path = "/fapi/v1/orderAmendment"
    rows = world.get(path, symbol="BTCUSDT", origClientOrderId="a")
    assert [row["amendment"]["count"] for row in rows] == [1, 2, 3]
    assert [row["amendment"]["price"]["after"] for row in rows] == ["91001.00", "91002.00", "91003.00"]
    assert [r["amendment"]["count"] for r in world.get(path, symbol="BTCUSDT", origClientOrderId="a", limit="2")] == [
        2,
        3,
    ]
    second = rows[1]["time"]
    window = {"startTime": str(second), "endTime": str(second)}
    assert world.get(path, symbol="BTCUSDT", origClientOrderId="a", **window) == [rows[1]]
    world.now_ms = second + 90 * DAY_MS
    assert world.get(path, symbol="BTCUSDT", origClientOrderId="a") == rows[1:]
    assert code(world.call("GET", path, symbol="BTCUSDT")) == -1102
    assert code(world.call("GET", path, symbol="BTCUSDT", origClientOrderId="a", limit="101")) == -1130
    assert code(world.call("GET", path, symbol="BTCUSDT", origClientOrderId="a", startTime="9", endTime="8")) == -1023


def test_a_reduce_only_order_amended_out_of_its_claim_expires_behind_the_better_one(world: World) -> None:
    world.placed(type="MARKET", side="BUY", quantity="0.010")
    place(world, "near", side="SELL", price="91260", quantity="0.006", reduceOnly="true")
    place(world, "far", side="SELL", price="91270", quantity="0.010", reduceOnly="true")
    amend(world, "near", side="SELL", price="91260", quantity="0.010")
    assert [(e["o"]["c"], e["o"]["x"], e["o"]["er"]) for e in world.events("ORDER_TRADE_UPDATE")] == [
        ("near", "AMENDMENT", "0"),
        ("far", "EXPIRED", "4"),
    ]


def test_in_hedge_mode_a_closing_order_cannot_be_amended_beyond_its_leg() -> None:
    world = World(spec("main", hedge=True))
    world.levels([(912_499, 5000)], [(912_501, 5000)])
    world.mark("91250")
    world.placed(type="MARKET", side="BUY", quantity="0.010", positionSide="LONG")
    place(world, "close", side="SELL", price="91300", quantity="0.005", positionSide="LONG")
    assert amend(world, "close", side="SELL", price="91300", quantity="0.010").status == 200
    assert code(amend(world, "close", side="SELL", price="91300", quantity="0.011")) == -2022
