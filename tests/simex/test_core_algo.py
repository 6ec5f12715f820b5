"""Conditional orders: acceptance, triggers, what a trigger becomes, how they end, and how they are told and found."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from simex.core.algo_desk import MAX_ALGOS
from simex.core.api import Json, Reply
from simex.core.instrument import default_instrument, default_instruments
from simex.core.rules import DEFAULT_RULES, Rules
from tests.simex.core_world import ORDER, START_MS, World, refusal, spec
from tests.simex.test_payloads_wire import wire

ALGO, OPEN, ALL = "/fapi/v1/algoOrder", "/fapi/v1/openAlgoOrders", "/fapi/v1/allAlgoOrders"
DAY_MS = 86_400_000
STOP_SELL = {"type": "STOP_MARKET", "side": "SELL", "triggerPrice": "90000", "quantity": "0.010"}


def make(rules: Rules = DEFAULT_RULES, **settings: Any) -> World:
    """A market around 91250 whose last trade was there, and an account that is long 0.010."""
    world = World(spec("main", **settings), spec("b"), rules=rules)
    world.levels([(912_499, 50_000)], [(912_501, 50_000)])
    world.mark("91250")
    leg = {"positionSide": "LONG"} if settings.get("hedge") else {}
    world.placed(type="MARKET", side="BUY", quantity="0.010", **leg)
    return world


@pytest.fixture
def world() -> World:
    return make()


def send(world: World, account: str = "", **params: str) -> Reply:
    return world.call("POST", ALGO, account, **{"algoType": "CONDITIONAL", "symbol": "BTCUSDT", **params})


def placed(world: World, account: str = "", **params: str) -> Json:
    reply = send(world, account, **params)
    assert reply.status == 200, reply.body
    assert isinstance(reply.body, dict)
    return reply.body


def code(reply: Reply) -> Any:
    assert isinstance(reply.body, dict)
    return reply.body["code"]


def trade_at(world: World, ticks: int) -> None:
    """The market's last trade price; the outside book goes with it."""
    bids, asks = world.exchange.book_totals("BTCUSDT")
    gone_bids = [(price, 0) for price, _ in bids if price >= ticks]
    gone_asks = [(price, 0) for price, _ in asks if price <= ticks]
    world.levels([*gone_bids, (ticks - 1, 50_000)], [*gone_asks, (ticks + 1, 50_000)])
    world.print(ticks, 1, False)


def told(world: World) -> list[str]:
    """Kinds of the last input's events, algo events with their state, order events with their execution."""
    names = []
    for event in world.events():
        if event["e"] == "ALGO_UPDATE":
            names.append(f"A {event['o']['X']}")
        elif event["e"] == "ORDER_TRADE_UPDATE":
            names.append(f"O {event['o']['x']}")
        else:
            names.append(str(event["e"]))
    return names


def states(world: World) -> list[str]:
    return [event["o"]["X"] for event in world.events("ALGO_UPDATE")]


def last_algo(world: World) -> Json:
    event: Json = world.events("ALGO_UPDATE")[-1]["o"]
    return event


# -- the reference's story, byte for byte -----------------------------------------------------------------------

PLACE_REPLY = (
    '{"algoId":4000001910701524,"clientAlgoId":"b1-stop-0001","algoType":"CONDITIONAL","orderType":"STOP_MARKET",'
    '"symbol":"BTCUSDT","side":"SELL","positionSide":"BOTH","timeInForce":"GTC","quantity":"0.010","algoStatus":"NEW",'
    '"triggerPrice":"90000.00","price":"0.00","icebergQuantity":null,"selfTradePreventionMode":"EXPIRE_MAKER",'
    '"workingType":"MARK_PRICE","priceMatch":"NONE","closePosition":false,"priceProtect":false,"reduceOnly":true,'
    '"activatePrice":"","callbackRate":"","createTime":1795132800500,"updateTime":1795132800500,"triggerTime":0,'
    '"goodTillDate":0}'
)
LIST_ROW = (
    '{"algoId":4000001910701524,"clientAlgoId":"b1-stop-0001","algoType":"CONDITIONAL","orderType":"STOP_MARKET",'
    '"symbol":"BTCUSDT","side":"SELL","positionSide":"BOTH","timeInForce":"GTC","quantity":"0.010","algoStatus":"NEW",'
    '"actualOrderId":"","actualPrice":"0.00000","triggerPrice":"90000.00","price":"0.00","icebergQuantity":null,'
    '"tpTriggerPrice":"0.000","tpPrice":"0.000","slTriggerPrice":"0.000","slPrice":"0.000","tpOrderType":"",'
    '"selfTradePreventionMode":"EXPIRE_MAKER","workingType":"MARK_PRICE","priceMatch":"NONE","closePosition":false,'
    '"priceProtect":false,"reduceOnly":true,"createTime":1795132800500,"updateTime":1795132800500,"triggerTime":0,'
    '"goodTillDate":0}'
)
NEW_EVENT = (
    '{"e":"ALGO_UPDATE","T":1795132800500,"E":1795132800500,"o":{"caid":"b1-stop-0001","aid":4000001910701524,'
    '"at":"CONDITIONAL","o":"STOP_MARKET","s":"BTCUSDT","S":"SELL","ps":"BOTH","f":"GTC","q":"0.010","X":"NEW","ai":"",'
    '"tp":"90000","p":"0","V":"EXPIRE_MAKER","wt":"MARK_PRICE","pm":"NONE","cp":false,"pP":false,"R":true,"tt":0,'
    '"gtd":0,"ia":false}}'
)
FINISHED_EVENT = (
    '{"e":"ALGO_UPDATE","T":1795132802010,"E":1795132802010,"o":{"caid":"b1-stop-0001","aid":4000001910701524,'
    '"at":"CONDITIONAL","o":"STOP_MARKET","s":"BTCUSDT","S":"SELL","ps":"BOTH","f":"GTC","q":"0.010","X":"FINISHED",'
    '"ai":"8886774002","ap":"89995.1","aq":"0.010","act":"MARKET","tp":"90000","p":"0","V":"EXPIRE_MAKER",'
    '"wt":"MARK_PRICE","pm":"NONE","cp":false,"pP":false,"R":true,"tt":1795132802010,"gtd":0,"ia":false}}'
)
QUERY_REPLY = (
    '{"algoId":4000001910701524,"clientAlgoId":"b1-stop-0001","algoType":"CONDITIONAL","orderType":"STOP_MARKET",'
    '"symbol":"BTCUSDT","side":"SELL","positionSide":"BOTH","timeInForce":"GTC","quantity":"0.010",'
    '"algoStatus":"FINISHED","actualOrderId":"8886774002","actualPrice":"89995.10000","actualType":"MARKET",'
    '"actualQty":"0.010","triggerPrice":"90000.00","price":"0.00","icebergQuantity":null,"tpOrderType":"",'
    '"selfTradePreventionMode":"EXPIRE_MAKER","workingType":"MARK_PRICE","priceMatch":"NONE","closePosition":false,'
    '"priceProtect":false,"reduceOnly":true,"createTime":1795132800500,"updateTime":1795132802010,'
    '"triggerTime":1795132802010,"goodTillDate":0}'
)


