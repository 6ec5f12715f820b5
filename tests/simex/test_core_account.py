"""Balances, margin, funding and the account's switches, by whole replies where the reference prints one."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.simex.core_world import START_MS, World, refusal, spec

BID, ASK = 912_499, 912_501
FILL_MS = START_MS + 1249


def story(**settings: object) -> World:
    """The reference's story: 5000 USDT buy 0.010 BTCUSDT at 91250 as maker; mark 91248.7142."""
    world = World(spec("main", balances={"USDT": Decimal(5000)}, **settings))
    world.levels([(BID, 5000)], [(ASK, 5000)])
    world.mark("91248.71420000")
    world.placed(side="BUY", quantity="0.010", price="91250.0", newClientOrderId="b1-macd-0001")
    world.now_ms = FILL_MS
    world.print(912_500, 10, True)
    return world


def test_account_v3_equals_the_references_example() -> None:
    assert story().get("/fapi/v3/account") == {
        "totalInitialMargin": "45.62435710",
        "totalMaintMargin": "3.64994857",
        "totalWalletBalance": "4999.81750000",
        "totalUnrealizedProfit": "-0.01285800",
        "totalMarginBalance": "4999.80464200",
        "totalPositionInitialMargin": "45.62435710",
        "totalOpenOrderInitialMargin": "0.00000000",
        "totalCrossWalletBalance": "4999.81750000",
        "totalCrossUnPnl": "-0.01285800",
        "availableBalance": "4954.18028490",
        "maxWithdrawAmount": "4954.18028490",
        "assets": [
            {
                "asset": "USDT",
                "walletBalance": "4999.81750000",
                "unrealizedProfit": "-0.01285800",
                "marginBalance": "4999.80464200",
                "maintMargin": "3.64994857",
                "initialMargin": "45.62435710",
                "positionInitialMargin": "45.62435710",
                "openOrderInitialMargin": "0.00000000",
                "crossWalletBalance": "4999.81750000",
                "crossUnPnl": "-0.01285800",
                "availableBalance": "4954.18028490",
                "maxWithdrawAmount": "4954.18028490",
                "updateTime": FILL_MS,
            }
        ],
        "positions": [
            {
                "symbol": "BTCUSDT",
                "positionSide": "BOTH",
                "positionAmt": "0.010",
                "unrealizedProfit": "-0.01285800",
                "isolatedMargin": "0",
                "notional": "912.48714200",
                "isolatedWallet": "0",
                "initialMargin": "45.62435710",
                "maintMargin": "3.64994857",
                "updateTime": FILL_MS,
            }
        ],
    }


def test_position_risk_equals_the_references_examples() -> None:
    world = story()
    shared = {
        "symbol": "BTCUSDT",
        "positionAmt": "0.010",
        "entryPrice": "91250.0",
        "breakEvenPrice": "91268.25",
        "markPrice": "91248.71420000",
        "unRealizedProfit": "-0.01285800",
        "liquidationPrice": "0",
        "positionSide": "BOTH",
        "notional": "912.48714200",
        "isolatedWallet": "0",
        "updateTime": FILL_MS,
    }
    assert world.get("/fapi/v3/positionRisk") == [
        {
            **shared,
            "isolatedMargin": "0",
            "marginAsset": "USDT",
            "initialMargin": "45.62435710",
            "maintMargin": "3.64994857",
            "positionInitialMargin": "45.62435710",
            "openOrderInitialMargin": "0",
            "adl": 0,
            "bidNotional": "0",
            "askNotional": "0",
        }
    ]
    assert world.get("/fapi/v2/positionRisk", symbol="BTCUSDT") == [
        {
            **shared,
            "leverage": "20",
            "maxNotionalValue": "120000000",
            "marginType": "cross",
            "isolatedMargin": "0.00000000",
            "isAutoAddMargin": "false",
            "isolated": False,
            "adlQuantile": 0,
        }
    ]


def test_balance_shows_the_same_wallet_in_both_versions() -> None:
    world = story()
    expected = [
        {
            "accountAlias": "SgsR",
            "asset": "USDT",
            "balance": "4999.81750000",
            "crossWalletBalance": "4999.81750000",
            "crossUnPnl": "-0.01285800",
            "availableBalance": "4954.18028490",
            "maxWithdrawAmount": "4954.18028490",
            "marginAvailable": True,
            "updateTime": FILL_MS,
        }
    ]
    assert world.get("/fapi/v2/balance") == world.get("/fapi/v3/balance") == expected


