"""The planned change of a connection before the exchange's 24 hours: two say the same, each thing counts once."""

from __future__ import annotations

import heapq
import random
from typing import Any

import pytest

from gateway.core.inputs import Frame, Now
from gateway.core.link_handover import AccountBeside, StreamsBeside
from gateway.core.link_overlap import HOLD_NS, MAX_HELD, MAX_TOLD, Overlap
from gateway.core.market_settings import LinkSettings
from gateway.core.signals import PrivateDown, PrivateUp, ReconcileWanted, UserFrames
from tests.gateway.market_rig import Rig, diff, snapshot
from tests.gateway.test_market_links import KEY, keyed_rig, mark, trading_rig

S = 1_000_000_000
SOON = LinkSettings(max_age_ms=10_000, max_age_jitter_ms=0)
BASE = 1_000  # update id before the first change


def at(ns: int) -> Now:
    return Now(ns, ns)


# -- market data --------------------------------------------------------------------------------------------------


def chunked(rng: random.Random, changes: list[tuple[str, str, str]]) -> list[tuple[int, dict[str, Any]]]:
    """The changes (update ids 1, 2, ...) as one connection's messages: (last id, frame). Cut anywhere."""
    frames, first, prev = [], 1, 0
    while first <= len(changes):
        last = min(len(changes), first + rng.choice((0, 0, 1, 3, 7)))
        levels: dict[str, dict[str, str]] = {"b": {}, "a": {}}
        for side, price, size in changes[first - 1 : last]:
            levels[side][price] = size
        body = ([list(one) for one in levels[side].items()] for side in ("b", "a"))
        frames.append((last, diff("BTCUSDT", BASE + first, BASE + last, BASE + prev, *body)))
        first, prev = last + 1, last
    return frames


def market(rng: random.Random, count: int) -> list[tuple[str, str, str]]:
    """Changes around 1000 that never cross: bids below, asks above."""
    out = []
    for _ in range(count):
        side = rng.choice("ba")
        price = rng.randint(950, 999) if side == "b" else rng.randint(1001, 1050)
        out.append((side, str(price), rng.choice(("0", str(rng.randint(1, 9))))))
    return out


def truth(changes: list[tuple[str, str, str]], side: str) -> list[list[str]]:
    held = {price: size for one, price, size in changes if one == side}
    rows = [[price, size] for price, size in held.items() if size != "0"]
    return sorted(rows, key=lambda row: float(row[0]), reverse=side == "b")[:20]


@pytest.mark.parametrize("run", range(12))
def test_however_two_connections_are_skewed_and_cut_the_book_stays_live_and_exact(seed: int, run: int) -> None:
    rng = random.Random(seed + run)
    changes = market(rng, 1_500)
    own = chunked(rng, changes)
    frames = {"public": own, "public#2": own if rng.random() < 0.3 else chunked(rng, changes)}
    made_ms = [round(index * 14) for index in range(len(changes) + 1)]  # 21 s of market
    queue: list[tuple[float, str, int]] = []
    for conn in frames:
        lag, jitter, free_ms = rng.uniform(0, 400), rng.uniform(0, 400), 0.0
        for index, (last, _) in enumerate(frames[conn]):
            free_ms = max(free_ms, made_ms[last] + lag + rng.uniform(0, jitter))  # in order on one connection
            queue.append((free_ms, conn, index))
    heapq.heapify(queue)

    rig = trading_rig(link=SOON)
    rig.answers["/fapi/v1/depth"] = lambda send: (200, snapshot(BASE, [], []))
    rig.start("BTCUSDT")
    rig.feed(diff("BTCUSDT", BASE, BASE, BASE - 1, [], []))
    assert rig.book("BTCUSDT")["state"] == "live"
    clock_ms = last_u = 0.0
    while queue:
        due_ms, conn, index = heapq.heappop(queue)
        while clock_ms < due_ms:
            rig.wait(100)
            clock_ms += 100
            rig.feed(mark("BTCUSDT", int(clock_ms)), next(one for one in rig.open if one.startswith("market")))
        if conn in rig.open:
            rig.feed(frames[conn][index][1], conn)
        book = rig.book("BTCUSDT")
        assert (book["state"], book["u"] >= last_u) == ("live", True)
        last_u = book["u"]
        assert [book["bids"], book["asks"]] == [truth(changes[: book["u"] - BASE], side) for side in "ba"]
    assert last_u == BASE + len(changes)
    assert "public#2" in rig.open
    assert "public" not in rig.open, "the newer one took over"
    assert not {"book.gap", "stream.down", "stream.silent"} & set(rig.subjects())
    assert rig.core.counters().get("stream.handover", 0) >= 1


