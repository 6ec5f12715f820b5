"""The tape: what was true, whatever faults made of it on the way."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest

from simex.server.tape import Tape
from tests.simex.running import running, signed
from tests.waiting import wait_until


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


async def watched(ws: str, symbol: str, count: int) -> list[dict[str, Any]]:
    """Some diff events as a client gets them."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{ws}/public/ws/{symbol.lower()}@depth@100ms") as socket,
    ):
        return [json.loads((await socket.receive(20)).data) for _ in range(count)]


def test_it_has_the_book_of_every_event_and_snapshot_and_private_events_that_a_fault_drops(
    tmp_path: Path, seed: int
) -> None:
    tape = tmp_path / "tape"
    with running("--seed", str(seed), "--symbols", "BTCUSDT", "--tape", str(tape)) as simex:
        events = asyncio.run(watched(simex.ws, "BTCUSDT", 5))
        snapshot = httpx.get(f"{simex.rest}/fapi/v1/depth?symbol=BTCUSDT&limit=50", timeout=10).json()
        key = {"X-MBX-APIKEY": "simex"}
        httpx.post(f"{simex.rest}/fapi/v1/listenKey", headers=key, timeout=10)
        httpx.post(f"{simex.rest}/admin/faults", json={"fault": "user_drop", "account": "simex"}, timeout=10)
        query = signed("symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01")
        placed = httpx.post(f"{simex.rest}/fapi/v1/order?{query}", headers=key, timeout=10).json()
        wait_until(lambda: any(row["k"] == "user" for row in rows(tape)), 10, "private events on the tape")
    truth = {row["u"]: row for row in rows(tape) if row["k"] == "book"}
    assert all(event["u"] in truth for event in events)
    book = truth[snapshot["lastUpdateId"]]
    assert (book["b"], book["a"]) == (snapshot["bids"][:20], snapshot["asks"][:20])
    for event in events:
        shown = dict(truth[event["u"]]["b"])
        worst = min(map(float, shown))
        assert all(
            shown.get(price, "gone") == size for price, size in event["b"] if float(size) and float(price) >= worst
        )
    told = [row["e"] for row in rows(tape) if row["k"] == "user" and row["e"]["e"] == "ORDER_TRADE_UPDATE"]
    assert [event["o"]["i"] for event in told] == [placed["orderId"]] * len(told)
    assert told[0]["o"]["x"] == "NEW"
    assert told[-1]["o"]["X"] == "FILLED"


def test_at_its_bound_nothing_more_is_written_and_every_line_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "tape"
    event = json.dumps({"e": "ACCOUNT_UPDATE"}).encode()
    line = len(b'{"k":"user","a":"one","e":') + len(event) + len(b"}\n")
    with Tape(path, max_bytes=2 * line) as tape:
        for _ in range(3):
            tape.user("one", event)
    assert path.stat().st_size == 2 * line
    assert len(rows(path)) == 2
    with Tape(path, max_bytes=2 * line) as tape:
        tape.user("one", event)
    assert len(rows(path)) == 2, "what stands there already counts"


@pytest.mark.parametrize("flags", [("--relay",), ("--replay", "x.gz")])
def test_it_goes_with_a_market_made_here(
    flags: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from scripts import simex

    (tmp_path / "x.gz").touch()
    flags = tuple(str(tmp_path / flag) if flag == "x.gz" else flag for flag in flags)
    assert simex.main([*flags, "--port", "0", "--tape", str(tmp_path / "tape")]) == 2
    assert "--tape: goes with a market that is made here" in capsys.readouterr().err
