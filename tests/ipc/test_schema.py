"""The generated schemas and pages: up to date, themselves valid, and true to what the structs take and refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from ipc import events, schema, slices, wire
from ipc.errors import CODES
from tests.ops import pictures


def validator(name: str) -> jsonschema.Draft202012Validator:
    found = json.loads(schema.files()[f"schemas/{name}.json"])
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


def test_docs_are_up_to_date() -> None:
    assert schema.stale() == [], "run: python -m ipc.schema"


def test_stale_files_are_noticed_and_mended(tmp_path: Path) -> None:
    assert set(schema.write(tmp_path)) == set(schema.files())
    assert schema.stale(tmp_path) == []
    (tmp_path / "errors.md").write_text("old", encoding="utf-8")
    (tmp_path / "schemas" / "slice-gone.json").write_text("{}", encoding="utf-8")
    assert schema.stale(tmp_path) == ["errors.md", "schemas/slice-gone.json"]
    schema.write(tmp_path)
    assert schema.stale(tmp_path) == []


@pytest.mark.parametrize("name", sorted(name for name in schema.files() if name.endswith(".json")))
def test_every_schema_is_a_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(schema.files()[name]))


INTENT = {"brain": "macd-BTCUSDT", "run": "r42", "seq": 3}
PLACE = {
    "id": 7, "op": "place", "intent": INTENT, "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "qty": "0.002",
    "price": "61000.0", "tif": "GTC", "leg": "BOTH", "reduce_only": False, "tag": "cross-up",
    "cause": {"slices": 1842, "event": 9120}, "asked_boot_ns": 91234567890, "deadline_ms": 1000,
}  # fmt: skip
GOOD = [
    PLACE,
    {"id": 0, "op": "hello", "brain": "a", "run": "r1", "symbols": ["BTCUSDT"], "intervals": ["5m"]},
    {"id": 1, "op": "ping", "show": {"decision": "hold"}},
    {"id": 1, "op": "status"},
    {"id": 1, "op": "cancel", "intent": INTENT},
    {"id": 1, "op": "cancel_all", "everyone": True},
    {"id": 1, "op": "flatten", "symbol": "BTCUSDT", "reason": "night"},
    {"id": 1, "op": "events", "after": 0, "limit": 1000, "subjects": ["order.*"]},
    {"id": 1, "op": "risk", "action": "pause"},
    {"id": 1, "op": "note", "subject": "brain.signal", "data": {"x": 1}},
]
BAD = [
    {**PLACE, "qty": "1e5"},
    {**PLACE, "qty": "NaN"},
    {**PLACE, "qty": "-1"},
    {**PLACE, "qty": 1},
    {**PLACE, "qty": "1" * 30},
    {**PLACE, "side": "buy"},
    {**PLACE, "surprise": 1},
    {**PLACE, "intent": {**INTENT, "seq": 0}},
    {**PLACE, "intent": {**INTENT, "run": "42"}},
    {**PLACE, "deadline_ms": 0},
    {key: value for key, value in PLACE.items() if key != "symbol"},
    {"id": 1, "op": "nonsense"},
    {"op": "status"},
    {"id": -1, "op": "status"},
    {"id": 1, "op": "events", "limit": 1001},
    {"id": 1, "op": "risk", "action": "explode"},
]


@pytest.mark.parametrize("message", GOOD, ids=lambda m: str(m["op"]))
def test_what_the_gateway_takes_the_schema_takes(message: dict[str, Any]) -> None:
    wire.decode_request(json.dumps(message).encode())
    validator("request").validate(message)


@pytest.mark.parametrize("message", BAD, ids=range(len(BAD)))
def test_what_the_gateway_refuses_the_schema_refuses(message: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        wire.decode_request(json.dumps(message).encode())
    with pytest.raises(jsonschema.ValidationError):
        validator("request").validate(message)


def test_answers_of_the_design_are_valid() -> None:
    error = {"code": "risk.max_notional", "message": "...", "retryable": False, "detail": {}}
    for answer in (
        {"id": 7, "ok": True, "as_of": 9121, "outcome": "accepted"},
        {"id": 7, "ok": False, "outcome": "rejected", "error": error},
        {"id": None, "ok": False, "error": error},
    ):
        wire.decode_answer(json.dumps(answer).encode())
        validator("answer").validate(answer)


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("book", pictures.symbol().book),
        ("mark", pictures.symbol().mark),
        ("position", pictures.symbol().position),
        ("orders", pictures.symbol().orders),
        ("ledger", pictures.ledger()),
        ("gateway", pictures.gateway()),
    ],
)
def test_slices_as_written_are_valid(name: str, held: slices.Head) -> None:
    value = json.loads(slices.encode(held))
    validator(f"slice-{name}").validate(value)
    with pytest.raises(jsonschema.ValidationError):
        validator(f"slice-{name}").validate({**value, "state": "perhaps"})


def test_every_slice_kind_has_a_schema() -> None:
    kinds = {kind for kind in vars(slices).values() if isinstance(kind, type) and issubclass(kind, slices.Head)}
    assert kinds - {slices.Head} == set(schema.SLICES.values())


def test_events_must_be_of_the_vocabulary_and_carry_its_keys() -> None:
    value = json.loads(events.encode(pictures.fill()))
    validator("event").validate(value)
    with pytest.raises(jsonschema.ValidationError):
        validator("event").validate({**value, "subject": "order.invented"})
    with pytest.raises(jsonschema.ValidationError):
        validator("event").validate({**value, "data": {k: v for k, v in value["data"].items() if k != "trade_id"}})


def test_pages_name_everything() -> None:
    pages = schema.files()
    assert [code for code in CODES if f"| `{code}` |" not in pages["errors.md"]] == []
    assert [name for name in events.VOCABULARY if f"| `{name}` |" not in pages["events.md"]] == []
    assert [op for op in wire.OPS if f"## `{op}`" not in pages["wire.md"]] == []
