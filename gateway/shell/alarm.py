"""Timers that live long, behind one kernel timer on CLOCK_BOOTTIME, so that waiting for the next event has no time-out.

A loop's own timer makes every wait a timed one: the kernel arms and cancels a clock for each message (1.8 us of a
ping's 18 on a virtual machine). Here the clock is armed only when the next deadline changes. Only what is always
pending belongs here (ticks, rewrites, housekeeping); what lives for one request uses the loop's `call_later`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import heapq
import os
import time
from collections.abc import Callable
from typing import TypeVar

_TFD_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_TFD_TIMER_ABSTIME = 1
_NS = 1_000_000_000

T = TypeVar("T")

_libc = ctypes.CDLL(None, use_errno=True)


class _Spec(ctypes.Structure):
    """struct itimerspec: interval (none) and the moment."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("at_s", ctypes.c_long),
        ("at_ns", ctypes.c_long),
    )


class Handle:
    """One pending call. `cancel` is harmless at any time."""

    __slots__ = ("_alarm", "_callback", "due_ns")

    def __init__(self, alarm: _Alarm, due_ns: int, callback: Callable[[], object]) -> None:
        self._alarm = alarm
        self.due_ns = due_ns
        self._callback: Callable[[], object] | None = callback

    def __lt__(self, other: Handle) -> bool:
        return self.due_ns < other.due_ns

    @property
    def pending(self) -> bool:
        return self._callback is not None

    def take(self) -> Callable[[], object] | None:
        callback, self._callback = self._callback, None
        return callback

    def cancel(self) -> None:
        if self.take() is not None:
            self._alarm.forget()


def call_later(delay_s: float, callback: Callable[[], object]) -> Handle:
    """`callback` on the running loop, in `delay_s`, never inside this call."""
    loop = asyncio.get_running_loop()
    alarm = _alarms.get(loop)
    if alarm is None:
        alarm = _alarms[loop] = _Alarm(loop)
    return alarm.add(time.clock_gettime_ns(time.CLOCK_BOOTTIME) + int(delay_s * _NS), callback)


async def sleep(delay_s: float) -> None:
    """`asyncio.sleep` by this clock."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    handle = call_later(delay_s, lambda: _settle(future, None))
    try:
        await future
    finally:
        handle.cancel()


async def wait(event: asyncio.Event, delay_s: float) -> bool:
    """Until `event` is set (True) or the time is over (False)."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[bool] = loop.create_future()
    handle = call_later(delay_s, lambda: _settle(over, False))
    waiter = loop.create_task(event.wait())
    waiter.add_done_callback(lambda _: _settle(over, True))
    try:
        return await over
    finally:
        handle.cancel()
        waiter.cancel()


def _settle(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)


class _Alarm:
    """One a loop; its descriptor is open while something is pending."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._fd = -1
        self._armed_ns = 0
        self._heap: list[Handle] = []
        self._pending = 0

    def add(self, due_ns: int, callback: Callable[[], object]) -> Handle:
        handle = Handle(self, due_ns, callback)
        heapq.heappush(self._heap, handle)
        self._pending += 1
        if self._fd < 0:
            self._open()
        if due_ns < self._armed_ns or not self._armed_ns:
            self._arm(due_ns)
        return handle

    def forget(self) -> None:
        """One was cancelled: it stays in the heap until its time, unless nothing else is left."""
        self._pending -= 1
        if self._pending == 0:
            self._close()

    def _open(self) -> None:
        self._fd = _libc.timerfd_create(time.CLOCK_BOOTTIME, _TFD_FLAGS)
        if self._fd < 0:
            error = ctypes.get_errno()
            raise OSError(error, f"timerfd_create: {os.strerror(error)}")
        self._loop.add_reader(self._fd, self._fire)

    def _close(self) -> None:
        self._heap.clear()
        self._armed_ns = 0
        _alarms.pop(self._loop, None)
        fd, self._fd = self._fd, -1
        if fd >= 0:
            if not self._loop.is_closed():
                self._loop.remove_reader(fd)
            os.close(fd)

    def _arm(self, due_ns: int) -> None:
        self._armed_ns = due_ns
        spec = _Spec(0, 0, due_ns // _NS, due_ns % _NS)
        if _libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None) < 0:
            error = ctypes.get_errno()
            raise OSError(error, f"timerfd_settime: {os.strerror(error)}")

    def _fire(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, 8)
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        due: list[Handle] = []
        heap = self._heap
        while heap and (heap[0].due_ns <= now_ns or not heap[0].pending):
            due.append(heapq.heappop(heap))
        self._armed_ns = 0
        if heap:
            self._arm(heap[0].due_ns)
        for handle in due:
            callback = handle.take()  # None where an earlier one of these cancelled it
            if callback is not None:
                self._pending -= 1
                self._call(callback)
        if self._pending == 0:
            self._close()

    def _call(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except Exception as error:  # noqa: BLE001  as a loop does: told to its handler, and the others still run
            self._loop.call_exception_handler({"message": "a fault in a timer", "exception": error})


_alarms: dict[asyncio.AbstractEventLoop, _Alarm] = {}
