"""The log before the journal: kills at every byte and between any two of its steps, and nothing is lost or doubled."""

from __future__ import annotations

import errno
import os
import random
import shutil
import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.rows import BrainRow, EventRow, FillRow, IntentRow, KvRow, OrderRow, OutcomeRow, Restored, Row
from gateway.shell import journal_log
from gateway.shell.journal import Journal, JournalError
from gateway.shell.journal_log import LoggedJournal, look
from gateway.shell.journal_schema import ALL_ROW_KINDS
from ipc.append_log import MAGIC, framed
from ipc.events import Event
from tests.gateway.killed_writer import acknowledged_before_kill

NAME = "main.journal.sqlite"


def step(number: int) -> list[Row]:
    """Rows of one step: an intent that is new, an order and a brain that change, events, now and then a fill."""
    event = Event(seq=2 * number - 1, at_ns=number, subject="order.sent", source="gateway", symbol="BTCUSDT")
    rows: list[Row] = [
        IntentRow("macd", 1, "r2", number, "BTCUSDT", b'{"qty":"1"}', 5, "boot", None, number),
        EventRow(event),
        OrderRow(f"bs-{number % 3}", "macd", "r2", number, 1, "BTCUSDT", number % 2 == 0, number, b"%d" % number),
        EventRow(Event(seq=2 * number, at_ns=number, subject="order.accepted", source="venue", data={"n": number})),
        BrainRow("macd", 1, "r2", number),
        OutcomeRow("macd", "r2", number, b"x", True),
        KvRow("last", b"%d" % number),
    ]
    return [*rows, FillRow("BTCUSDT", number, "a", number, b"{}")] if number % 2 else rows


def held(path: Path, kind: type[Journal] = LoggedJournal) -> tuple[Restored, list[bytes]]:
    """Everything a new start has."""
    journal = kind(path)
    events, _ = journal.read_events(0, 10_000, max_bytes=1 << 30)
    try:
        return journal.restore(), [event.raw for event in events]
    finally:
        journal.close()


def after(folder: Path, steps: int) -> tuple[Restored, list[bytes]]:
    """The same by SQLite alone, one transaction a step."""
    path = folder / "plain.sqlite"
    journal = Journal(path)
    for number in range(1, steps + 1):
        journal.commit(step(number))
    journal.close()
    return held(path, Journal)


def abandoned(folder: Path, copy: Path) -> Path:
    """The files as a kill would leave them now."""
    shutil.copytree(folder, copy)
    return copy / NAME


def test_every_kind_of_row_has_its_place_in_the_log() -> None:
    assert set(journal_log._KINDS) == ALL_ROW_KINDS == {type(row) for row in step(1)}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=6), st.data())
def test_killed_with_the_log_cut_at_any_byte_a_start_has_a_prefix_of_whole_steps(
    folds: list[bool], data: st.DataObject
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name) / "state"
        folder.mkdir()
        journal = LoggedJournal(folder / NAME)
        sizes = [len(MAGIC)]
        folded = 0
        for number, fold in enumerate(folds, 1):
            journal.commit(step(number))
            sizes.append(journal._log.size)
            if fold:
                journal.fold()
                folded, sizes = number, [len(MAGIC)]
        cut = data.draw(st.integers(0, sizes[-1]))
        path = abandoned(folder, Path(name) / "copy")
        journal.close()
        os.truncate(path.with_name(NAME + "-log"), cut)
        whole = folded + sum(size <= cut for size in sizes[1:])
        assert held(path) == after(Path(name), whole)
        assert held(path) == after(Path(name) / "copy", whole)  # and the next start as well


def test_killed_between_sqlites_commit_and_the_logs_end_nothing_is_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    journal = LoggedJournal(folder / NAME)
    for number in (1, 2):
        journal.commit(step(number))
    monkeypatch.setattr(journal._log, "clear", lambda: None)
    journal.fold()
    journal.commit(step(3))
    path = abandoned(folder, tmp_path / "copy")
    journal.close()
    again = LoggedJournal(path)
    assert (again.refused, again.dropped, again.last_event_seq) == ([], 0, 6)
    again.close()
    assert held(path) == after(tmp_path, 3)


