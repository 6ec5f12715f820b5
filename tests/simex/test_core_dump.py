"""The state stored and restored at any moment: same answers, and the same future."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simex.core import dump as dumping
from simex.core.api import Json
from simex.core.codec import BadState
from simex.core.exchange import Exchange
from simex.core.instrument import default_instruments
from tests.simex.core_world import World, spec
from tests.simex.test_core_properties import MID, moves, world_of

CLOCKWORK = {"timers", "rules", "state", "markets", "accounts", "own_visible", "moved", "algos"}
"""Parts of the engine that are configured, made anew, or stored as a section of their own; `moved` is empty between."""


def reborn(world: World, twin: World | None = None) -> World:
    """The same world around an exchange restored from the JSON text of the old one; `twin` was configured as it was."""
    state = json.loads(json.dumps(world.exchange.dump()))
    twin = twin or World(*_specs(world))
    twin.exchange.restore(state)
    twin.name, twin.now_ms, twin.outs = world.name, world.now_ms, list(world.outs)
    return twin


def _specs(world: World) -> list[Any]:
    return [spec(name) for name in world.exchange.truth()["accounts"]]


@settings(max_examples=60, deadline=None)
@given(st.booleans(), st.booleans(), moves, st.integers(0, 50))
def test_a_restored_exchange_answers_and_goes_on_like_the_old_one(
    hedge: bool, isolated: bool, sequence: list[Any], cut: int
) -> None:
    world = world_of(hedge, isolated)
    for move in sequence[:cut]:
        move.run(world)
    twin = reborn(world, world_of(hedge, isolated))
    assert twin.exchange.truth() == world.exchange.truth()
    assert twin.exchange.dump() == world.exchange.dump(), "nothing is lost on the way"
    for move in sequence[cut:]:
        for one in (world, twin):
            move.run(one)
        assert twin.last == world.last
    assert twin.exchange.truth() == world.exchange.truth()
    assert twin.exchange.book_totals("BTCUSDT") == world.exchange.book_totals("BTCUSDT")


def busy_world() -> World:
    """Positions, resting and dated orders, income, an isolated leg with margin added by hand, a timer."""
    world = World(spec("main"), spec("other", hedge=True))
    world.levels([(MID - 1, 4000)], [(MID + 1, 4000)])
    world.levels([(311_999, 5000)], [(312_001, 5000)], "ETHUSDT")
    world.mark("91250", next_ms=world.now_ms + 3_600_000)
    world.mark("3120", symbol="ETHUSDT", next_ms=world.now_ms + 3_600_000)
    assert world.call("POST", "/fapi/v1/marginType", symbol="ETHUSDT", marginType="ISOLATED").status == 200
    world.placed(side="BUY", type="MARKET", quantity="0.010")
    world.placed(symbol="ETHUSDT", side="SELL", type="MARKET", quantity="0.100")
    assert world.call("POST", "/fapi/v1/positionMargin", symbol="ETHUSDT", amount="7", type="1").status == 200
    world.placed("other", side="SELL", quantity="0.020", price="91300", positionSide="SHORT", newClientOrderId="o")
    till = str((world.now_ms + 700_000) // 1000 * 1000)
    world.placed(side="BUY", quantity="0.030", price="91000", timeInForce="GTD", goodTillDate=till)
    world.transfer("100", "other")
    return world


def test_what_was_to_happen_by_the_clock_still_happens() -> None:
    world = busy_world()
    twin = reborn(world)
    due = world.exchange.next_due_ms()
    assert due is not None
    assert twin.exchange.next_due_ms() == due
    for at in (due, due + 3_600_000):
        assert twin.tick(at) == world.tick(at)
    assert {event["e"] for event in twin.events(all_time=True)} >= {"ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE"}
    assert twin.exchange.truth() == world.exchange.truth()


def test_a_life_more_ids_never_come_twice() -> None:
    world = busy_world()
    later = Exchange(default_instruments(["BTCUSDT", "ETHUSDT"]), [spec("main"), spec("other")], id_base=10**9)
    later.restore(world.exchange.dump())
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.010"}
    reply, _ = later.call(world.now_ms, "main", "POST", "/fapi/v1/order", order | {"price": "90000"})
    assert isinstance(reply.body, dict)
    assert reply.body["orderId"] > 10**9 + 8_886_774_000


def test_the_history_may_be_shortened_and_what_is_open_never_is() -> None:
    world = busy_world()
    for _ in range(5):
        world.placed(side="BUY", type="MARKET", quantity="0.010")
    state = world.exchange.dump(history=2, levels=False)
    twin = World(*_specs(world))
    twin.exchange.restore(json.loads(json.dumps(state)))
    old, new = (one.exchange.truth()["accounts"]["main"] for one in (world, twin))
    assert (new["positions"], new["balances"], new["open_orders"]) == (
        old["positions"],
        old["balances"],
        old["open_orders"],
    )
    assert (new["fills"], new["income"]) == (old["fills"][-2:], old["income"][-2:])
    assert twin.exchange.book_totals("BTCUSDT") == ([(910_000, 30)], [(913_000, 20)]), "own orders, no outside levels"


def test_new_outside_levels_fill_what_they_cross_after_a_restart() -> None:
    world = busy_world()
    twin = World(*_specs(world))
    twin.exchange.restore(world.exchange.dump(levels=False))
    twin.levels([(913_001, 1000)], [(913_002, 1000)])
    (done,) = twin.events("ORDER_TRADE_UPDATE", "other")
    assert (done["o"]["c"], done["o"]["X"], done["o"]["L"]) == ("o", "FILLED", "91300")


# -- what does not fit ------------------------------------------------------------------------------------------


def restored(state: Any, symbols: list[str] | None = None, *names: str) -> Exchange:
    fresh = Exchange(
        default_instruments(symbols or ["BTCUSDT", "ETHUSDT"]), [spec(name) for name in names or ("main", "other")]
    )
    fresh.restore(state)
    return fresh


def test_an_account_that_is_gone_is_left_out_and_a_new_one_begins() -> None:
    world = busy_world()
    fresh = restored(world.exchange.dump(), None, "main", "new")
    accounts = fresh.truth()["accounts"]
    assert list(accounts) == ["main", "new"]
    assert accounts["main"] == world.exchange.truth()["accounts"]["main"]
    assert accounts["new"]["balances"] == {"USDT": {"wallet": "10000.00000000", "cross": "10000.00000000"}}
    assert fresh.book_totals("BTCUSDT")[1] == [(MID + 1, 3990)], "the order of the one who is gone is gone too"


def test_a_symbol_that_is_missing_is_named_if_there_is_a_position_and_left_out_if_not() -> None:
    world = busy_world()
    with pytest.raises(BadState, match=r"main has a position in ETHUSDT.*--symbols"):
        restored(world.exchange.dump(), ["BTCUSDT"])
    world.placed(symbol="ETHUSDT", side="BUY", type="MARKET", quantity="0.100")
    fresh = restored(world.exchange.dump(), ["BTCUSDT"])
    assert {row["symbol"] for row in fresh.truth()["accounts"]["main"]["fills"]} == {"BTCUSDT"}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda state: state | {"version": 99}, "version 99"),
        (lambda state: {key: value for key, value in state.items() if key != "timers"}, "not whole"),
        (lambda state: state | {"accounts": {"main": {}}}, "not whole"),
        (lambda state: state | {"engine": state["engine"] | {"fees": [["USDT", "x"]]}}, "not a number"),
        (lambda state: state | {"engine": state["engine"] | {"forced_count": "7"}}, "int was expected"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_by_name(spoil: Any, words: str) -> None:
    with pytest.raises(BadState, match=words):
        restored(spoil(busy_world().exchange.dump()))


def test_another_tick_size_is_another_exchange() -> None:
    state: Json = busy_world().exchange.dump()
    state["markets"]["BTCUSDT"]["tick"] = "0.5"
    with pytest.raises(BadState, match="BTCUSDT has another tick"):
        restored(state)


def test_every_attribute_of_the_state_is_stored_or_known_not_to_be() -> None:
    """A new attribute that nobody stores would be lost by a restart: decide about it in `simex.core.dump`."""
    exchange = busy_world().exchange
    engine: Any = exchange._engine
    configured = {"name", "maker_rate", "taker_rate", "fee_tier", "rights", "_defaults"}
    apart = {"open_orders", "closed_orders", "open_client_ids", "last_by_client_id", "history", "algos"}
    assert set(vars(engine.accounts["main"])) == set(dumping.ACCOUNT) | configured | apart
    assert set(vars(engine.markets["BTCUSDT"])) == set(dumping.MARKET) | {"instrument", "book"}
    assert set(vars(engine)) | {"forced_count"} == set(dumping.ENGINE) | CLOCKWORK


def test_no_key_and_no_secret_is_in_a_state() -> None:
    text = json.dumps(busy_world().exchange.dump())
    assert "key-main" not in text
    assert "secret" not in text


def test_money_keeps_its_last_digit() -> None:
    world = World(spec("main", balances={"USDT": Decimal("0.00000001")}))
    twin = reborn(world)
    assert twin.wallet() == Decimal("0.00000001")
