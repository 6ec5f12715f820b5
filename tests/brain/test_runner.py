"""The runner's rules one by one: runs and names, unknown outcomes, the gate, hooks and their fence."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from brain.api import Bar, Context, Fill, Handle
from brain.checkpoint import encode_meta
from brain.inputs import Answered, Ask, Commit, Connected, CutRead, Effect, Errand, Exit, Hangup, Ready, Report, Stop
from ipc import keys, wire
from ipc.cut import Cut
from tests.brain.mini_gateway import MiniGateway
from tests.brain.world import Counting, Quiet, Telling, World

QTY = Decimal("0.002")


def strategy(world: World) -> Any:
    return world.runner.hooks._strategy


def reports(effects: list[Effect]) -> list[str]:
    return [effect.event for effect in effects if isinstance(effect, Report)]


class Once(Telling):
    """Does `what(ctx)` at the first slice; later slices do what tests put into `next`."""

    def __init__(self) -> None:
        super().__init__()
        self.next: Any = None
        self.handles: list[Handle] = []
        self.fills: list[Fill] = []

    def on_slice(self, ctx: Context, symbol: str) -> None:
        what, self.next = self.next, None
        if what is not None:
            got = what(ctx)
            if isinstance(got, Handle):
                self.handles.append(got)

    def on_fill(self, ctx: Context, fill: Fill) -> None:
        self.fills.append(fill)


def do(world: World, what: Any, turns: int = 4, ms: int = 5) -> Any:
    """Let the strategy do something at its next slice; what it returned."""
    strategy(world).next = what
    world.turns(turns, ms)
    return strategy(world).handles[-1] if strategy(world).handles else None


@pytest.fixture
def world() -> World:
    each = World(Once)
    each.turns(2)
    return each


# -- names and runs ----------------------------------------------------------------------------------------------


def test_commit_stands_before_everything_it_covers(world: World) -> None:
    world.effects.clear()
    do(world, lambda ctx: ctx.buy(QTY))
    kinds = [
        type(e) for e in world.effects if isinstance(e, Commit) or (isinstance(e, Ask) and e.errand.purpose == "place")
    ]
    assert kinds[:2] == [Commit, Ask]


def test_a_hook_that_raises_has_decided_nothing(world: World) -> None:
    def fails(ctx: Context) -> None:
        ctx.state["x"] = 1
        ctx.timer("t", 10**6)
        ctx.close()
        ctx.buy(QTY)
        ctx.note({"a": 1})
        raise RuntimeError("boom")

    do(world, lambda ctx: ctx.buy(QTY))
    before = world.runner.desk.next_seq
    world.effects.clear()
    do(world, fails)
    assert len(world.placed()) == 1 and world.runner.desk.closings == {} and world.runner.desk.next_seq == before
    assert world.runner.hooks.context.state == {} and world.runner.hooks.context.timers == {}
    assert "hook_failed" in reports(world.effects) and world.runner.hooks.errors == 1
    do(world, lambda ctx: ctx.buy(QTY))
    assert [place.intent.seq for place in world.placed()] == [before - 1, before]


def test_on_error_is_told_and_may_decide() -> None:
    class Recovering(Once):
        def on_error(self, ctx: Context, hook: str, error: Exception) -> None:
            self.told.append((hook, str(error)))
            ctx.buy(QTY, tag="from on_error")

    world = World(Recovering)
    world.turns(2)
    do(world, lambda ctx: 1 / 0)
    assert ("on_slice", "division by zero") in strategy(world).told
    assert [place.tag for place in world.placed()] == ["from on_error"]


def test_state_that_json_cannot_hold_is_undone_and_named(world: World) -> None:
    def fails(ctx: Context) -> None:
        ctx.state["x"] = object()

    world.effects.clear()
    do(world, fails)
    found = [e.fields["error"] for e in world.effects if isinstance(e, Report) and e.event == "hook_failed"]
    assert len(found) == 1 and "object" in found[0]
    assert world.runner.hooks.context.state == {}


def test_the_run_is_registered_and_kept_over_a_restart(world: World) -> None:
    run = world.gateway.last_run
    world.crash()
    world.turns(2)
    assert world.gateway.last_run == run == world.runner.desk.run


def test_a_copied_checkpoint_takes_a_new_run_and_adopts_what_rests(world: World) -> None:
    old = world.store.copy()
    do(world, lambda ctx: ctx.buy(QTY, Decimal(50000), tag="resting"))
    run = world.runner.desk.run
    world.store = old
    world.crash()
    world.turns(4)
    assert int(world.runner.desk.run[1:]) > int(run[1:])
    assert [handle.tag for handle in world.runner.hooks.context.orders()] == ["resting"]
    do(world, lambda ctx: ctx.buy(QTY, Decimal(50000), tag="again"))
    assert [place.tag for place in world.placed()] == ["resting", "again"]


def test_a_run_the_gateway_calls_used_is_replaced() -> None:
    gateway = MiniGateway("t-BTCUSDT")
    gateway.last_run = "r99999999999999"
    world = World(Once, gateway)
    world.turns(4)
    assert world.runner.desk.run == gateway.last_run == "r100000000000000"
    do(world, lambda ctx: ctx.buy(QTY))
    assert len(world.placed()) == 1


def conflicting(world: World, what: Any) -> None:
    """The strategy does something, and the gateway knows its name for something else already."""
    strategy(world).next = what
    world.read()
    run, seq = world.runner.desk.run, world.runner.desk.next_seq - 1
    other = wire.Place(
        id=0, intent=wire.IntentId("t-BTCUSDT", run, seq), symbol="BTCUSDT", side="BUY", type="LIMIT", qty="0.003",
        price="50000.0", tif="GTC", tag="the first of the name",
    )  # fmt: skip
    world.gateway.handle(other)
    world.turns(8)


def test_a_conflicting_close_goes_at_once_under_a_new_name(world: World) -> None:
    do(world, lambda ctx: ctx.buy(QTY))
    run = world.runner.desk.run
    conflicting(world, lambda ctx: ctx.close())
    assert world.gateway.symbols["BTCUSDT"].qty == 0
    (closed,) = [place for place in world.placed() if place.reduce_only]
    assert closed.intent.run != run == world.placed()[0].intent.run
    assert [h.tag for h in world.runner.hooks.context.orders()] == ["the first of the name"], "the first is adopted"


def test_a_conflicting_entry_ends_and_the_next_uses_a_new_run(world: World) -> None:
    conflicting(world, lambda ctx: ctx.buy(QTY, tag="mine"))
    handle = strategy(world).handles[-1]
    assert (handle.state, handle.reason) == ("rejected", "intent.conflict")
    do(world, lambda ctx: ctx.buy(QTY, tag="next"))
    assert [place.tag for place in world.placed()] == ["the first of the name", "next"]
    assert world.placed()[-1].intent.run != world.placed()[0].intent.run


def test_a_name_seen_in_use_is_not_used_again(world: World) -> None:
    run, seq = world.runner.desk.run, world.runner.desk.next_seq
    other = wire.Place(
        id=0, intent=wire.IntentId("t-BTCUSDT", run, seq), symbol="BTCUSDT", side="BUY", type="LIMIT", qty="0.003",
        price="50000.0", tif="GTC", tag="of a lost checkpoint",
    )  # fmt: skip
    world.gateway.handle(other)
    world.turns(2)
    assert do(world, lambda ctx: ctx.buy(QTY)).intent == f"t-BTCUSDT/{run}/{seq + 1}"


def test_in_peace_every_request_leaves_once(world: World) -> None:
    handle = do(world, lambda ctx: ctx.buy(QTY, Decimal(50000)))
    do(world, lambda ctx: ctx.cancel(handle))
    do(world, lambda ctx: ctx.buy(QTY))
    assert [key[1] for key, _ in world.gateway.calls] == [1, 2]
    assert world.gateway.seen_ops["cancel"] == 1


# -- unknown -----------------------------------------------------------------------------------------------------


def test_no_answer_is_unknown_and_asked_again_word_for_word(world: World) -> None:
    strategy(world).next = lambda ctx: ctx.buy(QTY)
    world.read()
    lost = [ask for ask in world.outward if ask.errand.purpose == "place"]
    for _ in range(26):
        world.outward.clear()
        world.gateway.tick(100)
        world.read()
    world.outward = type(world.outward)(ask for ask in world.outward if ask.errand.purpose != "place")
    world.turns(30, ms=100)
    assert len(lost) == 1 and [content for _, content in world.gateway.calls] == [
        msgspec.json.encode(msgspec.structs.replace(lost[0].request, id=0))
    ]
    assert ("unknown", "gateway.unreachable") in strategy(world).told


def test_while_an_exit_is_unknown_no_entry_leaves(world: World) -> None:
    do(world, lambda ctx: ctx.buy(QTY))
    world.gateway.plan = ["unknown"]
    do(world, lambda ctx: ctx.sell(QTY, reduce_only=True))
    refused = do(world, lambda ctx: ctx.buy(QTY))
    assert (refused.state, refused.reason, refused.intent[-2:]) == ("rejected", "risk.exit_unknown", "/0")
    world.gateway.resolve(list(world.gateway.orders)[-1], "rejected")
    world.turns(3)
    allowed = do(world, lambda ctx: ctx.buy(QTY))
    assert allowed.state == "filled"


def test_an_unknown_order_is_asked_about_every_five_seconds(world: World) -> None:
    world.gateway.plan = ["unknown"]
    do(world, lambda ctx: ctx.buy(QTY), turns=3)
    assert len(world.gateway.calls) == 1
    world.turns(48, ms=100)
    assert len(world.gateway.calls) == 1
    world.turns(4, ms=100)
    assert len(world.gateway.calls) == 2
    world.gateway.resolve(next(iter(world.gateway.orders)), "filled")
    world.turns(80, ms=100)
    assert len(world.gateway.calls) == 2
    assert [state for state, _ in strategy(world).told] == ["unknown", "filled"]


@pytest.mark.parametrize("code", ["wire.busy", "gateway.stopping"])
def test_a_refusal_that_says_nothing_about_the_order_is_asked_again(world: World, code: str) -> None:
    strategy(world).next = lambda ctx: ctx.buy(QTY)
    world.read()
    world.outward.popleft()
    body = wire.ErrorBody(code=code, message="", retryable=True)
    world.step(Answered(Errand("place", next(iter(world.runner.desk.live))), wire.Answer(id=1, ok=False, error=body)))
    assert world.outward == type(world.outward)(), "not in a tight loop"
    world.turns(60)
    assert strategy(world).told == [("filled", "")] and len(world.gateway.calls) == 1


def test_hello_first_is_answered_by_hello_and_the_order_again(world: World) -> None:
    strategy(world).next = lambda ctx: ctx.buy(QTY)
    world.read()
    world.outward.clear()
    hellos = world.gateway.seen_ops["hello"]
    body = wire.ErrorBody(code="rights.hello_first", message="", retryable=False)
    world.step(Answered(Errand("place", next(iter(world.runner.desk.live))), wire.Answer(id=1, ok=False, error=body)))
    world.turns(60)
    assert world.gateway.seen_ops["hello"] == hellos + 1
    assert strategy(world).told == [("filled", "")]


def test_an_order_of_an_earlier_boot_that_did_arrive_is_taken_as_it_is() -> None:
    first = World(Once, boot="b1")
    first.turns(2)
    strategy(first).next = lambda ctx: ctx.buy(QTY, Decimal(50000), tag="resting")
    first.read()
    first.deliver()
    second = World(Once, first.gateway, boot="b2")
    second.gateway.boot, second.store = "b2", first.store
    second.start()
    second.turns(4)
    assert [(handle.tag, handle.state) for handle in second.runner.hooks.context.orders()] == [("resting", "open")]
    assert len(second.gateway.calls) == 1


def test_a_close_of_an_earlier_boot_goes_again() -> None:
    first = World(Once, boot="b1")
    first.turns(2)
    do(first, lambda ctx: ctx.buy(QTY))
    strategy(first).next = lambda ctx: ctx.close()
    first.read()
    second = World(Once, first.gateway, boot="b2")
    second.gateway.boot, second.store = "b2", first.store
    second.start()
    second.turns(4)
    assert second.gateway.symbols["BTCUSDT"].qty == 0 and len(second.placed()) == 2


def test_notes_beyond_the_bound_are_dropped_oldest_first_and_counted(world: World) -> None:
    world.cut_line()
    for number in range(130):
        world.runner.courier.note(wire.Note(id=0, subject="brain.signal", data={"n": number}))
    assert world.runner.courier.notes_dropped == 30
    world.gateway.notes.clear()
    world.turns(4)
    assert [note.data["n"] for note in world.gateway.notes] == list(range(30, 130))


def test_an_order_that_only_shrinks_the_position_is_an_exit_though_it_did_not_say_so(world: World) -> None:
    do(world, lambda ctx: ctx.buy(QTY))
    world.gateway.plan = ["unknown"]
    handle = do(world, lambda ctx: ctx.sell(QTY))
    assert (handle.state, handle.is_exit) == ("unknown", True)
    assert do(world, lambda ctx: ctx.buy(QTY)).reason == "risk.exit_unknown"


@pytest.mark.parametrize(("waited_ms", "state"), [(1900, "rejected"), (2100, "filled")])
def test_a_second_exit_waits_two_seconds_for_an_unknown_one(world: World, waited_ms: int, state: str) -> None:
    do(world, lambda ctx: ctx.buy(QTY))
    world.gateway.plan = ["unknown"]
    first = do(world, lambda ctx: ctx.sell(QTY, reduce_only=True))
    asked_ns = first.record.place.asked_boot_ns
    world.gateway.tick(waited_ms - (world.gateway.now.boot_ns - asked_ns) // 1_000_000 - 5)
    second = do(world, lambda ctx: ctx.sell(QTY, reduce_only=True))
    assert (second.state, second.reason) == (state, "risk.exit_unknown" if state == "rejected" else "")


def test_an_entry_of_an_earlier_boot_is_asked_about_never_for() -> None:
    """Its deadline was counted on a clock that no longer exists."""
    first = World(Once, boot="b1")
    first.turns(2)
    strategy(first).next = lambda ctx: ctx.buy(QTY)
    first.read()
    second = World(Once, first.gateway, boot="b2")
    second.gateway.boot = "b2"
    second.store = first.store
    second.start()
    second.turns(4)
    assert second.gateway.calls == [] and second.gateway.seen_ops["order"] == 1
    assert ("expired", "intent.expired") in strategy(second).told
    assert second.store.rows == {}


def test_a_cancel_is_asked_until_the_order_is_closed(world: World) -> None:
    handle = do(world, lambda ctx: ctx.buy(QTY, Decimal(50000)))
    assert handle.state == "open"
    strategy(world).next = lambda ctx: ctx.cancel(handle)
    world.read()
    world.outward.clear()
    world.crash(deliver=False)
    world.turns(4)
    assert [order.state for order in world.gateway.orders.values()] == ["cancelled"]


# -- what is told ------------------------------------------------------------------------------------------------


def test_each_change_of_an_order_is_told_once_whichever_came_first(world: World) -> None:
    do(world, lambda ctx: ctx.buy(QTY))
    assert strategy(world).told == [("filled", "")]
    (fill,) = strategy(world).fills
    assert (fill.qty, fill.price, fill.seq, fill.handle.tag) == (QTY, Decimal("60000.1"), 2, "")


def test_an_answer_waits_for_the_events_it_includes(world: World) -> None:
    strategy(world).next = lambda ctx: ctx.buy(QTY, tag="t")
    world.read()
    world.deliver()
    world.answer()
    world.read(limit=0)
    assert strategy(world).told == [] and strategy(world).fills == []
    world.read(limit=1)
    assert strategy(world).told == [] and strategy(world).fills == []
    world.read()
    assert strategy(world).told == [("filled", "")]
    assert [fill.handle.tag for fill in strategy(world).fills] == ["t"]


def test_an_event_delivered_twice_is_handled_once(world: World) -> None:
    do(world, lambda ctx: ctx.buy(QTY))
    seen = world.runner.evidence.seen
    world.runner.evidence.seen = seen
    cut = Cut(world.gateway.now, world.runner.market.cut.gateway, world.runner.market.cut.symbols,  # type: ignore[union-attr]
              events=world.gateway.events, last_seq=seen)  # fmt: skip
    world.step(CutRead(cut))
    assert len(strategy(world).fills) == 1


def test_a_late_word_on_an_order_that_ended_is_no_news(world: World) -> None:
    do(world, lambda ctx: ctx.buy(QTY))
    told = list(strategy(world).told)
    (order,) = world.gateway.orders.values()
    order.state = "expired"
    world.gateway.event("order.expired", "BTCUSDT", order)
    world.turns(2)
    assert strategy(world).told == told and world.runner.desk.live == {}


def test_a_fill_of_an_order_thought_ended_is_told(world: World) -> None:
    handle = do(world, lambda ctx: ctx.buy(QTY, Decimal(50000)))
    do(world, lambda ctx: ctx.cancel(handle))
    (order,) = world.gateway.orders.values()
    assert order.state == "cancelled" and world.runner.desk.live == {}
    world.gateway.fill(order, QTY, Decimal(50000))
    world.turns(2)
    assert [(fill.qty, fill.handle.intent) for fill in strategy(world).fills] == [(QTY, handle.intent)]


def test_a_refusal_is_told_with_its_code(world: World) -> None:
    world.gateway.plan = ["reject:risk.max_notional"]
    handle = do(world, lambda ctx: ctx.buy(QTY))
    assert (handle.state, handle.reason) == ("rejected", "risk.max_notional")
    assert strategy(world).told == [("rejected", "risk.max_notional")]


# -- the gate ----------------------------------------------------------------------------------------------------


def test_nothing_is_decided_before_hello_was_answered() -> None:
    world = World(Counting)
    world.step(Connected())
    world.read()
    assert not any(isinstance(effect, Ready) for effect in world.effects)
    world.turns(2)
    assert sum(isinstance(effect, Ready) for effect in world.effects) == 1


def test_slices_of_an_epoch_that_did_not_answer_hello_are_refused(world: World) -> None:
    world.gateway.epoch = "e2"
    do(world, lambda ctx: ctx.buy(QTY))
    assert world.placed() == []
    assert "epoch e1" in world.runner.waiting.reason
    world.cut_line()
    world.turns(3)
    assert len(world.placed()) == 1


def test_old_slices_are_refused_just_past_the_second(world: World) -> None:
    values = world.gateway.values()
    raw = [values.get(key) for key in world.reader.keys]
    for ms, waits in ((1000, False), (1, True)):
        world.gateway.tick(ms)
        world.step(CutRead(world.reader.build(world.gateway.now, raw, last_seq=0)))
        assert bool(world.runner.waiting.reason) is waits


@pytest.mark.parametrize("kind", [keys.ledger("main", "BTCUSDT", "t-BTCUSDT"), keys.position("main", "BTCUSDT"),
                                  keys.orders("main", "BTCUSDT")])  # fmt: skip
def test_without_any_one_of_the_accounts_slices_nothing_is_decided(world: World, kind: str) -> None:
    whole = world.gateway.values
    world.gateway.values = lambda: {key: raw for key, raw in whole().items() if key != kind}  # type: ignore[method-assign]
    do(world, lambda ctx: ctx.buy(QTY))
    assert world.placed() == [] and kind.split(":")[3] in world.runner.waiting.reason
    world.gateway.values = whole  # type: ignore[method-assign]
    world.turns(3)
    assert len(world.placed()) == 1


def test_no_hook_runs_on_slices_behind_the_last_answer(world: World) -> None:
    do(world, lambda ctx: ctx.buy(QTY, Decimal(50000)))
    before = world.gateway.values()
    raw = [before.get(key) for key in world.reader.keys]
    seen = world.runner.evidence.seen
    world.gateway.event("gateway.ready", None, epoch="e1", took_ms=1)
    strategy(world).next = lambda ctx: ctx.buy(QTY, tag="on old slices")
    answer = wire.Answer(id=1, ok=True, as_of=len(world.gateway.events))
    world.step(Answered(Errand("cancel", ("r1", 1)), answer))
    world.step(CutRead(world.reader.build(world.gateway.now, raw, last_seq=seen)))
    assert strategy(world).next is not None and "the events up to" in world.runner.waiting.reason
    world.turns(2)
    assert world.placed()[-1].tag == "on old slices"


@pytest.mark.parametrize(("symbol", "waits"), [("BTCUSDT", True), (None, True), ("ETHUSDT", False)])
def test_slices_must_include_the_last_event_that_concerns_them(world: World, symbol: str | None, waits: bool) -> None:
    """What another symbol's event changes is in no slice of this brain: it does not wait for their next full write."""
    before = world.gateway.values()
    raw = [before.get(key) for key in world.reader.keys]
    event = world.gateway.event("position.changed", symbol, leg="BOTH", qty="0", entry="0", realised="0")
    strategy(world).next = lambda ctx: ctx.buy(QTY)
    world.step(CutRead(world.reader.build(world.gateway.now, raw, events=[event], last_seq=event.seq)))
    assert (strategy(world).next is not None) is waits
    assert ("include event" in world.runner.waiting.reason) is waits


