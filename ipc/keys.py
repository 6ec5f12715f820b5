"""Names of Redis keys and channels (design section 2). Symbols are upper case."""

from __future__ import annotations


def book(account: str, symbol: str) -> str:
    return f"bs:{account}:{symbol}:book"


def mark(account: str, symbol: str) -> str:
    return f"bs:{account}:{symbol}:mark"


def bar(account: str, symbol: str, interval: str) -> str:
    return f"bs:{account}:{symbol}:bar:{interval}"


def bars(account: str, symbol: str, interval: str) -> str:
    return f"bs:{account}:{symbol}:bars:{interval}"


def instrument(account: str, symbol: str) -> str:
    return f"bs:{account}:{symbol}:instrument"


def position(account: str, symbol: str) -> str:
    return f"bs:{account}:{symbol}:position"


def orders(account: str, symbol: str) -> str:
    return f"bs:{account}:{symbol}:orders"


def ledger(account: str, symbol: str, brain: str) -> str:
    return f"bs:{account}:{symbol}:ledger:{brain}"


def wake(account: str, symbol: str) -> str:
    return f"bs:{account}:{symbol}:wake"


def wallet(account: str) -> str:
    return f"bs:{account}:wallet"


def gateway(account: str) -> str:
    return f"bs:{account}:gateway"


def events(account: str) -> str:
    return f"bs:{account}:events"
