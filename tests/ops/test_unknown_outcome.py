"""A gateway that takes a request and dies: the outcome is unknown (4), which is not that nobody was there (3)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ipc import config as configuration
from ipc import wire
from scripts.asking import guarded
from scripts.brainstem import main
from scripts.exits import ABSENT, UNKNOWN
from scripts.test_order import _send
from tests.ipc.gateway_double import Double

_EMPTY = {"position": {"positions": []}, "orders": {"orders": []}, "hello": {"epoch": "e", "as_of": 0}}


def reply_until(op: str, double: list[Double]) -> object:
    """Answers everything but `op`, at which the connection ends."""

    def reply(request: wire.Request) -> bytes:
        name = str(request.__struct_config__.tag)
        if name == op:
            double[0].hang_up()
            raise ConnectionError("gone")
        return wire.encode(wire.Answer(id=request.id, ok=True, result=_EMPTY.get(name, {})))

    return reply


def config(tmp_path: Path, run_dir: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"environment": "simex", "run_dir": str(run_dir)}), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("dies_at", "words", "code"),
    [
        ("risk", ["risk", "pause"], UNKNOWN),
        ("risk", ["risk", "state"], ABSENT),
        ("flatten", ["flatten"], UNKNOWN),
        ("status", ["status"], ABSENT),
    ],
)
def test_what_may_have_happened_is_told_apart_from_what_was_only_read(
    tmp_path: Path, run_dir: Path, dies_at: str, words: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    held: list[Double] = []
    with Double(run_dir / "main.sock", reply_until(dies_at, held)) as double:  # type: ignore[arg-type]
        held.append(double)
        assert main([*words, "--config", str(config(tmp_path, run_dir))]) == code
    said = capsys.readouterr()
    assert ("outcome unknown" in said.err) == (code == UNKNOWN)
    assert "Traceback" not in said.err


@pytest.mark.parametrize("dies_at", ["place", "cancel"])
def test_test_order_never_says_that_nobody_was_there_once_it_has_placed(
    tmp_path: Path, run_dir: Path, dies_at: str
) -> None:
    held: list[Double] = []
    place = wire.Place(
        id=0,
        intent=wire.IntentId("test-order", "r1", 1),
        symbol="BTCUSDT",
        side="BUY",
        type="LIMIT",
        qty="1",
        price="1",
    )
    with Double(run_dir / "main.sock", reply_until(dies_at, held)) as double:  # type: ignore[arg-type]
        held.append(double)
        held_config = configuration.load(config(tmp_path, run_dir), os.environ)
        assert guarded(lambda: _send(held_config, "main", place, {})) == UNKNOWN
