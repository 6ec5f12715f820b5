"""Clocks of this machine: for shells only, never for cores."""

from __future__ import annotations

import time
from pathlib import Path

from ipc.slices import Now

_read_ns = time.clock_gettime_ns
_BOOTTIME = time.CLOCK_BOOTTIME


def boot_ns() -> int:
    """CLOCK_BOOTTIME: one clock for all processes of this boot, running on through suspend."""
    return _read_ns(_BOOTTIME)


def wall_ns() -> int:
    return time.time_ns()


def boot_id() -> str:
    """The kernel's id of this boot. Containers of one host share it, as they share the clock."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def reader_now(boot: str) -> Now:
    return Now(boot_ns(), wall_ns(), boot)
