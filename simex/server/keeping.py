"""The state on disk: read at the start, written while the exchange runs and once more at its end.

One file, replaced as a whole: written beside it, flushed to the disk, renamed. A crash loses at most what happened
since the last write; a machine that loses power finds the old file or the new one, never half of one.
"""

import asyncio
import fcntl
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import orjson

from simex.core.codec import BadState
from simex.core.exchange import Exchange

log = logging.getLogger("simex.state")

HISTORY = 500
"""Closed orders, fills and income lines kept per account over a restart."""
LOOK_S = 0.25
"""How often the keeper looks whether something has changed."""
REST_S = 5.0
"""A state that only prices have moved is written this often."""
SHARE = 0.05
"""At most this part of the time is spent on making states."""


class StateFile:
    """One file, held by one process: a lock beside it keeps a second one away."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[bytes] | None = None

    def open(self) -> dict[str, Any] | None:
        """Take the lock and read the state; None if there is none yet. BadState says what is wrong and what to do."""
        try:
            return self._read()
        except BaseException:
            self.close()
            raise

    def _read(self) -> dict[str, Any] | None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = self.path.with_name(f"{self.path.name}.lock").open("ab")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except BlockingIOError as error:
            raise BadState(f"{self.path} is in use by another simex: end it, or use another file") from error
        except OSError as error:
            raise BadState(f"{self.path} cannot be used: {error.strerror}") from error
        try:
            state = orjson.loads(raw)
        except ValueError as error:
            raise BadState(f"{self.path} is not a state (no JSON): move it away to begin anew") from error
        if not isinstance(state, dict) or not isinstance(state.get("core"), dict):
            raise BadState(f"{self.path} is not a state of simex: move it away to begin anew")
        return state

    def write(self, state: dict[str, Any]) -> None:
        """Replace the file. OSError if the disk does not take it; the old file is whole then."""
        draft = self.path.with_name(f"{self.path.name}.new")
        with draft.open("wb") as file:
            file.write(orjson.dumps(state))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        """Let the lock go."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


class Keeper:
    """Writes the state of a running exchange soon after it has changed, and at its end."""

    def __init__(self, file: StateFile, exchange: Exchange, engine_ms: Callable[[], int]) -> None:
        self._file = file
        self._exchange = exchange
        self._engine_ms = engine_ms
        self._written = -1
        self._written_at = time.monotonic()
        self._took_s = 0.0
        self._ending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._run(), name="simex-state")

    async def stop(self) -> None:
        """Write once more, after the last request, and let the file go. OSError if the disk does not take it."""
        self._ending.set()
        if self._task is not None:
            await self._task
        await asyncio.to_thread(self._file.write, self._state())
        self._file.close()

    async def _run(self) -> None:
        """Until the end. A disk that does not take the state is told of and asked again."""
        while not await self._ends_within(max(LOOK_S, self._took_s / SHARE)):
            if self._exchange.changes == self._written and time.monotonic() - self._written_at < REST_S:
                continue
            changes, state = self._exchange.changes, self._state()
            try:
                await asyncio.to_thread(self._file.write, state)
            except OSError as error:
                log.error("the state could not be written to %s: %s; trying again", self._file.path, error.strerror)
            else:
                self._written, self._written_at = changes, time.monotonic()

    async def _ends_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._ending.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _state(self) -> dict[str, Any]:
        began = time.monotonic()
        core = self._exchange.dump(history=HISTORY, levels=False)
        self._took_s = time.monotonic() - began
        return {"saved_ms": self._engine_ms(), "core": core}


def adopt(exchange: Exchange, saved: dict[str, Any] | None, now_ms: int) -> None:
    """Give a fresh exchange the state of an earlier life. BadState if it does not fit."""
    if saved is None:
        return
    exchange.restore(saved["core"])
    late_ms = saved.get("saved_ms", 0) - now_ms
    if late_ms > 0:
        log.warning("the state was saved %.1f s ahead of the clock of now: its times lie in the future", late_ms / 1000)


def last_price(saved: dict[str, Any] | None, symbol: str) -> str | None:
    """The mark price that a symbol had when the state was saved: a generated market goes on from there."""
    market = {} if saved is None else saved["core"].get("markets", {}).get(symbol, {})
    mark = market.get("announced_mark")
    return mark if isinstance(mark, str) else None
