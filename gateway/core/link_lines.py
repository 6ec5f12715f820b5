"""The connections of one family, and what is shown of them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from gateway.core.inputs import Conn, Now


@dataclass(slots=True)
class Line:
    """One connection. Times are CLOCK_BOOTTIME in ns."""

    conn: Conn
    form: str
    started_ns: int
    opened_ns: int | None = None
    data_ns: int | None = None
    life_ns: int = 0
    probed_ns: int | None = None
    warned: bool = False
    commands: deque[tuple[str, ...]] = field(default_factory=deque)
    command_ns: int = 0


@dataclass(slots=True)
class Family:
    name: str
    streams: list[str] = field(default_factory=list)
    active: Line | None = None
    coming: Line | None = None
    going: Line | None = None
    going_ns: int = 0
    failures: int = 0
    retry_ns: int | None = None
    number: int = 0
    form: int = 0
    next_age_ns: int = 0

    def lines(self) -> list[Line]:
        return [line for line in (self.active, self.coming, self.going) if line is not None]


def shown(now: Now, family: Family) -> dict[str, Any]:
    """For the gateway slice: state, age of the last sign of life, URL form, streams, failures."""
    line = family.active
    state = "down" if line is None else "connecting" if line.opened_ns is None else "open"
    if line is not None and line.data_ns is not None:
        state = "live"
    return {
        "state": state,
        "age_ms": (now.boot_ns - line.life_ns) // 1_000_000 if line is not None and line.life_ns else None,
        "url_form": line.form if line is not None else None,
        "streams": len(family.streams),
        "failures": family.failures,
    }
