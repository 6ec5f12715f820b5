"""The brains of this account: numbers, runs, symbols, leases. Implements `ports.BrainsView`. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from gateway.core.rows import BrainRow, IntentRow, KvRow, Restored
from ipc.errors import IpcError

# alive: its lease runs. lost: the lease ended, what follows (flatten) is pending. settled: nothing is pending.
Standing = Literal["alive", "lost", "settled"]

_KV = "brain:"
MAX_NAMES = 1_000  # a name and its number stand in client order ids for ever, so none is ever forgotten


@dataclass(slots=True)
class Brain:
    """One registered brain; other parts see it as `ports.BrainInfo`."""

    name: str
    number: int
    run: str | None
    symbols: tuple[str, ...] = ()
    strategy: str | None = None
    standing: Standing = "settled"
    client: int | None = None
    pid: int = 0
    lease_until_boot_ns: int = 0
    settles_boot_ns: int | None = None
    last_seq: int = 0
    show: dict[str, Any] | None = None
    show_ms: int | None = None

    @property
    def alive(self) -> bool:
        return self.standing == "alive"

    def row(self) -> BrainRow:
        return BrainRow(self.name, self.number, self.run, self.last_seq)

    def standing_row(self) -> KvRow:
        value = {"symbols": self.symbols, "standing": self.standing, "strategy": self.strategy}
        return KvRow(_KV + self.name, json.dumps(value, separators=(",", ":")).encode())


class Brains:
    """Registry by name. Numbers begin at 1 in the order of first registration and are never used twice."""

    def __init__(self, restored: Restored) -> None:
        self._by_name: dict[str, Brain] = {}
        for row in restored.brains:
            self._by_name[row.name] = _restored(row, restored.kv.get(_KV + row.name))
        self._restore_seqs(restored.intents)

    def _restore_seqs(self, intents: Iterable[IntentRow]) -> None:
        for intent in intents:
            self.saw_intent(intent)

    def get(self, name: str) -> Brain | None:
        return self._by_name.get(name)

    def by_symbol(self, symbol: str) -> Brain | None:
        """The brain that trades the symbol; where several have, the one whose lease runs, else the newest to come."""
        holders = [brain for brain in self._by_name.values() if symbol in brain.symbols]
        if not holders:
            return None
        rank = {"alive": 2, "lost": 1, "settled": 0}
        return max(holders, key=lambda brain: (rank[brain.standing], brain.lease_until_boot_ns, brain.number))

    def all(self) -> tuple[Brain, ...]:
        return tuple(self._by_name.values())

    def saw_intent(self, intent: IntentRow) -> None:
        """Remember the highest intent number of the brain's current run: what `hello` answers as `last_seq`."""
        brain = self._by_name.get(intent.brain)
        if brain is not None and brain.run == intent.run and intent.seq > brain.last_seq:
            brain.last_seq = intent.seq

    def registered(self, name: str) -> Brain:
        """Raises brain.too_many at `MAX_NAMES` for a name that is new."""
        brain = self._by_name.get(name)
        if brain is None:
            if len(self._by_name) >= MAX_NAMES:
                raise IpcError(
                    "brain.too_many",
                    f"{MAX_NAMES} brain names are registered on this account, and none is ever forgotten: use one of "
                    "them again (a name made anew at each start is the usual cause); `accounts.*.rights.brains` "
                    "limits who may bring new ones",
                    detail={"names": len(self._by_name), "at_most": MAX_NAMES},
                )
            number = 1 + max((known.number for known in self._by_name.values()), default=0)
            brain = self._by_name[name] = Brain(name, number, None)
        return brain

    def check_symbols(self, name: str, symbols: Iterable[str]) -> None:
        """Raises brain.symbol_taken where another brain's lease runs, or its flatten is pending, on one of them."""
        for symbol in symbols:
            for other in self._by_name.values():
                if other.name != name and other.standing != "settled" and symbol in other.symbols:
                    raise IpcError(
                        "brain.symbol_taken",
                        f"{symbol} is traded by brain {other.name!r}; one brain a symbol: stop it or choose another",
                        retryable=other.client is None,
                        detail={"symbol": symbol, "brain": other.name, "standing": other.standing},
                    )


def _restored(row: BrainRow, standing: bytes | None) -> Brain:
    brain = Brain(row.name, row.number, row.run, last_seq=row.last_seq)
    if standing is not None:
        held = json.loads(standing)
        brain.symbols = tuple(held["symbols"])
        brain.standing = held["standing"]
        brain.strategy = held["strategy"]
    return brain
