"""Frames of the public and market WebSocket families, and REST market data -> the core's own types. Pure.

Stream mode (`{"stream": ..., "data": ...}`) is what we subscribe to: the diff and the partial depth streams carry the
same event name and only the stream's name tells them apart. A good frame is decoded by one typed decoder; only what
that refuses is looked at again, to be counted under its own name.

Source: reference sections 2.1, 2.2, 2.5, 2.6 and 13; key order is not fixed, unknown fields are ignored.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from gateway.core.market_data import (
    BadFrame,
    BadReply,
    BarUpdate,
    CommandReply,
    Diff,
    HistoryRow,
    KeyRefused,
    Level,
    ListenKeyGone,
    MarkUpdate,
    Parsed,
    Snapshot,
    Streamed,
    Unused,
)
from gateway.venues.binance.decoding import UNREADABLE
from gateway.venues.binance.errors import KEY_CODES
from ipc.slices import BarRow

MAX_FRAME_BYTES = 16 * 1024 * 1024  # one 100 ms frame of BTCUSDT was seen with 2259 levels; far above any real one

_DIFF_NAMES = {
    "symbol": "s", "first_id": "U", "last_id": "u", "prev_id": "pu", "event_ms": "E", "bids": "b", "asks": "a",
}  # fmt: skip
_MARK_NAMES = {
    "symbol": "s", "event_ms": "E", "mark": "p", "index": "i", "funding_rate": "r", "next_funding_ms": "T",
}  # fmt: skip

# Event names of the public and market families that are not subscribed to here.
KNOWN_EVENTS = frozenset(
    {
        "bookTicker", "trade", "aggTrade", "continuous_kline", "24hrTicker", "24hrMiniTicker", "forceOrder",
        "contractInfo", "compositeIndex", "assetIndexUpdate", "EquityUpdate", "CommodityUpdate", "KR_EquityUpdate",
        "HK_EquityUpdate", "CN_EquityUpdate",
    }
)  # fmt: skip

_DECIMALS = re.compile(r"(?: [0-9]{1,20}(?:\.[0-9]{1,20})?)+", re.ASCII)
_POSITIVE = re.compile(r"(?=.*[1-9])[0-9]{1,20}(?:\.[0-9]{1,20})?", re.ASCII)
_SIGNED = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?", re.ASCII)
_STREAM = re.compile(rb'\s*\{\s*"stream"\s*:\s*"([^"\\]{1,100})"')


# Wire forms of the core's types: fields are named again because renaming reaches only a class's own ones.
class _Depth(Diff, kw_only=True, tag_field="e", tag="depthUpdate", rename=_DIFF_NAMES):
    symbol: str
    first_id: int
    last_id: int
    prev_id: int
    event_ms: int
    bids: list[Level]
    asks: list[Level]


class _Mark(MarkUpdate, kw_only=True, tag_field="e", tag="markPriceUpdate", rename=_MARK_NAMES):
    symbol: str
    event_ms: int
    mark: str
    index: str | None = None
    funding_rate: str | None = None
    next_funding_ms: int | None = None


class _K(Struct):
    t: int
    T: int
    i: str
    o: str
    h: str
    l: str  # noqa: E741
    c: str
    v: str
    q: str
    n: int
    x: bool


class _Kline(Struct, tag_field="e", tag="kline"):
    E: int
    s: str
    k: _K


class _Envelope(Struct):
    stream: str
    data: _Depth | _Mark | _Kline


LISTEN_KEY_GONE = -1125

_decode = msgspec.json.Decoder(_Envelope).decode


def parse(data: bytes) -> Parsed:
    """One text frame. Never raises: what cannot be used is a BadFrame."""
    if len(data) > MAX_FRAME_BYTES:
        return BadFrame("too_long", f"{len(data)} bytes, at most {MAX_FRAME_BYTES}", _stream_of(data))
    try:
        envelope = _decode(data)
    except UNREADABLE as error:
        return _look_again(data, error)
    event = envelope.data
    if type(event) is _Depth:
        return Streamed(envelope.stream, event)
    if type(event) is _Mark:
        fault = _mark_fault(event)
        return Streamed(envelope.stream, event) if fault is None else BadFrame("bad_value", fault, envelope.stream)
    assert isinstance(event, _Kline)
    row = _bar_row(event.k)
    if row is None:
        return BadFrame("bad_value", f"kline of {event.s[:40]}: a price or volume is not a decimal", envelope.stream)
    bar = BarUpdate(symbol=event.s, interval=event.k.i, event_ms=event.E, close_ms=event.k.T, final=event.k.x, row=row)
    return Streamed(envelope.stream, bar)


def _mark_fault(event: MarkUpdate) -> str | None:
    if _POSITIVE.fullmatch(event.mark) is None:
        return f"mark price {event.mark[:40]!r} of {event.symbol[:40]} is not a positive decimal"
    if event.index is not None and _DECIMALS.fullmatch(" " + event.index) is None:
        return f"index price {event.index[:40]!r} of {event.symbol[:40]} is not a decimal"
    if event.funding_rate and _SIGNED.fullmatch(event.funding_rate) is None:
        return f"funding rate {event.funding_rate[:40]!r} of {event.symbol[:40]} is not a decimal"
    return None


def _bar_row(k: _K) -> BarRow | None:
    if _DECIMALS.fullmatch(f" {k.o} {k.h} {k.l} {k.c} {k.v} {k.q}") is None or k.t >= k.T or k.n < 0:
        return None
    return BarRow(k.t, k.o, k.h, k.l, k.c, k.v, k.q, k.n)


def _look_again(data: bytes, error: Exception) -> Parsed:
    """Why the typed decoder refused a frame. Slow and rare."""
    stream = _stream_of(data)
    try:
        loose: Any = msgspec.json.decode(data)
    except UNREADABLE as bad:
        kind = "html" if data.lstrip()[:1] == b"<" else "not_json"
        return BadFrame(kind, f"{str(bad)[:120]} in {len(data)} bytes", stream)
    if not isinstance(loose, dict):
        return BadFrame("bad_shape", f"a JSON {type(loose).__name__}, not an object", stream)
    if "data" not in loose:
        return _command_reply(loose) or _named(loose, None, error)
    return _named(loose["data"], stream, error)


def _stream_of(data: bytes) -> str | None:
    """The stream's name from the front of a frame that may be cut or broken behind it."""
    prefix = _STREAM.match(data[:200])
    return prefix.group(1).decode("utf-8", "replace") if prefix is not None else None


