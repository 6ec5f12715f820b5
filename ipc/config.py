"""`config.json`, with overrides from the environment and from a credentials directory (design sections 8 and 10).

Precedence, highest first: environment variables (`BRAINSTEM_`, `__` between levels), credential files, the JSON file,
built-in defaults. An API key that comes from two of these with different values is a fault: which account would trade
must never depend on an order of precedence.

Each process validates its own section with its own model (`Config.section`); names of sections, the environment and
where keys may come from are checked here, once for all. Every fault is reported by its path, all of them at once, and
no message ever quotes a value that could be a secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from pydantic import SecretStr, TypeAdapter, ValidationError

from ipc.config_sources import SECRET_KEYS, merged_document, wrap_secrets
from ipc.faults import ConfigError, Fault, near
from ipc.redaction import hide_url_password, redacted, secrets_in, url_password
from ipc.sections import SECTIONS

ENVIRONMENTS = ("simex", "paper", "testnet", "mainnet")
SIMULATED = frozenset({"simex", "paper"})
SIMEX_KEY = "simex"

__all__ = ["ENVIRONMENTS", "SIMULATED", "Config", "ConfigError", "Fault", "Keys", "load", "read_args"]

_URLS = (("redis", "url"), ("venue", "proxy"))  # settings whose URL may hold a password
_LISTS = frozenset({"brains"})
_PLAIN = frozenset({"environment", "mainnet_confirmed", "state_dir", "run_dir"})

_ACCOUNT = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$")

T = TypeVar("T")


class Keys(NamedTuple):
    api_key: SecretStr
    api_secret: SecretStr


class Config:
    """One merged, centrally checked document; sections are validated by whoever owns them.

    Attributes: `environment` (one of `ENVIRONMENTS`), `path` (the file, or None), `warnings` (say them once, aloud).
    """

    def __init__(self, document: dict[str, Any], path: Path | None, warnings: list[str]) -> None:
        self._document = document
        self.path = path
        self.warnings = warnings
        self.environment: str = document["environment"]

    def __repr__(self) -> str:
        return f"Config(environment={self.environment!r}, path={str(self.path)!r}, sections={sorted(self._document)})"

    @property
    def source(self) -> str:
        return str(self.path) if self.path is not None else "built-in defaults"

    @property
    def folder(self) -> Path:
        """What relative paths in the file are relative to."""
        return self.path.resolve().parent if self.path is not None else Path.cwd()

    def raw(self, name: str) -> Any:
        """A section as it stands (secrets wrapped in SecretStr), or its empty form."""
        if name not in SECTIONS:
            raise KeyError(f"{name!r} is not in ipc.sections.SECTIONS")
        empty: Any = [] if name in _LISTS else None if name in _PLAIN else {}
        return self._document.get(name, empty)

    def section(self, name: str, kind: type[T]) -> T:
        """Validate one section with a pydantic model (or any type pydantic knows). Raises ConfigError."""
        try:
            return TypeAdapter(kind).validate_python(self.raw(name))
        except ValidationError as error:
            raise ConfigError(list(_faults_of(error, name, kind)), self.source) from None

    def keys(self, account: str) -> Keys:
        """The account's API key and secret; for gateways only. Raises ConfigError where one is missing."""
        held = self.raw("accounts").get(account, {})
        missing = [name for name in ("api_key", "api_secret") if not isinstance(held.get(name), SecretStr)]
        if missing:
            raise ConfigError(
                [
                    Fault(
                        f"accounts.{account}.{name}",
                        f"is missing, and environment {self.environment} needs it",
                        f"Set BRAINSTEM_ACCOUNTS__{account.upper()}__{name.upper()}, or give the credential file "
                        f"brainstem_accounts__{account.lower()}__{name}",
                    )
                    for name in missing
                ],
                self.source,
            )
        return Keys(held["api_key"], held["api_secret"])

    def secret_values(self) -> frozenset[str]:
        """Every secret text of this configuration, for log redaction. The simulator's public key is none."""
        found = {text for text in secrets_in(self._document) if text and text != SIMEX_KEY}
        for section, key in _URLS:
            held = self.raw(section)
            url = held.get(key) if isinstance(held, dict) else None
            if isinstance(url, str) and (password := url_password(url)):
                found.add(password)
                found.add(quote(password, safe=""))  # as it stands in the URL
        return frozenset(found)

    def redacted(self) -> dict[str, Any]:
        """The merged document as JSON values, secrets replaced: safe to print."""
        shown = redacted(self._document)
        for section, key in _URLS:
            if isinstance(shown.get(section), dict) and isinstance(shown[section].get(key), str):
                shown[section][key] = hide_url_password(shown[section][key])
        result: dict[str, Any] = shown
        return result


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Read, override, check. `path` None means built-in defaults; a named file that is not there is a fault.

    Raises ConfigError with every fault found.
    """
    source = str(path) if path is not None else "built-in defaults"
    document_of_file = _read(path) if path is not None else {}
    faults = list(_unknown_sections(document_of_file))
    known = {name: value for name, value in document_of_file.items() if name in SECTIONS}
    document, origins, more = merged_document(known, environ)
    faults += more
    document.setdefault("environment", "simex")
    faults += _environment_faults(document)
    faults += _shape_faults(document)
    warnings: list[str] = []
    if not faults:
        faults += _key_faults(document, origins, warnings)
    if faults:
        raise ConfigError(faults, source)
    wrap_secrets(document)
    return Config(document, path, warnings)


def read_args(path: str | None, environ: Mapping[str, str]) -> Config:
    """What every command line does with `--config`: the named file, else ./config.json if there is one, else none."""
    if path is not None:
        return load(Path(path), environ)
    default = Path("config.json")
    return load(default if default.is_file() else None, environ)


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError([Fault("(file)", "is not there", "Give its path with --config")], str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        what = f"cannot be read ({type(error).__name__})"
        raise ConfigError([Fault("(file)", what, "Check its owner, mode and encoding (UTF-8)")], str(path)) from None
    try:
        document = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constants)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ConfigError(
            [Fault("(file)", f"is not JSON: {error.msg} at {where}", "Mend it there")], str(path)
        ) from None
    except ValueError as error:
        raise ConfigError([Fault("(file)", str(error), "Keep one of them")], str(path)) from None
    if not isinstance(document, dict):
        raise ConfigError([Fault("(file)", "is not one JSON object", "Start it with {")], str(path))
    return document


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen:
            raise ValueError(f"the key {key!r} stands twice in one object")
        seen[key] = value
    return seen


def _no_constants(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _unknown_sections(document: Mapping[str, Any]) -> Iterator[Fault]:
    for name in document:
        if name not in SECTIONS:
            yield Fault(name, "is nobody's section", near(name, SECTIONS))


def _environment_faults(document: Mapping[str, Any]) -> Iterator[Fault]:
    name = document["environment"]
    if not isinstance(name, str) or name not in ENVIRONMENTS:
        yield Fault("environment", f"{name!r} is no environment", near(str(name), ENVIRONMENTS))
    elif name == "mainnet" and document.get("mainnet_confirmed") is not True:
        yield Fault(
            "mainnet_confirmed",
            "mainnet trades real money and needs a second confirmation",
            "Set mainnet_confirmed to true as well, or choose simex, paper or testnet",
        )
    if not isinstance(document.get("mainnet_confirmed", False), bool):
        yield Fault("mainnet_confirmed", "is neither true nor false", "Set it to true or leave it out")


def _shape_faults(document: Mapping[str, Any]) -> Iterator[Fault]:
    for name, value in document.items():
        if name in ("state_dir", "run_dir"):
            if value is not None and (not isinstance(value, str) or not value):
                yield Fault(name, "is not a path", "Give a text, or leave it out")
        elif name in _LISTS:
            if not isinstance(value, list):
                yield Fault(name, "is not a list", "Write [ ... ]")
        elif name not in _PLAIN and not isinstance(value, dict):
            yield Fault(name, "is not an object", "Write { ... }")
    accounts = document.get("accounts")
    if isinstance(accounts, dict):
        for account, held in accounts.items():
            if not _ACCOUNT.match(account) or "__" in account:
                yield Fault(f"accounts.{account}", "is no account name", "Use letters, digits, '.', '_' and '-'")
            if not isinstance(held, dict):
                yield Fault(f"accounts.{account}", "is not an object", "Write { ... }")


def _key_faults(document: dict[str, Any], origins: Mapping[str, str], warnings: list[str]) -> Iterator[Fault]:
    """Where keys may stand, by environment. Gives the simulator's own key where an account has none there."""
    environment = document["environment"]
    if environment in SIMULATED:
        document.setdefault("accounts", {}).setdefault("main", {})
    for account, held in document.get("accounts", {}).items():
        for name in SECRET_KEYS:
            path = f"accounts.{account}.{name}"
            value = held.get(name)
            if value is None:
                held.pop(name, None)
                if environment in SIMULATED:
                    held[name] = SIMEX_KEY
                continue
            if not isinstance(value, str) or not value.strip():
                yield Fault(path, "is not a text, or is empty", "Put the key between quotes")
            elif environment == "mainnet" and origins.get(path, "file") == "file":
                yield Fault(
                    path,
                    "a mainnet key does not belong in a file that is copied, shown and backed up",
                    "Take it out, replace the key, then set "
                    f"BRAINSTEM_ACCOUNTS__{account.upper()}__{name.upper()} or use a systemd credential",
                )
            elif environment == "testnet" and origins.get(path, "file") == "file":
                warnings.append(
                    f"{path} stands in the configuration file: every process that reads it sees the key. Fine for the "
                    f"test environment; better in BRAINSTEM_ACCOUNTS__{account.upper()}__{name.upper()}"
                )


