"""Faults by the clock: rows of `{"at_s" | "every_s", ..., "fault": ...}`, checked before the first one acts."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from simex.server.chaos.kinds import check

log = logging.getLogger("simex")
MAX_ROWS = 1_000
MAX_S = 7 * 86_400
_TIMES = frozenset({"at_s", "every_s", "times"})
Later = Callable[[int, Callable[[], None]], None]
SwitchOn = Callable[[dict[str, Any]], object]


@dataclass(slots=True)
class Row:
    """One row: its fault, when it comes next (ms after the start), how often still (None: for ever)."""

    number: int
    spec: dict[str, Any]
    next_ms: int
    every_ms: int | None
    left: int | None
    refused: str | None = None

    def listing(self) -> dict[str, Any]:
        """As GET /admin/chaos shows it."""
        return {
            "row": self.number, **self.spec, "next_s": self.next_ms / 1000,
            "every_s": None if self.every_ms is None else self.every_ms / 1000, "left": self.left,
            "refused": self.refused,
        }  # fmt: skip


def read_row(where: str, row: object) -> tuple[dict[str, Any], float, float | None, int | None]:
    """(fault, first time in s, period in s or None, how often). ValueError names the row and the field."""
    if not isinstance(row, dict):
        raise ValueError(f"{where}: a row is a JSON object")
    spec = {name: value for name, value in row.items() if name not in _TIMES}
    at, every, times = row.get("at_s"), row.get("every_s"), row.get("times")
    for name, value, low in (("at_s", at, 0), ("every_s", every, 0.05)):
        if value is not None and not (
            isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= MAX_S
        ):
            raise ValueError(f"{where}: {name} must be a number of seconds from {low:g} to {MAX_S}, not {value!r}")
    if at is None and every is None:
        raise ValueError(f"{where}: at_s or every_s is mandatory (both: every so often, first at that time)")
    if times is not None and (every is None or not isinstance(times, int) or isinstance(times, bool) or times < 1):
        raise ValueError(f"{where}: times must be a whole number above 0, with every_s")
    try:
        check(spec)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    first = float(at if at is not None else every if every is not None else 0)
    return spec, first, None if every is None else float(every), times if every is not None else 1


class Schedule:
    """The rows that still have something to do, at most `MAX_ROWS`. `switch_on` begins a fault."""

    def __init__(self, switch_on: SwitchOn, later: Later) -> None:
        self._switch_on = switch_on
        self._later = later
        self._rows: dict[int, Row] = {}
        self._number = 0

    def add(self, rows: Sequence[object]) -> list[dict[str, Any]]:
        """Take rows over, counted from now. ValueError if one makes no sense; then none is taken."""
        read = [read_row(f"row {number}", row) for number, row in enumerate(rows)]
        if len(self._rows) + len(read) > MAX_ROWS:
            raise ValueError(f"at most {MAX_ROWS} rows can wait: clear some first")
        made = []
        for spec, first_s, every_s, left in read:
            self._number += 1
            every_ms = None if every_s is None else round(every_s * 1000)
            row = Row(self._number, spec, round(first_s * 1000), every_ms, left)
            self._rows[row.number] = row
            self._arm(row, row.next_ms)
            made.append(row.listing())
        return made

    def clear(self) -> int:
        """Forget every row; returns how many that were. Faults that are on stay on."""
        count = len(self._rows)
        self._rows.clear()
        return count

    def listing(self) -> list[dict[str, Any]]:
        """All rows, by their number."""
        return [row.listing() for row in self._rows.values()]

    def _arm(self, row: Row, delay_ms: int) -> None:
        self._later(delay_ms, lambda: self._fire(row))

    def _fire(self, row: Row) -> None:
        if self._rows.get(row.number) is not row:
            return
        try:
            self._switch_on(row.spec)
        except ValueError as error:
            row.refused = str(error)
            log.warning("row %d of the chaos schedule was refused: %s", row.number, error)
        if row.left is not None:
            row.left -= 1
        if row.every_ms is None or row.left == 0:
            del self._rows[row.number]
            return
        row.next_ms += row.every_ms
        self._arm(row, row.every_ms)
