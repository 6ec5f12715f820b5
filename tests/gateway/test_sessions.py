"""Sessions: lines into requests, faults into named errors, rights, hello, runs, leases. Pure: plain calls."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.brains import MAX_NAMES, Brain
from gateway.core.effects import Answer, Write
from gateway.core.eventlog import EventLog
from gateway.core.inputs import ClientClosed, ClientLine, ClientOpened, Now
from gateway.core.parts import Out
from gateway.core.rights import Grant, Rights
from gateway.core.rows import BrainRow, EventRow, IntentRow, KvRow, Restored
from gateway.core.sessions import Sessions, SessionSettings
from gateway.core.signals import BrainBack, BrainLost
from ipc import wire
from ipc.errors import CODES, IpcError
from ipc.framing import MAX_LINE_BYTES, TooLong

MS = 1_000_000
OWNER = 1000
NOTHING = Restored(1, (), (), (), (), (), {})


def hello(number: int = 1, **fields: Any) -> dict[str, Any]:
    told = {"brain": "macd", "run": "r5", "strategy": "macd", "symbols": ["BTCUSDT"], "intervals": ["5m"]}
    return {"id": number, "op": "hello", **told, **fields}


@dataclass
class Room:
    """Sessions, the root's part of serving them, and a clock."""

    restored: Restored = NOTHING
    grants: tuple[Grant, ...] = ()
    settings: SessionSettings = field(default_factory=lambda: SessionSettings("main", "simex"))
    boot_ms: int = 1_000_000

    def __post_init__(self) -> None:
        self.log = EventLog(self.restored.next_event_seq)
        self.sessions = Sessions(self.settings, self.restored, Rights(OWNER, self.grants), self.log, "E1")
        self.out: Out = []
        self.keep(self.sessions.start(self.now))

    @property
    def now(self) -> Now:
        return Now((self.boot_ms + 10**12) * MS, self.boot_ms * MS)

    def keep(self, out: Out) -> Out:
        self.out += out
        for effect in out:
            if isinstance(effect, Answer):
                self.sessions.answered(self.now, effect.client)
        return out

    def open(self, client: int = 1, uid: int = OWNER, pid: int = 77) -> None:
        self.keep(self.sessions.opened(self.now, ClientOpened(client, uid, pid)))

    def close(self, client: int = 1) -> Out:
        return self.keep(self.sessions.closed(self.now, ClientClosed(client)))

    def ask(self, request: dict[str, Any] | bytes | TooLong, client: int = 1) -> dict[str, Any] | None:
        """The answer, or None where the root would pass it on to another part (it stays unanswered)."""
        line = json.dumps(request).encode() if isinstance(request, dict) else request
        out: Out = []
        found = self.sessions.request_of(self.now, ClientLine(client, line), out)
        if found is not None:
            out += self.serve(*found)
        self.keep(out)
        answers = [effect for effect in out if isinstance(effect, Answer)]
        assert len(answers) <= 1
        return json.loads(answers[0].line) if answers else None

    def serve(self, caller: Any, request: wire.Request) -> Out:
        try:
            match request:
                case wire.Hello():
                    return self.sessions.hello(self.now, caller, request)
                case wire.Ping():
                    return self.sessions.ping(self.now, caller, request)
                case wire.Note():
                    return self.sessions.note(self.now, caller, request)
        except IpcError as error:
            body = wire.ErrorBody(code=error.code, message=error.message, retryable=error.retryable)
            return [Answer(caller.client, wire.encode(wire.Answer(id=request.id, ok=False, error=body)))]
        return []

    def code(self, request: dict[str, Any] | bytes | TooLong, client: int = 1) -> str | None:
        answer = self.ask(request, client)
        assert answer is not None
        return answer["error"]["code"] if "error" in answer else None

    def tick(self, passed_ms: int, step_ms: int = 50) -> Out:
        """Let time pass in ticks, as the shell does."""
        out: Out = []
        for _ in range(passed_ms // step_ms):
            self.boot_ms += step_ms
            out += self.keep(self.sessions.on_tick(self.now))
        return out

    def brain(self, name: str = "macd") -> Brain:
        brain = self.sessions.brains.get(name)
        assert brain is not None
        return brain

    def events(self) -> list[str]:
        rows = [effect.row for effect in self.out if isinstance(effect, Write)]
        return [row.event.subject for row in rows if isinstance(row, EventRow)]

    def signals(self) -> list[object]:
        return [effect for effect in self.out if isinstance(effect, BrainLost | BrainBack)]

    def journal(self) -> Restored:
        """What a restart would get."""
        brains: dict[str, BrainRow] = {}
        kv: dict[str, bytes] = {}
        for effect in self.out:
            if isinstance(effect, Write) and isinstance(effect.row, BrainRow):
                brains[effect.row.name] = effect.row
            if isinstance(effect, Write) and isinstance(effect.row, KvRow):
                kv[effect.row.key] = effect.row.value
        return Restored(self.log.last + 1, (), (), (), (), tuple(brains.values()), kv)


# -- lines -------------------------------------------------------------------------------------------------------

FAULTS: list[tuple[bytes | TooLong, str, int | None]] = [
    (TooLong(1 << 20), "wire.too_long", None),
    (b"{", "wire.bad_json", None),
    (b"nonsense", "wire.bad_json", None),
    (b"[1]", "wire.bad_json", None),
    (b"17", "wire.bad_json", None),
    (b"[" * MAX_LINE_BYTES, "wire.bad_json", None),
    (b'{"id":1,"op":"ping","show":' + b'{"a":' * 9000 + b"1" + b"}" * 9001, "wire.bad_json", None),
    (b'{"id":1,"op":"ping"}{"id":2', "wire.bad_json", None),
    (b'{"id":4,"op":"p\xff"}', "wire.bad_json", 4),
    (b'{"id":4,"op":"ping","show":{"a":NaN}}', "wire.bad_json", None),
    (b"\xff\xfe{}", "wire.bad_json", None),
    (b"<html><body>502</body></html>", "wire.bad_json", None),
    (b"{}", "wire.bad_request", None),
    (b'{"id":7}', "wire.bad_request", 7),
    (b'{"id":7,"op":"teleport"}', "op.unknown", 7),
    (b'{"id":7,"op":3}', "wire.bad_request", 7),
    (b'{"op":"ping"}', "wire.bad_request", None),
    (b'{"id":"x","op":"ping"}', "wire.bad_request", None),
    (b'{"id":-1,"op":"ping"}', "wire.bad_request", None),
    (b'{"id":1e3,"op":"status"}', "wire.bad_request", None),
    (b'{"id":123456789012345678901234567890,"op":"ping"}', "wire.bad_request", None),
    (b'{"id":7,"op":"ping","extra":1}', "wire.bad_request", 7),
    (b'{"id":7,"op":"note","subject":"order.filled","data":{}}', "wire.bad_request", 7),
]


@pytest.mark.parametrize(
    ("line", "code", "request_id"),
    FAULTS,
    ids=[str(line)[:40] if isinstance(line, bytes) else "too long" for line, _, _ in FAULTS],
)
def test_every_bad_line_gets_its_named_error_and_the_connection_lives_on(
    line: bytes | TooLong, code: str, request_id: int | None
) -> None:
    room = Room()
    room.open()
    answer = room.ask(line)
    assert answer is not None
    assert (answer["error"]["code"], answer["id"]) == (code, request_id)
    assert room.code({"id": 9, "op": "ping"}) is None


PLACE = {
    "id": 7, "op": "place", "intent": {"brain": "macd", "run": "r5", "seq": 1}, "symbol": "BTCUSDT", "side": "BUY",
    "type": "LIMIT", "qty": "0.002", "price": "61000.0", "tif": "GTC",
}  # fmt: skip


@pytest.mark.parametrize(
    ("field_name", "value", "path"),
    [
        ("qty", "NaN", "$.qty"), ("qty", "-1", "$.qty"), ("qty", "1e5", "$.qty"), ("qty", "1" * 30, "$.qty"),
        ("qty", 1, "$.qty"), ("qty", "", "$.qty"), ("qty", None, "$.qty"), ("price", "61000.", "$.price"),
        ("side", "buy", "$.side"), ("type", "STOP", "$.type"), ("tif", "DAY", "$.tif"), ("leg", "NONE", "$.leg"),
        ("deadline_ms", 0, "$.deadline_ms"), ("tag", "x" * 65, "$.tag"), ("reduce_only", "yes", "$.reduce_only"),
        ("intent", {"brain": "macd", "run": "5", "seq": 1}, "$.intent.run"),
        ("intent", {"brain": "macd", "run": "r5", "seq": 0}, "$.intent.seq"),
        ("intent", {"brain": "../x", "run": "r5", "seq": 1}, "$.intent.brain"), ("symbol", "", "$.symbol"),
    ],
)  # fmt: skip
def test_a_bad_field_of_a_place_is_named_by_its_path(field_name: str, value: object, path: str) -> None:
    room = Room()
    room.open()
    room.ask(hello())
    answer = room.ask({**PLACE, field_name: value})
    assert answer is not None
    assert (answer["id"], answer["error"]["code"], answer["error"]["detail"]["path"]) == (7, "wire.bad_request", path)


@given(st.binary(max_size=300))
def test_no_line_whatsoever_raises_or_goes_unnamed(line: bytes) -> None:
    room = Room()
    room.open()
    answer = room.ask(line)
    if answer is not None and not answer["ok"]:
        assert answer["error"]["code"] in CODES


# -- hello -------------------------------------------------------------------------------------------------------


def test_hello_tells_the_brain_what_it_needs_and_registers_it_once() -> None:
    room = Room()
    room.open()
    answer = room.ask(hello())
    assert answer == {
        "id": 1,
        "ok": True,
        "as_of": 1,
        "result": {
            "account": "main", "environment": "simex", "epoch": "E1", "v": 1, "brain_no": 1, "last_seq": 0, "as_of": 1,
            "lease_ms": 3000, "admin": False,
        },
    }  # fmt: skip
    assert room.journal().brains == (BrainRow("macd", 1, "r5", 0),)
    assert room.events() == ["brain.started"]
    room.open(2)
    assert room.ask(hello(brain="obi", symbols=["ETHUSDT"]), 2)["result"]["brain_no"] == 2  # type: ignore[index]
    room.close(1)
    room.open(3)
    assert room.ask(hello(run="r6"), 3)["result"]["brain_no"] == 1  # type: ignore[index]


def test_a_tool_may_say_hello_without_a_name_and_learns_whether_it_may_administer() -> None:
    room = Room()
    for client, uid, admin in ((1, OWNER, True), (2, 4242, False)):
        room.open(client, uid)
        answer = room.ask({"id": 1, "op": "hello"}, client)
        assert answer is not None
        assert (answer["result"]["admin"], answer["result"]["brain_no"]) == (admin, None)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"v": 2}, "wire.version"),
        ({"run": None}, "wire.bad_request"),
        ({"symbols": ["btcusdt"]}, "wire.bad_request"),
        ({"symbols": ["BTC:USDT"]}, "wire.bad_request"),
    ],
)
def test_a_hello_that_cannot_be_meant_is_refused_and_registers_nothing(change: dict[str, Any], code: str) -> None:
    room = Room()
    room.open()
    request = {name: value for name, value in {**hello(), **change}.items() if value is not None}
    assert room.code(request) == code
    assert room.sessions.brains.all() == ()
    assert room.out == [effect for effect in room.out if isinstance(effect, Answer)]


