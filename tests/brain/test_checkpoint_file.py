"""The checkpoint file: whole commits or none, what comes back is what went in, kills lose nothing, and it is quick."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from brain.checkpoint import Meta, encode_meta, run_name
from brain.closing import Closing
from brain.inputs import Commit
from brain.records import Record, encode
from brain.shell import checkpoint as module
from brain.shell.checkpoint import CheckpointError, CheckpointFile
from brain.shell.lock import AlreadyRunning, NameLock
from ipc import wire
from ipc.append_log import AppendLog
from tests.data import ROOT


def a_record(seq: int, state: str = "sent") -> Record:
    place = wire.Place(
        id=0, intent=wire.IntentId("b", "r1", seq), symbol="BTCUSDT", side="BUY", type="LIMIT", qty="0.002",
        price="60000.0", tif="IOC", tag="cross-up", cause=wire.Cause(1842, 9120), asked_boot_ns=91234567890,
        deadline_ms=1000,
    )  # fmt: skip
    return Record(place=place, role="entry", boot="b", asked_ms=1, state=state)


def test_what_was_committed_comes_back_whole(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "b.checkpoint")
    closing = Closing(tag="t", since_ms=5, slippage_bps=Decimal("20.5"), last=("r1", 2), failures=3)
    meta = Meta(
        strategy="macd", run="r1", next_seq=7, last_event=99, closings={"BTCUSDT": closing}, bars_seen={"BTCUSDT:5m": 3}
    )
    records = [a_record(2), a_record(10)]
    rows = tuple((*record.key, encode(record)) for record in records)
    file.commit(Commit(encode_meta(meta), b'{"a":[1,{"b":null}]}', rows))
    file.commit(Commit(None, None, ((*a_record(3).key, encode(a_record(3))),), (("r1", 2),)))
    file.close()
    again = CheckpointFile(tmp_path / "b.checkpoint").load("macd", 0)
    assert (again.meta, again.state, again.fresh) == (meta, {"a": [1, {"b": None}]}, False)
    assert again.records == [a_record(3), a_record(10)]


def test_a_first_start_makes_a_run_and_keeps_it(tmp_path: Path) -> None:
    first = CheckpointFile(tmp_path / "b.checkpoint").load("macd", 1_700_000_000_000)
    again = CheckpointFile(tmp_path / "b.checkpoint").load("macd", 1_800_000_000_000)
    assert (first.fresh, first.meta.run) == (True, "r1700000000000")
    assert (again.fresh, again.meta.run) == (False, "r1700000000000")


@pytest.mark.parametrize(
    ("now_ms", "after", "run"), [(5, None, "r5"), (5, "r4", "r5"), (5, "r5", "r6"), (5, "r9", "r10")]
)
def test_runs_only_grow_though_the_clock_may_go_back(now_ms: int, after: str | None, run: str) -> None:
    assert run_name(now_ms, after) == run


def test_a_failed_commit_leaves_nothing_of_itself(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "b.checkpoint")
    file.load("macd", 1)
    with pytest.raises(OverflowError):
        file.commit(Commit(None, b'{"half":1}', (("r1", 2**70, b""),)))
    assert file.load("macd", 1).state == {}
    file.commit(Commit(None, b'{"x":1}'))
    assert file.load("macd", 1).state == {"x": 1}


def test_another_strategys_checkpoint_is_refused_with_the_next_step(tmp_path: Path) -> None:
    CheckpointFile(tmp_path / "b.checkpoint").load("macd", 1)
    with pytest.raises(CheckpointError, match=r"belongs to strategy 'macd', not 'obi'.*--name"):
        CheckpointFile(tmp_path / "b.checkpoint").load("obi", 1)


@pytest.mark.parametrize("damage", [b"no database at all, but long enough to be looked at" * 40, None])
def test_a_damaged_file_is_named_and_not_overwritten(tmp_path: Path, damage: bytes | None) -> None:
    path = tmp_path / "b.checkpoint"
    if damage is not None:
        path.write_bytes(damage)
    else:
        file = CheckpointFile(path)
        file.commit(Commit(b'{"v":1}', None))
        file.close()
    with pytest.raises(CheckpointError, match=r"b\.checkpoint.*[Mm]ove it away"):
        CheckpointFile(path).load("macd", 1)
    assert damage is None or path.read_bytes() == damage


def test_the_log_begins_anew_in_idle_moments_and_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "b.checkpoint"
    file = CheckpointFile(path)
    row = ("r1", 7, b"kept")
    file.commit(Commit(None, b"{}", (row,)))
    for number in range(1000):
        file.commit(Commit(b"%400d" % number, None))
    assert path.stat().st_size > module.FOLD_BYTES
    file.idle()
    assert path.stat().st_size < 1000
    monkeypatch.setattr(module, "FOLD_MAX_BYTES", 20_000)
    for number in range(1000):
        file.commit(Commit(b"%400d" % number, None))
        assert path.stat().st_size < 22_000
    file.close()
    (again,) = AppendLog(path).records[:1]
    assert msgspec.msgpack.decode(again)[1:] == [b"{}", [list(row)], []]


def test_no_room_for_a_second_file_is_told_and_the_log_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FOLD_BYTES", 1000)
    file = CheckpointFile(tmp_path / "b.checkpoint")
    (tmp_path / "b.checkpoint.new").mkdir()
    file.commit(Commit(None, b"%1000d" % 1))
    file.idle()
    assert "b.checkpoint.new" in file.fold_error
    file.commit(Commit(encode_meta(Meta(strategy="macd", run="r5")), b"{}"))
    file.close()
    assert CheckpointFile(tmp_path / "b.checkpoint").load("macd", 1).meta.run == "r5"


_WRITER = """
import sys
from decimal import Decimal
from pathlib import Path
from brain.shell.checkpoint import CheckpointFile
from brain.inputs import Commit
file = CheckpointFile(Path(sys.argv[1]))
for number in range(10**9):
    row = (("r1", number + 1, b"{}"),)
    file.commit(Commit(b'{"n":%d}' % number, b'{"n":%d}' % number, row, (("r1", number),)))
    sys.stdout.write(f"{number}\\n"); sys.stdout.flush()
