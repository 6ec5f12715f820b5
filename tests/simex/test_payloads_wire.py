"""Wire form: whole events and replies of the reference's story, keys in wire order, types as on the wire."""

from __future__ import annotations

import json
from decimal import Decimal

from simex.core.instrument import default_instrument, instrument_from_info
from simex.payloads import text
from simex.payloads.instrument import symbol_info
from tests.simex.core_world import START_MS, World, spec

PLACE_MS = START_MS + 200
FILL_MS = START_MS + 1249


def story() -> World:
    """Buy 0.010 BTCUSDT at 91250 as GTC; 0.004 of it fills as maker 1049 ms later (sections 13.4 and 13.6)."""
    world = World(spec("main", balances={"USDT": Decimal(5000)}))
    world.levels([(912_499, 5000)], [(912_501, 5000)])
    world.mark("91248.71420000")
    world.now_ms = PLACE_MS
    world.placed(side="BUY", quantity="0.010", price="91250", newClientOrderId="b1-macd-0001")
    return world


NEW_EVENT = (
    '{"e":"ORDER_TRADE_UPDATE","T":1795132800200,"E":1795132800200,"o":{"s":"BTCUSDT","c":"b1-macd-0001","S":"BUY",'
    '"o":"LIMIT","f":"GTC","q":"0.010","p":"91250","ap":"0","sp":"0","x":"NEW","X":"NEW","i":8886774001,"l":"0",'
    '"z":"0","L":"0","n":"0","N":"USDT","T":1795132800200,"t":0,"b":"912.5","a":"0","m":false,"R":false,'
    '"wt":"CONTRACT_PRICE","ot":"LIMIT","ps":"BOTH","cp":false,"rp":"0","pP":false,"si":0,"ss":0,'
    '"V":"EXPIRE_MAKER","pm":"NONE","gtd":0,"er":"0"}}'
)
FILL_EVENT = (
    '{"e":"ORDER_TRADE_UPDATE","T":1795132801249,"E":1795132801249,"o":{"s":"BTCUSDT","c":"b1-macd-0001","S":"BUY",'
    '"o":"LIMIT","f":"GTC","q":"0.010","p":"91250","ap":"91250","sp":"0","x":"TRADE","X":"PARTIALLY_FILLED",'
    '"i":8886774001,"l":"0.004","z":"0.004","L":"91250","n":"0.07300000","N":"USDT","T":1795132801249,'
    '"t":6512034001,"b":"547.5","a":"0","m":true,"R":false,"wt":"CONTRACT_PRICE","ot":"LIMIT","ps":"BOTH",'
    '"cp":false,"rp":"0","pP":false,"si":0,"ss":0,"V":"EXPIRE_MAKER","pm":"NONE","gtd":0,"er":"0"}}'
)
ACCOUNT_EVENT = (
    '{"e":"ACCOUNT_UPDATE","T":1795132801249,"E":1795132801249,"a":{"B":[{"a":"USDT","wb":"4999.92700000",'
    '"cw":"4999.92700000","bc":"0"}],"P":[{"s":"BTCUSDT","pa":"0.004","ep":"91250","cr":"0","up":"-0.00514320",'
    '"mt":"cross","iw":"0","ps":"BOTH","ma":"USDT","bep":"91268.25"}],"m":"ORDER"}}'
)
PLACE_REPLY = (
    '{"orderId":8886774001,"symbol":"BTCUSDT","status":"NEW","clientOrderId":"b1-macd-0001","price":"91250.00",'
    '"origQty":"0.010","executedQty":"0.000","cumQty":"0.000","timeInForce":"GTC","type":"LIMIT",'
    '"reduceOnly":false,"closePosition":false,"side":"BUY","positionSide":"BOTH","stopPrice":"0.00",'
    '"workingType":"CONTRACT_PRICE","priceProtect":false,"origType":"LIMIT","priceMatch":"NONE",'
    '"selfTradePreventionMode":"EXPIRE_MAKER","goodTillDate":0,"updateTime":1795132800200}'
)
QUERY_REPLY = (
    '{"orderId":8886774001,"symbol":"BTCUSDT","status":"PARTIALLY_FILLED","clientOrderId":"b1-macd-0001",'
    '"price":"91250.00","avgPrice":"91250.00000","origQty":"0.010","executedQty":"0.004","cumQuote":"365.00000",'
    '"timeInForce":"GTC","type":"LIMIT","reduceOnly":false,"closePosition":false,"side":"BUY",'
    '"positionSide":"BOTH","stopPrice":"0","workingType":"CONTRACT_PRICE","priceProtect":false,"origType":"LIMIT",'
    '"priceMatch":"NONE","selfTradePreventionMode":"EXPIRE_MAKER","goodTillDate":0,"time":1795132800200,'
    '"updateTime":1795132801249}'
)
TRADE_ROW = (
    '{"symbol":"BTCUSDT","id":6512034001,"orderId":8886774001,"pair":"BTCUSDT","side":"BUY","price":"91250.00",'
    '"qty":"0.004","realizedPnl":"0","quoteQty":"365.00000","commission":"0.07300000","commissionAsset":"USDT",'
    '"time":1795132801249,"positionSide":"BOTH","baseQty":"0","marginAsset":"USDT","buyer":true,"maker":true}'
)


def wire(payload: object) -> str:
    return json.dumps(payload, separators=(",", ":"))


