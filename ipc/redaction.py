"""Finding secrets in values, and showing values without them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from pydantic import SecretStr


def secrets_in(value: Any) -> Iterator[str]:
    """Every secret text inside a tree of JSON values and SecretStr."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, dict):
        for item in value.values():
            yield from secrets_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from secrets_in(item)


def redacted(value: Any) -> Any:
    """A copy of a tree with every SecretStr replaced by `***`."""
    if isinstance(value, SecretStr):
        return "***"
    if isinstance(value, dict):
        return {key: redacted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [redacted(item) for item in value]
    return value


def url_password(url: str) -> str | None:
    """The password of a URL: user information, or the `password` of a query (Redis over unix sockets)."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.password:
        return unquote(parts.password)
    given = parse_qs(parts.query).get("password")
    return given[0] if given else None


def hide_url_password(url: str) -> str:
    """A URL without its password, fit for people."""
    if not url_password(url):
        return "***" if "@" in url and not _has_user(url) else url  # written wrongly, and perhaps with a password
    parts = urlsplit(url)
    netloc = parts.netloc
    if parts.password:
        user, _, host = netloc.rpartition("@")
        netloc = f"{user.partition(':')[0]}:***@{host}"
    query = urlencode([(k, "***" if k == "password" else v) for k, v in parse_qsl(parts.query)], safe="*")
    return urlunsplit((parts.scheme, netloc, parts.path, query, parts.fragment))


def _has_user(url: str) -> bool:
    try:
        return urlsplit(url).username is not None
    except ValueError:
        return False
