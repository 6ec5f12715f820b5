"""An attempt's way: leaving when its slot has come, and what the exchange's answer (or none) means for its intent.

Whatever certainly did not arrive may be tried again: entries few times and within their deadline, closes decided anew
until they get through. Whatever is in doubt is never resent: the resolver asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.core.effects import Report, Send
from gateway.core.inputs import Now, RestFailed, RestReply
from gateway.core.intents import Intent
from gateway.core.market_data import BadReply
from gateway.core.order_checks import Checker
from gateway.core.order_desk import Desk
from gateway.core.order_record import Order
from gateway.core.order_venue import Verdict
from gateway.core.parts import Out
from gateway.core.placing import Placing
from gateway.core.resolver import Alarm, Resolver
from gateway.core.timers import MS
from gateway.core.venue_orders import VenueOrder
from rules.risk import Refused

_NOT_ARRIVED = ("not_sent", "limit", "clock")


class Attempts:
    def __init__(self, desk: Desk, checker: Checker, resolver: Resolver, placing: Placing) -> None:
        self._desk = desk
        self._checker = checker
        self._resolver = resolver
        self._placing = placing
        self.alarm: Alarm = lambda *_: []
        self.on_rejected: Callable[[Order], Out] = lambda _: []  # whoever waits for it to close, after the place itself

    # -- leaving

    def on_granted(self, now: Now, send: Send, cid: str) -> tuple[Send | None, Out]:
        """Its slot came. Whatever waited is looked at again: past its deadline nothing leaves, nor against a state."""
        desk = self._desk
        order = desk.orders.get(cid)
        intent = desk.intent_of(order) if order is not None else None
        if order is None or intent is None or order.progress.state != "queued":
            return None, []
        if intent.outcome is not None:
            self._placing.withdraw(order, "cancelled", "an earlier attempt proved alive")
            return None, []
        if intent.expired(now.boot_ns):
            self._placing.withdraw(order, "expired", "its deadline passed")
            return None, self._placing.expire(now, intent)
        if order.sent_boot_ns != now.boot_ns:
            refused = self._recheck(now, intent, order)
            if refused is not None:
                self._placing.withdraw(order, "cancelled", refused.code)
                return None, self._placing.refuse(now, intent, refused)
        clock = desk.clock(now)
        order.sent_ms = clock.timestamp_ms
        order.valid_until_ms = clock.timestamp_ms + clock.recv_window_ms
        order.sent_boot_ns = now.boot_ns
        call = desk.venue.place(
            clock, symbol=order.symbol, side=order.side, type_=order.type, qty=order.progress.qty, price=order.price,
            tif=order.tif, leg=order.leg, reduce_only=order.reduce_only, hedge=order.hedge, client_order_id=cid,
        )  # fmt: skip
        order.progress.apply("released")
        out: Out = [
            desk.row(now, order),
            desk.event(now, "order.sent", order, attempt=order.attempt),
            desk.dirty(order.symbol),
        ]
        ready = Send(
            send.key, call.method, call.path, call.params, "signed", True, send.orders, send.weight, send.lane,
            send.repeatable, desk.settings.silence_ms, intent.deadline_boot_ns,
        )  # fmt: skip
        return ready, out

    def _recheck(self, now: Now, intent: Intent, order: Order) -> Refused | None:
        """Rules may have changed while it waited in its lane; its own standing does not count against it."""
        del self._desk.live[order.symbol][order.cid]
        shape = self._checker.decide(now, intent, again=True)
        self._desk.live[order.symbol][order.cid] = order
        if isinstance(shape, Refused):
            return shape
        return None

    # -- replies

    def on_reply(self, now: Now, order: Order, reply: RestReply | RestFailed) -> Out:
        if isinstance(reply, RestFailed):
            if order.state == "queued":  # its lane was full: it never came near a socket
                self._placing.withdraw(order, "cancelled", "the lane is full")
                intent = self._desk.intent_of(order)
                return self._again(now, intent, order, Verdict("limit", None, reply.reason)) if intent else []
            verdict = self._desk.venue.transport(sent=reply.sent, reason=reply.reason)
        else:
            verdict = self._desk.venue.classify(reply.status, reply.body)
        if verdict.kind == "accepted" and isinstance(reply, RestReply):
            try:
                said = self._desk.venue.parse_order(reply.body, "reply")
            except BadReply as error:
                verdict = Verdict("unknown", None, str(error)[:300])
            else:
                if said.client_order_id == order.cid and said.symbol == order.symbol:
                    return self._said(now, order, said)
                verdict = Verdict("unknown", None, "the reply names another order")
        return self._judge(now, order, verdict)

    def _said(self, now: Now, order: Order, said: VenueOrder) -> Out:
        out = self._desk.evidence(now, said)
        if order.state == "rejected":
            out += self._rejected(now, order, Verdict("rejected", None, "REJECTED")) + self.on_rejected(order)
        elif order.taker and not order.closed:
            self._resolver.watch_taker(now, order)
        return out

    def _judge(self, now: Now, order: Order, verdict: Verdict) -> Out:
        if verdict.kind in ("unknown", "duplicate", "not_found", "accepted"):
            return self.doubt(now, order, verdict)
        if verdict.kind in _NOT_ARRIVED and verdict.ask_first:
            return self.doubt(now, order, verdict, one_miss_is_enough=True)
        out = self.not_executed(now, order, verdict)
        return out + self.alarm(now, order, verdict)

    def doubt(self, now: Now, order: Order, verdict: Verdict, *, one_miss_is_enough: bool = False) -> Out:
        """No proof either way: never resend, ask."""
        if order.state != "sent":
            return []  # the stream, or an earlier answer, has said more already
        order.doubt_boot_ns = now.boot_ns
        order.reason = verdict.text or verdict.kind
        out = self._desk.apply(now, order, "silence")
        out.append(self._desk.event(now, "order.unknown", order))
        soon = verdict.kind == "duplicate" or one_miss_is_enough
        return out + self._resolver.ask(now, order, "unknown", at_once=soon, one_miss=one_miss_is_enough)

    def restart_doubt(self, now: Now, order: Order) -> Out:
        """Sent before the restart and not answered as far as the journal knows: a question again."""
        if order.state == "sent":
            return self.doubt(now, order, Verdict("unknown", None, "the gateway restarted before an answer came"))
        order.doubt_boot_ns = now.boot_ns
        return self._resolver.ask(now, order, "unknown")

    def not_executed(self, now: Now, order: Order, verdict: Verdict) -> Out:
        """Refused, or certainly never arrived: the end of this attempt, and perhaps of the intent."""
        order.reason = self._why(verdict)
        out = self._desk.apply(now, order, "refused")
        if order.state != "rejected":
            return out  # other evidence shows it alive: that outranks a refusal
        intent = self._desk.intent_of(order)
        if intent is not None and intent.outcome is None:
            arrived = verdict.kind not in _NOT_ARRIVED
            out += self._rejected(now, order, verdict) if arrived else self._again(now, intent, order, verdict)
        return out + self.on_rejected(order)

    @staticmethod
    def _why(verdict: Verdict) -> str:
        return f"{verdict.code}: {verdict.text}" if verdict.code is not None else verdict.text or verdict.kind

    def _rejected(self, now: Now, order: Order, verdict: Verdict, code: str = "venue.rejected") -> Out:
        more: dict[str, Any] = {"venue_code": verdict.code, "venue_text": verdict.text}
        out: Out = [self._desk.event(now, "order.rejected", order, **more)]
        intent = self._desk.intent_of(order)
        if intent is None or intent.outcome is not None:
            return out
        message = f"the exchange refused {order.cid}: {self._why(verdict)}"
        if code != "venue.rejected":
            message = f"{order.cid} certainly did not arrive ({self._why(verdict)}), after {intent.attempts} attempts"
        return out + self._desk.finish(now, intent, self._desk.refusal(code, message, more))

    def _again(self, now: Now, intent: Intent, order: Order, verdict: Verdict) -> Out:
        """Retries of what certainly did not arrive: entries few and within the deadline, closes decided anew."""
        out: Out = []
        code = "venue.rate_limited" if verdict.kind == "limit" else "venue.not_sent"
        if verdict.kind == "clock":
            if intent.clock_retried and order.role == "entry":
                return out + self._rejected(now, order, verdict)
            intent.clock_retried = True
        if order.cancel:
            return out + self._placing.drop(now, intent, "cancelled before it arrived")
        if self._placing.closed is not None:
            return out + self._placing.refuse(
                now, intent, Refused(self._placing.closed.code, self._placing.closed.message)
            )
        if verdict.kind == "not_sent" and verdict.code is None and intent.expired(now.boot_ns):
            return out + self._placing.expire(now, intent)
        retry_ms = self._desk.settings.retry_ms
        delay_ms = retry_ms[min(intent.attempts, len(retry_ms)) - 1]
        if order.role == "close":
            delay_ms = min(delay_ms, self._desk.settings.close_retry_max_ms)
        elif intent.attempts >= self._desk.settings.entry_attempts or self._too_late(now, intent, delay_ms):
            return out + self._rejected(now, order, verdict, code)
        self._placing.try_later(now, intent, delay_ms)
        fields = {"client_order_id": order.cid, "why": self._why(verdict), "again_in_ms": delay_ms}
        out.append(Report("warning", "an order did not arrive; trying again", fields))
        return out

    @staticmethod
    def _too_late(now: Now, intent: Intent, delay_ms: int) -> bool:
        return intent.deadline_boot_ns is not None and now.boot_ns + delay_ms * MS > intent.deadline_boot_ns

    # -- after negative proof

    def on_absent(self, now: Now, order: Order, proof: str, *, retry: bool) -> Out:
        """Certainly not there. `retry`: a short doubt (ask first) that may be tried again at once."""
        order.reason = "it certainly never arrived"
        doubted = order.doubt_boot_ns is not None
        out = self._desk.apply(now, order, "expired" if order.acked else "refused")
        if order.state not in ("rejected", "expired"):
            return out
        if doubted:
            outcome = "rejected" if order.state == "rejected" else "expired"
            out.append(self._desk.event(now, "order.resolved", order, outcome=outcome, proof=proof))
        intent = self._desk.intent_of(order)
        if order.state == "rejected" and intent is not None and intent.outcome is None:
            verdict = Verdict("not_sent", None, proof)
            again = self._again(now, intent, order, verdict) if retry else None
            out += again if again is not None else self._rejected(now, order, verdict, "venue.not_sent")
        return out + self.on_rejected(order)
