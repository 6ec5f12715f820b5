"""What the account holds, as we reckon it: legs by fills, wallets by fills and transfers, brains' ledgers. Pure.

Nothing here decides: `account` feeds it, `statements` and `reconcile` compare it with what the exchange says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

import msgspec

from gateway.core.rows import KvRow
from gateway.core.venue_orders import OrderSnapshot, VenueBalance, VenueFill, VenuePosition
from rules import ledger as ledgers
from rules import position
from rules.instrument import text
from rules.ledger import Ledger
from rules.position import FLAT, Leg, LegName

ZERO = Decimal(0)
WALLET_BOUND = Decimal("0.00000003")  # per fill since figures last agreed: the exchange rounds each of its numbers
ENTRY_BOUND = Decimal("0.00001")  # relative: the exchange cuts its average entry off after a few digits
LEG_ORDER: tuple[LegName, ...] = ("BOTH", "LONG", "SHORT")


@dataclass(frozen=True, slots=True)
class Wallet:
    """One asset. `fills` counts those since the figure last agreed with the exchange's own."""

    wallet: Decimal = ZERO
    cross: Decimal = ZERO
    available: Decimal | None = None
    fills: int = 0

    @property
    def bound(self) -> Decimal:
        return WALLET_BOUND * max(1, self.fills)


@dataclass(frozen=True, slots=True)
class Booked:
    """What one fill did: the leg before and after, and the change of each wallet it touched."""

    leg: LegName
    before: Leg
    after: Leg
    realised: Decimal
    wallets: tuple[tuple[str, Decimal], ...]


