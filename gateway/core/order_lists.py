"""The operations `order` and `orders`: reading what the order path holds."""

from __future__ import annotations

from gateway.core import answers
from gateway.core.effects import Answer
from gateway.core.order_desk import Desk
from gateway.core.order_record import Order, view
from gateway.core.ports import Caller
from ipc.errors import IpcError
from ipc.framing import MAX_LINE_BYTES
from ipc.wire import OrderQuery, OrdersQuery

FOLLOWERS_MAX = 100  # reads behind one unanswered place; one more is answered at once


def one(caller: Caller, request: OrderQuery, desk: Desk) -> Answer | None:
    """What became of an intent (its newest attempt), or one order by its client order id. Raises order.not_found.

    None: the same client's place of this intent is not answered yet; this is answered after it.
    """
    last = desk.log.last
    if request.intent is not None:
        name = (request.intent.brain, request.intent.run, request.intent.seq)
        intent = desk.intents.get(name)
        if intent is None:
            raise IpcError("order.not_found", f"no intent {'/'.join(map(str, name))} in the journal")
        if any(waiter.client == caller.client for waiter in intent.waiters) and len(intent.followers) < FOLLOWERS_MAX:
            intent.followers.append((caller.client, request.id))
            return None
        return answers.of_intent(caller.client, request.id, last, intent)
    if request.client_order_id is None:
        raise IpcError("wire.bad_request", "order needs an intent or a client_order_id")
    order = desk.orders.get(request.client_order_id)
    if order is None:
        raise IpcError("order.not_found", f"no order {request.client_order_id} is known here")
    return answers.shown(caller.client, request.id, last, order)


def many(caller: Caller, request: OrdersQuery, desk: Desk) -> Answer:
    """Orders oldest first; `next` is the last client order id of a page. Raises page.bad_token."""
    held = desk.live_orders(request.symbol) if request.scope == "open" else desk.orders.values()
    rows = [order for order in held if _wanted(order, request)]
    first = 0
    if request.next is not None:
        at = next((index for index, order in enumerate(rows) if order.cid == request.next), None)
        if at is None:
            raise IpcError("page.bad_token", "the order this page ended with is not in the list any more; begin anew")
        first = at + 1
    limit = request.limit
    while True:
        page = rows[first : first + limit]
        next_ = page[-1].cid if page and first + limit < len(rows) else None
        answer = answers.result(caller.client, request.id, desk.log.last, [view(order) for order in page], next_)
        if len(answer.line) <= MAX_LINE_BYTES or limit == 1:
            return answer
        limit //= 2  # a page that fits a line


def _wanted(order: Order, request: OrdersQuery) -> bool:
    if request.symbol is not None and order.symbol != request.symbol:
        return False
    return request.brain is None or order.brain == request.brain
