"""Any sequence of orders, cancellations and market moves keeps the books straight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from simex.core.api import Level
from tests.simex.core_checks import check_all, check_reduce_only_claims, check_shown_book, total_equity
from tests.simex.core_world import World, spec

MID = 912_500
REACH = 6
OPENING = Decimal(10_000)

ticks = st.integers(MID - REACH, MID + REACH)
lots = st.integers(1, 40)
sides = st.sampled_from(["BUY", "SELL"])
accounts = st.sampled_from(["a", "b"])


@dataclass(frozen=True)
class Place:
    account: str
    side: str
    price: int
    lots: int
    tif: str
    """MARKET for a market order"""
    reduce_only: bool
    stp: str
    leg: str

    def run(self, world: World) -> None:
        params: dict[str, str] = {
            "side": self.side,
            "quantity": f"{self.lots / 1000:.3f}",
            "selfTradePreventionMode": self.stp,
        }
        if self.tif == "MARKET":
            params["type"] = "MARKET"
        else:
            params |= {"timeInForce": self.tif, "price": f"{self.price / 10:.1f}"}
        if world.get("/fapi/v1/positionSide/dual", self.account)["dualSidePosition"]:
            params["positionSide"] = self.leg
        elif self.reduce_only:
            params["reduceOnly"] = "true"
        reply = world.order(self.account, **params)
        if reply.status != 200:
            assert not world.last, "a refused order has no effects"
            assert isinstance(reply.body, dict)
            assert reply.body["code"] in {-2019, -2022, -2027, -5021, -5022}, reply.body


@dataclass(frozen=True)
class Cancel:
    account: str
    nth: int

    def run(self, world: World) -> None:
        rows = world.open_orders(self.account)
        if rows:
            row = rows[self.nth % len(rows)]
            reply = world.call("DELETE", "/fapi/v1/order", self.account, symbol="BTCUSDT", orderId=str(row["orderId"]))
            assert reply.status == 200
            assert world.executions() == [("CANCELED", "CANCELED")]


@dataclass(frozen=True)
class Amend:
    account: str
    nth: int
    price: int
    lots: int

    def run(self, world: World) -> None:
        rows = world.open_orders(self.account)
        if not rows:
            return
        row = rows[self.nth % len(rows)]
        params = {"quantity": f"{self.lots / 1000:.3f}", "price": f"{self.price / 10:.1f}"}
        before = world.exchange.truth()
        reply = world.call(
            "PUT",
            "/fapi/v1/order",
            self.account,
            symbol="BTCUSDT",
            side=row["side"],
            orderId=str(row["orderId"]),
            **params,
        )
        if reply.status != 200:
            assert not world.last, "a refused amendment has no effects"
            assert world.exchange.truth() == before
            assert isinstance(reply.body, dict)
            assert reply.body["code"] in {-2019, -2022, -2027, -5027, -5029}, reply.body
            return
        (first, *_) = [event["o"] for event in world.events("ORDER_TRADE_UPDATE", self.account)]
        filled = Decimal(row["executedQty"])
        if first["x"] == "CANCELED":
            assert Decimal(params["quantity"]) <= filled or row["timeInForce"] == "GTX"
        else:
            assert (first["x"], first["i"], Decimal(first["z"])) == ("AMENDMENT", row["orderId"], filled)
            assert (Decimal(first["q"]), Decimal(first["p"])) == (Decimal(params["quantity"]), Decimal(params["price"]))


@dataclass(frozen=True)
class Levels:
    """The outside book moves to a new middle; own orders in its way trade."""

    mid: int
    sizes: tuple[int, ...]

    def run(self, world: World) -> None:
        bids: list[Level] = [(MID + REACH + 2 - i, 0) for i in range(2 * REACH + 5) if MID + REACH + 2 - i >= self.mid]
        asks: list[Level] = [(MID - REACH - 2 + i, 0) for i in range(2 * REACH + 5) if MID - REACH - 2 + i <= self.mid]
        bids += [(self.mid - 1 - i, size) for i, size in enumerate(self.sizes)]
        asks += [(self.mid + 1 + i, size) for i, size in enumerate(reversed(self.sizes))]
        world.levels(bids, asks)


@dataclass(frozen=True)
class Print:
    price: int
    lots: int
    buyer_is_maker: bool

    def run(self, world: World) -> None:
        world.print(self.price, self.lots, self.buyer_is_maker)
        assert sum(trade.qty_lots for trade in world.trades()) == self.lots, "a print is shown whole"


@dataclass(frozen=True)
class Call:
    name: str
    run: Callable[[World], Any]


tifs = st.sampled_from(["GTC", "GTC", "GTC", "IOC", "FOK", "GTX", "MARKET"])
stps = st.sampled_from(["EXPIRE_MAKER", "EXPIRE_TAKER", "EXPIRE_BOTH", "NONE"])
legs = st.sampled_from(["LONG", "SHORT"])
places = st.builds(Place, accounts, sides, ticks, lots, tifs, st.booleans(), stps, legs)
cancels = st.builds(Cancel, accounts, st.integers(0, 5))
amends = st.builds(Amend, accounts, st.integers(0, 5), ticks, lots)
money_moves = st.sampled_from(
    [
        Call("fund", lambda world: world.fund()),
        Call("mark up", lambda world: world.mark("91290.5", "0.0003")),
        Call("mark down", lambda world: world.mark("91210.5", "-0.0002")),
        Call("deposit", lambda world: world.transfer("12.5", "a")),
        Call("leverage", lambda world: world.call("POST", "/fapi/v1/leverage", "a", symbol="BTCUSDT", leverage="50")),
    ]
)
level_moves = st.builds(Levels, ticks, st.lists(st.integers(0, 60), min_size=1, max_size=4).map(tuple))
prints = st.builds(Print, ticks, lots, st.booleans())


def mix(**weights: int) -> st.SearchStrategy[list[Any]]:
    """Long lists of moves in these proportions (short ones seldom bring two orders together)."""
    kinds = {
        "place": places,
        "cancel": cancels,
        "amend": amends,
        "levels": level_moves,
        "print": prints,
        "money": money_moves,
    }
    names = [name for name, weight in weights.items() for _ in range(weight)]
    return st.lists(st.sampled_from(names).flatmap(kinds.__getitem__), min_size=25, max_size=50)


moves = mix(place=12, amend=4, cancel=2, levels=3, print=3, money=1)
own_moves = mix(place=9, amend=3, cancel=1)


def world_of(hedge: bool, isolated: bool) -> World:
    margin_type = "ISOLATED" if isolated else "CROSSED"
    world = World(
        spec("a", balances={"USDT": OPENING}, margin_type=margin_type),
        spec("b", balances={"USDT": OPENING}, hedge=hedge),
    )
    world.mark("91250")
    return world


@settings(max_examples=150, deadline=None)
@given(st.booleans(), st.booleans(), moves)
def test_any_sequence_keeps_money_positions_orders_and_the_shown_book_straight(
    hedge: bool, isolated: bool, sequence: list[Any]
) -> None:
    world = world_of(hedge, isolated)
    for move in sequence:
        move.run(world)
        check_shown_book(world)
        check_reduce_only_claims(world)
    check_all(world, {"a": OPENING, "b": OPENING})


@settings(max_examples=100, deadline=None)
@given(st.booleans(), st.booleans(), own_moves)
def test_two_accounts_that_trade_only_with_each_other_neither_make_nor_lose_money(
    hedge: bool, isolated: bool, sequence: list[Any]
) -> None:
    world = world_of(hedge, isolated)
    for move in sequence:
        move.run(world)
    # Each realised profit is rounded to 8 decimals once.
    assert abs(total_equity(world, {"a": OPENING, "b": OPENING}, Decimal(91_250))) < Decimal("0.000001")


@settings(max_examples=60, deadline=None)
@given(moves)
def test_the_same_inputs_give_the_same_outputs(sequence: list[Any]) -> None:
    first, second = world_of(False, False), world_of(False, False)
    for move in sequence:
        move.run(first)
        move.run(second)
    assert first.outs == second.outs
    assert first.exchange.truth() == second.exchange.truth()


@settings(max_examples=60, deadline=None)
@given(moves)
def test_a_replay_shows_nothing_of_our_own_and_its_book_is_what_was_fed(sequence: list[Any]) -> None:
    world = World(spec("a"), spec("b"), own_visible=False)
    world.mark("91250")
    fed: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for move in sequence:
        if isinstance(move, Print):
            world.print(move.price, move.lots, move.buyer_is_maker)
        else:
            move.run(world)
        assert not world.shown() and not world.trades() and not world.consumed()
        if isinstance(move, Levels):
            shown = World(own_visible=True)
            move.run(shown)
            for side, changes in zip(fed, (shown.shown()[0].bids, shown.shown()[0].asks), strict=True):
                side.update(changes)
    bids, asks = world.exchange.book_totals("BTCUSDT")
    assert dict(bids) == {price: size for price, size in fed[0].items() if size}
    assert dict(asks) == {price: size for price, size in fed[1].items() if size}
