"""When the gateway tells its service manager that it is well.

A process that is alive may still be of no use: its slices are old, its private stream is gone and does not return. Then
it stops saying that it is well, the manager ends it, and a new one reads the journal and reconciles.

What no restart mends is no reason: with Redis gone orders are still answered, and while the exchange wants silence (a
ban) a new process would only ask again too early.
"""

from __future__ import annotations

from dataclasses import dataclass

from ipc.notify import Notifier

SLICES_AGE_NS = 5_000_000_000  # written every 100 ms; the store gives a connection up after 2 s
STEPS_AGE_NS = 5_000_000_000  # the core's own tick comes every 100 ms
STREAM_GRACE_NS = 15_000_000_000  # past the deadlines of the stream itself
EXTEND_S = 30.0  # asked for again each second while a start goes on


@dataclass(frozen=True, slots=True)
class Vitals:
    """One look at the process. Times are CLOCK_BOOTTIME in ns.

    `slices_ns`: when all slices were last written; None: Redis is not there. `stream_age_ms`: since the last sign of
    life of the private stream; None: it is not open.
    """

    now_ns: int
    ready: bool
    stopping: bool
    steps: int
    slices_ns: int | None
    stream_age_ms: int | None
    silent: bool


class Watchdog:
    """`look` once a second. `stream_deadline_ms`: after so long without a sign of life the links give a private stream
    up; `stop_within_s`: how long an orderly end takes at most."""

    def __init__(self, notifier: Notifier, *, stream_deadline_ms: int, stop_within_s: float) -> None:
        self._notifier = notifier
        self._deadline_ms = stream_deadline_ms
        self._stop_within_s = stop_within_s
        self._steps = -1
        self._stepped_ns = 0
        self._stream_ns = 0  # the last moment the private stream was well
        self._ready = False
        self._stopping = False

    def ready(self, now_ns: int) -> None:
        """The gateway is ready for the first time."""
        self._ready = True
        self._stream_ns = self._stepped_ns = now_ns
        self._notifier.status("ready")
        self._notifier.ready()
        self._notifier.alive()

    def stopping(self) -> None:
        if not self._stopping:
            self._stopping = True
            self._notifier.stopping(self._stop_within_s)

    def look(self, vitals: Vitals) -> str:
        """Tells the manager what is to be told. Returns why the gateway is not well, or nothing."""
        unwell = self._unwell(vitals)
        if vitals.stopping:
            self.stopping()
            self._notifier.status("stopping")
        elif not self._ready:
            self._notifier.status(f"starting: {unwell}" if unwell else "starting: not reconciled with the exchange yet")
            if not self._stuck(vitals):
                self._notifier.extend(EXTEND_S)
        elif unwell:
            self._notifier.status(f"NOT WELL: {unwell}")
        else:
            self._notifier.alive()
            self._notifier.status(_said(vitals))
        return unwell

    def _unwell(self, vitals: Vitals) -> str:
        now_ns = vitals.now_ns
        if vitals.steps != self._steps:
            self._steps, self._stepped_ns = vitals.steps, now_ns
        age_ms = vitals.stream_age_ms
        if vitals.silent or (age_ms is not None and age_ms <= self._deadline_ms) or not self._stream_ns:
            self._stream_ns = now_ns
        if self._stuck(vitals):
            return f"the core has handled nothing for {_s(now_ns - self._stepped_ns)} s"
        if vitals.slices_ns is not None and now_ns - vitals.slices_ns > SLICES_AGE_NS:
            return f"the slices are {_s(now_ns - vitals.slices_ns)} s old"
        if now_ns - self._stream_ns > STREAM_GRACE_NS:
            return f"the private stream has been gone for {_s(now_ns - self._stream_ns)} s"
        return ""

    def _stuck(self, vitals: Vitals) -> bool:
        return vitals.now_ns - self._stepped_ns > STEPS_AGE_NS


def _said(vitals: Vitals) -> str:
    faults = [
        *(["entries wait for a reconciliation"] if not vitals.ready else []),
        *(["Redis is not reached"] if vitals.slices_ns is None else []),
        *(["the exchange wants silence"] if vitals.silent else []),
    ]
    return "; ".join(faults) or "ready"


def _s(ns: int) -> int:
    return ns // 1_000_000_000
