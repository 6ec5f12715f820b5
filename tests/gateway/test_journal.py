"""The journal on a real file: prefixes after kills, locks, reads beside writes, bounded logs, what a restart gets."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.core.rows import BrainRow, EventRow, FillRow, IntentRow, KvRow, OrderRow, OutcomeRow, Restored, Row
from gateway.shell.journal import Journal, JournalError
from gateway.shell.journal_schema import ALL_ROW_KINDS
from gateway.shell.journal_upkeep import Upkeep
from gateway.shell.locks import AlreadyRunning, JournalLock
from ipc.events import Event, decode
from tests.gateway.killed_writer import acknowledged_before_kill


def event(seq: int, subject: str = "book.live", **data: object) -> EventRow:
    return EventRow(Event(seq=seq, at_ns=seq * 10, subject=subject, source="gateway", symbol="BTCUSDT", data=data))


def intent(seq: int, run: str = "r2", brain: str = "macd") -> IntentRow:
    return IntentRow(brain, 1, run, seq, "BTCUSDT", b'{"qty":"1"}', 5, "boot", 1000, seq)


def order(seq: int, *, is_open: bool, updated_ns: int, run: str = "r2") -> OrderRow:
    return OrderRow(f"bs-{run}-{seq}", "macd", run, seq, 1, "BTCUSDT", is_open, updated_ns, b"{}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "main.journal.sqlite"


@pytest.mark.parametrize("left_open", [False, True])
def test_nobody_else_may_read_it_whatever_the_umask(path: Path, left_open: bool) -> None:
    if left_open:
        path.touch(0o644)
    old = os.umask(0o000)
    try:
        journal = Journal(path)
        journal.commit([event(1)])
    finally:
        os.umask(old)
    modes = {one.name.removeprefix(path.name): one.stat().st_mode & 0o777 for one in path.parent.iterdir()}
    assert modes == {"": 0o600, "-wal": 0o600, "-shm": 0o600}
    journal.close()


def test_every_kind_of_row_comes_back_whole_after_a_restart(path: Path) -> None:
    rows: list[Row] = [
        event(1),
        BrainRow("macd", 1, "r2", 7),
        intent(3),
        order(3, is_open=True, updated_ns=9),
        OutcomeRow("macd", "r2", 3, b'{"id":1}', True),
        FillRow("BTCUSDT", 77, "bs-r2-3", 5, b'{"q":"1"}'),
        KvRow("risk:account", b"halted"),
    ]
    assert {type(row) for row in rows} == ALL_ROW_KINDS
    first = Journal(path)
    first.commit(rows)
    first.close()
    assert Journal(path).restore() == Restored(
        next_event_seq=2,
        intents=(intent(3),),
        orders=(order(3, is_open=True, updated_ns=9),),
        outcomes=(OutcomeRow("macd", "r2", 3, b'{"id":1}', True),),
        fills=(FillRow("BTCUSDT", 77, "bs-r2-3", 5, b'{"q":"1"}'),),
        brains=(BrainRow("macd", 1, "r2", 7),),
        kv={"risk:account": b"halted"},
    )


def test_a_restart_gets_intents_of_the_current_run_and_every_older_one_still_undecided(path: Path) -> None:
    journal = Journal(path)
    journal.commit([BrainRow("macd", 1, "r2", 0)])
    journal.commit([intent(1, "r1"), OutcomeRow("macd", "r1", 1, b"x", True)])  # old and done: not needed
    journal.commit([intent(2, "r1"), OutcomeRow("macd", "r1", 2, b"x", False)])
    open_one = order(3, is_open=True, updated_ns=1, run="r1")
    journal.commit([intent(3, "r1"), OutcomeRow("macd", "r1", 3, b"x", True), open_one])
    journal.commit([intent(4, "r2"), OutcomeRow("macd", "r2", 4, b"x", True)])
    restored = journal.restore()
    assert [(row.run, row.seq) for row in restored.intents] == [("r1", 2), ("r1", 3), ("r2", 4)]
    assert {(row.run, row.seq) for row in restored.outcomes} == {("r1", 2), ("r1", 3), ("r2", 4)}


def test_closed_orders_leave_the_restart_after_three_days_open_ones_never(path: Path) -> None:
    day_ns = 86_400 * 10**9
    journal = Journal(path)
    journal.commit([order(1, is_open=True, updated_ns=0), order(2, is_open=False, updated_ns=day_ns)])
    journal.commit([order(3, is_open=False, updated_ns=2 * day_ns), order(4, is_open=False, updated_ns=5 * day_ns)])
    assert [row.seq for row in journal.restore().orders] == [1, 3, 4]


def test_a_step_is_all_or_nothing(path: Path) -> None:
    journal = Journal(path)
    journal.commit([event(1)])
    with pytest.raises(sqlite3.IntegrityError):
        journal.commit([event(2), KvRow("a", b"1"), event(1)])
    assert (journal.last_event_seq, journal.restore().kv) == (1, {})
    assert [row.seq for row in journal.commit([event(2), KvRow("a", b"2")])] == [2]


def test_an_intent_is_written_once(path: Path) -> None:
    journal = Journal(path)
    journal.commit([intent(1)])
    with pytest.raises(sqlite3.IntegrityError):
        journal.commit([intent(1)])


def test_a_fill_is_written_once_but_a_number_used_anew_belongs_to_the_newer_trade(path: Path) -> None:
    journal = Journal(path)
    journal.commit([FillRow("BTCUSDT", 1, "a", 5, b"{}")])
    with pytest.raises(sqlite3.IntegrityError, match="written once"):
        journal.commit([FillRow("BTCUSDT", 1, "b", 5, b"{}")])
    journal.commit([FillRow("BTCUSDT", 1, "b", 6, b"{}")])
    assert journal.restore().fills == (FillRow("BTCUSDT", 1, "b", 6, b"{}"),)


_WRITER = """
import sys
from pathlib import Path
from gateway.core.rows import EventRow, KvRow
from gateway.shell.journal import Journal
from ipc.events import Event
journal = Journal(Path(sys.argv[1]))
seq = journal.last_event_seq
while True:
    rows = []
    for _ in range(1 + seq % 3):
        seq += 1
        rows.append(EventRow(Event(seq=seq, at_ns=seq, subject="book.live", source="gateway")))
    journal.commit([*rows, KvRow("last", str(seq).encode())])
    print(seq, flush=True)
