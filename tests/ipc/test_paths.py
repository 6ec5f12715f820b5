"""Where state and sockets live: each rule of precedence, private folders, and the kernel's limit on socket paths."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ipc.config import Config, load
from ipc.faults import ConfigError
from ipc.paths import run_dir as find_run_dir
from ipc.paths import socket_path, state_dir


def config(folder: Path, **document: str) -> Config:
    path = folder / "config.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return load(path, {})


def test_state_setting_then_systemd_then_xdg_then_home(tmp_path: Path) -> None:
    environ = {
        "STATE_DIRECTORY": f"{tmp_path}/sd:/other",
        "XDG_STATE_HOME": f"{tmp_path}/xdg",
        "HOME": f"{tmp_path}/home",
    }
    assert state_dir(config(tmp_path, state_dir="mine"), environ) == tmp_path / "mine"  # relative to the file
    plain = config(tmp_path)
    assert state_dir(plain, environ) == tmp_path / "sd"
    del environ["STATE_DIRECTORY"]
    assert state_dir(plain, environ) == tmp_path / "xdg" / "brainstem"
    del environ["XDG_STATE_HOME"]
    assert state_dir(plain, environ) == tmp_path / "home" / ".local" / "state" / "brainstem"


def test_run_setting_then_systemd_then_xdg_then_a_private_temporary_folder(tmp_path: Path) -> None:
    environ = {"RUNTIME_DIRECTORY": f"{tmp_path}/rd", "XDG_RUNTIME_DIR": f"{tmp_path}/xdg", "TMPDIR": str(tmp_path)}
    assert find_run_dir(config(tmp_path, run_dir=f"{tmp_path}/mine"), environ) == tmp_path / "mine"
    plain = config(tmp_path)
    assert find_run_dir(plain, environ) == tmp_path / "rd"
    del environ["RUNTIME_DIRECTORY"]
    assert find_run_dir(plain, environ) == tmp_path / "xdg" / "brainstem"
    del environ["XDG_RUNTIME_DIR"]
    assert find_run_dir(plain, environ) == tmp_path / f"brainstem-{os.getuid()}"


def test_folders_made_here_are_private_and_looking_makes_none(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    plain = config(tmp_path)
    state_dir(plain, environ, create=False)
    find_run_dir(plain, environ, create=False)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    for path in (state_dir(plain, environ), find_run_dir(plain, environ)):
        assert path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("how", ["open to others", "a link"])
def test_a_temporary_folder_somebody_else_could_have_made_is_refused(tmp_path: Path, how: str) -> None:
    path = tmp_path / f"brainstem-{os.getuid()}"
    if how == "a link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.mkdir()
        path.chmod(0o770)
    with pytest.raises(ConfigError, match="not a private folder"):
        find_run_dir(config(tmp_path), {"TMPDIR": str(tmp_path)})


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="state_dir") as error:
        state_dir(config(tmp_path, state_dir="file/below"), {})
    assert "cannot be made" in str(error.value)


@pytest.mark.parametrize(("length", "fits"), [(107, True), (108, False)])
def test_socket_paths_up_to_107_bytes(length: int, fits: bool) -> None:
    folder = Path("/" + "x" * (length - len("//main.sock")))
    assert len(str(folder / "main.sock")) == length
    if fits:
        assert socket_path(folder, "main") == folder / "main.sock"
    else:
        with pytest.raises(ConfigError, match="108 bytes"):
            socket_path(folder, "main")


def test_bytes_are_counted_not_letters() -> None:
    with pytest.raises(ConfigError):
        socket_path(Path("/" + "é" * 50), "main")
