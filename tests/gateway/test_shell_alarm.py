"""Timers behind one kernel timer: order, cancelling, faults, waiting, and no descriptor left behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from gateway.shell import alarm


def run(work: Callable[[], Awaitable[None]]) -> None:
    """On uvloop; afterwards no descriptor of a timer is open."""

    async def bounded() -> None:
        await asyncio.wait_for(work(), 10)
        assert timer_descriptors() == 0

    uvloop.run(bounded())


def timer_descriptors() -> int:
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        try:
            found += "timerfd" in str(link.readlink())
        except FileNotFoundError:
            continue  # the listing's own
    return found


def hold_the_loop(span_s: float) -> None:
    until_s = time.monotonic() + span_s
    while time.monotonic() < until_s:
        pass


def test_calls_come_in_the_order_of_their_times_and_never_early() -> None:
    async def work() -> None:
        done: asyncio.Event = asyncio.Event()
        called: list[tuple[int, float]] = []
        started_s = time.monotonic()

        def note(number: int) -> None:
            called.append((number, time.monotonic() - started_s))
            if len(called) == 3:
                done.set()

        for number, delay_s in ((3, 0.06), (1, 0.02), (2, 0.04)):
            alarm.call_later(delay_s, lambda number=number: note(number))  # type: ignore[misc]
        await done.wait()
        assert [number for number, _ in called] == [1, 2, 3]
        assert all(at_s >= number * 0.02 for number, at_s in called)

    run(work)


def test_an_earlier_time_set_later_is_kept() -> None:
    async def work() -> None:
        late = alarm.call_later(30, lambda: None)
        soon: asyncio.Event = asyncio.Event()
        alarm.call_later(0.01, soon.set)
        await soon.wait()
        late.cancel()

    run(work)


def test_a_cancelled_call_never_comes_not_even_when_due_together() -> None:
    async def work() -> None:
        called: list[str] = []
        done: asyncio.Event = asyncio.Event()
        handles: list[alarm.Handle] = []

        def first() -> None:
            called.append("first")
            handles[0].cancel()

        alarm.call_later(0.01, first)
        handles.append(alarm.call_later(0.01, lambda: called.append("cancelled")))
        alarm.call_later(0.01, done.set)
        hold_the_loop(0.02)  # all three are due in one turn
        await done.wait()
        handles[0].cancel()  # again: harmless
        assert called == ["first"]

    run(work)


def test_a_fault_in_one_call_is_told_and_the_others_come() -> None:
    async def work() -> None:
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
        done: asyncio.Event = asyncio.Event()

        def fault() -> None:
            raise RuntimeError("planted")

        alarm.call_later(0.01, fault)
        alarm.call_later(0.01, done.set)
        hold_the_loop(0.02)
        await done.wait()
        assert [str(context["exception"]) for context in told] == ["planted"]

    run(work)


def test_sleeping_takes_its_time_and_ends_at_once_when_cancelled() -> None:
    async def work() -> None:
        started_s = time.monotonic()
        await alarm.sleep(0.02)
        assert time.monotonic() - started_s >= 0.02
        task = asyncio.create_task(alarm.sleep(30))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(work)


def test_waiting_tells_the_event_from_the_end_of_the_time() -> None:
    async def work() -> None:
        event: asyncio.Event = asyncio.Event()
        assert not await alarm.wait(event, 0.01)
        alarm.call_later(0.01, event.set)
        assert await alarm.wait(event, 30)
        await asyncio.sleep(0)

    run(work)
