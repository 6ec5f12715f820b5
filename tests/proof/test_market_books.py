"""Books built from recorded sessions through the whole market core, against two oracles: the recorded best quote, and
a reference book written apart from ours. Every applied message is compared, and 100 % must agree."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.core.book import Book
from gateway.core.effects import Send
from gateway.core.market_settings import MarketSettings
from tests.gateway.market_rig import Rig
from tests.proof.market_recordings import (
    CRYPTOFEED_SYMBOLS,
    TOP,
    USDM_FILES,
    ReferenceBook,
    Session,
    exact,
    load_cryptofeed,
    load_depth_binance,
)

pytestmark = pytest.mark.recordings

APPLIED = {
    "usdm_btcusdt_20240808": 6547, "usdm_ethusdt_20240808": 6581, "usdm_btcusdt_20230404": 4322,
}  # fmt: skip


def replay(session: Session) -> tuple[Rig, int]:
    """Feed every frame at its own pace; returns the rig and how many applied messages had a recorded best quote.

    The first snapshot request is answered by the recorded snapshot at its place in the file; later ones (the price
    leaves the range of 1000 levels within minutes) by the reference's book of that moment.
    """
    rig = Rig(market=MarketSettings(depth_speed=session.speed))
    rig.serve(session.symbol)
    asked: list[Send] = []
    rig.answers["/fapi/v1/depth"] = lambda send: asked.append(send)  # answered by hand, in the recording's order
    reference = ReferenceBook(session.snapshot)
    tops: dict[int, Any] = {}
    applied: list[int] = []
    quoted = 0

    def compare(last_id: int, book: Book) -> None:
        nonlocal quoted
        applied.append(last_id)
        bids, asks = book.top(TOP)
        assert (exact(bids), exact(asks)) == tops[last_id], f"top {TOP} differs at {last_id}"
        best = session.best_at(last_id)
        if best is not None:
            assert (*bids[0], *asks[0]) == best, f"the best quote differs at {last_id}"
            quoted += 1

    rig.core.tap(session.symbol, compare)
    rig.start(session.symbol)
    answered = 0
    clock_ms = 0
    for index, frame in enumerate(session.frames):
        event = json.loads(frame)["data"]
        rig.wait(max(1, event["E"] - clock_ms) if clock_ms else 1, step_ms=1_000)
        clock_ms = event["E"]
        if reference.take(event):
            tops[event["u"]] = reference.top()
        rig.feed(frame)
        if asked[answered:] and index + 1 >= session.snapshot_at:
            rig.reply(asked[answered], 200, session.snapshot if answered == 0 else reference.as_snapshot())
            answered += 1
        if index % 100 == 0 and applied:
            shown = rig.book(session.symbol)
            assert shown["state"] == "live"
            assert (exact(shown["bids"]), exact(shown["asks"])) == tops[shown["u"]]
    assert applied == list(tops), "every message of the chain was applied, in order, each once"
    assert rig.subjects().count("book.live") == 1
    assert "book.gap" not in rig.subjects()
    return rig, quoted


@pytest.mark.parametrize("name", USDM_FILES)
def test_the_book_equals_the_recorded_best_quote_and_the_reference_at_every_message(data_dir: Path, name: str) -> None:
    session = load_depth_binance(data_dir, name)
    rig, quoted = replay(session)
    shown = rig.book(session.symbol)
    assert shown["u"] == json.loads(session.frames[-1])["data"]["u"]
    assert quoted == APPLIED[name]


@pytest.mark.parametrize("symbol", CRYPTOFEED_SYMBOLS)
def test_quiet_symbols_with_short_books_agree_too(data_dir: Path, symbol: str) -> None:
    session = load_cryptofeed(data_dir)[symbol]
    rig, quoted = replay(session)
    assert rig.book(symbol)["state"] == "live"
    assert quoted > 0


def test_served_levels_are_the_exchanges_own_text(data_dir: Path) -> None:
    session = load_depth_binance(data_dir, "usdm_btcusdt_20230404")
    rig, _ = replay(session)
    shown = rig.book(session.symbol)
    texts = {price for frame in session.frames for price, _ in json.loads(frame)["data"]["b"]}
    texts |= {price for price, _ in session.snapshot["bids"]}
    assert {price for price, _ in shown["bids"]} <= texts
    assert Decimal(shown["bids"][0][0]) < Decimal(shown["asks"][0][0])