def test_v3_lists_only_busy_symbols_and_v2_lists_all() -> None:
    world = World(spec("main"), spec("hedged", hedge=True))
    assert world.get("/fapi/v3/account")["positions"] == world.get("/fapi/v3/positionRisk") == []
    assert [row["symbol"] for row in world.get("/fapi/v2/account")["positions"]] == ["BTCUSDT", "ETHUSDT"]
    hedged = [(r["symbol"], r["positionSide"]) for r in world.get("/fapi/v2/positionRisk", "hedged")]
    assert hedged == [(s, side) for s in ("BTCUSDT", "ETHUSDT") for side in ("BOTH", "LONG", "SHORT")]
    world.placed(side="BUY", quantity="0.010", price="91000")
    (row,) = world.get("/fapi/v3/positionRisk")
    assert (row["positionAmt"], row["openOrderInitialMargin"], row["bidNotional"]) == (
        "0.000",
        "45.50000000",
        "910.00000000",
    )


def test_v2_account_puts_flags_in_front_and_shows_leverage_and_entry_price() -> None:
    world = story()
    world.placed(side="BUY", quantity="0.020", price="91000")
    body = world.get("/fapi/v2/account")
    flags = ["feeTier", "feeBurn", "canTrade", "canDeposit", "canWithdraw", "updateTime", "multiAssetsMargin"]
    assert [body[key] for key in flags] == [0, False, True, True, True, 0, False]
    assert list(body)[:8] == [*flags, "tradeGroupId"]
    assert list(body["assets"][0])[-2:] == ["marginAvailable", "updateTime"]
    assert body["assets"][0]["marginAvailable"] is True
    assert body["positions"][0] == {
        "symbol": "BTCUSDT",
        "initialMargin": "136.62435710",
        "maintMargin": "3.64994857",
        "unrealizedProfit": "-0.01285800",
        "positionInitialMargin": "45.62435710",
        "openOrderInitialMargin": "91.00000000",
        "leverage": "20",
        "isolated": False,
        "entryPrice": "91250.0",
        "maxNotional": "120000000",
        "bidNotional": "1820.00000000",
        "askNotional": "0",
        "positionSide": "BOTH",
        "positionAmt": "0.010",
        "updateTime": FILL_MS,
    }
    assert (body["totalInitialMargin"], body["totalOpenOrderInitialMargin"]) == ("136.62435710", "91.00000000")
    (asset,) = body["assets"]
    assert (asset["initialMargin"], asset["availableBalance"]) == ("136.62435710", "4863.18028490")
    config = world.get("/fapi/v1/accountConfig")
    assert [config[key] for key in ("canTrade", "canDeposit", "canWithdraw", "dualSidePosition")] == [
        True,
        True,
        True,
        False,
    ]


# -- margin -----------------------------------------------------------------------------------------------------


def test_the_last_affordable_order_is_accepted_and_one_step_more_is_not() -> None:
    world = World(spec("main", balances={"USDT": Decimal("456.25")}))
    world.mark("91250")
    assert refusal(world.order(side="BUY", quantity="0.101", price="91250")) == (
        400,
        {"code": -2019, "msg": "Margin is insufficient."},
    )
    world.placed(side="BUY", quantity="0.100", price="91250")
    assert world.get("/fapi/v3/balance")[0]["availableBalance"] == "0.00000000"
    assert refusal(world.order(side="BUY", quantity="0.001", price="91250"))[1]["code"] == -2019


def test_a_market_order_is_valued_at_the_higher_of_mark_and_best_opposite_price() -> None:
    for mark, ask, affordable in (("91250", 912_500, True), ("91250", 912_600, False), ("91260", 912_500, False)):
        world = World(spec("main", balances={"USDT": Decimal("456.25")}))
        world.levels([(BID, 5000)], [(ask, 5000)])
        world.mark(mark)
        reply = world.order(side="BUY", type="MARKET", quantity="0.100")
        assert (reply.status == 200) == affordable, (mark, ask, reply.body)


def test_an_order_against_the_worse_side_binds_nothing_more() -> None:
    world = World(spec("main", balances={"USDT": Decimal("456.25")}))
    world.mark("91250")
    world.placed(side="BUY", quantity="0.100", price="91250.0")
    world.placed(side="SELL", quantity="0.099", price="91300.0")
    assert world.get("/fapi/v3/balance")[0]["availableBalance"] == "0.00000000"


