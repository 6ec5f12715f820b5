"""Whatever a client sends, the core answers: a reply of the exchange's form, nothing half done, books straight."""

from __future__ import annotations

from decimal import Decimal

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simex.core import account as account_module
from simex.core.exchange import ROUTES, Exchange
from simex.core.instrument import default_instruments
from tests.simex.core_checks import check_all
from tests.simex.core_world import START_MS, World, spec

NAMES = [
    "symbol", "side", "type", "timeInForce", "quantity", "price", "positionSide", "reduceOnly", "newClientOrderId",
    "newOrderRespType", "selfTradePreventionMode", "goodTillDate", "priceMatch", "closePosition", "stopPrice",
    "orderId", "origClientOrderId", "leverage", "marginType", "dualSidePosition", "startTime", "endTime", "limit",
    "page", "fromId", "incomeType", "algoType", "triggerPrice", "callbackRate", "activatePrice", "workingType",
    "priceProtect", "clientAlgoId", "algoId", "modifyId", "batchOrders", "orderIdList", "origClientOrderIdList",
    "countdownTime", "autoCloseType", "amount", "feeBurn", "multiAssetsMargin",
]  # fmt: skip
VALUES = [
    "", " ", "BTCUSDT", "btcusdt", "NOPE", "BUY", "SELL", "buy", "LIMIT", "MARKET", "STOP", "GTC", "IOC", "FOK", "GTX",
    "GTD", "RPI", "BOTH", "LONG", "SHORT", "true", "false", "TRUE", "null", "NaN", "Infinity", "-0", "0", "1", "-1",
    "0.010", "91250", "91250.0", "1e5", "0x10", "9" * 20, "9" * 21, "9" * 40, f"0.{'1' * 30}", "1.", ".5", "ACK",
    "RESULT", "NONE", "EXPIRE_BOTH", "QUEUE", "OPPONENT_20", "ISOLATED", "CROSSED", "125", "8886774001", "a",
    "CONDITIONAL", "STOP_MARKET", "TAKE_PROFIT", "TRAILING_STOP_MARKET", "90000", "92000", "MARK_PRICE", "GTE_GTC",
    "ADL", "[]", "[{}]", "[null]", '["a"]', '[{"symbol":"BTCUSDT","side":"BUY","type":"MARKET","quantity":0.01}]',
    '[{"symbol":"\\ud800","workingType":"\\ud800"}]', '[{"symbol":["BTCUSDT"]}]', "[" * 2000, "{}", "[1e400]",
    "1795132800000", "1795139999999", "測試", "\x00", "a" * 37, "'; --", "[1,2]",
]  # fmt: skip

params = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES) | st.text(max_size=8), max_size=10)
sane = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.010",
    "price": "91250",
}
spoilt = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), max_size=2)
order_params = spoilt.map(lambda chosen: {**sane, **chosen})
sane_algo = {
    "algoType": "CONDITIONAL",
    "symbol": "BTCUSDT",
    "side": "SELL",
    "type": "STOP_MARKET",
    "triggerPrice": "90000",
    "quantity": "0.010",
}
algo_params = spoilt.map(lambda chosen: {**sane_algo, **chosen})
amend_params = spoilt.map(lambda chosen: {**sane, "orderId": "8886774001", "price": "91000", **chosen})
margin_params = spoilt.map(lambda chosen: {"symbol": "BTCUSDT", "amount": "5", "type": "1", **chosen})
mode_params = spoilt.map(lambda chosen: {"feeBurn": "true", "multiAssetsMargin": "true", **chosen})
calls = st.tuples(
    st.sampled_from(sorted(ROUTES)),
    params | order_params | algo_params | amend_params | margin_params | mode_params,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(calls, min_size=5, max_size=25))
