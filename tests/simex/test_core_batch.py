"""Batches, the dead man's switch, and the exchange's own rule for how long things can be found."""

from __future__ import annotations

import json
from typing import Any

import pytest

from simex.core.api import Json, Reply, UserEvent
from simex.core.rules import Rules
from tests.simex.core_world import ORDER, World, refusal, spec

BATCH, COUNTDOWN = "/fapi/v1/batchOrders", "/fapi/v1/countdownCancelAll"
DAY_MS = 86_400_000


@pytest.fixture
def world() -> World:
    world = World(spec("main"), spec("b"))
    world.levels([(912_499, 5000)], [(912_501, 5000)])
    world.mark("91250")
    return world


def item(client_id: str, **changes: Any) -> Json:
    base = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.010"}
    return {**base, "price": "91000", "newClientOrderId": client_id, **changes}


def batch(world: World, method: str, items: Any) -> Reply:
    return world.call(method, BATCH, batchOrders=json.dumps(items, separators=(",", ":")))


def codes(reply: Reply) -> list[Any]:
    assert isinstance(reply.body, list)
    return [row.get("code", row.get("status")) for row in reply.body]


def open_ids(world: World, account: str = "") -> list[str]:
    return [row["clientOrderId"] for row in world.open_orders(account)]


# -- placing and amending ---------------------------------------------------------------------------------------


def test_each_item_is_answered_like_the_single_call_and_in_the_requests_order(world: World) -> None:
    reply = batch(
        world,
        "POST",
        [
            item("a"),
            item("maker", timeInForce="GTX", price="91250.1"),
            item("c", type="STOP_MARKET", stopPrice="90000"),
            item("a"),
            item("e", side="SELL", price="91500"),
        ],
    )
    assert (reply.status, codes(reply)) == (200, ["NEW", -5022, -4120, -4116, "NEW"])
    assert world.executions() == [("NEW", "NEW")] * 2
    assert open_ids(world) == ["a", "e"]
    alone = World(spec("main"))
    assert isinstance(reply.body, list)
    alone.now_ms = reply.body[0]["updateTime"]
    assert reply.body[0] == alone.placed(**{k: str(v) for k, v in item("a").items()})


def test_a_batch_costs_five_of_the_ten_second_pool_and_one_of_the_minutes(world: World) -> None:
    reply = batch(world, "POST", [item("a")])
    assert (reply.order_count, reply.order_count_1m) == (5, 1)
    single = world.order(side="BUY", quantity="0.010", price="91000")
    assert (single.order_count, single.order_count_1m) == (1, None)


def test_values_may_be_numbers_and_booleans_and_none_is_rounded(world: World) -> None:
    world.placed(type="MARKET", side="BUY", quantity="0.020")
    text = (
        '[{"symbol":"BTCUSDT","side":"SELL","type":"LIMIT","timeInForce":"GTC","quantity":0.010,"price":91300.1,'
        '"reduceOnly":true,"newClientOrderId":"n"}]'
    )
    reply = world.call("POST", BATCH, batchOrders=text)
    assert isinstance(reply.body, list)
    (row,) = reply.body
    assert (row["origQty"], row["price"], row["reduceOnly"]) == ("0.010", "91300.10", True)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[]", -4082),
        (json.dumps([item(str(n)) for n in range(6)]), -4082),
        ("{}", -1130),
        ("[1]", -1130),
        ('[{"symbol":null}]', -1130),
        ('[{"symbol":["BTCUSDT"]}]', -1130),
        ("[" * 5000, -1130),
        ("[" + "1" * 5000 + "]", -1130),
        ("nonsense", -1130),
        ('"[]"', -1130),
    ],
)
def test_a_list_that_is_none_is_refused_whole_and_nothing_is_placed(world: World, text: str, code: int) -> None:
    status, body = refusal(world.call("POST", BATCH, batchOrders=text))
    assert (status, body["code"]) == (400, code)
    assert not world.last
    assert not open_ids(world)


