"""Bad input on the gateway's socket, through the real process: one named error for each line, nothing reaches the
exchange, the connection and the process live on."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ipc.errors import CODES
from ipc.framing import MAX_LINE_BYTES
from tests.gateway.rig import Brain, Line, Rig, far_below
from tests.simex.running import running

BRAIN, RUN = "tester", "r1700000000000"
PLACE: dict[str, Any] = {
    "id": 7, "op": "place", "intent": {"brain": BRAIN, "run": RUN, "seq": 1}, "symbol": "BTCUSDT", "side": "BUY",
    "type": "LIMIT", "qty": "0.002", "price": "50000.0", "tif": "GTC",
}  # fmt: skip
LONG = "9" * 30


def place(**change: Any) -> bytes:
    return json.dumps({**PLACE, **change}).encode()


def intent(**change: Any) -> bytes:
    return place(intent={**PLACE["intent"], **change})


def request(op: str, **fields: Any) -> bytes:
    return json.dumps({"id": 7, "op": op, **fields}).encode()


# (line, the error it must get, what the error must name)
VALUES: list[Any] = [
    0.002, 1, True, [], {}, "", " 1", "NaN", "nan", "Infinity", "-1", "-0.5", "+1", "1e5", "0x10", "1,5", ".5", "5.",
    "1 000", "١٢", LONG, f"0.{LONG}", f"{LONG}.{LONG}",
]  # fmt: skip
LINES: list[tuple[bytes, str, str]] = [
    # not one JSON object
    (b"x" * (1 << 20), "wire.too_long", ""),
    (b'{"id":7,"op":"ping"}'.ljust(MAX_LINE_BYTES + 1), "wire.too_long", ""),
    (b"[" * MAX_LINE_BYTES, "wire.bad_json", ""),
    (b'{"a":' * 12_000, "wire.bad_json", ""),
    (b'{"id":7,"op":"pi', "wire.bad_json", ""),
    (place()[:-1], "wire.bad_json", ""),
    (place()[: len(place()) // 2], "wire.bad_json", ""),
    (place() + b"}", "wire.bad_json", ""),
    (place() + place(), "wire.bad_json", ""),
    (b"[]", "wire.bad_json", ""),
    (b"[" + place() + b"]", "wire.bad_json", ""),
    (b"null", "wire.bad_json", ""),
    (b'"ping"', "wire.bad_json", ""),
    (b"7", "wire.bad_json", ""),
    (b"NaN", "wire.bad_json", ""),
    (b"<html><body>502 Bad Gateway</body></html>", "wire.bad_json", ""),
    (b"GET / HTTP/1.1", "wire.bad_json", ""),
    (b"\xff\xfe\x00{", "wire.bad_json", ""),
    (place(tag="TAG").replace(b"TAG", b"\xc3\x28"), "wire.bad_json", ""),
    (b'{"id":7,"op":"ping"\x00}', "wire.bad_json", ""),
    (place().replace(b'"0.002"', b"NaN"), "wire.bad_json", ""),
    (place().replace(b'"0.002"', b"-Infinity"), "wire.bad_json", ""),
    # operations
    (b"{}", "wire.bad_request", "op"),
    (b'{"id":7}', "wire.bad_request", "op"),
    (request("fly"), "op.unknown", "fly"),
    (request(""), "op.unknown", ""),
    (request("PING"), "op.unknown", "PING"),
    (request("amend"), "op.not_supported", "amend"),
    (request("batch"), "op.not_supported", "batch"),
    (request("protect"), "op.not_supported", "protect"),
    (request("params"), "op.not_supported", "params"),
    (b'{"id":7,"op":5}', "wire.bad_request", "op"),
    (b'{"op":"ping"}', "wire.bad_request", "id"),
    (b'{"id":"7","op":"ping"}', "wire.bad_request", "id"),
    (b'{"id":-1,"op":"ping"}', "wire.bad_request", "id"),
    (b'{"id":1.5,"op":"ping"}', "wire.bad_request", "id"),
    (b'{"id":true,"op":"ping"}', "wire.bad_request", "id"),
    (b'{"id":18446744073709551616,"op":"ping"}', "wire.bad_request", "id"),
    (request("ping", show=[]), "wire.bad_request", "$.show"),
    (request("ping", colour="red"), "wire.bad_request", "colour"),
    # wrong types and ranges
    (place(intent="tester/1"), "wire.bad_request", "$.intent"),
    (intent(brain="a b"), "wire.bad_request", "$.intent.brain"),
    (intent(run="yesterday"), "wire.bad_request", "$.intent.run"),
    (intent(seq=0), "wire.bad_request", "$.intent.seq"),
    (intent(seq=-1), "wire.bad_request", "$.intent.seq"),
    (intent(seq="1"), "wire.bad_request", "$.intent.seq"),
    (intent(seq=2**53 + 1), "wire.bad_request", "$.intent.seq"),
    (intent(extra=1), "wire.bad_request", "extra"),
    (place(side="HOLD"), "wire.bad_request", "$.side"),
    (place(type="STOP"), "wire.bad_request", "$.type"),
    (place(tif="SOON"), "wire.bad_request", "$.tif"),
    (place(leg="LEFT"), "wire.bad_request", "$.leg"),
    (place(reduce_only="yes"), "wire.bad_request", "$.reduce_only"),
    (place(deadline_ms=0), "wire.bad_request", "$.deadline_ms"),
    (place(deadline_ms=600_001), "wire.bad_request", "$.deadline_ms"),
    (place(tag="t" * 65), "wire.bad_request", "$.tag"),
    (place(symbol="X" * 41), "wire.bad_request", "$.symbol"),
    (place(symbol=None), "wire.bad_request", "$.symbol"),
    *[
        (place(**{name: value}), "wire.bad_request", f"$.{name}")
        for name in ("qty", "price")
        for value in VALUES
    ],
    (request("events", after=-1), "wire.bad_request", "$.after"),
    (request("events", limit=0), "wire.bad_request", "$.limit"),
    (request("events", limit=1001), "wire.bad_request", "$.limit"),
    (request("events", subjects=["*"] * 21), "wire.bad_request", "$.subjects"),
    (request("bars", symbol="BTCUSDT", interval="7m"), "wire.bad_request", "$.interval"),
    (request("risk", action="explode"), "wire.bad_request", "$.action"),
    (request("cancel", client_order_id="has space"), "wire.bad_request", "$.client_order_id"),
    (request("hello", v=2), "wire.version", ""),
    # what does not exist
    (request("book", symbol="NOSUCHUSDT"), "symbol.unknown", "NOSUCHUSDT"),
    (request("bars", symbol="btcusdt", interval="1m"), "symbol.unknown", "btcusdt"),
    (request("book", symbol="BTCUSDT", next="no such page"), "page.bad_token", ""),
    (request("orders", next="no such page"), "page.bad_token", ""),
    (request("order", intent={"brain": BRAIN, "run": RUN, "seq": 99}), "order.not_found", "99"),
    (request("order", client_order_id="nobody"), "order.not_found", "nobody"),
    (request("cancel", intent={"brain": BRAIN, "run": RUN, "seq": 99}), "order.not_found", "99"),
    (request("order"), "wire.bad_request", ""),
    (request("cancel"), "wire.bad_request", ""),
    (request("note", subject="brain.signal", data={"text": "x" * 5000}), "wire.bad_request", ""),
    (place(symbol="ETHUSDT"), "rights.denied", "ETHUSDT"),
    (intent(brain="somebody-else"), "rights.denied", "somebody-else"),
    # numbers the exchange would not take
    (place(qty="0"), "filter.qty", ""),
    (place(qty="0.0004"), "filter.qty", ""),
    (place(qty="999999999999999"), "filter.qty", ""),
    (place(price="0"), "filter.price", ""),
    (place(price="0.000000000001"), "filter.price", ""),
    (place(price="999999999999999.999999999999"), "filter.price", ""),
]  # fmt: skip


@pytest.fixture
def rig(tmp_path: Path, run_dir: Path, redis_url: str) -> Iterator[Rig]:
    with running() as simex, Rig(simex, redis_url, tmp_path, run_dir) as started:
        yield started


def ask(line: Line, data: bytes) -> dict[str, Any]:
    line.send(data + b"\n")
    return line.read()


def brain_of(rig: Rig) -> Brain:
    return rig.brain(name=BRAIN, run=RUN)


def test_every_bad_line_gets_its_named_error_on_a_connection_that_lives_on(rig: Rig) -> None:
    brain = brain_of(rig)
    rig.book_live()
    wrong = []
    for number, (data, code, named) in enumerate(LINES):
        unique = data.replace(b'"seq": 1}', b'"seq": %d}' % (1000 + number))
        answer = ask(brain, unique)
        error = answer.get("error") or {"code": "(no error)", "message": ""}
        if error["code"] != code or named not in json.dumps(error, ensure_ascii=False):
            wrong.append((data[:120], code, named, error))
        alive = brain.ask("ping")
        assert alive["ok"], (data[:120], alive)
    assert wrong == []
    assert rig.truth()["orders"] == []
    assert rig.line().result("status")["pid"] == rig.process.pid  # type: ignore[union-attr]


def test_the_longest_line_and_other_line_ends_pass(rig: Rig) -> None:
    line = rig.line()
    assert ask(line, b'{"id":7,"op":"ping"}'.ljust(MAX_LINE_BYTES))["ok"]
    assert ask(line, b'{"id":8,"op":"ping"}\r')["ok"]
    assert ask(line, b'\n\r\n\n{"id":9,"op":"ping"}')["id"] == 9


def test_half_a_line_then_the_end_is_nothing(rig: Rig) -> None:
    brain = brain_of(rig)
    rig.book_live()
    for data in (b"{", place()[:40], place(), b"x" * 100_000):
        half = rig.line()
        half.send(data)  # no newline: also a whole request is none
        half.close()
    assert brain.ask("ping")["ok"]
    assert rig.line().result("orders", scope="all") == []
    assert rig.truth()["orders"] == []


def test_a_line_in_pieces_is_one_line(rig: Rig) -> None:
    line = rig.line()
    for number, cut in enumerate((1, 5, 11)):
        data = json.dumps({"id": number, "op": "status"}).encode() + b"\n"
        line.send(data[:cut])
        other = rig.line()
        assert other.ask("ping")["ok"], "others are served while a line is incomplete"
        other.close()
        line.send(data[cut:])
        answer = line.read()
        assert (answer["id"], answer["ok"]) == (number, True)


def test_damaged_lines_each_get_one_answer_with_a_known_code(rig: Rig, seed: int) -> None:
    """Whatever bytes come: one answer a line, from the closed list, never a fault of ours."""
    dice = random.Random(seed)
    brain = brain_of(rig)
    good = [
        place(qty="0.0000"), request("status"), request("orders"), request("events", after=0, limit=3),
        request("book", symbol="BTCUSDT", limit=2), request("risk"), request("position"),
        request("cancel", intent={"brain": BRAIN, "run": RUN, "seq": 99}), request("note", subject="brain.signal"),
    ]  # fmt: skip
    codes: Counter[str] = Counter()
    for _ in range(600):
        data = damaged(dice, dice.choice(good))
        if not data.strip(b"\r"):
            continue
        answer = ask(brain, data)
        code = "ok" if answer["ok"] else answer["error"]["code"]
        assert code == "ok" or (code in CODES and code != "op.internal"), (data, answer)
        codes[code] += 1
    print(f"seed {seed}: {dict(codes)}")
    assert codes["wire.bad_json"] > 50
    assert codes["wire.bad_request"] > 50
    assert brain.ask("ping")["ok"]
    assert "a fault inside the gateway" not in rig.log.read_text()


SCRAPS = (b'"', b"{", b"}", b"[", b"null", b"-", b"1e999", b"\\u0000", b"\xed\xa0\x80", b",")


def damaged(dice: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(dice.randrange(1, 4)):
        at = dice.randrange(len(out) or 1)
        what = dice.randrange(5)
        if what == 0:
            out[at : at + 1] = bytes([dice.randrange(256)])
        elif what == 1:
            del out[at : at + dice.randrange(1, 12)]
        elif what == 2:
            out[at:at] = dice.choice(
                (b'"', b"{", b"}", b"[", b"null", b"-", b"1e999", b"\\u0000", b"\xed\xa0\x80", b",")
            )
        elif what == 3:
            out = out[:at]
        else:
            out += out[at:]
    return bytes(out).replace(b"\n", b" ")


def test_a_flood_delays_nobody_else_and_every_request_gets_one_answer(rig: Rig) -> None:
    brain = brain_of(rig)
    price = far_below(rig.book_live())
    held = brain.place("BUY", "0.002", price)
    assert held["ok"]
    flood = rig.line()
    count = 3000
    kinds: list[dict[str, Any]] = [
        {"op": "events", "after": 0, "limit": 50},
        {"op": "book", "symbol": "BTCUSDT"},
        {"op": "ping"},
        {"op": "x"},
    ]
    lines = [json.dumps({"id": number, **kinds[number % 4]}).encode() + b"\n" for number in range(count)]
    worst_s = 0.0
    for start in range(0, count, 300):
        flood.send(b"".join(lines[start : start + 300]))
        began = time.monotonic()
        assert brain.ask("status")["ok"]
        worst_s = max(worst_s, time.monotonic() - began)
        for _ in range(300):
            answer = flood.read()
            assert answer["ok"] == (answer["id"] % 4 != 3) or answer["error"]["code"] == "wire.busy"
    assert worst_s < 5
    began = time.monotonic()
    flood.send(b"".join(lines[:300]))
    assert brain.ask("cancel", intent=brain.intent(brain.seq))["outcome"] == "accepted"
    assert time.monotonic() - began < 5
    assert {flood.read()["id"] for _ in range(300)} == set(range(300))


def test_more_unanswered_requests_than_allowed_are_refused_by_name_and_the_others_answered(
    tmp_path: Path, run_dir: Path, redis_url: str
) -> None:
    limits = {"orders_per_s": 1000, "orders_burst": 1000}
    accounts = {"main": {"symbols": ["BTCUSDT"], "limits": limits}}
    count, unanswered = 150, 8
    with (
        running() as simex,
        Rig(simex, redis_url, tmp_path, run_dir, accounts=accounts, gateway={"max_unanswered": unanswered}) as rig,
    ):
        brain = brain_of(rig)
        price = far_below(rig.book_live())
        rig.fault(fault="reply_delay", delay_ms=1500, method="POST", path="/fapi/v1/order")
        for number in range(count):
            body = {**PLACE, "id": number, "price": price, "intent": brain.intent()}
            brain.send(json.dumps(body).encode() + b"\n")
        answers = [brain.read() for _ in range(count)]
        assert brain.ask("ping")["ok"]
        orders = {order["clientOrderId"] for order in rig.truth()["orders"]}
    assert sorted(answer["id"] for answer in answers) == list(range(count))
    codes = Counter("ok" if answer["ok"] else answer["error"]["code"] for answer in answers)
    print(codes)
    assert codes["ok"] > 0
    assert codes["wire.busy"] > 100
    # an entry that found no free connection, or no turn, before its deadline
    assert codes.keys() <= {"ok", "wire.busy", "venue.not_sent", "intent.expired"}
    assert orders == {answer["order"]["client_order_id"] for answer in answers if answer["ok"]}


def test_a_reader_that_never_reads_costs_only_its_own_connection(rig: Rig) -> None:
    deaf = rig.line()
    brain = brain_of(rig)
    asked = request("book", symbol="BTCUSDT", limit=1000) + b"\n"
    rig.book_live()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        for _ in range(20_000):
            deaf.send(asked * 50)
    assert brain.ask("ping")["ok"]
    assert rig.line().result("status")["pid"] == rig.process.pid  # type: ignore[union-attr]
