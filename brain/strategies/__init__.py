"""The strategies that ship with Brainstem, by name. Importing one costs nothing until it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

from brain.api import Strategy
from brain.strategies import from_file
from ipc.faults import ConfigError, Fault, near

_WHERE = {
    "macd": ("brain.strategies.macd", "MacdStrategy"),
    "obi": ("brain.strategies.obi", "ObiStrategy"),
    "random": ("brain.strategies.random", "RandomStrategy"),
    "spread": ("brain.strategies.spread", "SpreadStrategy"),
}

NAMES = tuple(sorted(_WHERE))


def find(name: str, path: str = "--strategy", folders: Sequence[Path] = (Path(),)) -> type[Strategy]:
    """One that ships, by name, or one's own by file (`mine.py`, `mine.py:Class`), looked for in `folders`.

    Raises ConfigError that lists the valid names, or says what is wrong with the file.
    """
    if from_file.is_file(name):
        return from_file.load(name, folders, path)
    if name not in _WHERE:
        what = f"there is no strategy {name!r}; valid are {', '.join(NAMES)}, or a file of your own (mine.py)"
        raise ConfigError([Fault(path, what, near(name, NAMES))], "strategy")
    module, kind = _WHERE[name]
    found: type[Strategy] = getattr(importlib.import_module(module), kind)
    return found