def test_only_an_administrators_tool_claims_no_symbol_and_it_may_then_trade_one_that_a_brain_holds() -> None:
    room = Room(grants=(Grant(4242, trade=True),))
    room.open(1)
    room.ask(hello(), 1)
    tool = hello(brain="test-order", run="r9", symbols=[])
    place = {
        "id": 2, "op": "place", "intent": {"brain": "test-order", "run": "r9", "seq": 1}, "symbol": "BTCUSDT",
        "side": "BUY", "type": "MARKET", "qty": "1",
    }  # fmt: skip
    room.open(2, uid=4242)
    assert room.code(tool, 2) == "wire.bad_request"
    room.open(3)
    assert room.code(tool, 3) is None
    assert room.ask(place, 3) is None  # let through to the order path, which answers later
    assert room.brain().symbols == ("BTCUSDT",)


def test_at_the_bound_of_names_a_new_one_is_refused_and_the_old_ones_work_on() -> None:
    rows = tuple(BrainRow(f"b{n}", n, "r5", 0) for n in range(1, MAX_NAMES))
    room = Room(Restored(1, (), (), (), (), rows, {}))
    room.open(1)
    assert room.code(hello(brain="last"), 1) is None
    assert room.brain("last").number == MAX_NAMES
    before = len(room.out)
    room.open(2)
    assert room.code(hello(brain="one-more", symbols=["ETHUSDT"]), 2) == "brain.too_many"
    assert not [effect for effect in room.out[before:] if isinstance(effect, Write)], "nothing was registered"
    assert room.code(hello(brain="b7", symbols=["ETHUSDT"]), 2) is None
    assert len(room.sessions.brains.all()) == MAX_NAMES