def test_closing_needs_no_margin_even_when_none_is_left() -> None:
    world = World(spec("main", balances={"USDT": Decimal(500)}))
    world.levels([(BID, 5000)], [(ASK, 5000)])
    world.mark("91250")
    world.placed(side="BUY", type="MARKET", quantity="0.100")
    world.mark("90000")
    assert world.get("/fapi/v3/balance")[0]["availableBalance"] == "0.00000000"
    world.placed(side="SELL", type="MARKET", quantity="0.100")
    assert world.position()["positionAmt"] == "0.000"


def test_a_position_beyond_the_bracket_of_its_leverage_is_refused() -> None:
    world = World(spec("main", balances={"USDT": Decimal(100_000)}, leverage=125))
    world.mark("91250")
    assert refusal(world.order(side="BUY", quantity="3.288", price="91250")) == (
        400,
        {"code": -2027, "msg": "Exceeded the maximum allowable position at current leverage."},
    )
    world.placed(side="BUY", quantity="3.287", price="91250")


def test_isolated_margin_is_bound_per_position_and_bounds_its_liquidation_price() -> None:
    world = story(margin_type="ISOLATED")
    (row,) = world.get("/fapi/v3/positionRisk")
    # 912.50 / 20 less the fee of 0.1825; liquidation where wallet + profit = 0.4 % of notional
    assert row["isolatedWallet"] == "45.44250000"
    assert row["isolatedMargin"] == "45.42964200"
    wallet, cost, qty = Decimal("45.4425"), Decimal("912.5"), Decimal("0.01")
    expected = (wallet - cost) / (qty * (Decimal("0.004") - 1))
    assert abs(Decimal(row["liquidationPrice"]) - expected) < Decimal("0.00000001")
    account = world.get("/fapi/v3/account")
    assert (account["totalWalletBalance"], account["totalCrossWalletBalance"]) == ("4999.81750000", "4954.37500000")


def nearly_liquidated(world: World) -> str:
    """A mark a millionth on the safe side of the liquidation price."""
    row = world.position()
    safe = Decimal("0.000001").copy_sign(Decimal(row["positionAmt"]))
    return f"{Decimal(row['liquidationPrice']) + safe:f}"


@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_at_the_liquidation_price_the_margin_balance_equals_the_maintenance_margin(side: str) -> None:
    world = World(spec("main", balances={"USDT": Decimal(500)}))
    world.levels([(BID, 5000)], [(ASK, 5000)])
    world.mark("91250")
    world.placed(side=side, type="MARKET", quantity="0.100")
    world.mark(nearly_liquidated(world))
    account = world.get("/fapi/v3/account")
    assert abs(Decimal(account["totalMarginBalance"]) - Decimal(account["totalMaintMargin"])) < Decimal("0.000001")


def test_another_cross_position_moves_the_liquidation_price_by_its_profit_and_maintenance() -> None:
    world = World(spec("main", balances={"USDT": Decimal(500)}))
    world.levels([(BID, 5000)], [(ASK, 5000)])
    world.levels([(311_999, 5000)], [(312_001, 5000)], "ETHUSDT")
    world.mark("91250")
    world.mark("3120", symbol="ETHUSDT")
    world.placed(side="BUY", type="MARKET", quantity="0.050")
    world.placed(symbol="ETHUSDT", side="SELL", type="MARKET", quantity="1.000")
    world.mark("3100", symbol="ETHUSDT")
    world.mark(nearly_liquidated(world))
    account = world.get("/fapi/v3/account")
    assert abs(Decimal(account["totalMarginBalance"]) - Decimal(account["totalMaintMargin"])) < Decimal("0.000001")


def test_closing_part_of_an_isolated_position_frees_that_part_of_its_margin() -> None:
    world = story(margin_type="ISOLATED")
    world.placed(side="SELL", quantity="0.004", price="91300")
    world.print(913_000, 4, False)
    (row,) = world.get("/fapi/v3/positionRisk")
    assert row["isolatedWallet"] == "27.26550000", "six tenths of 45.4425"
    # freed 18.177 + profit 0.2 - fee 0.07304
    assert world.get("/fapi/v3/balance")[0]["crossWalletBalance"] == "4972.67896000"


# -- funding ----------------------------------------------------------------------------------------------------


