"""Which of the account's trades have been seen, per symbol: below a mark all of them, above it one by one. Pure.

The mark only moves when a reading of the trade list held nothing unseen, so a trade the stream lost lies above it,
however many newer ones came. Survives restarts with the journal's fills.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from gateway.core.account_venue import OwnTrade
from gateway.core.rows import FillRow, KvRow
from gateway.core.venue_orders import VenueFill

KEY = "account:trades"
SEEN_CAP = 100_000  # trade ids held above a symbol's mark; at the bound the older half is forgotten


class _Mark(msgspec.Struct, frozen=True, array_like=True):
    """The newest trade all up to which are counted, and when it was made."""

    trade_id: int
    at_ms: int


class _Saved(msgspec.Struct, frozen=True):
    since_ms: int
    marks: dict[str, _Mark]


class TradeMarks:
    """`since_ms`: trades from before the first start of this installation are history, not missed."""

    def __init__(self) -> None:
        self.since_ms: int | None = None
        self._marks: dict[str, _Mark] = {}
        self._seen: dict[str, set[int]] = {}

    def restore(self, kv: dict[str, bytes], fills: Iterable[FillRow]) -> None:
        """Raises ValueError where the row cannot be read."""
        raw = kv.get(KEY)
        if raw is not None:
            try:
                saved = msgspec.json.decode(raw, type=_Saved)
            except msgspec.DecodeError as fault:
                raise ValueError(f"journal row {KEY!r} cannot be read: {fault}") from fault
            self.since_ms, self._marks = saved.since_ms, dict(saved.marks)
        for row in fills:
            self._keep(row.symbol, row.trade_id)

    def mark(self, symbol: str) -> int | None:
        held = self._marks.get(symbol)
        return held.trade_id if held else None

    def see(self, symbol: str, fill: VenueFill) -> None:
        """A fill was booked. A newer one with a lower number: the exchange numbers anew, and the mark with it."""
        held = self._marks.get(symbol)
        if held is not None and fill.trade_id <= held.trade_id and fill.at_ms > held.at_ms:
            self._marks[symbol] = _Mark(fill.trade_id - 1, fill.at_ms - 1)
            self._seen.pop(symbol, None)
        self._keep(symbol, fill.trade_id)

    def _keep(self, symbol: str, trade_id: int) -> None:
        if trade_id <= (self.mark(symbol) or 0):
            return
        seen = self._seen.setdefault(symbol, set())
        seen.add(trade_id)
        if len(seen) > SEEN_CAP:  # no reading has come through for very long: the order core still knows its trades
            self._seen[symbol] = set(sorted(seen)[SEEN_CAP // 2 :])

    def seen(self, trade: OwnTrade) -> bool:
        trade_id = trade.fill.trade_id
        return self.counted(trade.symbol, trade.fill) or trade_id in self._seen.get(trade.symbol, ())

    def counted(self, symbol: str, fill: VenueFill) -> bool:
        """History: the position we started from, or one adopted or proven since, has this trade in it already."""
        if self.since_ms is not None and 0 < fill.at_ms < self.since_ms:
            return True
        held = self._marks.get(symbol)
        return held is not None and fill.trade_id <= held.trade_id and fill.at_ms <= held.at_ms

    def advance(self, symbol: str, fill: VenueFill) -> None:
        """Every trade up to this one, the last of a reading, has been counted."""
        held = self._marks.get(symbol)
        if held is None or fill.trade_id > held.trade_id:
            self._marks[symbol] = _Mark(fill.trade_id, fill.at_ms)
            self._seen[symbol] = {seen for seen in self._seen.get(symbol, ()) if seen > fill.trade_id}

    def row(self) -> KvRow:
        return KvRow(KEY, msgspec.json.encode(_Saved(self.since_ms or 0, self._marks)))