"""


def test_killed_at_any_moment_every_acknowledged_commit_is_there_and_none_is_half(tmp_path: Path) -> None:
    path = tmp_path / "b.checkpoint"
    for kill_after in (3, 40, 400):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        last = -1
        for line in writer.stdout:
            last = int(line)
            if last >= kill_after:
                os.kill(writer.pid, signal.SIGKILL)
                break
        said = [int(line) for line in writer.stdout.read().split("\n")[:-1]]
        writer.wait()
        writer.stdout.close()
        last = max([last, *said])
        file = CheckpointFile(path)
        assert file._meta is not None
        number = int(file._meta[5:-1])
        assert (file._state, list(file._rows)) == (file._meta, [("r1", number + 1)])
        assert last <= number <= last + 1
        file.close()
        path.unlink()


def test_the_file_is_private_whatever_the_umask_also_one_of_an_earlier_version(tmp_path: Path) -> None:
    path = tmp_path / "b.checkpoint"
    before = os.umask(0)
    try:
        for _ in range(2):
            file = CheckpointFile(path)
            file.load("macd", 1_700_000_000_000)
            assert [(one.name, stat.S_IMODE(one.stat().st_mode)) for one in tmp_path.iterdir()] == [(path.name, 0o600)]
            file.close()
            path.chmod(0o644)
    finally:
        os.umask(before)


def test_a_commit_of_an_order_is_quick(tmp_path: Path) -> None:
    """10 us is the aim on an idle machine; the bound here leaves room for a shared one."""
    file = CheckpointFile(tmp_path / "b.checkpoint")
    meta = encode_meta(Meta(strategy="macd", run="r1700000000000", next_seq=7, last_event=99))
    raw = encode(a_record(1))
    took_ns = []
    for number in range(1500):
        commit = Commit(meta, None, (("r1700000000000", number + 1, raw),), (("r1700000000000", number),))
        before_ns = time.perf_counter_ns()
        file.commit(commit)
        took_ns.append(time.perf_counter_ns() - before_ns)
    p50_us = sorted(took_ns)[len(took_ns) // 2] / 1000
    print(f"commit p50 {p50_us:.1f} us")
    assert p50_us < 200


def test_one_process_a_name(tmp_path: Path) -> None:
    first = NameLock(tmp_path / "b.lock")
    with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"):
        NameLock(tmp_path / "b.lock")
    first.release()
    NameLock(tmp_path / "b.lock").release()
