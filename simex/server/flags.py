"""From command-line flags to checked settings: what is wrong with one is said by its name."""

import argparse
import ipaddress
import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from simex.core.api import AccountSpec
from simex.core.instrument import FUNDING_HOURS
from simex.core.rules import Rules
from simex.server.chaos.draw import Setting
from simex.server.chaos.kinds import FAMILIES, check
from simex.server.chaos.schedule import read_row
from simex.server.clock import MAX_SPEED
from simex.server.limits import LimitSettings
from simex.server.open_rules import read_rules
from simex.server.security import Keyring
from simex.server.settings import BadSettings, Settings, Upstream, default_accounts, read_accounts, read_faults
from simex.server.wire import SocketSettings

_POSITIVE = (
    "ping_every", "pong_within", "life", "listen_key_life", "weight_limit", "order_limit_10s", "order_limit_1m",
    "connect_limit", "buffer_bytes",
)  # fmt: skip


def settings_from(args: argparse.Namespace) -> Settings:
    """Checked settings. Raises BadSettings."""
    symbols = [symbol.strip().upper() for symbol in args.symbols.split(",") if symbol.strip()]
    if not symbols or len(set(symbols)) != len(symbols):
        raise BadSettings("--symbols: at least one symbol, each once")
    if not 0 <= args.port <= 65_535:
        raise BadSettings("--port: 0 to 65535")
    if args.replay is not None and not args.replay.is_file():
        raise BadSettings(f"--replay: no such file: {args.replay}")
    for name in _POSITIVE:
        if not getattr(args, name) > 0:
            raise BadSettings(f"--{name.replace('_', '-')}: must be above 0")
    accounts = default_accounts() if args.accounts is None else read_accounts(args.accounts)
    try:
        Keyring(accounts)
    except ValueError as error:
        raise BadSettings(f"--accounts: {error}") from error
    relay = _upstream(args)
    return Settings(
        seed=secrets.randbelow(2**31) if args.seed is None else args.seed,
        symbols=symbols,
        host=_host(args.host),
        port=args.port,
        accounts=accounts,
        funding_hours=_funding_hours(args.funding_hours, symbols),
        relay=relay,
        replay=args.replay,
        bars=_bars(args),
        bars_from_ms=_moment("--bars-from", args.bars_from),
        keep_times=args.keep_times,
        speed=_speed(args.speed),
        clock_speed=_clock_speed(args),
        clock_start_ms=_clock_start(args),
        tls=args.tls or args.cert is not None,
        certificate=_certificate(args),
        tape=_tape(args),
        state=_state(args.state),
        retired_urls=args.retired_urls or args.unrouted,
        unrouted=args.unrouted,
        faults=_checked([] if args.faults is None else read_faults(args.faults)),
        chaos=[] if args.chaos is None else _schedule(args.chaos),
        chaos_drawn=_drawn(args, symbols, accounts),
        limits=LimitSettings(
            weight_1m=args.weight_limit,
            orders_10s=args.order_limit_10s,
            orders_1m=args.order_limit_1m,
            connects_5m=args.connect_limit,
        ),
        sockets=SocketSettings(
            ping_every_s=args.ping_every,
            pong_within_s=args.pong_within,
            life_s=args.life,
            buffer_bytes=args.buffer_bytes,
        ),
        listen_key_life_ms=int(args.listen_key_life * 1000),
        rules=_rules(args),
    )


def _rules(args: argparse.Namespace) -> Rules:
    shortened = ["countdown_cancels_algos=true"] if args.countdown_cancels_algos else []
    try:
        return read_rules([*args.rule, *shortened])
    except ValueError as error:
        raise BadSettings(f"--rule: {error}") from error


def _state(path: Path | None) -> Path | None:
    if path is not None and path.is_dir():
        raise BadSettings(f"--state: a file is needed, and {path} is a folder")
    return path


def _tape(args: argparse.Namespace) -> Path | None:
    """--tape records a market that is made here; a replay's or a relay's truth is elsewhere already."""
    path: Path | None = args.tape
    if path is not None and (args.relay or args.replay is not None):
        raise BadSettings("--tape: goes with a market that is made here, not with --relay or --replay")
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise BadSettings(f"--tape: a file in a folder that exists is needed, not {path}")
    return path


def _funding_hours(text: str | None, symbols: Sequence[str]) -> dict[str, int]:
    """From SYMBOL=HOURS, by comma."""
    found: dict[str, int] = {}
    for pair in (text or "").split(",") if text else ():
        symbol, _, hours = pair.partition("=")
        if symbol not in symbols:
            raise BadSettings(f"--funding-hours: {symbol or pair!r} is none of {', '.join(symbols)}")
        if hours not in map(str, FUNDING_HOURS):
            raise BadSettings(f"--funding-hours: {symbol} must have one of {', '.join(map(str, FUNDING_HOURS))} hours")
        found[symbol] = int(hours)
    return found


def _host(text: str) -> str:
    if text == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError as error:
        raise BadSettings(f"--host: an IPv4 or IPv6 address, not {text!r}") from error


