"""The strategies that ship with Brainstem, by name. Importing one costs nothing until it is asked for."""

from __future__ import annotations

import importlib

from brain.api import Strategy
from ipc.faults import ConfigError, Fault, near

_WHERE = {
    "macd": ("brain.strategies.macd", "MacdStrategy"),
    "obi": ("brain.strategies.obi", "ObiStrategy"),
    "random": ("brain.strategies.random", "RandomStrategy"),
}

NAMES = tuple(sorted(_WHERE))


def find(name: str, path: str = "--strategy") -> type[Strategy]:
    """Raises ConfigError that lists the valid names."""
    if name not in _WHERE:
        what = f"there is no strategy {name!r}; valid are {', '.join(NAMES)}"
        raise ConfigError([Fault(path, what, near(name, NAMES))], "strategy")
    module, kind = _WHERE[name]
    found: type[Strategy] = getattr(importlib.import_module(module), kind)
    return found
