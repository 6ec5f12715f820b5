"""What the protocol's sources leave open, as switches: the default is what is known or likeliest.

Source: the open questions of the protocol reference (section 12) and the remarks of sections 4 and 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Rules:
    """How this exchange behaves where the real one's behaviour is not known for certain."""

    trade_lite: bool = True
    """Send TRADE_LITE before each fill's other events."""
    countdown_cancels_algos: bool = False
    """Does the dead man's switch remove conditional orders too?"""
    triggered_order_first: bool = False
    """Send a triggered order's own events before ALGO_UPDATE TRIGGERED, not after."""
    algo_keeps_client_id: bool = True
    """Has the order that a trigger made the algo order's client id? Otherwise a fresh one."""
    trigger_delay_ms: int = 0
    """How long an algo order stays in TRIGGERING before the engine gets its order (-4117 for a cancel meanwhile)."""
    trigger_reject_event: bool = False
    """Send the deprecated CONDITIONAL_ORDER_TRIGGER_REJECT beside ALGO_UPDATE REJECTED."""
    gtd_end: Literal["EXPIRED", "CANCELED"] = "EXPIRED"
    """How the end of an order good till a date is announced."""
    reduce_only_conflict: Literal[-2022, -4118] = -2022
    """Refusal of a reduce-only order whose position is claimed by resting ones already."""
    adl: Literal["auto", "always", "never"] = "auto"
    """Are positions that nobody else takes deleveraged from others, or taken by the insurance fund; auto: by the fund
    while it has enough."""
    liquidation_type: Literal["LIMIT", "LIQUIDATION"] = "LIMIT"
    """What the events of a liquidation call its order type (`o`); queries always say LIMIT."""


DEFAULT_RULES = Rules()