def _certificate(args: argparse.Namespace) -> tuple[Path, Path] | None:
    if args.cert is None and args.key is None:
        return None
    if args.cert is None or args.key is None:
        raise BadSettings("--cert and --key go together")
    for name, path in (("cert", args.cert), ("key", args.key)):
        if not path.is_file():
            raise BadSettings(f"--{name}: no such file: {path}")
    return args.cert, args.key


def _checked(rows: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    for row in rows:
        try:
            check(row)
        except ValueError as error:
            raise BadSettings(f"--faults: {error}") from error
    return rows


def _schedule(path: Path) -> list[dict[str, Any]]:
    """The rows of a chaos file, each of them checked."""
    try:
        rows = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BadSettings(f"--chaos {path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BadSettings(f"--chaos {path}: not JSON: {error}") from error
    if not isinstance(rows, list):
        raise BadSettings(f"--chaos {path}: a list of rows is needed")
    for number, row in enumerate(rows):
        try:
            read_row(f"row {number}", row)
        except ValueError as error:
            raise BadSettings(f"--chaos {path}: {error}") from error
    return rows


def _drawn(args: argparse.Namespace, symbols: Sequence[str], accounts: Sequence[AccountSpec]) -> Setting | None:
    """What --chaos-seed and its companions ask for."""
    if args.chaos_seed is None:
        for name in ("chaos_families", "chaos_plan"):
            if getattr(args, name) is not None:
                raise BadSettings(f"--{name.replace('_', '-')}: goes with --chaos-seed")
        return None
    if args.chaos_plan is not None and not 0 < args.chaos_plan <= 86_400:
        raise BadSettings("--chaos-plan: seconds above 0 and at most 86400")
    families = FAMILIES if args.chaos_families is None else tuple(args.chaos_families.split(","))
    try:
        names = [account.name for account in accounts]
        tls = args.tls or args.cert is not None
        return Setting(args.chaos_seed, args.chaos_level, symbols, names, tls, families)
    except ValueError as error:
        raise BadSettings(f"--chaos-seed: {error}") from error


def _upstream(args: argparse.Namespace) -> Upstream | None:
    """The exchange to relay, or None."""
    given = [name for name in ("rest", "ws", "ca") if getattr(args, f"upstream_{name}") is not None]
    if not args.relay:
        if given:
            raise BadSettings(f"--upstream-{given[0]}: goes with --relay only")
        return None
    if args.replay is not None:
        raise BadSettings("--relay and --replay exclude each other")
    fields = {name: getattr(args, f"upstream_{name}") for name in given}
    for name, schemes in (("rest", ("http://", "https://")), ("ws", ("ws://", "wss://"))):
        if name in fields and not fields[name].startswith(schemes):
            raise BadSettings(f"--upstream-{name}: must begin with {' or '.join(schemes)}")
    if "ca" in fields and not Path(fields["ca"]).is_file():
        raise BadSettings(f"--upstream-ca: no such file: {fields['ca']}")
    return Upstream(**fields)


def _clock_speed(args: argparse.Namespace) -> float:
    """A clock of its own speed goes with a market that is made here."""
    speed = float(args.clock_speed)
    if not 0 < speed <= MAX_SPEED:
        raise BadSettings(f"--clock-speed: above 0 and at most {MAX_SPEED:g}")
    if speed != 1 and (args.relay or args.replay is not None):
        raise BadSettings("--clock-speed: goes with a market that is made here, not with --relay or --replay")
    return speed


def _bars(args: argparse.Namespace) -> list[tuple[str | None, Path]]:
    """--bars: files by comma, `SYMBOL=FILE` where a name does not say the symbol."""
    if args.bars is None:
        if args.bars_from is not None:
            raise BadSettings("--bars-from: goes with --bars")
        return []
    if args.relay or args.replay is not None:
        raise BadSettings("--bars, --replay and --relay exclude each other")
    if args.keep_times and args.clock_start is not None:
        raise BadSettings("--clock-start: the files say what the time is, with --keep-times")
    found: list[tuple[str | None, Path]] = []
    for word in args.bars.split(","):
        symbol, named, path = word.rpartition("=")
        if not Path(path).is_file():
            raise BadSettings(f"--bars: no such file: {path}")
        found.append((symbol.upper() if named else None, Path(path)))
    return found


def _clock_start(args: argparse.Namespace) -> int | None:
    """--clock-start in ms."""
    if args.clock_start is not None and (args.relay or args.replay is not None):
        raise BadSettings("--clock-start: goes with a market that is made here, not with --relay or --replay")
    return _moment("--clock-start", args.clock_start)


def _moment(flag: str, text: str | None) -> int | None:
    """An ISO time (UTC where it names no zone) in ms."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadSettings(f"{flag}: not an ISO time: {text!r}") from error
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    if not 2017 <= moment.year <= 2199:
        raise BadSettings(f"{flag}: a year from 2017 to 2199")
    return int(moment.timestamp() * 1000)


def _speed(text: str) -> float:
    """0 for "max"."""
    if text == "max":
        return 0.0
    try:
        speed = float(text)
    except ValueError as error:
        raise BadSettings(f"--speed: a number or max, not {text!r}") from error
    if not 0 < speed <= 10_000:
        raise BadSettings("--speed: above 0 and at most 10000, or max")
    return speed
