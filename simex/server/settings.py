"""What one simulated exchange is started with."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import fields as dataclass_fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from simex.core.api import AccountSpec
from simex.core.fees import TIERS
from simex.core.rights import Rights
from simex.core.rules import DEFAULT_RULES, Rules
from simex.core.treasury import MAX_TRANSFER
from simex.server.chaos.draw import Setting
from simex.server.limits import LimitSettings
from simex.server.listen_keys import LIFE_MS
from simex.server.public_keys import read_public_key
from simex.server.wire import SocketSettings

DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT")
_ACCOUNT_FIELDS = {
    "name", "api_key", "api_secret", "balances", "hedge", "leverage", "margin_type", "maker_rate", "taker_rate",
    "fee_tier", "fee_burn", "multi_assets", "rights", "public_keys",
}  # fmt: skip
_FLAGS = ("hedge", "fee_burn", "multi_assets")
_MAX_RATE = Decimal("0.01")


class BadSettings(ValueError):
    """A flag or a file of settings is wrong; the text says which and how."""


def default_accounts() -> list[AccountSpec]:
    """Without an accounts file: one account, key and secret `simex`."""
    return [AccountSpec("simex", "simex", "simex")]


@dataclass(frozen=True)
class Upstream:
    """The exchange behind a relay: its public addresses."""

    rest: str = "https://fapi.binance.com"
    ws: str = "wss://fstream.binance.com"
    ca: str | None = None
    """File of an authority to trust there, instead of the system's."""


@dataclass(frozen=True)
class Settings:
    """Everything `simex` is started with. `speed` 0 means as fast as the slowest subscriber takes it."""

    seed: int
    symbols: Sequence[str] = DEFAULT_SYMBOLS
    host: str = "127.0.0.1"
    port: int = 0
    accounts: Sequence[AccountSpec] = field(default_factory=default_accounts)
    relay: Upstream | None = None
    replay: Path | None = None
    bars: Sequence[tuple[str | None, Path]] = ()
    """Files of historical bars and funding rates, each with its symbol where the name does not say it."""
    bars_from_ms: int | None = None
    """Where in the files to begin, in their times; None: a third of the way in."""
    keep_times: bool = False
    speed: float = 1.0
    clock_speed: float = 1.0
    """Seconds that pass here in one of the machine's."""
    clock_start_ms: int | None = None
    """What the clock says at the start; None: the machine's time."""
    tls: bool = False
    certificate: tuple[Path, Path] | None = None
    """Files of a certificate chain and its key, instead of an authority made at the start."""
    retired_urls: bool = False
    unrouted: bool = False
    """Serve everything on the retired unrouted addresses."""
    faults: Sequence[dict[str, Any]] = ()
    chaos: Sequence[dict[str, Any]] = ()
    """Rows of a chaos schedule, counted from the ready line."""
    chaos_drawn: Setting | None = None
    """Faults by seed; its symbols and accounts are those of the exchange."""
    tape: Path | None = None
    """File that gets what was true: books by update id, private events before any fault."""
    state: Path | None = None
    """File that keeps the exchange's state over a restart."""
    funding_hours: Mapping[str, int] = field(default_factory=dict)
    """Hours between two settlements of funding, by symbol, where they shall not be the usual ones of the symbol."""
    limits: LimitSettings = field(default_factory=LimitSettings)
    sockets: SocketSettings = field(default_factory=SocketSettings)
    listen_key_life_ms: int = LIFE_MS
    rules: Rules = DEFAULT_RULES


