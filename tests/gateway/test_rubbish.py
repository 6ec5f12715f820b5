"""Rubbish from the exchange: every reader of the adapter answers with its own named error, whatever the bytes are."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.core.account_venue import ReplyError, UserFrameError
from gateway.core.market_data import BadFrame, BadReply
from gateway.venues.binance import account, errors, limits, market, order_requests

Reader = Callable[[bytes], object]

DEEP = b'{"symbols":[{"symbol":"A","x":' + b"[" * 50_000
RUBBISH = {
    "deep": DEEP,
    "deep object": b'{"x":' * 50_000,
    "deep in a list": b'[{"symbol":"A","x":' + b"[" * 50_000,
    "deep in a frame": b'{"stream":"a@depth@100ms","data":{"e":"depthUpdate","s":"A","x":' + b"[" * 50_000,
    "no UTF-8": b'{"stream":"\xff","symbol":"\xff","code":-1,"msg":"\xff","clientOrderId":"\xfe","e":"\xff"}',
    "bytes": b"\xff\xfe\x00",
    "nothing": b"",
    "HTML": b"<html><body>502</body></html>",
    "cut": b'{"symbol":"BTCUSDT","orderId":1,"clientOr',
    "other types": b'{"symbol":1,"code":"x","msg":2,"data":[],"stream":{},"e":5}',
    "a huge number": b'{"code":1e999,"serverTime":1e400,"E":99999999999999999999999999}',
}
MARKET_REPLIES = (market.parse_snapshot, market.parse_history, market.parse_exchange_info, market.parse_time)
ACCOUNT_REPLIES = (
    account.read_balances, account.read_positions, account.read_open_orders, account.read_order, account.read_trades,
    account.read_position_mode, account.read_symbol_settings, account.read_commission, account.read_leverage,
)  # fmt: skip


def market_replies(body: bytes) -> None:
    for read in (*MARKET_REPLIES, market.parse_listen_key):
        for status in (200, 400):
            with pytest.raises(BadReply):
                read(status, body)
    with pytest.raises(BadReply):
        market.parse_renewal(400, body)


def account_replies(body: bytes) -> None:
    for read in ACCOUNT_REPLIES:
        for status in (200, 400):
            with pytest.raises(ReplyError):
                read(status, body)
    with pytest.raises(ReplyError):
        account.read_done(400, body)


def order_replies(body: bytes) -> None:
    with pytest.raises(BadReply):
        order_requests.parse_order(body, "reply")
    with pytest.raises(BadReply):
        order_requests.parse_orders(body, "query")
    with pytest.raises(BadReply):
        order_requests.parse_trades(body)


def frames(body: bytes) -> None:
    assert isinstance(market.parse(body), BadFrame)


def verdicts(body: bytes) -> None:
    """No answer at all is worse than a wrong one: both speak of what cannot be read as proving nothing or refusing."""
    assert errors.classify(503, body).kind == "unknown"
    assert errors.classify(400, body).kind in ("rejected", "unknown")
    assert limits.stop(400, body) is None
    assert limits.stop(429, body) is not None


READERS = (market_replies, account_replies, order_replies, frames, verdicts)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
@pytest.mark.parametrize("name", RUBBISH)
def test_what_cannot_be_read_is_named_by_every_reader(name: str, reader: Reader) -> None:
    reader(RUBBISH[name])


@pytest.mark.parametrize("name", RUBBISH)
def test_a_user_frame_that_cannot_be_read_is_an_error_or_an_event_without_a_name(name: str) -> None:
    try:
        event = account.parse_user_frame(RUBBISH[name])
    except UserFrameError:
        return
    assert type(event).__name__ == "Ignored"


@given(st.binary(max_size=200))
def test_no_bytes_make_a_reader_raise_anything_else(body: bytes) -> None:
    with contextlib.suppress(ValueError):
        json.loads(body)
        assume(False)  # an empty list is an answer
    order_replies(body)
    account_replies(body)
    assert isinstance(market.parse(body), BadFrame)
