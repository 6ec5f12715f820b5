"""The table of answers: what each proves about an order, row by row."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.market_data import BadReply
from gateway.venues.binance import order_requests
from gateway.venues.binance.errors import classify, transport


def coded(code: int, text: str = "some text") -> bytes:
    return json.dumps({"code": code, "msg": text}).encode()


UNKNOWN_503 = "Unknown error, please check your request or try again later."
INTERNAL = "Internal error; unable to process your request. Please try again."
THROTTLED = (
    "Request throttled by system-level protection. Reduce-only/close-position orders are exempt. Please try again."
)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"{}", "accepted"),
        # the 503 variants
        (503, coded(-1000, UNKNOWN_503), "unknown"),
        (503, json.dumps({"msg": UNKNOWN_503}).encode(), "unknown"),
        (503, UNKNOWN_503.encode(), "unknown"),
        (503, b"Service Unavailable.", "not_sent"),
        (503, json.dumps({"code": 0, "msg": "Service Unavailable."}).encode(), "not_sent"),
        (503, coded(-1001, INTERNAL), "not_sent"),
        (503, INTERNAL.encode(), "not_sent"),
        (503, coded(-1008, THROTTLED), "not_sent"),
        (503, coded(-1008, "other words"), "not_sent"),
        (503, b"<html><h1>503 Service Unavailable</h1></html>", "unknown"),
        (503, b'{"code":-1008,"msg":"Request throttled by system-level pro', "unknown"),
        (503, b'{"msg":"Service Unavailable.', "unknown"),
        (503, b"", "unknown"),
        # execution unknown, whatever the status
        (408, coded(-1007), "unknown"),
        (408, b"", "unknown"),
        (400, coded(-1006), "unknown"),
        (400, coded(-1007), "unknown"),
        (400, coded(-1000), "unknown"),
        (400, coded(-1001), "unknown"),
        (500, b"<html>500</html>", "unknown"),
        (502, b"<html>502</html>", "unknown"),
        (504, b"", "unknown"),
        (500, coded(-4131), "unknown"),
        (400, b"", "unknown"),
        (400, b"<html>bad request</html>", "unknown"),
        (400, b'{"code":-2019,"msg":"Margin is insuf', "unknown"),
        (302, b"", "unknown"),
        # limits
        (429, coded(-1003), "limit"),
        (429, coded(-1015), "limit"),
        (429, b"<html>slow down</html>", "limit"),
        (418, coded(-1003, "Way too many requests; IP banned until 1795133400000."), "limit"),
        (403, b"<html>403 Forbidden</html>", "limit"),
        (400, coded(-1015), "limit"),
        # the clock
        (400, coded(-1021), "clock"),
        (400, coded(-5028), "clock"),
        # it exists
        (400, coded(-4116), "duplicate"),
        # cancel and query
        (400, coded(-2011, "Unknown order sent."), "not_found"),
        (400, coded(-2013, "Order does not exist."), "not_found"),
        # final refusals
        (400, coded(-2019), "rejected"),
        (400, coded(-5021), "rejected"),
        (400, coded(-5022), "rejected"),
        (400, coded(-1022), "rejected"),
        (400, coded(-99999), "rejected"),
        (401, coded(-2015), "rejected"),
        (404, b"<html>404</html>", "rejected"),
    ],
)  # fmt: skip
def test_each_answer_proves_what_the_table_says(status: int, body: bytes, kind: str) -> None:
    assert classify(status, body).kind == kind


@pytest.mark.parametrize(
    ("status", "code", "alarm"),
    [
        (401, -2014, "keys"), (401, -2015, "keys"), (400, -1002, "keys"), (400, -2023, "stop"), (400, -4400, "stop"),
        (400, -2019, "reconcile"), (400, -2022, "reconcile"), (400, -4118, "reconcile"), (400, -1111, "filters"),
        (400, -4164, "filters"), (400, -4061, "mode"), (400, -1106, "mode"), (400, -2010, ""), (400, -5022, ""),
    ],
)  # fmt: skip
def test_what_a_refusal_means_beyond_its_order(status: int, code: int, alarm: str) -> None:
    verdict = classify(status, coded(code, "words"))
    assert (verdict.kind, verdict.alarm, verdict.code, verdict.text) == ("rejected", alarm, code, "words")


def test_a_page_of_the_edge_is_its_own_alarm() -> None:
    verdict = classify(403, b"<html>403 Forbidden</html>")
    assert (verdict.kind, verdict.alarm, verdict.code) == ("limit", "edge", None)


def test_only_the_internal_error_is_asked_for_before_a_new_attempt() -> None:
    """The documents call it failed, and advise to ask all the same."""
    assert classify(503, coded(-1001, INTERNAL)).ask_first
    assert classify(503, INTERNAL.encode()).ask_first
    assert not classify(503, b"Service Unavailable.").ask_first
    assert not classify(503, coded(-1008, THROTTLED)).ask_first


@given(st.integers(500, 599), st.binary(max_size=80))
def test_no_answer_of_a_broken_server_is_ever_a_final_refusal(status: int, body: bytes) -> None:
    assert classify(status, body).kind in ("unknown", "not_sent")


@given(st.integers(100, 599), st.binary(max_size=200))
def test_any_bytes_are_classified_and_their_text_is_short(status: int, body: bytes) -> None:
    assert len(classify(status, body).text) <= 300


def test_what_never_left_was_not_executed_and_all_else_is_unknown() -> None:
    assert transport(sent=False, reason="connection refused").kind == "not_sent"
    assert transport(sent=True, reason="connection reset").kind == "unknown"


REPLY = (
    b'{"orderId":8886774001,"symbol":"BTCUSDT","status":"NEW","clientOrderId":"b1-macd-0001","price":"91250.00",'
    b'"origQty":"0.010","executedQty":"0.000","cumQty":"0.000","timeInForce":"GTC","type":"LIMIT","reduceOnly":false,'
    b'"closePosition":false,"side":"BUY","positionSide":"BOTH","stopPrice":"0.00","workingType":"CONTRACT_PRICE",'
    b'"priceProtect":false,"origType":"LIMIT","priceMatch":"NONE","selfTradePreventionMode":"EXPIRE_MAKER",'
    b'"goodTillDate":0,"updateTime":1795132800200}'
)


def test_a_documented_reply_is_read() -> None:
    order = order_requests.parse_order(REPLY, "reply")
    assert (order.order_id, order.client_order_id, order.status) == (8886774001, "b1-macd-0001", "NEW")
    assert (str(order.qty), str(order.filled_qty), str(order.price)) == ("0.010", "0.000", "91250.00")
    assert order_requests.meaning(order) == "working"


@given(st.integers(0, len(REPLY) - 1))
def test_a_reply_cut_anywhere_proves_nothing(length: int) -> None:
    with pytest.raises(BadReply):
        order_requests.parse_order(REPLY[:length], "reply")


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"code":200}',
        REPLY.replace(b'"0.010"', b'"abc"'),
        REPLY.replace(b'"0.010"', b'"NaN"'),
    ],
)
def test_a_reply_that_is_no_order_proves_nothing(body: bytes) -> None:
    with pytest.raises(BadReply):
        order_requests.parse_order(body, "reply")


@pytest.mark.parametrize("body", [b"{}", b'[{"symbol":"BTCUSDT"}]', b"<html>", REPLY])
def test_lists_that_are_none_prove_nothing(body: bytes) -> None:
    with pytest.raises(BadReply):
        order_requests.parse_orders(body, "query")
    with pytest.raises(BadReply):
        order_requests.parse_trades(body)


def test_a_documented_trade_is_read_with_its_quantity_not_the_base_quantity() -> None:
    body = (
        b'[{"symbol":"BTCUSDT","id":6512034411,"orderId":8886774001,"pair":"BTCUSDT","side":"BUY","price":"91250.00",'
        b'"qty":"0.004","realizedPnl":"0","quoteQty":"365.00000","commission":"0.07300000","commissionAsset":"USDT",'
        b'"time":1795132801249,"positionSide":"BOTH","baseQty":"0","marginAsset":"USDT","buyer":true,"maker":true}]'
    )
    (row,) = order_requests.parse_trades(body)
    assert (row.symbol, row.order_id, row.fill.trade_id) == ("BTCUSDT", 8886774001, 6512034411)
    assert (str(row.fill.qty), str(row.fill.fee), row.fill.maker) == ("0.004", "0.07300000", True)


@pytest.mark.parametrize(
    ("status", "meaning"),
    [("NEW", "working"), ("PARTIALLY_FILLED", "partial"), ("FILLED", "full"), ("CANCELED", "cancelled"),
     ("EXPIRED", "expired"), ("EXPIRED_IN_MATCH", "expired"), ("REJECTED", "refused"), ("NEW_ADL", "working")],
)  # fmt: skip
def test_the_exchanges_words(status: str, meaning: str) -> None:
    order = order_requests.parse_order(REPLY.replace(b'"NEW"', f'"{status}"'.encode()), "query")
    assert order_requests.meaning(order) == meaning
