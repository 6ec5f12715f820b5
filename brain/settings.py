"""The sections of `config.json` a brain reads: `brain` and its own entry of `brains`."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any

from pydantic import Field

from ipc.settings import Settings, Symbol


class BrainSettings(Settings):
    """Of every brain. `poll_ms`: a lost wake-up costs one of these. `slice_age_ms`, `gateway_lease_ms`: older is
    refused. `ping_ms`: how often the lease (3 s at the gateway) is renewed at least."""

    poll_ms: Annotated[int, Field(ge=1, le=1000)] = 5
    slice_age_ms: Annotated[int, Field(ge=50, le=10_000)] = 1000
    gateway_lease_ms: Annotated[int, Field(ge=50, le=10_000)] = 1000
    ping_ms: Annotated[int, Field(ge=250, le=2000)] = 1000


class BrainSpec(Settings):
    """One brain. `name` None: `<strategy>-<first symbol>`. `params` are validated by the strategy itself."""

    strategy: Annotated[str, Field(min_length=1)]
    symbols: Annotated[list[Symbol], Field(min_length=1, max_length=200)]
    name: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] = None
    account: str = "main"
    params: Annotated[dict[str, Any], Field(default_factory=dict)]

    @property
    def full_name(self) -> str:
        return self.name or default_name(self.strategy, self.symbols)


def default_name(strategy: str, symbols: list[str]) -> str:
    """`macd-BTCUSDT`; for a file of one's own its name without folder and ending."""
    file_name = strategy.partition(":")[0]
    short = PurePath(file_name).stem if file_name.endswith(".py") else strategy
    return f"{short}-{symbols[0]}"
