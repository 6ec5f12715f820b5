"""Chaos without sockets: checks, schedule, plans by seed, lanes, the log of begins and ends."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simex.server.chaos import draw, frames
from simex.server.chaos.draw import LEVELS, Setting
from simex.server.chaos.kinds import FAMILIES, KINDS, check
from simex.server.chaos.lanes import Lanes
from simex.server.chaos.schedule import Schedule
from simex.server.faults import MAX_FAULTS, Fault, Faults


class Timers:
    """Virtual time: `later` calls back when `run` has come that far."""

    def __init__(self) -> None:
        self.now_ms = 0
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def later(self, delay_ms: int, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._due, (self.now_ms + delay_ms, self._count, action))

    def run(self, until_ms: int) -> None:
        while self._due and self._due[0][0] <= until_ms:
            self.now_ms, _, action = heapq.heappop(self._due)
            action()
        self.now_ms = until_ms


class Bench:
    """Faults and lanes over virtual time; `sent` is what came out."""

    def __init__(self, *specs: dict[str, Any]) -> None:
        self.timers = Timers()
        self.ended: list[Fault] = []
        self.faults = Faults(Random(1), on_end=self.ended.append)
        self.lanes = Lanes(self.faults, lambda: self.timers.now_ms, self.timers.later)
        self.sent: list[bytes] = []
        for spec in specs:
            self.faults.add(0, spec)

    def stream(self, *names: str, stream: str = "btcusdt@aggTrade", route: str = "market") -> list[bytes]:
        where = {"route": route, "stream": stream, "symbol": stream.partition("@")[0].upper()}
        for name in names:
            self.lanes.stream(stream, where, name.encode(), self.sent.append)
        return self.sent

    def user(self, *names: str, account: str = "a") -> list[bytes]:
        for name in names:
            self.lanes.user(account, "ORDER_TRADE_UPDATE", name.encode(), self.sent.append)
        return self.sent


@pytest.mark.parametrize(
    ("fault", "came"),
    [
        ({"fault": "stream_drop", "nth": 2}, [b"1", b"3", b"4"]),
        ({"fault": "stream_duplicate", "nth": 2}, [b"1", b"2", b"2", b"3", b"4"]),
        ({"fault": "stream_reorder", "nth": 2}, [b"1", b"3", b"2", b"4"]),
        ({"fault": "stream_drop", "stream": "btcusdt@agg*"}, []),
        ({"fault": "stream_drop", "stream": "btcusdt@depth*"}, [b"1", b"2", b"3", b"4"]),
        ({"fault": "stream_drop", "route": "public"}, [b"1", b"2", b"3", b"4"]),
        ({"fault": "stream_drop", "symbol": "ETHUSDT"}, [b"1", b"2", b"3", b"4"]),
        ({"fault": "stream_drop", "symbol": "BTCUSDT", "count": 3}, [b"4"]),
    ],
)
def test_a_stream_fault_meets_what_it_selects(fault: dict[str, Any], came: list[bytes]) -> None:
    assert Bench(fault).stream("1", "2", "3", "4") == came


def test_a_delayed_message_is_passed_by_later_ones_and_lost_by_nobody() -> None:
    bench = Bench({"fault": "stream_delay", "nth": 1, "delay_ms": 70})
    assert bench.stream("1", "2") == [b"2"]
    bench.timers.run(69)
    assert bench.sent == [b"2"]
    bench.timers.run(70)
    assert bench.sent == [b"2", b"1"]


def test_half_a_message_and_a_spoilt_field() -> None:
    assert Bench({"fault": "stream_cut", "nth": 1}).stream("123456", "ok") == [b"123", b"ok"]
    bench = Bench({"fault": "stream_set", "nth": 1, "field": "p", "value": None})
    assert [json.loads(text) for text in bench.stream('{"p":"1"}', '{"p":"2"}')] == [{"p": None}, {"p": "2"}]
    bench = Bench({"fault": "stream_set", "nth": 1, "field": "p"})
    assert [json.loads(text) for text in bench.stream('[{"p":"1","s":"X"}]')] == [[{"s": "X"}]]


@given(st.lists(st.sampled_from(["drop", "duplicate", "reorder", "pass"]), min_size=1, max_size=30))
def test_reordering_and_doubling_lose_nothing_and_dropping_loses_only_its_own(actions: list[str]) -> None:
    bench, kept = Bench(), []
    for number, action in enumerate(actions):
        bench.faults.clear()
        if action != "pass":
            bench.faults.add(0, {"fault": f"user_{action}"})
        bench.user(str(number))
        kept += {"drop": [], "duplicate": [number, number]}.get(action, [number])
    bench.faults.clear()
    bench.user("end")
    assert sorted(bench.sent) == sorted([str(number).encode() for number in kept] + [b"end"])


def test_events_wait_for_their_reply_and_leave_in_their_order() -> None:
    bench = Bench()
    first, second = bench.lanes.hold("a"), bench.lanes.hold("a")
    bench.user("1", "2")
    bench.user("other", account="b")
    assert bench.sent == [b"other"]
    second()
    bench.user("3")
    assert bench.sent == [b"other"]
    first()
    assert bench.sent == [b"other", b"1", b"2", b"3"]
    assert bench.user("4")[-1] == b"4"


def test_a_mute_key_hears_nothing_of_that_account() -> None:
    bench = Bench({"fault": "listen_key_mute", "account": "a"})
    bench.user("1")
    assert bench.user("2", account="b") == [b"2"]


def test_begin_and_end_of_each_fault_are_told_once_with_the_reason() -> None:
    bench = Bench()
    spent = bench.faults.add(10, {"fault": "stream_drop", "count": 1})
    timed = bench.faults.add(10, {"fault": "moved", "stream": "*", "for_s": 0.5})
    cleared = bench.faults.add(10, {"fault": "silent", "route": "public"})
    bench.stream("1")
    assert bench.faults.listing(509) == [timed.listing(), cleared.listing()]
    assert bench.faults.listing(510) == [cleared.listing()]
    assert bench.faults.clear(cleared.number, 600) == 1
    assert bench.ended == [spent, timed, cleared]
    rows = bench.faults.log.since(0)
    assert [(row["id"], row["why"], row["time_ms"], row["struck"]) for row in rows] == [
        (spent.number, "spent", 0, 1), (timed.number, "time", 510, 0), (cleared.number, "cleared", 600, 0),
    ]  # fmt: skip
    assert bench.faults.log.since(2) == rows[2:]
    assert bench.faults.idle


def test_the_bound_of_faults_refuses_one_more_and_counts_only_those_in_force() -> None:
    faults = Faults(Random(1))
    for _ in range(MAX_FAULTS):
        faults.add(0, {"fault": "silent", "for_s": 1})
    with pytest.raises(ValueError, match="clear some first"):
        faults.add(999, {"fault": "silent"})
    faults.add(1000, {"fault": "silent"})


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_says_what_it_does_and_refuses_what_it_does_not_know(name: str) -> None:
    kind = KINDS[name]
    assert kind.text
    assert kind.family in FAMILIES
    with pytest.raises(ValueError, match="unknown field rubbish"):
        check({"fault": name, "rubbish": 1})
    if kind.needs:
        with pytest.raises(ValueError, match=f"({'|'.join(kind.needs)}) is mandatory"):
            check({"fault": name})
        with pytest.raises(ValueError, match=f"({'|'.join(kind.needs)}) must be"):
            check({"fault": name, **dict.fromkeys(kind.needs, ())})


def schedule() -> tuple[Timers, Schedule, list[tuple[int, dict[str, Any]]]]:
    timers, begun = Timers(), []

    def switch_on(spec: dict[str, Any]) -> None:
        begun.append((timers.now_ms, spec))
        if spec.get("symbol") == "NOPE":
            raise ValueError("no such symbol")

    return timers, Schedule(switch_on, timers.later), begun


def test_rows_come_at_their_times_and_as_often_as_they_say() -> None:
    timers, plan, begun = schedule()
    cut, mute = {"fault": "cut_all"}, {"fault": "silent", "for_s": 1}
    plan.add([{"at_s": 2, **cut}, {"every_s": 3, "times": 2, **mute}, {"at_s": 1, "every_s": 10, **cut}])
    timers.run(12_000)
    assert begun == [(1000, cut), (2000, cut), (3000, mute), (6000, mute), (11_000, cut)]
    assert [row["next_s"] for row in plan.listing()] == [21.0]
    assert plan.clear() == 1
    timers.run(60_000)
    assert len(begun) == 5


def test_a_row_that_is_refused_says_so_and_the_others_go_on() -> None:
    timers, plan, begun = schedule()
    plan.add([{"every_s": 1, "fault": "filters", "symbol": "NOPE", "min_notional": "9"}])
    timers.run(3000)
    assert len(begun) == 3
    assert plan.listing()[0]["refused"] == "no such symbol"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (5, "JSON object"), ({"fault": "cut_all"}, "at_s or every_s"), ({"at_s": -1, "fault": "cut_all"}, "at_s"),
        ({"every_s": 0, "fault": "cut_all"}, "every_s"), ({"at_s": 1, "times": 2, "fault": "cut_all"}, "times"),
        ({"at_s": True, "fault": "cut_all"}, "at_s"), ({"at_s": 1, "fault": "nope"}, "nope"),
        ({"at_s": 1, "fault": "drip", "bytes": 0}, "bytes"),
    ],
)  # fmt: skip
def test_one_wrong_row_takes_the_whole_list_back(row: object, says: str) -> None:
    timers, plan, begun = schedule()
    with pytest.raises(ValueError, match=f"row 1: .*{says}"):
        plan.add([{"at_s": 1, "fault": "cut_all"}, row])
    timers.run(5000)
    assert begun == []


def setting(seed: int, level: str = "heavy", **more: Any) -> Setting:
    return Setting(seed, level, ["BTCUSDT", "ETHUSDT"], ["simex"], tls=True, **more)


def test_a_plan_is_its_seeds_and_draws_from_every_family(seed: int) -> None:
    plan = draw.plan(setting(seed), 3600)
    assert plan == draw.plan(setting(seed), 3600)
    assert plan[:5] == draw.plan(setting(seed), 3600)[:5] != draw.plan(setting(seed + 1), 3600)[:5]
    assert {KINDS[row["fault"]].family for row in plan} == set(FAMILIES)  # 1200 draws: the rarest is due 50 times
    times = [row["at_s"] for row in plan]
    assert times == sorted(times)
    for row in plan:
        check({name: value for name, value in row.items() if name != "at_s"})


def test_every_drawn_fault_ends_or_is_over_at_once(seed: int) -> None:
    for level in LEVELS:
        for row in draw.plan(setting(seed, level), 3600):
            bounded = "for_s" in row or "nth" in row or KINDS[row["fault"]].acts == "instant"
            assert bounded, row
    only = draw.plan(setting(seed, families=("keys",)), 600)
    assert {KINDS[row["fault"]].family for row in only} == {"keys"}


def test_without_tls_no_fault_of_tls_is_drawn(seed: int) -> None:
    plain = Setting(seed, "heavy", ["BTCUSDT"], ["simex"], families=("door",))
    assert {row["fault"] for row in draw.plan(plain, 600)} == {"refuse"}


@pytest.mark.parametrize("more", [{"level": "mild"}, {"families": ("x",)}, {"families": ()}])
def test_an_unknown_level_or_family_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"level|families"):
        setting(1, **more)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_frames_have_the_length_form_of_their_size(size: int) -> None:
    frame = frames.server_frame(1, b"x" * size)
    head = 2 if size < 126 else 4 if size < 65_536 else 10
    assert len(frame) == head + size
    assert frame[0] == 0x81
    assert 0 < len(frames.half(frame)) < len(frame)