def read_accounts(path: Path) -> list[AccountSpec]:
    """Accounts from a JSON file: a list of objects with name, api_key, api_secret and optional fields.

    Raises BadSettings; its text never contains a key or secret.
    """
    try:
        rows = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BadSettings(f"accounts file {path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BadSettings(f"accounts file {path}: not JSON") from error
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise BadSettings(f"accounts file {path}: a list of at least one account object is needed")
    accounts = [_account(path, number, row) for number, row in enumerate(rows)]
    for name in ("name", "api_key"):
        if len({getattr(account, name) for account in accounts}) != len(accounts):
            raise BadSettings(f"accounts file {path}: two accounts have the same {name}")
    return accounts


def _account(path: Path, number: int, row: dict[str, Any]) -> AccountSpec:
    where = f"accounts file {path}: account {number}"
    unknown = set(row) - _ACCOUNT_FIELDS
    if unknown:
        raise BadSettings(f"{where}: unknown field {', '.join(sorted(unknown))}")
    for name in ("name", "api_key", "api_secret"):
        if not isinstance(row.get(name), str) or not row[name]:
            raise BadSettings(f"{where}: {name} must be a non-empty text")
    fields = dict(row)
    if "balances" in fields:
        try:
            fields["balances"] = {str(asset): Decimal(str(amount)) for asset, amount in row["balances"].items()}
        except (AttributeError, InvalidOperation) as error:
            raise BadSettings(f"{where}: balances must map assets to decimal amounts") from error
        if not all(amount.is_finite() and 0 <= amount <= MAX_TRANSFER for amount in fields["balances"].values()):
            raise BadSettings(f"{where}: balances must lie between 0 and {MAX_TRANSFER:,}")
    for name in _FLAGS:
        if not isinstance(fields.get(name, False), bool):
            raise BadSettings(f"{where}: {name} must be true or false")
    for name in ("maker_rate", "taker_rate"):
        if name in fields:
            fields[name] = _rate(f"{where}: {name}", fields[name])
    tier = fields.get("fee_tier", 0)
    if not isinstance(tier, int) or isinstance(tier, bool) or not 0 <= tier < len(TIERS):
        raise BadSettings(f"{where}: fee_tier must be a whole number from 0 to {len(TIERS) - 1}")
    for api_key, pem in _public_keys(where, fields).items():
        try:
            read_public_key(pem)
        except ValueError as error:
            raise BadSettings(f"{where}: public_keys: {api_key[:6]}…: {error}") from error
    if "rights" in fields:
        fields["rights"] = _rights(where, fields["rights"])
    leverage = fields.get("leverage", 20)
    if not isinstance(leverage, int) or isinstance(leverage, bool) or not 1 <= leverage <= 125:
        raise BadSettings(f"{where}: leverage must be a whole number from 1 to 125")
    if fields.get("margin_type", "CROSSED") not in ("CROSSED", "ISOLATED"):
        raise BadSettings(f"{where}: margin_type must be CROSSED or ISOLATED")
    return AccountSpec(**fields)


def _public_keys(where: str, fields: dict[str, Any]) -> dict[str, str]:
    keys = fields.get("public_keys", {})
    if not isinstance(keys, dict) or not all(isinstance(pem, str) and api_key for api_key, pem in keys.items()):
        raise BadSettings(f"{where}: public_keys must map API keys to public keys (PEM)")
    return keys


def _rate(where: str, raw: object) -> Decimal:
    """A fee rate as a decimal text; makers may get a rebate, so it may be below zero."""
    try:
        rate = Decimal(str(raw))
    except InvalidOperation as error:
        raise BadSettings(f"{where} must be a decimal number") from error
    if not abs(rate) <= _MAX_RATE:
        raise BadSettings(f"{where} must lie within {-_MAX_RATE} and {_MAX_RATE}")
    return rate


def _rights(where: str, raw: object) -> Rights:
    known = {name.name for name in dataclass_fields(Rights)} - {"created_ms"}
    if not isinstance(raw, dict) or not all(isinstance(value, bool) for value in raw.values()):
        raise BadSettings(f"{where}: rights must map rights to true or false")
    unknown = set(raw) - known
    if unknown:
        raise BadSettings(f"{where}: unknown right {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    return Rights(**raw)


def read_faults(text: str) -> list[dict[str, Any]]:
    """The --faults JSON: one fault object or a list of them. Raises BadSettings."""
    try:
        spec = json.loads(text)
    except ValueError as error:
        raise BadSettings(f"--faults: not JSON: {error}") from error
    rows = spec if isinstance(spec, list) else [spec]
    if not all(isinstance(row, dict) for row in rows):
        raise BadSettings("--faults: a fault is a JSON object")
    return rows
