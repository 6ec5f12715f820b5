"""One line from the socket -> a typed request, or the named error it is answered with. Pure; never raises otherwise."""

from __future__ import annotations

from typing import Any

import msgspec

from ipc import wire
from ipc.errors import IpcError
from ipc.framing import MAX_LINE_BYTES, TooLong


class _Id(msgspec.Struct):
    """The least that names a request, for answering one whose other fields are wrong."""

    id: wire.RequestId


_decode = wire.decode_request
_id_decoder: msgspec.json.Decoder[_Id] = msgspec.json.Decoder(_Id)


def request_of(line: bytes | TooLong) -> wire.Request:
    """Raises IpcError: wire.too_long, wire.bad_json, wire.bad_request (with the path), op.unknown."""
    if isinstance(line, TooLong):
        raise IpcError(
            "wire.too_long",
            f"the line has more than {MAX_LINE_BYTES} bytes; it was thrown away up to its newline",
            detail={"seen_bytes": line.seen, "max_bytes": MAX_LINE_BYTES},
        )
    try:
        return _decode(line)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise IpcError("wire.bad_json", f"not one JSON object in UTF-8: {_plain(error)}") from None


def id_of(line: bytes | TooLong) -> int | None:
    """The request's id where it can be read, else None."""
    if isinstance(line, TooLong):
        return None
    try:
        return _id_decoder.decode(line).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def error_line(request_id: int | None, error: IpcError, **fields: Any) -> bytes:
    body = wire.ErrorBody(code=error.code, message=error.message, retryable=error.retryable, detail=error.detail)
    return wire.encode(wire.Answer(id=request_id, ok=False, error=body, **fields))


def _invalid(text: str) -> IpcError:
    what, _, path = text.partition(" - at ")
    path = path.strip("`") or "$"
    if what.startswith("Expected `object`") and path == "$":
        return IpcError("wire.bad_json", f"not one JSON object: {what}")
    if path == "$.op" and what.startswith("Invalid value"):
        return IpcError("op.unknown", f"{what[14:]} is no operation", detail={"known": list(wire.OPS)})
    return IpcError("wire.bad_request", f"{what} at {path}", detail={"path": path})


def _plain(error: Exception) -> str:
    """A decoder's text never quotes more of the input than one byte's position."""
    if isinstance(error, UnicodeDecodeError):
        return f"invalid UTF-8 ({error.reason})"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)