def test_five_items_are_a_batch(world: World) -> None:
    assert codes(batch(world, "POST", [item(str(n)) for n in range(5)])) == ["NEW"] * 5


def test_a_number_no_order_can_have_is_that_items_refusal(world: World) -> None:
    text = '[{"symbol":"BTCUSDT","side":"BUY","type":"LIMIT","timeInForce":"GTC","quantity":1e-2,"price":NaN}]'
    assert codes(world.call("POST", BATCH, batchOrders=text)) == [-1102]


def test_amendments_of_a_batch_succeed_and_fail_one_by_one(world: World) -> None:
    batch(world, "POST", [item("a"), item("b")])
    reply = batch(
        world,
        "PUT",
        [
            {"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.012", "price": "91001", "origClientOrderId": "a"},
            {"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.012", "price": "91001", "origClientOrderId": "zzz"},
            {"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.010", "price": "91000", "origClientOrderId": "b"},
        ],
    )
    assert codes(reply) == ["NEW", -2013, -5027]
    assert (reply.order_count, reply.order_count_1m) == (5, 1)
    assert world.executions() == [("AMENDMENT", "NEW")]


# -- cancelling -------------------------------------------------------------------------------------------------


def test_cancelling_by_order_ids_and_by_client_ids_answers_each(world: World) -> None:
    reply = batch(world, "POST", [item("a"), item("b"), item("c")])
    assert isinstance(reply.body, list)
    first = reply.body[0]["orderId"]
    by_id = world.call("DELETE", BATCH, symbol="BTCUSDT", orderIdList=f"[{first},1]")
    assert codes(by_id) == ["CANCELED", -2011]
    assert world.executions() == [("CANCELED", "CANCELED")]
    by_name = world.call("DELETE", BATCH, symbol="BTCUSDT", origClientOrderIdList='["b","a"]')
    assert codes(by_name) == ["CANCELED", -2011]
    assert open_ids(world) == ["c"]
    assert by_name.order_count == 0
    assert codes(world.call("DELETE", BATCH, symbol="BTCUSDT", orderidlist=f"[{first + 2}]")) == ["CANCELED"]
    assert codes(world.call("DELETE", BATCH, symbol="BTCUSDT", origclientorderidlist='["c"]')) == [-2011]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({}, -1102),
        ({"orderIdList": "[]"}, -4032),
        ({"orderIdList": str(list(range(11)))}, -4032),
        ({"orderIdList": '["1"]'}, -1130),
        ({"orderIdList": "[1.5]"}, -1130),
        ({"orderIdList": "[true]"}, -1130),
        ({"origClientOrderIdList": "[1]"}, -1130),
        ({"orderIdList": "1"}, -1130),
    ],
)
def test_a_wrong_list_cancels_nothing(world: World, params: dict[str, str], code: int) -> None:
    batch(world, "POST", [item("a")])
    _, body = refusal(world.call("DELETE", BATCH, symbol="BTCUSDT", **params))
    assert body["code"] == code
    assert open_ids(world) == ["a"]


def test_ten_ids_are_a_batch(world: World) -> None:
    ids = json.dumps([str(n) for n in range(10)])
    assert codes(world.call("DELETE", BATCH, symbol="BTCUSDT", origClientOrderIdList=ids)) == [-2011] * 10


# -- dead man's switch ------------------------------------------------------------------------------------------


def count_down(world: World, ms: int, account: str = "", symbol: str = "BTCUSDT") -> Reply:
    return world.call("POST", COUNTDOWN, account, symbol=symbol, countdownTime=str(ms))


