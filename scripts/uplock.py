"""One supervisor a state folder: a lock that its holder's death releases, with the holder's pid inside."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

NAME = "supervisor.lock"


class AlreadyUp(Exception):
    """Another supervisor holds this state folder."""


class UpLock:
    """Held from `take` to `release`; the file stays, so that two starters never lock two different files."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    @classmethod
    def take(cls, state_dir: Path) -> UpLock:
        file = (state_dir / NAME).open("a+", encoding="ascii")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            pid = holder(state_dir)
            raise AlreadyUp(
                f"already up (pid {pid}) for {state_dir}: end it with `brainstem down`, or use another state_dir"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        return cls(file)

    def release(self) -> None:
        self._file.close()

    def __enter__(self) -> UpLock:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.release()


def holder(state_dir: Path) -> int | None:
    """Pid of the supervisor that holds the lock; None where nobody does."""
    try:
        with (state_dir / NAME).open("r", encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read().strip()
                return int(text) if text.isdigit() else None
    except FileNotFoundError:
        pass
    return None
