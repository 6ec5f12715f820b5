"""Binance USDⓈ-M futures, as its protocol is since 2026."""
