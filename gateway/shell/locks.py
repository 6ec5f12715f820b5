"""One gateway an account: an exclusive `flock` beside the journal, held for the life of the process.

The kernel drops it with the last descriptor, so a kill -9 leaves nothing to clean. It is a file of its own: closing any
second descriptor of the database file would drop SQLite's own locks on it.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class AlreadyRunning(Exception):
    """Another process holds the lock; `pid` is what it wrote there, if readable."""

    def __init__(self, path: Path, pid: str) -> None:
        super().__init__(
            f"another gateway{f' (pid {pid})' if pid else ''} holds {path}; "
            "one gateway an account: stop it first, or choose another account or state_dir"
        )


class JournalLock:
    """Taken in the constructor (never waits). Raises AlreadyRunning."""

    def __init__(self, journal_path: Path) -> None:
        self.path = journal_path.with_name(journal_path.name + ".lock")
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._fd, 32).decode("ascii", "replace").strip()
            os.close(self._fd)
            raise AlreadyRunning(self.path, holder) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
