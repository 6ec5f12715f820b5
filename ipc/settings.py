"""Settings that several processes share: `redis`, `log`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ipc.redaction import hide_url_password

_SCHEMES = ("unix://", "redis://", "rediss://")


class Settings(BaseModel):
    """Base of every section's model: unknown keys are faults, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RedisSettings(Settings):
    """`url` None: the supervisor starts a private server and hands its URL on."""

    url: Annotated[str | None, Field(repr=False)] = None
    connect_timeout_ms: Annotated[int, Field(ge=10, le=60_000)] = 1000
    max_memory_mb: Annotated[int, Field(ge=16, le=65_536)] = 256

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(_SCHEMES):
            raise ValueError(f"must start with {', '.join(_SCHEMES)}")
        return url

    @property
    def shown_url(self) -> str:
        """For people: without the password."""
        return hide_url_password(self.url) if self.url else "(private server)"


class LogSettings(Settings):
    """`format` auto: readable on a terminal, JSON lines otherwise. `file` may hold `{process}`; it rotates at
    `max_bytes`, keeping `backups` older ones."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"
    file: str | None = None
    max_bytes: Annotated[int, Field(ge=100_000, le=10_000_000_000)] = 20_000_000
    backups: Annotated[int, Field(ge=0, le=100)] = 5
