"""User data frames and account replies: every field where it belongs, both envelopes, and rubbish by name."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.account_venue import OwnBalance, OwnSettings, OwnTrade, ReplyError, UserFrameError
from gateway.core.venue_orders import (
    AccountUpdate,
    ConfigUpdate,
    Ignored,
    KeyExpired,
    MarginCall,
    OrderSnapshot,
    VenueBalance,
    VenueFill,
    VenueOrder,
    VenuePosition,
)
from gateway.venues.binance import account_replies as replies
from gateway.venues.binance import account_requests as requests
from gateway.venues.binance.user_frames import parse_user_frame

D = Decimal
FILL: dict[str, Any] = {
    "e": "ORDER_TRADE_UPDATE",
    "T": 1795132801249,
    "E": 1795132801250,
    "o": {
        "s": "BTCUSDT",
        "c": "b1-macd-0001",
        "S": "BUY",
        "o": "LIMIT",
        "f": "GTC",
        "q": "0.010",
        "p": "91250",
        "ap": "91250",
        "sp": "0",
        "x": "TRADE",
        "X": "PARTIALLY_FILLED",
        "i": 8886774001,
        "l": "0.004",
        "z": "0.004",
        "L": "91250",
        "n": "0.07300000",
        "N": "USDT",
        "T": 1795132801249,
        "t": 6512034411,
        "b": "547.5",
        "a": "0",
        "m": True,
        "R": False,
        "wt": "CONTRACT_PRICE",
        "ot": "LIMIT",
        "ps": "BOTH",
        "cp": False,
        "rp": "0",
        "pP": False,
        "si": 0,
        "ss": 0,
        "V": "EXPIRE_MAKER",
        "pm": "NONE",
        "gtd": 0,
        "er": "0",
    },
}
UPDATE: dict[str, Any] = {
    "e": "ACCOUNT_UPDATE",
    "T": 1795132801249,
    "E": 1795132801250,
    "a": {
        "B": [{"a": "USDT", "wb": "4999.92700000", "cw": "4999.5", "bc": "0"}],
        "P": [
            {
                "s": "BTCUSDT",
                "pa": "-0.004",
                "ep": "91250",
                "cr": "26.83159999",
                "up": "-0.00514320",
                "mt": "cross",
                "iw": "0",
                "ps": "SHORT",
                "ma": "USDT",
                "bep": "91268.25",
            }
        ],
        "m": "ORDER",
    },
}


def parse(event: Any) -> Any:
    return parse_user_frame(json.dumps(event).encode())


def order_event(**changes: Any) -> dict[str, Any]:
    return {**FILL, "o": {**FILL["o"], **changes}}


def test_a_fill_carries_everything_the_order_path_needs() -> None:
    fill = VenueFill(6512034411, D("0.004"), D(91250), D("0.073"), "USDT", D(0), True, 1795132801249)
    assert parse(FILL) == VenueOrder(
        source="stream",
        symbol="BTCUSDT",
        client_order_id="b1-macd-0001",
        order_id=8886774001,
        status="PARTIALLY_FILLED",
        side="BUY",
        type="LIMIT",
        tif="GTC",
        qty=D("0.010"),
        filled_qty=D("0.004"),
        price=D(91250),
        avg_price=D(91250),
        leg="BOTH",
        reduce_only=False,
        updated_ms=1795132801249,
        execution="TRADE",
        expiry_reason=None,
        fill=fill,
    )


def test_stream_mode_says_the_same_as_ws_mode() -> None:
    assert parse({"stream": "secretkey", "data": FILL}) == parse(FILL)
    assert parse({"data": UPDATE, "stream": "x"}) == parse(UPDATE)


def test_an_order_without_a_fill_has_none_and_an_expiry_says_why() -> None:
    order = parse(order_event(x="EXPIRED", X="EXPIRED", l="0", L="0", t=0, er="2", f="IOC"))
    assert (order.fill, order.expiry_reason, order.execution) == (None, "2", "EXPIRED")


@pytest.mark.parametrize("missing", ["n", "N", "rp", "m", "R", "ps", "ap", "er", "T", "f", "p", "o", "q"])
def test_optional_fields_may_be_absent(missing: str) -> None:
    """The docs leave commission out; old frames lack more."""
    event = {**FILL, "o": {key: value for key, value in FILL["o"].items() if key != missing}}
    order = parse(event)
    assert order.fill.trade_id == 6512034411
    if missing == "n":
        assert order.fill.fee is None
    if missing == "T":
        assert order.updated_ms == FILL["T"]


def test_a_rebate_is_a_negative_fee() -> None:
    assert parse(order_event(n="-0.01")).fill.fee == D("-0.01")


def test_liquidations_are_fills_too() -> None:
    order = parse(order_event(c="autoclose-1795132800000000020", x="CALCULATED", X="FILLED"))
    assert (order.client_order_id[:9], order.execution, order.fill is not None) == ("autoclose", "CALCULATED", True)


def test_a_statement_carries_balances_and_signed_legs() -> None:
    assert parse(UPDATE) == AccountUpdate(
        "order",
        1795132801250,
        1795132801249,
        (VenueBalance("USDT", D("4999.927"), D("4999.5"), D(0)),),
        (VenuePosition("BTCUSDT", "SHORT", D("-0.004"), D(91250), D("-0.0051432"), "crossed", D(0), 1795132801249),),
        None,
    )


def test_funding_names_its_symbol_and_other_reasons_stay_words() -> None:
    body = {"B": [{"a": "USDT", "wb": "1", "cw": "1", "bc": "-0.09"}], "P": [], "m": "FUNDING_FEE", "S": "BTCUSDT"}
    funding = parse({**UPDATE, "a": body})
    assert (funding.reason, funding.symbol, funding.balances[0].change) == ("funding", "BTCUSDT", D("-0.09"))
    assert parse({**UPDATE, "a": {**body, "m": "ADMIN_DEPOSIT"}}).reason == "admin_deposit"


def test_the_rest_of_the_vocabulary() -> None:
    leverage = {"e": "ACCOUNT_CONFIG_UPDATE", "E": 5, "T": 4, "ac": {"s": "BTCUSDT", "l": 25}}
    assert parse(leverage) == ConfigUpdate(5, "BTCUSDT", 25, None)
    assert parse({"e": "ACCOUNT_CONFIG_UPDATE", "E": 5, "ai": {"j": True}}) == ConfigUpdate(5, None, None, True)
    row = {"s": "ETHUSDT", "ps": "LONG", "pa": "1.327", "mt": "CROSSED", "iw": "0", "mp": "187", "up": "-1", "mm": "1"}
    call = parse({"e": "MARGIN_CALL", "E": 7, "cw": "3.1", "p": [row]})
    leg = VenuePosition("ETHUSDT", "LONG", D("1.327"), D(0), D(-1), "crossed", D(0), 0)
    assert call == MarginCall(7, (leg,))
    assert parse({"e": "listenKeyExpired", "E": 9, "listenKey": "k"}) == KeyExpired(9, "k")
    assert parse({"e": "listenKeyExpired", "E": "9", "listenKey": "k"}) == KeyExpired(9, "k")
    for name in ("TRADE_LITE", "ALGO_UPDATE", "STRATEGY_UPDATE", "SOMETHING_NEW"):
        assert parse({"e": name, "E": 1, "o": {"x": [1]}}) == Ignored(name)
    assert parse({"result": None, "id": 1}) == Ignored("control")
    assert parse({"e": "Z" * 500}) == Ignored("Z" * 64)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>busy</html>",
        b"[]",
        b"null",
        b"\xff\xfe\x00",
        b'{"e":7}',
        b'{"data":5}',
        b'{"e":"ORDER_TRADE_UPDATE"}',
        b'{"e":"ACCOUNT_UPDATE","a":{"B":[{"a":"USDT","wb":"NaN"}]}}',
        b'{"e":"ACCOUNT_UPDATE","a":{"B":[{"a":"USDT","wb":"Infinity"}]}}',
        b'{"e":"ACCOUNT_UPDATE","a":{"B":[{"a":"USDT","wb":"1e999"}]}}',
        b'{"e":"ACCOUNT_UPDATE","a":{"B":[{"a":"USDT"}]}}',
        json.dumps(FILL).encode()[:-9],
        json.dumps(order_event(l="-1")).encode(),
        json.dumps(order_event(t=0)).encode(),
        json.dumps(order_event(L="0")).encode(),
        json.dumps(order_event(S="HOLD")).encode(),
        json.dumps(order_event(q="1" * 60)).encode(),
        b'{"e":"ORDER_TRADE_UPDATE","o":' + b"[" * 5_000,
    ],
)
def test_rubbish_is_a_named_error_that_does_not_repeat_the_frame(data: bytes) -> None:
    with pytest.raises(UserFrameError) as caught:
        parse_user_frame(data)
    assert len(str(caught.value)) < 300


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_damage_to_a_frame_raises_anything_else(data: st.DataObject) -> None:
    raw = bytearray(json.dumps(data.draw(st.sampled_from((FILL, UPDATE)))).encode())
    for _ in range(data.draw(st.integers(1, 6))):
        where = data.draw(st.integers(0, len(raw) - 1))
        raw[where] = data.draw(st.integers(0, 255))
    try:
        parse_user_frame(bytes(raw))
    except UserFrameError:
        return


@pytest.mark.recordings
def test_every_recorded_raw_event_is_read(data_dir: Path) -> None:
    """Events of one object: none is refused, and those of our kinds come out as such."""
    counted: dict[str, int] = {}
    for name in ("metacodi_raw_user_events", "nautilus_usdm_ws_messages", "unicorn_fy_usdm_messages"):
        for line in (data_dir / "user_data" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            body = next(row[key] for key in ("event", "message", "raw", "payload") if key in row)
            raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            if raw.lstrip().startswith(b"["):
                continue
            kind = type(parse_user_frame(raw)).__name__
            counted[kind] = counted.get(kind, 0) + 1
    assert counted["VenueOrder"] >= 11
    assert counted["AccountUpdate"] >= 3
    assert counted["ConfigUpdate"] >= 3
    assert counted["MarginCall"] >= 1


# -- REST


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


ORDER_ROW: dict[str, Any] = {
    "orderId": 8886774001,
    "symbol": "BTCUSDT",
    "status": "PARTIALLY_FILLED",
    "clientOrderId": "b1-macd-0001",
    "price": "91250.00",
    "avgPrice": "91250.00000",
    "origQty": "0.010",
    "executedQty": "0.004",
    "cumQuote": "365.00000",
    "timeInForce": "GTC",
    "type": "LIMIT",
    "reduceOnly": True,
    "closePosition": False,
    "side": "SELL",
    "positionSide": "LONG",
    "time": 1,
    "updateTime": 1795132801249,
}


def test_replies_become_the_words_of_the_core() -> None:
    balance = {"asset": "USDT", "balance": "4999.8", "crossWalletBalance": "4999.1", "availableBalance": "49"}
    assert replies.read_balances(200, body([balance])) == (
        OwnBalance(VenueBalance("USDT", D("4999.8"), D("4999.1")), D(49)),
    )
    position = {
        "symbol": "BTCUSDT",
        "positionSide": "SHORT",
        "positionAmt": "-0.010",
        "entryPrice": "91250.0",
        "unRealizedProfit": "-0.01",
        "isolatedWallet": "0",
        "updateTime": 12,
    }
    flat = {"symbol": "ETHUSDT", "positionAmt": "0.000", "entryPrice": "0.0"}
    assert replies.read_positions(200, body([position, flat])) == (
        VenuePosition("BTCUSDT", "SHORT", D("-0.01"), D(91250), D("-0.01"), None, D(0), 12),
    )
    order = replies.read_order(200, body(ORDER_ROW))
    assert (order.source, order.filled_qty, order.leg, order.reduce_only) == ("query", D("0.004"), "LONG", True)
    assert replies.read_open_orders(200, body([ORDER_ROW]))[0].source == "reconcile"
    trade = {
        "symbol": "BTCUSDT",
        "id": 12,
        "orderId": 5,
        "price": "91250.00",
        "qty": "0.004",
        "baseQty": "0",
        "realizedPnl": "1.5",
        "commission": "-0.07",
        "commissionAsset": "BNB",
        "time": 99,
        "positionSide": "BOTH",
        "buyer": False,
        "maker": True,
    }
    fill = VenueFill(12, D("0.004"), D(91250), D("-0.07"), "BNB", D("1.5"), True, 99)
    earlier = {**trade, "id": 11, "side": "BUY"}
    got = replies.read_trades(200, body([trade, earlier]))
    assert [row.fill.trade_id for row in got] == [11, 12], "sorted by id"
    assert got[1] == OwnTrade("BTCUSDT", 5, "SELL", "BOTH", fill), "the side comes from `buyer` where it is not said"
    assert replies.read_position_mode(200, body({"dualSidePosition": True})) == "hedge"
    config = [{"symbol": "BTCUSDT", "marginType": "ISOLATED", "leverage": 20, "isAutoAddMargin": False}]
    assert replies.read_symbol_settings(200, body(config)) == {"BTCUSDT": OwnSettings(20, "isolated")}
    with pytest.raises(ReplyError, match="no settings of any symbol"):
        replies.read_symbol_settings(200, b"[]")
    fees = {"symbol": "BTCUSDT", "makerCommissionRate": "0.000200", "takerCommissionRate": "0.000500"}
    assert replies.read_commission(200, body(fees)) == (D("0.0002"), D("0.0005"))


@pytest.mark.parametrize(
    ("status", "data", "code"),
    [
        (400, b'{"code":-2013,"msg":"Order does not exist."}', -2013),
        (400, b'{"code":"-2013","msg":"text"}', -2013),
        (502, b"<html>bad gateway</html>", None),
        (200, b"<html>hello</html>", None),
        (200, b"[]", None),
        (200, b'{"symbol":"BTCUSDT"}', None),
        (200, b"", None),
        (408, b'{"code":-1007,"msg":"Timeout"}', -1007),
    ],
)
def test_a_reply_that_is_no_order_is_an_error_with_the_exchanges_code(
    status: int, data: bytes, code: int | None
) -> None:
    with pytest.raises(ReplyError) as caught:
        replies.read_order(status, data)
    assert caught.value.code == code
    assert str(status) in str(caught.value)


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(ReplyError):
        replies.read_balances(200, b'[{"asset":"USDT","balance":"NaN"}]')
    with pytest.raises(ReplyError):
        replies.read_trades(200, b'[{"symbol":"A","id":1,"orderId":1,"price":"0","qty":"1","time":1,"buyer":true}]')
    with pytest.raises(ReplyError):
        replies.read_trades(200, b'[{"symbol":"A","id":1,"orderId":1,"price":"1","qty":"1","time":1}]')


def test_already_so_is_done_and_anything_else_is_not() -> None:
    for code in (-4046, -4059):
        replies.read_done(400, body({"code": code, "msg": "No need to change"}))
    replies.read_done(200, body({"code": 200, "msg": "success"}))
    with pytest.raises(ReplyError, match="-4047"):
        replies.read_done(400, body({"code": -4047, "msg": "open orders"}))


def test_an_order_is_told_as_its_trades() -> None:
    order = replies.read_order(200, body({**ORDER_ROW, "status": "FILLED", "executedQty": "0.010"}))
    fills = [VenueFill(n, D(q), D(1), None, None, None, False, n) for n, q in ((1, "0.002"), (2, "0.003"))]
    told = replies.fill_orders(order, fills)
    assert [(o.status, o.filled_qty, o.fill) for o in told] == [
        ("PARTIALLY_FILLED", D("0.007"), fills[0]),
        ("FILLED", D("0.010"), fills[1]),
    ]
    assert {o.source for o in told} == {"reconcile"}


def test_a_vanished_order_ends_unfilled_beyond_what_we_know() -> None:
    mine = OrderSnapshot(
        "bs-1", 7, "BTCUSDT", "BUY", "BOTH", "open", D(3), D(1), D(9), False, "entry", "b1", None, 1, None, 0
    )
    gone = replies.vanished(mine, 55)
    assert (gone.status, gone.filled_qty, gone.expiry_reason, gone.fill) == ("EXPIRED", D(1), "not_found", None)


def test_requests_are_signed_weighed_and_in_the_right_lane() -> None:
    send = requests.trades(("account", 1), 77, "BTCUSDT", 9)
    assert send.params == (
        ("symbol", "BTCUSDT"),
        ("limit", "1000"),
        ("fromId", "9"),
        ("recvWindow", "5000"),
        ("timestamp", "77"),
    )
    assert (send.method, send.security, send.weight, send.lane, send.orders) == ("GET", "signed", 5, "reconcile", 0)
    assert requests.open_orders(("a",), 1).weight == 40
    assert requests.open_orders(("a",), 1, "BTCUSDT").weight == 1
    assert ("origClientOrderId", "x") in requests.order(("a",), 1, "B", client_id="x").params
    assert ("orderId", "5") in requests.order(("a",), 1, "B", order_id=5).params
    assert ("dualSidePosition", "true") in requests.set_position_mode(("a",), 1, "hedge").params
    assert ("marginType", "ISOLATED") in requests.set_margin_type(("a",), 1, "B", "isolated").params
    assert requests.commission(("a",), 1, "B").weight == 20