def _faults_of(error: ValidationError, name: str, kind: Any) -> Iterator[Fault]:
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        path = name
        for part in item["loc"]:
            path += f"[{part}]" if isinstance(part, int) else f".{part}"
        if item["type"] == "extra_forbidden":
            known = _fields_at(kind, item["loc"][:-1])
            yield Fault(path, "is not known here", near(str(item["loc"][-1]), known) if known else "Take it out")
        elif item["type"] == "missing":
            yield Fault(path, "is missing", "Add it")
        else:
            yield Fault(path, item["msg"], "Correct the value")


def _fields_at(kind: Any, loc: tuple[Any, ...]) -> list[str]:
    """Field names of the model that `loc` leads to, for near matches; empty where that cannot be told."""
    for part in loc:
        kind = _optional(kind)
        fields = getattr(kind, "model_fields", None)
        if fields is not None and part in fields:
            kind = fields[part].annotation
        else:  # a list's item or a mapping's value
            arguments = [a for a in getattr(kind, "__args__", ()) if a is not Ellipsis]
            kind = arguments[-1] if arguments else None
    return list(getattr(_optional(kind), "model_fields", {}))


def _optional(kind: Any) -> Any:
    """`X` of `X | None`."""
    arguments = getattr(kind, "__args__", ())
    if type(None) not in arguments:
        return kind
    return next((a for a in arguments if a is not type(None)), None)
