"""Binance USDⓈ-M futures as one bundle."""

from __future__ import annotations

from gateway.core.venue import Venue
from gateway.venues.adapter import Adapter
from gateway.venues.binance import account, key_rights, limits, market, order_requests
from gateway.venues.binance.endpoints import endpoints
from gateway.venues.binance.sign import Signer

BINANCE_USDM = Adapter(
    Venue("binance-usdm", market, account, order_requests, limits),
    endpoints,
    signer=Signer,
    ping_path="/fapi/v1/ping",
    key_desk=key_rights,
)
