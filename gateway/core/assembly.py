"""What the root is made of: the parts, who it is, and what the shell measures for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.core.account import AccountCore
from gateway.core.eventlog import EventLog
from gateway.core.governor import Governor
from gateway.core.heads import Heads
from gateway.core.links import Links
from gateway.core.market import MarketCore
from gateway.core.orders import OrderCore
from gateway.core.sessions import Sessions


@dataclass(slots=True)
class Parts:
    """Everything the root drives, made by `gateway.core.build`."""

    heads: Heads
    log: EventLog
    links: Links
    market: MarketCore
    account: AccountCore
    orders: OrderCore
    governor: Governor
    sessions: Sessions


@dataclass(frozen=True, slots=True)
class RootSettings:
    account: str
    environment: str
    version: str
    pid: int
    symbols: tuple[str, ...] = ()
    intervals: tuple[str, ...] = ()
    stop_within_ms: int = 10_000


@dataclass(slots=True)
class Shown:
    """What the shell measures and the `gateway` slice shows; the shell puts fresh values in once a second."""

    latency_us: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