def test_the_switch_cancels_the_orders_of_its_symbol_and_account_at_its_time_and_not_before(world: World) -> None:
    batch(world, "POST", [item("a"), item("eth", symbol="ETHUSDT", price="3000", quantity="0.1")])
    world.placed("b", side="BUY", quantity="0.010", price="91000", newClientOrderId="theirs")
    asked_ms = world.now_ms
    assert count_down(world, 1000).body == {"symbol": "BTCUSDT", "countdownTime": "1000"}
    assert world.exchange.next_due_ms() == asked_ms + 1000
    world.tick(asked_ms + 999)
    assert world.executions() == []
    world.tick(asked_ms + 1000)
    assert [(event["o"]["c"], event["o"]["X"]) for event in world.events()] == [("a", "CANCELED")]
    assert (open_ids(world), open_ids(world, "b")) == (["eth"], ["theirs"])
    world.placed(side="BUY", quantity="0.010", price="91000", newClientOrderId="later")
    world.tick(asked_ms + 5000)
    assert "later" in open_ids(world), "a switch that has acted is off"


def test_a_restart_moves_the_switch_and_zero_turns_it_off(world: World) -> None:
    batch(world, "POST", [item("a")])
    asked_ms = world.now_ms
    count_down(world, 1000)
    world.now_ms = asked_ms + 900
    count_down(world, 1000)
    world.tick(asked_ms + 1897)
    assert open_ids(world) == ["a"]
    assert count_down(world, 0).body == {"symbol": "BTCUSDT", "countdownTime": "0"}
    world.tick(asked_ms + 10_000)
    assert open_ids(world) == ["a"]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"symbol": "BTCUSDT"}, -1102),
        ({"countdownTime": "1"}, -1102),
        ({"symbol": "BTCUSDT", "countdownTime": "-1"}, -1100),
        ({"symbol": "BTCUSDT", "countdownTime": "1.5"}, -1100),
        ({"symbol": "NOPE", "countdownTime": "1"}, -1121),
    ],
)
def test_a_switch_needs_a_symbol_and_a_time(world: World, params: dict[str, str], code: int) -> None:
    assert refusal(world.call("POST", COUNTDOWN, **params))[1]["code"] == code


# -- TRADE_LITE -------------------------------------------------------------------------------------------------


def kinds(world: World, account: str = "main") -> list[str]:
    payloads = [out.payload for out in world.last if isinstance(out, UserEvent) and out.account == account]
    return [f"{payload['e']} {payload['o']['x']}" if "o" in payload else payload["e"] for payload in payloads]


def test_a_market_orders_trade_lite_comes_before_its_new_event_and_a_makers_before_its_fill(world: World) -> None:
    world.levels([], [(912_501, 4)])
    world.placed(type="MARKET", side="BUY", quantity="0.004", newClientOrderId="m")
    assert kinds(world) == ["TRADE_LITE", "ORDER_TRADE_UPDATE NEW", "ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE TRADE"]
    (lite,) = world.events("TRADE_LITE")
    order = world.events("ORDER_TRADE_UPDATE")[1]["o"]
    assert lite == {
        "e": "TRADE_LITE", "E": order["T"], "T": order["T"], "s": "BTCUSDT", "q": "0.004", "p": "0.00", "m": False,
        "c": "m", "S": "BUY", "L": "91250.10", "l": "0.004", "t": order["t"], "i": order["i"],
    }  # fmt: skip
    assert list(lite) == ["e", "E", "T", "s", "q", "p", "m", "c", "S", "L", "l", "t", "i"]
    world.placed(side="BUY", quantity="0.010", price="91240")
    world.print(912_400, 5000, True)
    assert kinds(world)[:3] == ["TRADE_LITE", "ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE TRADE"]


def test_several_fills_of_a_market_order_keep_their_order_in_front(world: World) -> None:
    world.levels([], [(912_501, 4), (912_502, 9)])
    world.placed(type="MARKET", side="BUY", quantity="0.008")
    assert kinds(world)[:3] == ["TRADE_LITE", "TRADE_LITE", "ORDER_TRADE_UPDATE NEW"]
    fills = [event["o"]["t"] for event in world.events("ORDER_TRADE_UPDATE")[1:]]
    assert [event["t"] for event in world.events("TRADE_LITE")] == fills


