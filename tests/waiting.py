"""Waiting for conditions with a deadline, and looking at processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 15.0  # nothing is given up sooner, whatever was asked: a crowded machine pauses for seconds


def wait_until(condition: Callable[[], object], timeout_s: float, what: str, poll_s: float = 0.01) -> None:
    """Returns as soon as `condition` holds; fails naming `what` after `timeout_s`."""
    timeout_s = max(timeout_s, PATIENCE_S)
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(poll_s)


async def eventually(condition: Callable[[], object], what: str, timeout_s: float = 5.0) -> None:
    """`wait_until` on the loop: returns as soon as `condition` holds; fails naming `what` after `timeout_s`."""
    loop = asyncio.get_running_loop()
    timeout_s = max(timeout_s, PATIENCE_S)
    deadline = loop.time() + timeout_s
    while not condition():
        assert loop.time() < deadline, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.003)


async def stays(condition: Callable[[], object], what: str, for_s: float) -> None:
    """Looks again and again for `for_s`; fails naming `what` the moment `condition` does not hold."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    while loop.time() < started + for_s:
        assert condition(), f"after {loop.time() - started:.3f} s no longer: {what}"
        await asyncio.sleep(0.003)


async def sampled(look: Callable[[], T], for_s: float, every_s: float) -> list[T]:
    """What was seen at regular looks during `for_s`."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    seen: list[T] = []
    while loop.time() < started + for_s:
        seen.append(look())
        await asyncio.sleep(every_s)
    return seen


async def pause(seconds: float) -> None:
    """The slowness of a model server or writer: a part of what is tested, never a wait for something."""
    await asyncio.sleep(seconds)


def pause_here(seconds: float) -> None:
    """`pause` where there is no loop."""
    time.sleep(seconds)


def alive(pid: int) -> bool:
    """Does the process run? A zombie (ended, nobody has reaped it) does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")
