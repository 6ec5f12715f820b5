"""Logs: JSON lines off a terminal, one format for our lines and the libraries', rotation, and no secret in any."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from ipc.logs import HIDDEN, Redactor, setup
from ipc.settings import LogSettings

SECRET = "abcDEF123456secretvalue"


@pytest.fixture(autouse=True)
def _leave_logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_our_lines_and_the_libraries_share_one_format() -> None:
    stream = io.StringIO()
    setup("gateway", stream=stream).info("hello", symbol="BTCUSDT", u=7)
    logging.getLogger("redis").warning("lost %s", "it")
    first, second = lines(stream)
    assert (first["event"], first["symbol"], first["u"], first["level"]) == ("hello", "BTCUSDT", 7, "info")
    assert (second["event"], second["level"]) == ("lost it", "warning")
    assert {first["process"], second["process"]} == {"gateway"}
    assert first["timestamp"].endswith("Z")


def test_a_person_gets_readable_lines() -> None:
    stream = io.StringIO()
    setup("brain", LogSettings(format="console"), stream=stream).info("hello", symbol="BTCUSDT")
    assert "hello" in stream.getvalue()
    assert "symbol=BTCUSDT" in stream.getvalue()


@pytest.mark.parametrize(("level", "seen"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_levels(level: Any, seen: int) -> None:
    stream = io.StringIO()
    log = setup("x", LogSettings(level=level), stream=stream)
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)(name)
    assert len(lines(stream)) == seen


@pytest.mark.parametrize("format_", ["json", "console"])
def test_no_secret_in_any_part_of_a_line(format_: Any) -> None:
    stream = io.StringIO()
    log = setup("gateway", LogSettings(format=format_), secrets=[SECRET], stream=stream)
    log.info(
        f"event {SECRET}", text=f"x{SECRET}y", nested={"a": [SECRET, {SECRET: 1}]}, api_key="short",
        raw=SECRET.encode(),
        url="wss://h/private/ws?listenKey=" + "k" * 64, query="timestamp=1&signature=00ff00", hidden=SecretStr(SECRET),
        path="/ws/" + "Z" * 64, headers={"X-MBX-APIKEY": "0123456789"}, error=ValueError(SECRET),
    )  # fmt: skip
    logging.getLogger("aiohttp").error("failed for %s", SECRET)
    try:
        raise RuntimeError(f"with {SECRET}")
    except RuntimeError:
        log.exception("went wrong")
    text = stream.getvalue()
    assert "went wrong" in text
    assert "RuntimeError" in text
    for secret in (SECRET, "short", "k" * 64, "00ff00", "Z" * 64, "0123456789"):
        assert secret not in text


@settings(max_examples=60)
@given(st.text(max_size=20), st.text(max_size=20), st.text(min_size=6, max_size=30))
def test_a_known_secret_never_survives_whatever_stands_around_it(before: str, after: str, secret: str) -> None:
    shown = Redactor([secret])(None, "", {"text": before + secret + after})["text"]
    assert secret not in shown.replace(HIDDEN, "")


def test_values_that_are_no_text_stay_what_they_are() -> None:
    event = {"i": 1, "f": 0.5, "b": True, "n": None, "l": [1, 2], "d": {"k": 2}}
    assert Redactor([SECRET])(None, "", dict(event)) == event


def test_depth_is_bounded() -> None:
    deep: dict[str, Any] = {}
    deep["x"] = deep
    assert "..." in str(Redactor()(None, "", {"deep": deep}))


def test_the_file_rotates_and_keeps_its_number_of_old_ones(tmp_path: Path) -> None:
    settings = LogSettings(file="{process}.log", max_bytes=100_000, backups=2)
    log = setup("gateway", settings, stream=io.StringIO(), folder=tmp_path)
    for number in range(500):
        log.info("line", number=number, filler="x" * 1000)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["gateway.log", "gateway.log.1", "gateway.log.2"]
    assert all(path.stat().st_size <= 100_000 for path in tmp_path.iterdir())
    assert json.loads((tmp_path / "gateway.log").read_text().splitlines()[-1])["number"] == 499


def test_setting_up_twice_writes_each_line_once() -> None:
    stream = io.StringIO()
    setup("x", stream=io.StringIO())
    setup("x", stream=stream).info("once")
    assert len(lines(stream)) == 1


@pytest.mark.parametrize("odd", [1 << 70, "half \ud800 a pair", {"deep": [1 << 70]}])
def test_a_value_json_has_trouble_with_loses_no_line(odd: Any) -> None:
    stream = io.StringIO()
    log = setup("gateway", LogSettings(format="json"), stream=stream)
    log.info("odd", value=odd)
    (line,) = lines(stream)
    assert (line["event"], line["value"]) == ("odd", odd)
