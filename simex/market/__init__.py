"""The simulated market: a seeded generator, its history, bars and tickers, and the replay of recordings. Pure."""
