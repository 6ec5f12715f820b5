"""A strategy for the judge: enters whenever it may, leaves after a few seconds, keeps its stop at the exchange."""

from datetime import datetime
from typing import Any, ClassVar

from freqtrade.strategy import IStrategy  # type: ignore[import-not-found,unused-ignore]


class AlwaysIn(IStrategy):  # type: ignore[misc,unused-ignore]
    """One market entry, a stop at the exchange, and a market exit once the trade is old enough to have had its stop."""

    INTERFACE_VERSION = 3
    timeframe = "1m"
    can_short = False
    startup_candle_count = 30
    stoploss = -0.05
    minimal_roi: ClassVar[dict[str, float]] = {}
    process_only_new_candles = False
    hold_s = 8
    order_types: ClassVar[dict[str, str | bool | int]] = {
        "entry": "market",
        "exit": "market",
        "emergency_exit": "market",
        "stoploss": "market",
        "stoploss_on_exchange": True,
        "stoploss_on_exchange_interval": 5,
    }

    def populate_indicators(self, dataframe: Any, metadata: dict[str, Any]) -> Any:
        return dataframe

    def populate_entry_trend(self, dataframe: Any, metadata: dict[str, Any]) -> Any:
        dataframe["enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe: Any, metadata: dict[str, Any]) -> Any:
        dataframe["exit_long"] = 0
        return dataframe

    def custom_exit(
        self, pair: str, trade: Any, current_time: datetime, current_rate: float, current_profit: float, **kwargs: Any
    ) -> str | None:
        age_s = (current_time - trade.open_date_utc).total_seconds()
        return "old enough" if age_s >= self.hold_s else None
