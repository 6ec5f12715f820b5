"""Runs a program the way a unit does, as far as a test can: as another user, without rights, perhaps without network.

`confine.py JSON` with `{argv, env, uid, gid, umask, no_network, deny_write_execute, ways, folder}`; needs root. `ways`
are folders the program must reach (interpreter, checkout) that lie below folders closed to other users: they are shown
to this process alone, in a mount namespace of its own. `folder` is a place for that.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

CLONE_NEWNS, CLONE_NEWNET = 0x0002_0000, 0x4000_0000
PR_SET_NO_NEW_PRIVS, PR_SET_MDWE, MDWE_REFUSE_EXEC_GAIN = 38, 65, 1

libc = ctypes.CDLL(None, use_errno=True)


def must(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def open_ways(ways: list[str], folder: Path) -> None:
    """Each way is kept aside, what closes it is covered by an open empty folder, and the way is put back."""
    closed: dict[Path, None] = {}
    for number, way in enumerate(ways):
        aside = folder / f"way{number}"
        aside.mkdir(parents=True, exist_ok=True)
        mount("--bind", way, str(aside))
        for parent in reversed(Path(way).parents):
            if not parent.stat().st_mode & 0o001:
                closed[parent] = None
                break
    for parent in closed:
        mount("-t", "tmpfs", "-o", "mode=755", "none", str(parent))
    for number, way in enumerate(ways):
        if any(parent in closed for parent in Path(way).parents):
            Path(way).mkdir(parents=True)
            mount("--bind", str(folder / f"way{number}"), way)


def main(told: dict[str, Any]) -> None:
    must(libc.unshare(CLONE_NEWNS | (CLONE_NEWNET if told["no_network"] else 0)), "unshare")
    mount("--make-rprivate", "/")
    open_ways(told["ways"], Path(told["folder"]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir("/")
    os.umask(told["umask"])
    os.setgroups([told["gid"]])
    os.setresgid(*[told["gid"]] * 3)
    os.setresuid(*[told["uid"]] * 3)  # from root: no capability is left
    must(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    if told["deny_write_execute"]:  # kernels before 6.3 do not know it: then it is not tested here
        libc.prctl(PR_SET_MDWE, MDWE_REFUSE_EXEC_GAIN, 0, 0, 0)
    os.execve(told["argv"][0], told["argv"], told["env"])


main(json.loads(sys.argv[1]))
