"""The official Python SDK, unmodified, in its own environment. Its models come from the exchange's own API description:
every field of every answer and event is compared with them, both ways."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients.matrix import judged
from tests.simex.running import running

# (call or event, field) the description has and an answer may lack: optional there, or only for another kind of symbol
OPTIONAL = {
    "notional_and_leverage_brackets": {"notionalCoef"},  # only where a person's own brackets differ
    "exchange_information": {
        "symbols.settlePlan",  # of delivery contracts
        *(f"symbols.filters.{name}" for name in (
            "limit", "maxPrice", "maxQty", "minPrice", "minQty", "multiplierDecimal", "multiplierDown",
            "multiplierUp", "notional", "stepSize", "tickSize",
        )),  # each filter has its own
    },
    "OrderTradeUpdate": {"o.AP", "o.cr", "o.M"},  # of trailing stops; the modifyId where one was sent
    "AccountUpdate": {"a.S"},  # where the event is about one isolated symbol
    "modify_order": {"modifyId"},  # where one was sent
    "get_order_modify_history": {"amendment.modifyId"},
    "test_order": {"avgPrice", "cumQuote"},  # nothing was traded
}  # fmt: skip
# of trailing stops, on any order; JSON null as recorded, on any algo order
ANYWHERE = {"activatePrice", "priceRate", "icebergQuantity"}
# what the exchange sends and the description of this version lacks (the reference has recordings of them)
NEWER = {
    "exchange_information": {
        "futuresType", "symbols.filters.positionControlSide", "symbols.maxMoveOrderLimit", "symbols.permissionSets",
    },
    "symbol_order_book_ticker": {"lastUpdateId"},
}  # fmt: skip


@pytest.mark.timeout(300)  # the first run installs the client
def test_the_official_client_trades_and_watches_and_knows_every_field(seed: int) -> None:
    with running("--seed", str(seed), "--symbols", "BTCUSDT,ETHUSDT") as simex:
        report = judged("sdk", simex.rest, simex.ws)
    failed = {case: what for case, what in report.verdicts.items() if what not in ("ok", "-")}
    assert failed == {}, report.stderr[-3000:]
    assert differences(report.seen) == {}, "[what the description lacks, what the answer lacks] by call or event"
    values = {case: {key: got for key, got in seen.items() if key != "shapes"} for case, seen in report.seen.items()}
    assert values["markets"] == {"symbols": ["BTCUSDT", "ETHUSDT"]}
    assert values["book"] == {"bids": 20, "asks": 20, "crossed": False}
    assert values["trades"]["ids"] == sorted(set(values["trades"]["ids"]))
    assert values["bars"] == {"count": 100, "steps_ms": [300_000]}
    assert float(values["account"]["wallet"]) == 10_000
    assert values["place"] == {"placed": "NEW", "read": ["NEW", "0.002", "0.000"], "listed": True}
    assert values["amend"] == {"amended": [True, "0.003", "NEW"], "history": 1}
    assert values["cancel"] == {"cancelled": "CANCELED", "after": "CANCELED"}
    assert values["fill"] == {"bought": ["FILLED", "0.010"], "held": ["0.010"], "trades_qty": 0.01, "sold": "FILLED"}
    assert values["stop order"] == {"listed": True, "status": ["NEW", "NEW"], "after": "CANCELED"}
    assert set(values["user stream"]["kinds"]) >= {"AccountUpdate", "OrderTradeUpdate"}
    assert values["error mapping"] == {
        "cancel": "BadRequestError -2011",
        "query": "BadRequestError -2013",
        "symbol": "BadRequestError -1121",
        "old stop": "BadRequestError -4120",
        "lot": "BadRequestError -1111",
    }
    assert values["trading over WebSocket"] == {
        "placed": "NEW",
        "read": ["NEW", "0.002"],
        "amended": "0.003",
        "cancelled": "CANCELED",
        "wallet": 1,
    }


def differences(seen: dict[str, Any]) -> dict[str, list[list[str]]]:
    """What differs from the description beyond what is known to."""
    found = {}
    for case in seen.values():
        for name, (unknown, missing) in case.get("shapes", {}).items():
            newer = set(unknown) - NEWER.get(name, set())
            absent = set(missing) - OPTIONAL.get(name, set()) - ANYWHERE
            if newer or absent:
                found[name] = [sorted(newer), sorted(absent)]
    return found
