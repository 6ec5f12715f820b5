"""Fees by tier and in BNB, isolated margin by hand, asset modes, rights of keys: exact figures and all refusals."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from simex.core.fees import TIERS
from simex.core.instrument import default_instruments
from simex.core.rights import Rights
from tests.simex.core_world import START_MS, World, refusal, spec

BID, ASK = 912_499, 912_501
MULTI, BURN, MARGIN = "/fapi/v1/multiAssetsMargin", "/fapi/v1/feeBurn", "/fapi/v1/positionMargin"
SUCCESS = {"code": 200, "msg": "success"}
DAY_MS = 86_400_000


def market_world(*accounts: Any, symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT", "BNBUSDT")) -> World:
    world = World(*(accounts or (spec("main"),)), instruments=default_instruments(symbols))
    world.levels([(BID, 5000)], [(ASK, 5000)])
    world.mark("91250")
    if "BNBUSDT" in symbols:
        world.mark("900", symbol="BNBUSDT")
    return world


# -- fees -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", range(len(TIERS)))
def test_commission_is_that_of_the_tier_for_maker_and_taker_and_is_told_by_commission_rate(tier: int) -> None:
    world = market_world(spec("main", fee_tier=tier))
    maker, taker = TIERS[tier].maker, TIERS[tier].taker
    rates = world.get("/fapi/v1/commissionRate", symbol="BTCUSDT")
    assert (rates["makerCommissionRate"], rates["takerCommissionRate"]) == (f"{maker:.6f}", f"{taker:.6f}")
    assert world.get("/fapi/v1/accountConfig")["feeTier"] == world.get("/fapi/v2/account")["feeTier"] == tier
    world.placed(side="BUY", type="MARKET", quantity="0.010")
    assert Decimal(world.events("ORDER_TRADE_UPDATE")[-1]["o"]["n"]) == Decimal("912.501") * taker
    world.placed(side="SELL", quantity="0.010", price="91300")
    world.print(913_000, 10, False)
    done = world.events("ORDER_TRADE_UPDATE")[-1]["o"]
    assert (done["m"], Decimal(done["n"])) == (True, Decimal("913") * maker)


def test_tiers_fall_and_the_first_is_the_instruments_own_rate() -> None:
    assert all(one.maker >= two.maker and one.taker > two.taker for one, two in pairwise(TIERS))
    world = market_world(spec("main", fee_tier=2, taker_rate=Decimal("0.0004")))
    rates = world.get("/fapi/v1/commissionRate", symbol="BTCUSDT")
    assert (rates["makerCommissionRate"], rates["takerCommissionRate"]) == ("0.000140", "0.000400"), "own rate first"


@pytest.mark.parametrize("tier", [-1, 10])
def test_a_tier_that_does_not_exist_is_refused(tier: int) -> None:
    with pytest.raises(ValueError, match="fee_tier must be 0 to 9"):
        World(spec("main", fee_tier=tier))


def test_commission_in_bnb_costs_a_tenth_less_and_leaves_the_dollars_alone() -> None:
    world = market_world(spec("main", balances={"USDT": Decimal(5000), "BNB": Decimal(1)}))
    assert world.get(BURN) == {"feeBurn": False}
    assert world.call("POST", BURN, feeBurn="true").body == SUCCESS
    assert world.get(BURN) == {"feeBurn": True}
    world.placed(side="BUY", type="MARKET", quantity="0.010")
    # 912.501 * 0.0005 * 0.9 / 900
    burned = "0.00045625"
    done = world.events("ORDER_TRADE_UPDATE")[-1]["o"]
    assert (done["n"], done["N"]) == (burned, "BNB")
    (update,) = (event["a"] for event in world.events("ACCOUNT_UPDATE"))
    assert update["B"] == [
        {"a": "USDT", "wb": "5000.00000000", "cw": "5000.00000000", "bc": "0"},
        {"a": "BNB", "wb": "0.99954375", "cw": "0.99954375", "bc": "0"},
    ]
    (row,) = world.get("/fapi/v1/userTrades", symbol="BTCUSDT")
    assert (row["commission"], row["commissionAsset"]) == (burned, "BNB")
    (line,) = world.get("/fapi/v1/income", incomeType="COMMISSION")
    assert (line["income"], line["asset"]) == (f"-{burned}", "BNB")
    assert Decimal(world.position()["breakEvenPrice"]) > Decimal("91250.1"), "the fee counts, whatever it was paid in"


def test_without_enough_bnb_the_whole_fee_is_paid_in_dollars() -> None:
    world = market_world(
        spec("main", balances={"USDT": Decimal(5000), "BNB": Decimal("0.00045624")}, fee_burn=True),
    )
    world.placed(side="BUY", type="MARKET", quantity="0.010")
    done = world.events("ORDER_TRADE_UPDATE")[-1]["o"]
    assert (done["n"], done["N"]) == ("0.45625050", "USDT")
    assert world.exchange.truth()["accounts"]["main"]["balances"]["BNB"]["wallet"] == "0.00045624"


def test_fee_burn_asks_for_a_word() -> None:
    world = World()
    assert refusal(world.call("POST", BURN))[1]["code"] == -1102
    assert refusal(world.call("POST", BURN, feeBurn="yes"))[1]["code"] == -1130


# -- isolated margin --------------------------------------------------------------------------------------------


def isolated_world(**settings: Any) -> World:
    """Long 0.010 at 91250.1 with 20 times leverage: margin 45.62505, of which the fee took 0.4562505."""
    world = market_world(spec("main", balances={"USDT": Decimal(100)}, margin_type="ISOLATED", **settings))
    leg = {"positionSide": "LONG"} if settings.get("hedge") else {}
    world.placed(side="BUY", type="MARKET", quantity="0.010", **leg)
    return world


def test_margin_is_added_and_taken_back_and_the_wallet_stays_whole() -> None:
    world = isolated_world()
    before = world.wallet()
    reply = world.call("POST", MARGIN, symbol="BTCUSDT", amount="20.5", type="1")
    assert refusal(reply) == (
        200,
        {"amount": 20.5, "code": 200, "msg": "Successfully modify position margin.", "type": 1},
    )
    (event,) = world.events()
    assert event["a"]["m"] == "MARGIN_TRANSFER"
    assert event["a"]["B"] == [{"a": "USDT", "wb": f"{before}", "cw": "33.87495000", "bc": "0"}]
    assert [(row["s"], row["iw"]) for row in event["a"]["P"]] == [("BTCUSDT", "65.66879950")]
    (risk,) = world.get("/fapi/v3/positionRisk")
    assert risk["isolatedWallet"] == "65.66879950"
    at = world.now_ms
    assert world.call("POST", MARGIN, symbol="BTCUSDT", amount="5", type="2").status == 200
    assert world.wallet() == before
    rows = world.get(f"{MARGIN}/history", symbol="BTCUSDT")
    assert rows[0] == {
        "symbol": "BTCUSDT", "type": 2, "deltaType": "USER_ADJUST", "amount": "5.00000000", "asset": "USDT",
        "time": at, "positionSide": "BOTH",
    }  # fmt: skip
    assert [(row["type"], row["amount"]) for row in rows] == [(2, "5.00000000"), (1, "20.50000000")]


def test_no_more_is_added_than_is_free_and_no_more_taken_than_is_not_needed() -> None:
    world = isolated_world()
    # cross wallet 100 - 45.62505; the position holds 45.1687995, less its loss of 0.001, and needs 45.625
    free = Decimal("54.37495")
    too_much = world.call("POST", MARGIN, symbol="BTCUSDT", amount=f"{free + Decimal('0.00000001')}", type="1")
    assert refusal(too_much) == (400, {"code": -4050, "msg": "Cross balance insufficient."})
    assert world.call("POST", MARGIN, symbol="BTCUSDT", amount=str(free), type="1").status == 200
    spare = Decimal("45.1687995") + free - Decimal("0.001") - Decimal("45.625")
    too_much = world.call("POST", MARGIN, symbol="BTCUSDT", amount=f"{spare + Decimal('0.00000001')}", type="2")
    assert refusal(too_much) == (400, {"code": -4051, "msg": "Isolated balance insufficient."})
    assert world.call("POST", MARGIN, symbol="BTCUSDT", amount=str(spare), type="2").status == 200


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"symbol": "BTCUSDT", "amount": "1"}, -1102),
        ({"symbol": "BTCUSDT", "type": "1"}, -1102),
        ({"symbol": "BTCUSDT", "amount": "1", "type": "3"}, -1130),
        ({"symbol": "BTCUSDT", "amount": "0", "type": "1"}, -4055),
        ({"symbol": "BTCUSDT", "amount": "-1", "type": "1"}, -4055),
        ({"symbol": "BTCUSDT", "amount": "0.000000001", "type": "1"}, -4055),
        ({"symbol": "BTCUSDT", "amount": "1", "type": "1", "positionSide": "LONG"}, -4061),
        ({"symbol": "BTCUSDT", "amount": "1", "type": "1", "positionSide": "UP"}, -4060),
        ({"symbol": "ETHUSDT", "amount": "1", "type": "1"}, -4054),
        ({"symbol": "NOPE", "amount": "1", "type": "1"}, -1121),
    ],
)
def test_a_bad_change_of_margin_is_refused_by_its_code(params: dict[str, str], code: int) -> None:
    world = isolated_world()
    before = world.exchange.truth()
    assert refusal(world.call("POST", MARGIN, **params))[1]["code"] == code
    assert world.exchange.truth() == before
    assert world.events() == []


def test_a_crossed_position_has_no_margin_of_its_own_and_a_hedged_one_has_one_per_leg() -> None:
    world = market_world()
    world.placed(side="BUY", type="MARKET", quantity="0.010")
    reply = world.call("POST", MARGIN, symbol="BTCUSDT", amount="1", type="1")
    assert refusal(reply) == (400, {"code": -4049, "msg": "Add margin only support for isolated position."})
    hedged = isolated_world(hedge=True)
    assert refusal(hedged.call("POST", MARGIN, symbol="BTCUSDT", amount="1", type="1"))[1]["code"] == -4061
    assert (
        refusal(hedged.call("POST", MARGIN, symbol="BTCUSDT", amount="1", type="1", positionSide="SHORT"))[1]["code"]
        == -4054
    )
    assert hedged.call("POST", MARGIN, symbol="BTCUSDT", amount="1", type="1", positionSide="LONG").status == 200


def test_the_history_of_margin_is_asked_by_kind_and_time_and_ends_after_thirty_days() -> None:
    world = isolated_world()
    at = world.now_ms
    world.call("POST", MARGIN, symbol="BTCUSDT", amount="2", type="1")
    world.call("POST", MARGIN, symbol="BTCUSDT", amount="1", type="2")
    path = f"{MARGIN}/history"

    def amounts(**params: str) -> list[str]:
        return [row["amount"] for row in world.get(path, symbol="BTCUSDT", **params)]

    assert amounts(type="1") == ["2.00000000"]
    assert amounts(startTime=str(at + 1)) == ["1.00000000"]
    assert amounts(endTime=str(at)) == ["2.00000000"]
    assert amounts(limit="1") == ["1.00000000"]
    world.now_ms = at + 30 * DAY_MS
    assert len(amounts()) == 2
    world.now_ms = at + 30 * DAY_MS + 1
    assert amounts() == ["1.00000000"]
    assert refusal(world.call("GET", path))[1]["code"] == -1102


def test_with_isolated_margin_in_hedge_mode_a_fill_tells_of_the_open_other_leg_too() -> None:
    both = [["LONG"], ["LONG", "SHORT"], ["LONG", "SHORT"]]
    for margin_type, told in (("ISOLATED", both), ("CROSSED", [["LONG"], ["SHORT"], ["LONG"]])):
        world = market_world(spec("main", hedge=True, margin_type=margin_type))
        heard = []
        for side, leg in (("BUY", "LONG"), ("SELL", "SHORT"), ("SELL", "LONG")):
            world.placed(side=side, type="MARKET", quantity="0.010", positionSide=leg)
            (event,) = world.events("ACCOUNT_UPDATE")
            heard.append([row["ps"] for row in event["a"]["P"]])
        assert heard == told, margin_type


# -- asset mode -------------------------------------------------------------------------------------------------


def test_multi_assets_mode_counts_every_asset_in_dollars_with_its_discount() -> None:
    world = market_world(spec("main", balances={"USDT": Decimal(100), "BNB": Decimal(2)}))
    assert refusal(world.order(side="BUY", type="MARKET", quantity="0.100"))[1]["code"] == -2019
    assert world.call("POST", MULTI, multiAssetsMargin="true").body == SUCCESS
    (event,) = world.events()
    assert event == {"e": "ACCOUNT_CONFIG_UPDATE", "T": event["E"], "E": world.now_ms - 1, "ai": {"j": True}}
    account = world.get("/fapi/v3/account")
    # 100 + 2 * 900 * 0.95
    assert (account["totalWalletBalance"], account["availableBalance"]) == ("1810.00000000", "1810.00000000")
    rows = {row["asset"]: row["availableBalance"] for row in account["assets"]}
    assert rows == {"USDT": "1810.00000000", "BNB": "2.01111111"}
    world.placed(side="BUY", type="MARKET", quantity="0.100")
    account = world.get("/fapi/v3/account")
    # 9125 / 20 is bound; the fee of 4.562505 and the loss of 0.01 are gone
    assert account["availableBalance"] == "1349.17749500"
    assert world.get(MULTI) == {"multiAssetsMargin": True}
    assert world.get("/fapi/v1/accountConfig")["multiAssetsMargin"] is True
    truth = world.exchange.truth()["accounts"]["main"]
    assert truth["margin"]["USD"]["available"] == "1349.17749500"


def test_a_fall_of_the_collateral_liquidates_in_multi_assets_mode_only() -> None:
    for multi in (True, False):
        balances = {"USDT": Decimal(1000), "BNB": Decimal(2)} if not multi else {"BNB": Decimal(2)}
        world = market_world(spec("main", balances=balances, multi_assets=multi, leverage=100))
        world.placed(side="BUY", type="MARKET", quantity="0.100")
        world.mark("15", symbol="BNBUSDT")
        assert bool(world.get("/fapi/v3/positionRisk")) is not multi


def test_the_asset_mode_changes_only_when_nothing_stands_in_its_way() -> None:
    world = market_world(spec("main", balances={"USDT": Decimal(100), "BNB": Decimal(2)}))

    def change(to: str) -> Any:
        return refusal(world.call("POST", MULTI, multiAssetsMargin=to))[1]

    assert change("false")["code"] == -4171
    assert change("maybe")["code"] == -1130
    world.placed(side="BUY", quantity="0.010", price="91000", newClientOrderId="x")
    assert change("true")["code"] == -4170
    world.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="x")
    world.call("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="ISOLATED")
    world.placed(side="BUY", type="MARKET", quantity="0.010")
    assert change("true")["code"] == -4167
    world.placed(side="SELL", type="MARKET", quantity="0.010")
    assert change("true") == SUCCESS
    assert world.get("/fapi/v1/symbolConfig", symbol="BTCUSDT")[0]["marginType"] == "CROSSED"
    reply = world.call("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="ISOLATED")
    text = "Unable to adjust to isolated-margin mode under the Multi-Assets mode."
    assert refusal(reply) == (400, {"code": -4168, "msg": text})
    world.placed(side="BUY", type="MARKET", quantity="0.100")
    world.mark("89000")
    assert change("false")["code"] == -4169, "dollars alone do not cover the position"
    world.mark("91250")
    world.placed(side="SELL", type="MARKET", quantity="0.100")
    world.transfer("-1000")
    assert change("false")["code"] == -4172, "a debt in dollars that other assets covered"
    world.transfer("1000")
    assert change("false") == SUCCESS


# -- rights -----------------------------------------------------------------------------------------------------


def test_a_key_is_told_its_rights_and_one_that_may_not_trade_only_reads() -> None:
    world = market_world(
        spec("main", rights=Rights(futures=False, withdrawals=True, ip_restricted=True)), spec("other")
    )
    told = world.get("/sapi/v1/account/apiRestrictions")
    assert {key: value for key, value in told.items() if value is True} == {
        "enableReading": True,
        "enableWithdrawals": True,
        "ipRestrict": True,
    }
    refused = (401, {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."})
    assert refusal(world.order(side="BUY", type="MARKET", quantity="0.010")) == refused
    assert refusal(world.call("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage="5")) == refused
    assert refusal(world.call("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT")) == refused
    assert world.get("/fapi/v2/account")["canTrade"] is False
    assert world.get("/fapi/v1/openOrders") == []
    assert world.get("/sapi/v1/account/apiRestrictions", "other")["enableFutures"] is True
    blind = market_world(spec("main", rights=Rights(reading=False)))
    assert refusal(blind.call("GET", "/fapi/v1/openOrders")) == refused


# -- income -----------------------------------------------------------------------------------------------------


def test_income_is_paged_typed_and_kept_for_three_months() -> None:
    world = World(spec("main", balances={"USDT": Decimal(1000)}))
    for number in range(5):
        world.transfer(str(number + 1))

    def incomes(**params: str) -> list[str]:
        return [row["income"][0] for row in world.get("/fapi/v1/income", **params)]

    assert incomes() == ["1", "2", "3", "4", "5"]
    assert incomes(limit="2") == ["4", "5"], "the newest"
    assert incomes(limit="2", startTime=str(START_MS)) == ["1", "2"], "from the start"
    assert [incomes(limit="2", page=page) for page in "1234"] == [["1", "2"], ["3", "4"], ["5"], []]
    assert incomes(incomeType="COMMISSION") == []
    assert incomes(symbol="BTCUSDT") == []
    for params, code in (({"incomeType": "WAGES"}, -1130), ({"limit": "1001"}, -1130), ({"limit": "0"}, -1130)):
        assert refusal(world.call("GET", "/fapi/v1/income", **params))[1]["code"] == code
    world.now_ms = START_MS + 90 * DAY_MS
    assert incomes(startTime="0") == ["1", "2", "3", "4", "5"]
    world.now_ms = START_MS + 90 * DAY_MS + 2
    assert incomes(startTime="0") == ["3", "4", "5"]
    ids = [row["tranId"] for row in world.get("/fapi/v1/income", startTime="0")]
    assert ids == sorted(set(ids))


def test_a_look_at_the_trading_status_finds_nothing_broken() -> None:
    world = World()
    assert world.get("/fapi/v1/apiTradingStatus") == {"indicators": {}, "updateTime": START_MS}
