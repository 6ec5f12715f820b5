"""The demo's own world: a fresh private folder with its configuration; nothing of the user's set-up is touched."""

from __future__ import annotations

import json
import random
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from ipc.faults import ConfigError, Fault
from ipc.paths import checked_socket_path

DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT")
MAX_RECORDED_SYMBOLS = 2  # each has a brain, and a brain is a process; more by --symbols
ROOM_MB = 100
_LINES_LOOKED_AT = 20_000
_PREFIX = "brainstem-demo-"
_SYMBOL = re.compile(r"[A-Z0-9_]{1,32}")


def fresh_folder() -> Path:
    """Private (0700), where its sockets fit and there is room. Raises ConfigError where there is no such place."""
    faults = []
    for parent in dict.fromkeys((tempfile.gettempdir(), "/tmp")):
        fault = _unfit(parent)
        if fault is None:
            return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        faults.append(fault)
    raise ConfigError(faults, "demo")


def _unfit(parent: str) -> Fault | None:
    """Why the demo's folder cannot be in `parent`."""
    fix = "Set TMPDIR to a folder with a short path, of a disk with room, that you may write"
    try:
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent) as tried:
            checked_socket_path(Path(tried) / "redis.sock")
            free_mb = shutil.disk_usage(tried).free // 1_000_000
    except ConfigError as error:
        return Fault("TMPDIR", error.faults[0].what, fix)
    except OSError as error:
        return Fault("TMPDIR", f"{parent} cannot be used ({error.strerror})", fix)
    if free_mb < ROOM_MB:
        return Fault("TMPDIR", f"{parent} has {free_mb} MB left, journals and logs need {ROOM_MB}", fix)
    return None


def new_seed() -> int:
    return random.SystemRandom().randrange(1_000_000)


def symbols_for(given: str | None, replay: Path | None) -> tuple[str, ...]:
    """What was asked for, else what the recording holds, else the default. Raises ConfigError."""
    if given is not None:
        symbols = tuple(dict.fromkeys(word.strip().upper() for word in given.split(",") if word.strip()))
        wrong = [symbol for symbol in symbols if not _SYMBOL.fullmatch(symbol)]
        if wrong or not symbols:
            what = f"{wrong[0]!r} is no symbol" if wrong else "names no symbol"
            raise ConfigError([Fault("--symbols", what, "Write for example BTCUSDT,ETHUSDT")], "demo")
        return symbols
    return _recorded_symbols(replay) if replay is not None else DEFAULT_SYMBOLS


def _recorded_symbols(path: Path) -> tuple[str, ...]:
    from simex.market.recording import DEPTH, BadRecording, Recording

    if not path.is_file():
        raise ConfigError([Fault("--replay", f"there is no file {path}", "Name a recorded USDⓈ-M session")], "demo")
    try:
        lines = islice(Recording(path).lines(), _LINES_LOOKED_AT)
        found = tuple(dict.fromkeys(line.symbol for line in lines if line.kind == DEPTH))
    except (BadRecording, OSError) as error:
        raise ConfigError([Fault("--replay", str(error), "Name a recorded USDⓈ-M session")], "demo") from None
    if not found:
        raise ConfigError([Fault("--replay", f"{path} holds no depth stream", "Name another session")], "demo")
    return found[:MAX_RECORDED_SYMBOLS]


def brains_for(symbols: Sequence[str]) -> list[dict[str, Any]]:
    """One brain a symbol. The order-book strategy trades soon, so it always has one; macd the first of several."""
    kinds = ["obi"] if len(symbols) == 1 else ["macd", *["obi"] * (len(symbols) - 1)]
    return [
        {"name": f"{kind}-{symbol}", "strategy": kind, "symbols": [symbol]}
        for kind, symbol in zip(kinds, symbols, strict=True)
    ]


def write_config(
    folder: Path, symbols: Sequence[str], *, seed: int, replay: Path | None = None, speed: str | None = None
) -> Path:
    simex: dict[str, Any] = {"seed": seed}
    if speed is not None:
        simex["speed"] = speed
    if replay is not None:
        simex["replay"] = str(replay.resolve())
    document = {
        "environment": "simex",
        "state_dir": str(folder / "state"),
        "run_dir": str(folder),
        "accounts": {"main": {"symbols": list(symbols)}},
        "simex": simex,
        "brains": brains_for(symbols),
    }
    path = folder / "config.json"
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path


def clean_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Without the user's own Brainstem settings and keys: the demo never touches a real account."""
    kept = {name: value for name, value in environ.items() if not name.startswith("BRAINSTEM_")}
    kept.pop("CREDENTIALS_DIRECTORY", None)
    return kept


def processes_of(folder: Path, *, but: int) -> list[str]:
    """Every running process that has to do with `folder` (by command line or environment), other than `but`."""
    mark = str(folder).encode()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        pid = int(path.name)
        try:
            if (
                pid == but
                or (path / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2][1] in "ZX"
            ):
                continue
            command = (path / "cmdline").read_bytes()
            if mark in command or mark in (path / "environ").read_bytes():
                found.append(f"{pid} {command.replace(bytes(1), b' ').decode('utf-8', 'replace')[:80]}")
        except (FileNotFoundError, ProcessLookupError, PermissionError):  # ended meanwhile, or another user's
            continue
    return found
