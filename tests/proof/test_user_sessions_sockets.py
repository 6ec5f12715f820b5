"""Recorded trading sessions pushed by simex over the private stream to a real gateway: its published wallet and
position equal each statement of the exchange. The orders are nobody's of ours: shown as foreign, never dropped."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.rig import Rig
from tests.proof.replaying import Monitor
from tests.proof.sessions import session_files, wire_events
from tests.simex.running import Running, running
from tests.waiting import wait_until

pytestmark = pytest.mark.recordings

BOUND = Decimal("0.00000003")
SYMBOL = "BNBUSDT"
# of each session: statements of the wallet and of the position that are compared (the opening ones included)
COUNTED = {"1": (5, 5), "2": (4, 4), "3": (2, 2), "4": (4, 3), "5": (3, 2), "6": (4, 3), "9": (12, 7)}


@dataclass
class Told:
    """What the exchange stated so far."""

    wallets: list[Decimal]
    qtys: list[Decimal] = field(default_factory=lambda: [Decimal(0)])
    compared_wallets: int = 0
    compared_legs: int = 0


def opening_wallet(events: list[dict[str, Any]]) -> Decimal:
    """Before the session: its first statement less what that one states as changed. All sessions open flat."""
    for index, event in enumerate(events):
        if event["e"] == "ACCOUNT_UPDATE":
            row = event["a"]["B"][0]
            if event["a"]["m"] != "ORDER":
                return Decimal(row["wb"]) - Decimal(row["bc"])
            fill = events[index + 1]["o"]
            change = Decimal(fill.get("rp", "0")) - Decimal(fill.get("n", "0"))
            return Decimal(row["wb"]) - change
    raise AssertionError("a session without a statement")


def admin(simex: Running, what: str, **body: Any) -> None:
    reply = httpx.post(f"{simex.rest}/admin/{what}", json=body, timeout=10)
    assert reply.status_code == 200, reply.text


def push(simex: Running, event: dict[str, Any]) -> None:
    """As recorded, but now."""
    now_ms = time.time_ns() // 1_000_000
    moved = {**event, "E": now_ms, "T": now_ms}
    if "o" in event:
        moved["o"] = {**event["o"], "T": now_ms}
    admin(simex, "user_event", account="simex", event=moved)


def wallet(rig: Rig) -> Decimal:
    rows = {row["asset"]: Decimal(row["wallet"]) for row in rig.slice("wallet")["balances"]}
    return rows.get("USDT", Decimal(0))


def leg(rig: Rig) -> dict[str, Any]:
    """One-way mode: there is one."""
    (row,) = rig.slice(f"{SYMBOL}:position")["legs"]
    assert row["leg"] == "BOTH"
    found: dict[str, Any] = row
    return found


def shown(rig: Rig, order_id: int) -> dict[str, Any] | None:
    rows: list[dict[str, Any]] = rig.slice(f"{SYMBOL}:orders")["orders"]
    return next((row for row in rows if row["order_id"] == order_id), None)


@pytest.mark.parametrize("name", sorted(COUNTED))
def test_published_wallet_and_position_equal_every_statement(
    name: str, data_dir: Path, tmp_path: Path, run_dir: Path, redis_url: str
) -> None:
    path = next(path for path in session_files(data_dir) if path.name.startswith(f"exemple-{name}-"))
    events = wire_events(path)
    told = Told([opening_wallet(events)])
    settings = {"accounts": {"main": {"symbols": [SYMBOL]}}}
    with running("--symbols", SYMBOL) as simex, Monitor(redis_url) as monitor:
        admin(simex, "account", account="simex", balances={"USDT": str(told.wallets[0])})
        with Rig(simex, redis_url, tmp_path, run_dir, **settings) as rig:
            wait_until(lambda: rig.slice("gateway").get("ready"), 20, "ready")
            play(simex, rig, events, told)
            differences = [event for event in stream(rig) if event["subject"] == "reconcile.difference"]
        published = monitor.slices("bs:main:wallet")
        positions = monitor.slices(f"bs:main:{SYMBOL}:position")
    assert differences == []
    assert (told.compared_wallets, told.compared_legs) == COUNTED[name]
    judge_path([wallet_of(one) for one in published if one["state"] == "live"], told.wallets, BOUND)
    judge_path([qty_of(one) for one in positions if one["state"] == "live"], told.qtys, Decimal(0))


def play(simex: Running, rig: Rig, events: list[dict[str, Any]], told: Told) -> None:
    statement: dict[str, Any] | None = None
    for index, event in enumerate(events):
        if event["e"] == "ORDER_TRADE_UPDATE" and event["o"]["x"] == "TRADE" and "n" not in event["o"]:
            assert index == len(events) - 1, "a fill whose fee was not recorded can only end a session"
            return
        following = events[index + 1]["o"] if index + 1 < len(events) and "o" in events[index + 1] else {}
        if event["e"] == "ACCOUNT_UPDATE" and following.get("x") == "TRADE" and "n" not in following:
            return
        push(simex, event)
        if event["e"] == "ACCOUNT_UPDATE":
            statement = event["a"]
            if statement["m"] != "ORDER" or following.get("x") != "TRADE":
                compare(rig, statement, told)
            continue
        order = event["o"]
        if order["x"] == "TRADE":
            assert statement is not None
            compare(rig, statement, told)
        compare_order(rig, order)


def compare(rig: Rig, statement: dict[str, Any], told: Told) -> None:
    for row in statement["B"]:
        told.wallets.append(Decimal(row["wb"]))
        what = f"wallet {row['wb']}"
        wait_until(lambda: abs(wallet(rig) - told.wallets[-1]) <= BOUND, 5, what)
        told.compared_wallets += 1
    for row in statement["P"]:
        told.qtys.append(Decimal(row["pa"]))
        what = f"{row['pa']} at {row['ep']}"
        wait_until(lambda: Decimal(leg(rig)["qty"]) == told.qtys[-1], 5, what)
        assert abs(Decimal(leg(rig)["entry"]) - Decimal(row["ep"])) <= Decimal("0.00001"), what
        told.compared_legs += 1


def compare_order(rig: Rig, order: dict[str, Any]) -> None:
    """Open: shown as foreign with what is filled. Closed: no longer among the open ones."""
    number, filled = order["i"], Decimal(order["z"])

    def agrees() -> bool:
        row = shown(rig, number)
        if order["X"] not in ("NEW", "PARTIALLY_FILLED"):
            return row is None
        return row is not None and Decimal(row.get("filled_qty", "0")) == filled and row.get("foreign") is True

    wait_until(agrees, 5, f"order {number} shown as {order['X']} with {filled} filled")


def stream(rig: Rig) -> list[dict[str, Any]]:
    line = rig.line()
    found: list[dict[str, Any]] = line.result("events", after=0, limit=500)
    return found


def wallet_of(one: dict[str, Any]) -> Decimal:
    return next((Decimal(row["wallet"]) for row in one["balances"] if row["asset"] == "USDT"), Decimal(0))


def qty_of(one: dict[str, Any]) -> Decimal:
    return sum((Decimal(row["qty"]) for row in one["legs"]), Decimal(0))


def judge_path(published: list[Decimal], told: list[Decimal], bound: Decimal) -> None:
    """Every value ever published is one the exchange stated, in the order it stated them: none in between."""
    path = [value for value, _ in groupby(published)]
    left = [value for value, _ in groupby(told)]
    assert len(path) == len(left), (path, left)
    assert all(abs(ours - theirs) <= bound for ours, theirs in zip(path, left, strict=True)), (path, left)