def test_a_message_that_neither_connection_brings_is_a_gap_within_a_second() -> None:
    rig = open_beside(trading_rig(link=SOON))
    rig.feed(diff("BTCUSDT", 106, 107, 105, [], []), "public#2")
    rig.wait(900)
    assert rig.book("BTCUSDT")["state"] == "live"
    rig.answers["/fapi/v1/depth"] = lambda send: None
    rig.wait(300)
    assert rig.book("BTCUSDT")["state"] == "resync"
    assert rig.last("book.gap").data["reason"] == "gap"


def test_after_the_hand_over_a_hole_is_a_gap_at_once_again() -> None:
    rig = open_beside(trading_rig(link=SOON))
    for last in range(102, 162):
        for conn in ("public", "public#2"):
            if conn in rig.open:
                rig.feed(diff("BTCUSDT", last, last, last - 1, [], []), conn)
        rig.wait(100)
        rig.feed(mark("BTCUSDT", last), next(one for one in rig.open if one.startswith("market")))
    assert "public" not in rig.open
    assert rig.book("BTCUSDT")["u"] == 161
    rig.answers["/fapi/v1/depth"] = lambda send: None
    rig.feed(diff("BTCUSDT", 160, 164, 160, [], []), "public#2")  # tolerated once: how the last one may be cut
    rig.feed(diff("BTCUSDT", 163, 166, 163, [], []), "public#2")
    assert rig.book("BTCUSDT")["state"] == "resync"


def open_beside(rig: Rig, *symbols: str) -> Rig:
    """`public#2` is open beside `public`; all books stand at 101."""
    names = symbols or ("BTCUSDT",)
    rig.start(*names)
    for name in names:
        rig.feed(diff(name, 99, 101, 98, [], []))
    for tick in range(200):
        if "public#2" in rig.open:
            return rig
        rig.feed(mark(names[0], tick), next(one for one in rig.open if one.startswith("market")))
        rig.wait(100)
    raise AssertionError("no replacement was opened")


def test_it_takes_over_only_when_every_stream_that_speaks_on_the_old_one_speaks_on_the_new_one() -> None:
    rig = open_beside(trading_rig(link=SOON), "BTCUSDT", "ETHUSDT")
    last = 101
    for step in range(310):
        last += 1
        for name in ("BTCUSDT", "ETHUSDT"):
            rig.feed(diff(name, last, last, last - 1, [], []), "public")
        if "public#2" in rig.open:
            rig.feed(diff("BTCUSDT", last, last, last - 1, [], []), "public#2")
        rig.feed(mark("BTCUSDT", step), "market")
        rig.feed(mark("ETHUSDT", step), "market")
        rig.wait(100)
    assert "public" in rig.open, "the old one goes on"
    assert "public#2" not in rig.open, "the mute one is given up"
    said = [report.fields for report in rig.reports if report.event == "stream.no_handover"]
    assert "accepted but is silent: ethusdt@depth@100ms" in said[0]["reason"]
    assert rig.book("ETHUSDT")["state"] == "live"
    for step in range(900):
        last += 1
        for name in ("BTCUSDT", "ETHUSDT"):
            rig.feed(diff(name, last, last, last - 1, [], []), "public")
            rig.feed(mark(name, 10**6 + step), next(one for one in rig.open if one.startswith("market")))
        rig.wait(100)
        if "public#3" in rig.open:
            break
    assert "public#3" in rig.open, "it is tried again after a minute"


def test_families_change_one_after_the_other() -> None:
    rig = keyed_rig(KEY, link=SOON)
    rig.start("BTCUSDT")
    most, last = 0, 101
    rig.feed(diff("BTCUSDT", 99, 101, 98, [], []))
    for step in range(700):
        last += 1
        for conn in list(rig.open):
            if conn.startswith("public"):
                rig.feed(diff("BTCUSDT", last, last, last - 1, [], []), conn)
            elif conn.startswith("market"):
                rig.feed(mark("BTCUSDT", step), conn)
        rig.wait(100)
        most = max(most, len(rig.open))
    assert most == 4, "never two replacements at once"
    numbers = {conn.partition("#")[0]: int(conn.partition("#")[2] or 1) for conn in rig.open}
    assert min(numbers.values()) >= 2, "each was replaced"
    assert not {"book.gap", "stream.down", "listen_key.lost"} & set(rig.subjects())
    assert [one for one in rig.signals if isinstance(one, PrivateDown)] == []


