"""Invariants of the core, checked against an independent fold of everything it sent out."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any

from simex.core.api import Json, PublicLevels, PublicTrade, UserEvent
from tests.simex.core_world import World

FINAL = {"FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH"}
Key = tuple[str, str, int]
"""(account, symbol, order id)"""


def user_events(world: World) -> list[tuple[str, Json]]:
    return [(out.account, out.payload) for out in world.outs if isinstance(out, UserEvent)]


def order_updates(world: World) -> list[tuple[Key, Json]]:
    return [
        ((account, event["o"]["s"], event["o"]["i"]), event["o"])
        for account, event in user_events(world)
        if event["e"] == "ORDER_TRADE_UPDATE"
    ]


def check_shown_book(world: World, symbol: str = "BTCUSDT") -> None:
    """The public levels sent so far, folded from nothing, are the book the exchange would snapshot."""
    sides: list[dict[int, int]] = [{}, {}]
    for out in world.outs:
        if isinstance(out, PublicLevels) and out.symbol == symbol:
            for side, changes in zip(sides, (out.bids, out.asks), strict=True):
                for price, lots in changes:
                    side.pop(price, None)
                    if lots:
                        side[price] = lots
    bids, asks = world.exchange.book_totals(symbol)
    assert sorted(sides[0].items(), reverse=True) == bids
    assert sorted(sides[1].items()) == asks
    if bids and asks:
        assert bids[0][0] < asks[0][0], "the visible book is crossed"


def check_orders_replay_to_queries(world: World) -> None:
    """Folding each order's events gives what GET order says; NEW comes first, nothing follows the end."""
    folded: dict[Key, Json] = {}
    for key, update in order_updates(world):
        before = folded.get(key)
        assert (before is None) == (update["x"] == "NEW"), f"{update['x']} of order {key} after {before}"
        if before is not None:
            assert before["X"] not in FINAL, f"{update['x']} after the end of order {key}"
            grown = Decimal(before["z"]) + Decimal(update["l"])
            assert Decimal(update["z"]) == grown, "z is the sum of all l"
        assert 0 <= Decimal(update["z"]) <= Decimal(update["q"]), "filled never exceeds the quantity"
        folded[key] = update
    truth = world.exchange.truth()["accounts"]
    known = {(name, row["symbol"], row["orderId"]): row for name in truth for row in truth[name]["orders"]}
    assert known.keys() == folded.keys()
    for (account, symbol, order_id), update in folded.items():
        row = world.get("/fapi/v1/order", account, symbol=symbol, orderId=str(order_id))
        assert row == known[account, symbol, order_id]
        shown = (row["status"], Decimal(row["executedQty"]), Decimal(row["origQty"]), Decimal(row["price"]))
        assert shown == (update["X"], Decimal(update["z"]), Decimal(update["q"]), Decimal(update["p"]))
        assert abs(Decimal(row["avgPrice"]) - Decimal(update["ap"])) <= Decimal("0.00001")
        assert (row["clientOrderId"], row["side"], row["timeInForce"]) == (update["c"], update["S"], update["f"])
        assert (row["reduceOnly"], row["positionSide"]) == (update["R"], update["ps"])
        assert (row["status"] in FINAL) == (row not in truth[account]["open_orders"])


def check_fills_are_announced_in_pairs(world: World) -> None:
    """Each fill: ACCOUNT_UPDATE directly before its ORDER_TRADE_UPDATE, same E, and one public trade of that id."""
    trades = {(out.symbol, out.trade_id): out for out in world.outs if isinstance(out, PublicTrade)}
    sides: dict[tuple[str, int], list[str]] = defaultdict(list)
    previous: tuple[str, Json] | None = None
    for account, event in user_events(world):
        if event["e"] == "ORDER_TRADE_UPDATE" and event["o"]["x"] == "TRADE":
            assert previous is not None
            assert (previous[0], previous[1]["e"], previous[1]["E"]) == (account, "ACCOUNT_UPDATE", event["E"])
            order = event["o"]
            trade = trades[order["s"], order["t"]]
            instrument = world.exchange.instrument(order["s"])
            assert Decimal(order["L"]) == instrument.price(trade.price_ticks)
            assert Decimal(order["l"]) == instrument.qty(trade.qty_lots)
            assert order["m"] == ((order["S"] == "BUY") == trade.buyer_is_maker)
            sides[order["s"], order["t"]].append("maker" if order["m"] else "taker")
        previous = (account, event)
    for key, trade in trades.items():
        own = ["maker"] * trade.maker_is_own + ["taker"] * trade.taker_is_own
        assert sorted(sides[key]) == own, "a trade tells each own side exactly once"


