"""Recorded trading of a real account, traded again on the core: same events, same money.

Another account takes the other side, order by order, so that every fill has the recorded price and quantity.
Source of the sessions: section 7 of the data folder's README.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from simex.core.api import Json, UserEvent
from simex.core.instrument import default_instrument
from simex.core.rules import Rules
from tests.simex.core_world import World, spec

pytestmark = pytest.mark.recordings

TOLERANCE = Decimal("0.00000003")
FEES = {"maker_rate": Decimal("0.0002"), "taker_rate": Decimal("0.0004")}  # of that account, in 2022


@dataclass(frozen=True)
class Session:
    file: str
    leverage: int = 20
    isolated: bool = False
    opening: str = ""
    """Wallet before the first recorded event; empty: as its first balance event says."""


SESSIONS = [
    Session("exemple-1-futures-buy-sell-market-1BNB", opening="872.29835978"),
    Session("exemple-2-futures-buy-sell-market-1BNB"),
    Session("exemple-3-futures-buy-sell-limit-1BNB"),
    Session("exemple-4-futures-buy-sell-limit-1BNB"),
    Session("exemple-5-futures-buy-sell-limit-1BNB", leverage=2, isolated=True),
    Session("exemple-6-futures-2buy-1sell-limit-1BNB"),
    Session("exemple-9-75_leverage", leverage=75, opening="10"),
]


def read(folder: Path, name: str) -> list[Json]:
    path = folder / "user_data" / "sessions_formatted" / f"{name}.jsonl"
    return [json.loads(line, parse_float=Decimal)["event"] for line in path.read_text().splitlines()]


class Replay:
    """Trades one session again; keeps the recorded events beside those the core sent."""

    def __init__(self, session: Session, recorded: list[Json]) -> None:
        self.session = session
        self.recorded = recorded
        opening = Decimal(session.opening) if session.opening else Decimal(0)
        self.world = World(
            spec(
                "main",
                balances={"USDT": opening},
                leverage=session.leverage,
                margin_type="ISOLATED" if session.isolated else "CROSSED",
                **FEES,
            ),
            spec("other", balances={"USDT": Decimal(10_000_000)}),
            instruments=[default_instrument("BNBUSDT", tick=Decimal("0.01"), step=Decimal("0.01"))],
            rules=Rules(trade_lite=False),  # the recordings are older than that event
        )

    def run(self) -> None:
        skip_opening = self.recorded[0] if "updateData" in self.recorded[0] and not self.session.opening else None
        if skip_opening is not None:
            wallet = skip_opening["updateData"]["updatedBalances"][0]["walletBalance"]
            self.world.transfer(str(wallet))
            self.world.outs.clear()
            self.recorded = self.recorded[1:]
        for index, event in enumerate(self.recorded):
            if "updateData" in event:
                if event["updateData"]["updateEventType"] != "ORDER":
                    self.world.transfer(str(event["updateData"]["updatedBalances"][0]["balanceChange"]))
            else:
                self._order_event(event["order"], self._fills_after(index, event["order"]["orderId"]))

    def _fills_after(self, index: int, order_id: int) -> list[Json]:
        orders = [event["order"] for event in self.recorded[index:] if "order" in event]
        return [o for o in orders if o["orderId"] == order_id and o["executionType"] == "TRADE"]

    def _order_event(self, order: Json, fills: list[Json]) -> None:
        kind = order["executionType"]
        if kind == "NEW":
            takes = [fill for fill in fills if not fill["isMakerTrade"]]
            for fill in takes:
                self._counter_order(fill)
            self._place(order)
        elif kind == "TRADE" and order["isMakerTrade"]:
            ticks = int(order["lastFilledPrice"] * 100)
            self.world.print(ticks, int(order["lastFilledQuantity"] * 100), order["orderSide"] == "BUY", "BNBUSDT")
        elif kind == "CANCELED":
            self.world.call("DELETE", "/fapi/v1/order", symbol="BNBUSDT", origClientOrderId=order["clientOrderId"])

    def _counter_order(self, fill: Json) -> None:
        price = fill["lastFilledPrice"]
        self.world.mark(str(price), symbol="BNBUSDT")
        self.world.placed(
            "other",
            symbol="BNBUSDT",
            side="SELL" if fill["orderSide"] == "BUY" else "BUY",
            quantity=str(fill["lastFilledQuantity"]),
            price=str(price),
        )

    def _place(self, order: Json) -> None:
        params = {
            "symbol": "BNBUSDT",
            "side": order["orderSide"],
            "type": order["orderType"],
            "quantity": str(order["originalQuantity"]),
            "newClientOrderId": order["clientOrderId"],
        }
        if order["orderType"] == "LIMIT":
            params["price"] = str(order["originalPrice"])
        if order["isReduceOnly"]:
            params["reduceOnly"] = "true"
        self.world.placed(**params)

    def pairs(self) -> list[tuple[Json, Json]]:
        """(recorded, ours) in order; fails where kinds differ."""
        ours = [out.payload for out in self.world.outs if isinstance(out, UserEvent) and out.account == "main"]
        recorded_kinds = [_recorded_kind(event) for event in self.recorded]
        assert [_our_kind(event) for event in ours] == recorded_kinds
        return list(zip(self.recorded, ours, strict=True))


def _recorded_kind(event: Json) -> tuple[Any, ...]:
    if "updateData" in event:
        return ("ACCOUNT_UPDATE", event["updateData"]["updateEventType"])
    order = event["order"]
    return ("ORDER_TRADE_UPDATE", order["executionType"], order["orderStatus"], order["clientOrderId"])


def _our_kind(event: Json) -> tuple[Any, ...]:
    if event["e"] == "ACCOUNT_UPDATE":
        return ("ACCOUNT_UPDATE", event["a"]["m"])
    return (event["e"], event["o"]["x"], event["o"]["X"], event["o"]["c"])


def close(ours: str, recorded: object, tolerance: Decimal = TOLERANCE) -> bool:
    return abs(Decimal(ours) - Decimal(str(recorded))) <= tolerance


@pytest.fixture(params=SESSIONS, ids=lambda s: s.file)
def replay(request: pytest.FixtureRequest, data_dir: Path) -> Replay:
    session: Session = request.param
    replay = Replay(session, read(data_dir, session.file))
    replay.run()
    return replay


def test_a_recorded_session_gives_the_same_events_in_the_same_order(replay: Replay) -> None:
    assert replay.pairs()


def test_every_order_event_shows_the_recorded_values(replay: Replay) -> None:
    names = {"q": "originalQuantity", "p": "originalPrice", "l": "lastFilledQuantity", "L": "lastFilledPrice"}
    names |= {"z": "orderFilledAccumulatedQuantity", "b": "bidsNotional", "a": "asksNotional"}
    for recorded, ours in replay.pairs():
        if "order" not in recorded:
            continue
        theirs, mine = recorded["order"], ours["o"]
        assert {k: Decimal(mine[k]) for k in names} == {k: Decimal(str(theirs[v])) for k, v in names.items()}
        assert (mine["m"], mine["R"]) == (theirs["isMakerTrade"], theirs["isReduceOnly"])
        assert close(mine["ap"], theirs["averagePrice"], Decimal("0.0001"))
        assert close(mine["rp"], theirs["realisedProfit"])
        if theirs.get("commissionAmount") is not None:
            assert close(mine["n"], theirs["commissionAmount"])


def test_wallet_position_and_isolated_margin_equal_every_recorded_account_update(replay: Replay) -> None:
    realised_before = None
    for recorded, ours in replay.pairs():
        if "updateData" not in recorded:
            continue
        data = recorded["updateData"]
        for theirs, mine in zip(data["updatedBalances"], ours["a"]["B"], strict=True):
            assert close(mine["wb"], theirs["walletBalance"]), (mine, theirs)
            assert close(mine["cw"], theirs["crossWalletBalance"]), (mine, theirs)
            assert close(mine["bc"], theirs["balanceChange"])
        for theirs, mine in zip(data["updatedPositions"], ours["a"]["P"], strict=True):
            assert Decimal(mine["pa"]) == Decimal(str(theirs["positionAmount"]))
            assert close(mine["ep"], theirs["entryPrice"], Decimal("0.00001"))
            assert close(mine["iw"], theirs["isolatedWalletAmount"])
            assert mine["mt"] == theirs["marginType"]
            # The recorded sum began before the recording: its changes are what must agree.
            offset = Decimal(str(theirs["accumulatedRealisedPreFee"])) - Decimal(mine["cr"])
            assert realised_before is None or abs(offset - realised_before) <= TOLERANCE
            realised_before = offset


@pytest.mark.parametrize("session", SESSIONS, ids=lambda s: s.file)
def test_a_restart_after_any_event_changes_nothing_of_the_session(session: Session, data_dir: Path) -> None:
    """The state dumped and restored between all recorded events: the same events, the same money."""
    whole, broken = (Replay(session, read(data_dir, session.file)) for _ in range(2))
    order_event = broken._order_event

    def restarted(order: Json, fills: list[Json]) -> None:
        fresh = Replay(session, []).world.exchange
        fresh.restore(json.loads(json.dumps(broken.world.exchange.dump())))
        broken.world.exchange = fresh
        order_event(order, fills)

    broken._order_event = restarted  # type: ignore[method-assign]
    whole.run()
    broken.run()
    assert broken.world.outs == whole.world.outs
    assert broken.world.exchange.truth() == whole.world.exchange.truth()
