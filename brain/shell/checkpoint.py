"""The checkpoint file: SQLite in WAL mode, one transaction a commit.

`synchronous=NORMAL`: a commit survives a crash of the process at once, and a loss of power up to the last checkpoint of
the log; the gateway's journal is what must survive that, and a checkpoint that fell behind is noticed at the next
hello. The log is folded back in idle moments (`idle`), never on a commit.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path

import msgspec

from brain.checkpoint import Checkpoint, Meta, decode_meta, decode_state, encode_meta, run_name
from brain.inputs import Commit
from brain.records import decode

_SCHEMA = """
CREATE TABLE IF NOT EXISTS kv (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS intents (run TEXT, seq INTEGER, record BLOB NOT NULL, PRIMARY KEY (run, seq)) WITHOUT ROWID;
"""
_PUT_KV = "INSERT INTO kv VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
_PUT_INTENT = "INSERT INTO intents VALUES (?, ?, ?) ON CONFLICT (run, seq) DO UPDATE SET record = excluded.record"
_DROP_INTENT = "DELETE FROM intents WHERE run = ? AND seq = ?"
_FOLD_AFTER = 200  # commits
_FOLD_MAX = 2000  # commits: then also without an idle moment, so that the log stays bounded
_FOLD_EVERY_S = 2.0


class CheckpointError(Exception):
    """The file cannot be used; the text says why and what to do."""


class CheckpointFile:
    """One brain's file, open for the life of the process."""

    def __init__(self, path: Path) -> None:
        """Raises CheckpointError."""
        self.path = path
        self._since_fold = 0
        self._folded_s = time.monotonic()
        try:
            _make_private(path)
            self._db = sqlite3.connect(path, isolation_level=None, cached_statements=32)
            self._db.execute("PRAGMA page_size=2048")  # of a new file: a commit writes whole pages
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("PRAGMA wal_autocheckpoint=0")
            self._db.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise CheckpointError(f"{path}: {error}. Repair it or move it away; the brain then starts afresh") from None

    def load(self, strategy: str, now_ms: int) -> Checkpoint:
        """What the last process left, or a new run. Raises CheckpointError where it belongs to another strategy or
        cannot be read."""
        try:
            rows = dict(self._db.execute("SELECT key, value FROM kv"))
            records = [decode(row[0]) for row in self._db.execute("SELECT record FROM intents ORDER BY run, seq")]
            if "meta" not in rows:
                return self._fresh(strategy, now_ms)
            meta = decode_meta(rows["meta"])
            state = decode_state(rows["state"]) if "state" in rows else {}
        except (sqlite3.Error, msgspec.MsgspecError) as error:
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
        self.commit(Commit(encode_meta(checkpoint.meta), None))
        return checkpoint

    def commit(self, commit: Commit) -> None:
        """All of it or nothing. Raises sqlite3.Error; the caller must then stop: it may not send."""
        execute = self._db.execute
        execute("BEGIN IMMEDIATE")
        try:
            if commit.meta is not None:
                execute(_PUT_KV, ("meta", commit.meta))
            if commit.state is not None:
                execute(_PUT_KV, ("state", commit.state))
            for row in commit.put:
                execute(_PUT_INTENT, row)
            for key in commit.gone:
                execute(_DROP_INTENT, key)
            execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                execute("ROLLBACK")
            raise
        self._since_fold += 1
        if self._since_fold >= _FOLD_MAX:
            self._fold()

    def idle(self) -> None:
        """Nothing to decide now: fold the log back into the file if enough is in it."""
        if self._since_fold >= _FOLD_AFTER or (
            self._since_fold and time.monotonic() - self._folded_s > _FOLD_EVERY_S * 15
        ):
            self._fold()

    def _fold(self) -> None:
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._since_fold = 0
        self._folded_s = time.monotonic()

    def close(self) -> None:
        self._db.close()


def _make_private(path: Path) -> None:
    """0600 whatever the umask: what a strategy holds and intends is its own. SQLite gives its companions (-wal, -shm)
    the mode of the file; those a process left that was killed are made private too."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    for one in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        with contextlib.suppress(FileNotFoundError):
            if one.stat().st_mode & 0o077:
                one.chmod(0o600)