"""


def test_kill_9_anywhere_keeps_a_contiguous_prefix_with_everything_that_was_acknowledged(path: Path, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(5):
        acknowledged = acknowledged_before_kill(_WRITER, path, rng=rng)
        journal = Journal(path)
        events, more = journal.read_events(0, 10**6, max_bytes=10**9)
        assert not more
        assert [row.seq for row in events] == list(range(1, len(events) + 1))
        assert len(events) >= acknowledged
        assert journal.restore().kv["last"] == str(len(events)).encode()  # no half of a step
        journal.close()


def test_a_second_lock_is_refused_and_names_the_holder_until_the_first_is_gone(path: Path) -> None:
    first = JournalLock(path)
    with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"):
        JournalLock(path)
    first.release()
    JournalLock(path).release()


def test_a_killed_holder_leaves_no_lock(path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from gateway.shell.locks import JournalLock\n"
        "lock = JournalLock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(AlreadyRunning):
        JournalLock(path)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    JournalLock(path).release()


def test_events_are_paged_by_count_and_by_bytes_and_filtered_by_subject(path: Path) -> None:
    journal = Journal(path)
    journal.commit([event(n, "order.filled" if n % 2 else "order.sent", pad="x" * 100) for n in range(1, 9)])
    journal.commit([event(9, "orders.not_a_match_for_order_star"), event(10, "risk.state")])
    page, more = journal.read_events(2, 3)
    assert ([row.seq for row in page], more) == ([3, 4, 5], True)
    assert decode(page[0].raw) == event(3, "order.filled", pad="x" * 100).event
    page, more = journal.read_events(0, 100, max_bytes=2 * len(page[0].raw) + 2)
    assert ([row.seq for row in page], more) == ([1, 2], True)
    page, more = journal.read_events(0, 100, max_bytes=1)  # one at least, or a reader would never get on
    assert ([row.seq for row in page], more) == ([1], True)
    assert [row.seq for row in journal.read_events(0, 100, ["order.*"])[0]] == list(range(1, 9))
    assert [row.seq for row in journal.read_events(0, 100, ["order.sent", "risk.state"])[0]] == [2, 4, 6, 8, 10]
    assert len(journal.read_events(0, 100, ["*"])[0]) == 10


def test_reads_see_committed_rows_at_once_and_never_stop_writes(path: Path) -> None:
    journal = Journal(path)
    other = sqlite3.connect(path)
    other.execute("BEGIN")
    assert other.execute("SELECT count(*) FROM events").fetchone() == (0,)  # an open read transaction of somebody
    journal.commit([event(1)])
    assert [row.seq for row in journal.read_events(0, 10)[0]] == [1]
    other.close()


def test_a_file_that_is_no_journal_and_one_of_another_layout_are_refused_with_a_next_step(path: Path) -> None:
    path.write_bytes(b"this is not a database, and long enough to be read as one" * 40)
    with pytest.raises(JournalError, match="move it away"):
        Journal(path)
    path.unlink()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(JournalError, match="layout 99"):
        Journal(path)


async def test_the_log_stays_bounded_by_idle_checkpoints_and_by_a_forced_one(path: Path) -> None:
    journal = Journal(path)
    upkeep = Upkeep(path, soft_bytes=100_000, hard_bytes=400_000)
    seq = 0

    def write(count: int) -> None:
        nonlocal seq
        for _ in range(count):
            seq += 1
            journal.commit([event(seq, pad="x" * 1000)])

    write(40)
    assert upkeep.wal_bytes() > 100_000
    upkeep.look(idle=False, now_s=0.0)
    await upkeep.stop()
    assert upkeep.done == 0  # busy: patience first
    upkeep.look(idle=True, now_s=1.0)
    await upkeep.stop()
    assert (upkeep.done, upkeep.forced) == (1, 0)
    upkeep.look(idle=True, now_s=2.0)  # nothing new: no second one
    await upkeep.stop()
    assert upkeep.done == 1
    write(1)
    assert upkeep.wal_bytes() < 1_100_000
    largest = 0
    for _ in range(40):  # never idle, never patient enough: the hard bound holds it
        write(20)
        upkeep.look(idle=False, now_s=3.0)
        largest = max(largest, upkeep.wal_bytes())
    assert upkeep.forced >= 1
    assert largest < 1_500_000
    assert upkeep.last_error == ""
    assert [row.seq for row in journal.read_events(0, 10**6, max_bytes=10**9)[0]] == list(range(1, seq + 1))


def test_a_commit_of_an_order_step_is_quick(path: Path) -> None:
    """Some 20 us tight on two shared cores; ten times that would be a forgotten fsync or checkpoint (3 ms)."""
    journal = Journal(path)
    took_ns = []
    for n in range(1, 400):
        start_ns = time.perf_counter_ns()
        journal.commit([intent(n), order(n, is_open=True, updated_ns=n), event(n)])
        took_ns.append(time.perf_counter_ns() - start_ns)
    took_ns.sort()
    print(f"commit of three rows: p50 {took_ns[200] / 1000:.1f} us, p99 {took_ns[395] / 1000:.1f} us")
    assert took_ns[200] < 500_000
