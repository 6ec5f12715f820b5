"""What an API key may do, as `GET /sapi/v1/account/apiRestrictions` tells its owner."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rights:
    """Rights of one key. Without `futures` it reads but neither trades nor changes settings."""

    reading: bool = True
    futures: bool = True
    withdrawals: bool = False
    ip_restricted: bool = False
    """Bound to addresses (what the key's owner is told; addresses are not checked here)."""
    internal_transfer: bool = False
    universal_transfer: bool = False
    margin: bool = False
    spot_and_margin_trading: bool = False
    vanilla_options: bool = False
    portfolio_margin: bool = False
    created_ms: int = 1_569_398_400_000