def test_funding_is_paid_by_longs_at_a_positive_rate_and_received_by_shorts() -> None:
    world = World(spec("main"), spec("other"))
    world.levels([(BID, 5000)], [(ASK, 5000)])
    world.mark("91248.7142")
    world.placed(side="BUY", type="MARKET", quantity="0.010")
    world.placed("other", side="SELL", type="MARKET", quantity="0.010")
    before = world.wallet("main"), world.wallet("other")
    world.fund()
    paid = Decimal("0.09124871")
    assert (world.wallet("main"), world.wallet("other")) == (before[0] - paid, before[1] + paid)
    (event,) = world.events("ACCOUNT_UPDATE", "main")
    assert event["a"] == {
        "B": [{"a": "USDT", "wb": str(before[0] - paid), "cw": str(before[0] - paid), "bc": "-0.09124871"}],
        "P": [],
        "m": "FUNDING_FEE",
        "S": "BTCUSDT",
    }
    assert list(event["a"]) == ["B", "P", "m", "S"]
    (row,) = world.get("/fapi/v1/income", incomeType="FUNDING_FEE")
    assert (row["income"], row["info"], row["tradeId"]) == ("-0.09124871", "FUNDING_FEE", "")


def test_funding_of_an_isolated_position_comes_from_its_own_wallet_and_names_it() -> None:
    world = story(margin_type="ISOLATED")
    cross = world.get("/fapi/v3/balance")[0]["crossWalletBalance"]
    world.fund()
    (event,) = world.events("ACCOUNT_UPDATE")
    assert [row["iw"] for row in event["a"]["P"]] == ["45.35125129"]
    assert world.get("/fapi/v3/balance")[0]["crossWalletBalance"] == cross


def test_a_flat_account_neither_pays_nor_hears_of_funding() -> None:
    world = World()
    world.mark("91250")
    world.fund()
    assert world.events() == []
    assert world.get("/fapi/v1/income") == []


# -- switches ---------------------------------------------------------------------------------------------------


