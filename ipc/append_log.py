"""An append-only file of records: one `write` makes a record survive a crash of the process.

The file: `MAGIC`, then records. A record: length and CRC-32 of the payload (4 bytes each, little-endian), payload.
What a crash cut off while it was written is recognised by length and checksum and taken away at the next opening: what
remains is a prefix of the history, whole records only. A bad record with others behind it was not made by a crash; the
file is then refused as it is (`LogDamaged`), for a person to look at. Loss of power may cost the newest records:
nothing is synced but what `replace` writes.
"""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path
from zlib import crc32

MAGIC = b"bslog 1\n"
MAX_PAYLOAD_BYTES = 64 << 20

_HEAD = struct.Struct("<II")
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_APPEND


class LogDamaged(Exception):
    """The file is no log, or broken before its end. The text says where."""


class AppendLog:
    """One writer. `records` are those found at opening, oldest first (the owner may clear them), `cut_bytes` what was
    taken away behind them; `size` is where the next record goes."""

    def __init__(self, path: Path) -> None:
        """Raises LogDamaged or OSError."""
        self.path = path
        self._fd = os.open(path, _FLAGS, 0o600)
        self._torn = False
        try:
            os.fchmod(self._fd, 0o600)
            held = path.read_bytes()
            self.records, self.size = parse(held)
            self.cut_bytes = len(held) - self.size
            if self.cut_bytes:
                os.ftruncate(self._fd, self.size)
            if self.size == 0:
                self._put(MAGIC)
        except BaseException:
            os.close(self._fd)
            raise

    @property
    def empty(self) -> bool:
        return self.size <= len(MAGIC)

    def append(self, payload: bytes) -> None:
        """When it returns, the record outlives the process. Raises OSError: then nothing of it is in the file."""
        self._put(framed(payload))

    def clear(self) -> None:
        """Forget all records. Raises OSError."""
        os.ftruncate(self._fd, len(MAGIC))
        self._torn = False
        self.size = len(MAGIC)

    def replace(self, payload: bytes) -> None:
        """A new file with this record alone in place of the old one, at once or not at all, synced. Raises OSError:
        then the old one goes on."""
        other = self.path.with_name(self.path.name + ".new")
        whole = MAGIC + framed(payload)
        fd = os.open(other, _FLAGS | os.O_TRUNC, 0o600)
        try:
            if os.write(fd, whole) != len(whole):
                raise OSError(errno.ENOSPC, "a short write: is the disk full?", str(other))
            os.fsync(fd)
            other.replace(self.path)
        except BaseException:
            os.close(fd)
            other.unlink(missing_ok=True)
            raise
        os.close(self._fd)
        self._fd, self.size, self._torn = fd, len(whole), False

    def close(self) -> None:
        os.close(self._fd)

    def _put(self, data: bytes) -> None:
        if self._torn:
            self._mend()
        written = os.write(self._fd, data)
        if written != len(data):
            self._torn = True
            self._mend()
            raise OSError(errno.ENOSPC, "a short write: is the disk full?", str(self.path))
        self.size += written

    def _mend(self) -> None:
        """Take half a record away: what followed it could not be read. Until that succeeds, nothing is appended."""
        os.ftruncate(self._fd, self.size)
        self._torn = False


def framed(payload: bytes) -> bytes:
    if not 0 < len(payload) <= MAX_PAYLOAD_BYTES:
        raise ValueError(f"a record of {len(payload)} bytes; 1 to {MAX_PAYLOAD_BYTES} are possible")
    return _HEAD.pack(len(payload), crc32(payload)) + payload


def parse(held: bytes) -> tuple[list[bytes], int]:
    """The payloads of a file's whole records, and where they end. Raises LogDamaged."""
    if held[: len(MAGIC)] != MAGIC[: len(held)]:
        raise LogDamaged("it is no log of this program")
    if len(held) < len(MAGIC):
        return [], 0
    records: list[bytes] = []
    at = len(MAGIC)
    while (start := at + _HEAD.size) <= len(held):
        size, checksum = _HEAD.unpack_from(held, at)
        if not 0 < size <= MAX_PAYLOAD_BYTES:
            if any(held[at:]):  # else blocks that were never written, after a loss of power
                raise LogDamaged(f"there is no record at byte {at}")
            break
        end = start + size
        if end > len(held):
            break
        payload = held[start:end]
        if crc32(payload) != checksum:
            if end < len(held):
                raise LogDamaged(f"the record at byte {at} is not what was written")
            break
        records.append(payload)
        at = end
    return records, at
