"""What a key may do: where it is asked, how the answer is read, and what is never assumed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.account_venue import ReplyError
from gateway.venues.adapter import KeyRights
from gateway.venues.binance import key_rights

# the example of the exchange's own page (addresses and dates aside)
ROW: dict[str, Any] = {
    "ipRestrict": False, "createTime": 1698645219000, "enableReading": True, "enableWithdrawals": False,
    "enableInternalTransfer": False, "enableMargin": False, "enableFutures": False, "permitsUniversalTransfer": False,
    "enableVanillaOptions": False, "enableFixApiTrade": False, "enableFixReadOnly": True,
    "enableSpotAndMarginTrading": False, "enablePortfolioMarginTrading": True,
}  # fmt: skip


def read(status: int = 200, **changed: Any) -> KeyRights | None:
    return key_rights.read(status, json.dumps(ROW | changed).encode())


def test_the_example_of_the_documents() -> None:
    assert read() == KeyRights(reading=True, futures=False, withdrawals=False, transfers=False, address_bound=False)


@pytest.mark.parametrize(
    ("wire", "field"),
    [
        ("enableFutures", "futures"), ("enableWithdrawals", "withdrawals"), ("ipRestrict", "address_bound"),
        ("enableInternalTransfer", "transfers"), ("permitsUniversalTransfer", "transfers"),
    ],
)  # fmt: skip
def test_each_right_by_its_own_field(wire: str, field: str) -> None:
    found = read(**{wire: True})
    assert found is not None
    held = {name for name in ("futures", "withdrawals", "address_bound", "transfers") if getattr(found, name)}
    assert held == {field}


@pytest.mark.parametrize("missing", ["enableWithdrawals", "enableFutures", "ipRestrict", "enableReading"])
def test_a_right_that_is_not_mentioned_is_not_taken_for_one_not_given(missing: str) -> None:
    with pytest.raises(ReplyError):
        key_rights.read(200, json.dumps({name: value for name, value in ROW.items() if name != missing}).encode())


def test_a_host_without_the_path_is_no_error() -> None:
    assert key_rights.read(404, b"<html>not here</html>") is None


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b'{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action"}', "keys"),
        (400, b'{"code":-1021,"msg":"Timestamp for this request is outside of the recvWindow."}', "clock"),
        (200, b"<html>", ""), (200, b"[]", ""), (503, b"", ""), (200, b"\xff", ""),
    ],
)  # fmt: skip
def test_what_says_no_or_nothing_readable_is_named(status: int, body: bytes, kind: str) -> None:
    with pytest.raises(ReplyError) as caught:
        key_rights.read(status, body)
    assert caught.value.kind == kind


def test_where_it_is_asked() -> None:
    """The test environment has no such path; the real one has it on another host, whatever futures are reached by."""
    assert key_rights.host("mainnet", "https://fapi.binance.com") == "https://api.binance.com"
    assert key_rights.host("testnet", "https://demo-fapi.binance.com") is None
    assert key_rights.host("simex", "http://127.0.0.1:1") == "http://127.0.0.1:1"
    assert key_rights.host("elsewhere", "http://x") is None
    asked = key_rights.request(("doctor", 1), 1_700_000_000_000)
    assert (asked.method, asked.security, dict(asked.params)["timestamp"]) == ("GET", "signed", "1700000000000")
