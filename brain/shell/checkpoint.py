"""The checkpoint file: a log of commits, one `write` each, that now and then begins anew with the sum of them.

A commit survives a crash of the process at once and as a whole; a loss of power may cost the newest ones. The gateway's
journal is what must survive that, and a checkpoint that fell behind is noticed at the next hello. The log begins anew
in idle moments (`idle`), on a commit only where it would grow without bound.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from brain.checkpoint import Checkpoint, Meta, decode_meta, decode_state, encode_meta, run_name
from brain.inputs import Commit
from brain.records import Key, decode
from ipc.append_log import AppendLog, LogDamaged

FOLD_BYTES = 256 << 10  # begin anew in the next idle moment
FOLD_MAX_BYTES = 4 << 20  # begin anew at once

_Row = tuple[str, int, bytes]
_Parts = tuple[bytes | None, bytes | None, list[_Row], list[Key]]

_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[_Parts] = msgspec.msgpack.Decoder(_Parts)


class CheckpointError(Exception):
    """The file cannot be used; the text says why and what to do."""


class CheckpointFile:
    """One brain's file, open for the life of the process. `cut_bytes`: of a commit that a crash left half written;
    `fold_error`: why the log could not begin anew."""

    def __init__(self, path: Path) -> None:
        """Raises CheckpointError."""
        self.path = path
        self._meta: bytes | None = None
        self._state: bytes | None = None
        self._rows: dict[Key, bytes] = {}
        try:
            self._log = AppendLog(path)
            for record in self._log.records:
                self._take(*_decoder.decode(record))
        except (OSError, LogDamaged, msgspec.MsgspecError) as error:
            raise CheckpointError(f"{path}: {error}. Repair it or move it away; the brain then starts afresh") from None
        self.cut_bytes = self._log.cut_bytes
        self._log.records.clear()
        self._folded_bytes = 0
        self.fold_error = ""

    def load(self, strategy: str, now_ms: int) -> Checkpoint:
        """What the last process left, or a new run. Raises CheckpointError where it belongs to another strategy or
        cannot be read."""
        if self._meta is None:
            return self._fresh(strategy, now_ms)
        try:
            meta = decode_meta(self._meta)
            state = decode_state(self._state) if self._state is not None else {}
            records = [decode(self._rows[key]) for key in sorted(self._rows)]
        except msgspec.MsgspecError as error:
            raise CheckpointError(
                f"{self.path}: {error}. Move it away; the brain then starts afresh and adopts its open orders"
            ) from None
        if meta.strategy != strategy:
            raise CheckpointError(
                f"{self.path} belongs to strategy {meta.strategy!r}, not {strategy!r}. Choose another --name"
            )
        return Checkpoint(meta=meta, state=state, records=records)

    def _fresh(self, strategy: str, now_ms: int) -> Checkpoint:
        checkpoint = Checkpoint(meta=Meta(strategy=strategy, run=run_name(now_ms)), fresh=True)
        try:
            self.commit(Commit(encode_meta(checkpoint.meta), None))
        except OSError as error:
            raise CheckpointError(f"{self.path}: {error}. Its folder must be writable and have room") from None
        return checkpoint

    def commit(self, commit: Commit) -> None:
        """All of it or nothing. Raises OSError; the caller must then stop: it may not send."""
        self._log.append(_encode((commit.meta, commit.state, commit.put, commit.gone)))
        self._take(commit.meta, commit.state, commit.put, commit.gone)
        if self._log.size >= FOLD_MAX_BYTES + self._folded_bytes:
            self._fold()

    def _take(self, meta: bytes | None, state: bytes | None, put: Iterable[_Row], gone: Iterable[Key]) -> None:
        if meta is not None:
            self._meta = meta
        if state is not None:
            self._state = state
        for run, seq, record in put:
            self._rows[run, seq] = record
        for key in gone:
            self._rows.pop(key, None)

    def idle(self) -> None:
        """Nothing to decide now: begin the log anew if enough is in it."""
        if self._log.size >= FOLD_BYTES + self._folded_bytes:
            self._fold()

    def _fold(self) -> None:
        """Where that fails (no room for a second file) the log goes on, and it is tried again after as much more."""
        rows = [(*key, record) for key, record in self._rows.items()]
        try:
            self._log.replace(_encode((self._meta, self._state, rows, ())))
        except OSError as error:
            self.fold_error = str(error)
        self._folded_bytes = self._log.size

    def close(self) -> None:
        self._log.close()