def test_what_it_waits_for_is_said_after_half_a_second_then_every_ten(world: World) -> None:
    world.effects.clear()
    world.gateway.epoch = "e2"
    for _ in range(106):
        world.gateway.tick(100)
        world.read()
    said = [e for e in world.effects if isinstance(e, Report) and e.event == "waiting"]
    assert len(said) == 2


@pytest.mark.parametrize(
    ("code", "exit_code"), [("rights.denied", 2), ("brain.symbol_taken", 2), ("symbol.unknown", 1)]
)
def test_refusals_that_will_not_change_end_the_process(code: str, exit_code: int) -> None:
    gateway = MiniGateway("t-BTCUSDT")
    gateway.refuse_hello = code
    world = World(Once, gateway)
    world.connect()
    world.deliver()
    world.answer()
    assert [(e.code, e.reason.split(":")[0]) for e in world.effects if isinstance(e, Exit)] == [(exit_code, code)]


def test_a_taken_name_is_tried_again_for_ten_seconds_then_exit_2() -> None:
    gateway = MiniGateway("t-BTCUSDT")
    gateway.refuse_hello = "brain.name_taken"
    world = World(Once, gateway)
    for ms in (0, 5000, 5000):
        world.gateway.tick(ms)
        world.connect()
        world.deliver()
        world.answer()
        assert not any(isinstance(effect, Exit) for effect in world.effects)
    world.turn(1)
    assert [effect.code for effect in world.effects if isinstance(effect, Exit)] == [2]


