"""Settings that several processes share: `redis`, `log`, `simex`, `supervisor`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from ipc.redaction import hide_url_password

_SCHEMES = ("unix://", "redis://", "rediss://")


def _symbol(text: str) -> str:
    """As the exchange writes them: letters of any script (upper case where there is one), digits, `_`."""
    if not 1 <= len(text) <= 40 or not text.replace("_", "").isalnum() or text != text.upper():
        raise ValueError(f"{text!r} is no symbol: upper-case letters, digits and _ only, like BTCUSDT")
    return text


Symbol = Annotated[str, AfterValidator(_symbol)]


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


class SimexSettings(Settings):
    """The simulated exchange: `rest` and `ws` where one runs already, else how the supervisor starts one.

    `port` 0 takes a free one, kept over restarts. `symbols` empty: those of the accounts. `upstream_rest` and
    `upstream_ws`: the exchange whose public market environment `paper` shows; the exchange's own by default.
    """

    rest: str | None = None
    ws: str | None = None
    port: Annotated[int, Field(ge=0, le=65_535)] = 0
    seed: Annotated[int | None, Field(ge=0, lt=2**63)] = None
    symbols: tuple[Symbol, ...] = ()
    replay: str | None = None
    keep_times: bool = False
    speed: Annotated[str | None, Field(pattern=r"^([0-9]+(\.[0-9]+)?|max)$")] = None
    accounts: str | None = None
    upstream_rest: Annotated[str | None, Field(pattern=r"^https?://")] = None
    upstream_ws: Annotated[str | None, Field(pattern=r"^wss?://")] = None

    @model_validator(mode="after")
    def _both_or_none(self) -> SimexSettings:
        if (self.rest is None) != (self.ws is None):
            raise ValueError("rest and ws belong together: give both, or neither to have one started")
        return self

    @property
    def is_started_here(self) -> bool:
        return self.rest is None


class SupervisorSettings(Settings):
    """A process that ends is started again after `first_backoff_ms`, doubling up to `max_backoff_ms`; more than
    `max_restarts` within `window_s` and it is given up. A process that ran for `window_s` starts afresh."""

    max_restarts: Annotated[int, Field(ge=0, le=1000)] = 10
    window_s: Annotated[float, Field(ge=1, le=86_400)] = 60
    first_backoff_ms: Annotated[int, Field(ge=0, le=60_000)] = 100
    max_backoff_ms: Annotated[int, Field(ge=0, le=600_000)] = 5000
    ready_timeout_s: Annotated[float, Field(ge=1, le=600)] = 30
    stop_timeout_s: Annotated[float, Field(ge=1, le=600)] = 10
    max_log_bytes: Annotated[int, Field(ge=100_000, le=10_000_000_000)] = 20_000_000
