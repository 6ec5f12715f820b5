"""Programs of the distribution that some tests judge by: there, or brought by apt as root, or the test skips aloud."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest


def program(name: str, package: str) -> str:
    """Its path. Skips aloud where this machine has none and no way to one."""
    if found := shutil.which(name):
        return found
    if os.getuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip(f"there is no {name}, and no way to install {package} (root and apt are needed)")
    with (Path(tempfile.gettempdir()) / "brainstem-tests-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one test process at a time
        if shutil.which(name) is None:
            environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            for words in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", package]):
                done = subprocess.run(["apt-get", *words], env=environ, capture_output=True, text=True, check=False)
                if done.returncode != 0:
                    pytest.skip(f"{package} cannot be installed here: {done.stderr[-300:]}")
    found = shutil.which(name)
    assert found is not None, f"{package} is installed and brought no {name}"
    return found
