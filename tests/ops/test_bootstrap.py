"""The environment: made once, nothing the second time, and one package named where it cannot be made.

A pretended `uv`, `pip` and `python` stand on the PATH, so that every rung of the ladder runs without a network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
TOOLS = ("bash", "sha256sum", "readlink", "cat", "rm", "grep", "flock", "mkdir", "ln", "chmod", "touch")

UV = """#!{bash}
echo "uv $*" >>"{log}"
case "$1" in
  --version) echo "uv 9.9.9" ;;
  venv)
    for last; do :; done
    mkdir -p "$last/bin"; touch "$last/pyvenv.cfg"; ln -sf "{bin}/python3" "$last/bin/python" ;;
esac
"""
PYTHON = """#!{bash}
echo "python $*" >>"{log}"
case "$*" in
  *sys.executable*) echo "{executable}" ;;
  *platform.python_version*) echo 3.11.99 ;;
  *version_info*) echo 3.11 ;;
  *pip*--version*) exit {pip} ;;
  *ensurepip*) exit {venv} ;;
  "-m venv"*) exit {venv} ;;
  *--target*) exit {uv_by_pip} ;;
esac
"""


class Machine:
    """A checkout and a PATH of pretended programs; `log` says what was called."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "checkout"
        self.bin = folder / "bin"
        self.log = folder / "log"
        (self.root / "scripts").mkdir(parents=True)
        self.bin.mkdir()
        for name in ("requirements.lock", "requirements-dev.lock", "requirements-uv.lock", "pyproject.toml"):
            shutil.copy(REPO / name, self.root / name)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool) or pytest.fail(f"{tool} is not here"))

    def install(self, name: str, text: str, **values: object) -> None:
        path = self.bin / name
        made = text.format(bash=shutil.which("bash"), log=self.log, bin=self.bin, **values)
        path.write_text(made, encoding="utf-8")
        path.chmod(0o700)

    def python(self, *, pip: bool = True, venv: bool = True, uv_by_pip: bool = False, new_enough: bool = True) -> None:
        codes = {"pip": int(not pip), "venv": int(not venv), "uv_by_pip": int(not uv_by_pip)}
        self.install("python3", PYTHON, executable=self.bin / "python3" if new_enough else "", **codes)

    def run(self, kind: str = "run", **more: str) -> subprocess.CompletedProcess[str]:
        line = f'set -euo pipefail; source "{REPO}/scripts/bootstrap.sh"; brainstem_bootstrap "{self.root}" {kind}'
        environ = {"PATH": str(self.bin), "HOME": os.environ.get("HOME", "/"), **more}
        self.log.write_text("", encoding="utf-8")
        bash = shutil.which("bash") or "bash"
        return subprocess.run([bash, "-c", line], capture_output=True, text=True, env=environ, check=False)

    @property
    def calls(self) -> str:
        return self.log.read_text(encoding="utf-8")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_first_run_says_what_it_installs_and_the_second_does_nothing(machine: Machine) -> None:
    machine.python()
    machine.install("uv", UV)
    first = machine.run()
    assert first.returncode == 0, first.stderr
    pinned = sum("==" in line for line in (REPO / "requirements.lock").read_text(encoding="utf-8").splitlines())
    assert f"{pinned} pinned packages from requirements.lock" in first.stderr.replace("  ", " ")
    assert "uv pip sync" in machine.calls
    assert "--require-hashes" in machine.calls
    assert "--no-deps --no-build-isolation --editable" in machine.calls
    second = machine.run()
    assert (second.returncode, second.stdout, second.stderr, machine.calls) == (0, "", "", "")


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_a_changed_lock_or_project_is_installed_again(machine: Machine, name: str) -> None:
    machine.python()
    machine.install("uv", UV)
    machine.run()
    with (machine.root / name).open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    again = machine.run()
    assert again.returncode == 0
    assert "bringing .venv up to date" in again.stderr
    assert "first run" not in again.stderr
    assert "uv pip sync" in machine.calls
    assert "uv venv" not in machine.calls  # the environment itself is still good


def test_a_developer_s_environment_stays_one(machine: Machine) -> None:
    machine.python()
    machine.install("uv", UV)
    machine.run("dev")
    assert "requirements-dev.lock" in machine.calls
    assert (machine.run("run").returncode, machine.calls) == (0, "")