def test_one_live_connection_a_name_and_a_newcomer_gets_it_once_the_first_is_gone() -> None:
    room = Room()
    room.open(1)
    room.open(2)
    room.ask(hello(), 1)
    assert room.code(hello(), 2) == "brain.name_taken"
    room.close(1)
    assert room.code(hello(), 2) is None
    assert room.brain().client == 2


def test_a_run_is_never_older_than_the_last_and_the_same_one_comes_back() -> None:
    room = Room()
    for client, run, code in ((1, "r10", None), (2, "r9", "brain.run_used"), (3, "r10", None), (4, "r11", None)):
        room.open(client)
        assert room.code(hello(run=run), client) == code
        room.close(client)
    assert room.brain().run == "r11"


def intent(run: str, seq: int) -> IntentRow:
    return IntentRow("macd", 1, run, seq, "BTCUSDT", b"{}", 0, "b", None, 0)


def test_last_seq_is_the_highest_intent_of_this_run_after_a_restart_too() -> None:
    intents = tuple(intent(run, seq) for run, seq in (("r5", 7), ("r5", 3), ("r4", 9)))
    room = Room(Restored(5, intents, (), (), (), (BrainRow("macd", 1, "r5", 0),), {}))
    room.open()
    assert room.ask(hello())["result"]["last_seq"] == 7  # type: ignore[index]
    room.sessions.brains.saw_intent(intent("r5", 8))
    room.close()
    room.open(2)
    assert room.ask(hello(), 2)["result"]["last_seq"] == 8  # type: ignore[index]
    room.close(2)
    room.open(3)
    assert room.ask(hello(run="r6"), 3)["result"]["last_seq"] == 0  # type: ignore[index]


