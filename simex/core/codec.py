"""Values of the core as plain JSON and back, by the types that its dataclasses declare.

Decimals become texts that read back to the same number, tuples and sets lists, mappings lists of pairs. Some types are
stored by reference: an instrument by its symbol. A field that a stored dataclass lacks takes its default, one that the
class does not know any more is left out; so small changes of the classes read old states.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_PLAIN = (bool, int, str)
Reference = tuple[Callable[[Any], Any], Callable[[Any], Any]]
"""How a type is stored by reference: (value to JSON, JSON to value)."""


class BadState(ValueError):
    """A stored state does not fit; the text says where and what to do."""


class Codec:
    """`references` maps types to how they are stored where they occur inside another value."""

    def __init__(self, references: Mapping[type, Reference]) -> None:
        self._references = references

    def encode(self, value: Any) -> Any:
        """JSON of a value. TypeError for a type the core has no business to hold."""
        if value is None or type(value) in _PLAIN:
            return value
        if isinstance(value, Decimal):
            return str(value)
        reference = self._references.get(type(value))
        if reference is not None:
            return reference[0](value)
        if isinstance(value, Mapping):
            return [[self.encode(key), self.encode(item)] for key, item in value.items()]
        if isinstance(value, set | frozenset):
            return [self.encode(item) for item in sorted(value)]
        if isinstance(value, list | tuple | deque):
            return [self.encode(item) for item in value]
        return self.whole(value)

    def whole(self, value: Any) -> dict[str, Any]:
        """JSON of a dataclass by its fields, even if its type is stored by reference elsewhere."""
        if not is_dataclass(value):
            raise TypeError(f"a {type(value).__name__} cannot be stored")
        kind: type = type(value)
        plain, composed = _parts_of(kind)
        row = {name: getattr(value, name) for name in plain}
        for name in composed:
            row[name] = self.encode(getattr(value, name))
        return row

    def decode(self, hint: Any, raw: Any) -> Any:
        """The value of JSON. BadState names what does not fit its type."""
        reference = self._references.get(hint) if isinstance(hint, type) else None
        if reference is not None:
            return reference[1](raw)
        if is_dataclass(hint) and isinstance(hint, type):
            return self.build(hint, raw)
        if hint is Decimal:
            return _decimal(raw)
        origin = get_origin(hint)
        if origin is None or origin is Literal:
            return _plain(hint, raw)
        return self._composite(origin, get_args(hint), raw)

    def build(self, kind: type, raw: Any) -> Any:
        """A dataclass from the JSON of `whole`."""
        if not isinstance(raw, dict):
            raise BadState(f"a {kind.__name__} was expected, not {raw!r:.60}")
        values = {}
        for name, (hint, has_default) in _fields_of(kind).items():
            if name in raw:
                values[name] = self.decode(hint, raw[name])
            elif not has_default:
                raise BadState(f"a stored {kind.__name__} lacks {name}")
        return kind(**values)

    def _composite(self, origin: Any, args: tuple[Any, ...], raw: Any) -> Any:
        if origin in (Union, types.UnionType):
            inner = [arg for arg in args if arg is not type(None)]
            return None if raw is None else self.decode(inner[0], raw)
        if not isinstance(raw, list):
            raise BadState(f"a list was expected, not {raw!r:.60}")
        if origin is dict:
            return {self.decode(args[0], key): self.decode(args[1], item) for key, item in raw}
        if origin is tuple and args[-1] is not Ellipsis:
            if len(raw) != len(args):
                raise BadState(f"{len(args)} values were expected, not {len(raw)}")
            return tuple(self.decode(arg, item) for arg, item in zip(args, raw, strict=True))
        return origin(self.decode(args[0], item) for item in raw)


def _decimal(raw: Any) -> Decimal:
    try:
        return Decimal(raw)
    except (InvalidOperation, TypeError, ValueError) as error:
        raise BadState(f"{raw!r:.60} is not a number") from error


def _plain(hint: Any, raw: Any) -> Any:
    expected = hint if hint in _PLAIN else str
    if type(raw) is not expected:
        raise BadState(f"{expected.__name__} was expected, not {raw!r:.60}")
    return raw


@cache
def _parts_of(kind: type) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the fields that are JSON as they are, and of the others."""
    hints = get_type_hints(kind)
    plain = [field.name for field in fields(kind) if hints[field.name] in _PLAIN or _is_literal(hints[field.name])]
    return tuple(plain), tuple(field.name for field in fields(kind) if field.name not in plain)


def _is_literal(hint: Any) -> bool:
    return get_origin(hint) is Literal


@cache
def _fields_of(kind: type) -> dict[str, tuple[Any, bool]]:
    """(type, has a default) by field."""
    hints = get_type_hints(kind)
    return {
        field.name: (hints[field.name], field.default is not MISSING or field.default_factory is not MISSING)
        for field in fields(kind)
    }
