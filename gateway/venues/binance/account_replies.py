"""Account replies of USDⓈ-M -> the core's words. Pure; lenient on missing fields, `ReplyError` on rubbish.

Source: reference §5, §8, §13.4, §13.5. HTTP status and body come as they were; a reply that is not a 200 with the
expected JSON raises `ReplyError` with the exchange's code where the body carried one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

from gateway.core.account_venue import FaultKind, LegWord, OwnBalance, OwnSettings, OwnTrade, ReplyError
from gateway.core.venue_orders import OrderSnapshot, VenueBalance, VenueFill, VenueOrder, VenuePosition
from gateway.venues.binance.decoding import UNREADABLE
from gateway.venues.binance.errors import KEY_CODES
from gateway.venues.binance.rest_rows import ZERO, BadRow, OrderRow, TradeRow, finite, to_fill, to_order
from gateway.venues.binance.user_frames import margin_word

NOT_FOUND = -2013
UNKNOWN_SYMBOL = -1121
CLOCK_FAULT = -1021  # our timestamp is outside the exchange's window
NOTHING_TO_CHANGE = frozenset({-4046, -4059})  # margin type, position mode already so
OPEN_STATUS = frozenset({"NEW", "PARTIALLY_FILLED"})
_KINDS: dict[int | None, FaultKind] = {NOT_FOUND: "not_found", UNKNOWN_SYMBOL: "unknown_symbol", CLOCK_FAULT: "clock"}


class _Fault(Struct, frozen=True):
    code: int | str
    msg: str = ""


class _Balance(Struct, frozen=True):
    asset: str
    balance: Decimal
    crossWalletBalance: Decimal | None = None  # noqa: N815 (the wire's name)
    availableBalance: Decimal | None = None  # noqa: N815


class _Position(Struct, frozen=True):
    symbol: str
    positionAmt: Decimal  # noqa: N815
    entryPrice: Decimal = ZERO  # noqa: N815
    positionSide: LegWord = "BOTH"  # noqa: N815
    unRealizedProfit: Decimal | None = None  # noqa: N815
    isolatedWallet: Decimal | None = None  # noqa: N815
    marginType: str | None = None  # noqa: N815
    updateTime: int = 0  # noqa: N815


class _Mode(Struct, frozen=True):
    dualSidePosition: bool  # noqa: N815


class _SymbolConfig(Struct, frozen=True):
    symbol: str
    leverage: int | None = None
    marginType: str | None = None  # noqa: N815


class _Commission(Struct, frozen=True):
    makerCommissionRate: Decimal  # noqa: N815
    takerCommissionRate: Decimal  # noqa: N815


class _Leverage(Struct, frozen=True):
    leverage: int


T = TypeVar("T")


def read_fault(status: int, body: bytes) -> ReplyError:
    """The refusal in a body that is not what was asked for; HTML and other rubbish is named, not repeated at length."""
    try:
        fault = msgspec.json.decode(body, type=_Fault)
        code = int(fault.code)
        return ReplyError(status, code, fault.msg, "keys" if code in KEY_CODES else _KINDS.get(code, ""))
    except (msgspec.DecodeError, ValueError, RecursionError):
        return ReplyError(status, None, "not JSON: " + body[:80].decode("utf-8", "replace"))


def _read(status: int, body: bytes, kind: type[T]) -> T:
    if status != 200:
        raise read_fault(status, body)
    try:
        return msgspec.json.decode(body, type=kind, strict=False)  # counts come as text here and there
    except UNREADABLE as fault:
        raise ReplyError(status, None, str(fault)) from fault


@contextmanager
def _rows(status: int) -> Iterator[None]:
    try:
        yield
    except BadRow as fault:
        raise ReplyError(status, None, str(fault)) from fault


def read_balances(status: int, body: bytes) -> tuple[OwnBalance, ...]:
    rows = _read(status, body, list[_Balance])
    out = []
    for row in rows:
        with _rows(status):
            finite(row.balance, row.crossWalletBalance, row.availableBalance)
        cross = row.balance if row.crossWalletBalance is None else row.crossWalletBalance
        out.append(OwnBalance(VenueBalance(row.asset, row.balance, cross), row.availableBalance))
    return tuple(out)


def read_positions(status: int, body: bytes) -> tuple[VenuePosition, ...]:
    """Rows of amount 0 are left out: absent and flat are the same."""
    out = []
    for row in _read(status, body, list[_Position]):
        with _rows(status):
            finite(row.positionAmt, row.entryPrice, row.unRealizedProfit, row.isolatedWallet)
        if row.positionAmt != 0:
            out.append(
                VenuePosition(
                    row.symbol,
                    row.positionSide,
                    row.positionAmt,
                    row.entryPrice,
                    row.unRealizedProfit,
                    margin_word(row.marginType),
                    row.isolatedWallet,
                    row.updateTime,
                )
            )
    return tuple(out)


def read_open_orders(status: int, body: bytes) -> tuple[VenueOrder, ...]:
    return tuple(_order(status, row, "reconcile") for row in _read(status, body, list[OrderRow]))


def read_order(status: int, body: bytes) -> VenueOrder:
    """Raises ReplyError of kind `not_found` where the exchange does not know the order."""
    return _order(status, _read(status, body, OrderRow), "query")


def _order(status: int, row: OrderRow, source: Literal["query", "reconcile"]) -> VenueOrder:
    if row.side is None:
        raise ReplyError(status, None, f"order {row.order_id} of {row.symbol} says no side")
    with _rows(status):
        return to_order(row, source)


def still_open(order: VenueOrder) -> bool:
    return order.status in OPEN_STATUS


def fill_orders(order: VenueOrder, fills: Sequence[VenueFill]) -> list[VenueOrder]:
    """An order as it is now, told as the trades that led there (by id): the last carries its present state."""
    out: list[VenueOrder] = []
    left = order.filled_qty
    for fill in reversed(fills):
        last = not out
        out.append(
            replace(
                order,
                source="reconcile",
                status=order.status if last else "PARTIALLY_FILLED",
                execution="TRADE",
                filled_qty=max(left, fill.qty),
                updated_ms=order.updated_ms if last else fill.at_ms,
                fill=fill,
            )
        )
        left -= fill.qty
    return out[::-1]


def vanished(order: OrderSnapshot, at_ms: int) -> VenueOrder:
    """An order of ours the exchange no longer knows, without a trade: it ended unfilled more than 3 days ago."""
    return VenueOrder(
        source="reconcile",
        symbol=order.symbol,
        client_order_id=order.client_order_id,
        order_id=order.order_id or 0,
        status="EXPIRED",
        side=order.side,
        type="",
        tif=None,
        qty=order.qty,
        filled_qty=order.filled_qty,
        price=order.price,
        avg_price=None,
        leg=order.leg,
        reduce_only=order.reduce_only,
        updated_ms=at_ms,
        expiry_reason="not_found",
    )


def read_trades(status: int, body: bytes) -> tuple[OwnTrade, ...]:
    """Sorted by id. The side comes from `side`, else from `buyer`."""
    out = []
    for row in sorted(_read(status, body, list[TradeRow]), key=lambda trade: trade.id):
        with _rows(status):
            fill = to_fill(row)
        side = row.side
        if side is None:
            if row.buyer is None:
                raise ReplyError(status, None, f"trade {row.id} of {row.symbol} says neither side nor buyer")
            side = "BUY" if row.buyer else "SELL"
        out.append(OwnTrade(row.symbol, row.order_id, side, row.position_side, fill))
    return tuple(out)


def read_position_mode(status: int, body: bytes) -> Literal["hedge", "one_way"]:
    return "hedge" if _read(status, body, _Mode).dualSidePosition else "one_way"


def read_symbol_settings(status: int, body: bytes) -> dict[str, OwnSettings]:
    rows = _read(status, body, list[_SymbolConfig])
    if not rows:  # every account has settings of every symbol: worth asking again
        raise ReplyError(status, None, "no settings of any symbol")
    return {row.symbol: OwnSettings(row.leverage, margin_word(row.marginType)) for row in rows}


def read_commission(status: int, body: bytes) -> tuple[Decimal, Decimal]:
    """(maker, taker) as fractions."""
    row = _read(status, body, _Commission)
    with _rows(status):
        finite(row.makerCommissionRate, row.takerCommissionRate)
    return row.makerCommissionRate, row.takerCommissionRate


def read_leverage(status: int, body: bytes) -> int:
    return _read(status, body, _Leverage).leverage


def read_done(status: int, body: bytes) -> None:
    """marginType and positionSide/dual: done, or was so already (-4046, -4059). Raises ReplyError otherwise."""
    if status == 200:
        return
    fault = read_fault(status, body)
    if fault.code not in NOTHING_TO_CHANGE:
        raise fault
