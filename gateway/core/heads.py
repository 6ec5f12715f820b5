"""Heads of slices: one maker for the whole core, so that epoch, sequence and clocks are the same everywhere."""

from __future__ import annotations

from typing import Any

from gateway.core.inputs import Now
from ipc.slices import State


class Heads:
    """`fields(...)` gives the keyword arguments every `ipc.slices.Head` starts with.

    `seq` rises by one with every published write (`next_write`), so slices of one atomic write share it.
    """

    __slots__ = ("_account", "_boot", "_epoch", "_venue", "seq")

    def __init__(self, *, epoch: str, account: str, venue: str, boot: str) -> None:
        self._epoch = epoch
        self._account = account
        self._venue = venue
        self._boot = boot
        self.seq = 0

    @property
    def epoch(self) -> str:
        return self._epoch

    def next_write(self) -> int:
        self.seq += 1
        return self.seq

    def fields(
        self,
        now: Now,
        state: State,
        *,
        symbol: str | None = None,
        event_ms: int | None = None,
        recv_ns: int | None = None,
        as_of: int | None = None,
    ) -> dict[str, Any]:
        return {
            "epoch": self._epoch,
            "seq": self.seq,
            "state": state,
            "account": self._account,
            "venue": self._venue,
            "symbol": symbol,
            "event_ms": event_ms,
            "recv_ns": recv_ns,
            "pub_ns": now.wall_ns,
            "pub_boot_ns": now.boot_ns,
            "boot": self._boot,
            "as_of": as_of,
        }