def check_money(world: World, openings: dict[str, Decimal]) -> None:
    """wallet = opening + realised - fees + funding + transfers, to the last digit; the last event says the same."""
    for name, account in world.exchange.truth()["accounts"].items():
        flows = sum((Decimal(row["income"]) for row in account["income"]), Decimal(0))
        wallet = Decimal(account["balances"]["USDT"]["wallet"])
        assert wallet == openings[name] + flows
        from_fills = sum((Decimal(f["realizedPnl"]) - Decimal(f["commission"]) for f in account["fills"]), Decimal(0))
        others = ("FUNDING_FEE", "TRANSFER")
        rest = sum((Decimal(r["income"]) for r in account["income"] if r["incomeType"] in others), Decimal(0))
        assert wallet == openings[name] + from_fills + rest
        isolated = sum((Decimal(p["isolated_wallet"]) for p in account["positions"]), Decimal(0))
        assert wallet == Decimal(account["balances"]["USDT"]["cross"]) + isolated
        told = [e for a, e in user_events(world) if a == name and e["e"] == "ACCOUNT_UPDATE" and e["a"]["B"]]
        if told:
            assert Decimal(told[-1]["a"]["B"][0]["wb"]) == wallet


def check_positions(world: World) -> None:
    """Each leg is the signed sum of its fills; reduce-only fills only ever shrink it and never cross zero."""
    legs: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for (account, symbol, _), order in order_updates(world):
        if order["x"] != "TRADE":
            continue
        key = (account, symbol, order["ps"])
        before = legs[key]
        legs[key] += Decimal(order["l"]) * (1 if order["S"] == "BUY" else -1)
        if order["R"]:
            assert abs(legs[key]) < abs(before), "a reduce-only fill increased the position"
            assert legs[key] * before >= 0, "a reduce-only fill flipped the position"
        if order["ps"] == "LONG":
            assert legs[key] >= 0
        if order["ps"] == "SHORT":
            assert legs[key] <= 0
    held: dict[tuple[str, str, str], Decimal] = {}
    for name, account in world.exchange.truth()["accounts"].items():
        for row in account["positions"]:
            held[name, row["symbol"], row["side"]] = Decimal(row["amount"])
    assert held == {key: amount for key, amount in legs.items() if amount}


def check_price_time(world: World) -> None:
    """When a resting order trades, no own order of the same side stands at a better price or earlier at its price."""
    resting: dict[Key, Json] = {}
    since: dict[Key, int] = {}
    for moment, (key, order) in enumerate(order_updates(world)):
        if order["x"] == "TRADE" and order["m"]:
            sign = 1 if order["S"] == "BUY" else -1
            for other_key, other in resting.items():
                if other_key == key or other["S"] != order["S"] or other["s"] != order["s"]:
                    continue
                better = (Decimal(other["p"]) - Decimal(order["p"])) * sign
                assert better <= 0, f"{key} traded before {other_key} at a better price"
                assert better != 0 or since[other_key] > since[key], (
                    f"{key} traded before {other_key}, which came first"
                )
        if order["x"] in ("NEW", "AMENDMENT"):
            since[key] = moment  # an amendment loses its place in the queue
        open_and_booked = order["X"] not in FINAL and Decimal(order["b"]) + Decimal(order["a"]) > 0
        if open_and_booked:
            resting[key] = order
        elif order["X"] in FINAL or order["x"] == "AMENDMENT":
            resting.pop(key, None)


def check_reduce_only_claims(world: World) -> None:
    """No open reduce-only order without a position that it could reduce."""
    for name, account in world.exchange.truth()["accounts"].items():
        held = {(row["symbol"], row["side"]): Decimal(row["amount"]) for row in account["positions"]}
        for order in account["open_orders"]:
            if order["reduceOnly"]:
                amount = held.get((order["symbol"], order["positionSide"]), Decimal(0))
                reducible = amount if order["side"] == "SELL" else -amount
                assert reducible > 0, f"{name}: {order['clientOrderId']} has nothing left to reduce"


def check_all(world: World, openings: dict[str, Decimal]) -> None:
    check_shown_book(world)
    check_fills_are_announced_in_pairs(world)
    check_money(world, openings)
    check_positions(world)
    check_price_time(world)
    check_orders_replay_to_queries(world)


def total_equity(world: World, openings: dict[str, Decimal], mark: Decimal) -> Decimal:
    """What all accounts together gained, fees and funding left out: 0 where they only traded with each other."""
    gained = Decimal(0)
    accounts: dict[str, Any] = world.exchange.truth()["accounts"]
    for account in accounts.values():
        gained += sum((Decimal(f["realizedPnl"]) for f in account["fills"]), Decimal(0))
        for row in account["positions"]:
            gained += Decimal(row["amount"]) * (mark - Decimal(row["entry_price"]))
    return gained
