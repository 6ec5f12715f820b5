"""The table of faults: family, fields, what each one does. Checking, help and the seeded draw read it. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from simex.server.chaos.variants import ERROR_VARIANTS

COMMON = frozenset({"count", "for_s"})
"""Fields of every fault: how often it strikes, how long it lives."""

STREAM, USER, SOCKET, HTTP, DOOR, EXCHANGE, KEYS, FOREIGN = (
    "stream", "user", "socket", "http", "door", "exchange", "keys", "foreign",
)  # fmt: skip
FAMILIES = (STREAM, USER, SOCKET, HTTP, DOOR, EXCHANGE, KEYS, FOREIGN)

MESSAGE, STATE, INSTANT = "message", "state", "instant"
"""How a fault acts: on each message or request it selects; from its start to its end; once, at its start."""

ROUTES = ("public", "market", "private", "legacy", "ws-fapi")
TLS_VARIANTS = ("untrusted", "wrong_host", "expired")
STATUSES = (
    "PENDING_TRADING", "TRADING", "PRE_DELIVERING", "DELIVERING", "DELIVERED", "PRE_SETTLE", "SETTLING", "CLOSE",
    "BREAK",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault. `needs` are the fields that must be there."""

    family: str
    acts: str
    text: str
    fields: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()


_PICK = "nth share"
_DEPTH = f"symbol {_PICK}"
_STREAM = f"route stream symbol {_PICK}"
_USER = f"account event {_PICK}"
_REQUEST = f"path method {_PICK}"


def _kind(family: str, acts: str, fields: str, needs: str, text: str) -> Kind:
    wanted = frozenset(needs.split())
    return Kind(family, acts, text, frozenset(fields.split()) | wanted, wanted)