def test_no_answer_to_hello_hangs_up_after_five_seconds() -> None:
    world = World(Once)
    world.connect()
    world.gateway.tick(5001)
    world.read()
    assert [effect.reason for effect in world.effects if isinstance(effect, Hangup)] == ["no answer to hello"]


def test_a_journal_that_begins_anew_is_followed() -> None:
    world = World(Counting)
    world.turns(5)
    assert (world.runner.evidence.seen or 0) > 0
    fresh = MiniGateway("t-BTCUSDT", epoch="e9")
    fresh.now = world.gateway.now
    world.gateway = fresh
    world.cut_line()
    fresh.symbols["BTCUSDT"].u = 77
    world.turns(6)
    assert [place.tag.partition(":")[0] for place in world.placed()] == ["enter", "counter"]


def test_events_read_while_the_hello_is_answered_are_no_new_journal() -> None:
    world = World(Counting)
    world.turns(1)
    world.gateway.symbols["BTCUSDT"].u = 2
    world.deliver()
    world.crash()  # the fill of what was sent is in the journal, and the checkpoint does not know it
    unread = len(world.gateway.events)
    world.connect()
    world.deliver()
    world.gateway.event("order.sent", "ETHUSDT")  # another brain's, after the answer was made and before it is read
    world.read()
    world.answer()
    assert (world.runner.evidence.seen or 0) > unread
    assert "events_begin_anew" not in reports(world.effects)
    world.turns(6)
    fills = [event.seq for event in world.gateway.events if event.subject == "order.filled"]
    assert world.runner.hooks.context.state["fills"] == fills


