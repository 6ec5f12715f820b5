"""Every exchange by its name. A second one is a second package with an `Adapter`, and its line here."""

from __future__ import annotations

from gateway.venues.adapter import Adapter
from gateway.venues.binance.adapter import BINANCE_USDM

ADAPTERS: dict[str, Adapter] = {one.venue.name: one for one in (BINANCE_USDM,)}
DEFAULT = BINANCE_USDM.venue.name
