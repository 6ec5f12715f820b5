"""Recorded sessions with messages dropped, duplicated, swapped or cut: a book served as `live` is exact at its own `u`,
and it comes back to `live` by itself."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from gateway.core.effects import Send
from gateway.core.market_settings import MarketSettings
from tests.gateway.market_rig import Rig
from tests.proof.market_recordings import (
    CRYPTOFEED_SYMBOLS,
    USDM_FILES,
    ReferenceBook,
    Session,
    Top,
    exact,
    load_cryptofeed,
    load_depth_binance,
)

pytestmark = pytest.mark.recordings

FAULTS = ("drop", "duplicate", "swap", "cut")
BEFORE, AFTER = 2, 5
SAMPLE = 40  # places of a large file, each with every fault
DEEP = 500  # levels a side of the snapshots: one message was seen to clear 180


class Window:
    """Some recorded frames around a place, with the exchange's book before them and its best levels after each."""

    def __init__(self, session: Session, start: int, frames: list[bytes], book: dict[str, Any]) -> None:
        self.symbol, self.speed = session.symbol, session.speed
        self.start, self.frames = start, frames
        self.events = [json.loads(frame)["data"] for frame in frames]
        self._book = book
        reference = self._reference()
        self.tops: dict[int, Top] = {reference.last_id: reference.top()}
        for event in self.events:
            assert reference.take(event)
            self.tops[event["u"]] = reference.top()

    def _reference(self) -> ReferenceBook:
        reference = ReferenceBook(self._book)
        reference.joined = True
        return reference

    def snapshot(self, sent: int) -> dict[str, Any]:
        """The exchange's book after it sent so many frames."""
        reference = self._reference()
        for event in self.events[:sent]:
            reference.take(event)
        return reference.as_snapshot(DEEP)


def windows(session: Session, places: set[int]) -> dict[int, Window]:
    """One window for each place (an index of a frame the snapshot does not make stale)."""
    reference = ReferenceBook(session.snapshot)
    books: dict[int, dict[str, Any]] = {}
    wanted = {max(0, place - BEFORE) for place in places}
    applied: list[bytes] = []
    for frame in session.frames:
        if not reference.joined and json.loads(frame)["data"]["u"] < reference.last_id:
            continue
        if len(applied) in wanted and reference.joined:
            books[len(applied)] = reference.as_snapshot(DEEP)
        reference.take(json.loads(frame)["data"])
        applied.append(frame)
    found = {}
    for place in sorted(places):
        start = max(0, place - BEFORE)
        if start in books and place + 2 < len(applied):  # without a message behind it no fault could be noticed
            found[place] = Window(session, start, applied[start : place + AFTER], books[start])
    return found


def run(window: Window, place: int, fault: str, cut_at: float) -> Rig:
    """Serve the window with one fault; the exchange's snapshots are of the moment they are asked for."""
    rig = Rig(market=MarketSettings(depth_speed=window.speed, snapshot_limit=DEEP, refresh_margin=100))
    rig.serve(window.symbol)
    sent = 0  # frames the exchange had sent

    def snapshot(send: Send) -> tuple[int, Any]:
        return 200, window.snapshot(sent)

    rig.answers["/fapi/v1/depth"] = snapshot
    rig.start(window.symbol)
    rig.wait(1_100, step_ms=1_100)  # no message yet: the first snapshot is asked for after a second
    at = place - window.start
    stream: list[tuple[int, bytes]] = [(index + 1, frame) for index, frame in enumerate(window.frames)]
    if fault == "drop":
        del stream[at]
    elif fault == "duplicate":
        stream.insert(at, stream[at])
    elif fault == "swap" and at + 1 < len(stream):
        stream[at], stream[at + 1] = stream[at + 1], stream[at]
    elif fault == "cut":
        number, frame = stream[at]
        stream[at] = (number, frame[: int(len(frame) * cut_at)])
    for number, frame in stream:
        sent = max(sent, number)
        rig.feed(frame)
        check(rig, window)
        rig.wait(100)
    rig.wait(2_500, step_ms=500)
    check(rig, window)
    return rig


def check(rig: Rig, window: Window) -> None:
    shown = rig.book(window.symbol)
    if shown["state"] == "live":
        assert (exact(shown["bids"]), exact(shown["asks"])) == window.tops[shown["u"]], f"wrong at {shown['u']}"
    else:
        assert shown["bids"] == shown["asks"] == [], "levels of a book that is not live are not shown"


def prove(window: Window, place: int, fault: str, cut_at: float) -> None:
    rig = run(window, place, fault, cut_at)
    shown = rig.book(window.symbol)
    assert shown["state"] == "live", (rig.events, rig.reports)
    assert shown["u"] == max(window.tops), "back to the newest message"
    gaps = rig.subjects().count("book.gap")
    if fault == "duplicate":
        assert gaps == 0
    else:
        assert gaps <= 1, "one fault, at most one gap"


@pytest.mark.parametrize("symbol", CRYPTOFEED_SYMBOLS)
def test_every_place_of_the_small_sessions(data_dir: Path, seed: int, symbol: str) -> None:
    session = load_cryptofeed(data_dir)[symbol]
    dice = random.Random(seed)
    found = windows(session, set(range(1, len(session.frames) - AFTER)))
    assert len(found) > 100
    for place, window in found.items():
        for fault in FAULTS:
            prove(window, place, fault, dice.random())


@pytest.mark.parametrize("name", USDM_FILES)
def test_a_seeded_sample_of_the_large_sessions(data_dir: Path, seed: int, name: str) -> None:
    session = load_depth_binance(data_dir, name)
    dice = random.Random(seed)
    places = {dice.randrange(10, len(session.frames) - AFTER - 10) for _ in range(SAMPLE)}
    for place, window in windows(session, places).items():
        for fault in FAULTS:
            prove(window, place, fault, dice.random())


def test_a_dropped_message_in_mid_stream_is_always_a_gap(data_dir: Path) -> None:
    """The converse of `at most one`: were no gap noticed, the proofs above would prove nothing."""
    session = load_cryptofeed(data_dir)["SUSHIUSDT"]
    for place, window in windows(session, set(range(20, 60))).items():
        rig = run(window, place, "drop", 0.0)
        assert rig.subjects().count("book.gap") == 1
        assert rig.last("book.gap").data["reason"] == "gap"
