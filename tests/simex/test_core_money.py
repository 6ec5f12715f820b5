"""Whatever the market does: no money is made or lost on the way, nobody lives below the margin, every event adds up."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from simex.core.api import Json, Out, PublicTrade, UserEvent
from simex.core.rules import Rules
from simex.core.valuation import valuation
from tests.simex.core_world import World, spec

NAMES = ("cross", "lone", "hedged")
OPENINGS = {"cross": Decimal(300), "lone": Decimal(800), "hedged": Decimal(500)}
FUND = Decimal(1_000_000)
MID = 912_500
DUST = Decimal("0.000001")
"""Realised profit is rounded to 8 decimals at each closing fill."""


@dataclass(frozen=True)
class Trade:
    account: str
    side: str
    lots: int
    leg: str
    price: int
    """Ticks away from the middle; 0 for a MARKET order."""

    def run(self, world: World, middle: int) -> int:
        params = {"side": self.side, "quantity": f"{self.lots / 1000:.3f}"}
        params |= {"type": "LIMIT", "price": f"{(middle + self.price) / 10:.1f}"} if self.price else {"type": "MARKET"}
        if self.account == "hedged":
            params["positionSide"] = self.leg
        world.order(self.account, **params)
        return middle


@dataclass(frozen=True)
class Move:
    """Book and mark go to another price, up to a seventh away; the mark may stand apart from the book."""

    per_mille: int
    apart: int
    depth: int

    def run(self, world: World, middle: int) -> int:
        after = max(100_000, min(5_000_000, middle + middle * self.per_mille // 1000))
        bids, asks = world.exchange.book_totals("BTCUSDT")
        world.levels([(p, 0) for p, _ in bids] + [(after - 1, self.depth), (after - 90, self.depth)],
                     [(p, 0) for p, _ in asks] + [(after + 1, self.depth), (after + 90, self.depth)])  # fmt: skip
        world.mark(f"{(after + self.apart) / 10:.1f}")
        return after


@dataclass(frozen=True)
class Fund:
    rate: str

    def run(self, world: World, middle: int) -> int:
        world.mark(f"{mark_of(world):f}", self.rate)
        world.fund()
        return middle


@dataclass(frozen=True)
class Margin:
    amount: int
    kind: str

    def run(self, world: World, middle: int) -> int:
        world.call("POST", "/fapi/v1/positionMargin", "lone", symbol="BTCUSDT", amount=str(self.amount), type=self.kind)
        return middle


@dataclass(frozen=True)
class Deposit:
    account: str

    def run(self, world: World, middle: int) -> int:
        world.transfer("250", self.account)
        return middle


sides, names = st.sampled_from(["BUY", "SELL"]), st.sampled_from(NAMES)
trades = st.builds(
    Trade,
    names,
    sides,
    st.integers(1, 400),
    st.sampled_from(["LONG", "SHORT"]),
    st.sampled_from([0, 0, 0, -2, 2, -40, 40]),
)
moves = st.builds(Move, st.integers(-40, 40), st.integers(-200, 200), st.sampled_from([0, 5, 200, 5000]))
others = st.one_of(
    st.builds(Fund, st.sampled_from(["0.0001", "-0.02", "0.03"])),
    st.builds(Margin, st.integers(1, 300), st.sampled_from(["1", "2"])),
    st.builds(Deposit, names),
)
steps = st.lists(st.one_of(trades, trades, trades, moves, moves, others), min_size=20, max_size=50)


def mark_of(world: World) -> Decimal:
    return Decimal(world.exchange.truth()["symbols"]["BTCUSDT"]["mark"])


class Counting(World):
    """Counts what the insurance fund loses by taking positions over at their bankruptcy price."""

    lost = Decimal(0)

    def _took(self, outs: list[Out]) -> list[Out]:
        public = {(out.symbol, out.trade_id) for out in outs if isinstance(out, PublicTrade)}
        for out in super()._took(outs):
            order = out.payload["o"] if isinstance(out, UserEvent) and "o" in out.payload else {"x": ""}
            if order["x"] == "CALCULATED" and (order["s"], order["t"]) not in public:
                # An adl_autoclose is the other side of a liquidation at the same price: together they are nothing.
                sign = 1 if order["S"] == "SELL" else -1
                self.lost += sign * (Decimal(order["L"]) - mark_of(self)) * Decimal(order["l"])
        return outs


def world_of(adl: str) -> Counting:
    world = Counting(
        spec("cross", balances={"USDT": OPENINGS["cross"]}, leverage=100, fee_tier=3),
        spec("lone", balances={"USDT": OPENINGS["lone"]}, leverage=50, margin_type="ISOLATED"),
        spec("hedged", balances={"USDT": OPENINGS["hedged"]}, leverage=75, hedge=True),
        rules=Rules(adl=adl),  # type: ignore[arg-type]
    )
    Move(0, 0, 5000).run(world, MID)
    return world


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(["auto", "always", "never"]), steps)
def test_money_is_neither_made_nor_lost_and_nobody_lives_below_the_margin(adl: str, sequence: list[Any]) -> None:
    world, middle = world_of(adl), MID
    for step in sequence:
        middle = step.run(world, middle)
        check_margins(world)
    check_sums(world, FUND - world.lost)
    check_profit_is_price_times_quantity(world)
    check_every_account_update_is_the_difference_it_tells(world)


def check_margins(world: World) -> None:
    """Whoever holds a position has more than its maintenance margin; whoever holds none owes commission at most: an
    order is checked for its margin, as at the exchange, and its commission may take the last of the wallet."""
    engine = world.exchange._engine
    truth = world.exchange.truth()["accounts"]
    for account in engine.accounts.values():
        value = valuation(account, engine.state)
        for leg in value.legs:
            if leg.position.amount and leg.isolated:
                assert leg.isolated_margin > leg.maintenance, account.name
        for pool in {value.pool_of(leg) for leg in value.legs if not leg.isolated and leg.position.amount}:
            assert value.equity(pool) > value.maintenance(pool), account.name
        if not any(leg.position.amount for leg in value.legs if not leg.isolated):
            commission = Decimal(truth[account.name]["income_sums"].get("COMMISSION", {}).get("USDT", "0"))
            assert account.cross_wallet["USDT"] >= min(commission, Decimal(0)), account.name
    assert not engine.moved, "everybody has been looked at"


def check_sums(world: World, fund: Decimal) -> None:
    """Wallets changed by exactly what was earned, paid, put in, and cleared; and so did the exchange's purses."""
    truth = world.exchange.truth()
    totals: dict[str, Decimal] = defaultdict(Decimal)
    for name in NAMES:
        sums = {kind: Decimal(rows["USDT"]) for kind, rows in truth["accounts"][name]["income_sums"].items()}
        assert Decimal(truth["accounts"][name]["balances"]["USDT"]["wallet"]) == OPENINGS[name] + sum(sums.values())
        for kind, amount in sums.items():
            totals[kind] += amount
    purses = truth["exchange"]
    assert Decimal(purses["fees"].get("USDT", "0")) == -totals["COMMISSION"]
    assert Decimal(purses["funding"].get("USDT", "0")) == totals["FUNDING_FEE"]
    assert abs(Decimal(purses["insurance"]["USDT"]) - (fund - totals["INSURANCE_CLEAR"])) < DUST