def test_an_interrupted_installation_is_not_taken_for_done(machine: Machine) -> None:
    machine.python()
    machine.install("uv", UV.replace("venv)", "pip) exit 1 ;;\n  venv)"))
    first = machine.run()
    assert first.returncode == 2
    assert "run this again" in first.stderr
    machine.install("uv", UV)
    assert machine.run().returncode == 0
    assert "uv pip sync" in machine.calls


def test_a_failed_change_of_kind_leaves_no_stamp_of_the_old_one(machine: Machine) -> None:
    """What was installed before is half removed then, so the old stamp must not vouch for it."""
    machine.python()
    machine.install("uv", UV)
    assert machine.run("run").returncode == 0
    machine.install("uv", UV.replace("venv)", "pip) exit 1 ;;\n  venv)"))
    assert machine.run("dev").returncode == 2
    machine.install("uv", UV)
    assert machine.run("run").returncode == 0
    assert "uv pip sync" in machine.calls


def test_pip_brings_uv_without_touching_the_system_s_packages(machine: Machine) -> None:
    machine.python(uv_by_pip=True)
    result = machine.run()
    # the pretended pip leaves no uv behind, so the next rung is taken: venv, then pip with the same pins
    assert f"--no-deps --require-hashes --target {machine.root}/.venv-uv" in machine.calls
    assert f"-m venv --clear {machine.root}/.venv" in machine.calls
    assert result.returncode in (0, 2, 126, 127)


@pytest.mark.parametrize("venv_package", ["python3-venv"])
def test_with_neither_uv_nor_pip_nor_venv_one_package_is_named(machine: Machine, venv_package: str) -> None:
    machine.python(pip=False, venv=False)
    result = machine.run()
    assert result.returncode == 2
    assert f"Install one package: {venv_package} " in result.stderr
    assert not (machine.root / ".venv").exists()


def test_without_a_python_that_is_new_enough_that_is_named(machine: Machine) -> None:
    machine.python(new_enough=False)
    result = machine.run()
    assert result.returncode == 2
    assert "needs Python 3.11 or later" in result.stderr
    assert "Install one package: python3" in result.stderr


def test_the_python_one_names_is_taken_or_said_not_to_do(machine: Machine) -> None:
    machine.install("uv", UV)
    machine.install("my python", PYTHON, executable=machine.bin / "my python", pip=0, venv=0, uv_by_pip=0)
    machine.install("old", PYTHON, executable="", pip=0, venv=0, uv_by_pip=0)
    taken = machine.run(BRAINSTEM_PYTHON=str(machine.bin / "my python"))
    assert taken.returncode == 0, taken.stderr
    assert f"--python {machine.bin}/my python " in machine.calls
    shutil.rmtree(machine.root / ".venv")
    machine.python()
    for name in (str(machine.bin / "old"), "/nowhere/python3"):
        other = machine.run(BRAINSTEM_PYTHON=name)
        assert other.returncode == 0, other.stderr
        assert f"BRAINSTEM_PYTHON ({name}) is no Python 3.11 or later" in other.stderr
        assert f"--python {machine.bin}/python3 " in machine.calls
        shutil.rmtree(machine.root / ".venv")


def test_no_package_index_is_named_anywhere() -> None:
    text = (REPO / "scripts" / "bootstrap.sh").read_text(encoding="utf-8")
    locks = [(REPO / f"requirements{kind}.lock").read_text(encoding="utf-8") for kind in ("", "-dev", "-uv")]
    assert [text for text in (text, *locks) if "://" in text] == []


@pytest.mark.parametrize("name", ["scripts/demo", "scripts/test", ".ci/run"])
def test_what_a_newcomer_types_can_be_run(name: str) -> None:
    path = REPO / name
    assert os.access(path, os.X_OK)
    bash = shutil.which("bash") or "bash"
    assert subprocess.run([bash, "-n", str(path)], check=False).returncode == 0


def test_ci_calls_the_test_script_and_nothing_else() -> None:
    lines = (REPO / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("exec ")
    assert "scripts/test" in lines[1]