@pytest.mark.parametrize(("answer", "taken"), [(True, True), (False, False)])
def test_streams_that_did_not_fit_the_url_must_be_answered_for(answer: bool, taken: bool) -> None:
    settings = LinkSettings(max_age_ms=10_000, max_age_jitter_ms=0, streams_in_url=1)
    rig = open_beside(trading_rig(link=settings), "BTCUSDT", "ETHUSDT")
    for step in range(60):
        for conn in ("public", "public#2"):
            if conn in rig.open:
                rig.feed(diff("BTCUSDT", 102 + step, 102 + step, 101 + step, [], []), conn)
        if answer:
            for number in range(20):
                rig.feed({"result": None, "id": number}, "public#2")
        rig.feed(mark("BTCUSDT", step), next(one for one in rig.open if one.startswith("market")))
        rig.wait(100)
    assert ("public" not in rig.open) == taken


class TestStreamsBeside:
    def rules(self) -> StreamsBeside:
        return StreamsBeside(at(0), LinkSettings())

    def test_not_before_both_were_heard_for_two_seconds(self) -> None:
        beside = self.rules()
        beside.saw(at(0), "a", new=True)
        assert beside.verdict(at(2 * S - 1), subscribed=True).what == "wait"
        assert beside.verdict(at(2 * S), subscribed=True).what == "take"

    def test_what_the_old_one_said_in_the_first_second_is_not_owed(self) -> None:
        beside = self.rules()
        beside.saw(at(0), "a", new=True)
        beside.saw(at(S - 1), "b", new=False)
        assert beside.verdict(at(2 * S), subscribed=True).what == "take"
        beside.saw(at(S), "c", new=False)
        assert beside.verdict(at(3 * S), subscribed=True).what == "wait"

    def test_quiet_on_both_for_the_whole_time_loses_nothing(self) -> None:
        beside = self.rules()
        assert beside.verdict(at(30 * S - 1), subscribed=True).what == "wait"
        assert beside.verdict(at(30 * S), subscribed=True).what == "take"
        assert beside.verdict(at(30 * S), subscribed=False).what == "give_up"


# -- the account's events -----------------------------------------------------------------------------------------


def frame(text: str, conn: str = "private") -> Frame:
    return Frame(conn, text.encode(), 0, 0)


def told(frames: list[Frame]) -> list[str]:
    return [one.data.decode() for one in frames]


@pytest.mark.parametrize("run", range(40))
def test_every_event_passes_exactly_once_and_in_the_order_of_its_kind_however_the_two_are_delayed(
    seed: int, run: int
) -> None:
    rng = random.Random(seed * 100 + run)
    opens = rng.randint(0, 50)  # the newer one hears from here on
    ends = rng.randint(opens + 5, 200)  # the older one says no more from here on
    events = [f"{rng.choice('ab')}{index}" for index in range(200)]
    for index in range(opens + 3, ends - 1):
        if rng.random() < 0.2:
            events[index] = events[index - 1]  # word for word the same: two events all the same
    queue: list[tuple[int, bool, int]] = []
    free: dict[tuple[bool, str], int] = {}
    for index, event in enumerate(events):
        for new in (False, True):
            if index >= opens if new else index < ends:
                kind = (new, event[0])  # one connection keeps the order of one kind of events, not between kinds
                free[kind] = max(free.get(kind, 0), index * 20_000_000 + rng.randint(0, 150_000_000))
                queue.append((free[kind], new, index))
    queue.sort(key=lambda one: one[0])
    ended_ns = max(due_ns for due_ns, new, _ in queue if not new) + rng.choice((0, 3 * S))
    overlap, out = Overlap(), list[str]()
    for now_ns, new, index in queue:
        out += told(overlap.due(at(now_ns)))
        if now_ns > ended_ns:
            out += told(overlap.end())
        out += told(overlap.take(at(now_ns), frame(events[index]), events[index].encode(), new=new))
    out += told(overlap.end())
    for letter in "ab":
        assert [one for one in out if one[0] == letter] == [one for one in events if one[0] == letter]


class TestOverlap:
    def test_the_newer_one_waits_for_the_older_one_and_no_longer(self) -> None:
        overlap = Overlap()
        assert overlap.take(at(0), frame("x"), b"x", new=True) == []
        assert overlap.due(at(HOLD_NS - 1)) == []
        assert told(overlap.due(at(HOLD_NS))) == ["x"]
        assert overlap.take(at(HOLD_NS + 1), frame("x"), b"x", new=False) == [], "late, and told already"
        assert told(overlap.take(at(HOLD_NS + 2), frame("x"), b"x", new=False)) == ["x"], "another one, word for word"

    def test_the_newer_one_owes_what_the_older_one_told_alone(self) -> None:
        overlap = Overlap()
        overlap.take(at(5), frame("early"), b"early", new=False, counted=False)
        owed = [overlap.alone_since_ns]
        for ns, new in ((7, False), (9, True)):
            overlap.take(at(ns), frame("x"), b"x", new=new)
            owed.append(overlap.alone_since_ns)
        assert owed == [None, 7, None]
        assert overlap.matched == 1
        assert overlap.take(at(9), frame("early"), b"early", new=True) == [], "not owed, and yet told once"

    def test_what_waits_and_what_is_remembered_is_bounded(self) -> None:
        overlap = Overlap()
        passed = [one for n in range(MAX_HELD + 5) for one in overlap.take(at(0), frame(str(n)), b"%d" % n, new=True)]
        assert told(passed) == [str(n) for n in range(5)]
        assert overlap.waiting == MAX_HELD
        for n in range(MAX_TOLD + 5):
            overlap.take(at(0), frame("o"), b"o%d" % n, new=False)
        assert len(overlap._old) == len(overlap._old._numbers) == MAX_TOLD


