"""The gateway process on wrong routes and under everything that can befall the private stream's key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.rig import Brain, Rig, far_below
from tests.simex.running import Running, running, signed
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(180)
KEY = {"X-MBX-APIKEY": "simex"}


@pytest.fixture
def simex(tmp_path: Path) -> Iterator[Running]:
    with running("--seed", "7", log=tmp_path / "simex.log") as started:
        yield started


def events(line: Any, *subjects: str, after: int = 0) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = line.result("events", after=after, limit=1000, subjects=list(subjects))
    return found


def test_streams_asked_for_on_wrong_routes_are_named_within_their_deadline_wherever_one_looks(
    simex: Running, redis_url: str, tmp_path: Path, run_dir: Path
) -> None:
    venue = {"public": f"{simex.ws}/market", "market": f"{simex.ws}/public"}
    with Rig(simex, redis_url, tmp_path, run_dir, venue=venue) as rig:
        line = rig.line()

        def named() -> dict[str, dict[str, Any]]:
            return {one["data"]["stream"]: one["data"] for one in events(line, "stream.silent")}

        wanted = {"btcusdt@depth@100ms": "public", "btcusdt@markPrice@1s": "market"}
        wait_until(lambda: wanted.keys() <= named().keys(), 60, "both are named")
        for stream, route in wanted.items():
            data = named()[stream]
            assert data["route"] == route
            assert data["deadline_ms"] == 5_000
            assert data["hint"].startswith("accepted but silent")
            assert f"/{route}" in data["hint"]
            assert f"venue.{route}" in data["hint"]

        def shown() -> dict[str, Any]:
            row: dict[str, Any] = rig.slice("gateway")["streams"]["public"]
            return row

        wait_until(lambda: "btcusdt@depth@100ms" in shown().get("silent", []), 10, "the slice shows it")
        assert shown()["route"] == "/public"
        assert "accepted but silent" in rig.log.read_text()
        assert rig.slice("BTCUSDT:book")["state"] != "live"


def test_a_mute_private_address_is_named_by_the_first_fill_it_does_not_tell_and_the_next_form_is_taken(
    simex: Running, redis_url: str, tmp_path: Path, run_dir: Path
) -> None:
    venue = {"private": [f"{simex.ws}/market/ws?listenKey={{key}}", f"{simex.ws}/private/ws/{{key}}"]}
    with Rig(simex, redis_url, tmp_path, run_dir, venue=venue) as rig:
        brain = rig.brain()
        rig.book_live()
        assert brain.place("BUY", "0.002")["outcome"] == "accepted"
        wait_until(lambda: events(brain, "stream.silent"), 30, "the mute stream is named")
        (silent,) = events(brain, "stream.silent")
        assert (silent["data"]["stream"], silent["data"]["route"]) == ("user", "private")
        wait_until(lambda: rig.slice("gateway")["streams"]["private"]["url_form"] == "custom-2", 20, "the next form")
        wait_until(lambda: rig.slice("gateway")["ready"], 20, "reconciled and ready")
        filled = [one["data"]["trade_id"] for one in events(brain, "order.filled")]
        assert sorted(filled) == sorted(fill["id"] for fill in rig.truth()["fills"])


def expire(rig: Rig) -> None:
    rig.fault(fault="listen_key_expire")


def delete(rig: Rig) -> None:
    """Another program of the account ends the stream's key."""
    assert httpx.delete(f"{rig.simex.rest}/fapi/v1/listenKey", headers=KEY, timeout=10).status_code == 200


def mute(rig: Rig) -> None:
    """Everything but data goes on: TCP, pings; and somebody trades on the account by hand."""
    rig.fault(fault="silent", route="private", for_s=3)
    query = signed("symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.003")
    assert httpx.post(f"{rig.simex.rest}/fapi/v1/order?{query}", headers=KEY, timeout=10).status_code == 200


@pytest.mark.parametrize(
    ("befall", "renew_ms"),
    [
        (expire, 1_800_000),
        (delete, 1_000),
        pytest.param(mute, 1_800_000, marks=pytest.mark.slow),  # found by the comparison each minute
    ],
)
def test_after_the_key_is_gone_entries_wait_for_a_reconciliation_under_a_new_one(
    simex: Running, redis_url: str, tmp_path: Path, run_dir: Path, befall: Callable[[Rig], None], renew_ms: int,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    if befall is mute and "slow" not in request.config.getoption("markexpr"):
        pytest.skip("the comparison comes once a minute; run it with -m slow")
    with Rig(simex, redis_url, tmp_path, run_dir, gateway={"links": {"renew_key_ms": renew_ms}}) as rig:
        brain = rig.brain()
        price = far_below(rig.book_live())
        assert brain.place("BUY", "0.002", price)["ok"]
        before = brain.ask("ping")["as_of"]
        befall(rig)

        def subjects() -> list[str]:
            wanted = ("listen_key.lost", "gateway.*", "reconcile.done")
            return [one["subject"] for one in events(brain, *wanted, after=before)]

        def healed() -> bool:
            brain.ask("ping")
            return "gateway.ready" in subjects()

        wait_until(healed, 100, "lost, reconciled, ready", poll_s=0.1)
        told = subjects()
        lost, stopped = told.index("listen_key.lost"), told.index("gateway.not_ready")
        done, ready = told.index("reconcile.done", stopped), told.index("gateway.ready")
        assert lost < stopped < done < ready
        assert brain.place("BUY", "0.002", price)["outcome"] == "accepted"
        wait_until(lambda: same_position(rig), 10, "the position is the exchange's")
        assert rig.stop() == 0


def same_position(rig: Rig) -> bool:
    answer = httpx.get(f"{rig.simex.rest}/fapi/v3/positionRisk?{signed('')}", headers=KEY, timeout=10)
    theirs = sum(Decimal(one["positionAmt"]) for one in answer.json() if one["symbol"] == "BTCUSDT")
    return theirs == sum(Decimal(leg["qty"]) for leg in rig.slice("BTCUSDT:position")["legs"])


def test_a_quiet_account_is_renewed_and_pinged_and_never_reconnected(
    simex: Running, redis_url: str, tmp_path: Path, run_dir: Path
) -> None:
    links = {"renew_key_ms": 200, "private_probe_after_ms": 200, "probe_answer_ms": 5_000}
    with Rig(simex, redis_url, tmp_path, run_dir, gateway={"links": links}) as rig:
        brain: Brain = rig.brain()
        before = rig.slice("gateway")["streams"]["private"]["url_form"]
        wait_until(lambda: brain.ask("ping")["as_of"] and renewals(rig) >= 10, 60, "ten renewals", poll_s=0.1)
        assert events(brain, "stream.down", "stream.silent", "listen_key.*", "gateway.not_ready") == []
        assert rig.slice("gateway")["streams"]["private"]["url_form"] == before
        assert rig.slice("gateway")["ready"]


def renewals(rig: Rig) -> int:
    return int(rig.slice("gateway")["counters"].get("listen_key.renewed", 0))