KINDS: dict[str, Kind] = {
    "depth_drop": _kind(STREAM, MESSAGE, _DEPTH, "", "a diff-depth message is missing"),
    "depth_duplicate": _kind(STREAM, MESSAGE, _DEPTH, "", "a diff-depth message comes twice"),
    "depth_reorder": _kind(STREAM, MESSAGE, _DEPTH, "", "a diff-depth message comes after the next one"),
    "depth_delay": _kind(STREAM, MESSAGE, _DEPTH, "delay_ms", "a diff-depth message comes late"),
    "depth_cut": _kind(STREAM, MESSAGE, _DEPTH, "", "a diff-depth message is half a message"),
    "depth_set": _kind(STREAM, MESSAGE, f"{_DEPTH} value", "field", "a field of it is set, or left out"),
    "stream_drop": _kind(STREAM, MESSAGE, _STREAM, "", "a message of a public stream is missing"),
    "stream_duplicate": _kind(STREAM, MESSAGE, _STREAM, "", "it comes twice"),
    "stream_reorder": _kind(STREAM, MESSAGE, _STREAM, "", "it comes after the next one of its stream"),
    "stream_delay": _kind(STREAM, MESSAGE, _STREAM, "delay_ms", "it comes late, others pass it"),
    "stream_cut": _kind(STREAM, MESSAGE, _STREAM, "", "it is half a message"),
    "stream_set": _kind(STREAM, MESSAGE, f"{_STREAM} value", "field", "a field of it is set, or left out"),
    "silent": _kind(STREAM, MESSAGE, "route stream symbol", "", "nothing, while TCP, pings and commands go on"),
    "moved": _kind(STREAM, STATE, "to", "stream", "the stream leaves its route: subscriptions are accepted, and mute"),
    "user_drop": _kind(USER, MESSAGE, _USER, "", "an account event is missing"),
    "user_duplicate": _kind(USER, MESSAGE, _USER, "", "an account event comes twice"),
    "user_reorder": _kind(USER, MESSAGE, _USER, "", "an account event comes after the next one"),
    "user_delay": _kind(USER, MESSAGE, _USER, "delay_ms", "an account event comes late, others pass it"),
    "events_first": _kind(
        USER, MESSAGE, f"{_REQUEST} account delay_ms", "",
        "a reply comes after its events, by 200 ms",
    ),
    "replies_first": _kind(
        USER, MESSAGE, f"{_REQUEST} account delay_ms", "",
        "events come after their reply, by 200 ms",
    ),
    "close": _kind(SOCKET, INSTANT, "route code", "", "a close frame with that code; without one: cut"),
    "cut_all": _kind(SOCKET, INSTANT, "", "", "every connection is cut, REST too"),
    "frame_cut": _kind(SOCKET, INSTANT, "route", "", "TCP ends in the middle of the next frame"),
    "half_open": _kind(
        SOCKET, STATE, "route newcomers stay_dead", "",
        "TCP stays, nothing is read or written, no pong; at the end all that waited comes (`stay_dead`: never). "
        "New sockets live (`newcomers`: they too are half open)",
    ),
    "drip": _kind(SOCKET, STATE, "route bytes every_ms", "", "bytes trickle: 64 every 50 ms"),
    "handshake_error": _kind(SOCKET, MESSAGE, f"route status {_PICK}", "", "the WebSocket handshake is answered so"),
    "reply_lost": _kind(
        HTTP, MESSAGE, f"{_REQUEST} when", "",
        "a cut connection: before or after (default) it took effect, or during the answer",
    ),
    "reply_error": _kind(HTTP, MESSAGE, f"{_REQUEST} when", "variant", "an error of the exchange or of its edge"),
    "reply_body": _kind(HTTP, MESSAGE, f"{_REQUEST} when status", "body", "any text"),
    "reply_truncate": _kind(HTTP, MESSAGE, _REQUEST, "", "the first half of the JSON, well framed"),
    "reply_drip": _kind(HTTP, MESSAGE, f"{_REQUEST} bytes every_ms", "", "the answer trickles: 16 bytes every 50 ms"),
    "reply_delay": _kind(HTTP, MESSAGE, _REQUEST, "delay_ms", "the answer comes late; the request took effect at once"),
    "refuse": _kind(DOOR, STATE, "", "for_s", "the port refuses connections; those that stand go on"),
    "tls_refuse": _kind(DOOR, STATE, "", "", "the TLS handshake is refused"),
    "tls_certificate": _kind(DOOR, STATE, "", "variant", "a wrong certificate"),
    "clock": _kind(EXCHANGE, STATE, "", "skew_ms", "the exchange's clock is that much ahead (or behind: negative)"),
    "stale_info": _kind(EXCHANGE, STATE, "", "", "exchangeInfo stays as it is now, serverTime included"),
    "filters": _kind(
        EXCHANGE, STATE,
        "tick_size step_size min_notional min_qty max_qty market_max_qty max_orders multiplier_up multiplier_down",
        "symbol", "filters change: exchangeInfo and !contractInfo say so",
    ),
    "symbol_status": _kind(EXCHANGE, STATE, "", "symbol status", "the symbol is not TRADING: orders are refused"),
    "listen_key_expire": _kind(KEYS, INSTANT, "account", "", "listenKeyExpired, then silence"),
    "listen_key_delete": _kind(KEYS, INSTANT, "account", "", "another client deletes the key: the same, by DELETE"),
    "listen_key_gone": _kind(KEYS, INSTANT, "account", "", "the key dies without an event; PUT answers -1125"),
    "listen_key_mute": _kind(KEYS, MESSAGE, "account", "", "the key lives for REST, its sockets hear nothing"),
    "key_revoked": _kind(
        KEYS, STATE, "account", "",
        "the account's API keys are worth nothing: -2015; sessions of the WebSocket API are told and logged off",
    ),
    "foreign_order": _kind(
        FOREIGN, INSTANT, "account type price away_bps timeInForce positionSide reduceOnly", "symbol side quantity",
        "somebody else places an order: LIMIT, 100 bps behind the best price of its side, if nothing else is said",
    ),
    "foreign_cancel": _kind(FOREIGN, INSTANT, "account which", "symbol", "somebody else cancels orders"),
    "foreign_leverage": _kind(FOREIGN, INSTANT, "account", "symbol leverage", "somebody else changes the leverage"),
    "foreign_margin_type": _kind(
        FOREIGN, INSTANT, "account", "symbol marginType",
        "somebody else changes the margin type",
    ),
    "foreign_position_mode": _kind(FOREIGN, INSTANT, "account", "hedge", "somebody else changes the position mode"),
}  # fmt: skip
"""`depth_set` and `stream_set` set `field` to any JSON `value`, and without `value` leave it out."""

Check = Callable[[Any], bool]


def _whole(low: int, high: int) -> Check:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _number(low: float, high: float) -> Check:
    return lambda value: isinstance(value, int | float) and not isinstance(value, bool) and low < value <= high


def _decimal_text(value: Any) -> bool:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return False
    head, _, tail = str(value).partition(".")
    return head.isascii() and head.isdigit() and len(head) <= 20 and (not tail or (tail.isdigit() and len(tail) <= 12))


