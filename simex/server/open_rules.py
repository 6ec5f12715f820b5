"""Texts and JSON values as `Rules`: what the protocol's sources leave open, chosen by flag or at run time."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from simex.core.rules import DEFAULT_RULES, Rules

_HINTS: dict[str, Any] = get_type_hints(Rules)
NAMES = tuple(field.name for field in fields(Rules))


def change_rules(rules: Rules, changes: Mapping[str, object]) -> Rules:
    """The rules with other values. ValueError names what is unknown or does not fit."""
    values: dict[str, Any] = {_known(name): _value(_known(name), value) for name, value in changes.items()}
    return replace(rules, **values)


def read_rules(pairs: Sequence[str], rules: Rules = DEFAULT_RULES) -> Rules:
    """From `name=value` texts, the name with dashes or underscores. ValueError as `change_rules`."""
    changes: dict[str, object] = {}
    for pair in pairs:
        name, found, text = pair.partition("=")
        if not found:
            raise ValueError(f"NAME=VALUE is needed, not {pair!r}")
        changes[name.replace("-", "_")] = _from_text(text)
    return change_rules(rules, changes)


def _known(name: str) -> str:
    if name not in NAMES:
        raise ValueError(f"no rule is called {name!r}; there are: {', '.join(NAMES)}")
    return name


def _from_text(text: str) -> object:
    if text in ("true", "false"):
        return text == "true"
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 16 else text


def _value(name: str, value: object) -> Any:
    hint = _HINTS[name]
    if get_origin(hint) is Literal:
        allowed = get_args(hint)
        if value not in allowed or isinstance(value, bool):
            raise ValueError(f"{name} is one of {', '.join(map(str, allowed))}, not {value!r:.60}")
    elif hint is bool:
        if not isinstance(value, bool):
            raise ValueError(f"{name} is true or false, not {value!r:.60}")
    elif not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 10**9:
        raise ValueError(f"{name} is a whole number from 0 up, not {value!r:.60}")
    return value