def test_one_brain_a_symbol_until_its_lease_ended_and_its_position_is_dealt_with() -> None:
    room = Room()
    room.open(1)
    room.open(2)
    room.ask(hello(), 1)
    other = hello(brain="obi", symbols=["ETHUSDT", "BTCUSDT"])
    answer = room.ask(other, 2)
    assert answer is not None
    assert (answer["error"]["code"], answer["error"]["retryable"]) == ("brain.symbol_taken", False)
    room.close(1)
    assert room.ask(other, 2)["error"]["retryable"]  # type: ignore[index]  # it will end
    room.tick(3100)
    assert room.brain().standing == "lost"
    assert room.code(other, 2) == "brain.symbol_taken"
    room.tick(10_100)
    assert room.code(other, 2) is None
    assert room.sessions.brains.by_symbol("BTCUSDT") is room.brain("obi")


# -- rights ------------------------------------------------------------------------------------------------------


def test_rights_hang_on_the_user_id() -> None:
    room = Room(grants=(Grant(7, trade=True, brains=frozenset({"macd"}), symbols=frozenset({"BTCUSDT"})),))
    for client, uid, change, code in (
        (1, 8, {}, "rights.denied"),
        (2, 7, {"brain": "obi"}, "rights.denied"),
        (3, 7, {"symbols": ["BTCUSDT", "ETHUSDT"]}, "rights.denied"),
        (4, 7, {}, None),
    ):
        room.open(client, uid)
        assert room.code(hello(**change), client) == code


CANCEL = {"id": 1, "op": "cancel", "intent": {"brain": "macd", "run": "r5", "seq": 1}}