def test_killed_inside_sqlites_transaction_the_log_has_it_all(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    journal = LoggedJournal(folder / NAME)
    for number in (1, 2, 3):
        journal.commit(step(number))
    journal._db.execute("BEGIN IMMEDIATE")
    journal._db.execute(journal_log._SET_MARK, (3,))
    path = abandoned(folder, tmp_path / "copy")
    journal._db.execute("ROLLBACK")
    journal.close()
    assert held(path) == after(tmp_path, 3)


def test_what_lies_behind_a_hole_is_dropped_so_that_a_prefix_remains(tmp_path: Path) -> None:
    """SQLite lost its newest rows with the power, the log had begun anew behind them."""
    folder = tmp_path / "state"
    folder.mkdir()
    journal = LoggedJournal(folder / NAME)
    journal.commit(step(1))
    journal.fold()
    lost = abandoned(folder, tmp_path / "copy")
    journal.commit(step(2))
    journal.fold()
    for number in (3, 4):
        journal.commit(step(number))
    shutil.copy(folder / (NAME + "-log"), lost.with_name(NAME + "-log"))
    journal.close()
    again = LoggedJournal(lost)
    assert (again.dropped, again.last_event_seq) == (2, 2)
    again.commit(step(2))
    again.close()
    assert held(lost) == after(tmp_path, 2)


_WRITER = """
import random, sys
from pathlib import Path
from gateway.shell.journal_log import LoggedJournal, look
from tests.gateway.test_journal_log import step
journal = LoggedJournal(Path(sys.argv[1]))
dice = random.Random(int(sys.argv[2]))
number = journal.last_event_seq // 2
while True:
    number += 1
    journal.commit(step(number))
    print(number, flush=True)
    if dice.random() < 0.3:
        journal.fold()
"""


def test_kill_9_anywhere_keeps_every_acknowledged_step_and_no_half_of_one(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    path = tmp_path / NAME
    for _ in range(4):
        acknowledged = acknowledged_before_kill(_WRITER, path, str(rng.random())[2:], rng=rng)
        restored, events = held(path)
        steps = int(restored.kv["last"])
        assert steps >= acknowledged
        assert len(events) == 2 * steps == restored.next_event_seq - 1
        assert restored.brains == (BrainRow("macd", 1, "r2", steps),)
        assert [row.seq for row in restored.intents] == list(range(1, steps + 1))


def test_a_look_from_outside_has_what_is_folded_and_what_is_not(tmp_path: Path) -> None:
    """Also of a gateway that is dead, and without touching its files."""
    path = tmp_path / NAME
    journal = LoggedJournal(path)
    for number, fold in ((1, True), (2, False), (3, False)):
        journal.commit(step(number))
        if fold:
            journal.fold()
    seen = look(path)
    assert seen.execute("SELECT value FROM kv").fetchone() == (b"3",)
    assert seen.execute("SELECT count(*) FROM events").fetchone() == (6,)
    seen.close()
    assert journal.behind == 2 * len(step(1)) - 1
    journal.close()


def test_reads_in_this_process_see_everything_at_once(tmp_path: Path) -> None:
    journal = LoggedJournal(tmp_path / NAME)
    journal.commit(step(1))
    assert [event.seq for event in journal.read_events(0, 10)[0]] == [1, 2]
    journal.commit(step(2))
    assert journal.restore().kv == {"last": b"2"}
    assert journal.behind == 0
    journal.close()


@pytest.mark.parametrize("room", [0, 1, 8, 100])
def test_a_full_disk_leaves_nothing_of_the_step_and_the_next_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    journal = LoggedJournal(tmp_path / NAME)
    journal.commit(step(1))
    write = os.write

    def short(fd: int, data: bytes) -> int:
        if room == 0:
            raise OSError(errno.ENOSPC, "no room")
        return write(fd, data[:room])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short)
        with pytest.raises(sqlite3.OperationalError, match=rf"{NAME}-log.*(no room|disk full)"):
            journal.commit(step(2))
    assert journal.last_event_seq == 2
    journal.commit(step(2))
    path = abandoned(tmp_path, tmp_path / "copy")
    journal.close()
    assert held(path) == after(tmp_path / "copy", 2)


def test_an_event_number_that_was_given_already_fails_the_step_at_once(tmp_path: Path) -> None:
    journal = LoggedJournal(tmp_path / NAME)
    journal.commit(step(1))
    with pytest.raises(sqlite3.IntegrityError, match="event 1 was written already"):
        journal.commit([KvRow("a", b"1"), *step(1)])
    assert (journal.behind, journal.restore().kv) == (len(step(1)), {"last": b"1"})
    journal.close()


def test_a_journal_that_takes_nothing_for_long_counts_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_log, "MAX_ROWS", 20)
    journal = LoggedJournal(tmp_path / NAME)
    journal._db.execute("PRAGMA busy_timeout=0")
    other = sqlite3.connect(tmp_path / NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    number = 0
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        for number in range(1, 20):
            journal.commit(step(number))
    assert 20 <= journal.behind < 30
    other.execute("ROLLBACK")
    other.close()
    journal.commit(step(number))
    journal.close()
    assert held(tmp_path / NAME) == after(tmp_path, number)


def test_where_loss_of_power_counts_a_commit_is_in_sqlite_at_once_and_an_older_log_is_taken_over(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    journal = LoggedJournal(folder / NAME)
    journal.commit(step(1))
    path = abandoned(folder, tmp_path / "copy")
    journal.close()
    safe = LoggedJournal(path, "power")
    safe.commit(step(2))
    assert safe.behind == 0
    assert path.with_name(NAME + "-log").read_bytes() == MAGIC
    safe.close()
    assert held(path) == after(tmp_path, 2)


@pytest.mark.parametrize("held_bytes", [b"not a log at all", MAGIC + framed(b"no msgpack record") + framed(b"x")])
def test_a_log_that_cannot_be_read_is_named_with_the_next_step_and_left_alone(
    tmp_path: Path, held_bytes: bytes
) -> None:
    log = tmp_path / (NAME + "-log")
    log.write_bytes(held_bytes)
    with pytest.raises(JournalError, match=rf"{NAME}-log: .*move it away"):
        LoggedJournal(tmp_path / NAME)
    assert log.read_bytes() == held_bytes