def test_the_references_story_byte_for_byte() -> None:
    world = make()
    world.now_ms = START_MS + 500
    stop = {**STOP_SELL, "workingType": "MARK_PRICE", "reduceOnly": "true", "clientAlgoId": "b1-stop-0001"}
    reply = send(world, **stop)
    assert (wire(reply.body), reply.order_count) == (PLACE_REPLY, 1)
    assert [wire(event) for event in world.events()] == [NEW_EVENT]
    assert wire(world.get(OPEN)) == wire(world.get(ALL, symbol="BTCUSDT")) == f"[{LIST_ROW}]"
    world.levels([(912_499, 0), (899_951, 50_000)], [])
    world.now_ms = 1795132802010
    world.mark("90000")
    names = ["A TRIGGERING", "A TRIGGERED", "O NEW", "ACCOUNT_UPDATE", "O TRADE", "A FINISHED"]
    assert told(world) == names
    assert wire(world.events()[-1]) == FINISHED_EVENT
    triggering, triggered, finished = (event["o"] for event in world.events("ALGO_UPDATE"))
    told_new = world.events("ALGO_UPDATE")[0]["o"] | {"X": "NEW", "tt": 0}
    assert wire(told_new) == NEW_EVENT[NEW_EVENT.index('"o":') + 4 : -1], "TRIGGERING is NEW's form"
    assert triggering["tt"] == world.now_ms - 1
    assert triggered == finished | {"X": "TRIGGERED", "ap": "0", "aq": "0"}
    assert list(triggered) == list(finished)
    assert wire(world.get(ALGO, algoId="4000001910701524")) == QUERY_REPLY
    assert world.get(OPEN) == []


def test_the_triggered_order_says_what_it_was(world: World) -> None:
    placed(world, **STOP_SELL, clientAlgoId="stop", workingType="MARK_PRICE", priceProtect="true")
    world.mark("89999.9")
    (new, _) = world.events("ORDER_TRADE_UPDATE")
    keys = ("c", "o", "ot", "sp", "wt", "pP", "cp", "R", "f", "x")
    assert [new["o"][k] for k in keys] == [
        "stop", "MARKET", "STOP_MARKET", "90000", "MARK_PRICE", True, False, False, "GTC", "NEW",
    ]  # fmt: skip
    row = world.queried("stop")
    shown = [row[k] for k in ("type", "origType", "stopPrice", "workingType", "priceProtect", "closePosition")]
    assert shown == ["MARKET", "STOP_MARKET", "90000.00", "MARK_PRICE", True, False]
    assert "activatePrice" not in row


# -- triggers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "side", "trigger", "short_of", "reached"),
    [
        ("STOP_MARKET", "SELL", "91000", 910_001, 910_000),
        ("STOP_MARKET", "BUY", "91500", 914_999, 915_000),
        ("TAKE_PROFIT_MARKET", "SELL", "91500", 914_999, 915_000),
        ("TAKE_PROFIT_MARKET", "BUY", "91000", 910_001, 910_000),
    ],
)
@pytest.mark.parametrize("working", ["CONTRACT_PRICE", "MARK_PRICE"])
def test_a_trigger_is_reached_at_its_price_and_not_a_tick_before(
    world: World, kind: str, side: str, trigger: str, short_of: int, reached: int, working: str
) -> None:
    placed(world, type=kind, side=side, triggerPrice=trigger, quantity="0.010", workingType=working)

    def move(ticks: int) -> None:
        if working == "MARK_PRICE":
            world.mark(str(Decimal(ticks) / 10))
        else:
            trade_at(world, ticks)

    move(short_of)
    assert states(world) == []
    if working == "MARK_PRICE":
        trade_at(world, reached)  # the other price moves nothing
    else:
        world.mark(str(Decimal(reached) / 10))
    assert states(world) == []
    move(reached)
    assert states(world) == ["TRIGGERING", "TRIGGERED", "FINISHED"]


