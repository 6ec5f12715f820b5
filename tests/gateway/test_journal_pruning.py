"""The journal forgets what is old: a start reads the same as before, numbers go on, the file stops growing."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from gateway.core.rows import FORGOTTEN_KV, BrainRow, EventRow, FillRow, IntentRow, OrderRow, OutcomeRow, Row
from gateway.shell import journal_pruning, journal_restore
from gateway.shell.journal import Journal
from gateway.shell.journal_pruning import Pruner
from ipc.events import Event

DAY_NS = 86_400_000_000_000
NOW_NS = 1_000 * DAY_NS


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Floors and steps a test can reach; the same ones for pruning and for what a start reads."""
    for module in (journal_pruning, journal_restore):
        for name, value in (("CLOSED_ORDERS", 20), ("FILLS", 30), ("INTENTS", 25)):
            monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(journal_restore, "_INTENTS", journal_restore._INTENTS.replace("LIMIT 50000", "LIMIT 25"))
    assert "LIMIT 25" in journal_restore._INTENTS
    monkeypatch.setattr(journal_pruning, "STEP_ROWS", 7)
    monkeypatch.setattr(journal_pruning, "EVENTS_FLOOR", 40)
    monkeypatch.setattr(journal_pruning, "RUN_FLOOR", 5)


def event(seq: int, at_ns: int) -> EventRow:
    return EventRow(Event(seq=seq, at_ns=at_ns, subject="book.live", source="gateway", data={}))


