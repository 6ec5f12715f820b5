"""Newline-delimited JSON without I/O: feed bytes, take lines.

A line over the cap is not buffered: its bytes are dropped until its newline and `TooLong` stands in its place, so a
flood costs no memory and the connection lives on.
"""

from __future__ import annotations

MAX_LINE_BYTES = 65_536


class TooLong:
    """Stands where a line over the cap was. `seen` is how many of its bytes had come when it was given up."""

    __slots__ = ("seen",)

    def __init__(self, seen: int) -> None:
        self.seen = seen


class LineSplitter:
    """`feed(data)` returns the complete lines (newline removed, empty lines skipped) in order."""

    __slots__ = ("_cap", "_dropping", "_held")

    def __init__(self, cap: int = MAX_LINE_BYTES) -> None:
        self._cap = cap
        self._held = b""
        self._dropping = False

    @property
    def pending(self) -> int:
        """Bytes of an unfinished line; at most the cap."""
        return len(self._held)

    def feed(self, data: bytes) -> list[bytes | TooLong]:
        end = data.find(b"\n")
        if 1 < end <= self._cap and end + 1 == len(data) and not self._held and not self._dropping:
            return [data[:-1]]  # one whole line: the common case
        out: list[bytes | TooLong] = []
        parts = data.split(b"\n")
        for part in parts[:-1]:
            self._finish(part, out)
        self._hold(parts[-1], out)
        return out

    def _finish(self, part: bytes, out: list[bytes | TooLong]) -> None:
        if self._dropping:
            self._dropping = False
            return
        line = self._held + part if self._held else part
        self._held = b""
        if len(line) > self._cap:
            out.append(TooLong(len(line)))
        elif line and line != b"\r":
            out.append(line)

    def _hold(self, rest: bytes, out: list[bytes | TooLong]) -> None:
        if self._dropping or not rest:
            return
        if len(self._held) + len(rest) > self._cap:
            out.append(TooLong(len(self._held) + len(rest)))
            self._held = b""
            self._dropping = True
        else:
            self._held += rest