def test_leverage_is_changed_announced_and_bounded() -> None:
    world = World()
    body = world.call("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage="125").body
    assert body == {"leverage": 125, "maxNotionalValue": "300000", "symbol": "BTCUSDT"}
    assert world.events() == [
        {
            "e": "ACCOUNT_CONFIG_UPDATE",
            "T": START_MS,
            "E": START_MS,
            "ac": {"s": "BTCUSDT", "l": 125},
        }
    ]
    assert world.get("/fapi/v1/symbolConfig", symbol="BTCUSDT")[0]["leverage"] == 125
    for wrong in ("126", "0"):
        reply = world.call("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=wrong)
        assert refusal(reply) == (400, {"code": -4028, "msg": f"Leverage {wrong} is not valid"})
    world.call("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage="125")
    assert world.events() == [], "no change, no event"


def test_leverage_may_not_fall_below_what_the_wallet_covers_nor_under_an_isolated_position() -> None:
    world = World(spec("main", balances={"USDT": Decimal(500)}))
    world.levels([(BID, 5000)], [(ASK, 5000)])
    world.mark("91250")
    world.placed(side="BUY", type="MARKET", quantity="0.100")
    reply = world.call("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage="10")
    text = "Leverage is smaller than permitted: insufficient margin balance."
    assert refusal(reply) == (400, {"code": -2028, "msg": text})
    assert world.get("/fapi/v1/symbolConfig", symbol="BTCUSDT")[0]["leverage"] == 20
    isolated = story(margin_type="ISOLATED")
    reply = isolated.call("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage="10")
    text = "Leverage reduction is not supported in Isolated Margin Mode with open positions."
    assert refusal(reply) == (400, {"code": -4161, "msg": text})


def test_margin_type_changes_only_while_flat_and_without_orders() -> None:
    world = story()

    def change(to: str) -> tuple[int, object]:
        return refusal(world.call("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType=to))

    assert change("CROSSED") == (400, {"code": -4046, "msg": "No need to change margin type."})
    text = "Margin type cannot be changed if there exists position."
    assert change("ISOLATED") == (400, {"code": -4048, "msg": text})
    world.placed(side="SELL", quantity="0.010", price="91300")
    text = "Margin type cannot be changed if there exists open orders."
    assert change("ISOLATED") == (400, {"code": -4047, "msg": text})
    world.print(913_000, 10, False)
    assert change("ISOLATED") == (200, {"code": 200, "msg": "success"})
    assert world.events()[0]["a"]["m"] == "MARGIN_TYPE_CHANGE"
    assert world.get("/fapi/v1/symbolConfig", symbol="BTCUSDT")[0]["marginType"] == "ISOLATED"
    assert change("BOTH")[1] == {"code": -1130, "msg": "Data sent for parameter 'marginType' is not valid."}


def test_position_mode_changes_only_while_flat_and_without_orders() -> None:
    world = story()

    def change(to: str) -> tuple[int, object]:
        return refusal(world.call("POST", "/fapi/v1/positionSide/dual", dualSidePosition=to))

    assert change("false") == (400, {"code": -4059, "msg": "No need to change position side."})
    text = "Position side cannot be changed if there exists position."
    assert change("true") == (400, {"code": -4068, "msg": text})
    world.placed(side="SELL", quantity="0.010", price="91300")
    text = "Position side cannot be changed if there exists open orders."
    assert change("true") == (400, {"code": -4067, "msg": text})
    world.print(913_000, 10, False)
    assert change("true") == (200, {"code": 200, "msg": "success"})
    assert world.get("/fapi/v1/positionSide/dual") == {"dualSidePosition": True}
    assert world.get("/fapi/v1/accountConfig")["dualSidePosition"] is True


def test_a_transfer_moves_the_wallet_and_says_by_how_much() -> None:
    world = World(spec("main", balances={"USDT": Decimal(100)}))
    world.transfer("-30")
    (event,) = world.events()
    assert event["a"] == {
        "B": [{"a": "USDT", "wb": "70.00000000", "cw": "70.00000000", "bc": "-30.00000000"}],
        "P": [],
        "m": "WITHDRAW",
    }


# -- histories --------------------------------------------------------------------------------------------------


def test_user_trades_page_upwards_from_an_id_and_show_the_newest_otherwise() -> None:
    world = World()
    world.levels([(BID, 5000)], [(ASK, 5000)])
    for _ in range(5):
        world.placed(side="BUY", type="MARKET", quantity="0.001")
    ids = [row["id"] for row in world.get("/fapi/v1/userTrades", symbol="BTCUSDT")]
    assert ids == sorted(ids) and len(set(ids)) == 5
    page = world.get("/fapi/v1/userTrades", symbol="BTCUSDT", fromId=str(ids[1]), limit="2")
    assert [row["id"] for row in page] == ids[1:3]
    newest = world.get("/fapi/v1/userTrades", symbol="BTCUSDT", limit="2")
    assert [row["id"] for row in newest] == ids[3:]
    assert world.get("/fapi/v1/userTrades", symbol="ETHUSDT") == []
    wrong = world.call("GET", "/fapi/v1/userTrades", symbol="BTCUSDT", limit="1001")
    assert wrong.body == {"code": -1130, "msg": "Data sent for parameter 'limit' is not valid."}


def test_a_closed_order_is_forgotten_after_three_days_without_fills_and_ninety_with() -> None:
    world = World()
    world.levels([(BID, 5000)], [(ASK, 5000)])
    world.placed(side="BUY", quantity="0.010", price="90000", newClientOrderId="none")
    world.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="none")
    closed_ms = world.now_ms - 1
    world.placed(side="BUY", type="MARKET", quantity="0.010", newClientOrderId="some")
    filled_ms = world.now_ms - 1
    day = 86_400_000

    def status(client_id: str) -> object:
        body = world.call("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId=client_id).body
        assert isinstance(body, dict)
        return body.get("status", body.get("code"))

    world.now_ms = closed_ms + 3 * day
    assert status("none") == "CANCELED"
    assert status("none") == -2013
    world.now_ms = filled_ms + 90 * day
    assert status("some") == "FILLED"
    assert status("some") == -2013


def test_all_orders_lists_from_an_id_or_a_window_of_at_most_seven_days() -> None:
    world = World()
    ids = [world.placed(side="BUY", quantity="0.010", price="90000")["orderId"] for _ in range(4)]
    world.placed(symbol="ETHUSDT", side="BUY", quantity="0.10", price="3000")
    rows = world.get("/fapi/v1/allOrders", symbol="BTCUSDT", orderId=str(ids[2]))
    assert [row["orderId"] for row in rows] == ids[2:]
    assert (rows[0]["pair"], rows[0]["cumBase"]) == ("BTCUSDT", "0")
    assert len(world.get("/fapi/v1/allOrders")) == 5
    assert [r["orderId"] for r in world.get("/fapi/v1/allOrders", symbol="BTCUSDT", limit="2")] == ids[2:]
    start = str(START_MS)
    window = world.get("/fapi/v1/allOrders", symbol="BTCUSDT", startTime=start, endTime=str(START_MS + 1))
    assert [row["orderId"] for row in window] == ids[:2]
    instant = world.get("/fapi/v1/allOrders", symbol="BTCUSDT", startTime=start, endTime=start)
    assert [row["orderId"] for row in instant] == ids[:1], "both ends of a window belong to it"
    turned = world.call("GET", "/fapi/v1/allOrders", startTime=str(START_MS + 1), endTime=start)
    assert turned.body == {"code": -1023, "msg": "Start time is greater than end time."}
    wide = world.call("GET", "/fapi/v1/allOrders", startTime="0", endTime=str(8 * 86_400_000))
    assert isinstance(wide.body, dict)
    assert wide.body["code"] == -4165


def test_queries_by_id_refuse_what_is_missing_malformed_or_unknown() -> None:
    world = World()
    both = {"code": -1102, "msg": "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!"}
    bad = {"code": -1100, "msg": "Illegal characters found in parameter 'orderId'; legal range is '^[0-9]{1,20}$'."}
    assert world.call("GET", "/fapi/v1/order", symbol="BTCUSDT").body == both
    assert world.call("GET", "/fapi/v1/order", symbol="BTCUSDT", orderId="abc").body == bad
    unknown = {"code": -2013, "msg": "Order does not exist."}
    assert world.call("GET", "/fapi/v1/order", symbol="BTCUSDT", orderId="1").body == unknown
    assert world.call("GET", "/fapi/v1/openOrder", symbol="BTCUSDT", orderId="1").body == unknown
    assert world.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", orderId="1").body == {
        "code": -2011,
        "msg": "Unknown order sent.",
    }
    placed = world.placed(side="BUY", quantity="0.010", price="90000", newClientOrderId="x")
    elsewhere = world.call("GET", "/fapi/v1/order", symbol="ETHUSDT", orderId=str(placed["orderId"]))
    assert elsewhere.body == unknown
    wins = world.get("/fapi/v1/order", symbol="BTCUSDT", orderId=str(placed["orderId"]), origClientOrderId="nope")
    assert wins["clientOrderId"] == "x", "where both are sent the order id wins"


def test_cancel_all_cancels_one_symbol_and_answers_the_same_when_there_is_nothing() -> None:
    world = World()
    for price in ("90000", "90001"):
        world.placed(side="BUY", quantity="0.010", price=price)
    world.placed(symbol="ETHUSDT", side="BUY", quantity="0.10", price="3000")
    done = {"code": 200, "msg": "The operation of cancel all open order is done."}
    assert world.call("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT").body == done
    assert world.executions() == [("CANCELED", "CANCELED")] * 2
    assert [row["symbol"] for row in world.open_orders()] == ["ETHUSDT"]
    assert world.call("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT").body == done


def test_small_reading_endpoints_answer_as_the_reference_prints_them() -> None:
    world = World()
    assert world.get("/fapi/v1/commissionRate", symbol="BTCUSDT") == {
        "symbol": "BTCUSDT",
        "makerCommissionRate": "0.000200",
        "takerCommissionRate": "0.000500",
        "rpiCommissionRate": "0",
    }
    assert world.get("/fapi/v1/multiAssetsMargin") == {"multiAssetsMargin": False}
    assert world.get("/fapi/v1/rateLimit/order") == [
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
        {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200},
    ]
    brackets = world.get("/fapi/v1/leverageBracket", symbol="BTCUSDT")[0]["brackets"]
    assert brackets[:2] == [
        {
            "bracket": 1,
            "initialLeverage": 125,
            "notionalCap": 300000,
            "notionalFloor": 0,
            "maintMarginRatio": 0.004,
            "cum": 0.0,
        },
        {
            "bracket": 2,
            "initialLeverage": 100,
            "notionalCap": 800000,
            "notionalFloor": 300000,
            "maintMarginRatio": 0.005,
            "cum": 300.0,
        },
    ]
    for row in world.get("/fapi/v1/leverageBracket"):
        for lower, upper in zip(row["brackets"], row["brackets"][1:], strict=False):
            at = lower["notionalCap"]
            assert upper["notionalFloor"] == at
            gap = (at * lower["maintMarginRatio"] - lower["cum"]) - (at * upper["maintMarginRatio"] - upper["cum"])
            assert abs(gap) < 0.01, "maintenance margin must not jump between brackets"
