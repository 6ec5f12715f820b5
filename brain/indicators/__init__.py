"""Incremental indicators, each equal to its batch form. Floats: indicators are not money."""

from brain.indicators.ema import Ema
from brain.indicators.imbalance import imbalance
from brain.indicators.macd import Macd, MacdValue, macd_frame
from brain.indicators.rolling_median import RollingMedian

__all__ = ["Ema", "Macd", "MacdValue", "RollingMedian", "imbalance", "macd_frame"]
