"""A strategy of one's own: `--strategy mine.py`, or `mine.py:Class` where the file holds several."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from brain.api import Strategy
from ipc.faults import ConfigError, Fault


def is_file(name: str) -> bool:
    return name.partition(":")[0].endswith(".py")


def load(name: str, folders: Sequence[Path], path: str) -> type[Strategy]:
    """`name` is `file.py` or `file.py:Class`, looked for in `folders` in order. Raises ConfigError at `path`."""
    file_name, _, wanted = name.partition(":")
    file = next((found for folder in folders if (found := folder / file_name).is_file()), None)
    if file is None:
        places = ", ".join(str(folder) for folder in folders)
        raise _fault(path, f"there is no file {file_name}", f"It was looked for in: {places}")
    kinds = _strategies_in(file, path)
    if wanted:
        if wanted not in kinds:
            raise _fault(path, f"{file} has no strategy class {wanted}", f"It has: {', '.join(kinds) or 'none'}")
        return kinds[wanted]
    if len(kinds) != 1:
        what = "no strategy class" if not kinds else f"several: {', '.join(kinds)}"
        fix = "Derive one class from brain.api.Strategy" if not kinds else f"Name one: {file_name}:{next(iter(kinds))}"
        raise _fault(path, f"{file} has {what}", fix)
    return next(iter(kinds.values()))


def _strategies_in(file: Path, path: str) -> dict[str, type[Strategy]]:
    module_name = f"brainstem_strategy_{file.stem}"
    spec = importlib.util.spec_from_file_location(module_name, file)
    if spec is None or spec.loader is None:
        raise _fault(path, f"{file} cannot be imported", "Is it a Python file?")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # typing and dataclasses look a class's module up by name
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # noqa: BLE001  whatever the user's file raises is a configuration fault
        raise _fault(path, f"{file} raised {type(error).__name__}: {error}", f"At {_place(error)}") from None
    return {
        kind.__name__: _named(kind, file)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Strategy) and kind.__module__ == module_name
    }


def _place(error: BaseException) -> str:
    """Where it was raised; for what could not even be read, the line that could not."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    at = traceback.extract_tb(error.__traceback__)[-1]
    return f"{at.filename}:{at.lineno}"


def _named(kind: type[Strategy], file: Path) -> type[Strategy]:
    if not kind.name:
        kind.name = file.stem
    return kind


def _fault(path: str, what: str, fix: str) -> ConfigError:
    return ConfigError([Fault(path, what, fix)], "strategy")
