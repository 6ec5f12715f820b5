"""Recorded trading sessions through the parser and the account part: our books equal each statement of the exchange."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.core.account_books import Books
from gateway.core.venue_orders import AccountUpdate, VenueBalance, VenueOrder, VenuePosition
from gateway.venues.binance.user_frames import parse_user_frame
from tests.data import data_dir as find_data
from tests.gateway.account_model import Harness, ModelExchange, ModelOrders
from tests.proof.sessions import session_files, wire_events

pytestmark = pytest.mark.recordings

BOUND = Decimal("0.00000003")
SYMBOL = "BNBUSDT"
FOUND = find_data()
FILES = session_files(FOUND) if FOUND else []
# wallet checks, position checks: what the data folder's README counts (plus the statements a session opens with)
COUNTED = {"1": (4, 4), "2": (2, 2), "3": (0, 1), "4": (3, 2), "5": (1, 1), "6": (3, 2), "9": (11, 6)}


@dataclass
class Opening:
    """What the account held before the session: worked back from its first statement, where that is one of a fill."""

    wallet: Decimal
    qty: Decimal
    entry: Decimal
    skip: int  # events that only state the opening


def frame(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode()


def opening(events: list[dict[str, Any]]) -> Opening:
    for index, event in enumerate(events):
        if event["e"] != "ACCOUNT_UPDATE":
            continue
        body = event["a"]
        wallet = Decimal(body["B"][0]["wb"])
        row = body["P"][0] if body["P"] else {"pa": "0", "ep": "0"}
        if body["m"] != "ORDER":
            return Opening(wallet - Decimal(body["B"][0]["bc"]), Decimal(row["pa"]), Decimal(row["ep"]), 0)
        following = events[index + 1]["o"]
        if index == 0:  # "Inicial": the statement before the session
            return Opening(wallet, Decimal(row["pa"]), Decimal(row["ep"]), 1)
        change = Decimal(following["l"]) * (1 if following["S"] == "BUY" else -1)
        assert Decimal(row["pa"]) == change, "a session whose first fill opens from flat"
        return Opening(wallet - Decimal(following["rp"]) + Decimal(following["n"]), Decimal(0), Decimal(0), 0)
    raise AssertionError("a session without a statement")


def session(name: str) -> list[dict[str, Any]]:
    path = next(path for path in FILES if path.name.startswith(f"exemple-{name}-"))
    return wire_events(path)


def books_of(start: Opening) -> Books:
    books = Books()
    books.wallet_known = True
    books.adopt_wallet(VenueBalance("USDT", start.wallet, start.wallet))
    books.adopt_leg(SYMBOL, "BOTH", VenuePosition(SYMBOL, "BOTH", start.qty, start.entry))
    return books


@pytest.mark.parametrize("name", sorted(COUNTED))
def test_books_by_fills_and_transfers_equal_every_statement(name: str, data_dir: Path) -> None:
    """Never corrected by a statement: errors would add up to the last one."""
    events = session(name)
    start = opening(events)
    books, orders = books_of(start), ModelOrders()
    wallets = positions = 0
    pending: list[AccountUpdate] = []
    for raw in events[start.skip :]:
        event = parse_user_frame(frame(raw))
        if isinstance(event, AccountUpdate):
            for row in event.balances:
                if event.reason != "order" and row.change:
                    books.transfer(row.asset, row.change)
            pending.append(event)
            if event.reason == "order":
                continue  # comes before the fill it speaks of
        if isinstance(event, VenueOrder):
            for signal in orders.on_venue_order(event):
                books.fill(signal.order, signal.fill, "USDT", None)  # type: ignore[union-attr]
            if event.fill is None:
                continue
        for update in pending:
            if not (isinstance(event, VenueOrder) and event.fill and event.fill.fee is None):
                for row in update.balances:
                    assert abs(books.wallets[row.asset].wallet - row.wallet) <= BOUND, (name, raw)
                    wallets += 1
            for leg in update.positions:
                ours = books.leg(SYMBOL, leg.leg)
                assert ours.qty == leg.qty, (name, raw)
                assert abs(ours.entry - leg.entry) <= Decimal("0.00001"), (name, raw)
                positions += 1
        pending.clear()
    counted_wallets, counted_positions = COUNTED[name]
    assert wallets >= counted_wallets, "checked fewer wallets than the recording allows"
    assert positions >= counted_positions, "checked fewer positions than the recording allows"


def start_harness(start: Opening) -> Harness:
    exchange = ModelExchange((SYMBOL,), wallet=start.wallet)
    exchange.positions[SYMBOL, "BOTH"] = (start.qty, start.entry)
    exchange.position_ms[SYMBOL, "BOTH"] = exchange.now_ms
    harness = Harness(exchange)
    harness.start()
    return harness


@pytest.mark.parametrize("name", sorted(set(COUNTED) - {"3"}))
def test_account_part_settles_every_statement_without_a_difference(name: str, data_dir: Path) -> None:
    """Through the whole part: baseline, frames in recorded order, each statement held until its fill came."""
    events = session(name)
    start = opening(events)
    harness = start_harness(start)
    for raw in events[start.skip :]:
        harness.frame(frame(raw))
        harness.tick()
        waits = raw["e"] == "ACCOUNT_UPDATE" and raw["a"]["m"] == "ORDER"
        assert harness.account.status()["statements_held"] == (1 if waits else 0), raw
    assert harness.differences() == []
    last = [raw for raw in events if raw["e"] == "ACCOUNT_UPDATE"][-1]["a"]
    assert harness.account.books.wallets["USDT"].wallet == Decimal(last["B"][0]["wb"])
    moved = [e.data["reason"] for e in harness.events if e.subject == "balance.changed"]
    transfers = [raw["a"]["m"].lower() for raw in events if raw["e"] == "ACCOUNT_UPDATE" and raw["a"]["m"] != "ORDER"]
    assert [reason for reason in moved if reason != "fill"] == transfers


def test_a_fee_the_stream_kept_back_is_found_not_believed(data_dir: Path) -> None:
    """Session 3: the wallet shows a fee of 0.0813 that the second fill does not state."""
    events = session("3")
    start = opening(events)
    harness = start_harness(start)
    for raw in events[start.skip :]:
        harness.frame(frame(raw))
    assert harness.account.status()["statements_held"] == 1
    held = harness.account.books.wallets["USDT"].wallet
    last = [raw for raw in events if raw["e"] == "ACCOUNT_UPDATE"][-1]["a"]
    assert held - Decimal(last["B"][0]["wb"]) == Decimal("0.0813")
    harness.exchange.wallet = Decimal(last["B"][0]["wb"])
    harness.exchange.positions[SYMBOL, "BOTH"] = (Decimal(0), Decimal(0))
    harness.run(4_000)
    assert harness.differences() == [("wallet", None)]
    assert harness.account.books.wallets["USDT"].wallet == harness.exchange.wallet


def test_position_flips_through_zero_as_recorded(data_dir: Path) -> None:
    """Session 5: a sell of 0.08 turns +0.04 at 403.99 into -0.04 at 404."""
    events = session("5")
    start = opening(events)
    harness = start_harness(start)
    for raw in events[start.skip :]:
        harness.frame(frame(raw))
    leg = harness.account.books.leg(SYMBOL, "BOTH")
    assert (leg.qty, leg.entry, leg.realised) == (Decimal("-0.04"), Decimal(404), Decimal("0.0004"))
