"""Checkpoints of the journal, off the hot path, with a bounded log.

Above `SOFT_BYTES` a passive checkpoint runs in a thread with a connection of its own, in an idle moment if one comes
within `PATIENCE_S`: in WAL mode it blocks no writer. When nothing was written meanwhile it reaches the end of the log,
and the next commit starts the log anew. Under writes that never pause it cannot reach the end, so above `HARD_BYTES`
(tens of seconds of the heaviest load) one runs on the loop, where nobody writes beside it: a pause of a few
milliseconds, counted in `forced`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

SOFT_BYTES = 4 << 20
HARD_BYTES = 64 << 20
PATIENCE_S = 30.0


class Upkeep:
    """`look(idle, now_s)` once a second from the loop."""

    def __init__(self, path: Path, *, soft_bytes: int = SOFT_BYTES, hard_bytes: int = HARD_BYTES) -> None:
        self._path = path
        self._wal = path.with_name(path.name + "-wal")
        self._soft_bytes = soft_bytes
        self._hard_bytes = hard_bytes
        self._wanted_since_s: float | None = None
        self._settled_bytes = -1  # the size a checkpoint left: the file shrinks only with the next commit
        self._running: asyncio.Task[None] | None = None
        self.done = 0
        self.forced = 0
        self.last_error = ""

    def wal_bytes(self) -> int:
        try:
            return self._wal.stat().st_size
        except FileNotFoundError:
            return 0

    def look(self, *, idle: bool, now_s: float) -> None:
        if self._running is not None and not self._running.done():
            return
        size = self.wal_bytes()
        if size < self._soft_bytes or size == self._settled_bytes:
            self._wanted_since_s = None
            return
        if size >= self._hard_bytes:
            self.forced += 1
            self._checkpoint()
            return
        if self._wanted_since_s is None:
            self._wanted_since_s = now_s
        if idle or now_s - self._wanted_since_s >= PATIENCE_S:
            self._wanted_since_s = None
            self._running = asyncio.get_running_loop().create_task(asyncio.to_thread(self._checkpoint))

    def _checkpoint(self) -> None:
        try:
            db = sqlite3.connect(self._path, isolation_level=None, timeout=1.0)
            try:
                _busy, pages, copied = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            finally:
                db.close()
            self.done += 1
            self._settled_bytes = self.wal_bytes() if pages == copied else -1
        except sqlite3.Error as error:  # the log only grows until the next look; the commit path meets real trouble
            self.last_error = str(error)

    async def stop(self) -> None:
        if self._running is not None:
            await self._running