def test_the_mark_price_is_cut_to_the_symbols_digits_before_it_is_compared(world: World) -> None:
    placed(
        world, type="TAKE_PROFIT_MARKET", side="BUY", triggerPrice="91000", quantity="0.010", workingType="MARK_PRICE"
    )
    world.mark("91000.01")
    assert states(world) == []
    world.mark("91000.00999")
    assert states(world)[0] == "TRIGGERING"


def test_own_trades_move_the_last_price_too(world: World) -> None:
    placed(world, type="STOP_MARKET", side="BUY", triggerPrice="91250.2", quantity="0.010")
    world.levels([], [(912_501, 5), (912_502, 50_000)])
    world.placed("b", type="MARKET", side="BUY", quantity="0.006")
    assert states(world) == ["TRIGGERING", "TRIGGERED", "FINISHED"]


def test_one_trigger_can_set_off_the_next(world: World) -> None:
    world.levels([], [(912_501, 5), (912_502, 5), (912_503, 5), (912_600, 50_000)])
    for trigger in ("91250.2", "91250.3"):
        placed(world, type="STOP_MARKET", side="BUY", triggerPrice=trigger, quantity="0.005")
    world.placed("b", type="MARKET", side="BUY", quantity="0.006")
    assert states(world) == ["TRIGGERING", "TRIGGERED", "FINISHED"] * 2


@pytest.mark.parametrize(
    ("kind", "side", "trigger", "refused"),
    [
        ("STOP_MARKET", "SELL", "91250.1", True),
        ("STOP_MARKET", "SELL", "91250.0", False),
        ("STOP_MARKET", "BUY", "91250.1", True),
        ("STOP_MARKET", "BUY", "91250.2", False),
        ("TAKE_PROFIT_MARKET", "SELL", "91250.1", True),
        ("TAKE_PROFIT_MARKET", "SELL", "91250.2", False),
        ("TAKE_PROFIT_MARKET", "BUY", "91250.1", True),
        ("TAKE_PROFIT_MARKET", "BUY", "91250.0", False),
    ],
)
def test_what_would_trigger_at_once_is_refused(world: World, kind: str, side: str, trigger: str, refused: bool) -> None:
    reply = send(world, type=kind, side=side, triggerPrice=trigger, quantity="0.010")
    assert (reply.status, refused and code(reply)) == ((400, -2021) if refused else (200, False))


def test_with_price_protection_nothing_triggers_while_last_and_mark_price_diverge(world: World) -> None:
    placed(world, **STOP_SELL, priceProtect="true", clientAlgoId="p")
    placed(world, **STOP_SELL, clientAlgoId="q")
    trade_at(world, 866_873)  # 91250 less 5 % is 86687.5
    assert {event["o"]["caid"] for event in world.events("ALGO_UPDATE")} == {"q"}
    world.mark("91249.8")
    assert states(world) == []
    world.mark("91249.7")
    assert {event["o"]["caid"] for event in world.events("ALGO_UPDATE")} == {"p"}


# -- trailing stops ---------------------------------------------------------------------------------------------


def test_a_trailing_sale_follows_the_high_and_triggers_at_its_distance(world: World) -> None:
    body = placed(world, type="TRAILING_STOP_MARKET", side="SELL", quantity="0.010", callbackRate="1")
    assert (body["activatePrice"], body["callbackRate"], body["triggerPrice"]) == ("91250.10", "1", "0.00")
    told_active = [(e["o"]["X"], e["o"]["ia"]) for e in world.events("ALGO_UPDATE")]
    assert told_active == [("NEW", False), ("NEW", True)], "without a price of its own it is active at the present one"
    trade_at(world, 920_000)
    trade_at(world, 910_801)  # 92000 less 1 % is 91080
    assert states(world) == []
    trade_at(world, 910_800)
    assert states(world) == ["TRIGGERING", "TRIGGERED", "FINISHED"]
    order = world.events("ORDER_TRADE_UPDATE")[0]["o"]
    assert (order["ot"], order["sp"], order["AP"], order["cr"]) == ("TRAILING_STOP_MARKET", "0", "91250.1", "1")
    assert list(order)[list(order).index("cp") :][:3] == ["cp", "AP", "cr"]


def test_a_trailing_order_waits_for_its_activation_and_says_when_it_is_active(world: World) -> None:
    placed(
        world, type="TRAILING_STOP_MARKET", side="BUY", quantity="0.010", callbackRate="0.5", activatePrice="91000",
        clientAlgoId="t",
    )  # fmt: skip
    assert [(e["o"]["X"], e["o"]["ia"]) for e in world.events("ALGO_UPDATE")] == [("NEW", False)]
    trade_at(world, 920_000)
    assert states(world) == []
    trade_at(world, 910_000)
    assert [(e["o"]["X"], e["o"]["ia"]) for e in world.events("ALGO_UPDATE")] == [("NEW", True)]
    trade_at(world, 900_000)
    trade_at(world, 904_499)  # 90000 and 0.5 % are 90450
    assert states(world) == []
    trade_at(world, 904_500)
    assert states(world)[0] == "TRIGGERING"
    row = world.queried("t")
    assert (row["activatePrice"], row["priceRate"], row["origType"]) == ("91000.00", "0.5", "TRAILING_STOP_MARKET")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"callbackRate": "0.1"}, None),
        ({"callbackRate": "20"}, None),
        ({"callbackRate": "0.09"}, -2007),
        ({"callbackRate": "20.1"}, -2007),
        ({"callbackRate": "1.05"}, -2007),
        ({"callbackRate": "x"}, -1102),
        ({"activatePrice": "91250.1"}, -2021),
        ({"activatePrice": "91250.2"}, None),
        ({"activatePrice": "0"}, -4135),
        ({"activationPrice": "91300"}, None),
        ({"triggerPrice": "90000"}, -2021),
        ({"price": "90000"}, -1106),
        ({"closePosition": "true"}, -4136),
    ],
)
def test_a_trailing_orders_own_parameters(world: World, changes: dict[str, str], expected: int | None) -> None:
    params = {"type": "TRAILING_STOP_MARKET", "side": "SELL", "quantity": "0.010", "callbackRate": "1", **changes}
    reply = send(world, **params)
    assert (code(reply) if reply.status != 200 else None) == expected