# -- hooks -------------------------------------------------------------------------------------------------------


class Barring(Quiet):
    def __init__(self) -> None:
        super().__init__()
        self.bars: list[tuple[float, bool]] = []

    def intervals(self) -> tuple[wire.Interval, ...]:
        return ("5m",)

    def on_bar(self, ctx: Context, bar: Bar) -> None:
        frame = ctx.bars("5m")
        assert frame is not None and bar.open_ms in frame["open_ms"].tolist()
        ctx.state["closes"] = [*ctx.state.get("closes", []), bar.close]
        self.bars.append((bar.close, bar.latest))


def test_each_bar_is_told_once_and_history_is_none() -> None:
    world = World(Barring)
    world.gateway.close_bar("BTCUSDT", "1")
    world.turns(3)
    assert strategy(world).bars == []
    world.gateway.close_bar("BTCUSDT", "2")
    world.turns(3)
    assert strategy(world).bars == [(2.0, True)]


def test_bars_that_closed_while_the_brain_was_away_come_in_order_only_the_newest_is_latest() -> None:
    world = World(Barring)
    world.gateway.close_bar("BTCUSDT", "1")
    world.turns(3)
    for close in ("2", "3", "4"):
        world.gateway.close_bar("BTCUSDT", close)
    world.crash()
    world.turns(3)
    assert strategy(world).bars == [(2.0, False), (3.0, False), (4.0, True)]
    world.crash()
    world.turns(3)
    assert strategy(world).bars == [] and world.runner.hooks.context.state["closes"] == [2.0, 3.0, 4.0]


