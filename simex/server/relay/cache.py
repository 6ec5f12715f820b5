"""Answers of the exchange behind the relay that are worth keeping for a moment, so that many askers cost one. Pure."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from simex.market.intervals import INTERVALS, typical_ms

MAX_BYTES = 64 * 1024 * 1024
"""Of all kept answers; the longest unused go."""
CLOSED_MS = 600_000
"""How long an answer about a time that is over is kept."""

_KEEP_MS: dict[str, int] = {
    "/fapi/v1/exchangeInfo": 10_000,
    "/fapi/v1/fundingInfo": 60_000,
    "/fapi/v1/fundingRate": 10_000,
    "/fapi/v1/constituents": 10_000,
    "/fapi/v1/assetIndex": 1_000,
    "/fapi/v1/openInterest": 3_000,
    "/fapi/v1/trades": 200,
    "/fapi/v1/aggTrades": 200,
    "/fapi/v1/historicalTrades": 1_000,
    "/fapi/v1/depth": 0,
    "/fapi/v1/rpiDepth": 0,
}
_OTHER_MS = 1_000
_DATA_MS = 30_000
_BY_TIME = frozenset({"/fapi/v1/aggTrades", "/fapi/v1/fundingRate"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What the exchange said: status, body and content type, unchanged."""

    status: int
    body: bytes
    content_type: str


def keep_ms(path: str, params: Mapping[str, str], now_ms: int) -> int:
    """How long an answer stays true enough. A depth snapshot never: it must be newer than the asker's stream."""
    if path.startswith("/futures/data/"):
        return _DATA_MS
    usual = _KEEP_MS.get(path, _OTHER_MS)
    end = params.get("endTime", "")
    bars = path.lower().endswith("klines")
    if not (bars or path in _BY_TIME) or not (end.isascii() and end.isdigit() and len(end) <= 13):
        return usual
    interval = params.get("interval", "")
    length_ms = typical_ms(interval) if bars and interval in INTERVALS else 0  # the last bar may still be open
    return CLOSED_MS if int(end) + length_ms < now_ms - 120_000 else usual


class Cache:
    """Answers by request, each until its time is over."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._answers: OrderedDict[tuple[str, str], tuple[int, Answer]] = OrderedDict()

    def get(self, now_ms: int, key: tuple[str, str]) -> Answer | None:
        """The answer if it still holds."""
        found = self._answers.get(key)
        if found is None:
            return None
        if now_ms >= found[0]:
            self._drop(key)
            return None
        self._answers.move_to_end(key)
        return found[1]

    def put(self, now_ms: int, key: tuple[str, str], answer: Answer, for_ms: int) -> None:
        """Keep an answer for a while; 0 or a refusal: not at all."""
        self._drop(key)
        if for_ms <= 0 or answer.status != 200 or len(answer.body) > self._max_bytes:
            return
        self._answers[key] = (now_ms + for_ms, answer)
        self._bytes += len(answer.body)
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._answers)))

    def clear(self) -> None:
        """Forget everything: the exchange is gone."""
        self._answers.clear()
        self._bytes = 0

    def _drop(self, key: tuple[str, str]) -> None:
        found = self._answers.pop(key, None)
        if found is not None:
            self._bytes -= len(found[1].body)
