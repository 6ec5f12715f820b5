"""Kill the process after any transaction, lose any request or answer: nothing is lost, nothing is doubled.

A random life of intents, cancels, fills and faults over a model exchange is cut at random moments: memory is gone, the
journal holds the transactions so far, and each request of the last step did or did not reach the exchange. Afterwards
the exchange answers again, and every intent must have ended as exactly one order there, or as a recorded refusal.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.effects import Send
from gateway.core.intents import stored_of
from gateway.core.signals import BrainBack, BrainLost, PrivateDown, ReadyChanged
from ipc import wire
from ipc.wire import IntentId
from tests.gateway.orders_rig import BRAIN, PERSON, RUN, SYMBOL, Rig

FAULTS = [
    (503, b"Service Unavailable."),
    (503, b'{"code":-1001,"msg":"Internal error; unable to process your request. Please try again."}'),
    (503, b'{"code":-1008,"msg":"Request throttled by system-level protection."}'),
    (400, b'{"code":-1021,"msg":"Timestamp for this request is outside of the recvWindow."}'),
    (429, b'{"code":-1015,"msg":"Too many new orders; current limit is 300 orders per 10 SECOND."}'),
    (400, b'{"code":-2019,"msg":"Margin is insufficient."}'),
]
LOST_ANSWERS = [
    (503, b'{"code":-1000,"msg":"Unknown error, please check your request or try again later."}'),
    (408, b'{"code":-1007,"msg":"Timeout waiting for response from backend server."}'),
    (502, b"<html><title>502 Bad Gateway</title></html>"),
    (200, b'{"orderId":8886774001,"symbol":"BTCU'),
    (200, b"<html>"),
]

WEIGHTS = {
    "place": (6, 6), "repeat": (2, 10), "cancel": (3, 10), "serve": (6, 3), "lose": (3, 2), "fault": (3, len(FAULTS)),
    "silent": (3, 2 * len(LOST_ANSWERS)), "refused": (1, 1), "stream": (5, 2), "fill": (2, 10), "wait": (4, 6),
    "late": (3, 1), "arrive": (2, 1), "gap": (1, 1),
    "flatten": (1, 2), "all": (1, 1), "lost": (1, 2), "pause": (1, 2), "shut": (1, 1), "open": (2, 1), "kill": (6, 8),
}  # fmt: skip
BY_KIND = {kind: [(kind, value) for value in range(values)] for kind, (_, values) in WEIGHTS.items()}
WAITS_MS = (1, 40, 210, 700, 1_100, 2_100)

kinds = st.sampled_from([kind for kind, (weight, _) in WEIGHTS.items() for _ in range(weight)])
steps = kinds.flatmap(lambda kind: st.sampled_from(BY_KIND[kind]))

KINDS: list[dict[str, object]] = [
    {"side": "BUY", "type": "LIMIT", "price": "59000.0"},
    {"side": "BUY", "type": "LIMIT", "price": "60000.1", "tif": "IOC"},
    {"side": "BUY", "type": "MARKET"},
    {"side": "SELL", "type": "MARKET", "reduce_only": True},
    {"side": "SELL", "type": "LIMIT", "price": "61000.0", "reduce_only": True},
    {"side": "SELL", "type": "LIMIT", "price": "61000.0"},
]


class Life:
    def __init__(self, *, hedge: bool = False) -> None:
        self.rig = Rig(hedge=hedge)
        self.leg = "LONG" if hedge else "BOTH"
        self.asked: dict[int, dict[str, object]] = {}
        self.next_seq = 1
        self.limbo: list[Send] = []

    def step(self, kind: str, value: int) -> None:
        getattr(self, f"do_{kind}")(value)

    def do_place(self, value: int) -> None:
        what = {**KINDS[value], "qty": "0.002", "asked_boot_ns": self.rig.boot_ns, "leg": self.leg}
        self.asked[self.next_seq] = what
        self.rig.place(self.next_seq, **what)  # type: ignore[arg-type]
        self.next_seq += 1

    def do_repeat(self, value: int) -> None:
        if self.asked:
            seq = sorted(self.asked)[value % len(self.asked)]
            self.rig.place(seq, **self.asked[seq])  # type: ignore[arg-type]

    def do_cancel(self, value: int) -> None:
        if self.asked:
            seq = sorted(self.asked)[value % len(self.asked)]
            self.rig.ask(wire.Cancel, intent=IntentId(BRAIN, RUN, seq))

    def do_serve(self, count: int) -> None:
        for _ in range(count + 1):
            if self.rig.wire:
                self.rig.perform()

    def do_lose(self, reply: int) -> None:
        if self.rig.wire:
            self.rig.perform(lose_reply=bool(reply), lose_request=not reply)

    def do_fault(self, value: int) -> None:
        """Refused by the exchange: nothing is executed."""
        if self.rig.wire:
            send = self.rig.wire.pop(0)
            self.rig.reply(send, *FAULTS[value])

    def do_silent(self, value: int) -> None:
        """Executed, or not, and an answer that proves nothing."""
        if self.rig.wire:
            send = self.rig.wire.pop(0)
            if value % 2:
                self.rig.exchange.call(send, self.rig.ms)
            self.rig.reply(send, *LOST_ANSWERS[value // 2])

    def do_late(self, _: int) -> None:
        """No answer, and the request is still on its way: it may arrive at any time later."""
        if self.rig.wire:
            self.limbo.append(self.rig.fail(sent=True))

    def do_arrive(self, _: int) -> None:
        for send in self.limbo:
            self.rig.exchange.call(send, self.rig.ms)
        self.limbo.clear()

    def do_refused(self, _: int) -> None:
        if self.rig.wire:
            self.rig.fail(sent=False)

    def do_stream(self, twice: int) -> None:
        said = list(self.rig.exchange.stream)
        self.rig.stream()
        if twice:
            self.rig.exchange.stream = said
            self.rig.stream()

    def do_fill(self, value: int) -> None:
        resting = self.rig.exchange.open()
        if resting:
            order = resting[value % len(resting)]
            left = Decimal(order["origQty"]) - Decimal(order["executedQty"])
            self.rig.exchange.fill(order["orderId"], left if value % 2 else Decimal("0.001"), self.rig.ms)

    def do_wait(self, which: int) -> None:
        self.rig.advance(WAITS_MS[which])

    def do_gap(self, _: int) -> None:
        """The private stream breaks: what it had to say is gone; a reconciliation follows."""
        self.rig.do(self.rig.core.on_signal(self.rig.now, PrivateDown("test")))
        self.rig.exchange.stream.clear()
        self.rig.do(self.rig.core.on_signal(self.rig.now, ReadyChanged(True, "test")))

    def do_flatten(self, person: int) -> None:
        self.rig.ask(wire.Flatten, PERSON if person else None)

    def do_all(self, _: int) -> None:
        self.rig.ask(wire.CancelAll)

    def do_lost(self, back: int) -> None:
        signal = BrainBack(BRAIN, RUN) if back else BrainLost(BRAIN, RUN, (SYMBOL,), 1_000)
        self.rig.do(self.rig.core.on_signal(self.rig.now, signal))

    def do_pause(self, resume: int) -> None:
        self.rig.ask(wire.Risk, PERSON, action="resume" if resume else "pause")

    def do_shut(self, _: int) -> None:
        self.rig.lanes.shut = True

    def do_open(self, _: int) -> None:
        self.rig.open_lanes()

    def do_kill(self, value: int) -> None:
        """Bit 0: requests of the last step reached the exchange. Bit 1: the stream's words are lost. Bit 2: long."""
        if value & 1:
            for send in self.rig.wire:
                self.rig.exchange.call(send, self.rig.ms)
        if value & 2:
            self.rig.exchange.stream.clear()
        self.rig.restart(5_000 if value & 4 else 50)
        self.rig.do(self.rig.core.on_signal(self.rig.now, ReadyChanged(True, "after the restart")))

    def heal(self) -> None:
        """The exchange answers everything, the stream speaks, the brain asks again for what it has no answer to."""
        self.rig.open_lanes()
        self.rig.before_tick = lambda: self.do_arrive(0) if self.rig.ms >= late_ms else None
        late_ms = self.rig.ms + 350  # within the receive window of what left last
        for _ in range(4):
            self.do_gap(0)
            self.rig.advance(5_000, serve=True)
        for seq in sorted(self.asked):
            self.do_repeat(sorted(self.asked).index(seq))
        self.rig.advance(10_000, serve=True)

    def check(self) -> None:
        rig = self.rig
        by_cid = {order["clientOrderId"]: order for order in rig.exchange.orders.values()}
        assert len(by_cid) == len(rig.exchange.orders), "a client order id was used twice"
        at_exchange: dict[int, list[str]] = {}
        for cid in by_cid:
            held = rig.journal.orders[cid]  # journalled before it left
            if held.brain == BRAIN:
                at_exchange.setdefault(held.seq, []).append(cid)
        for seq in self.asked:
            there = at_exchange.get(seq, [])
            assert len(there) <= 1, f"intent {seq} became {there}"
            row = rig.journal.outcomes.get((BRAIN, RUN, seq))
            assert row is not None and row.final, (
                f"intent {seq} has no end: {rig.journal.intents.get((BRAIN, RUN, seq))}"
            )
            outcome = stored_of(row.answer).outcome
            assert (outcome == "accepted") == bool(there), (seq, outcome, there)
        assert rig.unanswered_or_answered_twice() == []
        states = {
            cid: msgspec.json.decode(row.state_json)["progress"].get("state", "queued")
            for cid, row in rig.journal.orders.items()
        }
        assert not {cid: state for cid, state in states.items() if state in ("sent", "unknown")}
        assert rig.core.unknown_count() == 0
        flattening = [key for key, value in rig.journal.kv.items() if key.startswith("flatten:") and value]
        assert not flattening, "a flatten never ended"
        own = [name for name in rig.journal.intents if name[0] == "gateway" and name not in rig.journal.outcomes]
        assert not own, "an intent of the gateway has no end"
        accepted = [row.event.ids for row in rig.journal.events if row.event.subject == "order.accepted"]
        assert len({ids.client_order_id for ids in accepted if ids}) == len(accepted), "accepted twice"
        trades = {(trade["symbol"], trade["id"]) for trade in rig.exchange.trades}
        assert set(rig.journal.fills) == trades
        key = (SYMBOL, self.leg)
        assert rig.account.qty.get(key, Decimal(0)) == rig.exchange.position.get(key, Decimal(0))
        open_there = {order["clientOrderId"] for order in rig.exchange.open()}
        assert {order.client_order_id for order in rig.core.open_orders()} == open_there


@given(st.lists(steps, min_size=4, max_size=40), st.booleans())
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_intent_ends_as_one_order_or_a_recorded_refusal(life: list[tuple[str, int]], hedge: bool) -> None:
    run = Life(hedge=hedge)
    for kind, value in life:
        run.step(kind, value)
    run.heal()
    run.check()
