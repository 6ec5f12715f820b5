"""From configuration to processes: what `brainstem up` runs, in which order, with which environment.

Redis where no URL is configured, simex where the environment is `simex` or `paper` and no address is given, a gateway
for each account, every brain. Their addresses are known before any of them runs (a reserved port, socket paths) and
each waits for what it needs, so they start at the same time and are stopped in the reverse order of the list.
API keys reach gateways only: they are taken out of every other process's environment.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brain.settings import BrainSpec
from ipc import redis_server
from ipc.config import SIMULATED, Config
from ipc.faults import ConfigError, Fault
from ipc.paths import private_redis, run_dir, socket_path, state_dir
from ipc.settings import RedisSettings, SimexSettings, SupervisorSettings
from scripts.reserved_port import ReservedPort
from scripts.restart_policy import RestartPolicy
from scripts.supervised import Spec

_SECRET_VARIABLE = re.compile(r"^BRAINSTEM_ACCOUNTS__.+__API_(KEY|SECRET)$", re.IGNORECASE)
_DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT")

ReadyLines = Mapping[str, dict[str, Any]]


@dataclass(frozen=True)
class Plan:
    """`specs` in start order. `sockets` maps accounts to their gateways' sockets, `redis_url` is what readers use;
    `port` is simex's where one is started: its own over every restart, for as long as the plan lives."""

    specs: tuple[Spec, ...]
    redis_url: str
    private_redis: Path | None
    sockets: Mapping[str, Path]
    brains: tuple[BrainSpec, ...]
    symbols: tuple[str, ...]
    state_dir: Path
    run_dir: Path
    settings: SupervisorSettings
    port: ReservedPort | None

    @property
    def log_dir(self) -> Path:
        return self.state_dir / "logs"

    @property
    def names(self) -> list[str]:
        return [spec.name for spec in self.specs]


def make_plan(config: Config, environ: Mapping[str, str], *, python: str = sys.executable) -> Plan:
    """Raises ConfigError with every fault; starts nothing."""
    if config.path is None:
        fix = "Give a file with --config, or run this where a config.json is"
        raise ConfigError([Fault("(file)", "there is no configuration file to say what to run", fix)])
    check(config)
    settings = config.section("supervisor", SupervisorSettings)
    brains = tuple(config.section("brains", list[BrainSpec]))
    accounts = _accounts(config)
    maker = _Maker(config, environ, settings, brains, accounts, python)
    return maker.plan()


def symbols_of(config: Config, brains: tuple[BrainSpec, ...]) -> tuple[str, ...]:
    """Every symbol some account or brain names, each once, in the file's order."""
    named: list[str] = []
    for held in config.raw("accounts").values():
        named += list(held.get("symbols") or ())
    for brain in brains:
        named += brain.symbols
    return tuple(dict.fromkeys(named)) or _DEFAULT_SYMBOLS


def _accounts(config: Config) -> tuple[str, ...]:
    return tuple(config.raw("accounts")) or ("main",)


def check(config: Config) -> None:
    """What no single section can say: brains and accounts that fit each other. Raises ConfigError."""
    brains, accounts = config.section("brains", list[BrainSpec]), _accounts(config)
    faults = []
    seen: set[str] = set()
    traded: dict[tuple[str, str], str] = {}
    for index, brain in enumerate(brains):
        if brain.full_name in seen:
            faults.append(Fault(f"brains[{index}].name", f"{brain.full_name} is taken by another brain", "Rename one"))
        if brain.account not in accounts:
            fix = f"Name one of: {', '.join(accounts)}"
            faults.append(Fault(f"brains[{index}].account", f"{brain.account} is no account", fix))
        seen.add(brain.full_name)
        for symbol in brain.symbols:
            other = traded.setdefault((brain.account, symbol), brain.full_name)
            if other != brain.full_name:
                fix = "One brain a symbol: take it out of one of them"
                faults.append(Fault(f"brains[{index}].symbols", f"{symbol} is traded by {other} already", fix))
    if faults:
        raise ConfigError(faults, config.source)


