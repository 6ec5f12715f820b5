"""place: from the line to the exchange and back."""

from __future__ import annotations

from decimal import Decimal

from ipc import wire
from tests.gateway.orders_rig import SYMBOL, Rig


def test_a_limit_order_is_journalled_sent_accepted_filled() -> None:
    rig = Rig()
    request = rig.place(price="59000.07", qty="0.0029")
    assert rig.answer(request) is None
    (send,) = rig.wire
    params = dict(send.params)
    cid = params["newClientOrderId"]
    assert [name for name, _ in send.params] == [
        "symbol", "side", "type", "timeInForce", "quantity", "price", "newClientOrderId", "newOrderRespType",
        "recvWindow", "timestamp",
    ]  # fmt: skip
    assert params["price"] == "59000.0", "a BUY is rounded down, never worse than asked"
    assert params["quantity"] == "0.002"
    assert params["timestamp"] == str(rig.ms)
    assert rig.journal.orders[cid].open
    assert rig.journal.subjects() == ["order.sent"]
    rig.perform()
    answer = rig.answer(request)
    assert answer is not None and answer.ok and answer.outcome == "accepted"
    assert answer.order is not None and answer.order.state == "open" and answer.order.order_id == 1001
    assert answer.as_of == 2
    assert rig.journal.subjects() == ["order.sent", "order.accepted"]
    rig.exchange.fill(1001, Decimal("0.001"), rig.ms)
    rig.exchange.fill(1001, Decimal("0.001"), rig.ms)
    rig.stream()
    assert rig.journal.subjects() == ["order.sent", "order.accepted", "order.filled", "order.filled"]
    assert rig.journal.events[-1].event.data["state"] == "filled"
    assert rig.account.qty[SYMBOL, "BOTH"] == Decimal("0.002")
    assert rig.core.open_orders() == ()


def test_a_cancel_closes_and_is_answered_by_proof() -> None:
    rig = Rig()
    rig.place()
    rig.perform()
    request = rig.ask(wire.Cancel, intent=wire.IntentId("macd", "r1795132800000", 1))
    assert rig.answer(request) is None
    assert rig.wire[0].method == "DELETE"
    rig.perform()
    answer = rig.answer(request)
    assert answer is not None and answer.ok and answer.order is not None and answer.order.state == "cancelled"
    assert rig.journal.subjects("order.")[-1] == "order.cancelled"