# -- recorded -----------------------------------------------------------------------------------------------------


def recorded(data_dir: Path, name: str) -> Json:
    """The event of a captured frame of the real exchange."""
    for line in (data_dir / "user_data" / "nautilus_usdm_ws_messages.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["src"].endswith(f"/{name}.json"):
            assert row["provenance"] == "captured"
            frame = json.loads(row["raw"])
            event: Json = frame.get("data", frame)
            return event
    raise AssertionError(f"no recorded {name}")


def test_a_recorded_trigger_is_told_with_the_same_keys_and_values(data_dir: Path) -> None:
    world = World(instruments=default_instruments(["DOGEUSDT"]))
    world.levels([(13853, 5000)], [(13856, 5000)], "DOGEUSDT")
    world.print(13854, 1, True, "DOGEUSDT")
    placed(world, symbol="DOGEUSDT", type="STOP_MARKET", side="BUY", quantity="38", triggerPrice="0.13855")
    world.print(13855, 1, False, "DOGEUSDT")
    told_now = {event["o"]["X"]: event for event in world.events("ALGO_UPDATE")}
    assert list(told_now) == ["TRIGGERING", "TRIGGERED", "FINISHED"]
    for state, ours in told_now.items():
        theirs = recorded(data_dir, f"ws_futures_algo_update_{state.lower()}")
        assert list(ours) == list(theirs)
        assert list(ours["o"]) == [*theirs["o"], "ia"], "that key came after the recording"
        own = {"caid", "aid", "ai", "tt", "ia"}
        assert {k: v for k, v in ours["o"].items() if k not in own} == {
            k: v for k, v in theirs["o"].items() if k not in own
        }


def test_a_recorded_trade_lite_has_the_same_keys_types_and_values(data_dir: Path) -> None:
    theirs = recorded(data_dir, "ws_futures_trade_lite")
    world = World()
    world.levels([], [(263_190, 5000)], "ETHUSDT")
    world.placed(symbol="ETHUSDT", side="BUY", quantity="0.037", price="2631.90", newClientOrderId=theirs["c"])
    (ours,) = world.events("TRADE_LITE")
    assert list(ours) == list(theirs)
    assert [type(value) for value in ours.values()] == [type(value) for value in theirs.values()]
    own = {"E", "T", "t", "i"}
    assert {k: v for k, v in ours.items() if k not in own} == {k: v for k, v in theirs.items() if k not in own}


# -- what a trigger becomes -------------------------------------------------------------------------------------


def test_a_stop_with_a_price_rests_as_a_limit_order_and_finishes_with_it(world: World) -> None:
    placed(world, type="STOP", side="SELL", quantity="0.010", triggerPrice="91000", price="91100", clientAlgoId="s")
    trade_at(world, 910_000)
    assert told(world) == ["A TRIGGERING", "A TRIGGERED", "O NEW"]
    (row,) = world.open_orders()
    assert (row["clientOrderId"], row["type"], row["origType"], row["price"]) == ("s", "LIMIT", "STOP", "91100.00")
    assert world.get(ALGO, clientAlgoId="s")["algoStatus"] == "TRIGGERED"
    assert (world.get(OPEN), code(world.call("DELETE", ALGO, clientAlgoId="s"))) == ([], -2011)
    world.print(911_000, 4, False)
    assert told(world) == ["ACCOUNT_UPDATE", "O TRADE"]
    world.call("DELETE", ORDER, symbol="BTCUSDT", origClientOrderId="s")
    assert told(world) == ["O CANCELED", "A FINISHED"]
    assert (last_algo(world)["ap"], last_algo(world)["aq"]) == ("91100", "0.004")


def test_a_triggered_limit_order_can_be_amended_like_any_other(world: World) -> None:
    placed(world, type="STOP", side="SELL", quantity="0.010", triggerPrice="91000", price="91100", clientAlgoId="s")
    trade_at(world, 910_000)
    reply = world.call(
        "PUT", ORDER, symbol="BTCUSDT", side="SELL", quantity="0.010", price="91200", origClientOrderId="s"
    )
    assert isinstance(reply.body, dict)
    assert (reply.status, reply.body["origType"], reply.body["stopPrice"]) == (200, "STOP", "91000.00")


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"type": "STOP", "price": "89000", "timeInForce": "GTX"}, "Post Only order will be rejected"),
        ({"type": "STOP", "price": "91000", "timeInForce": "FOK"}, "FOK order has been rejected"),
    ],
)
def test_what_the_engine_refuses_after_the_trigger_is_rejected_with_its_reason(
    params: dict[str, str], reason: str
) -> None:
    world = make(Rules(trigger_reject_event=True))
    placed(world, side="SELL", triggerPrice="90000", quantity="0.010", clientAlgoId="s", **params)
    trade_at(world, 900_000)
    assert told(world) == ["A TRIGGERING", "A REJECTED", "CONDITIONAL_ORDER_TRIGGER_REJECT"]
    rejected = last_algo(world)
    assert reason in rejected["rm"]
    assert list(rejected)[-3:] == ["gtd", "rm", "ia"]
    assert "ap" not in rejected
    assert world.events()[-1]["or"] == {"s": "BTCUSDT", "i": rejected["aid"], "r": rejected["rm"]}
    assert world.get(ALGO, clientAlgoId="s")["algoStatus"] == "REJECTED"
    assert world.call("GET", ORDER, symbol="BTCUSDT", origClientOrderId="s").status == 400


