"""Order calls of a strategy: rounding the safe way, refusals before they leave, arguments that make no sense."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain.api import Context, Handle
from brain.closing import bounded_price
from brain.desk import MAX_LIVE
from ipc import keys, slices
from tests.brain.test_interceptor import INSTRUMENT
from tests.brain.test_runner import Barring
from tests.brain.world import Quiet, World

QTY = Decimal("0.002")


class Doing(Quiet):
    def __init__(self) -> None:
        super().__init__()
        self.next: Callable[[Context], Any] | None = None
        self.got: Any = None

    def on_slice(self, ctx: Context, symbol: str) -> None:
        if self.next is not None:
            what, self.next = self.next, None
            self.got = what(ctx)


@pytest.fixture
def world() -> World:
    each = World(Doing)
    each.turns(3)
    return each


def do(world: World, what: Callable[[Context], Any], turns: int = 3) -> Any:
    strategy = world.runner.hooks._strategy
    assert isinstance(strategy, Doing)
    strategy.next = what
    world.turns(turns)
    return strategy.got


def test_prices_and_quantities_are_rounded_never_worse_than_asked(world: World) -> None:
    do(world, lambda ctx: ctx.buy(Decimal("0.00299"), Decimal("50000.19"), tag="b"))
    do(world, lambda ctx: ctx.sell(Decimal("0.00299"), Decimal("70000.11"), tag="s"))
    assert [(p.tag, p.qty, p.price, p.tif) for p in world.placed()] == [
        ("b", "0.002", "50000.1", "GTC"), ("s", "0.002", "70000.2", "GTC"),
    ]  # fmt: skip


@pytest.mark.parametrize(("side", "price"), [("BUY", "60006.1"), ("SELL", "59994.0")])
def test_slippage_bounds_a_marketable_limit(world: World, side: str, price: str) -> None:
    do(world, lambda ctx: ctx.place(side, QTY, slippage_bps=Decimal(1)))
    (place,) = world.placed()
    assert (place.type, place.tif, place.price, place.deadline_ms) == ("LIMIT", "IOC", price, 1000)


@given(bps=st.integers(0, 100), bid=st.integers(10_000, 1_000_000))
def test_the_bound_is_never_passed_and_the_market_always_reached(bps: int, bid: int) -> None:
    best = (Decimal(bid) / 10, Decimal(bid + 1) / 10)
    buy = bounded_price(INSTRUMENT, best, "BUY", Decimal(bps))
    sell = bounded_price(INSTRUMENT, best, "SELL", Decimal(bps))
    assert best[1] <= buy <= best[1] * (1 + Decimal(bps) / 10_000)
    assert best[0] >= sell >= best[0] * (1 - Decimal(bps) / 10_000)


def test_post_only_rests_as_gtx(world: World) -> None:
    do(world, lambda ctx: ctx.buy(QTY, Decimal(50000), post_only=True))
    assert [(place.tif, place.post_only) for place in world.placed()] == [("GTX", True)]


def test_an_intent_names_what_it_was_decided_on(world: World) -> None:
    world.gateway.event("gateway.ready", None, epoch="e1", took_ms=1)
    do(world, lambda ctx: ctx.buy(QTY))
    (place,) = world.placed()
    assert place.cause is not None and place.cause.event == 1 and place.cause.slices is not None
    assert place.asked_boot_ns is not None


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (lambda ctx: ctx.buy(Decimal("0.0009")), "filter.qty"),
        (lambda ctx: ctx.buy(Decimal("0.001"), Decimal("49000")), "filter.min_notional"),
        (lambda ctx: ctx.buy(Decimal(1), Decimal("63000.1")), "filter.price"),  # over mark x 1.05
        (lambda ctx: ctx.close(), "risk.not_a_close"),
    ],
)
def test_what_cannot_be_sent_comes_back_refused_and_takes_no_number(
    world: World, what: Callable[[Context], Handle], reason: str
) -> None:
    before = world.runner.desk.next_seq
    handle = do(world, what)
    assert (handle.state, handle.reason, handle.done) == ("rejected", reason, True)
    assert world.placed() == [] and world.runner.desk.next_seq == before


def test_without_a_live_book_a_bounded_entry_is_refused_a_plain_one_is_not(world: World) -> None:
    world.gateway.symbols["BTCUSDT"].book_state = "resync"
    assert do(world, lambda ctx: ctx.buy(QTY, slippage_bps=Decimal(5))).reason == "risk.stale"
    assert do(world, lambda ctx: ctx.why_not("book")) == "state: state is resync"
    assert do(world, lambda ctx: ctx.best()) is None


@pytest.mark.parametrize(
    ("what", "error"),
    [
        (lambda ctx: ctx.buy(0.002), "TypeError"),
        (lambda ctx: ctx.buy(QTY, 50000.0), "TypeError"),
        (lambda ctx: ctx.buy(Decimal("NaN")), "ValueError"),
        (lambda ctx: ctx.buy(Decimal(-1)), "ValueError"),
        (lambda ctx: ctx.place("LONG", QTY), "ValueError"),
        (lambda ctx: ctx.buy(QTY, Decimal(1), slippage_bps=Decimal(1)), "ValueError"),
        (lambda ctx: ctx.buy(QTY, tif="DAY"), "ValueError"),
        (lambda ctx: ctx.buy(QTY, tag="x" * 65), "ValueError"),
        (lambda ctx: ctx.buy(QTY, symbol="DOGEUSDT"), "KeyError"),
        (lambda ctx: ctx.close(symbol="DOGEUSDT"), "KeyError"),
    ],
)
def test_senseless_arguments_raise_inside_the_fence(world: World, what: Callable[[Context], Any], error: str) -> None:
    world.effects.clear()
    do(world, what)
    said = [effect.fields["error"] for effect in world.effects if getattr(effect, "event", "") == "hook_failed"]  # type: ignore[union-attr]
    assert len(said) == 1 and said[0].startswith(error)
    assert world.placed() == []


def test_too_many_open_orders_hold_entries_back_but_no_exit(world: World) -> None:
    def many(ctx: Context) -> list[str]:
        return [ctx.buy(QTY, Decimal(50000)).reason for _ in range(MAX_LIVE + 1)]

    reasons = do(world, many)
    assert reasons == [""] * MAX_LIVE + ["risk.order_rate"]
    world.gateway.symbols["BTCUSDT"].qty, world.gateway.symbols["BTCUSDT"].entry = QTY, Decimal(60000)
    world.turns(2)
    assert do(world, lambda ctx: ctx.close()).reason == ""


@pytest.mark.parametrize(
    ("side", "reduce_only", "leg"),
    [("BUY", False, "LONG"), ("SELL", True, "LONG"), ("SELL", False, "SHORT"), ("BUY", True, "SHORT")],
)
def test_in_hedge_mode_each_order_names_its_leg(world: World, side: str, reduce_only: bool, leg: str) -> None:
    plain = world.gateway.values

    def hedged() -> dict[str, bytes]:
        out = plain()
        key = keys.instrument("main", "BTCUSDT")
        held = slices.decode(slices.InstrumentSlice, out[key])
        return out | {key: slices.encode(msgspec.structs.replace(held, position_mode="hedge"))}

    world.gateway.values = hedged  # type: ignore[method-assign]
    do(world, lambda ctx: ctx.place(side, QTY, Decimal(60000), reduce_only=reduce_only))
    assert [place.leg for place in world.placed()] == [leg]


def test_closing_again_is_the_same_closing(world: World) -> None:
    do(world, lambda ctx: ctx.buy(QTY))
    world.gateway.plan = ["none"]

    def twice(ctx: Context) -> bool:
        return bool(ctx.close() == ctx.close())

    assert do(world, twice) is True
    assert [place.type for place in world.placed() if place.reduce_only][:1] == ["LIMIT"]
    assert world.gateway.symbols["BTCUSDT"].qty == 0


def test_what_a_strategy_sees_of_its_position(world: World) -> None:
    do(world, lambda ctx: ctx.buy(QTY))
    world.gateway.move("BTCUSDT", "61000.0", "61000.1")
    world.turns(2)
    position, profit, handle_count = do(world, lambda ctx: (ctx.position(), ctx.profit(), len(ctx.orders())))
    assert (position.qty, position.entry) == (QTY, Decimal("60000.1"))
    assert position.unrealised == profit == QTY * (Decimal(61000) - Decimal("60000.1"))
    assert handle_count == 0


def test_the_bars_are_a_pandas_frame(world: World) -> None:
    barring = World(Barring)
    barring.gateway.close_bar("BTCUSDT", "60000.5")
    barring.turns(3)
    frame = barring.runner.hooks.context.bars("5m")
    assert frame is not None
    assert list(frame.columns) == ["open_ms", "open", "high", "low", "close", "volume", "quote_volume", "trades"]
    assert frame["close"].tolist() == [60000.5] and str(frame.index.dtype).endswith("UTC]")
    assert frame.index[0].timestamp() * 1000 == frame["open_ms"].iloc[0]
    assert barring.runner.hooks.context.bars("5m") is frame, "built once a written slice"


def test_handles_speak_for_themselves(world: World) -> None:
    handle = do(world, lambda ctx: ctx.buy(QTY, Decimal(50000), tag="t"))
    assert "t-BTCUSDT/r1700000000000/1 BUY 0.002 BTCUSDT @ 50000.0: open" in repr(handle)
    (same,) = do(world, lambda ctx: ctx.orders("BTCUSDT"))
    assert same == handle and hash(same) == hash(handle) and (same.price, same.side) == (Decimal("50000.0"), "BUY")
    assert (handle.filled_qty, handle.avg_price, handle.is_exit, handle.qty) == (0, None, False, QTY)
