"""Incremental indicators, each equal to its batch form. Floats: indicators are not money."""

from brain.indicators.ema import Ema
from brain.indicators.imbalance import imbalance
from brain.indicators.macd import Macd, MacdValue, macd_frame

__all__ = ["Ema", "Macd", "MacdValue", "imbalance", "macd_frame"]
