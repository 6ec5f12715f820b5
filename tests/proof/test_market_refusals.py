"""Recordings that must be refused: a broken chain, a negative price, a snapshot and a diff that do not connect."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gateway.core.book import BadLevel, Book
from gateway.core.effects import Send
from gateway.core.market_data import BadFrame, Diff, Streamed
from gateway.venues.binance import market_frames
from tests.gateway.market_rig import Rig, diff, snapshot
from tests.proof.market_recordings import ReferenceBook, csv_rows, exact, frames_of_rows

pytestmark = pytest.mark.recordings

MERGED = "merged_usd_m_futures_trxusdt_14-04-2025_{}.csv.gz"
SYMBOL = "TRXUSDT"


def merged(data: Path, which: str) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    """(the book carried over as a snapshot, the diffs, the REST snapshot in mid-stream)."""
    groups: dict[str, list[dict[str, str]]] = {}
    for row in csv_rows(data / "depth_trx_csv" / MERGED.format(which)):
        groups.setdefault(row["StreamType"], []).append(row)
    frames = frames_of_rows(groups["DIFFERENCE_DEPTH_STREAM"], SYMBOL)
    carried = _book(groups["FINAL_DEPTH_SNAPSHOT"], frames[0]["data"]["pu"])
    rest = groups["DEPTH_SNAPSHOT"]
    return carried, frames, _book(rest, int(rest[0]["LastUpdateId"]))


def _book(rows: list[dict[str, str]], last_id: int) -> dict[str, Any]:
    levels = {side: [[row["Price"], row["Quantity"]] for row in rows if row["IsAsk"] == side] for side in ("0", "1")}
    return {"lastUpdateId": last_id, "E": 1, "T": 1, "bids": levels["0"], "asks": levels["1"]}


def serve(
    first: dict[str, Any], frames: list[dict[str, Any]], later: Callable[[int], dict[str, Any]]
) -> tuple[Rig, list[int], Any]:
    """Feed all frames; the first snapshot request gets `first`, the others `later(frames sent)`."""
    rig = Rig()
    rig.serve(SYMBOL)
    asked: list[Send] = []

    def answer(send: Send) -> tuple[int, Any]:
        asked.append(send)
        return 200, first if len(asked) == 1 else later(sent)

    rig.answers["/fapi/v1/depth"] = answer
    live: list[int] = []
    rig.start(SYMBOL)
    sent = 0
    for sent, frame in enumerate(frames, 1):  # noqa: B007 - `answer` reads it
        rig.feed(frame)
        rig.wait(100)
        shown = rig.book(SYMBOL)
        if shown["state"] == "live":
            live.append(shown["u"])
    return rig, live, asked


def test_the_unbroken_file_is_served_to_its_end(data_dir: Path) -> None:
    carried, frames, _ = merged(data_dir, "positive")
    reference = ReferenceBook(carried)
    reference.joined = True
    tops = {}
    for frame in frames:
        assert reference.take(frame["data"])
        tops[reference.last_id] = reference.top()
    rig, live, _ = serve(carried, frames, lambda sent: carried)
    assert len(frames) == 155
    assert live == list(tops)
    assert "book.gap" not in rig.subjects()
    shown = rig.book(SYMBOL)
    assert (exact(shown["bids"]), exact(shown["asks"])) == tops[shown["u"]]


def test_the_broken_chain_is_refused_at_once_and_mended_by_a_newer_snapshot(data_dir: Path) -> None:
    """The recorded REST snapshot is of the very update the fault hides: older than what was served, so it is refused
    too. The exchange's book of a later moment (the unbroken file's) mends it."""
    carried, frames, rest = merged(data_dir, "negative")
    _, unbroken, _ = merged(data_dir, "positive")
    assert frames[1]["data"]["pu"] != frames[0]["data"]["u"], "the fault is in the file"
    reference = ReferenceBook(carried)
    reference.joined = True
    books = []
    tops = {}
    for frame in unbroken:
        reference.take(frame["data"])
        books.append(reference.as_snapshot())
        tops[reference.last_id] = reference.top()
    rig, live, asked = serve(carried, frames, lambda sent: rest if sent <= 3 else books[sent - 1])
    gaps = [event for event in rig.events if event.subject == "book.gap"]
    assert [(gap.data["reason"], gap.data["expected_pu"], gap.data["got_pu"]) for gap in gaps] == [
        ("gap", frames[0]["data"]["u"], frames[1]["data"]["pu"])
    ]
    assert live[0] == frames[0]["data"]["u"]
    assert frames[1]["data"]["u"] not in live, "nothing is served between the gap and a snapshot behind it"
    shown = rig.book(SYMBOL)
    assert (shown["state"], shown["u"]) == ("live", frames[-1]["data"]["u"]), "back to live by itself"
    assert (exact(shown["bids"]), exact(shown["asks"])) == tops[shown["u"]]
    assert len(asked) == 3, "carried over, the recorded one, a newer one"


def test_the_negative_price_of_the_spot_file_never_enters_a_book(data_dir: Path) -> None:
    name = "test_negative_binance_difference_depth_stream_spot_trxusdt_04-03-2025.csv.gz"
    row = next(csv_rows(data_dir / "depth_trx_csv" / name))
    assert float(row["Price"]) < 0
    first, last = int(row["FirstUpdateId"]), int(row["FinalUpdateId"])
    level = [[row["Price"], row["Quantity"]]]
    raw = diff(
        SYMBOL, first, last, first - 1, [] if row["IsAsk"] == "1" else level, level if row["IsAsk"] == "1" else []
    )
    rig = Rig()
    rig.serve(SYMBOL)
    rig.answers["/fapi/v1/depth"] = lambda send: (200, snapshot(first - 1, [["0.2", "1"]], [["0.3", "1"]]))
    rig.start(SYMBOL)
    rig.feed(raw)
    assert rig.book(SYMBOL)["state"] == "resync"
    assert rig.core.counters()["book.refetch"] >= 1
    book = Book()
    with pytest.raises(BadLevel):
        book.apply([(row["Price"], row["Quantity"])], [])


def test_every_message_of_the_spot_file_is_read(data_dir: Path) -> None:
    """Microsecond times and missing `pu` are the parser's to survive: an event without `pu` is refused by name."""
    name = "test_negative_binance_difference_depth_stream_spot_trxusdt_04-03-2025.csv.gz"
    kinds: dict[str, int] = {}
    for row in list(csv_rows(data_dir / "depth_trx_csv" / name))[:500]:
        event = {"e": "depthUpdate", "E": int(row["EventTime"]), "s": SYMBOL, "U": int(row["FirstUpdateId"]),
                 "u": int(row["FinalUpdateId"]), "b": [], "a": [[row["Price"], row["Quantity"]]]}  # fmt: skip
        parsed = market_frames.parse(_wire({"stream": "trxusdt@depth@100ms", "data": event}))
        assert isinstance(parsed, BadFrame)
        kinds[parsed.kind] = kinds.get(parsed.kind, 0) + 1
    assert kinds == {"bad_fields": 500}


