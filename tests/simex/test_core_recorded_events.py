"""Single recorded events and figures of the real exchange, reproduced by the core.

Recorded and not reproducible: unrealised profit at the moment of an old fill (the mark price of that moment was not
recorded), ids, and sums that began before a recording did.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from simex.core.api import ForcedOrder, Json
from simex.core.instrument import Bracket, build_brackets, default_instrument
from tests.simex.core_world import World, spec

pytestmark = pytest.mark.recordings

BID, ASK = 912_499, 912_501


def lines(folder: Path, name: str) -> list[Json]:
    return [json.loads(line) for line in (folder / "user_data" / name).read_text().splitlines()]


def raw_event(folder: Path, kind: str) -> Json:
    """The recorded message of a kind in the collection of single messages."""
    found = [json.loads(row["raw"]) for row in lines(folder, "unicorn_fy_usdm_messages.jsonl")]
    return next(event for event in found if isinstance(event, dict) and event.get("e") == kind)


def numbers(value: Any) -> Any:
    """The same structure with every decimal text as a number: texts are not canonical."""
    if isinstance(value, dict):
        return {key: numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [numbers(item) for item in value]
    try:
        return Decimal(value) if isinstance(value, str) else value
    except ArithmeticError:
        return value


def test_a_recorded_deposit_and_withdrawal_come_out_as_they_were(data_dir: Path) -> None:
    recorded = {row["name"]: row["event"] for row in lines(data_dir, "metacodi_raw_user_events.jsonl")}
    world = World(spec("main", balances={"USDT": Decimal(100)}))
    for name, amount in (("ACCOUNT_UPDATE", "100"), ("ACCOUNT_UPDATE_WITHDRAW", "-100")):
        world.transfer(amount)
        (event,) = world.events()
        assert numbers(event["a"]) == numbers(recorded[name]["a"])
        assert set(event) == set(recorded[name])


def test_a_recorded_change_of_leverage_comes_out_as_it_was(data_dir: Path) -> None:
    recorded = [raw_event(data_dir, "ACCOUNT_CONFIG_UPDATE")]
    recorded += [
        row["event"]["data"]
        for row in lines(data_dir, "metacodi_raw_user_events.jsonl")
        if row["name"] == "streamUserFuturesAccountConfigUpdate"
    ]
    for event in recorded:
        symbol = event["ac"]["s"]
        world = World(instruments=[default_instrument(symbol)])
        world.call("POST", "/fapi/v1/leverage", symbol=symbol, leverage=str(event["ac"]["l"]))
        (ours,) = world.events()
        assert ours == event | {"T": ours["T"], "E": ours["E"]}


def test_the_documented_margin_call_comes_out_to_the_last_digit(data_dir: Path) -> None:
    """1.327 ETH long at 188.05, 3.168 dollars left, maintenance 0.65 %: at 187.17127 the exchange called."""
    expected = raw_event(data_dir, "MARGIN_CALL")
    bracket = Bracket(1, 125, Decimal(0), Decimal(10_000), Decimal("0.0065"), Decimal(0))
    instrument = replace(default_instrument("ETHUSDT"), brackets=(bracket,))
    fee = Decimal("0.12477118")  # of 249.54235 at 0.0005
    account = spec("main", balances={"USDT": Decimal("3.16812045") + fee}, leverage=125, hedge=True)
    world = World(account, instruments=[instrument])
    world.levels([(18_804, 10_000)], [(18_805, 10_000)], "ETHUSDT")
    world.mark("188.05", symbol="ETHUSDT")
    world.placed(symbol="ETHUSDT", side="BUY", type="MARKET", quantity="1.327", positionSide="LONG")
    world.mark("187.17127", symbol="ETHUSDT")
    (event,) = world.events("MARGIN_CALL")
    assert set(event) == set(expected)
    ours, theirs = event["p"][0], expected["p"][0]
    assert event["cw"] == expected["cw"]
    assert set(ours) == set(theirs)
    assert {key: ours[key] for key in ("s", "ps", "pa", "mt", "iw", "mp")} == {
        key: theirs[key] for key in ("s", "ps", "pa", "mt", "iw", "mp")
    }
    assert abs(Decimal(ours["up"]) - Decimal(theirs["up"])) < Decimal("0.00001")
    assert abs(Decimal(ours["mm"]) - Decimal(theirs["mm"])) < Decimal("0.00001")


def test_a_recorded_fill_costs_what_it_cost(data_dir: Path) -> None:
    (row,) = [row for row in lines(data_dir, "haehnchen_usdm_fixtures.jsonl") if "websocket-orders" in row["src"]]
    order = json.loads(row["raw"])[0]
    instrument = replace(
        default_instrument("SXPUSDT", tick=Decimal("0.0001"), step=Decimal("0.1")), min_notional=Decimal(1)
    )
    world = World(spec("main"), instruments=[instrument])
    world.mark(order["p"], symbol="SXPUSDT")
    world.placed(symbol="SXPUSDT", side=order["S"], quantity=order["q"], price=order["p"])
    lots = int(Decimal(order["l"]) * 10)
    world.print(16_041, int(Decimal(order["z"]) * 10) - lots, False, "SXPUSDT")
    world.print(16_041, lots, False, "SXPUSDT")
    ours = world.events("ORDER_TRADE_UPDATE")[-1]["o"]
    names = ("s", "S", "o", "f", "q", "p", "ap", "x", "X", "l", "z", "L", "n", "N", "m", "R", "ps", "rp")
    assert numbers({name: ours[name] for name in names}) == numbers({name: order[name] for name in names})


def test_a_liquidation_is_shown_with_the_keys_of_a_recorded_one(data_dir: Path) -> None:
    recorded = raw_event(data_dir, "forceOrder")
    world = World(spec("main", balances={"USDT": Decimal(300)}, leverage=50))
    world.levels([(BID, 5000)], [(ASK, 5000)])
    world.mark("91250")
    world.placed(side="BUY", type="MARKET", quantity="0.100")
    world.mark("88000")
    (out,) = [out for out in world.last if isinstance(out, ForcedOrder)]
    assert [key for key in out.order if key not in ("ps", "st")] == list(recorded["o"]), "two keys came in 2026"
    same = {key: out.order[key] for key in ("o", "f", "X")}
    assert same == {key: recorded["o"][key] for key in same}


# -- brackets ---------------------------------------------------------------------------------------------------


def recorded_brackets(folder: Path) -> dict[str, list[Json]]:
    path = folder / "instruments" / "usdm_leverage_brackets_20250710.json.gz"
    with gzip.open(path) as file:
        found: dict[str, list[Json]] = json.load(file)
    return found


def test_cum_of_every_recorded_bracket_is_what_our_ladder_computes(data_dir: Path) -> None:
    checked = 0
    for name, rows in recorded_brackets(data_dir).items():
        cum = rate_before = Decimal(0)
        for row in rows:
            info = row["info"]
            rate, floor = Decimal(info["maintMarginRatio"]), Decimal(info["notionalFloor"])
            cum += floor * (rate - rate_before)
            assert abs(cum - Decimal(info["cum"])) <= Decimal("0.01"), name
            rate_before = rate
            checked += 1
    assert checked > 4000


def test_the_first_brackets_of_the_two_large_contracts_are_the_recorded_ones(data_dir: Path) -> None:
    recorded = recorded_brackets(data_dir)
    for symbol in ("BTC", "ETH"):
        theirs = [row["info"] for row in recorded[f"{symbol}/USDT:USDT"]][:4]
        ours = default_instrument(f"{symbol}USDT").brackets[:4]
        assert [(b.leverage, b.cap, b.maintenance_rate, b.cum) for b in ours] == [
            (int(i["initialLeverage"]), Decimal(i["notionalCap"]), Decimal(i["maintMarginRatio"]), Decimal(i["cum"]))
            for i in theirs
        ]


@pytest.mark.parametrize("first_cap", ["25000", "30000", "50000", "60000", "100000", "300000"])
@pytest.mark.parametrize("leverage", [125, 100, 75, 50, 20])
def test_every_ladder_is_continuous_and_made_of_round_caps(leverage: int, first_cap: str) -> None:
    ladder = build_brackets(leverage, Decimal(first_cap))
    assert (int(ladder[0].floor), ladder[0].leverage, ladder[-1].leverage) == (0, leverage, 1)
    for lower, upper in pairwise(ladder):
        assert upper.floor == lower.cap
        assert int(upper.floor) % 1000 == 0
        assert lower.leverage > upper.leverage
        assert lower.maintenance_rate < upper.maintenance_rate
        at_border = lower.cap * lower.maintenance_rate - lower.cum
        assert at_border == upper.floor * upper.maintenance_rate - upper.cum, "no jump of the margin at the border"


def test_a_leverage_allows_its_bracket_and_not_a_lot_more() -> None:
    instrument = default_instrument("BTCUSDT")
    for bracket in instrument.brackets[:5]:
        most = int(bracket.cap / Decimal("91250") * 1000)
        for lots, code in ((most, None), (most + 1, -2027)):
            world = World(spec("main", balances={"USDT": Decimal(10**9)}, leverage=bracket.leverage))
            world.mark("91250")
            left = lots
            while left > 1_000_000:
                world.placed(side="BUY", quantity="1000", price="91250")
                left -= 1_000_000
            reply = world.order(side="BUY", quantity=f"{left / 1000:.3f}", price="91250")
            assert reply.status == (200 if code is None else 400), (bracket.leverage, reply.body)
            if code is not None:
                assert isinstance(reply.body, dict)
                assert reply.body["code"] == code
