"""Where state and sockets live (design section 3). Relative paths in the file are relative to the file's folder."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ipc.config import Config
from ipc.faults import ConfigError, Fault
from ipc.settings import RedisSettings

# sun_path holds 108 bytes with its closing zero
MAX_SOCKET_PATH_BYTES = 107


def state_dir(config: Config, environ: Mapping[str, str], *, create: bool = True) -> Path:
    """Journals and checkpoints: the setting, else $STATE_DIRECTORY, else the XDG state folder. Made private (0700)."""
    given = config.raw("state_dir")
    if given is not None:
        path = _from_setting(config, given)
    elif environ.get("STATE_DIRECTORY"):
        path = Path(environ["STATE_DIRECTORY"].split(":")[0])
    elif environ.get("XDG_STATE_HOME"):
        path = Path(environ["XDG_STATE_HOME"]) / "brainstem"
    else:
        path = Path(environ.get("HOME") or Path.home()) / ".local" / "state" / "brainstem"
    return _made(path, "state_dir") if create else path


def run_dir(config: Config, environ: Mapping[str, str], *, create: bool = True) -> Path:
    """Sockets: the setting, else $RUNTIME_DIRECTORY, else $XDG_RUNTIME_DIR/brainstem, else a folder of the user's own
    under the temporary one. The last is refused unless it belongs to this user and to nobody else."""
    given = config.raw("run_dir")
    if given is not None:
        path = _from_setting(config, given)
    elif environ.get("RUNTIME_DIRECTORY"):
        path = Path(environ["RUNTIME_DIRECTORY"].split(":")[0])
    elif environ.get("XDG_RUNTIME_DIR"):
        path = Path(environ["XDG_RUNTIME_DIR"]) / "brainstem"
    else:
        path = Path(environ.get("TMPDIR") or tempfile.gettempdir()) / f"brainstem-{os.getuid()}"
        if create:
            _made(path, "run_dir")
            _check_private(path)
    return _made(path, "run_dir") if create else path


def socket_path(run_dir_: Path, account: str) -> Path:
    """`<run_dir>/<account>.sock`. Raises ConfigError where the kernel could not hold it."""
    return checked_socket_path(run_dir_ / f"{account}.sock")


def private_redis(run_dir_: Path) -> Path:
    """Socket of the server that a supervisor starts where no URL is configured."""
    return run_dir_ / "redis.sock"


def redis_url(config: Config, environ: Mapping[str, str]) -> str:
    """Where to read: the configured server, else the private one of this run folder. Raises ConfigError."""
    url = config.section("redis", RedisSettings).url
    return url or f"unix://{private_redis(run_dir(config, environ, create=False))}"


def checked_socket_path(path: Path) -> Path:
    length = len(os.fsencode(path))
    if length > MAX_SOCKET_PATH_BYTES:
        fix = "Set run_dir (or BRAINSTEM_RUN_DIR) to a shorter path"
        raise ConfigError(
            [
                Fault(
                    "run_dir",
                    f"the socket {path} has {length} bytes, at most {MAX_SOCKET_PATH_BYTES} are possible",
                    fix,
                )
            ]
        )
    return path


def _from_setting(config: Config, given: str) -> Path:
    path = Path(given).expanduser()
    return path if path.is_absolute() else config.folder / path


def _made(path: Path, setting: str) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        what = f"{path} cannot be made ({error.strerror})"
        raise ConfigError([Fault(setting, what, "Name a folder this user may write")]) from None
    return path


def _check_private(path: Path) -> None:
    """Under a folder that all may write, somebody else could have made it first."""
    held = path.lstat()
    if not stat.S_ISDIR(held.st_mode) or held.st_uid != os.getuid() or held.st_mode & 0o077:
        what = f"{path} is not a private folder of this user"
        raise ConfigError([Fault("run_dir", what, "Remove it (chmod 700 if it is yours) or set run_dir")])