def test_a_reduce_only_stop_without_a_position_is_accepted_and_rejected_at_its_trigger() -> None:
    world = World()
    world.levels([(912_499, 50_000)], [(912_501, 50_000)])
    world.mark("91250")
    world.print(912_500, 1, True)
    placed(world, **STOP_SELL, reduceOnly="true")
    trade_at(world, 900_000)
    assert states(world) == ["TRIGGERING", "REJECTED"]
    assert last_algo(world)["rm"] == "Reduce Only reject"


def test_margin_is_looked_at_when_it_triggers_and_not_before() -> None:
    world = make(balances={"USDT": Decimal(1000)})
    placed(world, type="STOP_MARKET", side="BUY", triggerPrice="91300", quantity="5")
    trade_at(world, 913_000)
    assert (states(world), last_algo(world)["rm"]) == (["TRIGGERING", "REJECTED"], "Margin is insufficient.")


@pytest.mark.parametrize("first", [False, True])
def test_the_two_orders_of_events_at_a_trigger(first: bool) -> None:
    world = make(Rules(triggered_order_first=first, trade_lite=False))
    placed(world, **STOP_SELL)
    trade_at(world, 900_000)
    order = ["O NEW", "ACCOUNT_UPDATE", "O TRADE"]
    expected = [*order, "A TRIGGERED"] if first else ["A TRIGGERED", *order]
    assert told(world) == ["A TRIGGERING", *expected, "A FINISHED"]


@pytest.mark.parametrize("keeps", [True, False])
def test_the_client_id_of_the_triggered_order_by_rule(keeps: bool) -> None:
    world = make(Rules(algo_keeps_client_id=keeps))
    body = placed(world, **STOP_SELL, clientAlgoId="mine")
    trade_at(world, 900_000)
    order = world.events("ORDER_TRADE_UPDATE")[0]["o"]
    assert (order["c"] == "mine") == keeps
    assert world.get(ALGO, algoId=str(body["algoId"]))["actualOrderId"] == str(order["i"])


def test_an_open_order_of_the_same_name_leaves_the_triggered_one_a_fresh_id(world: World) -> None:
    world.placed(side="BUY", quantity="0.010", price="89000", newClientOrderId="same")
    placed(world, **STOP_SELL, clientAlgoId="same")
    trade_at(world, 900_000)
    assert states(world) == ["TRIGGERING", "TRIGGERED", "FINISHED"]
    assert world.events("ORDER_TRADE_UPDATE")[0]["o"]["c"] != "same"


def test_a_delayed_trigger_stays_triggering_and_cannot_be_cancelled() -> None:
    world = make(Rules(trigger_delay_ms=1000))
    placed(world, **STOP_SELL, clientAlgoId="s")
    trade_at(world, 900_000)
    assert states(world) == ["TRIGGERING"]
    at_ms = world.now_ms - 1
    assert refusal(world.call("DELETE", ALGO, clientAlgoId="s")) == (
        400,
        {"code": -4117, "msg": "Stop order is in triggering process. Please try again later."},
    )
    assert world.call("DELETE", "/fapi/v1/algoOpenOrders", symbol="BTCUSDT").status == 200
    assert [row["algoStatus"] for row in world.get(OPEN)] == ["TRIGGERING"]
    world.tick(at_ms + 999)
    assert states(world) == []
    world.tick(at_ms + 1000)
    assert states(world) == ["TRIGGERED", "FINISHED"]


# -- closing a position -----------------------------------------------------------------------------------------


def close(kind: str = "STOP_MARKET", side: str = "SELL", trigger: str = "90000", **more: str) -> dict[str, str]:
    return {"type": kind, "side": side, "triggerPrice": trigger, "closePosition": "true", **more}


def test_a_closing_stop_takes_the_whole_position_as_it_is_at_the_trigger(world: World) -> None:
    body = placed(world, **close(), clientAlgoId="c")
    shown = [body[k] for k in ("timeInForce", "quantity", "closePosition", "reduceOnly")]
    assert shown == ["GTE_GTC", "0.000", True, True]
    world.placed(type="MARKET", side="BUY", quantity="0.025")
    trade_at(world, 900_000)
    order = world.events("ORDER_TRADE_UPDATE")[-1]["o"]
    assert (order["q"], order["z"], order["cp"], order["f"], order["R"]) == ("0.035", "0.035", True, "GTE_GTC", True)
    assert states(world) == ["TRIGGERING", "TRIGGERED", "FINISHED"]
    assert world.position()["positionAmt"] == "0.000"


