"""Child processes that end with their parent, however it ends (kill -9 included)."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def die_with_parent(sig: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """A `preexec_fn`: the kernel sends `sig` to the child when the thread that made it ends.

    So call Popen from a thread that lives as long as the child should (the main thread, say). A parent that died in
    between is noticed: the child then never starts. Does nothing where the kernel is not Linux.
    """
    if not sys.platform.startswith("linux"):
        return lambda: None
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up before the fork: no import or lock inside the child
    parent = os.getpid()

    def arm() -> None:
        prctl(_PR_SET_PDEATHSIG, int(sig), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(125)

    return arm


class PipeGuard:
    """A second line behind the kernel's: a sleeping shell that kills `pid` when our end of its pipe closes.

    It holds where the parent-death signal does not (another kernel, a child made by a thread that ended). It kills only
    a process whose command line still contains `mark`, so a process id used again by somebody else is safe.
    """

    _SCRIPT = (
        "trap '' HUP INT TERM; read -r _; "
        'if [ ! -d /proc/self ] || tr "\\0" " " < "/proc/$1/cmdline" 2>/dev/null | grep -qF -- "$2"; '
        'then kill -9 "$1" 2>/dev/null; fi'
    )

    def __init__(self, pid: int, mark: str) -> None:
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", self._SCRIPT, "brainstem-guard", str(pid), mark],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def release(self) -> None:
        """The guarded process has ended in order; the guard goes without looking at it."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