def _wire(frame: dict[str, Any]) -> bytes:
    return json.dumps(frame).encode()


def test_every_usdm_message_of_the_long_file_is_read_and_chained(data_dir: Path) -> None:
    name = "test_positive_binance_difference_depth_stream_usd_m_futures_trxusdt_04-03-2025.csv.gz"
    frames = frames_of_rows(list(csv_rows(data_dir / "depth_trx_csv" / name)), SYMBOL)
    chain: list[Diff] = []
    for frame in frames:
        parsed = market_frames.parse(_wire(frame))
        assert isinstance(parsed, Streamed)
        assert isinstance(parsed.data, Diff)
        chain.append(parsed.data)
    assert len(chain) == 600
    assert all(after.prev_id == before.last_id for before, after in pairwise(chain))


def test_the_exported_snapshot_and_diff_do_not_connect(data_dir: Path) -> None:
    folder = data_dir / "depth_binance_export"
    snap = _export(folder / "usdm_btcusdt_t_depth_snap.csv")
    update = _export(folder / "usdm_btcusdt_t_depth_update.csv")
    body = snapshot(snap["u"], snap["b"], snap["a"])
    assert body["lastUpdateId"] < update["pu"]
    rig = Rig()
    rig.serve("BTCUSDT")
    rig.answers["/fapi/v1/depth"] = lambda send: (200, body)
    rig.start("BTCUSDT")
    rig.feed(diff("BTCUSDT", update["U"], update["u"], update["pu"], update["b"], update["a"]))
    rig.wait(5_000)
    assert rig.book("BTCUSDT")["state"] == "resync"
    assert rig.book("BTCUSDT")["bids"] == []
    assert "book.live" not in rig.subjects()
    assert 2 <= len(rig.asked("/fapi/v1/depth")) <= 8, "asked again, backing off"


def _export(path: Path) -> dict[str, Any]:
    with path.open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    sides = {side: [[row["price"], row["qty"]] for row in rows if row["side"] == side] for side in "ba"}
    first = rows[0]
    return {"U": int(first["first_update_id"]), "u": int(first["last_update_id"]), "pu": int(first["pu"]), **sides}