class _Maker:
    def __init__(
        self,
        config: Config,
        environ: Mapping[str, str],
        settings: SupervisorSettings,
        brains: tuple[BrainSpec, ...],
        accounts: tuple[str, ...],
        python: str,
    ) -> None:
        self._config = config
        self._path = str(config.path.resolve()) if config.path is not None else ""
        self._settings = settings
        self._brains = brains
        self._accounts = accounts
        self._python = python
        self._symbols = symbols_of(config, brains)
        self._state = state_dir(config, environ).resolve()
        self._run = run_dir(config, environ).resolve()
        self._redis = config.section("redis", RedisSettings)
        self._simex = config.section("simex", SimexSettings)
        self._port = self._reserved() if config.environment in SIMULATED and self._simex.is_started_here else None
        self._private = None if self._redis.url else private_redis(self._run)
        self._environ = {
            **environ,
            "BRAINSTEM_STATE_DIR": str(self._state),
            "BRAINSTEM_RUN_DIR": str(self._run),
            "BRAINSTEM_REDIS__URL": self._redis.url or f"unix://{self._private}",
        }

    def _reserved(self) -> ReservedPort:
        try:
            return ReservedPort(self._simex.port)
        except OSError as error:
            fix = "Choose another, or 0 for any free one; or give rest and ws of what runs there"
            what = f"{self._simex.port} cannot be used ({error.strerror})"
            raise ConfigError([Fault("simex.port", what, fix)], self._config.source) from None

    def plan(self) -> Plan:
        specs: list[Spec] = []
        if self._private is not None:
            specs.append(self._redis_spec(self._private))
        if self._port is not None:
            specs.append(self._simex_spec(self._port))
        specs += [self._gateway_spec(account) for account in self._accounts]
        specs += [self._brain_spec(brain) for brain in self._brains]
        return Plan(
            specs=tuple(specs),
            redis_url=self._environ["BRAINSTEM_REDIS__URL"],
            private_redis=self._private,
            sockets={account: socket_path(self._run, account) for account in self._accounts},
            brains=self._brains,
            symbols=self._symbols,
            state_dir=self._state,
            run_dir=self._run,
            settings=self._settings,
            port=self._port,
        )

    def _redis_spec(self, path: Path) -> Spec:
        command = redis_server.server_command(path, max_memory_mb=self._redis.max_memory_mb)
        bare = {name: value for name, value in self._environ.items() if not name.startswith("BRAINSTEM_")}
        return self._spec("redis", lambda _: command, lambda _: bare, probe=lambda: redis_server.answers(path))

    def _simex_spec(self, port: ReservedPort) -> Spec:
        settings = self._simex

        def command(_: ReadyLines) -> list[str]:
            words = ["--port", str(port.number), "--symbols", ",".join(settings.symbols or self._symbols)]
            for option in ("seed", "replay", "speed", "accounts"):
                value = getattr(settings, option)
                words += [f"--{option}", str(value)] if value is not None else []
            words += ["--keep-times"] if settings.keep_times else []
            if settings.replay is None:  # a recording begins anew, and with it everything that was traded on it
                words += ["--state", str(self._state / f"{self._config.environment}-exchange.json")]
            if self._config.environment == "paper":
                for option in ("upstream_rest", "upstream_ws"):
                    value = getattr(settings, option)
                    words += [f"--{option.replace('_', '-')}", value] if value is not None else []
                words += ["--relay"]
            return self._module("scripts.simex", *words)

        return self._spec("simex", command, lambda _: self._without_keys())

    def _gateway_spec(self, account: str) -> Spec:
        name = "gateway" if len(self._accounts) == 1 else f"gateway-{account}"
        command = self._module("scripts.gateway", "--config", self._path, "--account", account)
        return self._spec(name, lambda _: command, lambda _: {**self._environ, **self._venue()})

    def _brain_spec(self, brain: BrainSpec) -> Spec:
        command = self._module(
            "scripts.brain",
            *("--config", self._path, "--name", brain.full_name, "--strategy", brain.strategy),
            *("--symbol", ",".join(brain.symbols), "--account", brain.account),
        )
        return self._spec(brain.full_name, lambda _: command, lambda _: self._without_keys(), essential=False)

    def _spec(self, name: str, command: Any, env: Any, **more: Any) -> Spec:
        settings = self._settings
        policy = RestartPolicy(
            max_restarts=settings.max_restarts,
            window_s=settings.window_s,
            first_backoff_s=settings.first_backoff_ms / 1000,
            max_backoff_s=settings.max_backoff_ms / 1000,
        )
        return Spec(name=name, command=command, env=env, stop_timeout_s=settings.stop_timeout_s, policy=policy, **more)

    def _module(self, name: str, *words: str) -> list[str]:
        return [self._python, "-P", "-m", name, *words]

    def _venue(self) -> dict[str, str]:
        if self._port is None:
            return {}
        return {"BRAINSTEM_SIMEX__REST": self._port.rest, "BRAINSTEM_SIMEX__WS": self._port.ws}

    def _without_keys(self) -> dict[str, str]:
        return {
            name: value
            for name, value in self._environ.items()
            if not _SECRET_VARIABLE.match(name) and name != "CREDENTIALS_DIRECTORY"
        }
