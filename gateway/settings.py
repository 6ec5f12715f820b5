"""The sections of `config.json` a gateway reads: `accounts`, `gateway`, `venue`, `simex`, and names in `brains`.

Figures of the parts (`gateway.market`, `gateway.links`, `gateway.orders`) are the parts' own dataclasses: one
declaration serves the core and the file. Every time says its unit in its name.
"""

from __future__ import annotations

import dataclasses
import pwd
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator

from gateway.core.account_settings import AccountWish, SymbolWish
from gateway.core.market_settings import LinkSettings, MarketSettings
from gateway.core.market_venue import Endpoints
from gateway.core.order_settings import OrderSettings
from gateway.core.rights import Grant
from gateway.shell.dial import LOOPBACK, Bypass, Dialler, IpFamily, proxy_address
from gateway.venues.adapter import Adapter
from gateway.venues.registry import ADAPTERS, DEFAULT
from ipc.config import Config
from ipc.faults import ConfigError, Fault, near
from ipc.settings import Settings, SimexSettings, Symbol
from ipc.wire import Interval
from rules.risk import Limits

Symbols = Annotated[tuple[Symbol, ...], Field(max_length=200)]
Leverage = Annotated[int, Field(ge=1, le=125)]
MarginType = Literal["crossed", "isolated"]


class RightsSettings(Settings):
    """What one user may do on the socket; everybody who can open it may read. Absent lists mean any. `user` names the
    user where `uid` is not the same on every machine: one of both."""

    uid: Annotated[int | None, Field(ge=0)] = None
    user: Annotated[str | None, Field(min_length=1)] = None
    trade: bool = False
    admin: bool = False
    brains: tuple[str, ...] | None = None
    symbols: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> RightsSettings:
        if (self.uid is None) == (self.user is None):
            raise ValueError("give either uid or user")
        return self

    def grant(self) -> Grant:
        """Raises KeyError where this machine has no such user."""
        return Grant(
            self.uid if self.uid is not None else pwd.getpwnam(str(self.user)).pw_uid,
            trade=self.trade,
            admin=self.admin,
            brains=None if self.brains is None else frozenset(self.brains),
            symbols=None if self.symbols is None else frozenset(self.symbols),
        )


class SymbolSetting(Settings):
    """What the exchange should have for one symbol; absent: the account's own value, or as it is."""

    leverage: Leverage | None = None
    margin_type: MarginType | None = None


class LimitSettings(Settings):
    """Risk limits of the account. Notionals in the quote currency; null is no limit."""

    max_order_notional: Annotated[Decimal, Field(gt=0)] | None = Decimal(20_000)
    max_position_notional: Annotated[Decimal, Field(gt=0)] | None = Decimal(50_000)
    price_band: Annotated[Decimal, Field(gt=0, le=1)] | None = Decimal("0.02")
    orders_per_s: Annotated[int, Field(ge=1, le=1000)] = 25
    orders_burst: Annotated[int, Field(ge=1, le=1000)] = 30

    def limits(self) -> Limits:
        return Limits(**self.model_dump())


class AccountSettings(Settings):
    """One account. Keys come from the environment or a credentials directory (see `ipc.config`).

    Leverage, margin type and position mode are set while flat (at start, and again where somebody
    else has changed them); null leaves them as they are.
    """

    api_key: SecretStr | None = None
    api_secret: SecretStr | None = None
    symbols: Symbols = ()
    intervals: tuple[Interval, ...] = ()
    position_mode: Literal["one_way", "hedge"] | None = None
    leverage: Leverage | None = 5
    margin_type: MarginType | None = None
    max_leverage: Leverage = 10
    per_symbol: dict[str, SymbolSetting] = Field(default_factory=dict)
    limits: LimitSettings = LimitSettings()
    rights: tuple[RightsSettings, ...] = ()

    def wish(self) -> AccountWish:
        default = SymbolWish(self.leverage, self.margin_type)
        named = {
            symbol: SymbolWish(one.leverage or self.leverage, one.margin_type or self.margin_type)
            for symbol, one in self.per_symbol.items()
        }
        return AccountWish(self.position_mode, self.max_leverage, default, named)


class GatewaySettings(Settings):
    """How the gateway works. `durability` power survives loss of power, at milliseconds an order.

    `flatten_after_ms`: how long after the end of a brain's lease its position is closed, or `keep`. `keep_days` and
    `keep_events`: how long the journal remembers what is over, and how many events at most.
    """

    durability: Literal["crash", "power"] = "crash"
    lease_ms: Annotated[int, Field(ge=200, le=60_000)] = 3000
    flatten_after_ms: Annotated[int, Field(ge=0, le=3_600_000)] | Literal["keep"] = 10_000
    stop_within_ms: Annotated[int, Field(ge=100, le=60_000)] = 8000
    max_unanswered: Annotated[int, Field(ge=1, le=10_000)] = 64
    order_connections: Annotated[int, Field(ge=1, le=32)] = 8
    warm_connections: Annotated[int, Field(ge=1, le=8)] = 2
    keep_days: Annotated[int, Field(ge=4, le=3650)] = 30
    keep_events: Annotated[int, Field(ge=100_000, le=100_000_000)] = 1_000_000
    status_line_s: Annotated[float, Field(ge=1, le=3600)] = 60
    market: MarketSettings = MarketSettings()
    links: LinkSettings = LinkSettings()
    orders: OrderSettings = OrderSettings()

    @model_validator(mode="after")
    def _in_range(self) -> GatewaySettings:
        for name in ("market", "links", "orders"):
            for field, value in dataclasses.asdict(getattr(self, name)).items():
                numbers = value if isinstance(value, tuple) else (value,)
                if any(isinstance(number, int) and number < 0 for number in numbers):
                    raise ValueError(f"{name}.{field} must not be negative")
        if self.warm_connections > self.order_connections:
            raise ValueError("warm_connections must not be above order_connections")
        return self


