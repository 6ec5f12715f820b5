"""Where configuration comes from: the layers that pydantic-settings merges into one document.

`BRAINSTEM_ACCOUNTS__MAIN__LEVERAGE=3`: keys are matched without case against what the file already has, else lower
case; a number names a list's item. Values are JSON where they parse, else text; keys and secrets are always text.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ipc.faults import Fault, near
from ipc.sections import SECTIONS

PREFIX = "BRAINSTEM_"
SECRET_KEYS = ("api_key", "api_secret")
# variables of this prefix that are not configuration
OTHER_VARIABLES = frozenset(
    f"BRAINSTEM_{name}" for name in ("DATA", "CONFIG", "TEST_SEED", "TEST_WORKERS", "PYTHON", "NO_UV")
)

_MAX_CREDENTIAL_BYTES = 4096


class _Layer(PydanticBaseSettingsSource):
    """One layer of the document, already read; pydantic-settings merges layers deeply, the first one winning."""

    def __init__(self, owner: type[BaseSettings], values: dict[str, Any]) -> None:
        super().__init__(owner)
        self._values = values

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._values


def merged_document(
    of_file: dict[str, Any], environ: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str], list[Fault]]:
    """Returns the merged document, where each key or secret came from (`environment`, `credential`, `file`), faults."""
    faults: list[Fault] = []
    variables = {
        name.removeprefix(PREFIX): (f"${name}", value)
        for name, value in sorted(environ.items())
        if name.startswith(PREFIX) and name not in OTHER_VARIABLES
    }
    files = _credential_files(environ, faults)
    of_environment = _layer(variables, of_file, faults)
    of_credentials = _layer(files, of_file, faults)
    origins = _origins(of_environment, of_credentials, of_file, faults)

    class Document(BaseSettings):
        model_config = SettingsConfigDict(extra="allow")

        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *_: Any, **__: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return tuple(_Layer(settings_cls, layer) for layer in (of_environment, of_credentials, of_file))

    return dict(Document().model_extra or {}), origins, faults


def wrap_secrets(document: dict[str, Any]) -> None:
    """From here on keys and secrets exist only as SecretStr: no repr, log or traceback shows them."""
    for held in document.get("accounts", {}).values():
        for name in SECRET_KEYS:
            if isinstance(held.get(name), str):
                held[name] = SecretStr(held[name])


def _credential_files(environ: Mapping[str, str], faults: list[Fault]) -> dict[str, tuple[str, str]]:
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return {}
    found: dict[str, tuple[str, str]] = {}
    for path in sorted(Path(folder).glob(f"{PREFIX.lower()}*")):
        label = f"credential {path.name}"
        try:
            text = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            faults.append(Fault(label, f"cannot be read ({type(error).__name__})", "Check its owner, mode and content"))
            continue
        if len(text) > _MAX_CREDENTIAL_BYTES:
            faults.append(Fault(label, f"is longer than {_MAX_CREDENTIAL_BYTES} bytes", "Put one value into it"))
            continue
        found[path.name.removeprefix(PREFIX.lower())] = (label, text)
    return found


def _layer(given: Mapping[str, tuple[str, str]], of_file: Mapping[str, Any], faults: list[Fault]) -> dict[str, Any]:
    """Turn `A__B__C=text` pairs into a nested layer; lists are copied whole from the file and changed in place."""
    layer: dict[str, Any] = {}
    for name, (label, text) in given.items():
        parts = name.split("__")
        section = parts[0].lower()
        if section not in SECTIONS:
            faults.append(Fault(label, f"names no section ({section})", near(section, SECTIONS)))
        elif not all(parts):
            faults.append(Fault(label, "has an empty level", "Write SECTION__KEY with two underscores between levels"))
        else:
            value = text if parts[-1].lower() in SECRET_KEYS else _parsed(text)
            problem = _set(layer, dict(of_file), [section, *parts[1:]], value)
            if problem:
                faults.append(Fault(label, problem, "Name what the file has there"))
    return layer


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _set(layer: Any, below: Any, parts: list[str], value: Any) -> str:
    """Put `value` at `parts` into `layer`, whose shape below it is `below`. Returns what is wrong, or nothing."""
    head, rest = parts[0], parts[1:]
    if isinstance(layer, list):
        if not head.isdigit() or int(head) >= len(layer):
            return f"{head!r} is no item of a list of {len(layer)}"
        key: Any = int(head)
    else:
        key = _key_like(head, layer, below)
    if not rest:
        layer[key] = value
        return ""
    under = _child(below, key)
    if isinstance(layer, list):
        child = layer[key]
    else:
        child = layer.setdefault(key, copy.deepcopy(under) if isinstance(under, list) else {})
    if not isinstance(child, dict | list):
        return f"{key!r} is a value, not an object"
    return _set(child, under, rest, value)


def _child(below: Any, key: Any) -> Any:
    if isinstance(below, dict):
        return below.get(key)
    if isinstance(below, list) and isinstance(key, int) and key < len(below):
        return below[key]
    return None


def _key_like(name: str, *places: Any) -> str:
    for place in places:
        if isinstance(place, dict):
            for key in place:
                if key.lower() == name.lower():
                    return str(key)
    return name.lower()


def _origins(
    of_environment: dict[str, Any], of_credentials: dict[str, Any], of_file: dict[str, Any], faults: list[Fault]
) -> dict[str, str]:
    origins: dict[str, str] = {}
    values: dict[str, str] = {}
    for origin, layer in (("environment", of_environment), ("credential", of_credentials), ("file", of_file)):
        accounts = layer.get("accounts")
        for account, held in accounts.items() if isinstance(accounts, dict) else ():
            for name in SECRET_KEYS if isinstance(held, dict) else ():
                if held.get(name) is None:
                    continue
                path = f"accounts.{account}.{name}"
                if path in origins and values[path] != str(held[name]):
                    faults.append(
                        Fault(path, f"comes from {origins[path]} and {origin} with different values", "Keep one")
                    )
                if path not in origins:
                    origins[path], values[path] = origin, str(held[name])
    return origins
