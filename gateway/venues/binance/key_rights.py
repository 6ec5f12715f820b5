"""What an API key may do, asked of the wallet side of the exchange: another host than futures, none for tests. Pure.

Source: the exchange's page "Get API Key Permission" (`GET /sapi/v1/account/apiRestrictions`, signed, weight 1);
reference §1 for the hosts: the test environment has no such path.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from gateway.core.effects import Send
from gateway.core.inputs import Key
from gateway.venues.adapter import KeyRights
from gateway.venues.binance.account_replies import read_fault
from gateway.venues.binance.account_requests import RECV_WINDOW_MS
from gateway.venues.binance.decoding import UNREADABLE

_WALLET = "https://api.binance.com"


class _Row(Struct, frozen=True):
    """What matters must be said: a right that is not mentioned is not taken for one that is not given."""

    enableReading: bool  # noqa: N815 (the wire's name)
    enableFutures: bool  # noqa: N815
    enableWithdrawals: bool  # noqa: N815
    ipRestrict: bool  # noqa: N815
    enableInternalTransfer: bool = False  # noqa: N815
    permitsUniversalTransfer: bool = False  # noqa: N815


def host(environment: str, rest: str) -> str | None:
    """Where to ask; None where nobody answers it. `rest` is where futures requests go."""
    if environment == "mainnet":
        return _WALLET
    return rest if environment in ("simex", "paper") else None


def request(key: Key, at_ms: int) -> Send:
    params = (("recvWindow", str(RECV_WINDOW_MS)), ("timestamp", str(at_ms)))
    return Send(key, "GET", "/sapi/v1/account/apiRestrictions", params, security="signed", timeout_ms=5_000)


def read(status: int, body: bytes) -> KeyRights | None:
    """None where this host has no such path. Raises ReplyError."""
    if status == 404:
        return None
    if status != 200:
        raise read_fault(status, body)
    try:
        row = msgspec.json.decode(body, type=_Row)
    except UNREADABLE:
        raise read_fault(status, body) from None
    return KeyRights(
        reading=row.enableReading,
        futures=row.enableFutures,
        withdrawals=row.enableWithdrawals,
        transfers=row.enableInternalTransfer or row.permitsUniversalTransfer,
        address_bound=row.ipRestrict,
    )