def test_placing_answers_and_announces_byte_for_byte() -> None:
    world = World(spec("main", balances={"USDT": Decimal(5000)}))
    world.now_ms = PLACE_MS
    body = world.placed(side="BUY", quantity="0.010", price="91250", newClientOrderId="b1-macd-0001")
    assert wire(body) == PLACE_REPLY
    assert [wire(event) for event in world.events()] == [NEW_EVENT]


def test_a_partial_fill_is_announced_and_queried_byte_for_byte() -> None:
    world = story()
    world.now_ms = FILL_MS
    world.print(912_500, 4, True)
    assert [wire(event) for event in world.events()] == [ACCOUNT_EVENT, FILL_EVENT]
    assert wire(world.queried("b1-macd-0001")) == QUERY_REPLY
    assert wire(world.open_orders()) == f"[{QUERY_REPLY}]"
    assert wire(world.get("/fapi/v1/userTrades", symbol="BTCUSDT")) == f"[{TRADE_ROW}]"
    (row,) = world.get("/fapi/v1/allOrders", symbol="BTCUSDT")
    assert wire(row) == QUERY_REPLY[:-1] + ',"cumBase":"0","pair":"BTCUSDT"}'


def test_a_cancellation_reserves_nothing_and_keeps_what_was_filled() -> None:
    world = story()
    world.now_ms = FILL_MS
    world.print(912_500, 4, True)
    reply = world.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="b1-macd-0001")
    assert isinstance(reply.body, dict)
    assert list(reply.body) == list(json.loads(PLACE_REPLY))
    assert (reply.body["status"], reply.body["executedQty"], reply.body["cumQty"]) == ("CANCELED", "0.004", "0.004")
    (event,) = world.events()
    order = event["o"]
    assert list(order) == list(json.loads(NEW_EVENT)["o"])
    changed = {key: order[key] for key in ("x", "X", "b", "a", "l", "z", "ap", "n", "t", "er")}
    assert changed == {
        "x": "CANCELED",
        "X": "CANCELED",
        "b": "0",
        "a": "0",
        "l": "0",
        "z": "0.004",
        "ap": "91250",
        "n": "0",
        "t": 0,
        "er": "0",
    }


def test_a_market_order_has_no_price_anywhere() -> None:
    world = story()
    body = world.placed(side="BUY", type="MARKET", quantity="0.001", newOrderRespType="RESULT", newClientOrderId="m")
    assert (body["price"], body["timeInForce"], body["type"], body["status"]) == ("0.00", "GTC", "MARKET", "FILLED")
    assert {event["o"]["p"] for event in world.events("ORDER_TRADE_UPDATE")} == {"0"}
    assert world.queried("m")["price"] == "0"


def test_every_payload_is_json_without_floats_in_money() -> None:
    world = story()
    world.now_ms = FILL_MS
    world.print(912_500, 4, True)
    world.fund()
    numbers: list[object] = []

    def collect(value: object) -> None:
        if isinstance(value, dict):
            for inner in value.values():
                collect(inner)
        elif isinstance(value, list):
            for inner in value:
                collect(inner)
        elif isinstance(value, float | Decimal):
            numbers.append(value)

    collect([*world.events(all_time=True), world.exchange.truth()])
    for path in ("/fapi/v2/account", "/fapi/v3/account", "/fapi/v2/positionRisk", "/fapi/v1/income"):
        collect(world.get(path))
    assert numbers == []


def test_number_texts_have_no_exponent_and_no_negative_zero() -> None:
    assert text.short(Decimal("1E+5")) == "100000"
    assert text.short(Decimal("0.10")) == "0.1"
    assert text.short(Decimal("-0.00")) == "0"
    assert text.short(Decimal("100")) == "100"
    assert text.money(Decimal("-0.000000001")) == "0.00000000"
    assert text.money_or_zero(Decimal("1E-8")) == "0.00000001"
    assert text.rest_entry(Decimal(91250)) == "91250.0"
    assert text.rest_entry(Decimal(0)) == "0.0"


def test_a_symbols_exchange_info_carries_the_references_filters_and_builds_the_same_instrument() -> None:
    instrument = default_instrument("BTCUSDT")
    info = symbol_info(instrument)
    filters = {row["filterType"]: row for row in info["filters"]}
    assert filters["PRICE_FILTER"] == {
        "minPrice": "261.10",
        "tickSize": "0.10",
        "maxPrice": "809484.00",
        "filterType": "PRICE_FILTER",
    }
    assert filters["MIN_NOTIONAL"] == {"filterType": "MIN_NOTIONAL", "notional": "50"}
    assert filters["PERCENT_PRICE"]["multiplierDecimal"] == "4"
    assert (info["pricePrecision"], info["quantityPrecision"]) == (2, 3)
    again = instrument_from_info(json.loads(json.dumps(info)))
    assert symbol_info(again) == info
    assert again == instrument


def test_old_exchange_info_without_some_filters_still_gives_an_instrument() -> None:
    info = {
        "symbol": "OLDUSDT",
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": "0.001", "minPrice": "0.001", "maxPrice": "1000"},
            {"filterType": "LOT_SIZE", "stepSize": "1", "minQty": "1", "maxQty": "100000"},
        ],
    }
    instrument = instrument_from_info(info)
    assert (instrument.tick_size, instrument.step_size, instrument.min_notional) == (
        Decimal("0.001"),
        Decimal(1),
        Decimal(5),
    )
