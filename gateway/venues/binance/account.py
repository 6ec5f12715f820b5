"""The account side of the adapter in one place: satisfies `gateway.core.account_venue.AccountVenue`."""

from __future__ import annotations

from gateway.venues.binance.account_replies import (
    fill_orders,
    read_balances,
    read_commission,
    read_done,
    read_leverage,
    read_open_orders,
    read_order,
    read_position_mode,
    read_positions,
    read_symbol_settings,
    read_trades,
    still_open,
    vanished,
)
from gateway.venues.binance.account_requests import (
    balances,
    commission,
    open_orders,
    order,
    position_mode,
    positions,
    set_leverage,
    set_margin_type,
    set_position_mode,
    symbol_settings,
    trades,
    trades_page_rows,
)
from gateway.venues.binance.user_frames import parse_user_frame, user_frame_identity

__all__ = [
    "balances",
    "commission",
    "fill_orders",
    "open_orders",
    "order",
    "parse_user_frame",
    "position_mode",
    "positions",
    "read_balances",
    "read_commission",
    "read_done",
    "read_leverage",
    "read_open_orders",
    "read_order",
    "read_position_mode",
    "read_positions",
    "read_symbol_settings",
    "read_trades",
    "set_leverage",
    "set_margin_type",
    "set_position_mode",
    "still_open",
    "symbol_settings",
    "trades",
    "trades_page_rows",
    "user_frame_identity",
    "vanished",
]
