"""What became of an order nobody answered for: questions by client order id, and negative proof (design 4.5).

An unknown order is never resent. It is asked for after 0.2, 0.5, 1, 2, 5 s and so on; stream evidence ends that.
"It never arrived" is concluded only when all of this holds: its timestamp, receive window and a margin have passed on
the exchange's clock; at least 3 not-founds span at least 5 s, the last of them after that; the list of all orders from
before the send lacks it; no trade belongs to an order we do not know; and the private stream was live throughout, or a
full reconciliation came after its return. The same machine asks for takers that do not end, for cancels of orders the
exchange does not show, and for fills that were reported but not seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from gateway.core.effects import Send
from gateway.core.inputs import Now, RestFailed, RestReply
from gateway.core.market_data import BadReply
from gateway.core.order_desk import Desk
from gateway.core.order_record import Order
from gateway.core.order_venue import Call, Verdict
from gateway.core.parts import Out
from gateway.core.signals import ReconcileWanted
from gateway.core.timers import MS
from rules.orders import Change

PAGES_MAX = 20
BEFORE_SEND_MS = 10_000

Absent = Callable[..., Out]
Alarm = Callable[[Now, Order, Verdict], Out]


class Question:
    """One order that is asked for. `why`: unknown, taker, cancel, doubt, fills."""

    __slots__ = (
        "asked", "asked_server_ms", "begun_ns", "due_ns", "first_miss_ns", "from_id", "in_flight", "known_ids",
        "last_miss_ns", "last_miss_server_ms", "misses", "one_miss", "order", "pages", "stage", "stranger", "why",
    )  # fmt: skip

    def __init__(self, order: Order, why: str, now: Now, *, one_miss: bool = False) -> None:
        self.order = order
        self.why = why
        self.begun_ns = now.boot_ns
        self.one_miss = one_miss
        self.due_ns = 0
        self.asked = 0
        self.asked_server_ms = 0
        self.misses = 0
        self.first_miss_ns = 0
        self.last_miss_ns = 0
        self.last_miss_server_ms = 0
        self.in_flight = False
        self.restart_proof()

    def restart_proof(self) -> None:
        self.stage: Literal["query", "list", "trades"] = "trades" if self.why == "fills" else "query"
        self.known_ids: set[int] = set()
        self.from_id: int | None = None
        self.pages = 0
        self.stranger: int | None = None


class Resolver:
    def __init__(self, desk: Desk, *, start_boot_ns: int) -> None:
        self._desk = desk
        self._questions: dict[tuple[str, str], Question] = {}
        self._gap_ns = start_boot_ns  # the private stream was last down then (a start counts)
        self._live_since_ns: int | None = None
        self._reconciled = False  # a full reconciliation came after that
        self.on_absent: Absent = lambda *_, **__: []
        self.alarm: Alarm = lambda *_: []

    # -- the private stream

    def stream_down(self, now: Now) -> None:
        self._gap_ns = now.boot_ns
        self._live_since_ns = None
        self._reconciled = False

    def stream_up(self, now: Now) -> None:
        self._live_since_ns = now.boot_ns

    def reconciled(self, now: Now) -> Out:
        """A full reconciliation is done: proofs may count on it, and what it did not mention is asked for."""
        self._reconciled = True
        out: Out = []
        for order in self._desk.live_orders():
            if order.state not in ("queued", "sent", "unknown") and self._desk.heard_ns(order) < self._gap_ns:
                out += self.ask(now, order, "doubt", at_once=True)
        return out

    def _stream_proves(self, order: Order) -> bool:
        if not self._desk.account.private_live():
            return False
        since, sent = self._live_since_ns, order.sent_boot_ns
        return self._reconciled or (since is not None and sent is not None and since < sent)

    # -- asking

    def ask(self, now: Now, order: Order, why: str, *, at_once: bool = False, one_miss: bool = False) -> Out:
        key = (order.cid, "fills" if why == "fills" else "state")
        question = self._questions.get(key)
        if question is None:
            question = self._questions[key] = Question(order, why, now, one_miss=one_miss)
        elif why == "unknown":
            question.why, question.one_miss = why, one_miss
        if at_once:
            return self._ask_now(question)
        self._later(now, key, question)
        return []

    def watch_taker(self, now: Now, order: Order) -> None:
        """An order that must end by itself at once, and whose end nobody reports."""
        self._desk.timers.add(now.boot_ns + self._desk.settings.taker_silence_ms * MS, "taker", order.cid)

    def on_taker(self, now: Now, cid: str) -> Out:
        order = self._desk.orders.get(cid)
        return [] if order is None or order.closed else self.ask(now, order, "taker", at_once=True)

    def after_change(self, now: Now, order: Order, change: Change) -> Out:
        """Stream evidence ends a question; a reported fill nobody has seen begins one."""
        question = self._questions.get((order.cid, "state"))
        if question is not None and not self._needed(question):
            del self._questions[order.cid, "state"]
        self.want_fills(now, order)
        return []

    def want_fills(self, now: Now, order: Order) -> None:
        """Trades were reported that nobody has seen: the stream gets a moment to bring them, then they are read."""
        if order.progress.missing > 0 and (order.cid, "fills") not in self._questions:
            question = self._questions[order.cid, "fills"] = Question(order, "fills", now)
            due = now.boot_ns + self._desk.settings.fills_grace_ms * MS
            self._due((order.cid, "fills"), question, due)

    @staticmethod
    def _needed(question: Question) -> bool:
        order = question.order
        if question.why == "fills":
            return order.progress.missing > 0
        if question.why == "unknown":
            return order.in_doubt
        return not order.closed

    def _later(self, now: Now, key: tuple[str, str], question: Question) -> None:
        """The next time by the schedule: settings.question_ms from the beginning, then steadily, later slower."""
        settings = self._desk.settings
        age_ms = (now.boot_ns - question.begun_ns) // MS
        due_ms = next((at for at in settings.question_ms if at > age_ms), None)
        if due_ms is None:
            slow = age_ms >= settings.question_slow_after_ms
            due_ms = age_ms + (settings.question_slow_ms if slow else settings.question_every_ms)
        self._due(key, question, question.begun_ns + due_ms * MS)

    def _due(self, key: tuple[str, str], question: Question, boot_ns: int) -> None:
        """One timer counts for a question: the newest."""
        question.due_ns = boot_ns
        self._desk.timers.add(boot_ns, "ask", (key, boot_ns))

    def on_ask(self, now: Now, due: tuple[tuple[str, str], int]) -> Out:
        key, at = due
        question = self._questions.get(key)
        if question is None or question.due_ns != at:
            return []
        if not self._needed(question):
            del self._questions[key]
            return []
        return self._ask_now(question)

    def _ask_now(self, question: Question) -> Out:
        if question.in_flight:
            return []
        question.in_flight = True
        stage = "query" if question.stranger is not None else question.stage
        weight = self._desk.venue.weight(stage)
        kind = "fills" if question.why == "fills" else "state"
        key = ("orders", "ask", question.order.cid, kind)
        return [Send(key, "GET", "", security="signed", weight=weight, lane="lifeline")]

    def on_granted(self, now: Now, send: Send, cid: str, kind: str) -> tuple[Send | None, Out]:
        question = self._questions.get((cid, kind))
        if question is None:
            return None, []
        if not self._needed(question):
            del self._questions[cid, kind]
            return None, []
        question.asked += 1
        clock = self._desk.clock(now)
        question.asked_server_ms = clock.timestamp_ms
        call = self._call(now, question)
        return (
            Send(send.key, call.method, call.path, call.params, "signed", False, 0, send.weight, send.lane),
            [],
        )

    def _call(self, now: Now, question: Question) -> Call:
        venue, clock, order = self._desk.venue, self._desk.clock(now), question.order
        since_ms = max(0, (order.sent_ms or order.created_ms) - BEFORE_SEND_MS)
        if question.stranger is not None:
            return venue.query(clock, order.symbol, "", question.stranger)
        if question.stage == "list":
            return venue.list_orders(clock, order.symbol, since_ms, question.from_id)
        if question.stage == "trades":
            # an order's own trades come without a further page: what lies behind a full one is read by number
            mine = order.order_id if question.why == "fills" and question.from_id is None else None
            start = None if mine is not None else since_ms
            return venue.list_trades(clock, order.symbol, order_id=mine, start_ms=start, from_id=question.from_id)
        return venue.query(clock, order.symbol, order.cid, order.order_id if order.brain is None else None)

    # -- answers

    def on_reply(self, now: Now, cid: str, kind: str, reply: RestReply | RestFailed) -> Out:
        key = (cid, kind)
        question = self._questions.get(key)
        verdict, body = self._judge(reply)
        if question is None:  # it ended meanwhile; what the answer says is still evidence
            return self._late(now, verdict, body)
        question.in_flight = False
        try:
            out = self._take(now, question, verdict, body)
        except BadReply:
            out = []  # proves nothing: asked again by the schedule
        current = self._questions.get(key)
        if current is not None and not current.in_flight:
            if self._needed(current):
                self._later(now, key, current)
            else:
                del self._questions[key]
        return out

    def _judge(self, reply: RestReply | RestFailed) -> tuple[Verdict, bytes]:
        if isinstance(reply, RestFailed):
            return self._desk.venue.transport(sent=reply.sent, reason=reply.reason), b""
        return self._desk.venue.classify(reply.status, reply.body), reply.body

    def _late(self, now: Now, verdict: Verdict, body: bytes) -> Out:
        if verdict.kind != "accepted" or not body.startswith(b"{"):
            return []
        try:
            return self._desk.evidence(now, self._desk.venue.parse_order(body, "query"))
        except BadReply:
            return []  # late and damaged: it adds nothing to what is settled

    def _take(self, now: Now, question: Question, verdict: Verdict, body: bytes) -> Out:
        if question.stranger is not None:
            return self._on_stranger(now, question, verdict, body)
        if verdict.kind not in ("accepted", "not_found"):
            return self.alarm(now, question.order, verdict)
        if question.stage == "list":
            return self._on_list(now, question, body) if verdict.kind == "accepted" else []
        if question.stage == "trades":
            return self._on_trades(now, question, body) if verdict.kind == "accepted" else []
        if verdict.kind == "not_found":
            return self._on_miss(now, question)
        said = self._desk.venue.parse_order(body, "query")
        if said.client_order_id != question.order.cid:
            raise BadReply("the answer names another order")
        out = self._desk.evidence(now, said)
        if question.why in ("doubt", "cancel"):
            self._questions.pop((question.order.cid, "state"), None)
        return out

    def _on_miss(self, now: Now, question: Question) -> Out:
        order = question.order
        question.misses += 1
        question.first_miss_ns = question.first_miss_ns or now.boot_ns
        question.last_miss_ns = now.boot_ns
        question.last_miss_server_ms = question.asked_server_ms
        if question.one_miss and order.in_doubt:
            self._questions.pop((order.cid, "state"), None)
            return self.on_absent(now, order, "the exchange said it failed, and does not know it", retry=True)
        if not self._misses_suffice(question) or not self._stream_proves(order):
            return []
        question.restart_proof()
        question.stage = "list"
        return self._ask_now(question)

    def _misses_suffice(self, question: Question) -> bool:
        settings = self._desk.settings
        span_ms = (question.last_miss_ns - question.first_miss_ns) // MS
        end_ms = question.order.valid_until_ms + settings.proof_margin_ms
        return (
            question.misses >= settings.proof_misses
            and span_ms >= settings.proof_span_ms
            and question.last_miss_server_ms > end_ms
        )

    def _on_list(self, now: Now, question: Question, body: bytes) -> Out:
        """All orders since before the send: the id is not among them, or it is found after all."""
        rows = self._desk.venue.parse_orders(body, "query")
        out: Out = []
        for row in rows:
            question.known_ids.add(row.order_id)
            known = self._desk.orders.get(row.client_order_id)
            if known is not None and (known.in_doubt or known is question.order):
                out += self._desk.evidence(now, row)
        if not self._needed(question):
            return out
        if len(rows) >= self._desk.venue.page_rows():
            return out + self._next_page(question, rows[-1].order_id + 1)
        question.stage, question.from_id, question.pages = "trades", None, 0
        return out + self._ask_now(question)

    def _next_page(self, question: Question, from_id: int) -> Out:
        question.from_id = from_id
        question.pages += 1
        if question.pages >= PAGES_MAX:
            question.restart_proof()
            return []
        return self._ask_now(question)

    def _on_trades(self, now: Now, question: Question, body: bytes) -> Out:
        order = question.order
        rows = self._desk.venue.parse_trades(body)
        by_number = {held.order_id: held for held in self._desk.orders.values() if held.symbol == order.symbol}
        out: Out = []
        strangers = []
        for row in rows:
            holder = by_number.get(row.order_id)
            if holder is not None and row.symbol == order.symbol:
                out += self._desk.apply(now, holder, "partial", None, row.fill)
            elif row.order_id not in question.known_ids:
                strangers.append(row.order_id)
        if not self._needed(question):
            return out
        if question.why == "fills":
            if len(rows) >= self._desk.venue.page_rows():
                return out + self._next_page(question, rows[-1].fill.trade_id + 1)
            question.restart_proof()  # the list lags behind: from the beginning, by the schedule
            return out
        if strangers:
            question.stranger = strangers[0]
            return out + self._ask_now(question)
        if len(rows) >= self._desk.venue.page_rows():
            return out + self._next_page(question, rows[-1].fill.trade_id + 1)
        return out + self._proven(now, question)

    def _proven(self, now: Now, question: Question) -> Out:
        order = question.order
        if not self._stream_proves(order):
            question.restart_proof()
            return []
        self._questions.pop((order.cid, "state"), None)
        span_ms = (question.last_miss_ns - question.first_miss_ns) // MS
        proof = f"{question.misses} not-founds over {span_ms} ms, not in the list of orders, no trade of its own"
        if now.wall_ms - order.sent_ms > self._desk.settings.forgotten_after_ms:
            proof += "; older than the exchange remembers unfilled orders: it filled nothing"
        out = self.on_absent(now, order, proof, retry=False)
        return [*out, ReconcileWanted(f"{order.cid} never arrived", order.symbol)]

    def _on_stranger(self, now: Now, question: Question, verdict: Verdict, body: bytes) -> Out:
        """A trade of an order nobody knows: whose it is must be known before anything is proven."""
        number, question.stranger = question.stranger, None
        if verdict.kind != "accepted" or number is None:
            question.restart_proof()
            return []
        said = self._desk.venue.parse_order(body, "query")
        question.known_ids.add(number)
        return self._desk.evidence(now, said) + (self._ask_now(question) if self._needed(question) else [])
