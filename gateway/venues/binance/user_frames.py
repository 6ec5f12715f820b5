"""User data frames -> `gateway.core.venue_orders`. Pure; lenient on missing fields, strict on rubbish.

Source: reference §6, §13.6. Both envelopes are read: the bare event (ws mode) and `{"stream", "data"}` (stream mode).
Everything that is not one well-formed event raises `UserFrameError`; an event we do not use is `Ignored(name)`.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct, field

from gateway.core.account_venue import LegWord, UserFrameError
from gateway.core.venue_orders import (
    AccountUpdate,
    ConfigUpdate,
    Ignored,
    KeyExpired,
    MarginCall,
    UserEvent,
    VenueBalance,
    VenueFill,
    VenueOrder,
    VenuePosition,
)

ZERO = Decimal(0)
REASONS = {"ORDER": "order", "FUNDING_FEE": "funding"}  # the others say only that money moved
MAX_NAME_CHARS = 64  # of an unknown event's name: it becomes a counter's label
MAX_ADJUSTED = 30  # decimal exponent beyond which a number is rubbish, not a price


class _Envelope(Struct, frozen=True):
    e: str | None = None
    data: msgspec.Raw = msgspec.Raw()


class _Order(Struct, frozen=True):
    s: str
    side: Literal["BUY", "SELL"] = field(name="S")
    status: str = field(name="X")
    execution: str = field(name="x")
    order_id: int = field(name="i")
    client_id: str = field(name="c")
    type: str = field(name="o", default="")
    tif: str | None = field(name="f", default=None)
    qty: Decimal = field(name="q", default=ZERO)
    price: Decimal = field(name="p", default=ZERO)
    avg_price: Decimal = field(name="ap", default=ZERO)
    last_qty: Decimal = field(name="l", default=ZERO)
    filled: Decimal = field(name="z", default=ZERO)
    last_price: Decimal = field(name="L", default=ZERO)
    fee_asset: str | None = field(name="N", default=None)
    fee: Decimal | None = field(name="n", default=None)
    trade_ms: int | None = field(name="T", default=None)
    trade_id: int = field(name="t", default=0)
    maker: bool = field(name="m", default=False)
    reduce_only: bool = field(name="R", default=False)
    leg: LegWord = field(name="ps", default="BOTH")
    realised: Decimal | None = field(name="rp", default=None)
    expiry: str | int | None = field(name="er", default=None)


class _OrderFrame(Struct, frozen=True):
    o: _Order
    at: int | None = field(name="T", default=None)
    event: int | None = field(name="E", default=None)


class _BalanceRow(Struct, frozen=True):
    a: str
    wb: Decimal
    cw: Decimal | None = None
    bc: Decimal | None = None


class _PositionRow(Struct, frozen=True):
    s: str
    pa: Decimal
    ep: Decimal = ZERO
    up: Decimal | None = None
    mt: str | None = None
    iw: Decimal | None = None
    ps: LegWord = "BOTH"


class _Account(Struct, frozen=True):
    m: str = ""
    balances: list[_BalanceRow] = field(name="B", default_factory=list)
    positions: list[_PositionRow] = field(name="P", default_factory=list)
    symbol: str | None = field(name="S", default=None)


class _AccountFrame(Struct, frozen=True):
    a: _Account
    at: int | None = field(name="T", default=None)
    event: int | None = field(name="E", default=None)


class _Leverage(Struct, frozen=True):
    s: str
    leverage: int = field(name="l")


class _Multi(Struct, frozen=True):
    j: bool


class _ConfigFrame(Struct, frozen=True):
    ac: _Leverage | None = None
    ai: _Multi | None = None
    event: int | None = field(name="E", default=None)


class _MarginFrame(Struct, frozen=True):
    p: list[_PositionRow] = []
    event: int | None = field(name="E", default=None)


class _ExpiredFrame(Struct, frozen=True):
    key: str = field(name="listenKey", default="")
    event: int | str | None = field(name="E", default=None)


T = TypeVar("T")
_envelope = msgspec.json.Decoder(_Envelope)
_order = msgspec.json.Decoder(_OrderFrame)
_account = msgspec.json.Decoder(_AccountFrame)
_config = msgspec.json.Decoder(_ConfigFrame)
_margin = msgspec.json.Decoder(_MarginFrame)
_expired = msgspec.json.Decoder(_ExpiredFrame)


_PUSHED = re.compile(rb'"E"\s*:\s*"?[0-9]+"?')


def user_frame_identity(data: bytes) -> bytes:
    """The frame without `E`, the time of the push: two connections may be served by two servers."""
    return _PUSHED.sub(b"", data)


def parse_user_frame(data: bytes) -> UserEvent:
    """One text frame as one event. Raises UserFrameError; never anything else."""
    envelope = _decode(_envelope, data, "user frame")
    if envelope.e is None and len(inner := bytes(envelope.data)) > 0:
        data = inner
        envelope = _decode(_envelope, data, "user frame's data")
    name = envelope.e
    if name == "ORDER_TRADE_UPDATE":
        return _order_update(_decode(_order, data, name))
    if name == "ACCOUNT_UPDATE":
        return _account_update(_decode(_account, data, name))
    if name == "ACCOUNT_CONFIG_UPDATE":
        return _config_update(_decode(_config, data, name))
    if name == "MARGIN_CALL":
        frame = _decode(_margin, data, name)
        return MarginCall(frame.event or 0, tuple(_position(row, 0) for row in frame.p))
    if name == "listenKeyExpired":
        expired = _decode(_expired, data, name)
        return KeyExpired(_int(expired.event), expired.key)
    return Ignored(name[:MAX_NAME_CHARS] if name else "control")


def _decode(decoder: msgspec.json.Decoder[T], data: bytes, what: str) -> T:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise UserFrameError(f"{what}: {str(fault)[:150]} ({len(data)} bytes)") from fault
    except RecursionError as fault:
        raise UserFrameError(f"{what}: nested too deeply ({len(data)} bytes)") from fault


def _order_update(frame: _OrderFrame) -> VenueOrder:
    o = frame.o
    _finite("ORDER_TRADE_UPDATE", o.qty, o.price, o.avg_price, o.last_qty, o.filled, o.last_price, o.fee, o.realised)
    if o.qty < 0 or o.last_qty < 0 or o.filled < 0:
        raise UserFrameError(f"ORDER_TRADE_UPDATE: negative quantity of order {o.order_id}")
    at_ms = o.trade_ms or frame.at or frame.event or 0
    fill = None
    if o.last_qty > 0:
        if o.trade_id <= 0 or o.last_price <= 0:
            raise UserFrameError(f"ORDER_TRADE_UPDATE: fill of order {o.order_id} without trade id or price")
        fill = VenueFill(
            trade_id=o.trade_id,
            qty=o.last_qty,
            price=o.last_price,
            fee=o.fee,
            fee_asset=o.fee_asset,
            realised=o.realised,
            maker=o.maker,
            at_ms=at_ms,
        )
    expiry = None if o.expiry in (None, "0", 0) else str(o.expiry)
    return VenueOrder(
        source="stream",
        symbol=o.s,
        client_order_id=o.client_id,
        order_id=o.order_id,
        status=o.status,
        side=o.side,
        type=o.type,
        tif=o.tif,
        qty=o.qty,
        filled_qty=o.filled,
        price=o.price or None,
        avg_price=o.avg_price or None,
        leg=o.leg,
        reduce_only=o.reduce_only,
        updated_ms=at_ms,
        execution=o.execution,
        expiry_reason=expiry,
        fill=fill,
    )


def _account_update(frame: _AccountFrame) -> AccountUpdate:
    at_ms = frame.at or frame.event or 0
    balances = []
    for row in frame.a.balances:
        _finite("ACCOUNT_UPDATE", row.wb, row.cw, row.bc)
        balances.append(VenueBalance(row.a, row.wb, row.wb if row.cw is None else row.cw, row.bc))
    positions = tuple(_position(row, at_ms) for row in frame.a.positions)
    event_ms = frame.event or at_ms
    reason = REASONS.get(frame.a.m, frame.a.m.lower())
    return AccountUpdate(reason, event_ms, at_ms, tuple(balances), positions, frame.a.symbol)


def _position(row: _PositionRow, at_ms: int) -> VenuePosition:
    _finite("position row", row.pa, row.ep, row.up, row.iw)
    return VenuePosition(row.s, row.ps, row.pa, row.ep, row.up, margin_word(row.mt), row.iw, at_ms)


def _config_update(frame: _ConfigFrame) -> ConfigUpdate:
    return ConfigUpdate(
        event_ms=frame.event or 0,
        symbol=frame.ac.s if frame.ac else None,
        leverage=frame.ac.leverage if frame.ac else None,
        multi_assets=frame.ai.j if frame.ai else None,
    )


def margin_word(word: str | None) -> str | None:
    """The exchange spells it cross, crossed, CROSSED, isolated, ISOLATED; ours are `crossed` and `isolated`."""
    if word is None:
        return None
    lower = word.lower()
    return "crossed" if lower in ("cross", "crossed") else lower


def _finite(what: str, *values: Decimal | None) -> None:
    for value in values:
        if value is not None and (not value.is_finite() or (value != 0 and abs(value.adjusted()) > MAX_ADJUSTED)):
            raise UserFrameError(f"{what}: not a usable number: {str(value)[:40]}")


def _int(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0