def test_no_request_breaks_the_core_or_its_books(requests: list[tuple[tuple[str, str], dict[str, str]]]) -> None:
    world = World(spec("main", balances={"USDT": Decimal(10_000)}))
    world.levels([(912_499, 5000)], [(912_501, 5000)])
    world.mark("91250")
    for (method, path), sent in requests:
        reply = world.call(method, path, "main", **sent)
        orjson.dumps(reply.body)
        if reply.status != 200:
            assert reply.status == 400
            assert isinstance(reply.body, dict)
            assert set(reply.body) == {"code", "msg"}
            assert reply.body["code"] < 0 and reply.body["msg"]
            assert world.last == [], "a refused request has no effects"
    if not world.exchange.truth()["accounts"]["main"]["hedge"]:
        check_all(world, {"main": Decimal(10_000)})


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("quantity", "0.0100000000000000000000001", -1102),
        ("quantity", "0.01000000000000000001", -1111),
        ("price", "91250.00000000000000000001", -1111),
        ("price", "99999999999999999999", -4002),
        ("quantity", "99999999999999999999", -4005),
        ("quantity", "1" * 30, -1102),
    ],
)
def test_numbers_of_many_digits_are_judged_exactly(name: str, value: str, code: int) -> None:
    world = World()
    reply = world.call("POST", "/fapi/v1/order", **{**sane, name: value})
    assert isinstance(reply.body, dict)
    assert reply.body["code"] == code


def test_two_accounts_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="same name"):
        Exchange(default_instruments(["BTCUSDT"]), [spec("main"), spec("main")])


def test_an_exchange_started_later_never_gives_an_id_again() -> None:
    def ids(base: int) -> tuple[int, int]:
        exchange = Exchange(default_instruments(["BTCUSDT"]), [spec("main")], id_base=base)
        exchange.on_levels(START_MS, "BTCUSDT", [], [(912_500, 5000)])
        market = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.010"}
        exchange.call(START_MS, "main", "POST", "/fapi/v1/order", market)
        (fill,) = exchange.truth()["accounts"]["main"]["fills"]
        return fill["orderId"], fill["id"]

    first, second = ids(0), ids(START_MS)
    assert [later - earlier for earlier, later in zip(first, second, strict=True)] == [START_MS, START_MS]


def test_an_accounts_secret_is_not_in_its_repr() -> None:
    assert "secret" not in repr(spec("main")) and "key-" not in repr(spec("main"))


def test_closed_orders_are_kept_up_to_a_bound_and_open_ones_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_module, "MAX_CLOSED_ORDERS", 3)
    world = World()
    kept = world.placed(side="BUY", quantity="0.010", price="89000")["orderId"]
    ids = []
    for n in range(5):
        ids.append(world.placed(side="BUY", quantity="0.010", price="90000", newClientOrderId=f"c{n}")["orderId"])
        world.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", orderId=str(ids[-1]))
    known = [row["orderId"] for row in world.get("/fapi/v1/allOrders", symbol="BTCUSDT")]
    assert known == [kept, *ids[2:]]
    forgotten = world.call("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="c0")
    assert isinstance(forgotten.body, dict)
    assert forgotten.body["code"] == -2013


def test_an_accounts_own_fee_rates_replace_the_instruments() -> None:
    world = World(spec("main", maker_rate=Decimal("-0.0001"), taker_rate=Decimal("0.0003")))
    world.levels([(912_499, 5000)], [(912_500, 5000)])
    world.placed(side="BUY", type="MARKET", quantity="0.010")
    assert world.events("ORDER_TRADE_UPDATE")[-1]["o"]["n"] == "0.27375000"
    world.placed(side="SELL", quantity="0.010", price="91260")
    world.print(912_600, 10, False)
    assert world.events("ORDER_TRADE_UPDATE")[-1]["o"]["n"] == "-0.09126000", "a rebate is a negative commission"
    assert world.get("/fapi/v1/commissionRate", symbol="BTCUSDT")["makerCommissionRate"] == "-0.000100"


def test_income_is_filtered_paged_and_bounded() -> None:
    world = World()
    world.mark("91250")
    for amount in ("1", "2", "3", "4", "5"):
        world.transfer(amount)
    first = world.get("/fapi/v1/income", limit="2", page="1")
    second = world.get("/fapi/v1/income", limit="2", page="2")
    assert [row["income"] for row in first + second] == [f"{n}.00000000" for n in (1, 2, 3, 4)]
    assert [row["income"] for row in world.get("/fapi/v1/income", limit="2")] == ["4.00000000", "5.00000000"]
    assert world.get("/fapi/v1/income", incomeType="COMMISSION") == []
    assert world.get("/fapi/v1/income", symbol="BTCUSDT") == []
    late = world.get("/fapi/v1/income", startTime=str(START_MS + 3), endTime=str(START_MS + 4))
    assert [row["income"] for row in late] == ["3.00000000", "4.00000000"]
    assert len({row["tranId"] for row in world.get("/fapi/v1/income")}) == 5
