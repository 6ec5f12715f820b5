"""Recorded sessions served over sockets with messages dropped, doubled, swapped, cut and late at drawn places: a book
served as `live` is the exchange's at its own update id, and it comes back to `live` by itself every time."""

from __future__ import annotations

import json
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from tests.proof.replaying import Monitor, Oracle, TappedRig, levels, oracles
from tests.simex.running import running

pytestmark = pytest.mark.recordings

FAULTS: dict[str, dict[str, Any]] = {
    "depth_drop": {},
    "depth_duplicate": {},
    "depth_reorder": {},
    "depth_cut": {},
    "depth_delay": {"delay_ms": 120},
}
# one field of a message set to what no exchange can mean, or left out
LEVELS: list[Any] = [
    [["-1.0", "1"]], [["1.0", "-1"]], [["0", "1"]], [["NaN", "1"]], [["1.0", "Infinity"]], [["1e5", "1"]],
    [["", "1"]], [["9" * 30, "1"]], [[1.5, 1]], [["1.0"]], [{"price": "1"}], 5, "levels", None,
]  # fmt: skip
IDS: list[Any] = ["5", 1.5, -1, None, []]
SPOILED: list[dict[str, Any]] = [
    *[{"field": side, "value": value} for side in ("b", "a") for value in LEVELS],
    *[{"field": name, "value": value} for name in ("U", "u", "pu") for value in IDS],
    *[{"field": name} for name in ("U", "u", "pu", "b", "a", "s", "e")],
    {"field": "s", "value": "NOSUCHUSDT"},
    {"field": "e", "value": "surprise"},
    {"field": "E", "value": "soon"},
    {"field": "pu", "value": 9 * 10**15},
]
# played fast, so that many messages pass while a book is mended; the second figure: places of each fault and symbol
SESSIONS = {
    "depth_binance/usdm_btcusdt_20240808.gz": ("30", 10),
    "depth_binance/usdm_ethusdt_20240808.gz": ("30", 10),
    "depth_binance/usdm_btcusdt_20230404.gz": ("15", 10),
    "cryptofeed/BINANCE_FUTURES.jsonl.zst": ("2.5", 4),
}
FIRST = 10  # the first messages are older than the recorded snapshot
BREAKS = {"gap", "bad_frame", "disconnected"}
SPOILED_BREAKS = {"bad_level", "bad_ids", "crossed"}
SLOW = {"range", "silent", "unproven"}  # a machine so slow that the market runs away from it
MARKET = {
    "refresh_every_ms": 50, "max_buffered": 8000, "snapshot_spacing_ms": 1, "backoff_first_ms": 20,
    "backoff_max_ms": 60,
}  # fmt: skip


