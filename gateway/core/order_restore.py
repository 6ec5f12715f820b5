"""What the journal knew at start becomes the order path's state again (design law 9).

An IntentRow without an order that left and without an outcome is a queued intent: it goes on, or expires. An order that
was sent or unknown is a question. A refused attempt of an unfinished intent is tried again. The gateway's own closes
are not taken up: the flatten they belonged to decides anew.
"""

from __future__ import annotations

from gateway.core import order_record
from gateway.core.attempts import Attempts
from gateway.core.inputs import Now
from gateway.core.intents import ACCEPTED, Intent, Name, deadline_ns, place_of, stored_of
from gateway.core.order_checks import GATEWAY_BRAIN
from gateway.core.order_desk import Desk
from gateway.core.order_record import Order
from gateway.core.parts import Out
from gateway.core.placing import Placing
from gateway.core.resolver import Resolver
from gateway.core.rows import FORGOTTEN_KV, IntentRow, Restored, forgotten_mark


def restore(
    now: Now, restored: Restored, desk: Desk, placing: Placing, attempts: Attempts, resolver: Resolver, boot: str
) -> Out:
    for key, value in restored.kv.items():
        if key.startswith(FORGOTTEN_KV):
            desk.intents.forget_up_to(key.removeprefix(FORGOTTEN_KV), *forgotten_mark(value))
    tried_by_name = _orders(restored, desk)
    for fill in restored.fills:
        desk.remember_trade(fill.symbol, fill.trade_id, fill.at_ms)
    outcomes = {(kept.brain, kept.run, kept.seq): stored_of(kept.answer) for kept in restored.outcomes if kept.final}
    for row in restored.intents:
        intent = _intent(now, row, boot)
        intent.outcome = outcomes.get(intent.name)
        tried = tried_by_name.get(intent.name, [])
        intent.attempts = max((order.attempt for order in tried), default=0)
        intent.order = _newest(tried)
        desk.intents.add(intent)
    out: Out = []
    for order in desk.live_orders():
        resolver.want_fills(now, order)
        if order.in_doubt:
            out += attempts.restart_doubt(now, order)
    for intent in desk.intents.unfinished():
        out += _take_up(now, intent, desk, placing)
    return out


def _orders(restored: Restored, desk: Desk) -> dict[Name, list[Order]]:
    attempts: dict[Name, list[Order]] = {}
    decoded = sorted((order_record.decode(row.state_json) for row in restored.orders), key=lambda o: o.created_ms)
    for order in decoded:
        if order.closed:
            desk.remember_closed(order)
        else:
            desk.add(order)
        if order.brain is not None:
            attempts.setdefault((order.brain, order.run, order.seq), []).append(order)
    return attempts


def _newest(tried: list[Order]) -> Order | None:
    """The attempt that counts: one the exchange had, else the last."""
    alive = [order for order in tried if order.state != "rejected"]
    return max(alive or tried, key=lambda order: order.attempt, default=None)


def _intent(now: Now, row: IntentRow, boot: str) -> Intent:
    """Deadlines count on CLOCK_BOOTTIME: of another boot, a deadline has passed."""
    name = (row.brain, row.run, row.seq)
    deadline = deadline_ns(now.boot_ns, row.asked_boot_ns, row.deadline_ms)
    if deadline is not None and row.boot != boot:
        deadline = 0
    intent = Intent(name, place_of(row.request), row.request, deadline_ms=row.deadline_ms, deadline_boot_ns=deadline)
    intent.own = row.brain == GATEWAY_BRAIN
    return intent


def _take_up(now: Now, intent: Intent, desk: Desk, placing: Placing) -> Out:
    order = intent.order
    if order is not None and order.in_doubt:
        return []
    if order is not None and order.acked:
        return desk.finish(now, intent, ACCEPTED)
    if intent.own:
        return placing.drop(now, intent, "the gateway restarted before it left; the flatten decides anew")
    placing.restore(now, intent)
    return []