def check_profit_is_price_times_quantity(world: World) -> None:
    """Realised and unrealised profit of each account is what its fills paid and what it holds, at any mark."""
    mark = mark_of(world)
    engine = world.exchange._engine
    for name in NAMES:
        account = engine.accounts[name]
        cash = held = Decimal(0)
        for fill in account.history.fills:
            qty = fill.order.instrument.qty(fill.lots) * (1 if fill.order.side == "BUY" else -1)
            held += qty
            cash -= qty * fill.order.instrument.price(fill.price_ticks)
        legs = list(account.positions.values())
        assert held == sum(leg.amount for leg in legs)
        profit = sum((leg.realised + leg.unrealised(mark) for leg in legs), Decimal(0))
        assert abs(profit - (cash + held * mark)) < DUST


def check_every_account_update_is_the_difference_it_tells(world: World) -> None:
    wallets = dict(OPENINGS)
    events = [(out.account, out.payload) for out in world.outs if isinstance(out, UserEvent)]
    for index, (name, event) in enumerate(events):
        if event["e"] != "ACCOUNT_UPDATE":
            continue
        (balance,) = event["a"]["B"]
        told = Decimal(balance["bc"])
        if event["a"]["m"] == "ORDER":
            order = _fill_after(events, index, name)
            assert told == 0
            told = Decimal(order["rp"]) - Decimal(order["n"])
        assert Decimal(balance["wb"]) - wallets[name] == told, event
        wallets[name] = Decimal(balance["wb"])
    for name in NAMES:
        assert world.wallet(name) == wallets[name]


def _fill_after(events: list[tuple[str, Json]], index: int, name: str) -> Json:
    account, event = events[index + 1]
    assert (account, event["e"]) == (name, "ORDER_TRADE_UPDATE")
    order: Json = event["o"]
    return order