@pytest.mark.parametrize(
    ("request_", "stranger", "tool", "brain"),
    [
        ({"op": "status"}, None, None, None),
        ({"op": "orders"}, None, None, None),
        ({"op": "events"}, None, None, None),
        ({"op": "risk"}, None, None, None),
        (PLACE, "rights.hello_first", "rights.hello_first", None),
        ({**PLACE, "symbol": "ETHUSDT"}, "rights.hello_first", "rights.hello_first", "rights.denied"),
        (
            {**PLACE, "intent": {"brain": "obi", "run": "r5", "seq": 1}},
            "rights.hello_first",
            "rights.hello_first",
            "rights.denied",
        ),
        (CANCEL, "rights.hello_first", None, None),
        ({**CANCEL, "intent": {"brain": "obi", "run": "r5", "seq": 1}}, "rights.hello_first", None, "rights.denied"),
        ({"op": "cancel_all"}, "rights.hello_first", None, None),
        ({"op": "cancel_all", "everyone": True}, "rights.hello_first", None, "rights.denied"),
        ({"op": "flatten"}, "rights.hello_first", None, None),
        ({"op": "note", "subject": "brain.signal"}, "rights.hello_first", "rights.hello_first", None),
        ({"op": "risk", "action": "kill"}, "rights.denied", None, "rights.denied"),
        ({"op": "risk", "action": "pause", "brain": "macd"}, "rights.denied", None, None),
        ({"op": "risk", "action": "resume", "brain": "macd"}, "rights.denied", None, "rights.denied"),
        ({"op": "risk", "action": "pause", "brain": "obi"}, "rights.denied", None, "rights.denied"),
    ],
)
def test_who_may_ask_what(request_: dict[str, Any], stranger: str | None, tool: str | None, brain: str | None) -> None:
    room = Room()
    room.open(1, uid=4242)
    room.open(2)
    room.open(3)
    room.ask(hello(), 3)
    for client, code in ((1, stranger), (2, tool), (3, brain)):
        answer = room.ask({"id": 5, **request_}, client)
        got = answer["error"]["code"] if answer is not None and "error" in answer else None
        assert got == code, f"client {client}"


# -- bounds ------------------------------------------------------------------------------------------------------


def test_unanswered_requests_are_bounded_and_what_is_urgent_passes() -> None:
    room = Room(settings=SessionSettings("main", "simex", max_unanswered=5))
    room.open()
    room.ask(hello())
    for number in range(5):
        assert room.ask({**PLACE, "id": number}) is None
    assert room.code({**PLACE, "id": 9}) == "wire.busy"
    assert room.code({"id": 9, "op": "ping"}) == "wire.busy"
    assert room.ask({"id": 10, "op": "status"}) is None
    assert room.ask({**CANCEL, "id": 11}) is None
    assert room.ask({**PLACE, "id": 12, "reduce_only": True}) is None
    for number in range(13, 25):
        assert room.ask({"id": number, "op": "flatten"}) is None
    assert room.code({"id": 30, "op": "flatten"}) == "wire.busy"  # four times as many: urgent is bounded too
    for _ in range(20):
        room.sessions.answered(room.now, 1)
    assert room.code({"id": 31, "op": "ping"}) is None


def test_notes_are_events_of_the_brain_bounded_in_size_and_rate() -> None:
    room = Room()
    room.open()
    room.ask(hello())
    note = {"id": 3, "op": "note", "subject": "brain.signal", "symbol": "BTCUSDT", "data": {"why": "cross"}}
    assert room.ask(note) == {"id": 3, "ok": True, "as_of": 2, "result": {"seq": 2}}
    event = next(e.row.event for e in reversed(room.out) if isinstance(e, Write) and isinstance(e.row, EventRow))
    assert (event.seq, event.source, event.brain, event.data) == (2, "brain:macd", "macd", {"why": "cross"})
    assert room.code({**note, "data": {"x": "y" * 4090}}) == "wire.bad_request"
    assert room.code({**note, "data": {"x": "y" * 4080}}) is None
    codes = [room.code(note) for _ in range(250)]
    assert codes.index("wire.busy") == 198
    room.boot_ms += 100
    assert [room.code(note) for _ in range(6)] == [None] * 5 + ["wire.busy"]
    room.tick(50)
    assert room.events().count("brain.signal") == room.log.last - 1


# -- leases ------------------------------------------------------------------------------------------------------


def test_a_lease_lives_by_any_request_and_ends_after_three_seconds_without() -> None:
    room = Room()
    room.open()
    room.ask(hello())
    for request in ({"id": 1, "op": "ping"}, {"id": 2, "op": "nonsense"}, {"id": 3, "op": "ping"}):
        room.tick(2900)
        room.ask(request)
    assert room.tick(3000) == []
    assert room.brain().alive
    out = room.tick(100)
    lost = BrainLost("macd", "r5", ("BTCUSDT",), 10_000)
    assert [effect for effect in out if isinstance(effect, BrainLost)] == [lost]
    assert room.events()[-1] == "brain.lost"
    assert not room.brain().alive
    assert room.tick(20_000) == [effect for effect in room.out[-1:] if isinstance(effect, Write)]  # settled, once


