"""The market side of the adapter in one place: satisfies `gateway.core.market_venue.MarketVenue`."""

from __future__ import annotations

from gateway.venues.binance.endpoints import private_url, stream_url
from gateway.venues.binance.filters import parse_exchange_info
from gateway.venues.binance.market_frames import (
    parse,
    parse_history,
    parse_listen_key,
    parse_renewal,
    parse_snapshot,
    parse_time,
)
from gateway.venues.binance.market_requests import (
    create_listen_key,
    depth,
    exchange_info,
    history,
    max_bars,
    renew_listen_key,
    server_time,
)
from gateway.venues.binance.streams import bar_stream, depth_stream, mark_stream, subscribe

__all__ = [
    "bar_stream",
    "create_listen_key",
    "depth",
    "depth_stream",
    "exchange_info",
    "history",
    "mark_stream",
    "max_bars",
    "parse",
    "parse_exchange_info",
    "parse_history",
    "parse_listen_key",
    "parse_renewal",
    "parse_snapshot",
    "parse_time",
    "private_url",
    "renew_listen_key",
    "server_time",
    "stream_url",
    "subscribe",
]
