"""News of leverage, margin type and position mode: `mode.changed` for what is another than it was. Pure.

The instrument slice, which shows them and what refuses entries, is rewritten only when told so: here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gateway.core.account_settings import SettingsKeeper
from gateway.core.effects import Dirty
from gateway.core.eventlog import EventLog
from gateway.core.inputs import Now
from gateway.core.parts import Out
from gateway.core.ports import SymbolSettings
from ipc import keys


class ModeNews:
    """`view` is what the account part shows of a symbol: its settings and every reason to refuse entries."""

    def __init__(
        self, account: str, settings: SettingsKeeper, events: EventLog, view: Callable[[str], SymbolSettings]
    ) -> None:
        self._account = account
        self._view = view
        self._settings = settings
        self._events = events
        self._told: dict[tuple[str, str], object] = {}
        self._shown: dict[str, SymbolSettings] = {}

    def tell(self, now: Now, symbols: Iterable[str]) -> Out:
        """`mode.changed` for what is another than it was, and a new instrument slice for every symbol it touches."""
        out: Out = []
        dirty: list[str] = []
        for symbol in symbols:
            view = self._view(symbol)
            changed = [
                (what, value)
                for what, value in (("leverage", view.leverage), ("margin_type", view.margin_type))
                if self._is_news(what, symbol, value)
            ]
            by = "gateway" if changed and self._settings.by_us(symbol) else "venue"
            for what, value in changed:
                data = {"what": what, "value": value, "by": by}
                out.append(self._events.add(now, "mode.changed", data, source=by, symbol=symbol))
            if self._shown.get(symbol) != view:
                self._shown[symbol] = view
                dirty.append(keys.instrument(self._account, symbol))
        if self._is_news("position_mode", "", self._settings.mode):
            by = "gateway" if self._settings.by_us("") else "venue"
            data = {"what": "position_mode", "value": self._settings.mode, "by": by}
            out.append(self._events.add(now, "mode.changed", data, source=by))
        return [*out, Dirty(tuple(dirty))] if dirty else out

    def _is_news(self, what: str, symbol: str, value: object) -> bool:
        """True where a value known before has changed; the first one is no change."""
        was = self._told.get((what, symbol))
        self._told[what, symbol] = value
        return was is not None and was != value
