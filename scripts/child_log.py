"""One child's log file: appended to by the child itself, kept below a bound, read at its end."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import BinaryIO

_TAIL_BYTES = 16_384


class ChildLog:
    """At `max_bytes` the file is copied to `.1` and emptied in place (the child keeps its descriptor); a line written
    between the two is lost."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._run_from = 0

    def open(self) -> BinaryIO:
        """For appending: what several runs of the child wrote stands one after the other."""
        return self.path.open("ab", buffering=0)

    def begin(self) -> BinaryIO:
        """`open` for a new run: `tail` tells of it alone."""
        file = self.open()
        self._run_from = file.seek(0, 2)
        return file

    def append(self, line: bytes) -> None:
        with self.open() as file:
            file.write(line + b"\n")

    def keep_bounded(self) -> None:
        try:
            if self.path.stat().st_size <= self._max_bytes:
                return
        except FileNotFoundError:
            return
        shutil.copyfile(self.path, self.path.with_name(self.path.name + ".1"))
        with self.path.open("r+b") as file:
            file.truncate(0)
        self._run_from = 0

    def tail(self, lines: int) -> str:
        """The newest run's last lines, at most 16 KiB of them; says so where there are none."""
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(self._run_from, size - _TAIL_BYTES))
                text = file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            text = ""
        return "\n".join(text.splitlines()[-lines:]) or "(nothing was logged)"