class Books:
    """`known` symbols have had a baseline; `versions` rise with everything the stream tells of a symbol, `revisions`
    with every change of what the books say of it (slices are rendered anew only then)."""

    def __init__(self) -> None:
        self.legs: dict[str, dict[LegName, Leg]] = {}
        self.wallets: dict[str, Wallet] = {}
        self.ledgers: dict[tuple[str, str], Ledger] = {}
        self.known: set[str] = set()
        self.mode_legs: tuple[LegName, ...] = ()  # by position mode; empty until it is known
        self.wallet_known = False
        self.versions: dict[str, int] = {}
        self.revisions: dict[str, int] = {}
        self.wallet_version = 0
        self.updated_ms: dict[str, int] = {}

    def touch(self, symbol: str) -> None:
        self.versions[symbol] = self.versions.get(symbol, 0) + 1

    def changed(self, symbol: str) -> None:
        self.revisions[symbol] = self.revisions.get(symbol, 0) + 1

    def revision(self, symbol: str) -> tuple[int, tuple[LegName, ...], bool]:
        return self.revisions.get(symbol, 0), self.mode_legs, symbol in self.known

    def version(self, symbol: str) -> int:
        return self.versions.get(symbol, 0)

    def leg(self, symbol: str, name: LegName) -> Leg:
        return self.legs.get(symbol, {}).get(name, FLAT)

    def legs_of(self, symbol: str) -> tuple[tuple[LegName, Leg], ...]:
        """Legs of the present mode (flat ones too, once the symbol is known), and any other that is not flat."""
        held = self.legs.get(symbol, {})
        wanted = self.mode_legs if symbol in self.known else ()
        return tuple(
            (name, held.get(name, FLAT))
            for name in LEG_ORDER
            if name in wanted or not held.get(name, FLAT).flat or (not self.mode_legs and name in held)
        )

    def flat(self, symbol: str) -> bool:
        return all(leg.flat for leg in self.legs.get(symbol, {}).values())

    def all_flat(self) -> bool:
        return all(self.flat(symbol) for symbol in self.legs)

    # -- changes

    def fill(self, order: OrderSnapshot, fill: VenueFill, margin_asset: str | None, owner: str | None) -> Booked:
        """One new trade: leg, ledger and wallets move together. Realised profit is the exchange's where it says so.

        `owner`: in whose ledger it stands; None: in nobody's.
        """
        held = self.legs.setdefault(order.symbol, {})
        before = held.get(order.leg, FLAT)
        after = position.fill(before, order.side, fill.qty, fill.price)
        held[order.leg] = after
        realised = position.fill_realised(before, after) if fill.realised is None else fill.realised
        if owner is not None:
            key = (order.symbol, owner)
            self.ledgers[key] = ledgers.book_fill(
                self.ledgers.get(key, ledgers.EMPTY), realised, fill.fee, fill.fee_asset
            )
        self.updated_ms[order.symbol] = max(self.updated_ms.get(order.symbol, 0), fill.at_ms)
        self.wallet_version += 1
        self.changed(order.symbol)
        return Booked(order.leg, before, after, realised, self._pay(realised, fill, margin_asset))

    def _pay(self, realised: Decimal, fill: VenueFill, margin_asset: str | None) -> tuple[tuple[str, Decimal], ...]:
        changes: dict[str, Decimal] = {}
        if margin_asset is not None:
            changes[margin_asset] = realised
        if fill.fee is not None and fill.fee_asset is not None:
            changes[fill.fee_asset] = changes.get(fill.fee_asset, ZERO) - fill.fee
        if self.wallet_known:
            for asset, change in changes.items():
                held = self.wallets.get(asset, Wallet())
                self.wallets[asset] = Wallet(held.wallet + change, held.cross + change, None, held.fills + 1)
        return tuple((asset, change) for asset, change in changes.items() if change != 0)

    def transfer(self, asset: str, change: Decimal) -> Decimal:
        """Deposit, withdrawal, funding ...: the balance change alone. Returns the wallet after it."""
        held = self.wallets.get(asset, Wallet())
        self.wallets[asset] = replace(held, wallet=held.wallet + change, cross=held.cross + change, available=None)
        self.wallet_version += 1
        return self.wallets[asset].wallet

    def funding(self, symbol: str, brain: str, amount: Decimal) -> None:
        key = (symbol, brain)
        self.ledgers[key] = ledgers.book_funding(self.ledgers.get(key, ledgers.EMPTY), amount)
        self.changed(symbol)

    # -- the exchange's figures in the place of ours

    def adopt_leg(self, symbol: str, name: LegName, theirs: VenuePosition | None) -> None:
        held = self.legs.setdefault(symbol, {})
        leg = held.get(name, FLAT)
        held[name] = position.adopt(leg, theirs.qty, theirs.entry) if theirs else position.adopt(leg, ZERO, ZERO)
        self.changed(symbol)

    def adopt_wallet(self, balance: VenueBalance, available: Decimal | None = None) -> None:
        self.wallets[balance.asset] = Wallet(balance.wallet, balance.cross, available)

    # -- comparing

    def leg_agrees(self, symbol: str, name: LegName, qty: Decimal, entry: Decimal, tick: Decimal) -> bool:
        leg = self.leg(symbol, name)
        if leg.qty != qty:
            return False
        return qty == 0 or entry == 0 or abs(leg.entry - entry) <= max(tick, abs(entry) * ENTRY_BOUND)

    def wallet_agrees(self, asset: str, wallet: Decimal) -> bool:
        held = self.wallets.get(asset, Wallet())
        return abs(held.wallet - wallet) <= held.bound

    # -- what survives a restart

    def symbol_row(self, symbol: str) -> KvRow:
        held = self.legs.get(symbol, {})
        content = {
            "legs": {name: [text(leg.qty), text(leg.entry), text(leg.realised)] for name, leg in held.items()},
            "ledgers": {
                brain: {
                    "realised": text(own.realised),
                    "fees": {asset: text(fee) for asset, fee in own.fees},
                    "funding": text(own.funding),
                    "fills": own.fills,
                }
                for (where, brain), own in self.ledgers.items()
                if where == symbol
            },
        }
        return KvRow(PREFIX + symbol, msgspec.json.encode(content))

    def restore(self, kv: dict[str, bytes]) -> None:
        """Raises ValueError where a row of ours cannot be read: the journal is damaged, and guessing is not safe."""
        for key, raw in kv.items():
            if not key.startswith(PREFIX):
                continue
            symbol = key.removeprefix(PREFIX)
            try:
                saved = msgspec.json.decode(raw, type=_Saved)
            except msgspec.DecodeError as fault:
                raise ValueError(f"journal row {key!r} cannot be read: {fault}") from fault
            self.legs[symbol] = {name: Leg(*values) for name, values in saved.legs.items()}
            self.known.add(symbol)
            for brain, row in saved.ledgers.items():
                fees = tuple(sorted(row.fees.items()))
                self.ledgers[symbol, brain] = Ledger(row.realised, fees, row.funding, row.fills)


PREFIX = "account:symbol:"


class _SavedLedger(msgspec.Struct, frozen=True):
    realised: Decimal
    fees: dict[str, Decimal]
    funding: Decimal
    fills: int


class _Saved(msgspec.Struct, frozen=True):
    legs: dict[LegName, tuple[Decimal, Decimal, Decimal]]
    ledgers: dict[str, _SavedLedger]


def positions_by_leg(rows: Iterable[VenuePosition]) -> dict[tuple[str, LegName], VenuePosition]:
    return {(row.symbol, row.leg): row for row in rows}
