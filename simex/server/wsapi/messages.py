"""Requests and answers of the WebSocket API as texts. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from simex.server.refusals import Refused, empty, illegal, missing

_OWN = frozenset({"apiKey", "signature", "returnRateLimits"})
_SAFE = "-_.~"
_MAX_ID_DIGITS = 19


class BadRequest(Exception):
    """A text that is no request; `request_id` is what could be read of its id."""

    def __init__(self, refusal: Refused, request_id: object = None) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal
        self.request_id = request_id


@dataclass(frozen=True, slots=True)
class Request:
    """One request: `params` as texts, numbers with the digits that were sent."""

    id: object
    method: str
    params: Mapping[str, str]

    @property
    def call(self) -> dict[str, str]:
        """What the endpoint gets: without the parameters of the envelope."""
        return {name: value for name, value in self.params.items() if name not in _OWN}

    @property
    def rate_limits(self) -> bool | None:
        """Whether this request asks for the limits block; None: as the connection says."""
        text = self.params.get("returnRateLimits")
        return None if text is None else text == "true"


def read(text: str) -> Request:
    """The request in a text. Raises BadRequest."""
    try:
        body = json.loads(text, parse_int=_Number, parse_float=_Number, parse_constant=_Number)
    except (ValueError, RecursionError) as error:
        raise BadRequest(Refused(400, -1135, "Invalid JSON Request")) from error
    if not isinstance(body, dict):
        raise BadRequest(Refused(400, -1135, "Invalid JSON Request"))
    request_id = _id(body.get("id"))
    method, params = body.get("method"), body.get("params", {})
    if not isinstance(method, str) or isinstance(method, _Number):
        raise BadRequest(missing("method"), request_id)
    if not isinstance(params, dict):
        raise BadRequest(missing("params"), request_id)
    try:
        return Request(request_id, method, {name: _text(name, value) for name, value in params.items()})
    except Refused as refusal:
        raise BadRequest(refusal, request_id) from refusal


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


def _id(raw: object) -> object:
    """An id is echoed: a number as a number. What is no id is echoed as null."""
    if isinstance(raw, _Number):
        return int(raw) if len(raw) < _MAX_ID_DIGITS and raw.removeprefix("-").isdigit() else None
    return str(raw) if isinstance(raw, str) and _is_unicode(raw) else None


def _is_unicode(text: str) -> bool:
    """JSON can name half of a surrogate pair, which is no text."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _text(name: str, value: object) -> str:
    if value is None or value == "":
        raise empty(name)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and _is_unicode(value) and _is_unicode(name):
        return str(value)
    raise illegal(name, "a text, a number or a boolean")


def signed_texts(params: Mapping[str, str]) -> tuple[str, str]:
    """What a sender may have signed: the sorted parameters without the signature, raw and percent-encoded."""
    pairs = [(name, params[name]) for name in sorted(params) if name != "signature"]
    raw = "&".join(f"{name}={value}" for name, value in pairs)
    return raw, "&".join(f"{name}={quote(value, safe=_SAFE)}" for name, value in pairs)


def good(request_id: object, content: bytes, limits: Sequence[Mapping[str, object]] | None) -> bytes:
    """A result: `content` is its JSON text."""
    head = b'{"id":' + orjson.dumps(request_id) + b',"status":200,"result":' + content
    return head + _limits(limits) + b"}"


def bad(
    request_id: object, status: int, code: int, message: str, limits: Sequence[Mapping[str, object]] | None
) -> bytes:
    """A refusal."""
    error = orjson.dumps({"code": code, "msg": message})
    head = b'{"id":' + orjson.dumps(request_id) + b',"status":' + str(status).encode() + b',"error":' + error
    return head + _limits(limits) + b"}"


def _limits(rows: Sequence[Mapping[str, object]] | None) -> bytes:
    return b"" if rows is None else b',"rateLimits":' + orjson.dumps(rows)


def error_of(content: bytes) -> tuple[int, str]:
    """Code and text of a refusal's JSON body."""
    body: Any = orjson.loads(content)
    return int(body["code"]), str(body["msg"])