def test_one_stop_and_one_take_profit_may_close_a_leg_and_no_second_of_a_kind(world: World) -> None:
    placed(world, **close())
    placed(world, **close("TAKE_PROFIT_MARKET", trigger="95000"))
    text = "An open stop or take profit order with GTE and closePosition in the direction is existing."
    assert refusal(send(world, **close(trigger="89000"))) == (400, {"code": -4130, "msg": text})
    assert code(send(world, **close("TAKE_PROFIT_MARKET", trigger="96000"))) == -4130
    placed(world, **STOP_SELL, reduceOnly="true")


def test_what_closes_a_position_expires_with_it_and_needs_one_to_begin(world: World) -> None:
    placed(world, **close(), clientAlgoId="c")
    placed(world, **STOP_SELL, timeInForce="GTE_GTC", reduceOnly="true", clientAlgoId="g")
    placed(world, **STOP_SELL, reduceOnly="true", clientAlgoId="r")
    world.placed(type="MARKET", side="SELL", quantity="0.010", reduceOnly="true")
    ended = [(event["o"]["caid"], event["o"]["X"]) for event in world.events("ALGO_UPDATE")]
    assert ended == [("c", "EXPIRED"), ("g", "EXPIRED")]
    assert [row["clientAlgoId"] for row in world.get(OPEN)] == ["r"]
    assert code(send(world, **close())) == -4509


def test_a_closing_stop_of_the_wrong_side_has_no_position_to_close(world: World) -> None:
    assert code(send(world, **close(side="BUY", trigger="92000"))) == -4509


def test_in_hedge_mode_each_leg_has_its_own_closing_stop() -> None:
    world = make(hedge=True)
    world.placed(type="MARKET", side="SELL", quantity="0.010", positionSide="SHORT")
    placed(world, **close(), positionSide="LONG")
    placed(world, **close(side="BUY", trigger="92000"), positionSide="SHORT")
    assert code(send(world, **close(trigger="89000"), positionSide="LONG")) == -4130
    assert code(send(world, **STOP_SELL, positionSide="LONG", reduceOnly="true")) == -1106
    assert code(send(world, **STOP_SELL)) == -4061
    trade_at(world, 900_000)
    assert states(world) == ["TRIGGERING", "TRIGGERED", "FINISHED"]
    assert world.position(side="LONG")["positionAmt"] == "0.000"
    assert world.position(side="SHORT")["positionAmt"] == "-0.010"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"quantity": "0.010"}, -4137),
        ({"reduceOnly": "true"}, -1106),
        ({"type": "STOP", "price": "90000"}, -4136),
    ],
)
def test_what_does_not_go_with_closing_a_position(world: World, changes: dict[str, str], expected: int) -> None:
    assert code(send(world, **{**close(), **changes})) == expected


# -- acceptance -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"algoType": "VP"}, -1130),
        ({"type": "LIMIT"}, -1116),
        ({"side": "UP"}, -1117),
        ({"triggerPrice": "0"}, -4006),
        ({"triggerPrice": "809484.1"}, -4007),
        ({"triggerPrice": "90000.001"}, -1111),
        ({"triggerPrice": "90000.05"}, None),
        ({"quantity": "0.0001"}, -1111),
        ({"quantity": "120.001"}, -4005),
        ({"quantity": "0"}, -4003),
        ({"price": "90000"}, -1106),
        ({"priceMatch": "QUEUE"}, -5038),
        ({"workingType": "INDEX"}, -4031),
        ({"timeInForce": "GTD"}, -1102),
        ({"timeInForce": "DAY"}, -1115),
        ({"callbackRate": "1"}, -1106),
        ({"clientAlgoId": "x" * 36}, None),
        ({"clientAlgoId": "x" * 37}, -4015),
        ({"clientAlgoId": "ä"}, -4015),
        ({"positionSide": "LONG"}, -4061),
        ({"selfTradePreventionMode": "SOME"}, -5039),
        ({"newOrderRespType": "FULL"}, -1130),
        ({"symbol": "NOPE"}, -1121),
        ({"quantity": "0.001", "triggerPrice": "40000"}, -4164),
        ({"quantity": "0.001", "triggerPrice": "40000", "reduceOnly": "true"}, None),
    ],
)
def test_parameters_are_checked_on_both_sides_of_their_limits(
    world: World, changes: dict[str, str], expected: int | None
) -> None:
    reply = send(world, **{**STOP_SELL, **changes})
    assert (code(reply) if reply.status != 200 else None) == expected
    assert (reply.status == 200) == (len(world.events("ALGO_UPDATE")) == 1)


@pytest.mark.parametrize("absent", ["algoType", "side", "type", "triggerPrice", "quantity"])
def test_mandatory_parameters_are_named(world: World, absent: str) -> None:
    params = {"algoType": "CONDITIONAL", "symbol": "BTCUSDT", **STOP_SELL}
    del params[absent]
    status, body = refusal(world.call("POST", ALGO, **params))
    assert (status, body["code"]) == (400, -1102)
    assert f"'{absent}'" in body["msg"]


@pytest.mark.parametrize(
    ("side", "trigger", "price", "expected"),
    [
        ("SELL", "90000", "85500", None),
        ("SELL", "90000", "85499.9", -4184),
        ("BUY", "92000", "96600", None),
        ("BUY", "92000", "96600.1", -4183),
        ("SELL", "90000", "90000.05", -4014),
    ],
)
def test_a_limit_price_is_bound_to_its_trigger(
    world: World, side: str, trigger: str, price: str, expected: int | None
) -> None:
    reply = send(world, type="STOP", side=side, triggerPrice=trigger, price=price, quantity="0.010")
    assert (code(reply) if reply.status != 200 else None) == expected