class TestAccountBeside:
    def test_it_takes_over_with_the_first_event_both_told_and_not_before_two_seconds(self) -> None:
        beside = AccountBeside(at(0), LinkSettings())
        for new in (False, True):
            beside.frames(at(S), frame("x"), b"x", new=new)
        assert beside.verdict(at(2 * S - 1)).what == "wait"
        assert beside.verdict(at(2 * S)).what == "take"

    def test_an_event_the_newer_one_never_tells_gives_it_up(self) -> None:
        beside = AccountBeside(at(0), LinkSettings())
        beside.frames(at(S), frame("x"), b"x", new=False)
        assert beside.verdict(at(6 * S - 1)).what == "wait"
        assert beside.verdict(at(6 * S)).what == "give_up"

    def test_a_quiet_account_is_no_dead_stream(self) -> None:
        beside = AccountBeside(at(0), LinkSettings())
        assert beside.verdict(at(30 * S - 1)).what == "wait"
        assert beside.verdict(at(30 * S)).what == "take"


class PrivateRig:
    """Links with a private stream, and what goes on to the account."""

    def __init__(self) -> None:
        link = LinkSettings(max_age_ms=10_000, max_age_jitter_ms=0)
        self.rig = keyed_rig(KEY, link=link)
        self.rig.links._families["public"].streams.clear()
        self.rig.do(self.rig.links.start(self.rig.now))
        self.out: list[str] = []
        for _ in range(102):
            self.rig.wait(100)
        assert "private#2" in self.rig.open

    def say(self, text: str, *conns: str) -> None:
        for conn in conns:
            self.rig.do(self.rig.links.saw_frame(self.rig.now, conn, "user"))
            now = self.rig.now
            self.out += told(self.rig.links.user_frames(now, Frame(conn, text.encode(), now.wall_ns, now.boot_ns)))

    def released(self) -> list[str]:
        return [text for one in self.rig.signals if isinstance(one, UserFrames) for text in told(list(one.frames))]


def test_the_private_stream_is_replaced_under_the_same_key_without_a_moment_without_one() -> None:
    held = PrivateRig()
    rig = held.rig
    assert rig.open["private"] == rig.open["private#2"], "the same listenKey"
    rig.wait(1_500)
    held.say("a", "private", "private#2")
    rig.wait(1_000)
    held.say("b", "private#2")
    rig.wait(400)
    assert held.out == ["a"]
    assert held.released() == ["b"]
    held.say("b", "private")
    rig.wait(2_000)
    assert set(rig.open) == {"private#2"}
    held.say("c", "private#2")
    assert held.out == ["a", "c"]
    assert [type(one) for one in rig.signals if isinstance(one, PrivateUp | PrivateDown)] == [PrivateUp]
    assert any(isinstance(one, ReconcileWanted) for one in rig.signals), "and everything is read once more"


def test_an_old_private_connection_that_ends_early_lets_go_what_waited_for_it() -> None:
    held = PrivateRig()
    held.say("x", "private#2")
    held.rig.signals.clear()
    held.rig.close("private")
    kinds = [type(one) for one in held.rig.signals]
    assert kinds == [UserFrames, PrivateDown, PrivateUp], "nothing was proven of the newer one: it begins anew"
    assert held.released() == ["x"]
    held.say("y", "private#2")
    assert held.out == ["y"]


def test_a_mute_private_replacement_is_given_up_and_the_other_form_of_address_is_next() -> None:
    held = PrivateRig()
    held.rig.wait(1_000)
    held.say("x", "private")
    held.rig.wait(5_200)
    assert held.out == ["x"]
    assert "private" in held.rig.open
    assert "private#2" not in held.rig.open
    held.rig.wait(61_000)
    assert "/private/ws/" in held.rig.open["private#3"]
    assert [one for one in held.rig.signals if isinstance(one, PrivateDown)] == []