def test_a_timer_is_due_once_and_not_early() -> None:
    class Timed(Quiet):
        def on_start(self, ctx: Context) -> None:
            ctx.timer("soon", 100)

        def on_timer(self, ctx: Context, timer: str) -> None:
            ctx.state["fired"] = [*ctx.state.get("fired", []), timer]

    world = World(Timed)
    world.turns(2, ms=0)
    world.turn(99)
    assert "fired" not in world.runner.hooks.context.state
    world.turn(1)
    world.turns(3, ms=100)
    assert world.runner.hooks.context.state["fired"] == ["soon"]


def test_on_slice_is_called_for_newer_slices_only() -> None:
    class Slices(Quiet):
        seen = 0

        def on_slice(self, ctx: Context, symbol: str) -> None:
            self.seen += 1

    world = World(Slices)
    world.turns(2)
    before = strategy(world).seen
    frozen = world.gateway.values
    held = frozen()
    world.gateway.values = lambda: held  # type: ignore[method-assign]
    world.turns(5, ms=1)
    assert strategy(world).seen == before + 1


def test_stop_calls_on_stop_and_leaves_when_orders_are_answered() -> None:
    class Leaving(Once):
        def on_stop(self, ctx: Context) -> None:
            ctx.close()

    world = World(Leaving)
    world.turns(2)
    do(world, lambda ctx: ctx.buy(QTY))
    effects = world.step(Stop("SIGTERM"))
    assert not any(isinstance(effect, Exit) for effect in effects)
    world.turns(2)
    assert any(isinstance(e, Exit) and e.code == 0 for e in world.effects)
    assert world.gateway.symbols["BTCUSDT"].qty == 0