def test_it_can_be_switched_off() -> None:
    world = World(rules=Rules(trade_lite=False))
    world.levels([], [(912_501, 4)])
    world.placed(type="MARKET", side="BUY", quantity="0.004")
    assert world.events("TRADE_LITE") == []


# -- how long things are found ----------------------------------------------------------------------------------


def test_a_cancelled_order_without_a_fill_is_found_for_three_days_and_a_filled_one_for_ninety(world: World) -> None:
    batch(world, "POST", [item("none"), item("part", price="91240"), item("open")])
    world.print(912_400, 5004, True)
    ended_ms = world.now_ms
    for name in ("none", "part"):
        world.call("DELETE", ORDER, symbol="BTCUSDT", origClientOrderId=name)

    def found(name: str) -> int:
        return world.call("GET", ORDER, symbol="BTCUSDT", origClientOrderId=name).status

    world.now_ms = ended_ms + 3 * DAY_MS
    assert [found(name) for name in ("none", "part", "open")] == [200, 200, 200]
    world.now_ms = ended_ms + 3 * DAY_MS + 2
    assert [found(name) for name in ("none", "part", "open")] == [400, 200, 200]
    rows = world.get("/fapi/v1/allOrders", symbol="BTCUSDT", orderId="0")
    assert [row["clientOrderId"] for row in rows] == ["part", "open"]
    world.now_ms = ended_ms + 90 * DAY_MS + 2
    assert [found(name) for name in ("none", "part", "open")] == [400, 400, 200]


def test_an_order_without_a_date_lives_a_year_and_not_a_millisecond_more(world: World) -> None:
    placed_ms = world.now_ms
    batch(world, "POST", [item("old")])
    year_ms = 365 * DAY_MS
    world.now_ms = placed_ms + 1000
    batch(world, "POST", [item("young")])
    world.tick(placed_ms + year_ms - 1)
    assert world.executions() == []
    world.tick(placed_ms + year_ms)
    assert [(event["o"]["c"], event["o"]["X"]) for event in world.events()] == [("old", "EXPIRED")]
    world.tick(placed_ms + year_ms + 999)
    assert world.executions() == []
    world.tick(placed_ms + year_ms + 1000)
    assert [event["o"]["c"] for event in world.events()] == ["young"]


def test_trades_are_found_for_three_months_and_by_id_never_with_times(world: World) -> None:
    world.placed(type="MARKET", side="BUY", quantity="0.010")
    (trade,) = world.get("/fapi/v1/userTrades", symbol="BTCUSDT")
    by_id = {"symbol": "BTCUSDT", "fromId": str(trade["id"])}
    world.now_ms = trade["time"] + 90 * DAY_MS
    assert world.get("/fapi/v1/userTrades", **by_id) == [trade]
    assert world.get("/fapi/v1/userTrades", **by_id) == []
    status, body = refusal(world.call("GET", "/fapi/v1/userTrades", **by_id, startTime="1"))
    assert (status, body["code"]) == (400, -1128)


@pytest.mark.parametrize(
    ("name", "most"),
    [("allOrders", 1000), ("userTrades", 1000), ("allAlgoOrders", 1000), ("forceOrders", 100)],
)
def test_lists_have_a_longest_page_and_a_longest_window(world: World, name: str, most: int) -> None:
    def answer(**params: str) -> int:
        reply = world.call("GET", f"/fapi/v1/{name}", symbol="BTCUSDT", **params)
        return 200 if isinstance(reply.body, list) else int(refusal(reply)[1]["code"])

    assert [answer(limit=str(n)) for n in (0, 1, most, most + 1)] == [-1130, 200, 200, -1130]
    start = world.now_ms - 30 * DAY_MS
    spans = [(start, start), (start, start + 7 * DAY_MS), (start, start + 7 * DAY_MS + 1), (start, start - 1)]
    assert [answer(startTime=str(a), endTime=str(b)) for a, b in spans] == [200, 200, -4165, -1023]
    assert answer(startTime="x") == -1100