def test_a_brain_that_asks_again_is_back() -> None:
    room = Room()
    room.open()
    room.ask(hello())
    room.tick(4000)
    assert room.code({"id": 2, "op": "ping"}) is None
    assert room.brain().alive
    assert room.signals()[-2:] == [BrainLost("macd", "r5", ("BTCUSDT",), 10_000), BrainBack("macd", "r5")]


def test_a_lease_is_held_while_a_request_is_being_answered_and_begins_anew_with_the_answer() -> None:
    room = Room()
    room.open()
    room.ask(hello())
    assert room.ask(PLACE) is None
    room.tick(9000)
    assert room.brain().alive
    room.sessions.answered(room.now, 1)
    room.tick(2900)
    assert room.brain().alive
    room.tick(200)
    assert not room.brain().alive


def test_the_end_of_a_connection_does_not_end_the_lease_at_once() -> None:
    room = Room()
    room.open()
    room.ask(hello())
    room.close()
    assert room.events() == ["brain.started", "brain.stopped"]
    room.tick(2900)
    assert room.brain().alive
    room.tick(200)
    assert room.events()[-1] == "brain.lost"


def test_a_stall_of_the_gateway_costs_no_brain_its_lease() -> None:
    room = Room()
    room.open()
    room.ask(hello())
    room.tick(1000)
    room.boot_ms += 60_000  # stopped, or suspended
    room.keep(room.sessions.on_tick(room.now))
    assert room.brain().alive
    room.tick(2900)
    assert room.brain().alive
    room.tick(200)  # it really is silent
    assert not room.brain().alive


def test_keep_leaves_what_a_lost_brain_holds_and_frees_the_symbol() -> None:
    room = Room(settings=SessionSettings("main", "simex", flatten_after_ms=None))
    room.open()
    room.ask(hello())
    room.close()
    room.tick(3200)
    assert room.signals()[-1] == BrainLost("macd", "r5", ("BTCUSDT",), None)
    room.open(2)
    assert room.code(hello(brain="obi"), 2) is None


@pytest.mark.parametrize("silent_ms", [0, 4000, 20_000])
def test_after_a_restart_a_lease_goes_on_and_a_pending_flatten_is_not_forgotten(silent_ms: int) -> None:
    before = Room()
    before.open()
    before.ask(hello())
    before.tick(silent_ms)
    after = Room(before.journal())
    lost = BrainLost("macd", "r5", ("BTCUSDT",), 10_000)
    if silent_ms == 0:
        assert after.signals() == []
        assert after.brain().alive
        after.tick(3200)
        assert after.signals() == [lost]
    elif silent_ms == 4000:
        assert after.signals() == [lost]
    else:
        assert after.signals() == []
        after.tick(20_000)
        assert after.signals() == []


def test_any_order_of_hello_silence_and_loss_keeps_one_owner_a_symbol_and_says_each_loss_once(seed: int) -> None:
    rng = random.Random(seed)
    room = Room()
    clients: dict[str, int] = {}
    for number in range(400):
        name = rng.choice(["a", "b", "c"])
        action = rng.random()
        if action < 0.3 and name not in clients:
            clients[name] = number + 1
            room.open(number + 1)
            symbols = rng.sample(["BTCUSDT", "ETHUSDT", "SOLUSDT"], rng.randint(1, 2))
            room.ask(hello(brain=name, symbols=symbols, run=f"r{number + 1}"), number + 1)
        elif action < 0.4 and name in clients:
            room.close(clients.pop(name))
        elif action < 0.7 and name in clients:
            room.ask({"id": number, "op": "ping"}, clients[name])
        else:
            room.tick(rng.choice([50, 500, 3500]))
        held = [symbol for brain in room.sessions.brains.all() if brain.standing == "alive" for symbol in brain.symbols]
        assert len(held) == len(set(held))
    for name in ("a", "b", "c"):
        mine = [type(signal) for signal in room.signals() if signal.brain == name]  # type: ignore[attr-defined]
        assert all(one is not BrainLost or two is BrainBack for one, two in pairwise(mine))