def test_stop_without_a_gateway_leaves_at_once() -> None:
    world = World(Once)
    assert any(isinstance(effect, Exit) and effect.code == 0 for effect in world.step(Stop("SIGTERM")))


def test_notes_go_out_and_oversized_ones_are_reported(world: World) -> None:
    def notes(ctx: Context) -> None:
        ctx.note({"why": "because"}, subject="brain.signal")
        ctx.note({"x": "y" * 5000})
        ctx.note({}, subject="order.filled")

    world.effects.clear()
    do(world, notes)
    assert [(note.subject, note.data) for note in world.gateway.notes if note.subject != "brain.params"] == [
        ("brain.signal", {"why": "because"})
    ]
    assert "hook_failed" in reports(world.effects)


def test_the_ping_shows_the_last_decision_and_renews_at_least_each_second(world: World) -> None:
    do(world, lambda ctx: ctx.show(decision="hold"), turns=100, ms=10)
    shown = world.gateway.show or {}
    assert (shown["decision"], shown["state"], shown["strategy"]) == ("hold", "deciding", "quiet")
    pings = world.gateway.seen_ops["ping"]
    world.turns(100, ms=100)
    assert 9 <= world.gateway.seen_ops["ping"] - pings <= 11


def test_other_peoples_events_do_not_write_the_checkpoint(world: World) -> None:
    world.turns(3)
    world.effects.clear()
    for _ in range(20):
        world.gateway.event("gateway.ready", None, epoch="e1", took_ms=1)
        world.turn()
    assert [effect for effect in world.effects if isinstance(effect, Commit)] == []
    for _ in range(1000):
        world.gateway.event("gateway.ready", None, epoch="e1", took_ms=1)
    world.turns(5)
    assert len([effect for effect in world.effects if isinstance(effect, Commit)]) == 1


