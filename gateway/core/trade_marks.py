"""Which of the account's trades have been seen, per symbol: below a mark all of them, above it one by one. Pure.

The mark only moves when a reading of the trade list held nothing unseen, so a trade the stream lost lies above it,
however many newer ones came. Survives restarts with the journal's fills.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from gateway.core.rows import FillRow, KvRow
from gateway.venues.binance.account_replies import OwnTrade

KEY = "account:trades"


class _Saved(msgspec.Struct, frozen=True):
    since_ms: int
    marks: dict[str, int]


class TradeMarks:
    """`since_ms`: trades from before the first start of this installation are history, not missed."""

    def __init__(self) -> None:
        self.since_ms: int | None = None
        self.marks: dict[str, int] = {}
        self._seen: dict[str, set[int]] = {}

    def restore(self, kv: dict[str, bytes], fills: Iterable[FillRow]) -> None:
        """Raises ValueError where the row cannot be read."""
        raw = kv.get(KEY)
        if raw is not None:
            try:
                saved = msgspec.json.decode(raw, type=_Saved)
            except msgspec.DecodeError as fault:
                raise ValueError(f"journal row {KEY!r} cannot be read: {fault}") from fault
            self.since_ms, self.marks = saved.since_ms, dict(saved.marks)
        for row in fills:
            self.see(row.symbol, row.trade_id)

    def see(self, symbol: str, trade_id: int) -> None:
        if trade_id > self.marks.get(symbol, 0):
            self._seen.setdefault(symbol, set()).add(trade_id)

    def seen(self, trade: OwnTrade) -> bool:
        if self.since_ms is not None and trade.fill.at_ms < self.since_ms:
            return True
        trade_id = trade.fill.trade_id
        return trade_id <= self.marks.get(trade.symbol, 0) or trade_id in self._seen.get(trade.symbol, ())

    def advance(self, symbol: str, trade_id: int) -> None:
        if trade_id > self.marks.get(symbol, 0):
            self.marks[symbol] = trade_id
            held = self._seen.get(symbol, set())
            self._seen[symbol] = {seen for seen in held if seen > trade_id}

    def row(self) -> KvRow:
        return KvRow(KEY, msgspec.json.encode(_Saved(self.since_ms or 0, self.marks)))