def _text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _one_of(*words: object) -> Check:
    return lambda value: any(value == word and type(value) is type(word) for word in words)


_TEXTS = (
    "symbol", "stream", "account", "event", "path", "method", "field", "type", "timeInForce",
)  # fmt: skip
_DECIMALS = (
    "quantity", "price", "tick_size", "step_size", "min_notional", "min_qty", "max_qty", "market_max_qty",
    "multiplier_up", "multiplier_down",
)  # fmt: skip
_CHECKS: dict[str, tuple[Check, str]] = {
    "count": (_whole(1, 10**9), "a whole number above 0"),
    "nth": (_whole(1, 10**9), "a whole number above 0"),
    "share": (_number(0, 1), "a number above 0 and at most 1"),
    "for_s": (_number(0, 1e9), "a number above 0 and at most 1e+09"),
    "delay_ms": (_whole(1, 600_000), "a whole number above 0 (ms)"),
    "code": (_whole(1, 4999), "a whole number above 0"),
    "bytes": (_whole(1, 1_000_000), "a whole number above 0"),
    "every_ms": (_whole(1, 60_000), "a whole number above 0 (ms)"),
    "status": (_whole(200, 599), "a whole number above 0, from 200 to 599"),
    "skew_ms": (_whole(-86_400_000, 86_400_000), "a whole number of ms, at most a day"),
    "leverage": (_whole(1, 125), "a whole number from 1 to 125"),
    "max_orders": (_whole(1, 10_000), "a whole number from 1 to 10000"),
    "away_bps": (_number(-5_001, 10_000), "a number from -5000 to 10000: how far behind the best price of its side"),
    "route": (_one_of(*ROUTES), f"one of {', '.join(ROUTES)}"),
    "to": (_one_of("public", "market"), "public or market"),
    "when": (_one_of("before", "during", "after"), "before, during or after"),
    "body": (lambda value: isinstance(value, str), "a text"),
    "variant": (_one_of(*ERROR_VARIANTS), f"one of {', '.join(sorted(ERROR_VARIANTS))}"),
    "which": (_one_of("all", "oldest", "newest"), "all, oldest or newest"),
    "side": (_one_of("BUY", "SELL"), "BUY or SELL"),
    "marginType": (_one_of("ISOLATED", "CROSSED"), "ISOLATED or CROSSED"),
    "positionSide": (_one_of("BOTH", "LONG", "SHORT"), "BOTH, LONG or SHORT"),
    **dict.fromkeys(_TEXTS, (_text, "a text that is not empty")),
    **dict.fromkeys(("newcomers", "stay_dead", "reduceOnly", "hedge"), (_flag, "true or false")),
    **dict.fromkeys(_DECIMALS, (_decimal_text, "a decimal number from 0 up")),
}
_CHECKS_OF_KIND: dict[tuple[str, str], tuple[Check, str]] = {
    ("tls_certificate", "variant"): (_one_of(*TLS_VARIANTS), f"one of {', '.join(TLS_VARIANTS)}"),
    ("symbol_status", "status"): (_one_of(*STATUSES), f"one of {', '.join(STATUSES)}"),
}


def must_be(kind: str, field: str) -> str:
    """What a field of a kind may be, in words; "" if it is free."""
    rule = _CHECKS_OF_KIND.get((kind, field)) or _CHECKS.get(field)
    return "" if rule is None else rule[1]


def check(spec: Mapping[str, Any]) -> Kind:
    """The kind of a specification; ValueError says which field is wrong and what it may be."""
    name = spec.get("fault")
    if not isinstance(name, str) or name not in KINDS:
        raise ValueError(f"unknown fault {name!r}; one of {', '.join(sorted(KINDS))}")
    kind = KINDS[name]
    unknown = set(spec) - kind.fields - COMMON - {"fault"}
    if unknown:
        allowed = ", ".join(sorted(kind.fields | COMMON))
        raise ValueError(f"fault {name}: unknown field {', '.join(sorted(map(str, unknown)))}; allowed: {allowed}")
    for field in sorted(kind.needs - set(spec)):
        raise ValueError(f"fault {name}: {field} is mandatory: it must be {must_be(name, field)}")
    for field, value in spec.items():
        rule = _CHECKS_OF_KIND.get((name, field)) or _CHECKS.get(field)
        if rule is not None and not rule[0](value):
            raise ValueError(f"fault {name}: {field} must be {rule[1]}, not {value!r}")
    if "nth" in spec and "share" in spec:
        raise ValueError(f"fault {name}: nth and share exclude each other")
    return kind