def drawn(dice: random.Random, expected: dict[str, Oracle], places: int) -> list[dict[str, Any]]:
    """Every fault at some places of each symbol's first two thirds: the rest must end live."""
    return [
        {"fault": kind, **fields, "symbol": symbol, "nth": dice.randrange(FIRST, oracle.messages * 2 // 3)}
        for symbol, oracle in expected.items()
        for kind, fields in FAULTS.items()
        for _ in range(places)
    ]


def certain(faults: list[dict[str, Any]], symbol: str) -> int:
    """How many of them keep a message from ever being applied, whatever the moment: it was not sent, or has no end,
    or an update id that is none. Each strikes a message of its own."""
    return sum(
        one["fault"] in ("depth_drop", "depth_cut") or one.get("field") == "u"
        for one in faults
        if one.get("symbol", symbol) == symbol
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("session", SESSIONS)
def test_a_book_served_as_live_is_exact_and_comes_back_by_itself(
    session: str, data_dir: Path, tmp_path: Path, run_dir: Path, redis_url: str, seed: int
) -> None:
    speed, places = SESSIONS[session]
    expected = oracles(data_dir / session)
    faults = drawn(random.Random(seed), expected, places)
    prove(data_dir / session, speed, expected, faults, tmp_path, run_dir, redis_url)


@pytest.mark.timeout(300)
def test_no_spoiled_message_ever_makes_a_wrong_book(
    data_dir: Path, tmp_path: Path, run_dir: Path, redis_url: str, seed: int
) -> None:
    """Wrong types, negative prices, NaN, thirty digits, missing fields, foreign symbols: in the chain, anywhere."""
    path = data_dir / "depth_binance/usdm_btcusdt_20230404.gz"
    expected = oracles(path)
    (oracle,) = expected.values()
    dice = random.Random(seed)
    faults = [
        {"fault": "depth_set", **spoil, "nth": dice.randrange(FIRST, oracle.messages * 2 // 3)} for spoil in SPOILED
    ]
    prove(path, "8", expected, faults, tmp_path, run_dir, redis_url)


def prove(
    path: Path,
    speed: str,
    expected: dict[str, Oracle],
    faults: list[dict[str, Any]],
    tmp_path: Path,
    run_dir: Path,
    redis_url: str,
) -> None:
    settings: dict[str, Any] = {"accounts": {"main": {"symbols": list(expected)}}, "gateway": {"market": MARKET}}
    flags = ("--replay", str(path), "--speed", speed, "--faults", json.dumps(faults))
    with (
        running(*flags) as simex,
        Monitor(redis_url) as monitor,
        TappedRig(simex, redis_url, tmp_path, run_dir, **settings) as rig,
    ):
        for oracle in expected.values():
            rig.wait_applied(oracle, 200)
        left = httpx.get(f"{simex.rest}/admin/faults", timeout=10).json()["faults"]
        assert rig.stop() == 0
        taps = rig.taps()
    assert left == [], "faults that never struck"
    events = stream(redis_url)
    for symbol, oracle in expected.items():
        applied = judge_taps([tap for tap in taps if tap["s"] == symbol], oracle)
        judge_slices(monitor.slices(f"bs:main:{symbol}:book"), oracle)
        assert len(set(oracle.tops) - set(applied)) >= certain(faults, symbol), "what was not sent was not applied"
        judge_recovery(applied, [event for event in events if event.get("symbol") == symbol], oracle)


def stream(url: str) -> list[dict[str, Any]]:
    client: redis.Redis = redis.Redis.from_url(url)
    try:
        entries: Any = client.xrange("bs:main:events")
    finally:
        client.close()
    return [json.loads(fields[b"e"]) for _, fields in entries]


def judge_taps(taps: list[dict[str, Any]], oracle: Oracle) -> list[int]:
    """What was applied is a part of the recording, in its order, the book right after each, the last one included."""
    applied = [tap["u"] for tap in taps]
    assert applied == sorted(set(applied))
    assert applied[-1] == oracle.last_u
    for tap in taps:
        assert (levels(tap["bids"]), levels(tap["asks"])) == oracle.tops[tap["u"]], f"wrong at u={tap['u']}"
    return applied


def judge_slices(slices: list[dict[str, Any]], oracle: Oracle) -> None:
    live = [one for one in slices if one["state"] == "live"]
    print(f"{len(slices)} slices, live at {len({one['u'] for one in live})} different messages")
    assert live, "no slice ever showed a book"
    for one in live:
        assert (levels(one["bids"]), levels(one["asks"])) == oracle.tops[one["u"]], f"slice wrong at u={one['u']}"
    assert all(one["bids"] == one["asks"] == [] for one in slices if one["state"] != "live")


def judge_recovery(applied: list[int], events: list[dict[str, Any]], oracle: Oracle) -> None:
    """Every break was told where it was, and every one of them was mended (the last is the end of the recording)."""
    gaps = [event for event in events if event["subject"] == "book.gap"]
    lives = [event for event in events if event["subject"] == "book.live"]
    reasons = Counter(event["data"]["reason"] for event in gaps)
    skipped = holes(applied, list(oracle.tops))
    print(f"gaps: {dict(reasons)}, live again: {len(lives) - 1}, holes in what was applied: {len(skipped)}")
    assert set(reasons) <= BREAKS | SPOILED_BREAKS | SLOW
    assert [event["subject"] for event in by_seq(gaps + lives)][::2] == (["book.live"] * len(lives)), (
        "live and gap take turns"
    )
    # a book that is not live yet may break again in the buffer it is built from: that is the same break, told before
    not_live = [
        (gap["data"]["u"], live["data"]["u"])
        for gap, live in zip(by_seq(gaps), by_seq(lives)[1:], strict=False)  # the last gap is the recording's end
    ]
    for before, after in skipped:
        assert any(gap_u < after <= live_u for gap_u, live_u in not_live), f"no gap told from {before} to {after}"


def by_seq(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(events, key=lambda event: event["seq"])


def holes(applied: list[int], chain: list[int]) -> list[tuple[int, int]]:
    """Neighbours among what was applied that are none in the recording."""
    following = dict(pairwise(chain))
    return [(before, after) for before, after in pairwise(applied) if following[before] != after]
