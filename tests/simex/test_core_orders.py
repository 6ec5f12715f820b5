"""Refusals of POST order: exact status, code and text, at both sides of every limit."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from simex.core.instrument import default_instrument
from tests.simex.core_world import ORDER, World, refusal, spec

LIMIT = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.010",
    "price": "91250.0",
}
MARKET = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.010"}
GTX_TEXT = (
    "Due to the order could not be executed as maker, the Post Only order will be rejected. "
    "The order will not be recorded in the order history"
)
FOK_TEXT = (
    "Due to the order could not be filled immediately, the FOK order has been rejected. "
    "The order will not be recorded in the order history"
)


def missing(name: str) -> tuple[int, str]:
    return -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."


def superfluous(name: str) -> tuple[int, str]:
    return -1106, f"Parameter '{name}' sent when not required."


def invalid(name: str) -> tuple[int, str]:
    return -1130, f"Data sent for parameter '{name}' is not valid."


TOO_FINE = (-1111, "Precision is over the maximum defined for this asset.")
TOO_LARGE = (-4005, "Quantity greater than max quantity.")
BAD_ID = (-4015, "Client order id length should be less than 36 chars")
WRONG_LEG = (-4061, "Order's position side does not match user's setting.")
NO_DEPTH = (-5041, "No depth matches this BBO order")


def above(price: str) -> tuple[int, str]:
    return -4016, f"Limit price can't be higher than {price}."


def below(price: str) -> tuple[int, str]:
    return -4024, f"Limit price can't be lower than {price}."


@pytest.fixture
def world() -> World:
    """Book 91249.9 / 91250.1, mark 91250."""
    world = World(spec("main"), spec("hedged", hedge=True))
    world.levels([(912_499, 5000), (912_498, 5000)], [(912_501, 5000), (912_502, 5000)])
    world.mark("91250")
    return world


def send(world: World, base: dict[str, str], account: str | None = "main", **changes: str | None) -> Any:
    params = {**base, **{k: v for k, v in changes.items() if v is not None}}
    for name, value in changes.items():
        if value is None:
            params.pop(name, None)
    return world.call("POST", ORDER, account or "main", **params)


REFUSED: list[tuple[str, dict[str, str], dict[str, str | None], tuple[int, str]]] = [
    ("no symbol", LIMIT, {"symbol": None}, missing("symbol")),
    ("unknown symbol", LIMIT, {"symbol": "NOPEUSDT"}, (-1121, "Invalid symbol.")),
    ("no side", LIMIT, {"side": None}, missing("side")),
    ("unknown side", LIMIT, {"side": "HOLD"}, (-1117, "Invalid side.")),
    ("no type", LIMIT, {"type": None}, missing("type")),
    ("unknown type", LIMIT, {"type": "ICEBERG"}, (-1116, "Invalid orderType.")),
    ("no time in force", LIMIT, {"timeInForce": None}, missing("timeInForce")),
    ("unknown time in force", LIMIT, {"timeInForce": "DAY"}, (-1115, "Invalid timeInForce.")),
    ("no quantity", LIMIT, {"quantity": None}, missing("quantity")),
    ("empty quantity", LIMIT, {"quantity": ""}, missing("quantity")),
    ("no price", LIMIT, {"price": None}, missing("price")),
    ("NaN quantity", LIMIT, {"quantity": "NaN"}, missing("quantity")),
    ("exponent in the price", LIMIT, {"price": "9e4"}, missing("price")),
    ("price with a comma", LIMIT, {"price": "91,250"}, missing("price")),
    ("zero quantity", LIMIT, {"quantity": "0"}, (-4003, "Quantity less than or equal to zero.")),
    ("negative quantity", LIMIT, {"quantity": "-1"}, (-4003, "Quantity less than or equal to zero.")),
    ("quantity too fine", LIMIT, {"quantity": "0.0101"}, TOO_FINE),
    ("price too fine", LIMIT, {"price": "91250.001"}, TOO_FINE),
    ("price between ticks", LIMIT, {"price": "91250.05"}, (-4014, "Price not increased by tick size.")),
    ("negative price", LIMIT, {"price": "-5"}, (-4001, "Price less than 0.")),
    ("price below the minimum", LIMIT, {"price": "261.0"}, (-4013, "Price less than min price.")),
    ("price above the maximum", LIMIT, {"price": "809484.1"}, (-4002, "Price greater than max price.")),
    ("quantity above the maximum", LIMIT, {"quantity": "1000.001"}, TOO_LARGE),
    ("market quantity above its maximum", MARKET, {"quantity": "120.001"}, TOO_LARGE),
    ("above the band", LIMIT, {"price": "95812.6"}, above("95812.50")),
    ("below the band", LIMIT, {"side": "SELL", "price": "86687.4"}, below("86687.50")),
    (
        "small notional",
        LIMIT,
        {"quantity": "0.001", "price": "49999.9"},
        (-4164, "Order's notional must be no smaller than 50 (unless you choose reduce only)."),
    ),
    ("market with a price", MARKET, {"price": "91250"}, superfluous("price")),
    ("market with a time in force", MARKET, {"timeInForce": "GTC"}, superfluous("timeinforce")),
    ("limit with a stop price", LIMIT, {"stopPrice": "91250"}, superfluous("stopprice")),
    (
        "close position",
        MARKET,
        {"closePosition": "true"},
        (-4136, "Target strategy invalid for orderType MARKET,closePosition true"),
    ),
    ("long client id", LIMIT, {"newClientOrderId": "a" * 37}, BAD_ID),
    ("bad client id", LIMIT, {"newClientOrderId": "a b"}, BAD_ID),
    ("empty client id", LIMIT, {"newClientOrderId": ""}, (-1105, "Parameter 'newClientOrderId' was empty.")),
    ("bad flag", LIMIT, {"reduceOnly": "yes"}, invalid("reduceOnly")),
    ("bad reply type", LIMIT, {"newOrderRespType": "FULL"}, invalid("newOrderRespType")),
    ("bad self-trade mode", LIMIT, {"selfTradePreventionMode": "X"}, (-5039, "Invalid self trade prevention mode")),
    ("unknown position side", LIMIT, {"positionSide": "UP"}, (-4060, "Invalid position side.")),
    ("leg in one-way mode", LIMIT, {"positionSide": "LONG"}, WRONG_LEG),
    ("nothing to reduce", MARKET, {"reduceOnly": "true"}, (-2022, "ReduceOnly Order is rejected.")),
    ("too little margin", LIMIT, {"quantity": "2.300"}, (-2019, "Margin is insufficient.")),
    ("post-only that takes", LIMIT, {"timeInForce": "GTX", "price": "91250.1"}, (-5022, GTX_TEXT)),
    ("fill-or-kill too large", LIMIT, {"timeInForce": "FOK", "price": "91250.0"}, (-5021, FOK_TEXT)),
    ("a right that nobody here has", LIMIT, {"timeInForce": "RPI"}, (-1115, "Invalid timeInForce.")),
    ("good-till order without a date", LIMIT, {"timeInForce": "GTD"}, missing("goodTillDate")),
    ("date without good-till", LIMIT, {"goodTillDate": "1795139999000"}, superfluous("goodtilldate")),
    ("price and price match", LIMIT, {"priceMatch": "QUEUE"}, superfluous("price")),
    ("unknown price match", LIMIT, {"priceMatch": "BEST"}, (-5037, "Invalid price match")),
    ("price match too deep", LIMIT, {"priceMatch": "QUEUE_5", "price": None}, NO_DEPTH),
]  # fmt: skip


@pytest.mark.parametrize(("base", "changes", "error"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_bad_order_is_refused_with_the_exchanges_words_and_changes_nothing(
    world: World, base: dict[str, str], changes: dict[str, str | None], error: tuple[int, str]
) -> None:
    before = world.exchange.truth()
    assert refusal(send(world, base, **changes)) == (400, {"code": error[0], "msg": error[1]})
    assert world.last == []
    assert world.exchange.truth() == before


@pytest.mark.parametrize(
    "changes",
    [
        {"price": "95812.5", "quantity": "0.001"},
        {"side": "SELL", "price": "86687.5", "quantity": "0.001"},
        {"quantity": "0.001", "price": "50000.0"},
        {"quantity": "2.100", "price": "91000"},
        {"newClientOrderId": "a" * 36},
        {"newClientOrderId": ".A:/a_-9"},
        {"timeInForce": "GTX", "price": "91250.0"},
        {"timeInForce": "FOK", "price": "91250.1"},
        {"price": "91250.00"},
        {"price": "91250", "quantity": "0.01"},
        {"reduceOnly": "false"},
        {"positionSide": "BOTH"},
        {"closePosition": "false"},
        {"priceMatch": "NONE"},
        {"signature": "x", "timestamp": "1", "recvWindow": "5000", "extra": "ignored"},
    ],
    ids=str,
)
def test_an_order_just_inside_the_limits_is_accepted(world: World, changes: dict[str, str | None]) -> None:
    assert send(world, LIMIT, **changes).status == 200


@pytest.mark.parametrize("kind", ["STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"])
def test_conditional_types_are_sent_to_the_algo_service(world: World, kind: str) -> None:
    text = "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead."
    reply = send(world, LIMIT, type=kind, stopPrice="90000")
    assert refusal(reply) == (400, {"code": -4120, "msg": text})


def test_hedge_mode_demands_a_leg_and_forbids_reduce_only_even_false(world: World) -> None:
    text = "Order's position side does not match user's setting."
    assert refusal(send(world, LIMIT, "hedged")) == (400, {"code": -4061, "msg": text})
    assert refusal(send(world, LIMIT, "hedged", positionSide="BOTH")) == (400, {"code": -4061, "msg": text})
    reply = send(world, LIMIT, "hedged", positionSide="LONG", reduceOnly="false")
    assert refusal(reply) == (400, {"code": -1106, "msg": "Parameter 'reduceonly' sent when not required."})
    assert send(world, LIMIT, "hedged", positionSide="LONG").status == 200


def test_the_notional_of_a_market_order_counts_at_the_mark_price(world: World) -> None:
    world.levels([(499, 0)], [], "ETHUSDT")
    world.mark("2000", symbol="ETHUSDT")
    assert refusal(send(world, MARKET, symbol="ETHUSDT", quantity="0.009"))[1]["code"] == -4164
    assert send(world, MARKET, symbol="ETHUSDT", quantity="0.010").status == 200


def test_an_open_client_id_is_refused_and_a_closed_one_may_be_used_again(world: World) -> None:
    first = world.placed(side="BUY", quantity="0.010", price="90000.0", newClientOrderId="twice")
    again = send(world, LIMIT, price="90000.0", newClientOrderId="twice")
    assert refusal(again) == (400, {"code": -4116, "msg": "ClientOrderId is duplicated."})
    world.call("DELETE", ORDER, symbol="BTCUSDT", orderId=str(first["orderId"]))
    second = world.placed(side="BUY", quantity="0.010", price="90000.0", newClientOrderId="twice")
    assert second["orderId"] > first["orderId"]
    assert world.queried("twice")["orderId"] == second["orderId"], "the newest one answers to the id"


def test_open_orders_per_symbol_are_limited(world: World) -> None:
    for _ in range(200):
        world.placed(side="BUY", quantity="0.001", price="90000.0")
    assert refusal(send(world, LIMIT, price="90000.0"))[1] == {"code": -2025, "msg": "Reach max open order limit."}
    assert send(world, LIMIT, symbol="ETHUSDT", price="3000", quantity="0.01").status == 200


def test_a_suspended_symbol_takes_no_openings_and_a_changed_tick_is_refused(world: World) -> None:
    instrument = world.exchange.instrument("BTCUSDT")
    world.exchange.replace_instrument(replace(instrument, status="SETTLING"))
    assert refusal(send(world, LIMIT))[1]["code"] == -4140
    world.exchange.replace_instrument(replace(instrument, min_notional=Decimal(1000)))
    assert refusal(send(world, LIMIT))[1]["code"] == -4164
    with pytest.raises(ValueError, match="tick and step size cannot change"):
        world.exchange.replace_instrument(replace(instrument, tick_size=Decimal("0.01")))


def test_good_till_date_needs_more_than_ten_minutes_and_keeps_whole_seconds(world: World) -> None:
    at = world.now_ms + 600_000
    assert refusal(send(world, LIMIT, timeInForce="GTD", goodTillDate=str(at)))[1]["code"] == -5040
    far = "253402300799000"
    assert refusal(send(world, LIMIT, timeInForce="GTD", goodTillDate=far))[1]["code"] == -5040
    body = send(world, LIMIT, timeInForce="GTD", price="90000", goodTillDate=str(world.now_ms + 700_999)).body
    assert body["goodTillDate"] == (world.now_ms - 1 + 700_999) // 1000 * 1000


def test_order_test_checks_everything_but_reaches_nothing(world: World) -> None:
    before = world.exchange.truth()
    reply = world.call("POST", "/fapi/v1/order/test", **{**LIMIT, "newClientOrderId": "probe"})
    assert reply.status == 200
    assert isinstance(reply.body, dict)
    assert list(reply.body)[:4] == ["orderId", "symbol", "status", "clientOrderId"]
    shown = [reply.body[k] for k in ("orderId", "symbol", "status", "clientOrderId", "price")]
    assert shown == [0, "", "", "probe", ""]
    refused = world.call("POST", "/fapi/v1/order/test", **{**LIMIT, "quantity": "0.001", "price": "40000"})
    assert refusal(refused)[1]["code"] == -4164
    assert world.exchange.truth() == before


def test_an_unknown_path_is_refused_as_the_test_host_does(world: World) -> None:
    reply = world.call("PATCH", ORDER, **LIMIT)
    assert refusal(reply) == (404, {"code": -5000, "msg": "Path /fapi/v1/order, Method PATCH is invalid"})


def test_order_cost_is_counted_for_what_reached_the_engine(world: World) -> None:
    assert send(world, LIMIT).order_count == 1
    assert send(world, LIMIT, timeInForce="GTX", price="91250.1").order_count == 1
    assert send(world, LIMIT, quantity="0").order_count == 0
    assert world.call("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT").order_count == 0


def test_every_preset_instrument_accepts_an_order_of_its_smallest_legal_size() -> None:
    for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT", "DOGEUSDT", "TRXUSDT", "ANYUSDC"):
        instrument = default_instrument(symbol)
        world = World(spec("main", balances={instrument.quote_asset: Decimal(10_000)}), instruments=[instrument])
        ticks = instrument.ticks(instrument.reference_price)
        lots = int(instrument.min_notional / (instrument.reference_price * instrument.step_size)) + 1
        body = world.placed(
            symbol=symbol, side="BUY", price=instrument.price_text(ticks), quantity=instrument.qty_text(lots)
        )
        assert (body["price"], body["origQty"]) == (instrument.price_text(ticks), instrument.qty_text(lots))