def test_the_checkpoint_of_a_quiet_brain_is_what_it_decided(world: World) -> None:
    do(world, lambda ctx: ctx.buy(QTY), turns=6)
    meta = world.runner.keeper.meta
    meta.next_seq = world.runner.desk.next_seq
    assert world.store.rows == {}
    assert world.store.meta == encode_meta(meta)


def test_a_close_sent_for_less_than_asked_is_followed_to_its_end_though_its_fill_outran_its_answer(
    world: World,
) -> None:
    """The position had shrunk meanwhile, so the gateway sent no more than there was. Its events come before the answer
    to `place` is acted on; dropped as another order's, they would leave an exit that never ends."""
    do(world, lambda ctx: ctx.buy(QTY))
    world.gateway.plan = ["rest"]
    strategy(world).next = lambda ctx: ctx.sell(QTY * 2, reduce_only=True)
    world.read()
    world.deliver()
    (order,) = [each for each in world.gateway.orders.values() if each.place.reduce_only]
    assert order.qty == str(QTY)
    world.gateway.fill(order, QTY, Decimal("60000.0"))
    world.answer()
    world.turns(3)
    handle = strategy(world).handles[-1]
    assert (handle.state, handle.filled_qty) == ("filled", QTY)
    assert [(fill.side, fill.qty) for fill in strategy(world).fills] == [("BUY", QTY), ("SELL", QTY)]
    assert world.runner.desk.live == {} and world.store.rows == {}


def test_a_refused_cancel_is_not_asked_again_in_a_tight_loop(world: World) -> None:
    handle = do(world, lambda ctx: ctx.buy(QTY, Decimal(50000)))
    world.gateway.refuse_cancel = "risk.halted"
    before = world.gateway.seen_ops.get("cancel", 0)
    do(world, lambda ctx: ctx.cancel(handle), turns=200, ms=10)
    assert 2 <= world.gateway.seen_ops["cancel"] - before <= 3, "once a second"
    world.gateway.refuse_cancel = ""
    world.turns(110, ms=10)
    assert handle.state == "cancelled"
