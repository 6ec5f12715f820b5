"""Any interleaving of plain and conditional orders, amendments, cancels, prices and clock keeps everything straight."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from simex.core.api import Json, Reply
from simex.core.rules import Rules
from tests.simex.core_checks import check_all, check_reduce_only_claims, check_shown_book, user_events
from tests.simex.core_world import World, spec
from tests.simex.test_core_properties import (
    MID,
    OPENING,
    Call,
    accounts,
    amends,
    cancels,
    level_moves,
    lots,
    money_moves,
    places,
    sides,
    ticks,
)

ALGO = "/fapi/v1/algoOrder"
REFUSALS = {-2021, -4130, -4509, -1106, -4061, -4183, -4184}
ORDER_KEYS = [*"scSofq", "p", "ap", "sp", *"xXiMlzLnNTtbamR", "wt", "ot", "ps", "cp", "AP", "cr", "rp", "pP"]
ORDER_KEYS += ["si", "ss", "V", "pm", "gtd", "er"]
ALGO_KEYS = ["caid", "aid", "at", *"osS", "ps", *"fqX", "ai", "ap", "aq", "act", "tp", "p", "V", "wt", "pm", "cp", "pP"]
ALGO_KEYS += ["R", "tt", "gtd", "rm", "ia"]
LITE_KEYS = ["e", "E", "T", "s", "q", "p", "m", "c", "S", "L", "l", "t", "i"]
NEXT = {
    "": {"NEW"},
    "NEW": {"NEW", "TRIGGERING", "CANCELED", "EXPIRED"},
    "TRIGGERING": {"TRIGGERED", "REJECTED", "EXPIRED"},
    "TRIGGERED": {"FINISHED"},
}


@dataclass(frozen=True)
class Algo:
    account: str
    kind: str
    side: str
    away: int
    """Ticks from the present price to the trigger; 0 would trigger at once."""
    price: int
    lots: int
    working: str
    closes: bool
    reduces: bool
    protect: bool
    leg: str

    def run(self, world: World) -> None:
        params = {
            "algoType": "CONDITIONAL", "symbol": "BTCUSDT", "type": self.kind, "side": self.side,
            "workingType": self.working, "priceProtect": str(self.protect).lower(),
        }  # fmt: skip
        if self.kind == "TRAILING_STOP_MARKET":
            params["callbackRate"] = "0.1"
        else:
            params["triggerPrice"] = f"{self._trigger(world) / 10:.1f}"
        if self.kind in ("STOP", "TAKE_PROFIT"):
            params |= {"price": f"{self.price / 10:.1f}", "timeInForce": "GTC"}
        closes = self.closes and self.kind.endswith("_MARKET") and self.kind != "TRAILING_STOP_MARKET"
        params |= {"closePosition": "true"} if closes else {"quantity": f"{self.lots / 1000:.3f}"}
        if world.get("/fapi/v1/positionSide/dual", self.account)["dualSidePosition"]:
            params["positionSide"] = self.leg
        elif self.reduces and not closes:
            params["reduceOnly"] = "true"
        reply = world.call("POST", ALGO, self.account, **params)
        if reply.status != 200:
            assert not world.last, "a refused order has no effects"
            assert isinstance(reply.body, dict)
            assert reply.body["code"] in REFUSALS, reply.body

    def _trigger(self, world: World) -> int:
        market = world.exchange._engine.markets["BTCUSDT"]
        present = market.last_price_ticks or MID
        if self.working == "MARK_PRICE":
            present = int(market.mark * 10)
        rises = (self.side == "BUY") != self.kind.startswith("TAKE_PROFIT")
        return present + self.away if rises else present - self.away


@dataclass(frozen=True)
class CancelAlgo:
    account: str
    nth: int

    def run(self, world: World) -> None:
        rows = world.get("/fapi/v1/openAlgoOrders", self.account)
        if rows:
            row = rows[self.nth % len(rows)]
            reply = world.call("DELETE", ALGO, self.account, algoId=str(row["algoId"]))
            expected = 400 if row["algoStatus"] == "TRIGGERING" else 200
            assert reply.status == expected, reply.body


@dataclass(frozen=True)
class Print:
    price: int
    lots: int
    buyer_is_maker: bool

    def run(self, world: World) -> None:
        world.print(self.price, self.lots, self.buyer_is_maker)


@dataclass(frozen=True)
class Wait:
    ms: int

    def run(self, world: World) -> None:
        world.tick(world.now_ms + self.ms)


@dataclass(frozen=True)
class Dated:
    """A plain order good till a date some 11 minutes away."""

    account: str
    side: str
    price: int
    ms: int

    def run(self, world: World) -> None:
        params = {"side": self.side, "price": f"{self.price / 10:.1f}", "quantity": "0.005", "timeInForce": "GTD"}
        if world.get("/fapi/v1/positionSide/dual", self.account)["dualSidePosition"]:
            params["positionSide"] = "LONG" if self.side == "BUY" else "SHORT"
        reply = world.order(self.account, **params, goodTillDate=str(world.now_ms + 602_000 + self.ms))
        assert reply.status == 200 or code_of(reply) in {-2019, -2027}


@dataclass(frozen=True)
class CountDown:
    account: str
    ms: int

    def run(self, world: World) -> None:
        path = "/fapi/v1/countdownCancelAll"
        assert world.call("POST", path, self.account, symbol="BTCUSDT", countdownTime=str(self.ms)).status == 200
        if self.ms:
            world.tick(world.now_ms - 1 + self.ms)
            assert world.open_orders(self.account) == []
            waiting = world.get("/fapi/v1/openAlgoOrders", self.account)
            if world.exchange.rules.countdown_cancels_algos:
                assert {row["algoStatus"] for row in waiting} <= {"TRIGGERING"}


def code_of(reply: Reply) -> Any:
    assert isinstance(reply.body, dict)
    return reply.body["code"]


kinds = st.sampled_from(["STOP_MARKET", "TAKE_PROFIT_MARKET", "STOP", "TAKE_PROFIT", "TRAILING_STOP_MARKET"])
workings = st.sampled_from(["CONTRACT_PRICE", "MARK_PRICE"])
flags = st.booleans()
legs = st.sampled_from(["LONG", "SHORT"])
algos = st.builds(Algo, accounts, kinds, sides, st.integers(0, 5), ticks, lots, workings, flags, flags, flags, legs)
marks = st.builds(lambda ticks: Call("mark", lambda world: world.mark(f"{ticks / 10:.1f}")), ticks)
WEIGHTS = {
    places: 5,
    algos: 9,
    amends: 2,
    cancels: 1,
    level_moves: 4,
    money_moves: 1,
    marks: 3,
    st.builds(Print, ticks, lots, flags): 5,
    st.builds(CancelAlgo, accounts, st.integers(0, 5)): 1,
    st.builds(Wait, st.integers(0, 3000)): 1,
    st.one_of(
        st.builds(Dated, accounts, sides, ticks, st.integers(0, 5000)),
        st.builds(CountDown, accounts, st.sampled_from([0, 1, 500])),
        st.builds(Wait, st.sampled_from([601_000, 610_000])),
    ): 2,
}
weighted = [kind for kind, weight in WEIGHTS.items() for _ in range(weight)]
moves = st.lists(st.sampled_from(weighted).flatmap(lambda kind: kind), min_size=30, max_size=50)
rules = st.builds(
    Rules,
    triggered_order_first=flags,
    algo_keeps_client_id=flags,
    countdown_cancels_algos=flags,
    trigger_delay_ms=st.sampled_from([0, 0, 1000]),
)


def begin(world: World, hedge: bool) -> None:
    """A book, prices, and positions on both sides of zero."""
    world.levels([(MID - 1, 500)], [(MID + 1, 500)])
    world.mark("91250")
    world.print(MID, 1, True)
    for account, side, leg in (("a", "BUY", ""), ("b", "SELL", "SHORT"), ("b", "BUY", "LONG")):
        if leg != "LONG" or hedge:
            more = {"positionSide": leg} if hedge and account == "b" else {}
            world.placed(account, type="MARKET", side=side, quantity="0.030", **more)


def check_keys(world: World) -> None:
    """Every event has the documented keys, in wire order: optional ones only where they belong."""
    for _, event in user_events(world):
        if event["e"] == "TRADE_LITE":
            assert list(event) == LITE_KEYS
        elif event["e"] == "ALGO_UPDATE":
            told = event["o"]
            absent = set() if told["ai"] else {"ap", "aq", "act"}
            absent |= set() if told["X"] == "REJECTED" else {"rm"}
            assert list(told) == [key for key in ALGO_KEYS if key not in absent]
            assert (told["ai"] != "") == (told["X"] in ("TRIGGERED", "FINISHED"))
        elif event["e"] == "ORDER_TRADE_UPDATE":
            order = event["o"]
            absent = {"M"} | (set() if order["ot"] == "TRAILING_STOP_MARKET" else {"AP", "cr"})
            assert list(order) == [key for key in ORDER_KEYS if key not in absent]


def check_algo_lives(world: World) -> None:
    """Each algo order goes through its states in order, and what it tells is what a query says."""
    lives: dict[tuple[str, int], list[Json]] = defaultdict(list)
    orders = {}
    for account, event in user_events(world):
        if event["e"] == "ALGO_UPDATE":
            lives[account, event["o"]["aid"]].append(event["o"])
        if event["e"] == "ORDER_TRADE_UPDATE":
            orders[account, event["o"]["i"]] = event["o"]
    for (account, algo_id), life in lives.items():
        state = ""
        for told in life:
            assert told["X"] in NEXT.get(state, set()), f"{told['X']} of {algo_id} after {state}"
            state = told["X"]
        row = world.get(ALGO, account, algoId=str(algo_id))
        assert (row["algoStatus"], row["actualOrderId"]) == (state, life[-1]["ai"])
        if state in ("TRIGGERED", "FINISHED"):
            order = orders[account, int(life[-1]["ai"])]
            assert (order["ot"], order["o"]) == (life[-1]["o"], life[-1]["act"])
            assert (state == "FINISHED") == (order["X"] not in ("NEW", "PARTIALLY_FILLED"))
            assert Decimal(row["actualQty"]) == Decimal(order["z"])
    known = {
        (name, row["algoId"]) for name, a in world.exchange.truth()["accounts"].items() for row in a["algo_orders"]
    }
    assert known == lives.keys()


def check_waiting(world: World) -> None:
    """Nothing waits whose price is reached, or that closes what is not there; nothing ended goes untold."""
    market = world.exchange._engine.markets["BTCUSDT"]
    last = market.instrument.price(market.last_price_ticks or MID)
    for account in world.exchange._engine.accounts.values():
        assert all(order.good_till_ms >= world.now_ms - 1 for order in account.all_open() if order.good_till_ms)
        for algo in account.algos.decided.values():
            assert algo.order is None or (algo.status == "TRIGGERED") == algo.order.is_open
        for algo in account.algos.waiting.values():
            spec = algo.spec
            if algo.status != "NEW":
                continue
            if spec.type != "TRAILING_STOP_MARKET":
                price = last if spec.working_type == "CONTRACT_PRICE" else market.mark
                ahead = price - spec.trigger if spec.side == "SELL" else spec.trigger - price
                assert (-ahead if spec.type.startswith("TAKE_PROFIT") else ahead) > 0, "its trigger was passed over"
            if spec.tif == "GTE_GTC":
                amount = account.position("BTCUSDT", spec.position_side).amount
                assert (amount if spec.side == "SELL" else -amount) > 0, "it closes what is not there"


@settings(max_examples=120, deadline=None)
@given(flags, flags, st.sampled_from([True, True, False]), rules, moves)
def test_any_interleaving_keeps_books_accounts_events_and_algo_orders_straight(
    hedge: bool, isolated: bool, visible: bool, chosen: Rules, sequence: list[Any]
) -> None:
    """Not `visible`: over a replay or a relay, whose book own orders do not change."""
    world = World(
        spec("a", balances={"USDT": OPENING}, margin_type="ISOLATED" if isolated else "CROSSED"),
        spec("b", balances={"USDT": OPENING}, hedge=hedge),
        own_visible=visible,
        rules=chosen,
    )
    begin(world, hedge)
    for move in sequence:
        move.run(world)
        if visible:
            check_shown_book(world)
        check_reduce_only_claims(world)
        check_waiting(world)
    if visible:
        check_all(world, {"a": OPENING, "b": OPENING})
    check_keys(world)
    check_algo_lives(world)