def test_a_price_match_is_taken_from_the_book_at_the_trigger(world: World) -> None:
    placed(
        world, type="STOP", side="SELL", triggerPrice="91000", quantity="0.010", priceMatch="QUEUE", clientAlgoId="m"
    )
    trade_at(world, 910_000)
    (row,) = world.open_orders()
    assert (row["price"], row["priceMatch"]) == ("91000.10", "QUEUE")


def test_a_client_id_is_taken_while_its_order_waits_and_free_again_after(world: World) -> None:
    placed(world, **STOP_SELL, clientAlgoId="a")
    assert code(send(world, **STOP_SELL, clientAlgoId="a")) == -4116
    world.call("DELETE", ALGO, clientAlgoId="a")
    second = placed(world, **STOP_SELL, clientAlgoId="a")
    assert world.get(ALGO, clientAlgoId="a")["algoId"] == second["algoId"]


def test_two_hundred_conditional_orders_wait_over_all_symbols_and_not_one_more() -> None:
    instruments = [replace(default_instrument(s), max_orders=150) for s in ("BTCUSDT", "ETHUSDT")]
    world = World(instruments=instruments)
    eth = {"symbol": "ETHUSDT", "type": "STOP_MARKET", "side": "SELL", "triggerPrice": "3000", "quantity": "0.1"}
    for _ in range(100):
        placed(world, **STOP_SELL)
        placed(world, **eth)
    assert len(world.get(OPEN)) == MAX_ALGOS
    assert refusal(send(world, **eth)) == (400, {"code": -4045, "msg": "Reach max stop order limit."})
    world.call("DELETE", ALGO, algoId=str(world.get(OPEN)[0]["algoId"]))
    placed(world, **eth)


def test_plain_and_conditional_orders_share_the_symbols_limit_and_a_trigger_is_never_in_its_own_way() -> None:
    world = World(instruments=[replace(default_instrument("BTCUSDT"), max_orders=2)])
    world.levels([(912_499, 50_000)], [(912_501, 50_000)])
    world.print(912_500, 1, True)
    plain = {"side": "BUY", "quantity": "0.010", "price": "89000"}
    placed(world, type="STOP", side="BUY", triggerPrice="91300", price="91300", quantity="0.010")
    world.placed(**plain)
    assert code(world.order(**plain)) == -2025
    assert code(send(world, **STOP_SELL)) == -2025
    trade_at(world, 913_000)
    assert "TRIGGERED" in states(world)


def test_the_old_endpoint_refuses_every_conditional_type(world: World) -> None:
    for kind in ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"):
        assert code(world.order(type=kind, side="SELL", quantity="0.010", stopPrice="90000")) == -4120


def test_a_closed_symbol_takes_no_conditional_order_and_rejects_at_the_trigger(world: World) -> None:
    placed(world, **STOP_SELL)
    world.exchange.replace_instrument(replace(world.exchange.instrument("BTCUSDT"), status="SETTLING"))
    assert code(send(world, **STOP_SELL)) == -4140
    trade_at(world, 900_000)
    assert states(world) == ["TRIGGERING", "REJECTED"]


# -- ends and queries -------------------------------------------------------------------------------------------


def test_cancelling_one_and_all(world: World) -> None:
    first = placed(world, **STOP_SELL, clientAlgoId="a")
    placed(world, **STOP_SELL, clientAlgoId="b")
    placed(
        world, symbol="ETHUSDT", type="STOP_MARKET", side="SELL", triggerPrice="3000", quantity="0.1", clientAlgoId="e"
    )
    reply = world.call("DELETE", ALGO, algoId=str(first["algoId"]))
    assert reply.body == {"algoId": first["algoId"], "clientAlgoId": "a", "code": "200", "msg": "success"}
    assert reply.order_count == 0
    assert (states(world), last_algo(world)["caid"]) == (["CANCELED"], "a")
    assert refusal(world.call("DELETE", ALGO, clientAlgoId="a")) == (400, {"code": -2011, "msg": "Unknown order sent."})
    reply = world.call("DELETE", "/fapi/v1/algoOpenOrders", symbol="BTCUSDT")
    assert reply.body == {"code": 200, "msg": "The operation of cancel all open order is done."}
    assert states(world) == ["CANCELED"]
    assert [row["clientAlgoId"] for row in world.get(OPEN)] == ["e"]


def test_plain_endpoints_do_not_know_conditional_orders_and_cancel_all_spares_them(world: World) -> None:
    body = placed(world, **STOP_SELL, clientAlgoId="a")
    assert code(world.call("GET", ORDER, symbol="BTCUSDT", origClientOrderId="a")) == -2013
    assert code(world.call("DELETE", ORDER, symbol="BTCUSDT", orderId=str(body["algoId"]))) == -2011
    assert world.open_orders() == []
    world.call("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT")
    assert len(world.get(OPEN)) == 1


@pytest.mark.parametrize("cancels", [False, True])
def test_the_dead_mans_switch_spares_or_cancels_them_by_rule(cancels: bool) -> None:
    world = make(Rules(countdown_cancels_algos=cancels))
    placed(world, **STOP_SELL)
    world.call("POST", "/fapi/v1/countdownCancelAll", symbol="BTCUSDT", countdownTime="1000")
    world.tick(world.now_ms + 1000)
    assert states(world) == (["CANCELED"] if cancels else [])


