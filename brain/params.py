"""Typed parameters: one declaration serves validation, the console's form and the optimiser.

A strategy declares a subclass of `Params` whose fields carry bounds and help by pydantic's `Field`. Fractions of money
and prices are `Decimal`; counts are `int`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ipc.faults import ConfigError, Fault, near


class Params(BaseModel):
    """Base of every strategy's parameters: unknown names are faults, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# What several strategies have in common; each sets its own default.
Notional = Annotated[Decimal, Field(gt=0, le=10_000_000, description="size of a position, in the quote asset")]
TakeProfitPct = Annotated[
    Decimal, Field(ge=0, le=100, description="close at this gain over the entry price, 0 for never")
]
StopLossPct = Annotated[
    Decimal, Field(ge=0, le=100, description="close at this loss against the entry price, 0 for never")
]
EntrySlippageBps = Annotated[
    Decimal, Field(ge=0, le=500, description="an entry reaches at most so far beyond the best price")
]
ExitSlippageBps = Annotated[Decimal, Field(ge=0, le=500, description="the first, limited close reaches at most so far")]


class ParamInfo(NamedTuple):
    """What a form or an optimiser needs to know of one parameter; None is 'no bound' or 'no choice'."""

    name: str
    kind: str
    default: Any
    low: Any
    high: Any
    choices: tuple[Any, ...] | None
    help: str


P = TypeVar("P", bound=Params)


def parse_sets(items: Iterable[str]) -> dict[str, Any]:
    """`["fast=8", "tag=abc"]` to a mapping; a value is JSON where it parses, else text. Raises ConfigError."""
    out: dict[str, Any] = {}
    faults = []
    for item in items:
        name, equals, text = item.partition("=")
        if not equals or not name:
            faults.append(Fault("--set", f"{item!r} is not NAME=VALUE", "Write for example --set fast=8"))
            continue
        out[name.strip()] = _value(text)
    if faults:
        raise ConfigError(faults, "command line")
    return out


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    # 0.1 must reach a Decimal as it was written, never through a binary fraction
    return text if isinstance(value, float) else value


def validate(kind: type[P], given: Mapping[str, Any], path: str = "params") -> P:
    """Raises ConfigError naming every fault, with near matches for unknown names."""
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        raise ConfigError([_fault(kind, item, path) for item in error.errors()], "parameters") from None


def _fault(kind: type[Params], item: Any, path: str) -> Fault:
    name = ".".join(str(part) for part in item["loc"]) or "(all)"
    if item["type"] == "extra_forbidden":
        return Fault(f"{path}.{name}", "there is no such parameter", near(name, kind.model_fields))
    info = {each.name: each for each in describe(kind)}.get(name)
    fix = f"{info.help} (default {info.default})" if info is not None else "See the strategy's parameters"
    return Fault(f"{path}.{name}", f"{item['msg']}, got {item['input']!r}"[:200], fix)


def describe(kind: type[Params]) -> list[ParamInfo]:
    """Every parameter with type, default, bounds and help, in the order of declaration."""
    schema = kind.model_json_schema()["properties"]
    out = []
    for name, field in kind.model_fields.items():
        bounds = {
            key: getattr(item, key) for item in field.metadata for key in ("ge", "le", "gt", "lt") if hasattr(item, key)
        }
        annotation = field.annotation
        choices = schema[name].get("enum")
        out.append(
            ParamInfo(
                name,
                getattr(annotation, "__name__", str(annotation)) if choices is None else "choice",
                None if field.is_required() else field.default,
                bounds.get("ge", bounds.get("gt")),
                bounds.get("le", bounds.get("lt")),
                tuple(choices) if choices is not None else None,
                field.description or "",
            )
        )
    return out