class VenueSettings(Settings):
    """The exchange, addresses that replace the environment's own, and the way to them.

    `private` entries hold `{key}`; `ca_file` is a PEM authority. `proxy` is http, socks5 or socks5h (names resolved by
    the proxy) with host and port, `user:password@` before them where it asks for them; REST, orders and streams all go
    through it, but to hosts of `no_proxy` (names, what ends in them, addresses, networks, or `*`). `ip_family` is
    auto, 4 or 6.
    """

    name: str = DEFAULT
    rest: str | None = None
    public: str | None = None
    market: str | None = None
    private: tuple[str, ...] = ()
    ca_file: str | None = None
    proxy: SecretStr | None = None
    no_proxy: tuple[str, ...] = LOOPBACK
    ip_family: IpFamily = "auto"

    @field_validator("name")
    @classmethod
    def _has_adapter(cls, name: str) -> str:
        if name not in ADAPTERS:
            raise ValueError(f"{name!r} is no exchange here; known: {', '.join(ADAPTERS)}")
        return name

    @field_validator("ip_family", mode="before")
    @classmethod
    def _as_text(cls, family: Any) -> Any:
        return str(family) if family in (4, 6) else family

    @field_validator("proxy")
    @classmethod
    def _is_proxy(cls, proxy: SecretStr | None) -> SecretStr | None:
        if proxy is not None:
            proxy_address(proxy.get_secret_value())
        return proxy

    @field_validator("no_proxy")
    @classmethod
    def _are_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        Bypass(hosts)
        return hosts

    def dialler(self) -> Dialler:
        """The one way to the exchange."""
        proxy = None if self.proxy is None else proxy_address(self.proxy.get_secret_value())
        return Dialler(proxy, no_proxy=self.no_proxy, ip_family=self.ip_family)


class BrainName(Settings):
    """The part of an entry of `brains` that concerns a gateway; the rest is the brain's."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    symbols: tuple[str, ...] = ()
    account: str = "main"


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """Everything one gateway process is told, validated."""

    account: str
    environment: str
    account_settings: AccountSettings
    gateway: GatewaySettings
    venue: VenueSettings
    adapter: Adapter
    endpoints: Endpoints
    symbols: tuple[str, ...]
    ca_file: Path | None

    def order_settings(self) -> OrderSettings:
        """Figures of the order path with this account's limits."""
        return dataclasses.replace(self.gateway.orders, limits=self.account_settings.limits.limits())


def plan(config: Config, account: str, symbols: tuple[str, ...] = ()) -> Plan:
    """Raises ConfigError with every fault of these sections. `symbols` replaces the configured ones."""
    faults: list[Fault] = []

    def read(name: str, kind: Any) -> Any:
        try:
            return config.section(name, kind)
        except ConfigError as error:
            faults.extend(error.faults)
            return None

    accounts = read("accounts", dict[str, AccountSettings])
    gateway, venue, simex = read("gateway", GatewaySettings), read("venue", VenueSettings), read("simex", SimexSettings)
    brains = read("brains", list[BrainName])
    if not faults and account not in accounts:
        if accounts or account != "main":
            faults.append(Fault(f"accounts.{account}", "is not configured", near(account, accounts or ["main"])))
        else:
            accounts[account] = AccountSettings()
    faults += _users_missing(account, accounts) if not faults else []
    if faults:
        raise ConfigError(faults, config.source)
    adapter = ADAPTERS[venue.name]
    try:
        where = adapter.endpoints(
            config.environment,
            simex_rest=simex.rest,
            simex_ws=simex.ws,
            rest=venue.rest,
            public=venue.public,
            market=venue.market,
            private=venue.private,
        )
    except ValueError as error:
        fix = "Start simex and set BRAINSTEM_SIMEX__REST and BRAINSTEM_SIMEX__WS, or let `brainstem up` start one"
        raise ConfigError([Fault("simex", str(error), fix)], config.source) from None
    of_brains = [symbol for brain in brains if brain.account == account for symbol in brain.symbols]
    wanted = symbols or tuple(dict.fromkeys((*accounts[account].symbols, *of_brains)))
    ca_file = None if venue.ca_file is None else config.folder / Path(venue.ca_file).expanduser()
    return Plan(account, config.environment, accounts[account], gateway, venue, adapter, where, wanted, ca_file)


def _users_missing(account: str, accounts: dict[str, AccountSettings]) -> Iterator[Fault]:
    """Only where the gateway starts: a configuration may be checked on another machine."""
    for number, right in enumerate(accounts[account].rights):
        try:
            right.grant()
        except KeyError:
            path = f"accounts.{account}.rights[{number}].user"
            yield Fault(
                path, f"this machine has no user {right.user!r}", "Make it (deploy/install.sh), or name another"
            )


def check(config: Config) -> None:
    """Validate every section of the gateway for all accounts, without needing keys or a running simulator."""
    faults: list[Fault] = []
    for name, kind in _kinds():
        try:
            config.section(name, kind)
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults, config.source)


def _kinds() -> Iterator[tuple[str, Any]]:
    yield "accounts", dict[str, AccountSettings]
    yield "gateway", GatewaySettings
    yield "venue", VenueSettings
    yield "simex", SimexSettings