def _command_reply(loose: dict[str, Any]) -> CommandReply | None:
    fault = loose.get("error", loose)
    number = loose.get("id") if isinstance(loose.get("id"), int) else None
    if isinstance(fault, dict) and "code" in fault and "msg" in fault:
        return CommandReply(number, f"{fault['code']}: {str(fault['msg'])[:120]}")
    if "result" in loose:
        return CommandReply(number, None)
    return None


def _named(event: Any, stream: str | None, error: Exception) -> Parsed:
    if isinstance(event, list) and event and isinstance(event[0], dict):
        event = event[0]  # the all-market forms come as arrays
    name = event.get("e") if isinstance(event, dict) else None
    if not isinstance(name, str):
        return BadFrame("bad_shape", "no event name `e`", stream)
    if name in KNOWN_EVENTS:
        return Unused(name, known=True)
    if name in ("depthUpdate", "markPriceUpdate", "kline"):
        kind = "bad_fields" if stream is not None else "no_stream"
        return BadFrame(kind, f"{name}: {str(error)[:120]}", stream)
    return Unused(name[:40], known=False)


class _DepthReply(Snapshot, kw_only=True, rename={"last_id": "lastUpdateId", "event_ms": "E"}):
    last_id: int
    event_ms: int | None = None
    bids: list[Level]
    asks: list[Level]


