"""Request parameters: what was sent, exactly as sent, and what it means."""

from collections.abc import Mapping
from urllib.parse import unquote_plus

from simex.server.refusals import duplicate, empty, illegal, invalid, missing

_INT = "^[0-9]{1,20}$"


def split_pairs(text: str) -> dict[str, str]:
    """A query string or form body as names and values. Raises Refused for a name sent twice or an empty value."""
    pairs: dict[str, str] = {}
    for part in text.split("&"):
        if not part:
            continue
        raw_name, _, raw_value = part.partition("=")
        name, value = unquote_plus(raw_name), unquote_plus(raw_value)
        if name in pairs:
            raise duplicate()
        if value == "":
            raise empty(name)
        pairs[name] = value
    return pairs


def merge(query: str, body: str) -> dict[str, str]:
    """Parameters of both places; where a name is in both, the query wins."""
    return {**split_pairs(body), **split_pairs(query)}


def signed_text(query: str, body: str) -> str:
    """What the sender signed: query and body joined without a separator, the signature itself taken out."""
    return _without_signature(query) + _without_signature(body)


def _without_signature(text: str) -> str:
    if "signature=" not in text:
        return text
    return "&".join(part for part in text.split("&") if not part.startswith("signature="))


def whole(params: Mapping[str, str], name: str, default: int | None = None) -> int:
    """An integer parameter. Raises Refused -1102 if it is mandatory and absent, -1100 if it is no integer."""
    text = params.get(name)
    if text is None:
        if default is None:
            raise missing(name)
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise illegal(name, _INT)
    return int(text)


def optional_whole(params: Mapping[str, str], name: str) -> int | None:
    """An integer parameter that may be absent."""
    return whole(params, name) if name in params else None


def time_of(params: Mapping[str, str], name: str) -> int | None:
    """A time in ms that may be absent; beyond the year 2286 it is refused with -1130."""
    value = optional_whole(params, name)
    if value is not None and value >= 10**13:
        raise invalid(name)
    return value


def text_of(params: Mapping[str, str], name: str) -> str:
    """A mandatory text parameter."""
    value = params.get(name)
    if value is None:
        raise missing(name)
    return value
