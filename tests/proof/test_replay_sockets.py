"""Every recorded USDⓈ-M session served by simex over sockets to a real gateway: its book is compared at every applied
message with the recorded best quote and with a reference, and every slice it publishes with the reference at its own
update id. Nothing is sampled and nothing skipped: the counts are those of the recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.proof.replaying import Monitor, Oracle, TappedRig, levels, oracles
from tests.simex.running import running

pytestmark = pytest.mark.recordings

# the best levels of a recording leave the range of its snapshot within minutes; at full speed that is at once
MARKET = {"refresh_every_ms": 50, "max_buffered": 8000, "snapshot_spacing_ms": 1}
# as fast as the gateway takes it; four symbols in 30 s would be over before four snapshots could be asked for
SPEED = {"cryptofeed/BINANCE_FUTURES.jsonl.zst": "4"}
# of each symbol: messages, those that the recorded snapshot does not make stale, those with a best quote to compare
RECORDED = {
    "depth_binance/usdm_btcusdt_20240808.gz": {"BTCUSDT": (6551, 6547, 6547)},
    "depth_binance/usdm_ethusdt_20240808.gz": {"ETHUSDT": (6586, 6581, 6581)},
    "depth_binance/usdm_btcusdt_20230404.gz": {"BTCUSDT": (4322, 4322, 4322)},
    "cryptofeed/BINANCE_FUTURES.jsonl.zst": {
        "SUSHIUSDT": (255, 252, 252),
        "AKROUSDT": (189, 188, 182),
        "KEEPUSDT": (135, 132, 130),
        "CTKUSDT": (185, 180, 180),
    },
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("session", RECORDED)
def test_every_applied_message_and_every_slice_is_exact(
    session: str, data_dir: Path, tmp_path: Path, run_dir: Path, redis_url: str
) -> None:
    expected = oracles(data_dir / session)
    settings: dict[str, Any] = {"accounts": {"main": {"symbols": list(expected)}}, "gateway": {"market": MARKET}}
    with (
        running("--replay", str(data_dir / session), "--speed", SPEED.get(session, "max")) as simex,
        Monitor(redis_url) as monitor,
        TappedRig(simex, redis_url, tmp_path, run_dir, **settings) as rig,
    ):
        for oracle in expected.values():
            rig.wait_applied(oracle, 200)
        assert rig.stop() == 0
        taps = rig.taps()
    assert expected.keys() == RECORDED[session].keys()
    for symbol, oracle in expected.items():
        assert (oracle.messages, len(oracle.tops), len(oracle.best)) == RECORDED[session][symbol]
        judge_taps([tap for tap in taps if tap["s"] == symbol], oracle)
        judge_slices(monitor.slices(f"bs:main:{symbol}:book"), oracle)


def judge_taps(taps: list[dict[str, Any]], oracle: Oracle) -> None:
    """Each message of the chain was applied, once, in order, and after each the book was the exchange's."""
    assert [tap["u"] for tap in taps] == list(oracle.tops)
    for tap in taps:
        bids, asks = levels(tap["bids"]), levels(tap["asks"])
        assert (bids, asks) == oracle.tops[tap["u"]], f"differs from the reference at u={tap['u']}"
        if tap["u"] in oracle.best:
            assert (bids[0][0], asks[0][0]) == oracle.best[tap["u"]], f"best quote differs at u={tap['u']}"


def judge_slices(slices: list[dict[str, Any]], oracle: Oracle) -> None:
    """Every slice ever written: live ones exact at their own id and in order, others without a level."""
    live = [one for one in slices if one["state"] == "live"]
    print(f"{len(slices)} slices, live at {len({one['u'] for one in live})} different messages")
    assert live, "no slice ever showed a book"
    assert [one["u"] for one in live] == sorted(one["u"] for one in live)
    assert [one["seq"] for one in slices] == sorted(one["seq"] for one in slices)
    for one in live:
        assert (levels(one["bids"]), levels(one["asks"])) == oracle.tops[one["u"]], f"slice differs at u={one['u']}"
    assert all(one["bids"] == one["asks"] == [] for one in slices if one["state"] != "live")