def lived(journal: Journal, rng: random.Random, count: int) -> None:
    """`count` orders over 60 days of two brains that take new runs; some open, some unresolved, each with events."""
    seq = journal.last_event_seq
    runs = {"a": 1, "b": 1}
    numbers: Counter[tuple[str, int]] = Counter()
    for n in range(count):
        at_ns = NOW_NS - 60 * DAY_NS + 60 * DAY_NS * n // count
        brain = rng.choice("ab")
        if rng.random() < 0.02:
            runs[brain] += 1
        run = f"r{runs[brain]}"
        numbers[brain, runs[brain]] += 1
        number = numbers[brain, runs[brain]]
        cid = f"bs-{brain}-{run}-{number}"
        is_open, final = rng.random() < 0.02, rng.random() < 0.97
        rows: list[Row] = [
            IntentRow(brain, 1, run, number, "X", b"{}", 5, "boot", 1000, at_ns),
            OrderRow(cid, brain, run, number, 1, "X", is_open, at_ns, b"{}"),
            OutcomeRow(brain, run, number, b"{}", final),
            FillRow("X", n + 1, cid, at_ns // 1_000_000, b"{}"),
            BrainRow(brain, "ab".index(brain) + 1, run, 0),
        ]
        rows += [event(seq + k, at_ns) for k in (1, 2, 3)]
        seq += 3
        journal.commit(rows)


def counts(path: Path) -> dict[str, int]:
    with sqlite3.connect(path) as db:
        tables = ("events", "orders", "fills", "intents", "outcomes")
        found = {name: db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}
    db.close()
    return found


def settled(pruner: Pruner, now_ns: int = NOW_NS) -> None:
    """Look until it rests; each look takes one small step."""
    boot_ns = 0
    while pruner._rest_until_ns <= boot_ns:
        boot_ns += 1_000_000_000
        before = pruner.pruned
        pruner.look(idle=True, now_ns=now_ns, boot_ns=boot_ns)
        assert pruner.pruned - before <= journal_pruning.STEP_ROWS
        assert boot_ns < 10_000_000_000_000, "it never comes to an end"
    assert pruner.last_error == ""


@pytest.mark.usefixtures("small")
def test_a_start_reads_the_same_after_pruning_and_what_must_be_known_is_there(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "j.sqlite"
    journal = Journal(path)
    lived(journal, random.Random(seed), 600)
    before = journal.restore()
    full = counts(path)
    with sqlite3.connect(path) as db:
        must = db.execute(
            "SELECT brain, run, seq FROM intents i WHERE (brain, run, seq) IN (SELECT brain, run, seq FROM orders"
            " WHERE open = 1) OR (brain, run, seq) NOT IN (SELECT brain, run, seq FROM outcomes WHERE final = 1)"
        ).fetchall()
    db.close()
    pruner = Pruner(path, keep_days=30, keep_events=1)
    settled(pruner)
    after = journal.restore()
    assert after.orders == before.orders
    assert after.fills == before.fills
    assert after.brains == before.brains
    assert after.next_event_seq == before.next_event_seq == 1801
    held = {(row.brain, row.run, row.seq) for row in after.intents}
    newest = [row for row in before.intents if row.journalled_ns >= NOW_NS - 30 * DAY_NS]
    assert held >= {(row.brain, row.run, row.seq) for row in newest}
    assert held >= set(must)
    left = counts(path)
    assert left["events"] == 40, "the floor, as `keep_events` lies below it"
    for name in ("orders", "fills", "intents", "outcomes"):
        assert 300 <= left[name] <= 300 + 60 + (full[name] - 600), f"{name}: 30 of 60 days, and what must stay"
    assert pruner.pruned > 4 * 200
    page, more = journal.read_events(0, 1000)
    assert ([one.seq for one in page], more) == (list(range(1761, 1801)), False)
    journal.commit([event(1801, NOW_NS)])
    assert Journal(path).last_event_seq == 1801
    journal.close()


@pytest.mark.usefixtures("small")
def test_a_name_that_went_is_remembered_as_forgotten_and_the_newest_of_a_run_stay(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    journal = Journal(path)
    old_ns = NOW_NS - 50 * DAY_NS
    for number in range(1, 61):
        intent = IntentRow("a", 1, "r9", number, "X", b"{}", 5, "boot", 1000, old_ns + number)
        journal.commit([intent, OutcomeRow("a", "r9", number, b"{}", number != 3), BrainRow("a", 1, "r9", 0)])
    settled(Pruner(path, keep_days=30, keep_events=1))
    restored = journal.restore()
    assert [row.seq for row in restored.intents] == [3, *range(36, 61)], "unresolved, and the newest 25"
    assert restored.kv == {FORGOTTEN_KV + "a": b"r9 35"}
    for number in range(1, 61):
        journal.commit([IntentRow("z", 2, "r9", number, "X", b"{}", 5, "boot", 1000, old_ns + 100 + number)])
    settled(Pruner(path, keep_days=30, keep_events=1))
    with sqlite3.connect(path) as db:
        left = [row[0] for row in db.execute("SELECT seq FROM intents WHERE brain = 'a' ORDER BY seq")]
    db.close()
    assert left == [3, *range(56, 61)], "its present run keeps the newest 5, however old"
    assert journal.restore().kv == {FORGOTTEN_KV + "a": b"r9 55"}
    journal.close()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("age_days", "left"), [(30.001, 40), (29.999, 100)])
def test_events_go_by_age_down_to_the_floor(tmp_path: Path, age_days: float, left: int) -> None:
    path = tmp_path / "j.sqlite"
    journal = Journal(path)
    journal.commit([event(n, NOW_NS - int(age_days * DAY_NS)) for n in range(1, 101)])
    settled(Pruner(path, keep_days=30, keep_events=1_000))
    assert counts(path)["events"] == left
    journal.close()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("keep", "left"), [(90, 90), (99, 99), (100, 100), (101, 100), (10, 40)])
def test_events_go_by_number_down_to_the_floor(tmp_path: Path, keep: int, left: int) -> None:
    path = tmp_path / "j.sqlite"
    journal = Journal(path)
    journal.commit([event(n, NOW_NS) for n in range(1, 101)])
    settled(Pruner(path, keep_days=30, keep_events=keep))
    assert [row.seq for row in journal.read_events(0, 1000)[0]] == list(range(101 - left, 101))
    journal.close()


@pytest.mark.usefixtures("small")
def test_a_busy_journal_is_left_alone_and_nothing_goes_half_way(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    journal = Journal(path)
    journal.commit([event(n, 0) for n in range(1, 101)])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    pruner = Pruner(path, keep_days=30, keep_events=1)
    assert pruner.step(NOW_NS) is False
    assert "locked" in pruner.last_error
    other.execute("ROLLBACK")
    other.close()
    assert counts(path)["events"] == 100
    pruner.last_error = ""
    settled(pruner)
    assert counts(path)["events"] == 40
    journal.close()


@pytest.mark.usefixtures("small")
def test_it_waits_for_idle_moments_but_not_for_ever_and_rests_when_done(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    journal = Journal(path)
    journal.commit([event(n, 0) for n in range(1, 101)])
    pruner = Pruner(path, keep_days=30, keep_events=1)
    haste_ns = journal_pruning.HASTE_AFTER_NS
    pruner.look(idle=False, now_ns=NOW_NS, boot_ns=haste_ns - 1)
    assert pruner.pruned == 0
    pruner.look(idle=False, now_ns=NOW_NS, boot_ns=haste_ns)
    assert pruner.pruned == 7
    pruner.look(idle=False, now_ns=NOW_NS, boot_ns=2 * haste_ns - 1)
    assert pruner.pruned == 7
    journal.close()


def test_the_file_stops_growing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_pruning, "EVENTS_FLOOR", 500)
    path = tmp_path / "j.sqlite"
    journal = Journal(path)
    pruner = Pruner(path, keep_days=4, keep_events=500)
    sizes = []
    for turn in range(12):
        journal.commit([event(turn * 500 + n, NOW_NS) for n in range(1, 501)])
        while pruner.step(NOW_NS):
            pass
        for _ in range(4):
            pruner.step(NOW_NS)
        with sqlite3.connect(path) as db:
            sizes.append(db.execute("PRAGMA page_count").fetchone()[0])
        db.close()
    assert max(sizes[3:]) <= sizes[2], sizes
    assert [row.seq for row in journal.read_events(0, 10_000)[0]] == list(range(5_501, 6_001))
    journal.close()
