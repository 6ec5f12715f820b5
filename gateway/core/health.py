"""Health of the gateway: the `gateway` slice, the answer of `status`, the line a minute. Pure."""

from __future__ import annotations

from typing import Any

from gateway.core.assembly import Parts, RootSettings, Shown
from gateway.core.inputs import Now
from ipc.slices import GatewaySlice


class Health:
    """`shown` holds what the shell measured last."""

    def __init__(self, settings: RootSettings, parts: Parts) -> None:
        self._settings = settings
        self._parts = parts
        self.shown = Shown()
        self.store_up = False
        self.stopping = False

    def ready(self) -> bool:
        """Are entries allowed, as far as reconciliation goes?"""
        return self._parts.account.ready() and not self.stopping

    def private_age_ms(self, now: Now) -> int | None:
        """Since the last sign of life of the private stream; None where it is not open."""
        row = self._parts.links.status(now)["private"]
        age_ms: int | None = row["age_ms"] if row["state"] in ("open", "live") else None
        return age_ms

    def slice(self, now: Now) -> GatewaySlice:
        parts = self._parts
        risk, reason = parts.orders.risk_state(None)
        counters = {
            **parts.market.counters(),
            **parts.account.status(),
            **self.shown.counters,
            "connections": parts.sessions.connections(),
            "store_up": int(self.store_up),
        }
        return GatewaySlice(
            **parts.heads.fields(now, "live", as_of=self._parts.log.last),
            environment=self._settings.environment,
            pid=self._settings.pid,
            ready=self.ready(),
            risk=risk,
            risk_reason=reason,
            position_mode=parts.account.position_mode(),
            clock_offset_ms=parts.links.clock.offset_ms(now),
            unknown=parts.orders.unknown_count(),
            streams=parts.links.status(now),
            budgets={**parts.governor.budgets(now), "connections_60s": parts.links.budget(now)},
            brains=parts.sessions.status(now),
            latency_us={hop: dict(row) for hop, row in self.shown.latency_us.items()},
            counters=counters,
        )

    def line(self, now: Now) -> dict[str, Any]:
        """A few words for the log, once a minute."""
        parts = self._parts
        return {
            "ready": parts.account.ready(),
            "risk": parts.orders.risk_state(None)[0],
            "streams": {name: row["state"] for name, row in parts.links.status(now).items()},
            "brains": [name for name, row in parts.sessions.status(now).items() if row["alive"]],
            "open_orders": len(parts.orders.open_orders()),
            "unknown": parts.orders.unknown_count(),
            "last_event": self._parts.log.last,
            "store": self.store_up,
        }
