"""The feed against a real Redis: consistent cuts, events without holes, refusal by default, recovery by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from ipc import clock, keys
from ipc import events as ev
from ipc.cut import Cut, CutReader
from ipc.errors import IpcError
from ipc.feed import MAX_EVENTS, Feed
from ipc.redis_server import start_private
from ipc.slices import BarRow, Now
from tests.brain.mini_gateway import MiniGateway
from tests.waiting import wait_until

BOOT = clock.boot_id()


def now() -> Now:
    return clock.reader_now(BOOT)


class Writer:
    """Writes what the mini gateway holds to Redis, when told."""

    def __init__(self, url: str) -> None:
        self.core = MiniGateway("b", boot=BOOT)
        self.client = redis.Redis.from_url(url)
        self.asked: list[tuple[int, int]] = []
        self.mute = False

    def write(self, *, events: bool = True, only: slice = slice(None)) -> None:
        self.core.now = now()
        if events:
            for event in self.core.events[only]:
                self.append(event)
        self.client.mset(self.core.values())

    def append(self, event: ev.Event) -> None:
        try:
            self.client.xadd(keys.events("main"), {"e": ev.encode(event)}, id=ev.stream_id(event.seq))
        except redis.ResponseError:
            return  # is there already

    def history(self, after: int, limit: int) -> list[ev.Event]:
        self.asked.append((after, limit))
        if self.mute:
            raise IpcError("gateway.unreachable", "scripted")
        return [event for event in self.core.events if event.seq > after][:limit]

    def some_events(self, count: int) -> None:
        for _ in range(count):
            self.core.event("gateway.ready", None, epoch="e1", took_ms=1)


@pytest.fixture
def writer(redis_url: str) -> Iterator[Writer]:
    each = Writer(redis_url)
    yield each
    each.client.close()


@pytest.fixture
def feed(redis_url: str, writer: Writer) -> Iterator[Feed]:
    each = Feed(redis_url, CutReader("main", ["BTCUSDT"], ["5m"], "b"), writer.history, now)
    yield each
    each.close()


def seqs(cut: Cut) -> list[int]:
    return [event.seq for event in cut.events]


def test_a_healthy_cut_has_everything_fresh(feed: Feed, writer: Writer) -> None:
    writer.core.close_bar("BTCUSDT", "60000")
    writer.some_events(2)
    writer.write()
    cut = feed.read(0)
    each = cut.symbols["BTCUSDT"]
    assert (seqs(cut), cut.last_seq, cut.refused, cut.epoch) == ([1, 2, 3], 3, "", "e1")
    verdicts = [each.book.verdict, each.mark.verdict, each.instrument.verdict, each.position.verdict]
    verdicts += [each.orders.verdict, each.ledger.verdict, each.bars["5m"].open.verdict]
    assert [verdict.reason for verdict in verdicts] == [""] * 7
    closed = each.bars["5m"].closed.fresh
    assert closed is not None and [row.c for row in closed.rows] == ["60000"]
    assert each.account_refusal() == ""


def test_nothing_written_is_refused_as_absent(feed: Feed) -> None:
    cut = feed.read(0)
    assert "absent" in cut.refused
    assert cut.symbols["BTCUSDT"].book.fresh is None


@pytest.mark.parametrize(("age_ms", "fresh"), [(900, True), (1100, False)])
def test_the_gateways_lease_ends_after_a_second(redis_url: str, writer: Writer, age_ms: int, fresh: bool) -> None:
    writer.write()
    late = Now(writer.core.now.boot_ns + age_ms * 1_000_000, writer.core.now.wall_ns + age_ms * 1_000_000, BOOT)
    feed = Feed(redis_url, CutReader("main", ["BTCUSDT"], [], "b"), writer.history, lambda: late)
    cut = feed.read(0)
    assert (cut.refused == "") is fresh
    assert (cut.symbols["BTCUSDT"].book.fresh is not None) is fresh
    feed.close()


def test_slices_of_another_epoch_are_refused_one_by_one(feed: Feed, writer: Writer) -> None:
    writer.write()
    old = writer.core.values()[keys.book("main", "BTCUSDT")]
    writer.core.epoch = "e2"
    writer.write()
    writer.client.set(keys.book("main", "BTCUSDT"), old)
    each = feed.read(0).symbols["BTCUSDT"]
    assert (each.book.verdict.reason, each.mark.verdict.reason) == ("epoch", "")


def test_account_slices_must_include_the_last_event_and_the_last_answer(feed: Feed, writer: Writer) -> None:
    writer.some_events(1)
    writer.write()
    assert feed.read(0, need_as_of=1).symbols["BTCUSDT"].account_refusal() == ""
    assert "as_of" in feed.read(0, need_as_of=2).symbols["BTCUSDT"].account_refusal()
    writer.append(ev.Event(seq=2, at_ns=0, subject="gateway.ready", source="gateway"))
    assert "as_of" in feed.read(0).symbols["BTCUSDT"].account_refusal()


def test_a_malformed_slice_is_refused_and_named_the_rest_stands(feed: Feed, writer: Writer) -> None:
    writer.write()
    writer.client.set(keys.book("main", "BTCUSDT"), b'{"v": 1, "epoch": NaN}')
    cut = feed.read(0)
    assert cut.symbols["BTCUSDT"].book.verdict.reason == "absent"
    assert cut.symbols["BTCUSDT"].mark.fresh is not None
    assert [text.split(":")[0] for text in cut.malformed] == ["BookSlice"]


def test_events_resume_after_the_last_and_come_once(feed: Feed, writer: Writer) -> None:
    writer.some_events(5)
    writer.write()
    assert seqs(feed.read(3)) == [4, 5]
    again = feed.read(5)
    assert (seqs(again), again.last_seq) == ([], 5)


def test_a_long_absence_is_caught_up_in_bounded_pieces(feed: Feed, writer: Writer) -> None:
    writer.some_events(MAX_EVENTS + 3)
    writer.write()
    first = feed.read(0)
    second = feed.read(first.last_seq)
    assert (len(first.events), seqs(second)) == (MAX_EVENTS, [MAX_EVENTS + 1, MAX_EVENTS + 2, MAX_EVENTS + 3])


def test_what_the_stream_dropped_comes_from_the_journal(feed: Feed, writer: Writer) -> None:
    writer.some_events(10)
    writer.write(only=slice(6, None))
    cut = feed.read(2)
    assert (seqs(cut), cut.last_seq, cut.refused) == ([3, 4, 5, 6, 7, 8, 9, 10], 10, "")
    assert writer.asked == [(2, MAX_EVENTS)]


def test_a_hole_longer_than_one_page_is_filled_page_by_page(feed: Feed, writer: Writer) -> None:
    writer.some_events(MAX_EVENTS * 2 + 10)
    writer.write(only=slice(MAX_EVENTS * 2 + 5, None))
    got: list[int] = []
    last: int | None = 0
    for _ in range(4):
        cut = feed.read(last)
        got += seqs(cut)
        last = cut.last_seq
    assert got == list(range(1, MAX_EVENTS * 2 + 11))


def test_a_hole_inside_the_stream_is_filled_in_order(feed: Feed, writer: Writer) -> None:
    writer.some_events(6)
    writer.write()
    writer.client.xdel(keys.events("main"), "3-0", "4-0")
    first = feed.read(0)
    second = feed.read(first.last_seq)
    assert (seqs(first), seqs(second)) == ([1, 2], [3, 4, 5, 6])


def test_a_hole_the_gateway_does_not_fill_refuses_everything(feed: Feed, writer: Writer) -> None:
    writer.some_events(4)
    writer.write(only=slice(2, None))
    writer.mute = True
    cut = feed.read(0)
    assert "events 1 to 2 left the stream" in cut.refused and seqs(cut) == [] and cut.last_seq == 0
    feed.read(0)
    assert len(writer.asked) == 1, "it is not asked at every poll"
    writer.mute = False
    wait_until(lambda: seqs(feed.read(0)) == [1, 2, 3, 4], 2, "the hole filled")


def test_numbers_nobody_ever_used_are_passed_over(feed: Feed, writer: Writer) -> None:
    writer.some_events(2)
    writer.write()
    gap = ev.Event(seq=9, at_ns=0, subject="journal.gap", source="gateway", data={"stream_seq": 8, "journal_seq": 2})
    writer.core.events.append(gap)
    writer.append(gap)
    cut = feed.read(2)
    assert (seqs(cut), cut.last_seq) == ([9], 9)


def test_a_stream_that_lost_its_end_is_noticed_by_the_slices_ahead_of_it(feed: Feed, writer: Writer) -> None:
    writer.some_events(3)
    writer.write()
    feed.read(0)
    writer.some_events(2)
    got: list[int] = []

    def both() -> bool:
        writer.write(events=False)
        got.extend(seqs(feed.read(3 + len(got))))
        return got == [4, 5]

    wait_until(both, 3, "events 4 and 5 from the journal")


def test_an_entry_this_version_cannot_read_keeps_its_number(feed: Feed, writer: Writer) -> None:
    writer.some_events(1)
    writer.write()
    writer.client.xadd(keys.events("main"), {"e": b"{}"}, id="2-0")
    cut = feed.read(0)
    assert [(event.seq, event.subject) for event in cut.events] == [(1, "gateway.ready"), (2, "unreadable")]


def test_closed_bars_are_fetched_again_only_when_something_changed(feed: Feed, writer: Writer) -> None:
    writer.core.close_bar("BTCUSDT", "1")
    writer.write()
    last = feed.read(0).last_seq
    before = writer.client.info("commandstats")["cmdstat_mget"]["calls"]
    for _ in range(5):
        feed.read(last)
    assert writer.client.info("commandstats")["cmdstat_mget"]["calls"] == before + 5
    held = writer.core.symbols["BTCUSDT"].bars
    held[0] = BarRow(held[0].open_ms, "2", "2", "2", "2", "1", "1", 1)
    writer.core.event("bar.mended", "BTCUSDT", interval="5m", from_ms=0, to_ms=0, count=1)
    writer.write()
    cut = feed.read(last).symbols["BTCUSDT"].bars["5m"].closed.fresh
    assert cut is not None and cut.rows[0].c == "2"


def test_closed_bars_without_the_last_closed_one_are_refused(feed: Feed, writer: Writer) -> None:
    writer.core.close_bar("BTCUSDT", "1")
    writer.core.close_bar("BTCUSDT", "2")
    writer.core.symbols["BTCUSDT"].bars_lag = True
    writer.write()
    assert feed.read(0).symbols["BTCUSDT"].bars["5m"].closed.verdict.reason == "old"
    writer.core.symbols["BTCUSDT"].bars_lag = False
    writer.write()
    assert feed.read(2).symbols["BTCUSDT"].bars["5m"].closed.verdict.ok


def test_a_wake_up_ends_the_wait_and_silence_lasts_one_poll(feed: Feed, writer: Writer) -> None:
    writer.write()
    feed.read(0)
    before_s = time.monotonic()
    feed.wait(0.05)
    assert 0.04 < time.monotonic() - before_s < 10
    waker = threading.Timer(0.05, lambda: writer.client.publish(keys.wake("main", "BTCUSDT"), b"1"))
    waker.start()
    before_s = time.monotonic()
    feed.wait(30)
    assert time.monotonic() - before_s < 10
    waker.join()


def test_redis_gone_refuses_everything_and_back_it_recovers_by_itself(run_dir: Path) -> None:
    server = start_private(run_dir)
    writer = Writer(server.url)
    feed = Feed(server.url, CutReader("main", ["BTCUSDT"], [], "b"), writer.history, now)
    writer.write()
    assert feed.read(0).refused == ""
    server.stop()
    cut = feed.read(0)
    assert cut.refused.startswith("redis: ") and feed.problem and cut.symbols["BTCUSDT"].ledger.fresh is None
    feed.wait(0.01)
    server = start_private(run_dir)
    writer.client.close()
    writer = Writer(server.url)
    writer.write()

    def healthy() -> bool:
        writer.write()
        return feed.read(0).refused == ""

    wait_until(healthy, 5, "a fresh cut")
    assert feed.reconnects == 2
    feed.close()
    writer.client.close()
    server.stop()


def test_a_url_password_is_never_in_the_problem(run_dir: Path) -> None:
    reader = CutReader("main", ["BTCUSDT"], [], "b")
    history: Callable[[int, int], list[ev.Event]] = lambda _after, _limit: []  # noqa: E731
    feed = Feed("redis://:swordfish@127.0.0.1:1/0", reader, history, now)
    assert "swordfish" not in feed.read(0).refused + feed.problem
    feed.close()
