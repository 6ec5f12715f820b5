"""What an answer to an order request means: ONE table (reference §4.9, §8), by HTTP status, then code, then text.

A placement ends as one of `Kind`; nothing that could have been executed is ever called refused. Everything not named
here is decided by its class: a coded 4xx refusal is the sender's fault and final; anything else proves nothing.
"""

from __future__ import annotations

import msgspec

from gateway.core.order_venue import Alarm, Kind, Verdict

_UNKNOWN = frozenset({-1000, -1001, -1006, -1007})
_CLOCK = frozenset({-1021, -5028})
_LIMIT = frozenset({-1003, -1015})
_NOT_SENT = frozenset({-1008, -1016})
KEY_CODES = frozenset({-1002, -2014, -2015, -2016, -2017})
_STOP = frozenset({-2023, -4087, -4088, -4192, -4400, -4401, -4402, -4411})
_RECONCILE = frozenset({-2018, -2019, -2022, -2024, -4050, -4051, -4118})
_FILTERS = frozenset(
    {-1111, -1121, -1122, -4001, -4002, -4003, -4004, -4005, -4013, -4014, -4016, -4023, -4024, -4140, -4141, -4164}
)
_MODE = frozenset({-1106, -4060, -4061, -4062})
_DUPLICATE = -4116
_NOT_FOUND = frozenset({-2011, -2013})

_ALARMS: tuple[tuple[frozenset[int], Alarm], ...] = (
    (KEY_CODES, "keys"),
    (_STOP, "stop"),
    (_RECONCILE, "reconcile"),
    (_FILTERS, "filters"),
    (_MODE, "mode"),
)

_503_NOT_SENT = (
    "service unavailable",
    "internal error; unable to process your request",
    "request throttled by system-level protection",
)


class _Body(msgspec.Struct):
    code: int | str | None = None
    msg: str = ""


_decoder: msgspec.json.Decoder[_Body] = msgspec.json.Decoder(_Body)


def _coded(body: bytes) -> tuple[int | None, str]:
    """(code, text) of an error body; (None, start of the text) where it is no such JSON: HTML, cut short, empty."""
    try:
        parsed = _decoder.decode(body)
        code = int(parsed.code) if parsed.code is not None else None
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None, body[:300].decode("utf-8", "replace")
    return code, parsed.msg[:300]


def classify(status: int, body: bytes) -> Verdict:
    """An HTTP answer to a placement, cancel or query. A 2xx is `accepted` here; its body is parsed by the caller."""
    if 200 <= status < 300:
        return Verdict("accepted")
    code, text = _coded(body)
    if status in (429, 418):
        return Verdict("limit", code, text)
    if code in _UNKNOWN:
        # "Internal error ... Please try again." over 503 is a failure by the documents, which still advise to ask
        # before placing anew; everywhere else these codes prove nothing
        if code == -1001 and status == 503 and _known_failure(text):
            return Verdict("not_sent", code, text, ask_first=True)
        return Verdict("unknown", code, text)
    if status == 403:
        return Verdict("limit", code, text or "HTTP 403 (web application firewall)", "edge")
    if status == 503:
        kind: Kind = "not_sent" if code in _NOT_SENT or _known_failure(text) else "unknown"
        return Verdict(kind, code, text, ask_first=kind == "not_sent" and "internal error" in text.lower())
    if status == 408 or status >= 500:
        return Verdict("unknown", code, text or f"HTTP {status}")
    if code is None:
        return _uncoded(status, text)
    return _by_code(code, text)


def _known_failure(text: str) -> bool:
    lowered = text.lower()
    return any(part in lowered for part in _503_NOT_SENT) and not lowered.lstrip().startswith(("<", "{", "["))


def _uncoded(status: int, text: str) -> Verdict:
    """No code: a 401 or 404 page of the edge executed nothing; any other 4xx, 3xx or 1xx proves nothing."""
    if status in (401, 404):
        return Verdict("rejected", None, text or f"HTTP {status}", "keys" if status == 401 else "stop")
    return Verdict("unknown", None, text or f"HTTP {status}")


def _by_code(code: int, text: str) -> Verdict:
    if code in _CLOCK:
        return Verdict("clock", code, text)
    if code in _LIMIT:
        return Verdict("limit", code, text)
    if code in _NOT_SENT:
        return Verdict("not_sent", code, text)
    if code == _DUPLICATE:
        return Verdict("duplicate", code, text)
    if code in _NOT_FOUND:
        return Verdict("not_found", code, text)
    for codes, alarm in _ALARMS:
        if code in codes:
            return Verdict("rejected", code, text, alarm)
    return Verdict("rejected", code, text)


def transport(*, sent: bool, reason: str) -> Verdict:
    """No HTTP answer at all. Only what certainly never left this process is certainly not executed."""
    return Verdict("unknown" if sent else "not_sent", None, reason[:300])
