"""The append-only file: whatever a crash cuts, whole records remain, in order; damage is refused, never overwritten."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc import append_log
from ipc.append_log import MAGIC, AppendLog, LogDamaged, framed, parse

PAYLOADS = st.lists(st.binary(min_size=1, max_size=60), max_size=6)


def whole(payloads: list[bytes]) -> bytes:
    return MAGIC + b"".join(framed(payload) for payload in payloads)


def reopened(path: Path) -> list[bytes]:
    log = AppendLog(path)
    log.close()
    return log.records


@given(PAYLOADS)
def test_cut_at_any_byte_the_whole_records_before_it_remain(payloads: list[bytes]) -> None:
    file = whole(payloads)
    ends = [len(MAGIC) + sum(8 + len(payload) for payload in payloads[:count]) for count in range(len(payloads) + 1)]
    for cut in range(len(file) + 1):
        records, size = parse(file[:cut])
        count = sum(end <= cut for end in ends[1:])
        assert (records, size) == (payloads[:count], ends[count] if cut >= len(MAGIC) else 0)


@given(PAYLOADS, PAYLOADS, st.data())
def test_what_is_appended_after_a_cut_is_read_behind_what_remained(
    before: list[bytes], after: list[bytes], data: st.DataObject
) -> None:
    file = whole(before)
    cut = data.draw(st.integers(0, len(file)))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.log"
        path.write_bytes(file[:cut])
        log = AppendLog(path)
        assert log.cut_bytes == cut - (log.size if cut >= len(MAGIC) else 0)
        for payload in after:
            log.append(payload)
        log.close()
        assert reopened(path) == [*log.records, *after]
        assert path.stat().st_size == log.size


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=2, max_size=5), st.data())
def test_a_record_changed_before_the_last_is_never_read_as_another(payloads: list[bytes], data: st.DataObject) -> None:
    """Refused; or, where its length now reaches beyond the end, cut: a prefix all the same."""
    file = bytearray(whole(payloads))
    last = len(file) - 8 - len(payloads[-1])
    at = data.draw(st.integers(len(MAGIC), last - 1))
    file[at] ^= data.draw(st.integers(1, 255))
    try:
        records, _ = parse(bytes(file))
    except LogDamaged:
        return
    assert records == payloads[: len(records)] and len(records) < len(payloads)


@pytest.mark.parametrize(
    "held", [b"somebody else's file", b"x", MAGIC + b"\xff" * 40, whole([b"a", b"b"]).replace(b"a", b"c")]
)
def test_damage_is_refused_and_the_file_left_as_it_is(tmp_path: Path, held: bytes) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(held)
    with pytest.raises(LogDamaged):
        AppendLog(path)
    assert path.read_bytes() == held


def test_blocks_that_were_never_written_are_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(whole([b"one"]) + bytes(4096))
    assert reopened(path) == [b"one"]
    assert path.stat().st_size == len(whole([b"one"]))


def test_nobody_else_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.touch(0o644)
    old = os.umask(0)
    try:
        log = AppendLog(path)
        log.replace(b"x")
        log.close()
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("room", [0, 1, 7, 8, 9, 12])
def test_a_full_disk_leaves_nothing_of_the_record_and_the_next_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    path = tmp_path / "a.log"
    log = AppendLog(path)
    log.append(b"first")
    write = os.write

    def short(fd: int, data: bytes) -> int:
        if room == 0:
            raise OSError(errno.ENOSPC, "no room")
        return write(fd, data[:room])

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(OSError, match=r"no room|disk full"):
        log.append(b"second")
    monkeypatch.setattr(os, "write", write)
    log.append(b"third")
    log.close()
    assert reopened(path) == [b"first", b"third"]


def test_half_a_record_that_cannot_be_taken_away_stops_all_that_would_follow_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AppendLog(tmp_path / "a.log")
    write, truncate = os.write, os.ftruncate

    def refused(fd: int, size: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:9]))
    monkeypatch.setattr(os, "ftruncate", refused)
    with pytest.raises(OSError, match="broken"):
        log.append(b"lost")
    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="broken"):
        log.append(b"would be unreadable")
    monkeypatch.setattr(os, "ftruncate", truncate)
    log.append(b"kept")
    log.close()
    assert reopened(tmp_path / "a.log") == [b"kept"]


def test_a_new_file_takes_the_place_of_the_old_one_or_the_old_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.log"
    log = AppendLog(path)
    for number in range(100):
        log.append(b"%d" % number)
    log.replace(b"sum")
    log.append(b"next")
    assert reopened(path) == [b"sum", b"next"]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(errno.ENOSPC, "no room")))
        with pytest.raises(OSError, match="no room"):
            log.replace(b"lost")
    log.append(b"on")
    log.clear()
    log.append(b"anew")
    log.close()
    assert reopened(path) == [b"anew"]
    assert [one.name for one in tmp_path.iterdir()] == ["a.log"]


@pytest.mark.parametrize("size", [0, append_log.MAX_PAYLOAD_BYTES + 1])
def test_a_payload_that_could_not_be_read_again_is_refused(tmp_path: Path, size: int) -> None:
    log = AppendLog(tmp_path / "a.log")
    with pytest.raises(ValueError, match=f"a record of {size} bytes"):
        log.append(bytes(size))
    log.close()
