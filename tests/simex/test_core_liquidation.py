"""Margin calls, liquidation at maintenance margin, the insurance fund, deleveraging: to the cent, on both sides."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from simex.core.api import ForcedOrder, PublicTrade
from simex.core.rules import Rules
from tests.simex.core_world import START_MS, World, spec

BID, ASK = 912_499, 912_501
OPENING_FUND = Decimal(1_000_000)
RISK, INCOME = "/fapi/v3/positionRisk", "/fapi/v1/income"


def long_world(balance: str = "500", **settings: Any) -> World:
    """Long 0.100 BTC at 91250.1, deep book, mark 91250."""
    settings.setdefault("leverage", 50)
    world = World(spec("main", balances={"USDT": Decimal(balance)}, **settings), spec("other"))
    world.levels([(BID, 5000)], [(ASK, 5000)])
    world.mark("91250")
    world.placed(side="BUY", type="MARKET", quantity="0.100")
    return world


def book_at(world: World, bid: int, ask: int) -> None:
    """The outside book moves as a whole."""
    bids, asks = world.exchange.book_totals("BTCUSDT")
    world.levels([*((price, 0) for price, _ in bids), (bid, 5000)], [*((price, 0) for price, _ in asks), (ask, 5000)])


def fund(world: World) -> Decimal:
    return Decimal(world.exchange.truth()["exchange"]["insurance"].get("USDT", OPENING_FUND))


def kinds(world: World, account: str = "main") -> list[str]:
    return [
        f"{event['e']} {event['o']['x']}" if "o" in event else f"{event['e']} {event.get('a', {}).get('m', '')}".strip()
        for event in world.events(account=account)
        if event["e"] != "TRADE_LITE"
    ]


def forced(world: World) -> list[ForcedOrder]:
    return [out for out in world.last if isinstance(out, ForcedOrder)]


def liquidation_price(world: World, account: str = "") -> Decimal:
    return Decimal(world.position(account)["liquidationPrice"])


# -- when -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("margin_type", ["CROSSED", "ISOLATED"])
def test_a_position_lives_above_its_liquidation_price_and_ends_at_it(margin_type: str) -> None:
    world = long_world("300", margin_type=margin_type)
    price = liquidation_price(world)
    assert price > 0
    book_at(world, int(price * 10) - 2, int(price * 10) + 2)
    world.mark(f"{price + Decimal('0.000001'):f}")
    assert world.get(RISK), "a hair above it lives"
    world.mark(f"{price - Decimal('0.000001'):f}")
    assert "ORDER_TRADE_UPDATE CALCULATED" in kinds(world)
    assert world.get(RISK) == [], "below it is closed"


def test_a_short_is_liquidated_when_the_mark_has_risen_to_its_price() -> None:
    world = World(spec("main", balances={"USDT": Decimal(500)}, leverage=50))
    world.levels([(BID, 5000)], [(ASK, 5000)])
    world.mark("91250")
    world.placed(side="SELL", type="MARKET", quantity="0.100")
    price = liquidation_price(world)
    assert price > 91_250
    book_at(world, int(price * 10) - 2, int(price * 10) + 2)
    world.mark(f"{price - Decimal('0.000001'):f}")
    assert world.get(RISK)
    world.mark(f"{price + Decimal('0.000001'):f}")
    assert world.get(RISK) == []
    (closed,) = world.get("/fapi/v1/forceOrders")
    assert (closed["side"], closed["status"]) == ("BUY", "FILLED")


def test_a_margin_call_comes_once_on_the_way_down_and_again_after_a_recovery() -> None:
    world = long_world("500")
    # 500 less the fee of 4.562505; maintenance, 0.4 % of notional, is 80 % of the balance where
    # 0.1 x = 9125.01 - 495.437495 + 0.0005 x
    call = (Decimal("9125.01") - Decimal("495.437495")) / (Decimal("0.1") - Decimal("0.0005"))
    assert world.events("MARGIN_CALL", all_time=True) == []
    world.mark(f"{call + Decimal('0.001'):.4f}")
    assert world.events("MARGIN_CALL") == []
    world.mark(f"{call - Decimal('0.001'):.4f}")
    (event,) = world.events("MARGIN_CALL")
    mark = Decimal(f"{call - Decimal('0.001'):.4f}")
    assert event == {
        "e": "MARGIN_CALL",
        "E": world.now_ms - 1,
        "cw": "495.43749500",
        "p": [
            {
                "s": "BTCUSDT",
                "ps": "BOTH",
                "pa": "0.1",
                "mt": "CROSSED",
                "iw": "0",
                "mp": f"{mark:f}".rstrip("0"),
                "up": f"{(mark * Decimal('0.1') - Decimal('9125.01')).normalize():f}",
                "mm": f"{(mark * Decimal('0.0004')).normalize():f}",
            }
        ],
    }
    world.mark(f"{call - Decimal('0.002'):.4f}")
    assert world.events("MARGIN_CALL") == [], "told already"
    world.mark("91250")
    world.mark(f"{call - Decimal('0.002'):.4f}")
    assert len(world.events("MARGIN_CALL")) == 1


def test_a_margin_call_of_an_isolated_position_has_its_wallet_and_no_cross_wallet() -> None:
    world = long_world("500", margin_type="ISOLATED")
    world.mark(f"{liquidation_price(world) + 10:.2f}")
    (event,) = world.events("MARGIN_CALL")
    assert "cw" not in event
    (row,) = event["p"]
    assert (row["mt"], row["iw"]) == ("ISOLATED", "177.93769500")  # 9125.01 / 50 - 4.562505


# -- how --------------------------------------------------------------------------------------------------------


def liquidated(balance: str = "500", **settings: Any) -> World:
    """A long that was liquidated in a deep market."""
    world = long_world(balance, **settings)
    price = liquidation_price(world)
    book_at(world, int(price * 10) - 1, int(price * 10) + 1)
    world.mark(f"{price - Decimal('0.01'):.2f}")
    return world


def test_the_liquidation_order_is_announced_as_the_exchange_does_and_listed_by_force_orders() -> None:
    world = liquidated()
    assert kinds(world) == [
        "MARGIN_CALL",
        "ORDER_TRADE_UPDATE NEW",
        "ACCOUNT_UPDATE ORDER",
        "ORDER_TRADE_UPDATE CALCULATED",
        "ACCOUNT_UPDATE INSURANCE_CLEAR",
    ]
    new, done = (event["o"] for event in world.events("ORDER_TRADE_UPDATE"))
    at = world.now_ms - 1
    assert (new["c"], new["o"], new["f"], new["S"], new["R"]) == (
        f"autoclose-{at}000001",
        "LIMIT",
        "IOC",
        "SELL",
        False,
    )
    assert len(new["c"]) == len("autoclose-1795132800000000020")
    assert (done["x"], done["X"], done["z"], done["c"]) == ("CALCULATED", "FILLED", "0.100", new["c"])
    assert Decimal(done["n"]) == Decimal(done["L"]) * Decimal("0.1") * Decimal("0.0005")
    (out,) = forced(world)
    (row,) = world.get("/fapi/v1/forceOrders")
    assert list(row) == [
        "orderId", "symbol", "pair", "status", "clientOrderId", "price", "avgPrice", "origQty", "executedQty",
        "cumQuote", "cumBase", "timeInForce", "type", "reduceOnly", "closePosition", "side", "positionSide",
        "stopPrice", "workingType", "origType", "time", "updateTime",
    ]  # fmt: skip
    assert row["clientOrderId"] == new["c"]
    # no money is left at the bankruptcy price: (9125.01 - 495.437495) / 0.1 up to the tick
    assert row["price"] == "86295.80"
    assert (out.symbol, out.lots) == ("BTCUSDT", 100)
    assert out.order == {
        "s": "BTCUSDT", "S": "SELL", "o": "LIMIT", "f": "IOC", "q": "0.100", "p": "86295.80", "ap": f"{done['L']}0",
        "X": "FILLED", "l": "0.100", "z": "0.100", "T": at, "ps": "BTCUSDT", "st": 1,
    }  # fmt: skip


@pytest.mark.parametrize("shown", ["LIMIT", "LIQUIDATION"])
def test_events_call_the_type_of_a_liquidation_as_the_rule_says(shown: str) -> None:
    world = World(
        spec("main", balances={"USDT": Decimal(500)}, leverage=50),
        rules=Rules(liquidation_type=shown),  # type: ignore[arg-type]
    )
    world.levels([(BID, 5000)], [(ASK, 5000)])
    world.mark("91250")
    world.placed(side="BUY", type="MARKET", quantity="0.100")
    world.mark("86000")
    assert {(e["o"]["o"], e["o"]["ot"]) for e in world.events("ORDER_TRADE_UPDATE")} == {(shown, "LIMIT")}
    (row,) = world.get("/fapi/v1/forceOrders")
    assert (row["type"], row["origType"]) == ("LIMIT", "LIMIT")


def test_what_is_left_pays_the_clearance_fee_to_the_fund_and_no_wallet_ends_below_zero() -> None:
    world = liquidated()
    (trade,) = (event["o"] for event in world.events("ORDER_TRADE_UPDATE") if event["o"]["x"] == "CALCULATED")
    left = Decimal("495.437495") + Decimal(trade["rp"]) - Decimal(trade["n"])
    fee = Decimal(trade["L"]) * Decimal("0.1") * Decimal("0.0125")
    assert 0 < left < fee, "in this case the fund takes all that is left"
    (clear,) = (event["a"] for event in world.events("ACCOUNT_UPDATE") if event["a"]["m"] == "INSURANCE_CLEAR")
    assert clear["B"] == [{"a": "USDT", "wb": "0.00000000", "cw": "0.00000000", "bc": f"{-left:.8f}"}]
    assert clear["P"] == []
    assert fund(world) == OPENING_FUND + left
    (line,) = world.get(INCOME, incomeType="INSURANCE_CLEAR")
    assert (line["income"], line["symbol"], line["asset"]) == (f"{-left:.8f}", "BTCUSDT", "USDT")


def test_an_isolated_liquidation_costs_its_own_margin_and_nothing_else() -> None:
    world = liquidated(margin_type="ISOLATED")
    (balance,) = world.get("/fapi/v3/balance")
    assert balance["balance"] == balance["crossWalletBalance"] == f"{Decimal(500) - Decimal('9125.01') / 50:.8f}"
    assert fund(world) > OPENING_FUND


def test_a_gap_beyond_bankruptcy_is_taken_over_by_the_fund_which_pays_the_difference() -> None:
    world = long_world("500")
    before = [out for out in world.outs if isinstance(out, PublicTrade)]
    book_at(world, 849_999, 850_001)
    world.mark("85000")
    assert world.wallet() == 0
    (row,) = world.get("/fapi/v1/forceOrders")
    assert (row["status"], row["avgPrice"]) == ("FILLED", "86295.80000")
    shortfall = Decimal("8629.58") * Decimal("0.0005") - (Decimal("495.437495") - Decimal("495.43"))
    (line,) = world.get(INCOME, incomeType="INSURANCE_CLEAR")
    assert Decimal(line["income"]) == shortfall, "the commission, but for what the tick left"
    assert fund(world) == OPENING_FUND - (Decimal("86295.8") - 85_000) * Decimal("0.1") - shortfall
    assert [out for out in world.outs if isinstance(out, PublicTrade)] == before, "a take-over is no public trade"


def test_open_orders_expire_for_the_liquidation_before_the_position_is_closed() -> None:
    world = long_world("500")
    world.placed(side="SELL", quantity="0.050", price="95000", reduceOnly="true", newClientOrderId="exit")
    price = liquidation_price(world)
    book_at(world, int(price * 10) - 1, int(price * 10) + 1)
    world.mark(f"{price - Decimal('0.01'):.2f}")
    first = world.events("ORDER_TRADE_UPDATE")[0]["o"]
    assert (first["c"], first["x"], first["X"], first["er"]) == ("exit", "EXPIRED", "EXPIRED", "5")


def test_positions_go_one_by_one_and_what_is_covered_stays() -> None:
    world = World(spec("main", balances={"USDT": Decimal(700)}, leverage=50))
    world.levels([(BID, 5000)], [(ASK, 5000)])
    world.levels([(311_999, 5000)], [(312_001, 5000)], "ETHUSDT")
    world.mark("91250")
    world.mark("3120", symbol="ETHUSDT")
    world.placed(side="BUY", type="MARKET", quantity="0.200")
    world.placed(symbol="ETHUSDT", side="SELL", type="MARKET", quantity="0.100")
    price = liquidation_price(world)
    book_at(world, int(price * 10) - 1, int(price * 10) + 1)
    world.mark(f"{price - Decimal('0.01'):.2f}")
    (left,) = world.get(RISK)
    assert (left["symbol"], left["positionAmt"]) == ("ETHUSDT", "-0.100")
    account = world.get("/fapi/v3/account")
    assert Decimal(account["totalMarginBalance"]) >= Decimal(account["totalMaintMargin"]) > 0


def test_a_withdrawal_or_funding_that_uses_up_the_margin_liquidates_too() -> None:
    for blow in ("withdraw", "fund"):
        world = long_world("300")
        if blow == "withdraw":
            world.transfer("-265")
        else:
            world.mark("91250", rate="0.03")
            world.fund()
        assert world.get(RISK) == [], blow


# -- deleveraging -----------------------------------------------------------------------------------------------


def two_sided(adl: str) -> World:
    """main long 0.100 and doomed; other short 0.150 and third short 0.050, both in profit once the price falls."""
    world = World(
        spec("main", balances={"USDT": Decimal(500)}, leverage=50),
        spec("other", balances={"USDT": Decimal(50_000)}),
        spec("third", balances={"USDT": Decimal(500)}),
        rules=Rules(adl=adl),  # type: ignore[arg-type]
    )
    world.levels([(BID, 5000)], [(ASK, 5000)])
    world.mark("91250")
    world.placed(side="BUY", type="MARKET", quantity="0.100")
    world.placed("other", side="SELL", type="MARKET", quantity="0.150")
    world.placed("third", side="SELL", type="MARKET", quantity="0.050")
    return world


def test_deleveraging_takes_the_rest_from_those_in_profit_the_most_leveraged_first() -> None:
    world = two_sided("always")
    book_at(world, 849_999, 850_001)
    world.mark("85000")
    told = {name: world.events("ORDER_TRADE_UPDATE", name) for name in ("third", "other")}
    assert [row["positionAmt"] for row in world.get(RISK, "other")] == ["-0.100"]
    assert world.get(RISK, "third") == [], "it used more leverage, so it goes first and whole"
    for name, qty in (("third", "0.050"), ("other", "0.050")):
        done = told[name][-1]["o"]
        assert (done["c"], done["x"], done["X"], done["S"], done["l"]) == (
            "adl_autoclose",
            "CALCULATED",
            "FILLED",
            "BUY",
            qty,
        )
        assert (done["L"], done["n"]) == ("86295.8", "0.00000000")
        (row,) = world.get("/fapi/v1/forceOrders", name, autoCloseType="ADL")
        assert row["clientOrderId"] == "adl_autoclose"
        assert world.get("/fapi/v1/forceOrders", name, autoCloseType="LIQUIDATION") == []
    assert fund(world) > OPENING_FUND - 10, "the fund lost no more than the unpaid commission"


@pytest.mark.parametrize(("adl", "left"), [("never", "-0.150"), ("auto", "-0.150"), ("always", "-0.100")])
def test_the_fund_goes_first_unless_the_switch_says_otherwise(adl: str, left: str) -> None:
    world = two_sided(adl)
    book_at(world, 849_999, 850_001)
    world.mark("85000")
    assert [row["positionAmt"] for row in world.get(RISK, "other")] == [left]


@pytest.mark.parametrize(("purse", "left"), [("129.57", "-0.100"), ("129.58", "-0.150")])
def test_by_itself_the_queue_is_asked_only_when_the_fund_has_too_little(purse: str, left: str) -> None:
    """The fund would lose 0.1 * (86295.8 - 85000) = 129.58."""
    world = two_sided("auto")
    world.exchange._engine.insurance["USDT"] = Decimal(purse)
    book_at(world, 849_999, 850_001)
    world.mark("85000")
    assert [row["positionAmt"] for row in world.get(RISK, "other")] == [left]


def test_the_queue_shows_in_adl_quantiles() -> None:
    world = two_sided("never")
    world.mark("90000")
    first = world.get("/fapi/v1/adlQuantile", "third")
    assert first == [{"symbol": "BTCUSDT", "adlQuantile": {"LONG": 0, "SHORT": 0, "BOTH": 4}}]
    assert world.get(RISK, "other")[0]["adl"] == 2
    assert world.get(RISK, "main")[0]["adl"] == 0, "at a loss"
    assert world.get("/fapi/v1/adlQuantile", "main")[0]["adlQuantile"]["BOTH"] == 0


def test_force_orders_are_asked_by_symbol_kind_and_time() -> None:
    world = liquidated()
    path = "/fapi/v1/forceOrders"
    assert len(world.get(path, symbol="BTCUSDT")) == 1
    assert world.get(path, symbol="ETHUSDT") == []
    assert world.get(path, endTime=str(START_MS - 1)) == []
    for params, code in (
        ({"autoCloseType": "X"}, -1130),
        ({"limit": "101"}, -1130),
        ({"symbol": "NOPE"}, -1121),
        ({"startTime": "5", "endTime": "4"}, -1023),
    ):
        reply = world.call("GET", path, **params)
        assert (reply.status, reply.body["code"]) == (400, code), params  # type: ignore[index]


# -- by hand ----------------------------------------------------------------------------------------------------


def test_a_position_is_liquidated_by_hand_though_its_margin_would_do() -> None:
    world = long_world("5000")
    outs = world.exchange.liquidate(world.now_ms, "main", "BTCUSDT")
    assert any(isinstance(out, ForcedOrder) for out in outs)
    assert world.get(RISK) == []
    (row,) = world.get("/fapi/v1/forceOrders", autoCloseType="LIQUIDATION")
    assert row["executedQty"] == "0.100"
    with pytest.raises(ValueError, match="main has no position in BTCUSDT"):
        world.exchange.liquidate(world.now_ms, "main", "BTCUSDT")


def test_a_position_is_deleveraged_by_hand_in_part_and_whole_at_mark_without_commission() -> None:
    world = long_world("5000")
    fees = world.exchange.truth()["exchange"]["fees"]
    for qty, left in ((Decimal("0.040"), ["0.060"]), (None, [])):
        world._took(world.exchange.deleverage(world.now_ms, "main", "BTCUSDT", "BOTH", qty))
        done = world.events("ORDER_TRADE_UPDATE")[-1]["o"]
        assert (done["c"], done["x"], done["X"], done["L"]) == ("adl_autoclose", "CALCULATED", "FILLED", "91250")
        assert [row["positionAmt"] for row in world.get(RISK)] == left
    assert world.exchange.truth()["exchange"]["fees"] == fees
    for side, qty, words in (("BOTH", None, "no BOTH position"), ("LONG", None, "no LONG position")):
        with pytest.raises(ValueError, match=words):
            world.exchange.deleverage(world.now_ms, "main", "BTCUSDT", side, qty)  # type: ignore[arg-type]


@pytest.mark.parametrize("qty", ["0.101", "0", "-0.01", "0.0005"])
def test_no_more_is_deleveraged_than_is_held_and_only_whole_lots(qty: str) -> None:
    world = long_world("5000")
    with pytest.raises(ValueError, match=r"holds|multiple"):
        world.exchange.deleverage(world.now_ms, "main", "BTCUSDT", "BOTH", Decimal(qty))
    assert [row["positionAmt"] for row in world.get(RISK)] == ["0.100"]


@pytest.mark.parametrize(
    ("reason", "kind"),
    [(None, "TRANSFER"), ("ADJUSTMENT", "TRANSFER"), ("ADMIN_DEPOSIT", "COMMISSION_REBATE"),
     ("ASSET_TRANSFER", "INTERNAL_TRANSFER"), ("AUTO_EXCHANGE", "AUTO_EXCHANGE")],
)  # fmt: skip
def test_money_moves_for_every_reason_of_the_protocol_and_for_no_other(reason: str | None, kind: str) -> None:
    world = World(spec("main"))
    world._took(world.exchange.transfer(world.now_ms, "main", "USDT", Decimal("3.5"), reason))
    (event,) = world.events()
    assert (event["a"]["m"], event["a"]["B"][0]["bc"]) == (reason or "DEPOSIT", "3.50000000")
    (line,) = world.get(INCOME)
    assert (line["incomeType"], line["income"]) == (kind, "3.50000000")
    with pytest.raises(ValueError, match="does not move by itself for 'ORDER'"):
        world.exchange.transfer(world.now_ms, "main", "USDT", Decimal(1), "ORDER")


def test_no_more_money_moves_than_can_be_counted_exactly() -> None:
    world = World(spec("main"))
    world.transfer("1000000000000000")
    assert world.wallet() == Decimal("1000000000010000")
    for amount in ("1000000000000000.00000001", "-1e30", "NaN", "Infinity"):
        with pytest.raises(ValueError, match="can be moved at once"):
            world.transfer(amount)
    assert world.wallet() == Decimal("1000000000010000")
