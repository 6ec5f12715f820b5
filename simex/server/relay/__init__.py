"""The relay: another exchange's public market data on simex's own sockets, orders matched here on the same data."""
