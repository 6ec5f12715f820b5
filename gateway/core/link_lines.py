"""The connections of one family, and what is shown of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.core.inputs import Conn, Now

MAX_NAMED = 5


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
    unanswered: dict[int, None] = field(default_factory=dict)  # in the order they left


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
    reason: str = ""  # why the last one ended

    def lines(self) -> list[Line]:
        return [line for line in (self.active, self.coming, self.going) if line is not None]


def shown(now: Now, family: Family, mute: Mapping[str, str]) -> dict[str, Any]:
    """For the gateway slice: state, age of the last sign of life, URL form, streams, failures, and what is wrong:
    `reason` of the last end while it is not live again, `silent` streams (`MAX_NAMED`, of `mute`) and their route."""
    line = family.active
    state = "down" if line is None else "connecting" if line.opened_ns is None else "open"
    if line is not None and line.data_ns is not None:
        state = "live"
    row: dict[str, Any] = {
        "state": state,
        "age_ms": (now.boot_ns - line.life_ns) // 1_000_000 if line is not None and line.life_ns else None,
        "url_form": line.form if line is not None else None,
        "streams": len(family.streams),
        "failures": family.failures,
    }
    if state not in ("live", "open") and family.reason:
        row["reason"] = family.reason
    if silent := sorted(stream for stream, route in mute.items() if route == family.name):
        row |= {"silent": silent[:MAX_NAMED], "silent_count": len(silent), "route": f"/{family.name}"}
    return row