def test_a_good_till_date_ends_one_that_still_waits(world: World) -> None:
    till = (world.now_ms + 700_000) // 1000 * 1000
    soon = {"timeInForce": "GTD", "goodTillDate": str(world.now_ms + 600_000)}
    assert code(send(world, **STOP_SELL, **soon)) == -5040
    placed(world, **STOP_SELL, timeInForce="GTD", goodTillDate=str(till + 999))
    world.tick(till - 1)
    assert states(world) == []
    world.tick(till)
    assert (states(world), last_algo(world)["gtd"]) == (["EXPIRED"], till)
    assert world.exchange.next_due_ms() is None or world.exchange.next_due_ms() != till


def test_a_triggered_order_keeps_its_good_till_date(world: World) -> None:
    till = (world.now_ms + 700_000) // 1000 * 1000
    placed(
        world, type="STOP", side="SELL", quantity="0.010", triggerPrice="91000", price="91100", timeInForce="GTD",
        goodTillDate=str(till),
    )  # fmt: skip
    trade_at(world, 910_000)
    world.tick(till)
    assert told(world) == ["O EXPIRED", "A FINISHED"]


def test_one_that_ended_without_a_fill_is_found_for_three_days_and_a_filled_one_for_ninety(world: World) -> None:
    placed(world, **STOP_SELL, clientAlgoId="gone")
    placed(world, **STOP_SELL, clientAlgoId="filled")
    placed(world, **{**STOP_SELL, "triggerPrice": "80000"}, clientAlgoId="waits")
    world.call("DELETE", ALGO, clientAlgoId="gone")
    cancelled_ms = world.now_ms - 1
    trade_at(world, 900_000)
    filled_ms = world.now_ms - 1

    def found(name: str) -> bool:
        return world.call("GET", ALGO, clientAlgoId=name).status == 200

    world.now_ms = cancelled_ms + 3 * DAY_MS
    assert found("gone")
    assert (found("gone"), found("filled"), found("waits")) == (False, True, True)
    assert len(world.get(ALL, symbol="BTCUSDT", algoId="0")) == 2
    world.now_ms = filled_ms + 90 * DAY_MS
    assert found("filled")
    assert (found("filled"), found("waits")) == (False, True)


def test_lists_are_paged_filtered_and_bounded(world: World) -> None:
    ids = [placed(world, **STOP_SELL)["algoId"] for _ in range(4)]

    def listed(**params: str) -> list[int]:
        return [row["algoId"] for row in world.get(ALL, symbol="BTCUSDT", **params)]

    assert listed() == ids
    assert listed(limit="2") == ids[2:]
    assert listed(algoId=str(ids[1]), limit="2") == ids[1:3]
    assert listed(page="2", limit="3") == ids[3:]
    start = world.now_ms - 8 * DAY_MS
    assert code(world.call("GET", ALL, symbol="BTCUSDT", startTime=str(start), endTime=str(world.now_ms))) == -4165
    assert code(world.call("GET", ALL)) == -1102
    assert [row["algoId"] for row in world.get(OPEN, algoId=str(ids[2]))] == [ids[2]]
    assert (world.get(OPEN, symbol="ETHUSDT"), world.get(OPEN, algoType="VP")) == ([], [])
    assert code(world.call("GET", ALGO)) == -1102
    assert code(world.call("GET", ALGO, algoId="1")) == -2013
    assert code(world.call("GET", ALGO, "b", algoId=str(ids[0]))) == -2013


# -- a stored state ---------------------------------------------------------------------------------------------


def test_conditional_orders_survive_a_restart_with_their_timers_ids_and_open_orders() -> None:
    world = make(Rules(trigger_delay_ms=1000))
    till = (world.now_ms + 700_000) // 1000 * 1000
    placed(world, type="STOP", side="SELL", quantity="0.010", triggerPrice="91000", price="91100", clientAlgoId="rests")
    trade_at(world, 910_000)
    world.tick(world.now_ms + 1000)
    placed(world, **STOP_SELL, timeInForce="GTD", goodTillDate=str(till), clientAlgoId="dated")
    trailing = {"type": "TRAILING_STOP_MARKET", "side": "BUY", "quantity": "0.010", "callbackRate": "10"}
    placed(world, **trailing, clientAlgoId="trails")
    placed(world, type="STOP_MARKET", side="BUY", quantity="0.010", triggerPrice="91010", clientAlgoId="underway")
    trade_at(world, 910_100)
    twin = World(spec("main"), spec("b"), rules=Rules(trigger_delay_ms=1000))
    twin.exchange.restore(json.loads(json.dumps(world.exchange.dump())))
    twin.now_ms = world.now_ms
    assert twin.exchange.truth() == world.exchange.truth()
    for step in range(3):
        at_ms = (world.now_ms + 2000, till, till + 10)[step]
        assert twin.tick(at_ms) == world.tick(at_ms)
    for one in (world, twin):
        one.call("DELETE", ORDER, symbol="BTCUSDT", origClientOrderId="rests")
        assert states(one) == ["FINISHED"]
    assert placed(twin, **STOP_SELL)["algoId"] == placed(world, **STOP_SELL)["algoId"]


def test_a_timer_of_a_symbol_that_is_gone_does_nothing() -> None:
    world = World()
    till = (world.now_ms + 700_000) // 1000 * 1000
    placed(
        world, symbol="ETHUSDT", type="STOP_MARKET", side="SELL", triggerPrice="3000", quantity="0.1",
        timeInForce="GTD", goodTillDate=str(till),
    )  # fmt: skip
    twin = World(instruments=default_instruments(["BTCUSDT"]))
    twin.exchange.restore(world.exchange.dump())
    assert twin.tick(till) == []