class _Row(Struct, array_like=True):
    t: int
    o: str
    h: str
    l: str  # noqa: E741
    c: str
    v: str
    T: int
    q: str
    n: int


class _Time(Struct, rename={"server_ms": "serverTime"}):
    server_ms: int


class _ListenKey(Struct, rename={"listen_key": "listenKey"}):
    listen_key: str


class _Refusal(Struct):
    code: int
    msg: str = ""


R = TypeVar("R")


def _reply(kind: type[R], status: int, body: bytes, what: str) -> R:
    if status != 200:
        raise _refused(status, body, what)
    try:
        return msgspec.json.decode(body, type=kind)
    except UNREADABLE as error:
        shape = "HTML" if body.lstrip()[:1] == b"<" else "not what the exchange documents"
        raise BadReply(f"{what}: the answer is {shape} ({str(error)[:120]})") from None


def _refused(status: int, body: bytes, what: str) -> BadReply:
    code, text = refusal(body)
    kind = KeyRefused if code in KEY_CODES else BadReply
    return kind(f"{what}: HTTP {status}" + (f", code {code}: {text}" if code is not None else f" {text}"))


def refusal(body: bytes) -> tuple[int | None, str]:
    """(code, text) of an error body; (None, a short word) where it is not the exchange's JSON."""
    try:
        parsed = msgspec.json.decode(body, type=_Refusal)
    except UNREADABLE:
        return None, "(an HTML page)" if body.lstrip()[:1] == b"<" else "(no error body)"
    return parsed.code, parsed.msg[:120]


def parse_snapshot(status: int, body: bytes) -> Snapshot:
    """`GET /fapi/v1/depth`. Raises BadReply. Levels are checked when they enter a book."""
    return _reply(_DepthReply, status, body, "depth snapshot")


def parse_history(status: int, body: bytes) -> list[HistoryRow]:
    """`GET /fapi/v1/klines`, ascending. Raises BadReply."""
    rows = _reply(list[_Row], status, body, "klines")
    result: list[HistoryRow] = []
    for k in rows:
        if _DECIMALS.fullmatch(f" {k.o} {k.h} {k.l} {k.c} {k.v} {k.q}") is None or k.t >= k.T or k.n < 0:
            raise BadReply(f"klines: the bar at {k.t} holds a price, volume or time that cannot be")
        if result and k.t <= result[-1].row.open_ms:
            raise BadReply(f"klines: the bar at {k.t} is out of order")
        result.append(HistoryRow(BarRow(k.t, k.o, k.h, k.l, k.c, k.v, k.q, k.n), k.T))
    return result


def parse_time(status: int, body: bytes) -> int:
    """`GET /fapi/v1/time` in ms. Raises BadReply."""
    server_ms = _reply(_Time, status, body, "server time").server_ms
    if not 1_500_000_000_000 < server_ms < 10_000_000_000_000:
        raise BadReply(f"server time: {server_ms} is not a time in milliseconds")
    return server_ms


def parse_listen_key(status: int, body: bytes) -> str:
    """`POST /fapi/v1/listenKey`. Raises BadReply (never quoting the key)."""
    key = _reply(_ListenKey, status, body, "key of the private stream").listen_key
    if re.fullmatch(r"[A-Za-z0-9_-]{1,256}", key) is None:
        raise BadReply("key of the private stream: it has characters no key has")
    return key


def parse_renewal(status: int, body: bytes) -> None:
    """`PUT /fapi/v1/listenKey`. Raises BadReply; ListenKeyGone where the exchange does not know the key."""
    if refusal(body)[0] == LISTEN_KEY_GONE:
        raise ListenKeyGone(f"the exchange no longer knows the key ({LISTEN_KEY_GONE})")
    if status != 200:
        raise _refused(status, body, "listenKey")
