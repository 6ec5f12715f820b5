"""What a symbol is like: how wild it is, how deep, how much trades. Values of an ordinary 2026 day."""

import zlib
from dataclasses import dataclass
from decimal import Decimal

from simex.market.scale import Scale


@dataclass(frozen=True, slots=True)
class Profile:
    """A symbol's character. `top_notional` is the usual quote value resting at one price near the top."""

    volatility_bps: float
    """Standard deviation of one second's return, in basis points, on a calm day."""
    beta: float
    """How strongly it follows the common factor."""
    top_notional: float
    trades_per_s: float


_KNOWN: dict[str, Profile] = {
    "BTCUSDT": Profile(0.35, 1.0, 60_000, 6.0),
    "ETHUSDT": Profile(0.45, 1.2, 40_000, 5.0),
    "BNBUSDT": Profile(0.45, 0.9, 15_000, 2.0),
    "SOLUSDT": Profile(0.6, 1.4, 25_000, 3.0),
    "XRPUSDT": Profile(0.6, 1.2, 20_000, 3.0),
    "DOGEUSDT": Profile(0.7, 1.4, 15_000, 2.0),
    "ADAUSDT": Profile(0.7, 1.3, 10_000, 1.5),
    "LINKUSDT": Profile(0.7, 1.3, 8_000, 1.5),
    "AVAXUSDT": Profile(0.7, 1.4, 8_000, 1.5),
    "LTCUSDT": Profile(0.6, 1.1, 8_000, 1.0),
}


def profile_of(symbol: str) -> Profile:
    """The profile of a well-known symbol; any other name gets a plausible one, the same for ever."""
    known = _KNOWN.get(symbol)
    if known is not None:
        return known
    mix = zlib.crc32(symbol.encode())
    return Profile(0.6 + (mix >> 20) % 5 / 10, 1.2, 5_000, 1.0)


@dataclass(frozen=True, slots=True)
class MarketSpec:
    """One symbol as the generator sees it: name, number scale and character."""

    symbol: str
    scale: Scale
    base_price: Decimal
    profile: Profile
    funding_hours: int = 8

    def ticks_at(self, price: Decimal) -> int:
        """The nearest tick, at least 20 (room for a book below it)."""
        return max(20, round(price.scaleb(self.scale.price_decimals) / self.scale.tick_units))

    @property
    def base_ticks(self) -> int:
        """The starting price in ticks."""
        return self.ticks_at(self.base_price)

    @property
    def top_lots(self) -> float:
        """The usual quantity at one price near the top, in lots."""
        price = float(self.base_price)
        lot = self.scale.lot_units / float(10**self.scale.qty_decimals)
        return max(2.0, self.profile.top_notional / price / lot)
