"""One order attempt as the order path holds it, its journal row, and how others see it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

import msgspec

from gateway.core.rows import OrderRow
from gateway.core.venue_orders import OrderSnapshot, VenueFill, VenueOrder
from ipc.events import Ids
from ipc.wire import IntentId, OrderView
from rules.instrument import text
from rules.orders import ACCEPTED, CLOSED, Progress
from rules.risk import Standing

ZERO = Decimal(0)


class Order(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One attempt; journalled whole in `OrderRow.state_json`. `brain` None: foreign, no intent of ours made it.

    `sent_ms` and `valid_until_ms` are on the exchange's clock: the request's timestamp, and when it can be accepted no
    more. `acked`: the exchange is known to have (had) it. `cancel`: it is to be cancelled until known closed.
    `checks`: what approved it. `sent_boot_ns`, `doubt_boot_ns` (unknown since) are of this process's life.
    """

    cid: str
    brain: str | None
    run: str = ""
    seq: int = 0
    attempt: int = 1
    symbol: str
    side: Literal["BUY", "SELL"]
    type: str
    qty_text: str
    price: Decimal | None = None
    tif: str | None = None
    leg: Literal["BOTH", "LONG", "SHORT"] = "BOTH"
    reduce_only: bool = False
    post_only: bool = False
    hedge: bool = False
    role: Literal["entry", "close"] = "entry"
    tag: str = ""
    checks: tuple[str, ...] = ()
    progress: Progress
    order_id: int | None = None
    status: str | None = None
    acked: bool = False
    cancel: bool = False
    final: bool = False
    reason: str | None = None
    fees: dict[str, Decimal] = {}
    realised: Decimal = ZERO
    created_ms: int = 0
    updated_ms: int = 0
    sent_ms: int = 0
    valid_until_ms: int = 0
    sent_boot_ns: int | None = None
    doubt_boot_ns: int | None = None

    @property
    def state(self) -> str:
        return self.progress.state

    @property
    def closed(self) -> bool:
        return self.progress.state in CLOSED

    @property
    def accepted(self) -> bool:
        return self.progress.state in ACCEPTED

    @property
    def in_doubt(self) -> bool:
        """Sent and not answered, or unknown."""
        return self.progress.state in ("sent", "unknown")

    @property
    def bounded(self) -> bool:
        """The exchange itself keeps it from crossing zero: reduceOnly, or in hedge mode the leg's closing side."""
        return self.role == "close" and (self.reduce_only or self.hedge)

    @property
    def taker(self) -> bool:
        """It must end by itself at once."""
        return self.type == "MARKET" or self.tif in ("IOC", "FOK")

    @property
    def intent(self) -> IntentId | None:
        return IntentId(self.brain, self.run, self.seq) if self.brain is not None else None

    @property
    def intent_text(self) -> str | None:
        return f"{self.brain}/{self.run}/{self.seq}" if self.brain is not None else None


_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)


def encode(order: Order) -> bytes:
    return _encoder.encode(order)


def encode_fill(fill: VenueFill) -> bytes:
    return _encoder.encode(fill)


def decode(raw: bytes) -> Order:
    """From a journal row; times of another process's life are forgotten."""
    order = _decoder.decode(raw)
    order.sent_boot_ns = None
    order.doubt_boot_ns = None
    return order


def row(order: Order, wall_ns: int) -> OrderRow:
    return OrderRow(
        order.cid,
        order.brain if order.brain is not None else "",
        order.run,
        order.seq,
        order.attempt,
        order.symbol,
        order.progress.state not in CLOSED,
        wall_ns,
        _encoder.encode(order),
    )


def standing(order: Order) -> Standing:
    return Standing(order.side, order.leg, order.role == "close", order.progress.remaining)


def ids(order: Order, trade_id: int | None = None) -> Ids:
    return Ids(intent=order.intent_text, client_order_id=order.cid, order_id=order.order_id, trade_id=trade_id)


def event_data(order: Order) -> dict[str, Any]:
    """The fields every `order.*` event carries."""
    progress = order.progress
    data: dict[str, Any] = {
        "client_order_id": order.cid,
        "side": order.side,
        "qty": order.qty_text,
        "filled_qty": text(progress.filled) if progress.traded else "0",
        "state": progress.state,
        "role": order.role,
    }
    if order.price is not None:
        data["price"] = text(order.price)
    if progress.traded:
        data["avg_price"] = average_text(progress)
    if order.reason is not None:
        data["reason"] = order.reason
    return data


def average_text(progress: Progress) -> str | None:
    average = progress.avg_price
    if average is None:
        return None
    return text(average.quantize(Decimal("1e-12")).normalize())


def view(order: Order) -> OrderView:
    progress = order.progress
    return OrderView(
        client_order_id=order.cid,
        symbol=order.symbol,
        side=order.side,
        type=order.type,
        state=progress.state,
        qty=order.qty_text,
        filled_qty=text(progress.filled) if progress.traded else "0",
        price=text(order.price) if order.price is not None else None,
        avg_price=average_text(progress) if progress.traded else None,
        order_id=order.order_id,
        status=order.status,
        tif=order.tif,
        leg=order.leg,
        reduce_only=order.reduce_only,
        post_only=order.post_only,
        intent=order.intent,
        attempt=order.attempt,
        tag=order.tag,
        role=order.role,
        foreign=order.brain is None,
        fees={asset: text(fee) for asset, fee in order.fees.items()} if order.fees else {},
        realised=text(order.realised) if order.realised else "0",
        reason=order.reason,
        created_ms=order.created_ms,
        updated_ms=order.updated_ms,
    )


def snapshot(order: Order) -> OrderSnapshot:
    progress = order.progress
    return OrderSnapshot(
        client_order_id=order.cid,
        order_id=order.order_id,
        symbol=order.symbol,
        side=order.side,
        leg=order.leg,
        state=progress.state,
        qty=progress.qty,
        filled_qty=progress.filled,
        price=order.price,
        reduce_only=order.reduce_only,
        role=order.role,
        brain=order.brain,
        intent=order.intent,
        attempt=order.attempt,
        sent_boot_ns=order.sent_boot_ns,
        updated_ms=order.updated_ms,
    )


def is_another(order: Order, said: VenueOrder) -> bool:
    """The same client order id, but not the same order at the exchange."""
    return said.order_id > 0 and (order.order_id not in (None, said.order_id) or order.symbol != said.symbol)


def foreign(venue_order: VenueOrder) -> Order:
    """An order of this account that no intent in the journal made. Its role: what the exchange bounds is a close."""
    hedge = venue_order.leg != "BOTH"
    closing = venue_order.reduce_only or (hedge and (venue_order.side == "SELL") == (venue_order.leg == "LONG"))
    return Order(
        cid=venue_order.client_order_id,
        brain=None,
        symbol=venue_order.symbol,
        side=venue_order.side,
        type=venue_order.type,
        qty_text=text(venue_order.qty),
        price=venue_order.price,
        tif=venue_order.tif,
        leg=venue_order.leg,
        reduce_only=venue_order.reduce_only,
        post_only=venue_order.tif == "GTX",
        hedge=hedge,
        role="close" if closing else "entry",
        progress=Progress(qty=venue_order.qty, state="sent"),
        created_ms=venue_order.updated_ms,
    )
