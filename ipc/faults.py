"""What is wrong with a configuration: every fault by its path, with the next step."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import NamedTuple

EXIT_CODE = 2


class Fault(NamedTuple):
    """One thing wrong: `path` in the file's own terms (`accounts.main.leverage`, `brains[0].strategy`)."""

    path: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}. {self.fix}"


class ConfigError(Exception):
    """The configuration cannot be used; `faults` names everything that is wrong. Processes exit with code 2."""

    exit_code = EXIT_CODE

    def __init__(self, faults: list[Fault], source: str = "configuration") -> None:
        self.faults = faults
        self.source = source
        super().__init__("\n".join([f"{source}: {len(faults)} fault(s)", *(f"  {fault}" for fault in faults)]))


def near(name: str, known: Iterable[str]) -> str:
    """A next step for a wrong name: the close matches, else all of them."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=2, cutoff=0.6)
    return f"Did you mean {' or '.join(close)}?" if close else f"Valid are: {', '.join(known)}"
